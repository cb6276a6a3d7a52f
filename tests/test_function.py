"""`function`: forms of inputs and outputs, givens, updates, defaults, and what is refused."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet import In, Out
from symnet.errors import (
    ArgumentError,
    GivensError,
    GraphError,
    IndexingError,
    InputTypeError,
    MissingInputError,
    ShapeError,
    UnusedInputError,
    UpdateError,
)

ROWS = np.arange(6.0).reshape(2, 3)


# --- forms -----------------------------------------------------------------------------------------


def test_one_output_is_an_array(mode):
    x = T.dmatrix("x")
    found = symnet.function([x], x * 2)(ROWS)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, ROWS * 2)


def test_a_scalar_output_is_an_array_of_no_axes(mode):
    x = T.dvector("x")
    found = symnet.function([x], x.sum())([1.0, 2.0])
    assert type(found) is np.ndarray and found.shape == () and found == 3


@pytest.mark.parametrize("form", [list, tuple])
def test_a_list_of_outputs_is_a_list(mode, form):
    x = T.dvector("x")
    found = symnet.function([x], form([x + 1, x.sum()]))([1.0, 2.0])
    assert type(found) is list
    assert [each.tolist() for each in found] == [[2, 3], 3]
    assert symnet.function([x], form([x]))([1.0])[0].tolist() == [1]


def test_a_dict_of_outputs_is_a_dict(mode):
    x = T.dvector("x")
    found = symnet.function([x], {"twice": x * 2, "sum": x.sum()})([1.0, 2.0])
    assert list(found) == ["twice", "sum"]
    assert found["twice"].tolist() == [2, 4] and found["sum"] == 3


@pytest.mark.parametrize("outputs", [None, []])
def test_no_outputs_are_an_empty_list(mode, outputs):
    w = symnet.shared(1.0)
    step = symnet.function([], outputs, updates=[(w, w + 1)])
    assert step() == [] and w.get_value() == 2
    assert symnet.function([])() == []


def test_an_output_that_is_an_input_is_a_copy(mode):
    x = T.dmatrix("x")
    given = ROWS.copy()
    found, again = symnet.function([x], [x, x])(given)
    found[0, 0] = 9
    assert given[0, 0] == 0 and again[0, 0] == 0


def test_outputs_of_one_call_outlive_the_next(mode):
    x = T.dvector("x")
    f = symnet.function([x], x * 2)
    first = f([1.0, 2.0])
    f([5.0, 6.0])
    assert first.tolist() == [2, 4]


def test_constant_and_shared_outputs(mode):
    w = symnet.shared(np.ones(2))
    found = symnet.function([], [w, T.constant(3.0), Out(w * 2, borrow=True)])()
    assert [each.tolist() for each in found] == [[1, 1], 3, [2, 2]]


def test_an_intermediate_variable_may_be_an_input(mode):
    x = T.dvector("x")
    y = x * 2
    assert symnet.function([y], y + 1)([1.0]).tolist() == [2]


def test_arguments_of_other_layouts(mode):
    x = T.dmatrix("x")
    f = symnet.function([x], x * 1 + T.arange(3))
    wide = np.arange(36.0).reshape(6, 6)
    for given in (wide[::2, ::2], wide[::-2, 3:], np.asfortranarray(ROWS), ROWS[:, ::-1], ROWS[:0]):
        np.testing.assert_array_equal(f(given), given + np.arange(3))
    read_only = ROWS.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(f(read_only), ROWS + np.arange(3))
    np.testing.assert_array_equal(f(ROWS.astype(">f8")), ROWS + np.arange(3))


def test_one_function_runs_at_many_shapes(mode):
    x = T.dmatrix("x")
    f = symnet.function([x], T.sum(x**2, axis=0))
    for rows, columns in [(2, 3), (4, 3), (4, 5), (1, 1), (0, 3), (7, 3), (2, 3)]:
        given = np.random.RandomState(rows).randn(rows, columns)
        np.testing.assert_allclose(f(given), np.sum(given**2, axis=0), rtol=1e-12)


def test_keywords_and_names(mode):
    x, y = T.dscalars("x", "y")
    f = symnet.function([x, In(y, name="why")], x - y, name="difference")
    assert f(3, 1) == f(3, why=1) == f(x=3, why=1) == 2
    assert "difference" in str(f)


def test_defaults(mode):
    x, y = T.dscalars("x", "y")
    f = symnet.function([x, In(y, value=10.0)], x + y)
    assert f(1) == 11 and f(1, 2) == 3 and f(1, y=4) == 5
    assert symnet.function([x, (y, 5.0)], x + y)(1) == 6
    w = symnet.shared(7.0)
    g = symnet.function([x, In(y, value=w)], x + y)
    assert g(1) == 8
    w.set_value(0.0)
    assert g(1) == 1


def test_a_default_with_an_update(mode):
    x, total = T.dscalars("x", "total")
    store = symnet.shared(0.0)
    add = symnet.function([x, In(total, value=store, update=total + x)], total)
    assert [float(add(v)) for v in (1, 2, 3)] == [0, 1, 3]
    assert store.get_value() == 6


# --- givens ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [dict, OrderedDict, lambda pairs: pairs, tuple])
def test_givens_take_the_place_of_variables(mode, form):
    data = symnet.shared(np.arange(20.0).reshape(10, 2))
    x, i = T.dmatrix("x"), T.lscalar("i")
    f = symnet.function([i], T.sum(x, axis=1), givens=form([(x, data[i * 3 : (i + 1) * 3])]))
    assert f(0).tolist() == [1, 5, 9]
    assert f(3).tolist() == [37]
    assert f(4).tolist() == []


def test_givens_reach_updates_and_one_another(mode):
    x, y = T.dscalars("x", "y")
    w = symnet.shared(1.0)
    f = symnet.function([], w, updates=[(w, w + x)], givens=[(x, y * 2), (y, T.constant(3.0))])
    f()
    assert w.get_value() == 7


def test_givens_replace_an_inner_variable(mode):
    x = T.dvector("x")
    hidden = T.tanh(x)
    f = symnet.function([x], hidden.sum(), givens={hidden: x * 10})
    assert f([1.0, 2.0]) == 30


def test_givens_replace_a_shared_variable(mode):
    w, v = symnet.shared(np.zeros(2)), symnet.shared(np.ones(2))
    assert symnet.function([], w * 2, givens={w: v})().tolist() == [2, 2]


def test_givens_take_numbers_and_arrays(mode):
    x, n = T.fvector("x"), T.iscalar("n")
    f = symnet.function([], x * n, givens={x: np.ones(2, "float32"), n: 3})
    assert f().tolist() == [3, 3]


def test_a_broadcastable_value_stands_in_for_one_that_is_not(mode):
    x = T.dmatrix("x")
    assert symnet.function([], x + 1, givens={x: np.ones((1, 2))})().tolist() == [[2, 2]]


# --- updates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [dict, OrderedDict, list, lambda pairs: [list(each) for each in pairs]])
def test_updates_in_every_form(mode, form):
    a, b = symnet.shared(1.0), symnet.shared(np.zeros(2))
    symnet.function([], updates=form([(a, a * 3), (b, b + a)]))()
    assert a.get_value() == 3 and b.get_value().tolist() == [1, 1]


def test_updates_and_outputs_see_the_values_from_before(mode):
    a, b = symnet.shared(np.array([1.0, 2.0])), symnet.shared(np.array([3.0, 4.0]))
    found = symnet.function([], [a, b, a + b], updates=[(a, b), (b, a)])()
    assert [each.tolist() for each in found] == [[1, 2], [3, 4], [4, 6]]
    assert a.get_value().tolist() == [3, 4] and b.get_value().tolist() == [1, 2]


def test_an_update_by_a_shifted_part_of_itself(mode):
    a = symnet.shared(np.arange(5.0))
    symnet.function([], updates=[(a, T.set_subtensor(a[1:], a[:-1]))])()
    assert a.get_value().tolist() == [0, 0, 1, 2, 3]
    symnet.function([], updates=[(a, a[::-1])])()
    assert a.get_value().tolist() == [3, 2, 1, 0, 0]


def test_an_update_may_change_the_shape(mode):
    a = symnet.shared(np.arange(3.0))
    grow = symnet.function([], a.sum(), updates=[(a, T.concatenate([a, a]))])
    assert [float(grow()) for _ in range(3)] == [3, 6, 12]
    assert a.get_value().shape == (24,)


def test_updates_with_constants(mode):
    a, n = symnet.shared(np.float32(1)), symnet.shared(5)
    symnet.function([], updates=[(a, 0.25), (n, 0)])()
    assert a.get_value() == 0.25 and a.get_value().dtype == np.float32 and n.get_value() == 0


def test_nothing_is_updated_when_something_fails(mode):
    a, b = symnet.shared(np.zeros(3)), symnet.shared(np.zeros(3))
    i = T.lvector("i")
    step = symnet.function([i], updates=[(a, a + 1), (b, b + a[i])])
    step([0, 1, 2])
    with pytest.raises(IndexingError):
        step([0, 1, 3])
    assert a.get_value().tolist() == [1, 1, 1] and b.get_value().tolist() == [0, 0, 0]


# --- what function refuses -------------------------------------------------------------------------


def refused(error, message, *args, **kwargs):
    with pytest.raises(error, match=message) as caught:
        symnet.function(*args, **kwargs)
    assert caught.value.source.file == __file__
    return caught.value


x, y, n = T.dmatrix("x"), T.dvector("y"), T.iscalar("n")
w, count = symnet.shared(np.zeros(3, "float32"), name="w"), symnet.shared(0, name="count")


def test_a_missing_input():
    error = refused(MissingInputError, "needs a variable that is not among the inputs", [x], x + y)
    assert "y: float64" in str(error) and isinstance(error, ValueError)
    refused(MissingInputError, "not among the inputs", [], updates=[(count, count + T.cast(n, "int64"))])
    refused(MissingInputError, "not among the inputs", [], x, givens={x: x + y})
    with pytest.raises(MissingInputError):
        (x + 1).eval()


def test_an_unused_input():
    error = refused(UnusedInputError, "an input is not needed", [x, y], x)
    assert "y: float64" in str(error) and "on_unused_input" in error.hint
    assert symnet.function([x, y], x, on_unused_input="ignore")(ROWS, [1.0]).shape == (2, 3)
    with pytest.warns(UserWarning, match="not needed"):
        symnet.function([x, y], x, on_unused_input="warn")
    with symnet.config.override(on_unused_input="ignore"):
        symnet.function([x, y], x)
    refused(ArgumentError, "on_unused_input='maybe'", [x], x, on_unused_input="maybe")


def test_an_input_twice():
    refused(UnusedInputError, "twice", [x, x], x)


@pytest.mark.parametrize(
    "inputs, message",
    [
        (x, "inputs is a list of variables"),
        (None, "inputs is a list of variables"),
        ([3], "an input is a variable, got int"),
        ([T.constant(1.0)], "a constant as an input"),
        ([w], "a shared variable as an input"),
        (["x"], "an input is a variable, got str"),
    ],
)
def test_what_is_no_input(inputs, message):
    assert isinstance(refused(GraphError, message, inputs, x), TypeError)


@pytest.mark.parametrize(
    "outputs, message", [(3, "an output is a variable"), ([x, "y"], "an output is"), ({1: x}, "keys")]
)
def test_what_is_no_output(outputs, message):
    refused(GraphError, message, [x], outputs)


@pytest.mark.parametrize(
    "value",
    [T.fmatrix("f"), T.dvector("v"), T.imatrix("i"), np.zeros((2, 2), "float32"), np.zeros(3)],
    ids=str,
)
def test_givens_of_another_type(value):
    inputs = [value] if isinstance(value, symnet.Variable) else []
    error = refused(GraphError, "givens: what stands in has another dtype", inputs, x, givens={x: value})
    assert isinstance(error, TypeError)


def test_givens_that_contradict():
    assert isinstance(refused(GivensError, "replaced and an input", [x], x, givens={x: x * 2}), RuntimeError)
    refused(GivensError, "in a circle", [], x, givens={x: y.dimshuffle(0, "x"), y: x[0]})
    refused(GraphError, "is no variable", [x], x, givens={"x": x})


@pytest.mark.parametrize(
    "updates, error, message",
    [
        ([(w, w * np.float64(1))], UpdateError, r"the new value of w is float64 \(\?,\), where float32"),
        ([(w, w.sum())], UpdateError, "the new value of w"),
        ([(w, w.dimshuffle("x", 0))], UpdateError, "the new value of w"),
        ([(w, count)], UpdateError, "the new value of w"),
        ([(count, T.cast(count, "int32"))], UpdateError, "the new value of count"),
        ([(x, x + 1)], UpdateError, "only shared variables"),
        ([("w", w + 1)], UpdateError, "only shared variables"),
        ([(w, w + 1), (w, w + 2)], ArgumentError, "updated twice"),
        ([w], GraphError, "list of pairs"),
    ],
)
def test_updates_that_do_not_fit(updates, error, message):
    inputs = [x] if updates[0] == (x, x + 1) else []
    refused(error, message, inputs, updates=updates)
    assert w.get_value().tolist() == [0, 0, 0]


def test_a_mode_of_no_one():
    refused(GraphError, "mode 'fast'", [x], x, mode="fast")
    refused(GraphError, "mode 3", [x], x, mode=3)


@pytest.mark.parametrize("name", [None, "FAST_RUN", "FAST_COMPILE", "DebugMode", "default", "reference"])
def test_modes_by_name(name):
    assert symnet.function([x], x.sum(), mode=name)(ROWS) == 15


@pytest.mark.parametrize(
    "make", [lambda: symnet.Mode(linker="cvm"), lambda: symnet.Mode(optimizer=None), symnet.get_default_mode]
)
def test_modes_as_objects(make):
    assert symnet.function([x], x.sum(), mode=make().including("fusion"))(ROWS) == 15


# --- what a call refuses ---------------------------------------------------------------------------


def test_arguments_missing_surplus_and_unknown(mode):
    a, b = T.dscalars("a", "b")
    f = symnet.function([a, b], a + b, name="sum")
    for args, kwargs, message in [
        ((1,), {}, "function sum needs a value for input b"),
        ((1, 2, 3), {}, "takes 2 arguments, got 3"),
        ((1,), {"c": 2}, "no input named 'c'"),
        ((1, 2), {"b": 2}, "got input 'b' twice"),
    ]:
        with pytest.raises(InputTypeError, match=message) as caught:
            f(*args, **kwargs)
        assert isinstance(caught.value, TypeError)


ACCEPTED = [
    ("float64", 1, [1, 1.5, True, np.float32(1.5), np.int64(3), np.array(2, "int64")]),
    ("float32", 1, [1, 0.5, np.float32(0.1), np.int16(3), 16777216, 2**40]),
    ("int32", 1, [3, 1.0, True, np.int8(3), np.int64(3), -(2**31)]),
    ("int8", 1, [127, -128, 3.0]),
    ("bool", 1, [True, False, np.bool_(True), 1]),
    ("float64", 2, [[1, 2], [0.1, 0.2], (1.0, 2.0), np.array([1, 2], "int64"), np.array([True, False])]),
    ("float32", 2, [[1.5, 2], [1, 2], np.array([1, 2], "int16"), np.array([1, 2], "uint8")]),
    ("int32", 2, [[1.0, 2.0], [1, 2], np.array([1, 2], "int16")]),
]
REFUSED = [
    ("float32", 1, [0.1, 16777217, np.float64(0.1), np.array(0.5), np.array(1)]),
    ("int32", 1, [1.5, 2**31, np.float64(1.5), np.array(3, "int64"), float("nan")]),
    ("int8", 1, [128, 300, 1.5, np.array(1, "int16")]),
    ("float64", 1, [None, {}, 1j, [1.0]]),
    ("float32", 2, [[0.1, 0.2], np.array([1.0]), np.array([1], "int64"), np.array([1], "int32"), 1.5]),
    ("int32", 2, [[1.5, 2], np.array([1]), np.array([1.0]), [[1, 2]]]),
    ("bool", 2, [np.array([0, 1]), np.array([1.0])]),
]


def identity(dtype, rank):
    given = T.TensorType(dtype, (False,) * (rank - 1))("given")
    return symnet.function([given], given)


@pytest.mark.parametrize("dtype, rank, values", ACCEPTED)
def test_values_that_lose_nothing_are_taken(mode, dtype, rank, values):
    f = identity(dtype, rank)
    for value in values:
        found = f(value)
        assert found.dtype == dtype, value
        np.testing.assert_array_equal(found, np.asarray(value), err_msg=repr(value))


@pytest.mark.parametrize("dtype, rank, values", REFUSED)
def test_values_that_would_lose_something_are_refused(mode, dtype, rank, values):
    f = identity(dtype, rank)
    for value in values:
        with pytest.raises(InputTypeError, match="input given of the function"):
            f(value)


def test_a_python_float_goes_to_floatX(mode):
    with symnet.config.override(floatX="float32"):
        f = symnet.function([given := T.fscalar("given")], given)
        assert f(0.1) == np.float32(0.1)
        for value in (np.float64(0.1), np.array(0.1)):
            with pytest.raises(InputTypeError):
                f(value)
        with pytest.raises(InputTypeError):
            symnet.function([given], given, allow_input_downcast=False)(0.1)


def test_downcasting_when_it_is_allowed(mode):
    given = T.iscalar("given")
    f = symnet.function([given], given, allow_input_downcast=True)
    assert f(1.5) == 1 and f(np.float64(2.7)) == 2
    assert symnet.function([In(given, allow_downcast=True)], given)(3.9) == 3
    strict = symnet.function([In(given, strict=True)], given)
    assert strict(np.array(3, "int32")) == 3
    for value in (3, np.array(3, "int64")):
        with pytest.raises(InputTypeError):
            strict(value)


def test_a_string_is_a_value_error_too(mode):
    with pytest.raises(InputTypeError) as caught:
        identity("float64", 2)("abc")
    assert isinstance(caught.value, ValueError)


def test_ranks_and_broadcastable_axes_are_checked(mode):
    f = symnet.function([given := T.drow("given")], given * 2)
    assert f(np.ones((1, 3))).shape == (1, 3)
    for value in (np.ones((2, 3)), np.ones(3), np.ones((1, 3, 1)), 1.0):
        with pytest.raises(InputTypeError):
            f(value)


def test_shapes_that_do_not_fit_are_refused_with_the_users_line(mode):
    a, b = T.dmatrix("a"), T.dmatrix("b")
    f = symnet.function([a, b], a + b)
    assert f(np.ones((2, 3)), np.ones((2, 3))).sum() == 12
    for shape in [(2, 1), (1, 3), (3, 2), (2, 4)]:
        with pytest.raises(ShapeError, match="lengths of axis") as caught:
            f(np.ones((2, 3)), np.ones(shape))
        assert caught.value.source.text == "f = symnet.function([a, b], a + b)"
    with pytest.raises(ShapeError):
        symnet.function([a, b], T.dot(a, b))(np.ones((2, 3)), np.ones((2, 3)))


def test_a_function_works_after_a_call_that_failed(mode):
    a, i = T.dvector("a"), T.lscalar("i")
    f = symnet.function([a, i], a[i] * 2)
    for _ in range(3):
        with pytest.raises(IndexingError):
            f([1.0, 2.0], 2)
        assert f([1.0, 2.0], 1) == 4


# --- eval, pickling --------------------------------------------------------------------------------


def test_eval(mode):
    assert (x * 2 + y).eval({x: ROWS, y: [1.0, 1.0, 1.0]}).tolist() == (ROWS * 2 + 1).tolist()
    assert T.constant([1, 2]).sum().eval() == 3
    assert w.sum().eval() == 0
    with pytest.raises(GraphError, match="eval takes a mapping"):
        x.sum().eval([ROWS])


@pytest.mark.parametrize("twin_of", [lambda f: pickle.loads(pickle.dumps(f)), copy.deepcopy])
def test_a_function_can_be_pickled_and_copied(mode, twin_of):
    a = T.dvector("a")
    total = symnet.shared(0.0, name="total")
    f = symnet.function([a], a * 2, updates=[(total, total + a.sum())], name="twice")
    f([1.0])
    twin = twin_of(f)
    assert twin([1.0, 2.0]).tolist() == [2, 4] and "twice" in str(twin)
    assert f([5.0]).tolist() == [10]
    assert total.get_value() == 6
    (its,) = twin.get_shared()
    assert its.get_value() == 4


def test_what_a_function_reads(mode):
    total = symnet.shared(0.0, name="total")
    f = symnet.function([], total * 2, updates=[(count, count + 1)], name="f")
    assert set(f.get_shared()) == {total, count}
    assert f.report["name"] == "f"
    f()
    count.set_value(0)
    assert "0 inputs, 1 outputs" in repr(f)
