"""Assert and Print: what they do in compiled code and by NumPy, and what they leave alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError, AssertError
from symnet.ops.effects import Assert, Print

MODES = ["default", "reference"]


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


# --- Assert ----------------------------------------------------------------------------------------


def test_a_condition_that_holds_changes_nothing(mode):
    x = T.dmatrix("x")
    f = symnet.function([x], Assert("positive")(x, x > 0, x.sum() > 1) * 2, mode=mode)
    np.testing.assert_array_equal(f(np.ones((2, 3))), np.full((2, 3), 2.0))


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float32"])
def test_one_that_does_not_stops_the_call_at_the_users_line(mode, dtype):
    x = T.dvector("x")
    checked = Assert("x is {positive}")(x, T.cast(x > 0, dtype))
    f = symnet.function([x], T.log(checked), mode=mode)
    with pytest.raises(AssertionError, match=r"Assert: x is \{positive\}") as caught:
        f([1.0, 0.0])
    assert isinstance(caught.value, AssertError)
    assert "checked = Assert(" in str(caught.value)


def test_no_shared_variable_is_written_when_it_fails(mode):
    total, x = symnet.shared(np.zeros(3)), T.dvector("x")
    new = Assert("small")(total + x, T.lt(x, 10))
    step = symnet.function([x], [], updates=[(total, new)], mode=mode)
    step(np.ones(3))
    with pytest.raises(AssertError):
        step([1.0, 2.0, 30.0])
    np.testing.assert_array_equal(total.get_value(), np.ones(3))


def test_its_gradient_is_that_of_the_value(mode):
    x = T.dvector("x")
    gradient = T.grad((Assert()(x, x > 0) ** 2).sum(), x)
    found = symnet.function([x], gradient, mode=mode)([1.0, 2.0])
    np.testing.assert_array_equal(found, [2.0, 4.0])


def test_an_integer_that_is_asserted_may_be_a_size(mode):
    n = T.lscalar("n")
    f = symnet.function([n], T.zeros((Assert("a few")(n, T.lt(n, 5)), 2)).shape, mode=mode)
    assert f(3).tolist() == [3, 2]
    with pytest.raises(AssertError, match="a few"):
        f(7)


def test_it_is_not_folded_away(mode):
    f = symnet.function([], Assert("never")(T.constant(1.0), T.constant(False)) + 1, mode=mode)
    with pytest.raises(AssertError, match="never"):
        f()


def test_what_it_does_not_take():
    with pytest.raises(ArgumentError, match="one condition or more"):
        Assert("nothing to check")(T.dscalar())
    with pytest.raises(ArgumentError, match="the message is a string"):
        Assert(5)


# --- Print -----------------------------------------------------------------------------------------


def test_it_prints_what_it_is_asked_to_whenever_it_is_computed(mode, capsys):
    x = T.dmatrix("x")
    f = symnet.function([x], Print("x is", ["shape", "max"])(x).sum(), mode=mode)
    for length in (2, 3):
        assert float(f(np.ones((length, 4)))) == 4 * length
    assert capsys.readouterr().out.splitlines() == [
        "x is shape = (2, 4)",
        "x is max = 1.0",
        "x is shape = (3, 4)",
        "x is max = 1.0",
    ]


def test_values_between_other_values_and_through_views(mode, capsys):
    x = T.dmatrix("x")
    f = symnet.function([x], Print("turned")((x * 2).T[::-1]) + 1, mode=mode)
    given = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(f(given), (given * 2).T[::-1] + 1)
    assert capsys.readouterr().out == f"turned __str__ = {(given * 2).T[::-1]}\n"


def test_a_function_of_ones_own_sees_the_array(mode):
    seen = []
    x = T.lvector("x")
    show = Print("x", global_fn=lambda op, value: seen.append((op.message, value.copy())))
    symnet.function([x], show(x) * 2, mode=mode)([1, 2])
    ((message, value),) = seen
    assert message == "x" and value.tolist() == [1, 2] and value.dtype == "int64"


def test_what_it_raises_stops_the_call_before_anything_is_written(mode):
    def refuse(op, value):
        raise RuntimeError("seen enough")

    total = symnet.shared(np.zeros(2))
    step = symnet.function([], updates=[(total, Print("", global_fn=refuse)(total + 1))], mode=mode)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="seen enough"):
            step()
    np.testing.assert_array_equal(total.get_value(), np.zeros(2))


def test_its_gradient_and_its_pickle(mode, capsys):
    x = T.dvector("x")
    cost = (pickle.loads(pickle.dumps(Print("x")))(x) ** 2).sum()
    f = symnet.function([x], T.grad(cost, x), mode=mode)
    np.testing.assert_array_equal(f([1.0, 2.0]), [2.0, 4.0])
    assert capsys.readouterr().out == "x __str__ = [1. 2.]\n"


def test_constants_are_printed_at_each_call_and_not_before(mode, capsys):
    f = symnet.function([], Print("two")(T.constant(2.0)) + 1, mode=mode)
    assert capsys.readouterr().out == ""
    assert float(f()) == 3.0 and float(f()) == 3.0
    assert capsys.readouterr().out == "two __str__ = 2.0\n" * 2


def test_what_an_array_does_not_have_is_refused_when_it_is_written():
    with pytest.raises(ArgumentError, match="no attribute 'colour'"):
        Print("x", ["colour"])


def test_theanos_names():
    import symnet.theano as theano

    assert theano.printing.Print is Print
    assert theano.tensor.opt.Assert is Assert
