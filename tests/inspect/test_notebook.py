"""What a notebook shows of variables, functions and pages."""

from __future__ import annotations

import html
import shutil

import symnet
import symnet.inspect
import symnet.tensor as T


def test_a_variable_shows_its_tree_and_drawing():
    y = T.exp(T.dvector("<x>")) + 1
    shown = y._repr_html_()
    assert "&lt;x&gt;" in shown and "exp" in shown and "<x>" not in shown
    drawn = y._repr_svg_()
    if shutil.which("dot"):
        assert drawn.startswith("<svg") and drawn in shown
    else:
        assert drawn is None


def test_a_function_shows_its_report_and_tree():
    x = T.dvector("x")
    f = symnet.function([x], T.exp(x).sum(), name="total")
    f([1.0])
    shown = f._repr_html_()
    assert "rewriting: " in html.unescape(shown) and "<details>" in shown
    assert (f._repr_svg_() is None) == (shutil.which("dot") is None)


def test_a_page_shows_inline_and_is_still_text():
    x = T.dvector("x")
    page = symnet.inspect.html(symnet.function([x], x * 2))
    frame = page._repr_html_()
    assert isinstance(page, str) and frame.startswith('<iframe srcdoc="')
    assert html.unescape(frame.split('srcdoc="')[1].split('" width')[0]) == page
