"""Shared variables: dtype, copies and borrowing, what set_value refuses, pickling."""

import copy
import pickle

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import GraphError, InputTypeError


@pytest.mark.parametrize(
    "value, dtype, ndim",
    [
        (True, "bool", 0),
        (1, "int64", 0),
        (1.5, "float64", 0),
        (np.float32(1), "float32", 0),
        (np.zeros(3, "int8"), "int8", 1),
        (np.zeros((2, 3), "float32"), "float32", 2),
        (np.zeros((2, 3, 4, 5)), "float64", 4),
        (np.zeros((0, 3)), "float64", 2),
        (np.array([1.0, 2.0], dtype=">f8"), "float64", 1),
        (np.zeros((3, 4)).T, "float64", 2),
    ],
)
def test_a_shared_variable_has_its_values_dtype_and_rank(value, dtype, ndim):
    made = symnet.shared(value, name="w")
    assert (made.dtype, made.ndim, made.name) == (dtype, ndim, "w")
    np.testing.assert_array_equal(made.get_value(), value)
    assert made.get_value().dtype == np.dtype(dtype)


@pytest.mark.parametrize("value", [[1.0, 2.0], "text", None, {"a": 1}, np.array(["a"]), np.array([None])])
def test_what_is_no_tensor_is_refused(value):
    with pytest.raises(GraphError, match="shared of a"):
        symnet.shared(value)


def test_a_symbolic_value_is_refused():
    with pytest.raises(GraphError, match="symbolic variable"):
        symnet.shared(T.matrix())


def test_no_axis_is_broadcastable_unless_it_is_said():
    assert symnet.shared(np.ones((1, 3))).broadcastable == (False, False)
    row = symnet.shared(np.ones((1, 3)), broadcastable=(True, False))
    assert row.broadcastable == (True, False)
    with pytest.raises(InputTypeError, match="axis 0"):
        row.set_value(np.ones((2, 3)))
    with pytest.raises(InputTypeError):
        symnet.shared(np.ones((2, 3)), broadcastable=(True, False))
    assert symnet.shared(np.ones((2, 3)), shape=(None, 3)).type.shape == (None, 3)


def test_values_are_copied_on_the_way_in_and_out():
    array = np.zeros(3)
    made = symnet.shared(array)
    array[0] = 1
    assert made.get_value()[0] == 0
    made.get_value()[1] = 1
    assert made.get_value()[1] == 0
    made.set_value(array)
    array[2] = 5
    assert made.get_value().tolist() == [1, 0, 0]


def test_borrowing_shares_the_array():
    array = np.zeros(3)
    made = symnet.shared(array, borrow=True)
    array[0] = 1
    assert made.get_value(borrow=True)[0] == 1
    made.set_value(array, borrow=True)
    assert np.shares_memory(made.get_value(borrow=True), array)


def test_another_shape_may_be_set():
    made = symnet.shared(np.zeros((2, 3)))
    made.set_value(np.ones((5, 1)))
    assert made.get_value().shape == (5, 1)


@pytest.mark.parametrize(
    "first, second",
    [
        (np.zeros(3, "float32"), np.zeros(3, "float64")),
        (np.zeros(3, "int32"), np.zeros(3, "int64")),
        (np.zeros(3, "int64"), np.array([1.5, 2, 3])),
        (np.zeros(3), np.zeros((1, 3))),
        (np.zeros(3), 1.0),
        (np.zeros(3), "abc"),
        (np.float32(0), 0.1),
        (np.zeros(2, "int64"), [1.5, 2.0]),
    ],
)
def test_a_value_that_would_lose_something_is_refused_and_nothing_changes(first, second):
    made = symnet.shared(first)
    with pytest.raises(InputTypeError):
        made.set_value(second)
    np.testing.assert_array_equal(made.get_value(), first)


@pytest.mark.parametrize(
    "first, second",
    [
        (np.zeros(3), np.ones(3, "float32")),
        (np.zeros(3, "float32"), np.ones(3, "int16")),
        (np.zeros(2, "int64"), [3, 4]),
        (np.zeros(2, "int64"), [3.0, 4.0]),
        (np.float32(0), 0.5),
        (np.zeros(2), [0.1, 0.2]),
    ],
)
def test_a_value_that_loses_nothing_is_taken(first, second):
    made = symnet.shared(first)
    made.set_value(second)
    np.testing.assert_array_equal(made.get_value(), second)
    assert made.get_value().dtype == np.asarray(first).dtype


def test_functions_see_and_change_the_value(mode):
    total = symnet.shared(np.float64(0), name="total")
    x = T.dscalar("x")
    add = symnet.function([x], total, updates=[(total, total + x)])
    assert [float(add(v)) for v in (1, 2, 3)] == [0, 1, 3]
    assert total.get_value() == 6
    total.set_value(10.0)
    assert add(1) == 10 and total.get_value() == 11


def test_what_was_handed_out_does_not_change_with_the_next_call(mode):
    w = symnet.shared(np.zeros(4), name="w")
    step = symnet.function([], w, updates={w: w + 1})
    first, kept = step(), w.get_value()
    second = step()
    assert first.tolist() == [0] * 4 and kept.tolist() == [1] * 4 and second.tolist() == [1] * 4


def test_the_shape_may_change_between_calls(mode):
    w = symnet.shared(np.ones((2, 3)))
    total = symnet.function([], T.sum(w, axis=0))
    assert total().tolist() == [2, 2, 2]
    w.set_value(np.ones((5, 2)))
    assert total().tolist() == [5, 5]


def test_zero_and_clone():
    w = symnet.shared(np.ones(3), name="w")
    same = w.clone()
    same.set_value(np.full(3, 7.0))
    assert w.get_value().tolist() == [7, 7, 7] and same.name == "w"
    w.zero()
    assert same.get_value().tolist() == [0, 0, 0]


def test_pickling_and_copying_keep_value_name_and_type(mode):
    w = symnet.shared(np.arange(6.0).reshape(2, 3), name="w", shape=(None, 3))
    for twin in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
        assert (twin.name, twin.type) == ("w", w.type)
        np.testing.assert_array_equal(twin.get_value(), w.get_value())
        twin.set_value(np.zeros((1, 3)))
        assert symnet.function([], twin.sum())() == 0
    assert w.get_value()[1, 2] == 5


def test_a_default_update_is_applied_by_every_function_that_reads(mode):
    counter = symnet.shared(0, name="counter")
    counter.default_update = counter + 1
    read = symnet.function([], counter * 10)
    assert [int(read()) for _ in range(3)] == [0, 10, 20]
    still = symnet.function([], counter * 10, no_default_updates=True)
    assert int(still()) == int(still()) == 30
    without = symnet.function([], counter * 10, no_default_updates=[counter])
    assert int(without()) == 30 == counter.get_value() * 10
    other = symnet.function([], counter, updates=[(counter, counter - 3)])
    assert int(other()) == 3 and counter.get_value() == 0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_clone_is_the_same_variable_for_a_function(device):
    """What is written in place through one variable is not read, half new, through the other."""
    a = symnet.shared(np.arange(4.0), "a")
    b = a.clone("b")
    f = symnet.function([], [b * 1, b], updates=[(a, a + b[::-1])], device=device)
    once, itself = f()
    assert once.tolist() == itself.tolist() == [0, 1, 2, 3]
    assert a.get_value().tolist() == b.get_value().tolist() == [3, 3, 3, 3]
    assert len(f.get_shared()) == 1
