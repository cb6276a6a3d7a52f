"""`f.map`: many calls in one loop do what as many calls in a Python loop do, to the bit."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symnet
import symnet.tensor as T
from symnet.compile.random_streams import RandomStreams
from symnet.errors import ArgumentError, IndexingError, InputTypeError, ShapeError


class Made:
    """A function of random expressions with updates and draws, made alike from equal choices."""

    def __init__(self, choices, mode=None):
        self.choices = list(choices)
        vector, matrix = np.linspace(-1, 1, 3), np.linspace(-0.5, 0.7, 9).reshape(3, 3)
        self.shared = [symnet.shared(each, name=f"s{k}") for k, each in enumerate([vector, matrix, matrix.T])]
        rows = symnet.shared(np.linspace(0, 1, 75).reshape(25, 3), name="rows")
        i, s, v = T.lscalar("i"), T.dscalar("s"), T.dvector("v")
        streams = RandomStreams(seed=self.pick(5))
        batch = rows[i * 4 : (i + 1) * 4]
        self.vectors = [v, v * s, batch.sum(axis=0), rows[i], self.shared[0], streams.uniform((3,)), s + v]
        self.matrices = [self.shared[1], self.shared[2], streams.normal((3, 3)), T.outer(v, v)]
        for _ in range(6):
            self.step()
        updates = [(self.shared[0], self.one(self.vectors))] if self.pick(4) else []
        updates += [(each, self.one(self.matrices)) for each in self.shared[1:] if self.pick(2)]
        updates = [(w, w * 0.5 + T.tanh(new)) for w, new in updates]
        outputs = [self.one(self.vectors), self.one(self.matrices).sum(), self.one(self.matrices)]
        self.f = symnet.function(
            [i, s, v], outputs[: self.pick(4)], updates=updates, mode=mode, on_unused_input="ignore"
        )

    def pick(self, count):
        return self.choices.pop() % count if self.choices else 0

    def one(self, among):
        return among[-1 - self.pick(len(among))]

    def step(self):
        kind = self.pick(5)
        if kind == 0:
            self.vectors.append(T.dot(self.one(self.matrices), self.one(self.vectors)))
        elif kind == 1:
            self.vectors.append(T.tanh(self.one(self.vectors)) + self.one(self.vectors))
        elif kind == 2:
            self.matrices.append(T.dot(self.one(self.matrices), self.one(self.matrices)))
        elif kind == 3:
            self.matrices.append(T.nnet.softmax(self.one(self.matrices)) * self.one(self.vectors))
        else:
            self.vectors.append(self.one(self.matrices).max(axis=0))

    def values(self):
        return [each.get_value() for each in self.f.get_shared()]


def in_a_loop(f, *columns):
    """Each output's results of a Python loop, stacked."""
    found = [f(*row) for row in zip(*columns, strict=True)]
    return [np.stack(each) for each in zip(*found, strict=True)]


def assert_same(mine, its):
    assert len(mine) == len(its)
    for left, right in zip(mine, its, strict=True):
        assert left.dtype == right.dtype and left.shape == right.shape
        assert left.tobytes() == right.tobytes()


def assert_loop(make, *columns):
    """That two functions made alike do the same, one by `map` and one in a loop."""
    one, other = make(), make()
    for _ in range(2):
        found = one.f.map(*columns)
        assert_same(found, in_a_loop(other.f, *columns))
        assert_same(one.values(), other.values())
    return one


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    choices=st.lists(st.integers(0, 59), min_size=30, max_size=60),
    numbers=st.lists(st.integers(-6, 8), min_size=1, max_size=12),
    kind=st.sampled_from(["lists", "arrays", "mixed"]),
)
def test_random_functions_with_updates(choices, numbers, kind):
    numbers = [each if -6 <= each < 7 else 0 for each in numbers]
    floats = [each / 3 for each in numbers]
    vectors = [np.full(3, each) - np.arange(3) for each in floats]
    columns = [numbers, floats, vectors]
    if kind != "lists":
        columns = [np.array(numbers), np.array(floats, "float32"), np.array(vectors)]
    if kind == "mixed":
        columns = [np.array(numbers, "int16"), tuple(floats), np.asfortranarray(vectors)]
    assert_loop(lambda: Made(choices), *columns)


def counting(mode=None):
    total, i, x = symnet.shared(np.zeros(3), name="total"), T.lscalar("i"), T.dvector("x")
    return symnet.function([i, x], [total, i * 2], updates=[(total, total + x * i)], mode=mode), total


