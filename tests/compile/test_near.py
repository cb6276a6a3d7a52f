"""Sines, cosines and tangents of every size of argument, in each kind of loop that takes them."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from running import by_llvm, by_numba

import symnet
import symnet.tensor as T
from symnet.compile import near, nest
from symnet.compile.nest import (
    INDEX,
    Accumulate,
    BufferParameter,
    Declare,
    For,
    Literal,
    Load,
    Name,
    Nest,
    Store,
)
from symnet.compile.print_numba import print_nest

MEANING = {"sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan}


def exact(function: str, x: np.ndarray) -> np.ndarray:
    with mpmath.workprec(1300):
        return np.array([float(MEANING[function](mpmath.mpf(float(each)))) for each in x])


def arguments(dtype: str) -> np.ndarray:
    """Blocks of moderate numbers, and some with huge ones, infinities and NaN among them."""
    x = np.random.default_rng(2).normal(0, 50, 3 * near.BLOCK + 77).astype(dtype)
    huge = [1e5, 1e22, -3e30, near.MOST[dtype], np.finfo(dtype).max, -np.finfo(dtype).max]
    x[near.BLOCK + 10 : near.BLOCK + 16] = huge
    x[-3:] = [np.inf, -np.inf, np.nan]
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", MEANING)
def test_every_size_of_argument(function, dtype):
    x = arguments(dtype)
    v = T.TensorType(dtype, (False,))()
    f = symnet.function([v], getattr(T, function)(v))
    out = f(x)
    assert np.isnan(out[-3:]).all()
    expected = exact(function, x[:-3])
    off = np.abs(out[:-3] - expected) / np.spacing(np.abs(expected).astype(dtype))
    assert off.max() <= 4


def test_a_value_does_not_depend_on_its_neighbours():
    x = arguments("float32")
    v = T.fvector()
    f = symnet.function([v], T.sin(v) + T.cos(v * 2))
    calm = np.where(np.abs(x) < 500, x, np.float32(0)).astype("float32")
    same = np.abs(x) < 500
    np.testing.assert_array_equal(f(x)[same], f(calm)[same])


def test_sums_and_rows_and_sines_of_sines():
    x = arguments("float64")[:-3]
    v = T.dvector()
    total, twice = symnet.function([v], [T.sum(T.sin(v)), T.cos(T.sin(v) * 3)])(x)
    np.testing.assert_allclose(total, np.sum(np.sin(x)), rtol=1e-9)
    np.testing.assert_allclose(twice, np.cos(np.sin(x) * 3), rtol=0, atol=1e-14)
    m = T.dmatrix()
    rows = np.random.default_rng(0).normal(0, 1e7, (7, 33))
    f = symnet.function([m], [T.sum(T.sin(m), axis=0), T.tan(m.T + 1)])
    for found, expected in zip(f(rows), [np.sin(rows).sum(0), np.tan(rows.T + 1)], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def in_place(vector: bool, step: int) -> Nest:
    """buffer[i + step] = sin(buffer[i])"""
    i = Name(INDEX, "i")
    value = nest.call("sin", Load("float64", "buffer", i))
    loop = For("i", Name(INDEX, "n"), (Store("buffer", nest.add(i, step), value),), vector=vector)
    body = near.look_at_arguments((loop,))
    return Nest(f"in_place_{step}", (BufferParameter("buffer", "float64", True),), ("n",), body)


def test_loops_whose_rounds_follow_from_each_other_are_left_alone():
    chained, alone = in_place(False, 1), in_place(True, 0)
    assert "sin_near" not in print_nest(chained) and "sin_near" in print_nest(alone)
    for kernels in (by_llvm([chained, alone]), by_numba([chained, alone])):
        x = np.linspace(0, 3e7, 2000)
        y = x.copy()
        assert kernels["in_place_1"](y, y.size - 1)[0] == 0
        expected = [x[0]]
        for _ in x[1:]:
            expected.append(np.sin(expected[-1]))
        np.testing.assert_allclose(y, expected, rtol=1e-13)
        y = x.copy()
        assert kernels["in_place_0"](y, y.size)[0] == 0
        np.testing.assert_allclose(y, np.sin(x), rtol=1e-13, atol=1e-15)


def test_a_running_argument_is_left_alone():
    i, total = Name(INDEX, "i"), Name("float64", "total")
    step = nest.call("add", Load("float64", "x", i), nest.call("sin", total))
    body = (
        Declare("total", Literal("float64", 0.0)),
        For("i", Name(INDEX, "n"), (Accumulate("total", "add", step),)),
    )
    assert near.look_at_arguments(body) == body
