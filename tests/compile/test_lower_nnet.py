"""Compiled softmax and logarithmic softmax against NumPy: gradients, extreme rows, sizes, one kernel."""

from __future__ import annotations

import numpy as np
import pytest
from against_numpy import hold_to_numpy

import symnet
from symnet import tensor as T

RNG = np.random.default_rng(13)
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}

EXTREMES = [
    [0.0, np.inf, 1.0, 2.0],
    [0.0, -np.inf, 1.0, 2.0],
    [-np.inf, -np.inf, -np.inf, -np.inf],
    [np.nan, 1.0, 2.0, 3.0],
    [np.inf, np.inf, -np.inf, 0.0],
    [1e30, -1e30, 1e30, 0.0],
    [300.0, -300.0, 299.0, 0.0],
    [-0.0, 0.0, 0.0, -0.0],
]


def up_to_second_order(function, dtype):
    """Inputs x, w, d; outputs: the value, its gradient, the gradients of that."""
    x, w, d = (T.TensorType(dtype, (False, False))() for _ in range(3))
    y = function(x)
    gx = symnet.grad(T.sum(y * w), x)
    return [x, w, d], [y, gx, *symnet.grad(T.sum(gx * d), [x, w])]


@pytest.mark.parametrize("mode", ["as written", "default"])
@pytest.mark.parametrize("function", [T.nnet.softmax, T.nnet.logsoftmax])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_value_gradient_and_its_gradients(function, dtype, mode):
    inputs, outputs = up_to_second_order(function, dtype)
    calls = [
        [RNG.standard_normal(shape).astype(dtype) * 3 for _ in inputs]
        for shape in [(10, 10), (3, 37), (3, 1), (2, 0), (0, 4)]
    ]
    chosen = {} if mode == "as written" else {"mode": "default"}
    # Sums of up to 37 terms, each a product of numbers of about 3.
    hold_to_numpy(inputs, outputs, *calls, atol=100 * TOLERANCE[dtype], **chosen)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_extreme_rows(dtype):
    x = T.TensorType(dtype, (False, False))()
    rows = np.array(EXTREMES, dtype)
    outputs = [T.nnet.softmax(x), T.nnet.logsoftmax(x)]
    compiled = hold_to_numpy([x], outputs, [rows], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    softmax, logarithm = compiled(rows)
    assert np.isnan(softmax[[0, 2, 3, 4]]).all() and softmax[1, 1] == 0
    half = -np.log(2)
    assert logarithm[5].tolist() == pytest.approx([half, -2e30, half, -1e30], rel=1e-6)
    assert logarithm[6, 1] == pytest.approx(-600.3133, abs=1e-3)


def test_its_operand_is_computed_on_the_way():
    x, b = T.fmatrix(), T.fvector()
    values = [RNG.standard_normal(shape).astype("float32") for shape in [(4, 6), (6,)]]
    compiled = hold_to_numpy([x, b], [T.nnet.softmax(T.tanh(x) + b)], values, rtol=2e-6)
    (kernel,) = compiled._executor.kernels
    assert [str(node.op) for node in kernel.nodes].count("tanh") == 1


@pytest.mark.parametrize("shape", [(3, 10_000), (2, 4096), (5, 4097)])
def test_long_rows(shape):
    x = T.fmatrix()
    value = RNG.standard_normal(shape).astype("float32") * 4
    compiled = symnet.function([x], [T.nnet.softmax(x), T.nnet.logsoftmax(x)])
    wide = value.astype("float64")
    wide -= wide.max(axis=1, keepdims=True)
    total = np.exp(wide).sum(axis=1, keepdims=True)
    softmax, logarithm = compiled(value)
    np.testing.assert_allclose(softmax, np.exp(wide) / total, rtol=3e-6)
    np.testing.assert_allclose(logarithm, wide - np.log(total), rtol=3e-7, atol=2e-6)


@pytest.mark.parametrize("written", ["picked probabilities", "picked logarithms"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_cross_entropy_reads_the_scores_and_writes_the_gradient(dtype, written):
    x, y = T.TensorType(dtype, (False, False))(), T.lvector()
    rows = T.arange(y.shape[0])
    p = T.nnet.softmax(x)
    picked = T.log(p[rows, y]) if written == "picked probabilities" else T.log(p)[rows, y]
    cost = -T.mean(picked)
    scores, classes = RNG.standard_normal((6, 9)).astype(dtype) * 30, np.array([3, 0, 8, -1, 3, 3])
    compiled = symnet.function([x, y], [cost, symnet.grad(cost, x)])
    found, gradient = compiled(scores, classes)
    wide = scores.astype("float64") - scores.max(axis=1, keepdims=True)
    logarithm = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    onehot = np.eye(9)[classes]
    tolerance = 40 * TOLERANCE[dtype]
    np.testing.assert_allclose(found, -np.mean(np.sum(logarithm * onehot, axis=1)), rtol=tolerance)
    expected = (np.exp(logarithm) - onehot) / 6
    np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance / 40)
    # The base of the gradient, and what is added to its picked entries; no matrix of logarithms.
    lines = [line for kernel in compiled.kernels for line in kernel.source.splitlines()]
    stored = [line for line in lines if "] = " in line.split("#")[0] and "* 9 +" in line]
    assert len(stored) == 2, stored
    with pytest.raises(symnet.errors.IndexingError):
        compiled(scores, np.array([0, 1, 2, 3, 4, 9]))
