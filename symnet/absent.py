"""Names that are not there yet: takes a module's names, hands on the `__getattr__` that says what is missing.

The error is an AttributeError, so `hasattr` and `getattr` with a default work; `symnet.theano.finder`
turns it into an ImportError where the name was imported.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from symnet.errors import MissingNameError

#: Why a name (or everything below it) is not there, and what to do meanwhile; the longest prefix counts.
REASONS = {
    "theano.scan": "loops over symbolic lengths are not there yet; a Python loop builds an unrolled one",
    "theano.scan_module": "loops over symbolic lengths are not there yet",
    "theano.Op": "ops of one's own are written for symnet.Op, whose methods are others than Theano's",
    "theano.gof.Op": "ops of one's own are written for symnet.Op, whose methods are others than Theano's",
    "theano.tensor.Op": "ops of one's own are written for symnet.Op, whose methods are others than Theano's",
    "theano.ifelse": "T.switch(condition, a, b) computes both branches and takes one",
    "theano.sandbox.cuda": 'there is no GPU behind this name; theano.config.device is "cpu"',
    "theano.gpuarray": 'there is no GPU behind this name; theano.config.device is "cpu"',
    "theano.sandbox.gpuarray": 'there is no GPU behind this name; theano.config.device is "cpu"',
}


def theano_path(module: str) -> str:
    """A module's path as a Theano program writes it."""
    for prefix in ("symnet.theano", "symnet"):
        if module == prefix or module.startswith(prefix + "."):
            return "theano" + module[len(prefix) :]
    return module


def explanation(module: str, name: str, known: Sequence[str]) -> tuple[str, str | None]:
    """What an error says of a missing name, and its hint."""
    path = f"{theano_path(module)}.{name}"
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.8)
    reasons = [key for key in REASONS if path == key or path.startswith(key + ".")]
    hint = REASONS[max(reasons, key=len)] if reasons else None
    if hint is None and close:
        hint = f"names like it that are there: {', '.join(close)}"
    return f"symnet does not have {path} yet", hint


def module_getattr(module: str, submodules: Sequence[str] = ()) -> Callable[[str], Any]:
    """A module's `__getattr__`: imports its submodules when they are first named, refuses other names."""
    if module in sys.modules:
        # `from module import name` asks the finder for a missing name only below a package.
        vars(sys.modules[module]).setdefault("__path__", [])

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name in submodules:
            return importlib.import_module(f"{module}.{name}")
        known = [each for each in vars(sys.modules[module]) if not each.startswith("_")]
        asked, hint = explanation(module, name, known)
        raise MissingNameError(asked, hint=hint)

    return __getattr__
