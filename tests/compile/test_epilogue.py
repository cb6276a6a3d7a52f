"""Kernels that move into the store of a contraction: which do, what they compute, when they write."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
from symnet import tensor as T
from symnet.errors import IndexingError
from symnet.tensor.nnet import conv2d, sigmoid

RNG = np.random.default_rng(11)


def draw(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


def shared(*shape, dtype="float32", name=None):
    return symnet.shared(draw(*shape, dtype=dtype), name=name)


# --- forms -----------------------------------------------------------------------------------------
# Each makes (inputs, outputs, updates, values of the inputs, contractions, other kernels).


def bias_and_sigmoid():
    x, w, b = T.fmatrix("x"), shared(30, 21), shared(21)
    return [x], [sigmoid(T.dot(x, w) + b)], [], [draw(7, 30)], 1, 0


def bias_along_rows():
    x, w, b = T.fmatrix("x"), shared(30, 21), T.fvector("b")
    return [x, b], [T.maximum(0, T.dot(x, w) + b.dimshuffle(0, "x"))], [], [draw(7, 30), draw(7)], 1, 0


def mask_of_a_rectifier():
    """The backward product, times the sign of what went forward, which is known from its output."""
    x, w, v, g = T.fmatrix("x"), shared(8, 20), shared(20, 5), T.fmatrix("g")
    hidden = T.maximum(0.0, T.dot(x, w))
    out = T.dot(hidden, v)
    gradient = T.grad((out * g).sum(), x)
    return [x, g], [out, gradient], [], [draw(6, 8), draw(6, 5)], 4, 1


def masked_by_bools():
    x, w, m = T.fmatrix("x"), shared(30, 17), T.TensorType("bool", (False, False))("m")
    values = [draw(5, 30), RNG.integers(0, 2, (5, 17)).astype(bool)]
    return [x, m], [T.dot(x, w) * m], [], values, 1, 0


def two_kernels_in_a_row():
    """What stands between them is looked at in another shape."""
    x, w, y = T.fmatrix("x"), shared(30, 24), T.ftensor3("y")
    scaled = (T.dot(x, w) * 3 + 1).reshape((5, 4, 6))
    return [x, y], [T.sqr(scaled) - y], [], [draw(5, 30), draw(5, 4, 6)], 1, 0


def descent():
    x, g, w = T.fmatrix("x"), T.fmatrix("g"), shared(30, 21)
    return [x, g], [], [(w, 0.9 * w - 0.1 * T.dot(x.T, g))], [draw(7, 30), draw(7, 21)], 1, 0


def descent_of_a_transposed_weight():
    x, g, w = T.dmatrix("x"), T.dmatrix("g"), shared(21, 30, dtype="float64")
    values = [draw(7, 30, dtype="float64"), draw(7, 21, dtype="float64")]
    return [x, g], [], [(w, w - 0.1 * T.dot(x.T, g).T)], values, 1, 0


def momentum():
    """The store writes the weight and its velocity."""
    x, g, w, v = T.fmatrix("x"), T.fmatrix("g"), shared(30, 21), shared(30, 21)
    velocity = 0.9 * v - 0.1 * T.dot(x.T, g)
    return [x, g], [], [(w, w + velocity), (v, velocity)], [draw(7, 30), draw(7, 21)], 1, 0


def adam():
    x, g = T.dmatrix("x"), T.dmatrix("g")
    w, m, v = (symnet.shared(np.abs(draw(30, 21, dtype="float64"))) for _ in range(3))
    gradient = T.dot(x.T, g)
    mean, square = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * T.sqr(gradient)
    updates = [(m, mean), (v, square), (w, w - 0.01 * mean / (T.sqrt(square) + 1e-6))]
    return [x, g], [], updates, [draw(7, 30, dtype="float64"), draw(7, 21, dtype="float64")], 1, 0


def filters_of_a_convolution():
    x, w, g = T.ftensor4("x"), shared(4, 3, 3, 2), T.ftensor4("g")
    cost = (conv2d(x, w) * g).sum()
    update = (w, 0.99 * w - 0.1 * T.grad(cost, w))
    return [x, g], [], [update], [draw(2, 3, 8, 7), draw(2, 4, 6, 6)], 1, 1


def bias_of_a_convolution():
    x, w, b = T.ftensor4("x"), shared(4, 3, 3, 2), shared(4)
    out = sigmoid(conv2d(x, w) + b.dimshuffle("x", 0, "x", "x"))
    return [x], [out], [], [draw(2, 3, 8, 7)], 1, 0


def sum_of_two_products():
    """The first is read by the second's store."""
    x, h, w, u, b = T.fmatrix("x"), T.fmatrix("h"), shared(30, 21), shared(9, 21), shared(21)
    out = T.tanh(T.dot(x, w) + T.dot(h, u) + b)
    return [x, h], [out], [], [draw(4, 30), draw(4, 9)], 2, 0


