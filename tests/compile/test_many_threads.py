"""Programs lowered for many threads, run by the CPU: what their nests are like, and what they mean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from against_numpy import hold_to_numpy
from device_programs import FOR_A_DEVICE, FOR_A_DEVICE_AS_WRITTEN

import symnet
import symnet.tensor as T
from symnet.compile import nest
from symnet.errors import IndexingError, SymnetError
from symnet.ops.random import draw

RANDOM = np.random.default_rng(0)


def loops_of(kernel):
    return [each for each in nest.walk_statements(kernel.nest.body) if isinstance(each, nest.For)]


def singles(*shape):
    return RANDOM.standard_normal(shape).astype("float32")


@pytest.mark.parametrize(
    ("subsample", "dilation", "mode", "size"),
    [
        *itertools.product([(1, 1), (2, 1), (3, 2)], [(1, 1), (2, 3)], ["valid", "full", "half"], [(3, 2)]),
        ((2, 2), (2, 2), (1, 2), (2, 3)),
        ((4, 3), (1, 1), ((2, 0), (1, 3)), (5, 5)),
        ((1, 1), (1, 1), ((3, 3), (4, 4)), (2, 2)),
        ((3, 3), (1, 1), "valid", (1, 1)),
    ],
)
def test_convolutions_and_gradients(subsample, dilation, mode, size):
    x, f = T.tensor4(dtype="float64"), T.tensor4(dtype="float64")
    out = T.nnet.conv2d(x, f, subsample=subsample, filter_dilation=dilation, border_mode=mode)
    gradients = T.grad(T.sum(T.sqr(out)), [x, f])
    images, filters = RANDOM.standard_normal((2, 3, 9, 11)), RANDOM.standard_normal((4, 3, *size))
    call = images, filters
    hold_to_numpy([x, f], [out, *gradients], call, mode=FOR_A_DEVICE_AS_WRITTEN, rtol=1e-12, atol=1e-11)


def test_convolutions_of_sizes_found_at_run_time():
    x, f = T.tensor4(dtype="float64"), T.tensor4(dtype="float64")
    out = T.nnet.conv2d(x, f, subsample=(2, 1), border_mode="half")
    gradients = T.grad(T.sum(T.sqr(T.tanh(out))), [x, f])
    calls = [
        (RANDOM.standard_normal((n, 2, 5 + n, 9 - n)), RANDOM.standard_normal((3, 2, n, 3))) for n in (1, 2)
    ]
    hold_to_numpy([x, f], [out, *gradients], *calls, mode=FOR_A_DEVICE_AS_WRITTEN, rtol=1e-12, atol=1e-11)


def test_zeros_around_what_a_convolution_reads_are_stored_with_it():
    x, f, g = T.tensor4(dtype="float32"), T.tensor4(dtype="float32"), T.tensor4(dtype="float32")
    first = T.nnet.relu(T.nnet.conv2d(x, f))
    second = T.nnet.conv2d(T.signal.pool.pool_2d(first, (2, 2), ignore_border=True), g, border_mode=2)
    gradients = T.grad(T.sum(T.sqr(second)), [f, g])
    call = singles(3, 2, 12, 12), singles(4, 2, 3, 3), singles(5, 4, 5, 5)
    f = hold_to_numpy([x, f, g], gradients, call, mode=FOR_A_DEVICE, rtol=1e-4, atol=1e-3)
    names = [each.name.split("_k_")[1] for each in f.kernels]
    # The products' own stores leave room for zeros, which do not wait for them; pooling stores its zeros too.
    assert sum(name.startswith("zeros") for name in names) == 1, names
    assert sum(name.startswith("pool") for name in names) == 1 and not any("pad" in name for name in names)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", ["sum", "max", "argmax", "any"])
def test_long_reductions_are_done_in_parts(name, axis):
    x = T.matrix(dtype="float32")
    value = np.round(RANDOM.random((30_000, 7)) * 1000).astype("float32")
    if name == "any":
        value = value.astype("bool")
        x = T.matrix(dtype="bool")
    out = getattr(T, name)(x, axis=axis)
    f = symnet.function([x], out, mode=FOR_A_DEVICE)
    expected = getattr(np, name)(value, axis=axis)
    np.testing.assert_allclose(f(value), expected, rtol=1e-6)
    assert len(f.kernels) == (1 if axis == 1 else 2)
    # Of another length: how many parts there are is settled, how long they are is not.
    np.testing.assert_allclose(f(value[:17]), getattr(np, name)(value[:17], axis=axis), rtol=1e-6)
    np.testing.assert_allclose(f(value[:2999]), getattr(np, name)(value[:2999], axis=axis), rtol=1e-6)


def test_all_independent_loops_are_parallel():
    x = T.tensor3(dtype="float32")
    pooled = T.signal.pool.pool_2d(x, (3, 3), stride=(2, 2), ignore_border=True)
    outs = [T.exp(x.dimshuffle(2, 0, 1)) * 2, T.grad(T.sum(T.sqr(pooled)), x), pooled, T.sum(x, axis=(0, 2))]
    f = hold_to_numpy([x], outs, [singles(4, 9, 10)], mode=FOR_A_DEVICE, rtol=1e-5)
    for kernel in f.kernels:
        loops = loops_of(kernel)
        body = kernel.nest.body
        while len(body) == 1 and isinstance(body[0], nest.For):
            assert body[0].parallel
            body = body[0].body
        sums = [each for each in nest.walk_statements(kernel.nest.body) if isinstance(each, nest.Accumulate)]
        assert not any(each.parallel for each in loops if each in body)
        assert not sums or all(isinstance(s, nest.Declare | nest.For | nest.Store | nest.Let) for s in body)


INDICES = np.array([3, 0, -1, 3, 3, 0])


@pytest.mark.parametrize("rows", [2, 40])
@pytest.mark.parametrize("function", [T.inc_subtensor, T.set_subtensor])
def test_assignments_come_in_the_order_of_the_indices(function, rows):
    """Few places look through all indices, few indices look for the first that means the same place."""
    x, y, i = T.matrix(dtype="float32"), T.matrix(dtype="float32"), T.lvector()
    indices = np.tile(INDICES % rows, 3)
    inputs, outs = [x, y, i], [function(x[i], y), function(x[i, i % 5], y[:, 0]), function(x[:, i], y[0, 0])]
    call = singles(rows, 40), singles(len(indices), 40), indices
    hold_to_numpy(inputs, outs, call, mode=FOR_A_DEVICE_AS_WRITTEN)


def test_assignments_in_each_row_are_computed_on_the_way():
    x, y = T.matrix(dtype="float32"), T.lvector()
    cost = -T.mean(T.nnet.logsoftmax(x)[T.arange(y.shape[0]), y])
    call = singles(6, 5), np.array([0, 4, -1, 2, 2, 1])
    f = hold_to_numpy([x, y], [cost, T.grad(cost, x)], call, mode=FOR_A_DEVICE, rtol=1e-5, atol=1e-7)
    names = [each.name for each in f.kernels]
    assert not any("scatter" in name for name in names)
    assert sum("check_indices" in name for name in names) == 1
    with pytest.raises(IndexingError, match="index 5, length 5"):
        f(call[0], np.array([0, 1, 2, 3, 4, 5]))


def test_a_shared_variable_changes_at_its_indices_alone():
    table = symnet.shared(singles(500, 3))
    i, y = T.lvector(), T.matrix(dtype="float32")
    f = symnet.function([i, y], [], updates=[(table, T.inc_subtensor(table[i], y))], mode=FOR_A_DEVICE)
    before, added = table.get_value(), singles(6, 3)
    f(INDICES, added)
    np.add.at(before, INDICES, added)
    np.testing.assert_array_equal(table.get_value(), before)
    assert [each.name.split("_k_")[1] for each in f.kernels] == ["check_indices", "scatter_add"]


def test_masks_are_looked_through_in_chunks():
    x = T.matrix(dtype="float32")
    f = symnet.function([x], [x[x > 0], *T.nonzero(x > 1)], mode=FOR_A_DEVICE)
    for shape in ((300, 70), (1, 3), (0, 5), (45, 1)):
        value = singles(*shape)
        picked, *places = f(value)
        np.testing.assert_array_equal(picked, value[value > 0])
        for mine, its in zip(places, np.nonzero(value > 1), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_joining_and_assigning_to_a_part_are_one_kernel_each():
    x, y = T.matrix(dtype="float32"), T.matrix(dtype="float32")
    outs = [
        T.tanh(T.concatenate([x, y * 2, x], axis=0)),
        T.inc_subtensor(x[1::2, ::-3], y[0, 0]),
        T.set_subtensor(x[-2, 1:4], y[0, :3]) + 1,
        T.concatenate([x[:3, :0], y], axis=1),
    ]
    f = hold_to_numpy([x, y], outs, (singles(5, 7), singles(3, 7)), mode=FOR_A_DEVICE, rtol=1e-6)
    assert len(f.kernels) == 4
    many = T.concatenate([x + n for n in range(12)], axis=1)
    hold_to_numpy([x], [many], [singles(5, 7)], mode=FOR_A_DEVICE)


def test_draws_of_any_number_are_one_kernel():
    state, n = T.lvector(), T.lscalar()
    for length in (12, 13, n):
        f = hold_to_numpy(
            [state, n],
            [draw("uniform", state, [length], 1, "float32")],
            *[(np.array([1, 2, 3]), count) for count in (1, 2, 7, 8)],
            mode=FOR_A_DEVICE,
        )
        assert len(f.kernels) == 1


def test_repeats_are_counted_in_chunks():
    x, r = T.vector(dtype="float32"), T.lvector()
    f = symnet.function([x, r], T.repeat(x, r), mode=FOR_A_DEVICE)
    for length in (300, 1, 77):
        value, repeats = singles(length), RANDOM.integers(0, 4, length)
        np.testing.assert_array_equal(f(value, repeats), np.repeat(value, repeats))
    with pytest.raises(SymnetError, match="negative: -1"):
        f(value, np.where(np.arange(77) == 50, -1, repeats))
