"""Axes that are literal, computed, or known to the data alone; what is given, updated, handed back."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.compile.mode import Mode
from symnet.errors import CompileError, IndexingError, ShapeError, SymnetError

MODES = {"rewritten": None, "as written": Mode("default", optimizer=None)}


@pytest.fixture(params=MODES.values(), ids=MODES)
def mode(request):
    return request.param


def specialisations(function):
    return function.report["specialisations"]


def like_numpy(function, meaning, *arguments):
    found, wanted = function(*arguments), meaning(*arguments)
    for mine, its in zip(*[x if isinstance(x, list) else [x] for x in (found, wanted)], strict=True):
        np.testing.assert_array_equal(mine, its)
        assert mine.shape == np.shape(its)


# --- lengths ---------------------------------------------------------------------------------------


def test_equal_shapes_are_compiled_once(mode):
    x = T.dmatrix()
    f = symnet.function([x], T.exp(x).sum(axis=0), mode=mode)
    for seed in range(3):
        f(np.full((3, 4), float(seed)))
    assert specialisations(f) == 1


def test_a_mini_batch_is_literal_and_its_clipped_rest_is_computed(mode):
    i, x = T.lscalar(), symnet.shared(np.arange(23.0))
    f = symnet.function([i], [x[i * 5 : (i + 1) * 5] * 2, x[i * 5 : (i + 1) * 5].sum()], mode=mode)
    values = x.get_value()
    for epoch in range(2):
        for index in range(4):
            like_numpy(f, lambda i: [values[i * 5 : i * 5 + 5] * 2, values[i * 5 : i * 5 + 5].sum()], index)
        assert specialisations(f) == (1 if epoch == 0 else 2)
        like_numpy(f, lambda i: [values[i * 5 : i * 5 + 5] * 2, values[i * 5 : i * 5 + 5].sum()], 4)
        like_numpy(f, lambda i: [values[i * 5 : i * 5 + 5] * 2, 0.0], 7)
    assert specialisations(f) == 2


def test_an_axis_that_changes_is_not_compiled_for_each_length(mode):
    x, y = T.dmatrix(), T.dvector()
    f = symnet.function([x, y], [T.dot(x, y), x.sum(axis=1), T.concatenate([x[:, 0], x[:, 0]])], mode=mode)
    for rows in (5, 6, 7, 8, 3, 2, 1, 0, 8):
        given = np.arange(rows * 4.0).reshape(rows, 4)
        like_numpy(
            f,
            lambda x, y: [x @ y, x.sum(axis=1), np.concatenate([x[:, 0]] * 2)],
            given,
            np.array([1.0, 2.0, 3.0, 4.0]),
        )
    assert specialisations(f) == 2


def test_capacity_grows_by_doubling(mode):
    x = T.dvector()
    f = symnet.function([x], [x * 2, T.cast(x, "int64")], mode=mode)
    for length in range(1, 1200):
        (doubled, _) = f(np.ones(length))
        assert doubled.shape == (length,)
    assert specialisations(f) <= 12
    f(np.ones(3))
    assert specialisations(f) <= 12


def test_a_shared_variable_that_changes_its_shape(mode):
    w = symnet.shared(np.ones((2, 3)))
    f = symnet.function([], [w.sum(axis=0), T.dot(w.T, w)], mode=mode)
    for rows in (2, 5, 9, 2):
        value = np.arange(rows * 3.0).reshape(rows, 3)
        w.set_value(value)
        like_numpy(f, lambda v=value: [v.sum(axis=0), v.T @ v])
    assert specialisations(f) <= 3


def test_lengths_by_integer_arguments(mode):
    n, m, x = T.lscalar(), T.iscalar(), T.dvector()
    outputs = [
        T.arange(n),
        T.zeros((n, m)),
        x.reshape((m, -1)),
        T.eye(n, m),
        T.repeat(x, m),
        x[n:],
        x[-m:],
    ]
    f = symnet.function([n, m, x], outputs, mode=mode)

    def meaning(n, m, x):
        return [
            np.arange(n), np.zeros((n, m)), x.reshape(m, -1), np.eye(n, m), np.repeat(x, m), x[n:], x[-m:],
        ]  # fmt: skip

    for count, rows in ((4, 2), (4, 2), (5, 3), (0, 6), (9, 1), (4, 2)):
        like_numpy(f, meaning, count, rows, np.arange(6.0))
    assert specialisations(f) <= 4


def test_lengths_by_an_integer_vector(mode):
    x, shape = T.dvector(), T.lvector()
    f = symnet.function([x, shape], x.reshape(shape, ndim=2), mode=mode)
    for given in ((2, 6), (3, 4), (-1, 2), (12, 1)):
        like_numpy(f, lambda x, s: x.reshape(s), np.arange(12.0), np.array(given))


def test_lengths_that_only_the_data_knows(mode):
    x, given = T.dvector(), T.dvector()
    counts = T.cast(given, "int64")
    outputs = [
        x[x > 0],
        T.sqr(x[(x > 0).nonzero()]).sum(),
        T.arange(T.sum(counts)) * 2,
        T.repeat(x, counts),
        T.zeros((T.max(counts), 2)),
    ]
    f = symnet.function([x, given], outputs, mode=mode)

    def meaning(x, c):
        c = c.astype("int64")
        return [
            x[x > 0], np.square(x[x > 0]).sum(), np.arange(c.sum()) * 2, np.repeat(x, c),
            np.zeros((c.max(), 2)),
        ]  # fmt: skip

    for counts_now in ([1, 0, 2, 0], [0, 0, 0, 0], [1, 1, 1, 1], [5, 3, 0, 2]):
        for numbers in ([1.0, -1.0, 2.0, 0.0], [-1.0] * 4, [np.nan, np.inf, 1.0, 2.0]):
            like_numpy(f, meaning, np.array(numbers), np.array(counts_now, float))
    assert specialisations(f) == 1
    like_numpy(f, meaning, np.ones(4), np.array([100.0, 0, 0, 200]))
    grown = specialisations(f)
    like_numpy(f, meaning, np.ones(4), np.array([100.0, 0, 0, 20]))
    assert specialisations(f) == grown <= 4


def test_an_argument_of_no_entries_then_of_some(mode):
    x = T.dmatrix()
    f = symnet.function([x], [x.sum(axis=0), x.sum(axis=1), T.exp(x), T.dot(x, x.T)], mode=mode)
    for shape in ((0, 3), (3, 0), (0, 0), (2, 3)):
        like_numpy(f, lambda x: [x.sum(axis=0), x.sum(axis=1), np.exp(x), x @ x.T], np.zeros(shape))


# --- refusals --------------------------------------------------------------------------------------


def refused(kind, function, *arguments):
    with pytest.raises(kind) as caught:
        function(*arguments)
    return str(caught.value)


def test_a_mismatch_names_the_users_line_literal_and_computed(mode):
    x, y = T.dvector("x"), T.dvector("y")
    total = x + y  # the line that is at fault
    f = symnet.function([x, y], total, mode=mode)
    for _ in range(2):
        message = refused(ShapeError, f, np.ones(3), np.ones(4))
        assert "the line that is at fault" in message and "3" in message and "4" in message
        assert __file__ in message
    for length in (5, 6, 7):
        assert f(np.ones(length), np.ones(length)).shape == (length,)
    message = refused(ShapeError, f, np.ones(7), np.ones(6))
    assert "the line that is at fault" in message and "7" in message and "6" in message


def test_length_1_at_run_time_does_not_broadcast(mode):
    x, y = T.dmatrix("x"), T.dmatrix("y")
    f = symnet.function([x, y], x * y, mode=mode)
    refused(ShapeError, f, np.ones((3, 1)), np.ones((3, 4)))
    f(np.ones((3, 4)), np.ones((3, 4)))
    f(np.ones((5, 2)), np.ones((5, 2)))
    refused(ShapeError, f, np.ones((1, 2)), np.ones((5, 2)))
    row = T.drow("row")
    g = symnet.function([x, row], x * row, mode=mode)
    like_numpy(g, np.multiply, np.ones((3, 4)), np.full((1, 4), 2.0))


@pytest.mark.parametrize("index", [5, -6, 100])
def test_an_index_outside_its_axis(mode, index):
    x, i, v = T.dvector("x"), T.lscalar("i"), T.lvector("v")
    f = symnet.function([x, i], x[i], mode=mode)
    assert f(np.arange(5.0), -5) == 0
    assert "outside axis 0" in refused(IndexingError, f, np.arange(5.0), index)
    g = symnet.function([x, v], [x[v].sum(), T.inc_subtensor(x[v], 1.0)], mode=mode)
    message = refused(IndexingError, g, np.arange(5.0), np.array([0, index]))
    assert str(index) in message and "5" in message and __file__ in message


@pytest.mark.parametrize(
    "given, arguments",
    {
        "inner lengths": (lambda x, y: T.dot(x, y), ((2, 3), (2, 3))),
        "joined": (lambda x, y: T.concatenate([x, y]), ((2, 3), (2, 4))),
        "reshaped": (lambda x, y: x.reshape((y.shape[0], -1)), ((2, 3), (4, 3))),
        "dropped": (lambda x, y: T.addbroadcast(x, 0) + y, ((2, 3), (2, 3))),
        "promised": (lambda x, y: T.specify_shape(x, (2, 4)) + y, ((2, 3), (2, 3))),
        "assigned": (lambda x, y: T.set_subtensor(x[1:], y), ((3, 3), (3, 3))),
        "masked": (lambda x, y: x[y[:, 0] > 0], ((3, 3), (4, 3))),
        "no entries": (lambda x, y: T.max(x, axis=0) + T.sum(y), ((0, 3), (3, 3))),
    }.values(),
)
def test_shapes_that_do_not_fit_are_refused_as_by_the_reference(mode, given, arguments):
    x, y = T.dmatrix("x"), T.dmatrix("y")
    expression = given(x, y)
    for chosen in (mode, "reference"):
        f = symnet.function([x, y], expression, mode=chosen)
        refused(SymnetError, f, *(np.ones(shape) for shape in arguments))


def test_a_function_works_after_it_refused(mode):
    x, y = T.dvector(), T.dvector()
    f = symnet.function([x, y], x - y, mode=mode)
    for _ in range(3):
        refused(ShapeError, f, np.ones(2), np.ones(3))
        like_numpy(f, np.subtract, np.ones(4), np.zeros(4))
        like_numpy(f, np.subtract, np.ones(5), np.zeros(5))


# --- updates ---------------------------------------------------------------------------------------

OF_ITSELF = {
    "transposed": lambda w: w.T,
    "reversed": lambda w: w[::-1],
    "reversed and transposed": lambda w: w[::-1, ::-1].T,
    "product": lambda w: T.dot(w, w),
    "plus its transpose": lambda w: w + w.T,
    "minus its sums": lambda w: w - w.sum(axis=0),
    "over its largest": lambda w: w / T.max(w),
    "rolled": lambda w: T.concatenate([w[1:], w[:1]]),
    "rows moved down": lambda w: T.set_subtensor(w[1:], w[:-1]),
    "gathered": lambda w: w[[3, 1, 0, 2]],
    "scattered": lambda w: T.inc_subtensor(w[[3, 1, 3]], w[[0, 1, 2]]),
    "reshaped": lambda w: w.T.reshape((4, 4)),
    "broadcast": lambda w: w + w[0],
    "in place": lambda w: w * 0.9 - T.exp(w),
    "itself": lambda w: w[...],
    "a constant": lambda w: T.constant(np.eye(4)),
    "zeros": lambda w: T.zeros_like(w),
    "softmax": lambda w: T.nnet.softmax(w),
}


@pytest.mark.parametrize("of", OF_ITSELF.values(), ids=OF_ITSELF)
def test_an_update_reads_the_value_from_before(mode, of):
    start = np.random.default_rng(3).uniform(-1, 1, (4, 4))
    results = []
    for chosen in (mode, "reference"):
        w = symnet.shared(start.copy())
        f = symnet.function([], w.sum(), updates=[(w, of(w))], mode=chosen)
        results.append([f(), w.get_value(), f(), w.get_value()])
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-13, atol=1e-15)


def test_updates_that_read_each_other(mode):
    a, b, c = (symnet.shared(np.arange(4.0) + 10 * n) for n in range(3))
    f = symnet.function([], [a, b], updates=[(a, b), (b, c + a), (c, a[::-1] * b)], mode=mode)
    for _ in range(3):
        old = [each.get_value() for each in (a, b, c)]
        results = f()
        new = [each.get_value() for each in (a, b, c)]
        for mine, its in zip(results, old[:2], strict=True):
            np.testing.assert_array_equal(mine, its)
        for mine, its in zip(new, (old[1], old[2] + old[0], old[0][::-1] * old[1]), strict=True):
            np.testing.assert_array_equal(mine, its)


def test_a_swap(mode):
    a, b = symnet.shared(np.zeros((2, 3))), symnet.shared(np.ones((2, 3)))
    f = symnet.function([], [], updates={a: b, b: a}, mode=mode)
    assert f() == []
    assert a.get_value().all() and not b.get_value().any()


def test_an_update_to_another_shape(mode):
    a, b = symnet.shared(np.ones(2)), symnet.shared(np.zeros(3))
    f = symnet.function([], a.sum(), updates=[(a, T.concatenate([a, a])), (b, b[1:])], mode=mode)
    assert [float(f()) for _ in range(3)] == [2.0, 4.0, 8.0]
    assert a.get_value().shape == (16,) and b.get_value().shape == (0,)


def test_an_error_leaves_every_shared_variable_as_it_was(mode):
    a, b = symnet.shared(np.arange(4.0)), symnet.shared(np.zeros(2))
    x, i = T.dvector(), T.lvector()
    updates = [(a, a + 1), (b, b + (x[i] * 2).sum())]
    f = symnet.function([x, i], a.sum(), updates=updates, mode=mode)
    for wrong in ([0, 7], [-9, 1]):
        refused(IndexingError, f, np.ones(5), np.array(wrong))
    g = symnet.function([x], [], updates=[(a, a * 2), (b, b + x)], mode=mode)
    refused(ShapeError, g, np.ones(3))
    np.testing.assert_array_equal(a.get_value(), np.arange(4.0))
    np.testing.assert_array_equal(b.get_value(), np.zeros(2))
    f(np.ones(5), np.array([0, -1]))
    np.testing.assert_array_equal(a.get_value(), np.arange(4.0) + 1)
    np.testing.assert_array_equal(b.get_value(), np.full(2, 4.0))


def test_a_failure_among_the_updates_alone_comes_before_the_first_write(mode):
    a, b, i = symnet.shared(np.zeros(3)), symnet.shared(np.zeros(3)), T.lvector()
    f = symnet.function([i], [], updates=[(a, a + 1), (b, T.set_subtensor(b[i], 1.0))], mode=mode)
    refused(IndexingError, f, np.array([0, 3]))
    assert not a.get_value().any() and not b.get_value().any()


def test_an_argument_that_is_the_shared_variables_own_array(mode):
    w, x = symnet.shared(np.arange(4.0), borrow=True), T.dvector()
    f = symnet.function([x], [x.sum()], updates=[(w, x[::-1] + w)], mode=mode)
    f(w.get_value(borrow=True))
    np.testing.assert_array_equal(w.get_value(), np.full(4, 3.0))


# --- what goes in and out --------------------------------------------------------------------------


def test_outputs_that_are_inputs_shared_constants_and_duplicates(mode):
    x, s = T.dvector("x"), symnet.shared(np.arange(3.0))
    doubled = x * 2
    outputs = [x, x, s, T.constant([1, 2]), T.constant(2.5), doubled, doubled, doubled[::-1], x[1:]]
    f = symnet.function([x], outputs, updates=[(s, s + x)], mode=mode)
    given = np.array([1.0, 2.0, 3.0])
    found = f(given)
    wanted = [
        given,
        given,
        np.arange(3.0),
        [1, 2],
        2.5,
        given * 2,
        given * 2,
        given[::-1] * 2,
        given[1:],
    ]
    for mine, its in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, its)
    kept = [given, s.get_value(borrow=True)]
    for position, mine in enumerate(found):
        assert mine.flags.writeable and mine.flags.c_contiguous
        assert not any(np.shares_memory(mine, other) for other in [*kept, *found[:position]])


def test_results_are_the_callers_own(mode):
    x = T.dvector()
    f = symnet.function([x], x + 1, mode=mode)
    first = f(np.zeros(3))
    f(np.ones(3))
    np.testing.assert_array_equal(first, np.ones(3))


def test_arguments_of_every_layout(mode):
    x = T.dmatrix()
    f = symnet.function([x], [x.sum(axis=0), T.dot(x, x.T), x[::-1]], mode=mode)
    base = np.random.default_rng(0).uniform(size=(6, 6))
    read_only = base.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + base.tobytes(), dtype=np.uint8)[1:].view("f8").reshape(6, 6)
    layouts = [
        base, np.asfortranarray(base), base.T, base[::-1, ::2][:, :3], base[::2], base.astype(">f8"),
        read_only, unaligned, np.broadcast_to(base[0], (6, 6)), base.tolist(),
    ]  # fmt: skip
    for given in layouts:
        same = np.array(given, "f8")
        for mine, its in zip(f(given), (same.sum(axis=0), same @ same.T, same[::-1]), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-14)
    assert np.array_equal(read_only, base)


def test_scalars_and_ranks_from_0_to_4(mode):
    inputs = [T.TensorType("float64", (None,) * rank)() for rank in range(5)]
    f = symnet.function(inputs, [x * 2 for x in inputs], mode=mode)
    given = [np.full((2,) * rank, 1.5) for rank in range(5)]
    for mine, its in zip(f(*given), given, strict=True):
        assert isinstance(mine, np.ndarray) and np.array_equal(mine, its * 2)


def test_a_function_of_nothing(mode):
    assert symnet.function([], [], mode=mode)() == []
    assert symnet.function([], T.arange(3).sum(), mode=mode)() == 3


def test_an_integer_grown_by_a_long_chain(mode):
    k, x = T.lscalar(), T.dvector()
    j = k
    for _ in range(40):
        j = j + j
    f = symnet.function([k, x], [x[:j], j], mode=mode)
    part, number = f(1, np.arange(3.0))
    assert part.shape == (3,) and number == 2**40
    assert f(0, np.arange(3.0))[0].shape == (0,)


def test_integers_known_to_sizes_wrap_in_their_dtype(mode):
    k = T.bscalar()
    f = symnet.function([k], [(k + k) > 0, (k + k) // 2, T.arange(T.maximum(k + k, 2))], mode=mode)
    above, half, places = f(np.int8(100))
    assert not above and half == -28 and places.shape == (2,)


# --- kernels ---------------------------------------------------------------------------------------


def test_equal_steps_share_their_kernels(mode):
    w, x = T.dmatrix(), T.dmatrix()
    y = x
    for _ in range(12):
        y = T.tanh(T.dot(y, w)[::-1].T)
    f = symnet.function([w, x], [y, T.grad(y.sum(), w)], mode=mode)
    given = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 6, 6))
    g = symnet.function([w, x], [y, T.grad(y.sum(), w)], mode="reference")
    for mine, its in zip(f(*given), g(*given), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-11, atol=1e-14)
    assert len(f.kernels) < 20
    assert len({node for kernel in f.kernels for node in kernel.nodes}) > 60


def test_kernels_that_differ_in_a_literal_or_a_dtype_are_two(mode):
    x, y = T.dvector(), T.fvector()
    outputs = [
        x * 0.0,
        x * -0.0,
        x * 1.0,
        T.cast(y, "float64") * 0.0,
        T.switch(x > 0, np.nan, x),
        T.eq(x, 0),
        T.neq(x, 0),
    ]
    f = symnet.function([x, y], outputs, mode=mode)
    given = np.array([1.0, -2.0, 0.0])
    found = f(given, given.astype("float32"))
    wanted = [
        given * 0.0,
        given * -0.0,
        given,
        given * 0.0,
        np.where(given > 0, np.nan, given),
        given == 0,
        given != 0,
    ]
    for mine, its in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, its)
        if mine.dtype == "float64":
            np.testing.assert_array_equal(np.signbit(mine), np.signbit(its))


@pytest.mark.parametrize("backend", ["llvm", "numba"])
def test_variables_named_as_the_code_names_its_own(backend):
    names = ["x1", "x2", "n0", "n1", "v3", "i1", "lambda", "range", "np", "x2_", "status", "exp"]
    inputs = [T.dvector(name) for name in names]
    given = [np.full(4, 0.1 * number) for number in range(len(names))]
    with symnet.config.override(backend=backend):
        f = symnet.function(inputs, sum((x * T.abs_(x) for x in inputs[1:]), inputs[0]))
        for length in (4, 3, 2):
            found = f(*(each[:length] for each in given))
            wanted = sum(each[:length] ** 2 for each in given[1:]) + given[0][:length]
            np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("dtype", ["float16", "complex64"])
def test_a_dtype_that_kernels_lack_is_refused_by_name(mode, dtype):
    x = T.TensorType(dtype, (None,))("x")
    s = symnet.shared(np.ones(3, dtype))
    given = np.ones(3, dtype)
    for f in (
        symnet.function([x], x * 2, mode=mode),
        symnet.function([x], x, mode=mode),
        symnet.function([x], T.eq(x, x), mode=mode),
        symnet.function([x], [], updates=[(s, x)], mode=mode),
    ):
        message = refused(CompileError, f, given)
        assert dtype in message and __file__ in message and "reference" in message
    assert symnet.function([x], x.shape[0], mode=mode)(given) == 3
    assert symnet.function([x], x * 2, mode="reference")(given).dtype == dtype
