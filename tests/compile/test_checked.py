"""Functions that look at their own values: the first wrong one is told with its op, line and operands."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError, DifferenceError, NanError
from symnet.ops.elementwise import Elementwise


def test_the_first_nan_is_told_with_its_op_line_and_operands():
    x, y = T.dvector("x"), T.dvector("y")
    quotient = T.log(x) * y
    total = T.exp(quotient).sum()
    f = symnet.function([x, y], total, check="nan")
    np.testing.assert_allclose(f([1.0, 2.0], [1.0, 1.0]), 3.0)
    with pytest.raises(NanError) as caught:
        f([1.0, -2.0], [1.0, 1.0])
    told = str(caught.value)
    assert "log: the result has 1 NaN and 0 infinities among 2 entries" in told
    assert "quotient = T.log(x) * y" in told
    assert "from -2 to 1" in told


def test_an_infinity_that_a_product_makes():
    x = T.fmatrix("x")
    f = symnet.function([x], T.tanh(T.dot(x, x)), check="nan")
    f(np.ones((3, 3), "float32"))
    with pytest.raises(NanError, match="dot.*0 NaN and 9 infinities among 9 entries"):
        f(np.full((3, 3), 1e30, "float32"))


def test_what_comes_in_is_not_what_goes_wrong():
    x = T.dvector("x")
    f = symnet.function([x], T.exp(x) * 2, check="nan")
    np.testing.assert_array_equal(f([np.nan, np.inf, 0.0]), [np.nan, np.inf, 2.0])


def test_nothing_is_written_when_an_update_would_be_nan():
    w, v = symnet.shared(np.array([4.0, 1.0]), name="w"), symnet.shared(0.0)
    x = T.dvector("x")
    step = symnet.function([x], updates=[(v, v + 1), (w, w - T.sqrt(x) * w)], check="nan")
    step([0.25, 0.25])
    with pytest.raises(NanError, match="sqrt: the result has 1 NaN"):
        step([0.25, -1.0])
    np.testing.assert_array_equal(w.get_value(), [2.0, 0.5])
    assert float(v.get_value()) == 1.0


@pytest.mark.parametrize("check", ["nan", "reference"])
def test_a_training_step_is_as_without(check):
    def step(**more):
        random = np.random.default_rng(1)
        w = symnet.shared(random.normal(size=(6, 1, 3, 3)))
        b = symnet.shared(random.normal(size=(6, 5)) * 0.1)
        v = symnet.shared(random.normal(size=(6 * 5 * 5, 5)) * 0.1)
        x, y = T.dtensor4("x"), T.lvector("y")
        hidden = T.signal.pool.pool_2d(T.nnet.relu(T.nnet.conv2d(x, w)), (2, 2), ignore_border=True)
        p = T.nnet.softmax(T.dot(hidden.flatten(2), v) + b[0])
        cost = -T.mean(T.log(p)[T.arange(4), y])
        parameters = [w, b, v]
        gradients = T.grad(cost, parameters)
        updates = [(each, each - 0.1 * g) for each, g in zip(parameters, gradients, strict=True)]
        return symnet.function([x, y], cost, updates=updates, **more), parameters

    given = np.random.default_rng(2).normal(size=(4, 1, 12, 12)), np.array([0, 1, 4, 2])
    plain, wanted = step()
    checked, found = step(check=check)
    for _ in range(3):
        np.testing.assert_allclose(checked(*given), plain(*given), rtol=1e-12)
    for mine, its in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine.get_value(), its.get_value(), rtol=1e-10)


def test_a_value_that_numpy_would_not_compute_is_found(monkeypatch):
    """With an op whose NumPy meaning is made another than its kernel."""
    x = T.dvector("x")
    doubled = T.tanh(x) * 2
    f = symnet.function([x], T.exp(doubled).sum(), check="reference")
    meaning = Elementwise.numpy

    def moved(self, node, *operands):
        return meaning(self, node, *operands) + (1e-3 if self.name == "tanh" else 0)

    f([0.5, 1.0])
    monkeypatch.setattr(Elementwise, "numpy", moved)
    with pytest.raises(DifferenceError) as caught:
        f([0.5, 1.0])
    told = str(caught.value)
    assert "1 of 1 entries are not what NumPy computes: entry () is" in told
    assert "from 0.5 to 1" in told and "T.exp(doubled)" in told


def test_results_are_looked_at_as_well():
    x = T.dvector("x")
    logarithm = T.log(x)
    with pytest.raises(NanError, match="1 infinities"):
        symnet.function([x], logarithm + 1, check="nan")([0.0, 1.0])


@pytest.mark.parametrize("check", ["nan", "reference"])
def test_indices_and_scatters_into_a_shared_variable(check):
    table = symnet.shared(np.zeros((4, 3)), name="table")
    rows, values = T.lvector("rows"), T.dmatrix("values")
    step = symnet.function(
        [rows, values], updates=[(table, T.inc_subtensor(table[rows], values))], check=check
    )
    step([1, 3, 1], np.ones((3, 3)))
    np.testing.assert_array_equal(table.get_value()[:, 0], [0, 2, 0, 1])
    with pytest.raises(IndexError, match="index 9"):
        step([1, 9, 1], np.ones((3, 3)))
    if check == "nan":
        with pytest.raises(NanError):
            for _ in range(2):
                step([0, 1, 2], np.full((3, 3), 1e308))
    assert np.isfinite(table.get_value()).all()


def test_integers_random_draws_and_prints_are_checked_too(capsys):
    random = T.shared_randomstreams.RandomStreams(5)
    x = T.lvector("x")
    drawn = random.uniform((3,))
    shown = symnet.theano.printing.Print("x")(x)
    f = symnet.function([x], [shown * 2 + 1, drawn + 1, x.argmax()], check="reference")
    for _ in range(3):
        doubled, _, place = f([1, 5, 2])
        assert doubled.tolist() == [3, 11, 5] and int(place) == 1
    assert capsys.readouterr().out == "x __str__ = [1 5 2]\n" * 3


def test_the_same_is_told_by_numpy_alone():
    x = T.dvector("x")
    f = symnet.function([x], T.sqrt(x) + 1, mode="reference", check="nan")
    with pytest.raises(NanError, match="sqrt: the result has 1 NaN"):
        f([-1.0, 1.0])


def test_theanos_mode_of_this_kind():
    from symnet.theano.compile.nanguardmode import NanGuardMode

    x = T.dvector("x")
    mode = NanGuardMode(nan_is_error=True, inf_is_error=True, big_is_error=False)
    with pytest.raises(NanError):
        symnet.function([x], T.log(x), mode=mode)([-1.0])


def test_another_word_is_refused():
    x = T.dvector("x")
    with pytest.raises(ArgumentError, match='check=\'inf\': None, "nan" or "reference" is expected'):
        symnet.function([x], x * 2, check="inf")
