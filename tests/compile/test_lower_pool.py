"""Compiled pooling against NumPy: modes, borders, overlaps, ties, NaN, gradients to second order."""

from __future__ import annotations

import numpy as np
import pytest
from against_numpy import hold_to_numpy

import symnet
from symnet import tensor as T
from symnet.ops.pool import MODES
from symnet.tensor.signal.pool import pool_2d

RNG = np.random.default_rng(11)

# The tensor, then how it is pooled.
SETTINGS = {
    "side by side": ((2, 3, 8, 6), {"ws": (2, 2), "ignore_border": True}),
    "a rest": ((2, 3, 9, 5), {"ws": (2, 2), "ignore_border": True}),
    "a rest that counts": ((9, 8), {"ws": (2, 3), "ignore_border": False}),
    "overlapping": ((2, 9, 11), {"ws": (3, 2), "stride": (2, 1), "ignore_border": True}),
    "overlapping, cut": ((2, 8, 9), {"ws": (3, 3), "stride": (2, 1), "ignore_border": False}),
    "overlapping, AlexNet's": ((2, 13, 15), {"ws": (3, 3), "stride": (2, 2), "ignore_border": True}),
    "overlapping much": ((12, 11), {"ws": (5, 3), "stride": (1, 1), "pad": (2, 1), "ignore_border": True}),
    "too much to write out": ((12, 14), {"ws": (6, 5), "stride": (1, 1), "ignore_border": True}),
    "apart": ((2, 9, 11), {"ws": (2, 2), "stride": (3, 4), "ignore_border": False}),
    "padded": ((9, 10), {"ws": (3, 3), "stride": (2, 3), "pad": (1, 2), "ignore_border": True}),
    "padded, side by side": ((2, 7, 8), {"ws": (3, 3), "pad": (2, 1), "ignore_border": True}),
    "large": ((2, 6, 7), {"ws": (5, 6), "ignore_border": False}),
    "larger than the tensor": ((2, 3, 4), {"ws": (5, 5), "ignore_border": True}),
}


def draw(shape, dtype):
    """Small integers, so that maxima tie and sums are exact."""
    return RNG.integers(-3, 4, shape).astype(dtype)


def up_to_second_order(shape, settings, mode, dtype="float32"):
    """Inputs, outputs (value, gradient, gradients of that), and values of the inputs."""
    x, w, d = (T.TensorType(dtype, (False,) * len(shape))() for _ in range(3))
    y = pool_2d(x, mode=mode, **settings)
    gx = symnet.grad(T.sum(y * w), x)
    second = symnet.grad(T.sum(gx * d), w)
    values = [draw(shape, dtype)]
    pooled = symnet.function([x], y, mode="reference")(*values).shape
    return [x, w, d], [y, gx, second], [*values, draw(pooled, dtype), draw(shape, dtype)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SETTINGS)
def test_value_gradient_and_its_gradient(name, mode):
    inputs, outputs, values = up_to_second_order(*SETTINGS[name], mode)
    # A window that is averaged over is no power of two: the second gradient is a sum of quotients.
    hold_to_numpy(inputs, outputs, values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", ["max", "average_exc_pad"])
def test_rewritten(mode):
    inputs, outputs, values = up_to_second_order(*SETTINGS["a rest"], mode)
    hold_to_numpy(inputs, outputs, values, rtol=1e-6, mode="default")


@pytest.mark.parametrize("dtype", ["float64", "int8", "int64"])
def test_other_dtypes(dtype):
    x = T.TensorType(dtype, (False,) * 3)()
    outputs = [pool_2d(x, mode=mode, **SETTINGS["overlapping"][1]) for mode in MODES]
    hold_to_numpy([x], outputs, [draw((2, 7, 6), dtype)])


@pytest.mark.parametrize("name", ["side by side", "padded", "overlapping, cut"])
def test_nan_is_handed_on_and_attained_by_nothing(name):
    shape, settings = SETTINGS[name]
    inputs, outputs, values = up_to_second_order(shape, settings, "max")
    values[0].flat[[3, 17, 40]] = np.nan, np.inf, -np.inf
    compiled = hold_to_numpy(inputs, outputs, values)
    assert np.isnan(compiled(*values)[0]).any() and np.isfinite(compiled(*values)[1]).all()


def test_every_entry_that_ties_gets_the_gradient():
    x = T.fmatrix()
    apart = symnet.grad(T.sum(pool_2d(x, (2, 2), ignore_border=True)), x)
    overlapping = symnet.grad(T.sum(pool_2d(x, (3, 3), True, stride=(1, 2))), x)
    flat = np.ones((6, 6), "float32")
    first, second = hold_to_numpy([x], [apart, overlapping], [flat])(flat)
    assert np.array_equal(first, flat)
    # Rows are in 1, 2, 3, 3, 2 and 1 windows, columns in 1, 1, 2, 1, 1 and none.
    assert np.array_equal(second, np.outer([1, 2, 3, 3, 2, 1], [1, 1, 2, 1, 1, 0]))


def test_sizes_that_change():
    x = T.ftensor3()
    outputs = []
    for name in ("padded", "a rest that counts"):
        y = pool_2d(x, **SETTINGS[name][1])
        outputs += [y, symnet.grad(T.sum(y * y), x)]
    shapes = [(2, 9, 8), (3, 6, 8), (1, 5, 11), (2, 1, 3)]
    hold_to_numpy([x], outputs, *[[draw(shape, "float32")] for shape in shapes])


def test_windows_side_by_side_compute_their_operand_on_the_way():
    x = T.ftensor4()
    y = pool_2d(T.tanh(x) + 1, (2, 2), ignore_border=True)
    compiled = hold_to_numpy([x], [y], [draw((2, 3, 6, 4), "float32")], rtol=1e-6)
    assert len(compiled._executor.kernels) == 1


def test_what_is_compared_with_its_maxima_is_computed_once():
    """A second computation could be rounded otherwise, and no entry would attain the maximum."""
    x = T.ftensor4()
    z = T.sqrt(x * x + 0.3) * 0.7 + x
    gz = symnet.grad(T.sum(pool_2d(z, (2, 2), ignore_border=True)), z)
    run = symnet.function([x], T.sum(gz), mode="default")
    assert run(RNG.standard_normal((3, 4, 8, 8)).astype("float32")) == 3 * 4 * 4 * 4
