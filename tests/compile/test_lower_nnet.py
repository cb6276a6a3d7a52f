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
