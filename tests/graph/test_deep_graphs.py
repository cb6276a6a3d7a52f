"""Graphs of many thousand nodes, deep and wide: no walk recurses, and the work grows as the nodes do."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.traversal import clone_graph, toposort
from symnet.graph.types import TensorType
from symnet.rewrite.engine import Engine
from symnet.rewrite.pipeline import RewriteReport, rewrite

vector = TensorType("float64", (None,))


def chain(x: Any, length: int) -> Any:
    """tanh and + by turns: forward values that are needed again on the way back."""
    y = x
    for _ in range(length):
        y = T.tanh(y) + x
    return y.sum()


def wide_sum(x: Any, length: int) -> Any:
    """Python's sum of many terms: as deep as it is wide."""
    return sum(T.sqr(x - float(number)) for number in range(length)).sum()


def diamonds(x: Any, length: int) -> Any:
    """Each value twice used: as a tree it would have more nodes than there is memory."""
    y = x
    for _ in range(length):
        z = T.tanh(y)
        y = (z + y) * z
    return y.sum()


def shapes(x: Any, length: int) -> Any:
    """The shape of every link of a chain."""
    y, filled = x, 0.0
    for _ in range(length):
        y = T.exp(y)
        filled = filled + T.ones_like(y)
    return (y * filled).sum()


def parts(x: Any, length: int) -> Any:
    """A part of a function of a part …"""
    y = x
    for _ in range(length):
        y = T.exp(y[1:])
    return y.sum()


def entries(x: Any, length: int) -> Any:
    """Many entries of what is computed in many steps."""
    y = x
    for _ in range(length):
        y = T.tanh(y)
    return sum(y[number] for number in range(length))


def rewritten(expression: Any, length: int, differentiated: bool = True) -> tuple[int, RewriteReport, int]:
    """How many nodes there were, the report, and how many inputs were replaced."""
    x = vector("x")
    cost = expression(x, length)
    outputs, _ = clone_graph([cost, symnet.grad(cost, x)] if differentiated else [cost])
    graph = FunctionGraph([x], outputs)
    nodes = len(graph.nodes)
    rewired = 0
    before = Engine._rewired

    def counting(self: Engine, node: Any) -> None:
        nonlocal rewired
        rewired += 1
        before(self, node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_rewired", counting)
        report = rewrite(graph)
    return nodes, report, rewired


@pytest.mark.parametrize("expression", [chain, wide_sum, diamonds, shapes, parts, entries])
def test_tries_and_changes_grow_with_the_nodes(expression: Any) -> None:
    counts = []
    for length in (100, 400):
        nodes, report, rewired = rewritten(expression, length)
        counts.append(
            (nodes, sum(each.attempts for each in report.passes), len(report.applications), rewired)
        )
    (nodes, *small), (more, *large) = counts
    assert 3.5 < more / nodes < 4.5
    for few, many in zip(small, large, strict=True):
        assert many <= 1.05 * max(few, 4) * more / nodes
    assert max(large) < 15 * more


def test_a_deep_chain_is_differentiated_and_rewritten() -> None:
    nodes, report, _ = rewritten(chain, 5_000)
    assert nodes > 25_000
    assert report.passes[-1].nodes_after == pytest.approx(nodes, rel=0.01)


def test_a_deep_graph_is_pickled_and_copied() -> None:
    x = vector("x")
    y = x
    for _ in range(5000):
        y = T.tanh(y) + x
    for again, start in (pickle.loads(pickle.dumps([y, x])), copy.deepcopy([y, x])):
        assert again is not y and start is not x
        assert len(toposort([again])) == 10_000
        variable, links = again, 0
        while variable.owner is not None:
            assert variable.owner.outputs[0] is variable
            assert len(variable.owner.inputs) == 1 or variable.owner.inputs[1] is start
            variable = variable.owner.inputs[0]
            links += 1
        assert variable is start and links == 10_000
    node = pickle.loads(pickle.dumps(y.owner))
    assert node.outputs[0].owner is node
    assert len(str(node)) < 50 and len(str(y)) < 50


def test_a_pickle_that_meets_itself_on_the_way() -> None:
    """A shared variable's default update is computed from it, so each is part of the other's state."""
    s = symnet.shared(np.float64(0.5), name="s")
    y = s
    for _ in range(3000):
        y = T.sin(y)
    s.default_update = y
    for start in (y, s, y.owner.inputs[0], y.owner):
        pickle.loads(pickle.dumps(start))
    again = pickle.loads(pickle.dumps([s, y]))
    assert again[0].default_update is again[1]
    # A pickle that fails leaves nothing behind.
    y.tag.lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(T.sin(y))
    del y.tag.lock
    assert len(toposort([pickle.loads(pickle.dumps(T.sin(y)))])) == 3001


def test_a_deep_function_is_pickled() -> None:
    x = vector("x")
    y = x
    for _ in range(1500):
        y = T.sin(y)
    f = symnet.function([x], y)
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(again([0.5, 1.0]), f([0.5, 1.0]))
