"""The liberties that arithmetic takes when it is asked to, and does not when it is not."""

from __future__ import annotations

import numpy as np
import pytest
from llvmlite import ir

import symnet
import symnet.tensor as T
from symnet.backend.cpu.print_llvm import print_nest

GIVEN = np.array([np.inf, -np.inf, np.nan, 1.0, 0.0], dtype="float32")


def nothing_left():
    x = T.fvector()
    return symnet.function([x], x * 2 - x * 2)


@pytest.mark.parametrize("backend", ["llvm", "numba"])
def test_infinity_and_nan_stay_what_they_are_unless_it_is_asked_for(backend):
    with symnet.config.override(backend=backend):
        found = nothing_left()(GIVEN)
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 0, 0])


@pytest.mark.parametrize("backend", ["llvm", "numba"])
def test_finite_values_stay_right_where_it_is(backend):
    x = T.fmatrix()
    with symnet.config.override(backend=backend, fastmath=True):
        function = symnet.function([x], [T.exp(x) / (1 + T.exp(x)), (x**2).sum(axis=1), T.tanh(x) - x])
        given = np.random.default_rng(1).normal(size=(20, 30)).astype("float32")
        found = function(given)
    wanted = [np.exp(given) / (1 + np.exp(given)), (given**2).sum(axis=1), np.tanh(given) - given]
    for mine, its in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)


def test_one_does_not_get_the_others_code_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMNET_CACHE_DIR", str(tmp_path))
    for fastmath in (False, True, False):
        with symnet.config.override(fastmath=fastmath):
            function = nothing_left()
            found = function(GIVEN)
        if not fastmath:
            assert np.isnan(found[:3]).all()
    assert function.report["cache"] == "hit"
    assert len([each for each in tmp_path.iterdir() if each.suffix == ".object"]) == 2


def test_the_flags_are_on_the_kernels_own_arithmetic_alone():
    x = T.fvector()
    function = symnet.function([x], T.exp(x) * x)
    function(GIVEN)
    (kernel,) = function.kernels
    plain, fast = ir.Module(), ir.Module()
    print_nest(plain, kernel.nest)
    print_nest(fast, kernel.nest, fast=True)
    assert " nnan " not in str(plain)
    marked = [line for line in str(fast).splitlines() if " nnan " in line]
    assert len(marked) == 1 and "fmul" in marked[0]
