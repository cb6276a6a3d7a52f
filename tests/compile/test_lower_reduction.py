"""Reductions against NumPy in float64: parts and strips of long ones, rows by fours, what is left over."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T

#: Shape and axes: in one nest and in parts, of rows and along rows, several groups of axes, odd lengths.
CASES = [
    ((200_003,), (0,)),
    ((1000, 999), (0,)),
    ((1000, 999), (1,)),
    ((1000, 999), (0, 1)),
    ((37, 11_503), (0,)),
    ((5, 4_096), (0,)),
    ((20, 30, 3000), (1,)),
    ((3, 40, 70, 30), (0, 2, 3)),
    ((64, 5, 33, 20), (0, 2, 3)),
    ((64, 5, 33, 20), (1, 3)),
    ((6, 50_000, 2), (1,)),
    ((2, 3, 5), (0, 2)),
    ((1, 1), (0,)),
]
FUNCTIONS = {"sum": 1e-6, "mean": 1e-6, "max": 0, "min": 0}


@pytest.mark.parametrize("by_value", ["numbers", "NaN", "computed"])
@pytest.mark.parametrize(("shape", "axes"), CASES)
def test_against_float64(shape, axes, by_value):
    value = np.random.default_rng(4).uniform(-1, 2, shape).astype("float32")
    if by_value == "NaN":
        value.reshape(-1)[[0, value.size // 2, -1]] = np.nan, np.inf, -np.inf
    x = T.TensorType("float32", (False,) * len(shape))()
    operand = x * 2 + 1 if by_value == "computed" else x
    f = symnet.function([x], [getattr(T, function)(operand, axis=axes) for function in FUNCTIONS])
    exact = value.astype("float64") * (2 if by_value == "computed" else 1) + (by_value == "computed")
    with np.errstate(invalid="ignore"):
        for found, (function, tolerance) in zip(f(value), FUNCTIONS.items(), strict=True):
            expected = getattr(np, function)(exact, axis=axes)
            scale = np.mean(np.abs(exact), axis=axes) * (
                exact.size // expected.size if function == "sum" else 1
            )
            scale = np.where(np.isfinite(scale), scale, 1)
            np.testing.assert_allclose(found / scale, expected / scale, rtol=1e-7, atol=max(tolerance, 1e-7))


def test_of_integers_bools_and_products():
    random = np.random.default_rng(5)
    whole = random.integers(-9, 10, (300, 700))
    x, b, p = T.lmatrix(), T.TensorType("bool", (False, False))(), T.dmatrix()
    bools, ones = whole > 8, 1 + whole * 1e-5
    outputs = [T.sum(x, axis=0), T.sum(x), T.max(x, axis=0), T.prod(x, axis=1)]
    outputs += [T.any(b, axis=0), T.any(b), T.all(~b), T.prod(p), T.prod(p, axis=0)]
    found = symnet.function([x, b, p], outputs)(whole, bools, ones)
    expected = [whole.sum(0), whole.sum(), whole.max(0), whole.prod(1), bools.any(0), bools.any()]
    expected += [(~bools).all(), ones.prod(), ones.prod(0)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_lengths_that_change(axis):
    x = T.fmatrix()
    f = symnet.function([x], T.sum(x, axis=axis))
    for shape in [(3, 5), (40, 5000), (900, 300), (1, 70_000), (0, 4), (17, 2049), (4, 0)]:
        value = np.random.default_rng(6).uniform(0, 1, shape).astype("float32")
        np.testing.assert_allclose(f(value), value.astype("float64").sum(axis=axis), rtol=2e-6)


@pytest.mark.parametrize("shape, axes", [((300_000,), (0,)), ((1000, 900), (0,)), ((1000, 900), (1,))])
def test_the_number_of_threads_changes_no_bit(shape, axes):
    value = np.random.default_rng(7).standard_normal(shape).astype("float32")
    x = T.TensorType("float32", (False,) * len(shape))()
    f = symnet.function([x], [T.sum(x * x, axis=axes), T.max(x, axis=axes)])
    known = symnet.config.threads
    found = []
    try:
        for threads in (1, 2, 4):
            symnet.config.threads = threads
            found.append([np.asarray(each).tobytes() for each in f(value)])
    finally:
        symnet.config.threads = known
    assert found[0] == found[1] == found[2]


def test_a_long_sum_is_more_exact_than_numpys():
    value = np.random.default_rng(8).uniform(0, 1, (3_000_000,)).astype("float32")
    x = T.fvector()
    exact = np.sum(value, dtype="float64")
    assert (
        abs(float(symnet.function([x], T.sum(x))(value)) - exact) <= abs(float(np.sum(value)) - exact) + 0.07
    )
