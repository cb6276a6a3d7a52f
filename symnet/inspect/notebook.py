"""Notebooks: takes variables, functions and pages, hands on HTML and SVG that show inline."""

from __future__ import annotations

import html as escaping
from typing import Any

from symnet.errors import MissingProgramError


def svg_of(thing: Any) -> str | None:
    """A drawing of a variable's or function's graph; None where graphviz is not installed."""
    from symnet.inspect.dot import drawn, to_dot

    try:
        picture = drawn(to_dot(thing), "svg").decode()
    except MissingProgramError:
        return None
    return picture[picture.index("<svg") :]


def html_of_variable(variable: Any) -> str:
    """Its tree as text, and its drawing where graphviz is installed."""
    from symnet.inspect.tree import dprint

    return f"<pre>{escaping.escape(str(dprint(variable, file='str')))}</pre>{svg_of(variable) or ''}"


def html_of_function(function: Any) -> str:
    """What its report says, its tree behind a click, and its drawing where graphviz is installed."""
    from symnet.inspect.tree import dprint

    report, tree = (escaping.escape(str(each)) for each in (function.report, dprint(function, file="str")))
    return f"<pre>{report}</pre><details><summary>graph</summary><pre>{tree}</pre></details>"


class Page(str):
    """The text of a page, which a notebook shows inline."""

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escaping.escape(self)}" width="100%" height="820"></iframe>'
