"""Where in the user's program something was written: takes the running stack, hands on a `SourceLine`.

Frames inside the package itself are passed over by their file's path, so the line found is the user's.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from contextvars import ContextVar
from typing import NamedTuple

PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# A module that an `import` statement runs has the import system's frames between it and the user.
_NOT_THE_USERS = (PACKAGE_FOLDER, "<frozen importlib", os.path.dirname(importlib.__file__) + os.sep)
#: Parts of the package that write expressions themselves, as a user's program does.
_LIBRARIES = (os.path.join(PACKAGE_FOLDER, "network3") + os.sep,)
#: Of each file met so far: whether it is the user's (None), or a library (True) or not.
_is_library: dict[str, bool | None] = {}


class SourceLine(NamedTuple):
    """One line of a user's program.

    `library` is the line of `symnet.network3` that wrote the expression, where the user's line called that.
    """

    file: str
    line: int
    function: str
    library: SourceLine | None = None

    @property
    def text(self) -> str:
        """The line as it stands in the file, stripped; empty when the file can't be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        where = f'File "{self.file}", line {self.line}, in {self.function}'
        return f"{where}\n    {self.text}" if self.text else where


_inherited: ContextVar[SourceLine | None] = ContextVar("symnet_source", default=None)


def user_line() -> SourceLine | None:
    """The nearest line on the stack that is not symnet's own; inside `inherit`, the line given there."""
    inherited = _inherited.get()
    if inherited is not None:
        return inherited
    frame = sys._getframe(1)
    library: SourceLine | None = None
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        kind = _is_library[file] if file in _is_library else _kind(file)
        if kind is None:
            return SourceLine(file, frame.f_lineno, code.co_name, library)
        if kind and library is None:
            library = SourceLine(file, frame.f_lineno, code.co_name)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _kind(file: str) -> bool | None:
    kind = file.startswith(_LIBRARIES) if file.startswith(_NOT_THE_USERS) else None
    _is_library[file] = kind
    return kind


def is_inherited() -> bool:
    """Whether what is made now stands for something that was written before."""
    return _inherited.get() is not None


class inherit:
    """Give every node that is made inside the `with` block this line: for nodes that stand for the user's.

    The gradient of an expression and what a rewrite puts in its place belong to the line of the
    expression, not to the line that asked for the gradient or the compilation.
    """

    __slots__ = ("_source", "_token")

    def __init__(self, source: SourceLine | None) -> None:
        self._source = source

    def __enter__(self) -> None:
        self._token = _inherited.set(self._source)

    def __exit__(self, *_: object) -> None:
        _inherited.reset(self._token)
