"""Elementwise kernels that become one: which do, and that old values are read before new ones are written."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
from symnet import tensor as T

RNG = np.random.default_rng(5)


def shared(*shape, dtype="float32"):
    return symnet.shared(np.abs(RNG.standard_normal(shape)).astype(dtype))


def momentum():
    g, w, v = T.fmatrix("g"), shared(30, 21), shared(30, 21)
    velocity = 0.9 * v - 0.1 * g
    return g, [(w, w + velocity), (v, velocity)], 1


def adam():
    g, w, m, v = T.fmatrix("g"), shared(30, 21), shared(30, 21), shared(30, 21)
    mean = 0.9 * m + 0.1 * g
    square = 0.99 * v + 0.01 * T.sqr(g)
    return g, [(m, mean), (v, square), (w, w - 0.01 * mean / (T.sqrt(square) + 1e-6))], 1


def swapped():
    """Each is written where the other's old value was read."""
    g, v, w = T.fmatrix("g"), shared(30, 21), shared(30, 21)
    return g, [(v, w + g), (w, v - g)], None


def turned():
    """The second reads the first's old value at another place than where it is written."""
    g, v, w = T.fmatrix("g"), shared(21, 21), shared(21, 21)
    return g, [(v, v + g), (w, w - v.T)], 2


def chained():
    """Three that hand values on, none of which the others read at another place."""
    g, a, b, c = T.fmatrix("g"), shared(7, 5), shared(7, 5), shared(7, 5)
    first = T.exp(-a) * g
    second = T.tanh(b + first)
    return g, [(a, first), (b, second), (c, c * second + first)], 1


def of_other_shapes():
    g, v, w = T.fmatrix("g"), shared(30, 21), shared(21)
    return g, [(v, v + g), (w, w - g[0])], 2


FORMS = {each.__name__: each for each in (momentum, adam, swapped, turned, chained, of_other_shapes)}


@pytest.mark.parametrize("backend", ["numba", "llvm"])
@pytest.mark.parametrize("form", FORMS)
def test_updates_see_old_values(form, backend):
    g, updates, kernels = FORMS[form]()
    before = [variable.get_value() for variable, _ in updates]
    value = RNG.standard_normal(before[0].shape).astype("float32")
    found = []
    for mode in ("reference", "default"):
        with symnet.config.override(backend=backend):
            function = symnet.function([g], T.sqr(g).sum(), updates=updates, mode=mode)
            results = [function(value) for _ in range(3)]
        found.append([*results, *(variable.get_value() for variable, _ in updates)])
        for (variable, _), old in zip(updates, before, strict=True):
            variable.set_value(old)
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    written = [kernel for kernel in function.kernels if "sum" not in kernel.name]
    assert kernels is None or len(written) == kernels, written


def test_kernels_apart_are_joined_only_where_no_result_waits():
    """Both read x, but the second's result would lie in memory while the product is computed."""
    x, w = T.fmatrix("x"), shared(21, 21)
    first = T.exp(x)
    second = T.tanh(T.dot(first, w)).sum() * T.sqr(x)
    function = symnet.function([x], [first, T.dot(second, second)])
    function(np.ones((21, 21), "float32"))
    assert len(function.kernels) >= 4


def test_a_value_that_only_the_joined_kernel_needs_is_not_stored():
    """The sum of many products is one value that two results read."""
    x, y = T.fmatrix("x"), T.fmatrix("y")
    terms = sum(T.tanh(x * k) for k in range(1, 5))
    function = symnet.function([x, y], [terms * y, terms + y])
    value = np.ones((6, 5), "float32")
    scaled, moved = function(value, 2 * value)
    np.testing.assert_allclose(scaled, 2 * (moved - 2), rtol=1e-6)
    assert len(function.kernels) == 1
    assert function.report["arena_bytes"] == 0


def test_no_kernel_comes_before_the_test_of_its_indices():
    """Both gather from one table and would be joined, but the second's indices are tested in between."""
    first, second, x = T.lvector("first"), T.lvector("second"), T.fvector("x")
    table = symnet.shared(np.arange(5, dtype="float32"))
    function = symnet.function([first, second, x], [table[first] + x, table[second] * 2])
    function([0, 1], [3, 4], np.ones(2, "float32"))
    steps = function._executor.specialisations[-1].program.calls
    users = [each for each in steps if "second" in {buffer.name for buffer in each.buffers}]
    assert "check_indices" in users[0].kernel.name and len(users) == 2
    with pytest.raises(symnet.errors.IndexingError):
        function([0, 1], [3, 5], np.ones(2, "float32"))
