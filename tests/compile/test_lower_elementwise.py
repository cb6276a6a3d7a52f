"""Elementwise kernels that read across memory: in tiles where that pays, and equal to NumPy in any case."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.compile.lower_elementwise import TILE

SHAPES = [(64, 64), (65, 129), (100, 70), (63, 200), (5, 300), (1, 80), (80, 1)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
@pytest.mark.parametrize("shape", SHAPES)
def test_transposed(shape, dtype):
    x = T.TensorType(dtype, (False, False))()
    y = T.TensorType(dtype, (False, False))()
    a, b = (
        np.random.default_rng(k).integers(0, 2, s).astype(dtype) for k, s in enumerate((shape, shape[::-1]))
    )
    f = symnet.function([x, y], [T.eq(x.T, y), T.maximum(x, y.T), x.T])
    for found, expected in zip(f(a, b), [b == a.T, np.maximum(a, b.T), a.T], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_axes_in_any_order():
    x = T.ftensor4()
    orders = [(0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 3, 2), (0, 1, 3, 2)]
    f = symnet.function([x], [x.dimshuffle(order) * 2 for order in orders])
    value = np.random.default_rng(0).standard_normal((3, 65, 2, 70)).astype("float32")
    for found, order in zip(f(value), orders, strict=True):
        np.testing.assert_array_equal(found, value.transpose(order) * 2)


def test_only_what_is_read_across_memory_goes_by_tiles():
    x, row = T.fmatrix(), T.fvector()
    tiled = []
    for result in (x.T + 1, x + row, x * row.dimshuffle(0, "x")):
        f = symnet.function([x, row], result, on_unused_input="ignore")
        f(np.zeros((100, 100), "float32"), np.zeros(100, "float32"))
        tiled.append(any(f"range({-(-100 // TILE)})" in kernel.source for kernel in f.kernels))
    assert tiled == [True, False, False]