def batched():
    x, y, b = T.ftensor3("x"), T.ftensor3("y"), T.fmatrix("b")
    out = T.batched_dot(x, y) + b.dimshuffle(0, 1, "x")
    return [x, y, b], [out], [], [draw(3, 5, 8), draw(3, 8, 19), draw(3, 5)], 1, 0


def nothing_to_sum():
    x, w, b = T.fmatrix("x"), shared(0, 21), shared(21)
    return [x], [T.exp(T.dot(x, w) + b)], [], [draw(4, 0)], 1, 0


def no_rows():
    x, w, b = T.fmatrix("x"), shared(30, 21), shared(21)
    return [x], [T.exp(T.dot(x, w) + b)], [], [draw(0, 30)], 1, 1


def a_result_that_is_wanted_itself():
    x, w = T.fmatrix("x"), shared(30, 21)
    product = T.dot(x, w)
    return [x], [product, T.exp(product)], [], [draw(4, 30)], 1, 1


def a_result_that_is_spread():
    """Each entry is used several times: it is computed once, and stored."""
    x, w, y = T.fvector("x"), shared(30, 21), T.fmatrix("y")
    return [x, y], [y * T.dot(x, w)], [], [draw(30), draw(5, 21)], 1, 1


FORMS = {
    each.__name__: each
    for each in (
        bias_and_sigmoid,
        bias_along_rows,
        mask_of_a_rectifier,
        masked_by_bools,
        two_kernels_in_a_row,
        descent,
        descent_of_a_transposed_weight,
        momentum,
        adam,
        filters_of_a_convolution,
        bias_of_a_convolution,
        sum_of_two_products,
        batched,
        nothing_to_sum,
        no_rows,
        a_result_that_is_wanted_itself,
        a_result_that_is_spread,
    )
}


def run(function, updates, values):
    """The results, and the shared variables' new values; those are put back."""
    before = [variable.get_value() for variable, _ in updates]
    results = list(function(*values))
    results += [variable.get_value() for variable, _ in updates]
    for (variable, _), value in zip(updates, before, strict=True):
        variable.set_value(value)
    return results


def is_contraction(kernel):
    return "dot" in kernel.name or "conv" in kernel.name


@pytest.mark.parametrize("backend", ["numba", "llvm"])
@pytest.mark.parametrize("form", FORMS)
def test_a_form(form, backend):
    inputs, outputs, updates, values, contractions, others = FORMS[form]()
    reference = symnet.function(inputs, outputs, updates=updates, mode="reference")
    expected = run(reference, updates, values)
    with symnet.config.override(backend="numba" if backend == "numba" else symnet.config.backend):
        function = symnet.function(inputs, outputs, updates=updates)
        for got, want in zip(run(function, updates, values), expected, strict=True):
            tolerance = 1e-12 if want.dtype == "float64" else 3e-6
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=10 * tolerance)
    kernels = function.kernels
    assert sum(map(is_contraction, kernels)) == contractions, kernels
    if others is not None:
        assert len(kernels) == contractions + others, kernels


