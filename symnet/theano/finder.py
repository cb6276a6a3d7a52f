"""Imports of Theano's module paths: takes a path such as `theano.tensor.nnet.conv`, hands on symnet's module.

`symnet.theano.x` is always found here; after `install()`, `theano.x` is the same object. A path or a
name that is not there yet is a `MissingImportError` that says so.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from symnet.absent import explanation, module_getattr
from symnet.errors import InstallError, MissingImportError
from symnet.theano.names import NAMES

HOME = "symnet.theano"
TENSOR = "symnet.tensor"


def resolve(value: Any) -> Any:
    """What an entry of the table stands for."""
    if not isinstance(value, str) or ":" not in value:
        return value
    module, _, attribute = value.partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


class NamesModule(ModuleType):
    """A module of Theano's made from the table; a name is looked up when it is first used."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{HOME}.{path}", f"Theano's `theano.{path}`: the names that symnet has of it.")
        self.__spec__ = importlib.machinery.ModuleSpec(self.__name__, None, is_package=True)
        # A path makes it a package, below which imports are looked for.
        self.__path__: list[str] = []
        self.__all__ = sorted(NAMES[path])
        self.__dict__["_names"] = NAMES[path]
        self.__dict__["_otherwise"] = module_getattr(self.__name__, submodules(path))

    def __getattr__(self, name: str) -> Any:
        if name not in self._names:
            return self._otherwise(name)
        value = resolve(self._names[name])
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._names})


def submodules(path: str) -> tuple[str, ...]:
    """The modules right below one of the table's."""
    prefix = path + "." if path else ""
    below = {each[len(prefix) :] for each in NAMES if each.startswith(prefix) and each != path}
    names = {each for each in below if each and "." not in each}
    return tuple(sorted(names | {"tensor"} if not path else names))


class _Existing(importlib.abc.Loader):
    """Loads a module that exists already: the same object under another path."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.own_spec = module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the spec of the other path into the module.
        if self.own_spec is not None:
            module.__spec__ = self.own_spec


class Finder(importlib.abc.MetaPathFinder):
    """Finds Theano's modules below `symnet.theano` and, while installed, below `theano`."""

    installed = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        inner = self._inner(fullname)
        if inner is None:
            return None
        module = self._module(inner, fullname)
        return None if module is None else importlib.machinery.ModuleSpec(fullname, _Existing(module))

    def _inner(self, fullname: str) -> str | None:
        """The path below `theano`; None for modules that are not ours to find."""
        prefixes = (HOME + ".", "theano.") if self.installed else (HOME + ".",)
        for prefix in prefixes:
            if fullname.startswith(prefix):
                return fullname[len(prefix) :]
        if fullname.startswith(TENSOR + "."):
            return "tensor" + fullname[len(TENSOR) :]
        return None

    def _module(self, inner: str, fullname: str) -> ModuleType | None:
        own = f"{HOME}.{inner}"
        if inner in NAMES:
            if fullname != own:
                return importlib.import_module(own)
            return NamesModule(inner)
        within_package = importlib.machinery.PathFinder.find_spec
        if inner.startswith("tensor") and inner[6:7] in ("", "."):
            twin = f"symnet.{inner}"
            if fullname != twin:
                return importlib.import_module(twin)
            parent = sys.modules[twin.rpartition(".")[0]]
        else:
            parent = sys.modules[HOME]
        if within_package(f"{parent.__name__}.{inner.rpartition('.')[2]}", parent.__path__) is not None:
            return None
        package, _, name = inner.rpartition(".")
        known = NAMES.get(package, vars(parent))
        asked, hint = explanation(f"theano.{package}".rstrip("."), name, list(known))
        raise MissingImportError(asked, hint=hint)


FINDER = Finder()


def install() -> None:
    """Make `import theano`, and every import below it, mean symnet in this process.

    Raises
    ------
    InstallError
        When the real Theano is imported already.

    >>> import symnet.theano
    >>> symnet.theano.install()
    >>> import theano.tensor as T
    >>> T is symnet.tensor
    True
    >>> symnet.theano.uninstall()
    """
    ours = sys.modules[HOME]
    present = sys.modules.get("theano")
    if present is not None and present is not ours:
        raise InstallError(
            f"symnet.theano.install(): another theano is imported already, from {present.__file__}",
            hint="call install() before the program's first `import theano`",
        )
    FINDER.installed = True
    sys.modules["theano"] = ours


def uninstall() -> None:
    """Undo `install()`: `import theano` means again what is found on Python's path."""
    ours = sys.modules[HOME]
    if sys.modules.get("theano") is not ours:
        return
    FINDER.installed = False
    for name in [each for each in sys.modules if each == "theano" or each.startswith("theano.")]:
        del sys.modules[name]
