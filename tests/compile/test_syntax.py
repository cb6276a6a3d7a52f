"""Texts become trees on several threads at once."""

from __future__ import annotations

import ast
import gc
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from symnet.compile.syntax import tree_of


@pytest.fixture
def rushed() -> Iterator[None]:
    """Collects often, and lets another thread go on in the midst of that."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()

    def give_way(phase: str, told: object) -> None:
        time.sleep(0)

    sys.setswitchinterval(1e-6)
    gc.callbacks.append(give_way)
    gc.set_threshold(100, 1000, 1000)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(give_way)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("rushed")
def test_threads_do_not_meet_in_a_tree() -> None:
    lines = [
        f"    a{each} = b[{each} + c * (d - {each})] if e < {each} else f(g, {each})" for each in range(40)
    ]
    text = "\n".join(["def f():", *lines])
    with ThreadPoolExecutor(4) as pool:
        trees = list(pool.map(tree_of, [text] * 80))
    assert {ast.unparse(tree) for tree in trees} == {ast.unparse(ast.parse(text))}


def test_an_expression_is_a_tree_of_its_own() -> None:
    assert isinstance(tree_of("a + 1", mode="eval").body, ast.BinOp)
    with pytest.raises(SyntaxError):
        tree_of("a + ")
