"""Texts of Python: takes a text, hands on Python's own tree of it, to one thread after another."""

from __future__ import annotations

import ast
import threading
from typing import Any

_READING = threading.Lock()


def tree_of(text: str, mode: str = "exec") -> Any:
    """The tree of a text, as `ast.parse` gives it in the same mode.

    Python 3.11 and the first 3.12 count the depth of all trees that they build as one. Where collecting
    garbage lets another thread go on that builds one, too, either may end as SystemError ("AST constructor
    recursion depth mismatch", https://github.com/python/cpython/issues/106905).

    Raises
    ------
    SyntaxError
        When it is no text of Python.
    """
    with _READING:
        return ast.parse(text, mode=mode)
