"""Texts of Python: takes a text, hands on Python's own tree of it, to several threads at once."""

from __future__ import annotations

import ast
from typing import Any

_MISCOUNTED = "AST constructor recursion depth mismatch"


def tree_of(text: str, mode: str = "exec") -> Any:
    """The tree of a text, as `ast.parse` gives it in the same mode.

    Python 3.11 and the first 3.12 count the depth of all trees that they build as one. Where collecting
    garbage lets another thread go on that builds one, too, either may end as SystemError, though nothing is
    wrong with its text (https://github.com/python/cpython/issues/106905): it is built once more. A lock would
    not do, as what is collected may need whatever waits for it.

    Raises
    ------
    SyntaxError
        When it is no text of Python.
    """
    while True:
        try:
            return ast.parse(text, mode=mode)
        except SystemError as error:
            if _MISCOUNTED not in str(error):
                raise