@pytest.mark.parametrize("mode", [None, "reference"])
def test_updates_are_seen_by_the_next_call(mode):
    f, total = counting(mode)
    totals, doubled = f.map(range(5), np.ones((5, 3)))
    np.testing.assert_array_equal(totals[:, 0], [0, 0, 1, 3, 6])
    np.testing.assert_array_equal(doubled, [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(total.get_value(), np.full(3, 10.0))


def test_the_loop_is_compiled(monkeypatch):
    f, total = counting()
    version = total.container.version
    f.map(range(3), np.ones((3, 3)))
    monkeypatch.setattr(f._executor, "run", None)
    f.map(range(1, 400), np.ones((399, 3)))
    assert total.container.version == version + 402


def test_forms_of_results():
    x, i = T.dvector("x"), T.lscalar("i")
    assert symnet.function([x], x + 1).map(np.ones((4, 2))).shape == (4, 2)
    named = symnet.function([x, i], {"a": x * i, "b": i}).map(x=np.ones((4, 2)), i=range(4))
    assert list(named) == ["a", "b"] and named["b"].tolist() == [0, 1, 2, 3]
    w = symnet.shared(0)
    assert symnet.function([i], updates=[(w, w + i)]).map(range(10)) == [] and w.get_value() == 45


def test_no_calls():
    x, y = T.dmatrix("x"), T.TensorType("float32", (None, 3))("y")
    one, other = symnet.function([x, y], [x * 2, y.sum(axis=0)]).map([], np.zeros((0, 2, 3), "float32"))
    assert one.shape == (0, 0, 0) and one.dtype == "float64"
    assert other.shape == (0, 3) and other.dtype == "float32"


def test_values_of_changing_shapes():
    x = T.dvector("x")
    total = symnet.shared(0.0)
    f = symnet.function([x], [x.sum(), total], updates=[(total, total + x[0])])
    lengths = [1, 1, 1, 5, 5, 2, 9, 9, 9, 9, 1, 100, 3]
    sums, totals = f.map([np.ones(n) for n in lengths])
    assert sums.tolist() == lengths and totals.tolist() == list(range(len(lengths)))


def test_a_guard_that_fails_in_the_middle():
    data, i, seen = symnet.shared(np.arange(25.0)), T.lscalar("i"), symnet.shared(0)
    f = symnet.function([i], [data[i * 10 : (i + 1) * 10].sum(), seen], updates=[(seen, seen + 1)])
    numbers = [0, 1, 2, 0, 0, 2, 2, 1, 3, 0]
    sums, counts = f.map(numbers)
    assert sums.tolist() == [data.get_value()[n * 10 : n * 10 + 10].sum() for n in numbers]
    assert counts.tolist() == list(range(10)) and f.report["specialisations"] == 2


def test_a_first_call_of_other_shapes_than_those_before():
    data, i = symnet.shared(np.arange(25.0)), T.lscalar("i")
    f = symnet.function([i], data[i * 10 : (i + 1) * 10])
    assert f.map([0, 1]).shape == (2, 10) and f.map([1, 0]).shape == (2, 10)
    assert f.map([2, 2]).shape == (2, 5) and f.map([3]).shape == (1, 0)


def test_results_of_different_shapes_are_refused():
    i, seen = T.lscalar("i"), symnet.shared(0)
    f = symnet.function([i], T.arange(i), updates=[(seen, seen + 1)])
    assert f.map([3, 3, 3]).tolist() == [[0, 1, 2]] * 3
    with pytest.raises(ShapeError, match=r"at index 2 of map: result 0 has shape \(4,\).*before \(3,\)"):
        f.map([3, 3, 4, 3])
    assert seen.get_value() == 6


def test_shared_values_that_change_shape():
    w, x = symnet.shared(np.ones(1)), T.dscalar("x")
    f = symnet.function([x], w.sum(), updates=[(w, T.concatenate([w, w * x]))])
    assert f.map([1.0, 2.0, 1.0]).tolist() == [1, 2, 6]
    assert w.get_value().tolist() == [1, 1, 2, 2, 1, 1, 2, 2]


def test_defaults_and_their_updates():
    state, x, s = symnet.shared(1.0), T.dscalar("x"), T.dscalar("s")
    f = symnet.function([x, symnet.In(s, value=state, update=s * x)], s)
    assert f.map([2.0, 3.0, 4.0]).tolist() == [1, 2, 6] and state.get_value() == 24
    g = symnet.function([x, symnet.In(s, value=10.0)], s * x)
    assert g.map([1.0, 2.0]).tolist() == [10, 20] and g.map([1.0, 2.0], s=[3.0, 4.0]).tolist() == [3, 8]


def test_draws_are_those_of_the_loop():
    def make():
        streams, i, w = RandomStreams(seed=7), T.lscalar("i"), symnet.shared(np.zeros(50))
        kept = streams.binomial((50,), p=0.5, dtype="float64")
        f = symnet.function([i], [kept.sum() + i, streams.normal((2,))], updates=[(w, w + kept)])
        return f, w

    (one, mine), (other, its) = make(), make()
    assert_same(one.map(range(30)), in_a_loop(other, range(30)))
    assert_same([mine.get_value()], [its.get_value()])
    assert len(np.unique(one.map(range(30))[1])) == 60


def test_the_updated_value_as_an_argument():
    w = symnet.shared(np.arange(12.0).reshape(4, 3), borrow=True)
    x = T.dvector("x")
    f = symnet.function([x], w.sum(), updates=[(w, w + x)])
    g_value = symnet.shared(w.get_value())
    g = symnet.function([x], g_value.sum(), updates=[(g_value, g_value + x)])
    want = []
    for row in range(4):
        want.append(float(g(g_value.get_value()[row])))
    assert f.map(w.get_value(borrow=True)).tolist() == want
    np.testing.assert_array_equal(w.get_value(), g_value.get_value())


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "reference"])
def test_an_error_names_its_index_and_leaves_what_was_done(mode):
    data, i, seen = symnet.shared(np.arange(5.0), name="data"), T.lscalar("i"), symnet.shared(0)
    f = symnet.function([i], data[i], updates=[(seen, seen + 1)], mode=mode)
    for bad in (0, 1, 2, 7):
        start = seen.get_value()
        numbers = [0] * bad + [5] + [0, 0]
        with pytest.raises(IndexingError, match=f"at index {bad} of map: ") as caught:
            f.map(numbers)
        assert seen.get_value() == start + bad
        assert __file__ in str(caught.value)


