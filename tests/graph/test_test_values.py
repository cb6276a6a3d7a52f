"""Values computed as expressions are written: what they are, and which mistakes they show at once."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import IndexingError, MissingTestValueError, ShapeError


@pytest.fixture(autouse=True)
def test_values():
    with symnet.config.override(test_values=True):
        yield


def with_value(variable, value):
    variable.tag.test_value = value
    return variable


def test_results_have_values_as_they_are_written():
    x, w = with_value(T.dmatrix("x"), np.ones((2, 3))), symnet.shared(np.full((3, 4), 2.0))
    y = T.dot(x, w) + 1
    np.testing.assert_array_equal(y.tag.test_value, np.full((2, 4), 7.0))
    gradient = T.grad(y.sum(), x)
    np.testing.assert_array_equal(gradient.tag.test_value, np.full((2, 3), 8.0))


def test_a_mistake_that_shapes_do_not_tell_is_found_on_its_line():
    x, i = with_value(T.dvector("x"), np.zeros(3)), with_value(T.lscalar("i"), 5)
    with pytest.raises(IndexingError, match="index 5, length 3") as caught:
        wrong = x[i] * 2  # noqa: F841
    assert "wrong = x[i] * 2" in str(caught.value)
    y = with_value(T.dvector("y"), np.zeros(4))
    with pytest.raises(ShapeError, match="3 and 4"):
        x + y


def test_where_a_value_is_missing():
    x, y = with_value(T.dvector("x"), np.zeros(3)), T.dvector("y")
    assert not hasattr((x + y).tag, "test_value")
    with symnet.config.override(test_values="raise"):
        with pytest.raises(MissingTestValueError, match="y: float64") as caught:
            x + y
        assert isinstance(caught.value, AttributeError)
        # What was written without a value is not complained of again.
        T.exp(T.exp(x)), symnet.function([x], x * 2)([1.0])
    with symnet.config.override(test_values="warn"), pytest.warns(UserWarning, match="no test value"):
        x + y


def test_a_value_of_another_dtype_is_refused():
    x = with_value(T.lvector("x"), np.array([0.5]))
    with pytest.raises(TypeError):
        x + 1


def test_functions_are_made_and_run_as_without():
    x = with_value(T.dvector("x"), np.ones(3))
    step = symnet.function([x], [T.nnet.softmax(x), T.grad((x**2).sum(), x)])
    probabilities, gradient = step([0.0, 0.0])
    assert probabilities.shape == (1, 2) and gradient.tolist() == [0.0, 0.0]


def test_nothing_is_computed_when_it_is_not_asked_for():
    with symnet.config.override(test_values=False):
        y = with_value(T.dvector("x"), np.ones(3)) + 1
    assert not hasattr(y.tag, "test_value")
