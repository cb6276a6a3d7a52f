"""Looking at what was compiled: takes variables and functions, hands on text, data and pictures of them.

Every name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symnet.inspect.ahead import gpu_code, ptx
    from symnet.inspect.dot import pydotprint, to_dot
    from symnet.inspect.explanation import explain
    from symnet.inspect.graphs import diagram, to_networkx
    from symnet.inspect.mathematics import pp
    from symnet.inspect.page import html
    from symnet.inspect.report import Report
    from symnet.inspect.tree import dprint

_WHERE = {
    "Report": "report",
    "diagram": "graphs",
    "dprint": "tree",
    "explain": "explanation",
    "gpu_code": "ahead",
    "html": "page",
    "pp": "mathematics",
    "ptx": "ahead",
    "pydotprint": "dot",
    "to_dot": "dot",
    "to_networkx": "graphs",
}

__all__ = [
    "Report",
    "diagram",
    "dprint",
    "explain",
    "gpu_code",
    "html",
    "pp",
    "ptx",
    "pydotprint",
    "to_dot",
    "to_networkx",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'symnet.inspect' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