def test_lengths_that_are_found_at_run_time():
    x, g, w, b = T.fmatrix("x"), T.fmatrix("g"), shared(30, 21), shared(21)
    updates = [(w, 0.9 * w - 0.1 * T.dot(x.T, g))]
    outputs = [sigmoid(T.dot(x, w) + b)]
    function = symnet.function([x, g], outputs, updates=updates)
    reference = symnet.function([x, g], outputs, updates=updates, mode="reference")
    for rows in (4, 9, 1, 33, 17):
        values = [draw(rows, 30), draw(rows, 21)]
        for got, want in zip(run(function, updates, values), run(reference, updates, values), strict=True):
            np.testing.assert_allclose(got, want, rtol=3e-6, atol=3e-5)
    assert len(function.kernels) == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity(dtype):
    x, g = T.matrix("x", dtype), T.matrix("g", dtype)
    w, b = shared(19, 21, dtype=dtype), shared(21, dtype=dtype)
    old = w.get_value()
    old[3, :4] = np.nan, np.inf, -np.inf, 0
    w.set_value(old)
    b.set_value(np.where(np.arange(21) % 5 == 0, np.nan, b.get_value()).astype(dtype))
    updates = [(w, 0.9 * w - 0.1 * T.dot(x.T, g))]
    outputs = [T.maximum(0, T.dot(x, w) + b), T.dot(g, w.T) * T.lt(0, x)]
    values = [draw(1, 19, dtype=dtype), draw(1, 21, dtype=dtype)]
    values[0][0, :3] = np.inf, np.nan, 0
    function = symnet.function([x, g], outputs, updates=updates)
    reference = symnet.function([x, g], outputs, updates=updates, mode="reference")
    for got, want in zip(run(function, updates, values), run(reference, updates, values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    assert len(function.kernels) == 3


# --- the order of writes ---------------------------------------------------------------------------


def test_a_later_reader_of_the_old_value_comes_first():
    """The weight is read by a product that is computed after its gradient."""
    x, g, w = T.fmatrix("x"), T.fmatrix("g"), shared(20, 20)
    step = T.dot(x.T, g)
    old = w.get_value()
    after = T.dot(T.tanh(T.dot(g, T.sqr(w))), w.T).sum(axis=1)
    function = symnet.function([x, g], after, updates=[(w, w - step)])
    values = draw(4, 20), draw(4, 20)
    expected = (np.tanh(values[1] @ np.square(old)) @ old.T).sum(axis=1)
    np.testing.assert_allclose(function(*values), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(w.get_value(), old - values[0].T @ values[1], rtol=1e-5, atol=1e-5)


def test_updates_that_read_each_other_see_old_values():
    x, v, w = T.fmatrix("x"), shared(9, 9), shared(9, 9)
    old_v, old_w = v.get_value(), w.get_value()
    function = symnet.function([x], [], updates=[(v, w - T.dot(x, v)), (w, v + T.dot(x, w))])
    value = draw(9, 9)
    function(value)
    np.testing.assert_allclose(v.get_value(), old_w - value @ old_v, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(w.get_value(), old_v + value @ old_w, rtol=1e-5, atol=1e-5)


def test_a_product_of_what_it_overwrites():
    x, w = T.fmatrix("x"), shared(9, 9)
    old, value = w.get_value(), draw(9, 9)
    function = symnet.function([x], [], updates=[(w, w - T.dot(x, w))])
    function(value)
    np.testing.assert_allclose(w.get_value(), old - value @ old, rtol=1e-5, atol=1e-5)


def test_nothing_is_written_where_something_fails():
    """The index is checked after the product is there; the weight stays as it was."""
    x, g, i, w = T.fmatrix("x"), T.fmatrix("g"), T.lvector("i"), shared(9, 9)
    step = T.dot(x.T, g)
    picked = T.tanh(T.dot(x, g.T))[i]
    function = symnet.function([x, g, i], picked, updates=[(w, w - step)])
    old = w.get_value()
    values = draw(4, 9), draw(4, 9)
    with pytest.raises(IndexingError):
        function(*values, np.array([7]))
    np.testing.assert_array_equal(w.get_value(), old)
    function(*values, np.array([3]))
    np.testing.assert_allclose(w.get_value(), old - values[0].T @ values[1], rtol=1e-5, atol=1e-5)
    assert function.kernels[-1].name.endswith("dot_1_sub")


def test_an_update_in_the_store_keeps_no_gradient():
    x, g, w = T.fmatrix("x"), T.fmatrix("g"), shared(300, 200)
    function = symnet.function([x, g], [], updates=[(w, w - T.dot(x.T, g))])
    function(draw(5, 300), draw(5, 200))
    (kernel,) = function.kernels
    assert function.report["arena_bytes"] == 0
    assert "c[" in kernel.source and "old" in kernel.source
    assert len(kernel.nodes) >= 2


def test_literals_that_compare_equal_are_told_apart():
    """Two contractions alike but for the sign of a zero are two kernels."""
    x, y, w = T.fmatrix("x"), T.fmatrix("y"), shared(6, 6)
    zero, minus_zero = np.float32(0.0), np.float32(-0.0)
    outputs = [T.switch(T.isnan(T.dot(each, w)), z, zero + 1) for each, z in ((x, zero), (y, minus_zero))]
    function = symnet.function([x, y], outputs)
    first, second = function(*[np.full((6, 6), np.nan, "float32")] * 2)
    assert not np.signbit(first).any() and np.signbit(second).all()


def test_a_product_that_reads_a_weight_stays_before_its_update():
    """Both move into stores: the gradient that is handed back reads the weight as it was."""
    x, g, w = T.fmatrix("x"), T.fmatrix("g"), shared(20, 20)
    old = w.get_value()
    back = T.dot(g, w.T) * T.lt(0, x)
    again = T.dot(T.tanh(back), T.sqr(x).T)
    function = symnet.function([x, g], again, updates=[(w, w - T.dot(x.T, g))])
    values = draw(4, 20), draw(4, 20)
    expected = np.tanh(values[1] @ old.T * (values[0] > 0)) @ np.square(values[0]).T
    np.testing.assert_allclose(function(*values), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(w.get_value(), old - values[0].T @ values[1], rtol=1e-5, atol=1e-5)
    assert sum(map(is_contraction, function.kernels)) == 3
