"""Pooling: its meaning against direct loops, ties, overlaps and borders, gradients, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from symnet.errors import ArgumentError, GraphError, UnsupportedError
from symnet.graph.types import TensorType
from symnet.ops.pool import MODES, max_pool_2d, pool_2d
from symnet.ops.reduction import sum as reduce_sum

from .evaluate import check_gradient, evaluate, gradients

SETTINGS: list[dict[str, Any]] = [
    {"ws": (2, 2), "ignore_border": True},
    {"ws": (2, 3)},
    {"ws": (3, 2), "stride": (1, 1), "ignore_border": True},
    {"ws": (3, 3), "stride": (2, 1), "ignore_border": False},
    {"ws": (2, 2), "stride": (3, 4), "ignore_border": False},
    {"ws": (3, 3), "stride": (2, 2), "pad": (1, 2), "ignore_border": True},
    {"ws": (9, 9), "ignore_border": True},
    {"ws": (9, 9), "ignore_border": False},
]


def tensor(ndim: int, dtype: str = "float64") -> Any:
    return TensorType(dtype, shape=(None,) * ndim)()


def direct(x: Any, mode: str, settings: dict[str, Any]) -> Any:
    """Pooling of one matrix, window by window."""
    ws, pad = settings["ws"], settings.get("pad", (0, 0))
    stride = settings.get("stride", ws)
    border = settings.get("ignore_border", False)
    starts: list[list[int]] = []
    for n, w, s, p in zip(x.shape, ws, stride, pad, strict=True):
        found = list(range(-p, n + p, s))
        if border:
            found = [start for start in found if start + w <= n + p]
        elif s < w:
            # Windows stop once one of them has reached the end.
            complete = [start for start in found if start + w < n]
            found = found[: len(complete) + 1]
        starts.append(found)
    result = np.zeros(tuple(map(len, starts)))
    for (i, top), (j, left) in itertools.product(enumerate(starts[0]), enumerate(starts[1])):
        window = x[max(top, 0) : top + ws[0], max(left, 0) : left + ws[1]]
        if mode == "max":
            result[i, j] = window.max()
        elif mode == "average_inc_pad" and border:
            result[i, j] = window.sum() / (ws[0] * ws[1])
        else:
            result[i, j] = window.sum() / (1 if mode == "sum" else window.size)
    return result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_meaning_and_gradients(mode: str, settings: dict[str, Any]) -> None:
    values = np.random.default_rng(1).standard_normal((2, 3, 7, 6))
    x = tensor(4)
    found = evaluate(pool_2d(x, mode=mode, **settings), {x: values})
    for place in np.ndindex(2, 3):
        np.testing.assert_allclose(
            found[place], direct(values[place], mode, settings), rtol=1e-12, atol=1e-12
        )
    check_gradient(lambda v: pool_2d(v, mode=mode, **settings), values[:1], order=1)
    # Pooling is linear in between ties: its square has a gradient of second order.
    check_gradient(lambda v: pool_2d(v, mode=mode, **settings) ** 2, values[:1], order=2)


@pytest.mark.parametrize("ndim", [2, 3, 5])
def test_any_rank(ndim: int) -> None:
    values = np.random.default_rng(2).standard_normal((2, 1, 3, 6, 4)[5 - ndim :])
    x = tensor(ndim)
    found = evaluate(pool_2d(x, (2, 2), True), {x: values})
    assert found.shape == (*values.shape[:-2], 3, 2)
    first = (0,) * (ndim - 2)
    np.testing.assert_array_equal(found[first], direct(values[first], "max", {"ws": (2, 2)}))


def test_every_tie_gets_the_gradient_and_overlaps_add() -> None:
    x = tensor(2)
    ones = np.ones((3, 3))
    (tied,) = gradients(pool_2d(x, (2, 2), False), [x])
    np.testing.assert_array_equal(evaluate(tied, {x: ones}), ones)
    (overlapping,) = gradients(pool_2d(x, (2, 2), True, (1, 1)), [x])
    np.testing.assert_array_equal(evaluate(overlapping, {x: ones}), [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    # Padding does not count as an entry, even where it equals the maximum.
    (padded,) = gradients(pool_2d(x, (2, 2), True, (2, 2), (1, 1)), [x])
    np.testing.assert_array_equal(evaluate(padded, {x: 0 * ones}), ones)


def test_second_order_at_ties() -> None:
    x, g = tensor(2), tensor(2)
    values = np.array([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0]])
    (first,) = gradients(pool_2d(x, (2, 3), True), [x], g)
    (by_output,) = gradients(first, [g])
    np.testing.assert_array_equal(evaluate(by_output, {x: values, g: [[1.0]]}), [[3.0]])


def test_max_keeps_nan_and_sees_no_padding() -> None:
    x = tensor(2)
    values = np.array([[np.nan, 1.0, -5.0, -4.0], [0.0, 2.0, -3.0, -6.0]])
    np.testing.assert_array_equal(evaluate(pool_2d(x, (2, 2), True), {x: values}), [[np.nan, -3.0]])
    found = evaluate(pool_2d(x, (2, 2), True, (2, 2), (1, 1)), {x: -np.ones((2, 2))})
    np.testing.assert_array_equal(found, -np.ones((2, 2)))


def test_integers_keep_their_dtype() -> None:
    x = tensor(2, "int8")
    values = np.array([[1, 2], [2, -128]], "int8")
    assert evaluate(pool_2d(x, (2, 2), True), {x: values}).tolist() == [[2]]
    average = evaluate(pool_2d(x, (1, 2), True, mode="average_exc_pad"), {x: values})
    assert average.dtype == "int8" and average.tolist() == [[1], [-63]]


def test_known_shapes_are_known_at_once() -> None:
    x = TensorType("float32", shape=(10, 20, 24, None))()
    out = pool_2d(x, (2, 2), ignore_border=True)
    assert out.type == TensorType("float32", (10, 20, 12, None))
    (gradient,) = gradients(reduce_sum(out), [x])
    assert gradient.type == x.type


def test_old_names() -> None:
    x = tensor(4)
    values = np.arange(25.0).reshape(1, 1, 5, 5)
    expected = evaluate(pool_2d(x, (2, 2), False), {x: values})
    for out in (
        max_pool_2d(x, (2, 2)),
        max_pool_2d(input=x, ds=[2, 2], ignore_border=False),
        pool_2d(x, ds=(2, 2), st=(2, 2), padding=(0, 0)),
        pool_2d(x, ws=np.array([2, 2]), ignore_border=None),
    ):
        np.testing.assert_array_equal(evaluate(out, {x: values}), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ArgumentError, "ws"),
        ({"ws": 2}, GraphError, "pair of integers"),
        ({"ws": (2, 0)}, ArgumentError, "at least 1"),
        ({"ws": (2, 2), "ds": (2, 2)}, ArgumentError, "two names"),
        ({"ws": (2, 2), "mode": "mean"}, ArgumentError, "mode='mean'"),
        ({"ws": (2, 2), "pad": (1, 1)}, UnsupportedError, "ignore_border"),
        ({"ws": (2, 2), "pad": (1, 2), "ignore_border": True}, UnsupportedError, "less than the window"),
        ({"ws": (2, 2), "stride": (1.5, 1)}, GraphError, "pair of integers"),
    ],
)
def test_refusals_quote_the_users_line(arguments: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        pool_2d(tensor(4), **arguments)
    assert "test_pool.py" in str(caught.value)


def test_vectors_and_bools_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="two axes"):
        pool_2d(tensor(1), (2, 2))
    with pytest.raises(GraphError, match="bool"):
        pool_2d(tensor(2, "bool"), (2, 2))
