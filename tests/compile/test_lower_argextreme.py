"""argmax and argmin against NumPy: along memory and across it, in blocks, strips, chunks; ties and NaN."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T

#: Shapes that need one block and several, strips and a part of one, chunks, and lengths of 1.
SHAPES = [(5,), (1, 2000), (7, 1), (100_003,), (3, 40_000), (600, 513), (40, 1100), (20, 3, 50), (2, 3000, 5)]


@pytest.mark.parametrize("function", ["argmax", "argmin"])
@pytest.mark.parametrize("shape", SHAPES)
def test_places(shape, function):
    random = np.random.default_rng(0)
    numbers = random.standard_normal(shape)
    with_nan = np.where(random.random(shape) < 0.01, np.nan, numbers)
    values = [numbers, with_nan, np.round(numbers), np.full(shape, -np.inf), np.full(shape, np.inf)]
    values += [(numbers * 3).astype("int32"), random.random(shape) < 0.01]
    inputs = {"float32": T.TensorType("float32", (False,) * len(shape))()}
    inputs["int32"] = T.TensorType("int32", (False,) * len(shape))()
    inputs["bool"] = T.TensorType("bool", (False,) * len(shape))()
    axes = [None, *range(len(shape))]
    compiled = {
        dtype: symnet.function([x], [getattr(T, function)(x, axis=axis) for axis in axes])
        for dtype, x in inputs.items()
    }
    for value in values:
        value = value.astype("float32") if value.dtype == "float64" else value
        for axis, found in zip(axes, compiled[str(value.dtype)](value), strict=True):
            np.testing.assert_array_equal(found, getattr(np, function)(value, axis=axis))


def test_across_memory_in_float64_of_what_is_computed_on_the_way():
    x = T.dmatrix()
    f = symnet.function([x], [T.argmax(T.exp(x) - x, axis=0), T.argmin(x.T * 2, axis=1)])
    value = np.random.default_rng(1).standard_normal((50, 1300))
    first, second = f(value)
    np.testing.assert_array_equal(first, np.argmax(np.exp(value) - value, axis=0))
    np.testing.assert_array_equal(second, np.argmin(value, axis=0))


def test_a_long_search_is_cut_into_chunks_of_a_size_that_follows_from_its_length():
    x = T.fvector()
    f = symnet.function([x], T.argmax(x))
    value = np.zeros(200_000, "float32")
    value[[150_000, 199_999]] = 1
    assert f(value) == 150_000
    assert len(f.kernels) == 2 and "for chunk1 in range(13):" in f.kernels[0].source