def test_a_value_that_does_not_fit_names_its_index():
    f, total = counting()
    vectors = [np.ones(3), np.ones(3), np.ones((3, 1)), np.ones(3)]
    with pytest.raises(InputTypeError, match="at index 2 of map: input x of the function"):
        f.map([1, 1, 1, 1], vectors)
    assert total.get_value().tolist() == [2, 2, 2]
    with pytest.raises(InputTypeError, match="at index 1 of map: input i"):
        f.map([1, 0.5], vectors[:2])
    with pytest.raises(InputTypeError, match="at index 0 of map: input i"):
        f.map(np.array([1.5]), vectors[:1])
    with pytest.raises(InputTypeError, match="at index 1 of map: input i"):
        f.map([1, 2**63], vectors[:2])
    assert total.get_value().tolist() == [4, 4, 4]


def test_arguments_that_are_no_sequences():
    f, _ = counting()
    for bad in (3, np.array(3), T.lvector(), "12", None):
        with pytest.raises(ArgumentError, match="input i needs a sequence of values"):
            f.map(bad, np.ones((2, 3)))
    with pytest.raises(ArgumentError, match=r"different numbers of calls\n  input i: 2 calls\n  input x: 3"):
        f.map(range(2), np.ones((3, 3)))
    with pytest.raises(ArgumentError, match="nothing says how many calls"):
        symnet.function([], symnet.shared(1.0) + 1).map()
    with pytest.raises(InputTypeError, match="needs a value for input x"):
        f.map(range(2))
    with pytest.raises(InputTypeError, match="takes 2 arguments, got 3"):
        f.map(range(2), range(2), range(2))
    with pytest.raises(InputTypeError, match="no input named 'z'"):
        f.map(range(2), z=range(2))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32", "bool"])
@pytest.mark.parametrize("settings", [{}, {"strict": True}, {"allow_downcast": True}])
def test_values_are_converted_as_a_call_converts_them(dtype, settings):
    x = T.scalar("x", dtype=dtype)
    f = symnet.function([symnet.In(x, **settings)], x)
    columns = [[1, 2], [1, 300], range(250, 260), range(3), [0.5, 0.1], [True, False], np.array([1, 200])]
    columns += [np.array([0.1, 0.5]), np.array([1, 2], "int8"), np.array([1.5], "float32"), [np.array(1)]]
    columns += [np.array([True, False]), [np.float32(0.1)], np.array([3, 4], ">i2"), np.zeros((2, 1))]
    for column in columns:
        try:
            want = [f(each) for each in column]
        except Exception as error:
            with pytest.raises(type(error), match="at index . of map"):
                f.map(column)
        else:
            assert_same([f.map(column)], [np.stack(want)])


# --- threads and interrupts ------------------------------------------------------------------------


def slow_step():
    w, i = symnet.shared(np.full((150, 150), 1e-3)), T.lscalar("i")
    seen = symnet.shared(0)
    return symnet.function([i], T.tanh(T.dot(w, w)).sum() + i, updates=[(seen, seen + 1)]), seen


def test_an_interrupt_is_seen_soon():
    f, seen = slow_step()
    f.map(range(20))
    start = seen.get_value()
    over, sent = threading.Event(), []

    def interrupt():
        while seen.get_value() == start and not over.is_set():
            time.sleep(0.01)
        if not over.is_set():
            sent.append(time.process_time())
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            f.map(range(1_000_000))
        # This process's own, whatever else the machine does.
        seconds = time.process_time() - sent[0]
    finally:
        over.set()
        thread.join()
    assert seconds < 1, f"it took {seconds:.2f} s"
    done = seen.get_value()
    assert start < done < 1_000_000
    f.map(range(3))
    assert seen.get_value() == done + 3


def test_other_threads_run_and_read_meanwhile():
    f, seen = slow_step()
    f.map(range(20))
    thread = threading.Thread(target=f.map, args=(range(4000),))
    thread.start()
    found = set()
    while thread.is_alive():
        found.add(int(seen.get_value()))
    thread.join()
    assert len(found) > 3, "the value was read between calls, while the loop ran"
    assert seen.get_value() == 4020
