"""What users rely on: values and gradients at scores of a thousand, as the whole pipeline leaves them.

The expected values come from exact forms written with NumPy for each expression.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symnet.ops.operators  # noqa: F401  (gives variables their operators)
from symnet.gradient import grad
from symnet.graph.types import TensorType
from symnet.ops.creation import arange
from symnet.ops.elementwise_table import exp, log, log1p, sigmoid, softplus
from symnet.ops.nnet import binary_crossentropy, categorical_crossentropy, softmax
from symnet.ops.reduction import mean
from symnet.ops.reduction import sum as total

from .running import rewritten, values

SCORES = np.array(
    [[1000.0, 0.0, -1000.0], [-800.0, 800.0, 800.0], [0.3, -0.2, 0.1], [-1000.0, -1000.0, -999.0]]
)
CLASSES = np.array([1, 0, 2, 2])
ONE_HOT = np.eye(3)[CLASSES]


def _log_softmax(x: Any, axis: int = 1) -> Any:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def _softmax(x: Any, axis: int = 1) -> Any:
    return np.exp(_log_softmax(x, axis))


def _sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)


def _log_sigmoid(x: Any) -> Any:
    return -np.logaddexp(0, -x)


def _picked(x: Any) -> Any:
    return _log_softmax(x)[np.arange(4), CLASSES]


CASES: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum of log(softmax)": (
        lambda x, y, t: total(log(softmax(x))),
        lambda x: _log_softmax(x).sum(),
        lambda x: 1 - 3 * _softmax(x),
    ),
    "weighted log(softmax)": (
        lambda x, y, t: -mean(t * log(softmax(x))),
        lambda x: -(ONE_HOT * _log_softmax(x)).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 12,
    ),
    "-mean(log(softmax)[arange, y])": (
        lambda x, y, t: -mean(log(softmax(x))[arange(y.shape[0]), y]),
        lambda x: -_picked(x).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 4,
    ),
    "-mean(log(softmax[arange, y]))": (
        lambda x, y, t: -mean(log(softmax(x)[arange(y.shape[0]), y])),
        lambda x: -_picked(x).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 4,
    ),
    "column of log(softmax)": (
        lambda x, y, t: total(log(softmax(x)[:, 0])),
        lambda x: _log_softmax(x)[:, 0].sum(),
        lambda x: np.eye(3)[[0, 0, 0, 0]] - _softmax(x),
    ),
    "categorical_crossentropy of classes": (
        lambda x, y, t: mean(categorical_crossentropy(softmax(x), y)),
        lambda x: -_picked(x).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 4,
    ),
    "categorical_crossentropy of one-hot rows": (
        lambda x, y, t: mean(categorical_crossentropy(softmax(x), t)),
        lambda x: -_picked(x).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 4,
    ),
    "two losses of one softmax": (
        lambda x, y, t: mean(categorical_crossentropy(softmax(x), y)) + total(softmax(x) ** 2),
        lambda x: -_picked(x).mean() + (_softmax(x) ** 2).sum(),
        lambda x: (
            (_softmax(x) - ONE_HOT) / 4
            + 2 * _softmax(x) * (_softmax(x) - (_softmax(x) ** 2).sum(1, keepdims=True))
        ),
    ),
    "log of a softmax written out": (
        lambda x, y, t: -mean(log(exp(x) / exp(x).sum(axis=1, keepdims=True))[arange(y.shape[0]), y]),
        lambda x: -_picked(x).mean(),
        lambda x: (_softmax(x) - ONE_HOT) / 4,
    ),
    "weighted log of a softmax written out": (
        lambda x, y, t: total(t * log(exp(x) / exp(x).sum(axis=1, keepdims=True))),
        lambda x: _picked(x).sum(),
        lambda x: ONE_HOT - _softmax(x),
    ),
    "softmax written out along columns": (
        lambda x, y, t: total(t * (exp(x) / exp(x).sum(axis=0))),
        lambda x: (ONE_HOT * _softmax(x, 0)).sum(),
        lambda x: _softmax(x, 0) * (ONE_HOT - (ONE_HOT * _softmax(x, 0)).sum(0, keepdims=True)),
    ),
    "log(sum(exp)) of rows": (
        lambda x, y, t: total(log(total(exp(x), axis=1))),
        lambda x: (x - _log_softmax(x))[:, 0].sum(),
        _softmax,
    ),
    "log(sum(exp)) of columns": (
        lambda x, y, t: mean(log(total(exp(x), axis=0, keepdims=True))),
        lambda x: (x - _log_softmax(x, 0))[0].mean(),
        lambda x: _softmax(x, 0) / 3,
    ),
    "log(sum(exp)) of everything": (
        lambda x, y, t: log(total(exp(x))),
        lambda x: 1000.0,
        lambda x: np.exp(x - 1000),
    ),
    "log-softmax written out": (
        lambda x, y, t: total(t * (x - log(exp(x).sum(axis=1, keepdims=True)))),
        lambda x: _picked(x).sum(),
        lambda x: ONE_HOT - _softmax(x),
    ),
    "log(sigmoid)": (
        lambda x, y, t: mean(log(sigmoid(x))),
        lambda x: _log_sigmoid(x).mean(),
        lambda x: _sigmoid(-x) / 12,
    ),
    "log(1 - sigmoid)": (
        lambda x, y, t: total(log(1 - sigmoid(x))),
        lambda x: _log_sigmoid(-x).sum(),
        lambda x: -_sigmoid(x),
    ),
    "log1p(-sigmoid)": (
        lambda x, y, t: total(log1p(-sigmoid(x))),
        lambda x: _log_sigmoid(-x).sum(),
        lambda x: -_sigmoid(x),
    ),
    "binary_crossentropy of sigmoid": (
        lambda x, y, t: mean(binary_crossentropy(sigmoid(x), t)),
        lambda x: -(ONE_HOT * _log_sigmoid(x) + (1 - ONE_HOT) * _log_sigmoid(-x)).mean(),
        lambda x: (_sigmoid(x) - ONE_HOT) / 12,
    ),
    "sum of binary_crossentropy": (
        lambda x, y, t: total(binary_crossentropy(sigmoid(x), t)),
        lambda x: -(ONE_HOT * _log_sigmoid(x) + (1 - ONE_HOT) * _log_sigmoid(-x)).sum(),
        lambda x: _sigmoid(x) - ONE_HOT,
    ),
    "log of a sigmoid written out": (
        lambda x, y, t: mean(log(1 / (1 + exp(-x)))),
        lambda x: _log_sigmoid(x).mean(),
        lambda x: _sigmoid(-x) / 12,
    ),
    "binary crossentropy written out": (
        lambda x, y, t: -mean(t * log(1 / (1 + exp(-x))) + (1 - t) * log(1 - 1 / (1 + exp(-x)))),
        lambda x: -(ONE_HOT * _log_sigmoid(x) + (1 - ONE_HOT) * _log_sigmoid(-x)).mean(),
        lambda x: (_sigmoid(x) - ONE_HOT) / 12,
    ),
    "a sigmoid written out": (
        lambda x, y, t: total(1 / (1 + exp(-x))),
        lambda x: _sigmoid(x).sum(),
        lambda x: _sigmoid(x) * _sigmoid(-x),
    ),
    "exp(x) / (1 + exp(x))": (
        lambda x, y, t: total(t * (exp(x) / (1 + exp(x)))),
        lambda x: (ONE_HOT * _sigmoid(x)).sum(),
        lambda x: ONE_HOT * _sigmoid(x) * _sigmoid(-x),
    ),
    "log(1 + exp)": (
        lambda x, y, t: total(log(1 + exp(x))),
        lambda x: np.logaddexp(0, x).sum(),
        _sigmoid,
    ),
    "log1p(exp)": (
        lambda x, y, t: mean(t * log1p(exp(x))),
        lambda x: (ONE_HOT * np.logaddexp(0, x)).mean(),
        lambda x: ONE_HOT * _sigmoid(x) / 12,
    ),
    "softplus": (
        lambda x, y, t: total(softplus(x)),
        lambda x: np.logaddexp(0, x).sum(),
        _sigmoid,
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_large_scores(name: str, dtype: str) -> None:
    build, value, gradient = CASES[name]
    x = TensorType(dtype, shape=(None, None))("x")
    y, t = TensorType("int64", shape=(None,))("y"), TensorType(dtype, shape=(None, None))("t")
    cost = build(x, y, t)
    given = {x: SCORES, y: CLASSES, t: ONE_HOT}
    with np.errstate(all="raise", under="ignore"):
        expected = [value(SCORES), gradient(SCORES)]
    tolerance = 1e-9 if dtype == "float64" else 3e-4
    together, _ = rewritten([cost, grad(cost, x)])
    apart, _ = rewritten(grad(cost, x))
    found = values(together.outputs, given) + values(apart.outputs, given)
    for have, want in zip(found, [*expected, expected[1]], strict=True):
        assert have.dtype == dtype
        np.testing.assert_allclose(have, want, rtol=tolerance, atol=1e-12 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize(
    ("build", "exact"),
    [
        (lambda x: exp(x) - 1, np.expm1),
        (lambda x: log(1 + x), np.log1p),
        (lambda x: log(1 - x), lambda x: np.log1p(-x)),
    ],
)
def test_small_numbers_are_not_lost(build: Any, exact: Any) -> None:
    x = TensorType("float64", shape=(None,))("x")
    graph, _ = rewritten(build(x))
    small = np.array([1e-20, -3e-17, 2e-9, 0.0])
    np.testing.assert_allclose(values(graph.outputs, {x: small})[0], exact(small), rtol=1e-14)


def test_infinite_scores_in_the_logarithm_of_a_sum() -> None:
    x = TensorType("float64", shape=(None, None))("x")
    graph, _ = rewritten(log(total(exp(x), axis=1)))
    scores = np.array([[-np.inf, -np.inf], [np.inf, 1.0], [-np.inf, 2.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(values(graph.outputs, {x: scores})[0], [-np.inf, np.inf, 2.0, np.nan])
