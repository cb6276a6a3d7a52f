"""A program on a simulated device: failures, sizes, host steps, many calls, graphs and what they take."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cuda import many, runtime, specialisation
from symnet.backend.cuda.device import DeviceArray, Transfers
from symnet.backend.cuda.driver import DriverDevice
from symnet.backend.cuda.runtime import find_device
from symnet.backend.cuda.specialisation import Specialisation
from symnet.compile.call import program_for
from symnet.compile.specialise import Specialiser
from symnet.compile.target import CUDA
from symnet.errors import CudaError, IndexingError, ShapeError
from tests.cuda_backend.fake_driver import FakeDriver


@pytest.fixture(autouse=True)
def floats():
    symnet.config.floatX = "float64"


def made(function, *values):
    """A function's program for some arguments."""
    inputs = [*values, *(each.container for each in function.get_shared())]
    sizes = Specialiser(function.graph, inputs, set(), {}).run()
    count = function._form.count
    return program_for(function.graph, len(values), count, function.updates, sizes, "f", CUDA)


def on(device, *arrays):
    found = [DeviceArray.empty(device, each.shape, each.dtype) for each in arrays]
    for there, array in zip(found, arrays, strict=True):
        there.upload(array, Transfers())
    return found


def both(build):
    """The same function on the device and on the CPU, each with shared variables of its own."""
    return build("cuda"), build("cpu")


# --- graphs ----------------------------------------------------------------------------------------


class Counting:
    """A device that counts the graphs that it sets up."""

    def __init__(self, device):
        self.device, self.graphs = device, 0

    def __getattr__(self, name):
        return getattr(self.device, name)

    def graph(self, nodes):
        self.graphs += 1
        return self.device.graph(nodes)


def test_graphs_are_set_up_once_and_anew_when_memory_moves():
    x, w = T.vector("x"), symnet.shared(np.zeros(3), "w")
    f = symnet.function([x], (w * x).sum(), updates=[(w, w + x)])
    device = Counting(find_device())
    values = np.array([1.0, 2.0, 3.0])
    run = Specialisation(made(f, values), device, ((3,), (3,)), 1).run
    first, second = on(find_device(), np.zeros(3), np.ones(3))
    assert [run([values], [first])[2][0] for _ in range(3)] == [0, 14, 28]
    assert device.graphs == 1
    assert run([values], [second])[2][0] == 6
    assert device.graphs == 2
    assert first.download(Transfers()).tolist() == [3, 6, 9]
    assert second.download(Transfers()).tolist() == [2, 3, 4]


def test_a_run_copies_once_each_way():
    x = T.matrix("x")
    f = symnet.function([x], [x.sum(), T.tanh(x)])
    values = np.arange(6.0).reshape(2, 3)
    ready = Specialisation(made(f, values), find_device(), ((2, 3),), 1)
    for _ in range(4):
        code, _, (total, tanh) = ready.run([values], [])
        assert code == 0 and total == 15
        np.testing.assert_allclose(tanh, np.tanh(values))
    assert (ready.transfers.uploads, ready.transfers.downloads) == (4, 4)


def test_all_that_kernels_are_given_lies_in_memory_that_is_there(monkeypatch):
    """The driver's stand-in refuses pointers and copies outside of what was allocated, and copies between
    graphs and memory that is not pinned."""
    driver = FakeDriver()
    device = DriverDevice(driver=driver)

    def compiled(texts, names, machine):
        for text, name in zip(texts, names, strict=True):
            driver.parameters[name] = len(text.dtypes) + 2
        codes = runtime.Compiled([], "off", 0.0)
        for text, name in zip(texts, names, strict=True):
            codes.codes.append(runtime.Code(name, text.source, machine.threads, "", name.encode()))
        return codes

    for module in (specialisation, many):
        monkeypatch.setattr(module, "compiled", compiled)
    x, i = T.matrix("x"), T.lscalar("i")
    data, w = symnet.shared(np.zeros((20, 5)), "data"), symnet.shared(np.zeros((5, 4)), "w")
    cost = ((T.dot(data[i * 4 : (i + 1) * 4], w) - x) ** 2).mean()
    f = symnet.function([i, x], [cost, x[0]], updates=[(w, w - T.grad(cost, w))])
    values = [np.array(2), np.ones((4, 4))]
    ready = Specialisation(made(f, *values), device, ((), (4, 4), (20, 5), (5, 4)), 2)
    code, _, results = ready.run(values, on(device, np.zeros((20, 5)), np.zeros((5, 4))))
    assert code == 0 and [each.shape for each in results] == [(), (4,)]
    assert len(driver.launched) == len(ready.plan.places)
    threads = device.machine.threads
    assert all(block == (threads, 1, 1) for _, _, block, _ in driver.launched)
    assert {name for name, *_ in driver.launched} == set(ready.plan.names)


# --- failures --------------------------------------------------------------------------------------


def gather(device):
    rows = T.lvector("rows")
    table, w = symnet.shared(np.arange(10.0).reshape(5, 2), "table"), symnet.shared(np.zeros(2), "w")
    got = table[rows]
    return symnet.function([rows], got, updates=[(w, w + got.sum(axis=0))], device=device), w


def test_an_index_outside_leaves_shared_variables_as_they_were():
    (f, w), (same, _) = both(gather)
    f([0, 1])
    before = w.get_value()
    with pytest.raises(IndexingError) as caught:
        f([0, 1, 7, 2, 9])
    with pytest.raises(IndexingError) as expected:
        same([0, 1, 7, 2, 9])
    assert str(caught.value).splitlines()[0] == str(expected.value).splitlines()[0]
    assert "index 7" in str(caught.value), "the first of several in order is told"
    np.testing.assert_array_equal(w.get_value(), before)
    np.testing.assert_array_equal(f([4]), [[8, 9]])


def test_the_first_of_several_failures_in_the_programs_order_is_told():
    def build(device):
        a, b, c = T.lvector("a"), T.lvector("b"), T.vector("c")
        table = symnet.shared(np.arange(5.0), "table")
        return symnet.function([a, b, c], [table[a] + c, table[b] * 2, T.exp(c)], device=device)

    f, same = both(build)
    for a, b in (([1, 8], [0, 1]), ([0, 1], [9, 1]), ([6, 1], [7, 1])):
        with pytest.raises(IndexingError) as caught:
            f(a, b, np.ones(2))
        with pytest.raises(IndexingError) as expected:
            same(a, b, np.ones(2))
        assert str(caught.value).splitlines()[0] == str(expected.value).splitlines()[0]
    np.testing.assert_allclose(f([1, 2], [3, 4], np.ones(2))[0], [2, 3])


def test_lengths_that_do_not_fit_are_told_by_a_specialisation_for_any_length():
    def build(device):
        x, y = T.vector("x"), T.vector("y")
        return symnet.function([x, y], x + y, device=device)

    f, same = both(build)
    for length in (2, 3, 5):
        np.testing.assert_array_equal(f(np.ones(length), np.ones(length)), same(*[np.ones(length)] * 2))
    for each in (f, same):
        with pytest.raises(ShapeError):
            each(np.ones(3), np.ones(4))
    np.testing.assert_array_equal(f(np.ones(4), np.ones(4)), np.full(4, 2))


def test_sizes_are_found_on_the_device():
    def build(device):
        n, x = T.lscalar("n"), T.vector("x")
        return symnet.function([n, x], [x[:n], T.arange(n) * 2, x[x > 0]], device=device)

    f, same = both(build)
    values = np.array([3.0, -1, 2, 0, 5, -4, 1])
    for n in (2, 5, 40, 3, 100, 0):
        for found, expected in zip(f(n, values), same(n, values), strict=True):
            np.testing.assert_array_equal(found, expected)
    for length in (1, 4, 90, 7):
        longer = np.resize(values, length)
        for found, expected in zip(f(3, longer), same(3, longer), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_the_first_kernels_find_sizes_on_their_own():
    """None waits for a launch that only finds where a mini-batch lies; the tests on it hold all the same."""

    def build(device):
        i = T.lscalar("i")
        data, w = symnet.shared(np.arange(40.0).reshape(20, 2), "data"), symnet.shared(np.zeros(2), "w")
        batch = data[i * 6 : (i + 1) * 6]
        updates = [(w, w + batch.sum(axis=0))]
        return symnet.function([i], [T.tanh(batch) + w, T.exp(data[i])], updates=updates, device=device), w

    (f, w), (same, other) = both(build)
    for i in (0, 2, 1, 3, -1, 2):
        for found, expected in zip(f(i), same(i), strict=True):
            np.testing.assert_allclose(found, expected)
        np.testing.assert_array_equal(w.get_value(), other.get_value())
    whole, *_ = f._executor.specialisations
    (first, *rest) = whole.plan.ordered.groups
    assert first.after == () and any(work.finds for work in first.works)
    assert sum(work.finds_sizes_itself for work in first.works) >= 2
    assert all(group.after for group in rest)
    for each in (f, same):
        with pytest.raises(IndexingError):
            each(40)
    np.testing.assert_array_equal(w.get_value(), other.get_value())


def test_a_number_that_sizes_are_made_of_may_be_updated():
    """Its new value is not what the same call's sizes are found by, in whatever order things are stored."""

    def build(device):
        data = symnet.shared(np.arange(40.0).reshape(20, 2), "data")
        i, w = symnet.shared(np.int64(0), "i"), symnet.shared(np.zeros((4, 2)), "w")
        batch = data[i * 4 : (i + 1) * 4]
        updates = [(i, (i + 1) % 4), (w, w + batch)]
        return symnet.function([], T.tanh(batch), updates=updates, device=device), w

    (f, w), (same, other) = both(build)
    for _ in range(7):
        np.testing.assert_allclose(f(), same())
        np.testing.assert_array_equal(w.get_value(), other.get_value())


def test_a_shared_variable_may_change_its_length():
    def build(device):
        x, w = T.vector("x"), symnet.shared(np.ones(2), "w")
        return symnet.function([x], w.sum(), updates=[(w, T.concatenate([w, x]))], device=device), w

    (f, w), (same, other) = both(build)
    for length in (1, 3, 2):
        assert f(np.full(length, 2.0)) == same(np.full(length, 2.0))
        np.testing.assert_array_equal(w.get_value(), other.get_value())


# --- host steps ------------------------------------------------------------------------------------


def printing(seen):
    def look(op, array):
        seen.append(np.array(array))
        if array.size and array.reshape(-1)[0] > 100:
            raise KeyError("too large to print")

    return look


def test_host_steps_see_what_was_computed():
    seen = []
    x, w = T.matrix("x"), symnet.shared(np.zeros(3), "w")
    shown = T.printing.Print("x", global_fn=printing(seen)) if hasattr(T, "printing") else None
    if shown is None:
        from symnet.ops.effects import Print

        shown = Print("x", global_fn=printing(seen))
    f = symnet.function([x], shown(T.exp(x)).T[::-1].sum(), updates=[(w, w + x.sum(axis=0))], device="cuda")
    values = np.arange(6.0).reshape(2, 3) / 10
    for _ in range(2):
        np.testing.assert_allclose(f(values), np.exp(values).sum())
    assert len(seen) == 2
    np.testing.assert_allclose(seen[1], np.exp(values))
    before = w.get_value()
    with pytest.raises(KeyError, match="too large to print"):
        f(np.full((2, 3), 6.0))
    np.testing.assert_array_equal(w.get_value(), before)


# --- many calls ------------------------------------------------------------------------------------


def walk(device):
    i, x = T.lscalar("i"), T.vector("x")
    data, w = symnet.shared(np.arange(40.0).reshape(20, 2), "data"), symnet.shared(np.zeros(2), "w")
    cost = ((data[i] - w) ** 2).sum() + x.sum()
    updates = [(w, w - 0.1 * T.grad(cost, w))]
    return symnet.function([i, x], [cost, w * 2], updates=updates, device=device), w


@pytest.mark.parametrize("count", [1, 2, many.CALLS, many.CALLS + 1, 3 * many.CALLS - 1])
def test_many_calls_are_the_calls_one_by_one(count):
    (f, w), (same, other) = both(walk)
    indices, columns = np.arange(count) % 20, np.arange(3.0 * count).reshape(count, 3)
    expected = [same(int(i), x) for i, x in zip(indices, columns, strict=True)]
    for _ in range(2):
        w.set_value(np.zeros(2))
        costs, doubled = f.map(indices, columns)
        np.testing.assert_allclose(costs, [cost for cost, _ in expected])
        np.testing.assert_allclose(doubled, [row for _, row in expected])
        np.testing.assert_allclose(w.get_value(), other.get_value())


def test_many_calls_copy_little():
    f, _ = walk("cuda")
    f(0, np.zeros(3))
    ready = f._executor.specialisations[-1]
    before = replace(ready.transfers)
    # As after a loop that was quick: all the calls are one piece.
    f._caller.pace = 1e-6
    f.map(range(20), np.zeros((20, 3)))
    # Two columns, the words, the first call's desk; the words, two results.
    assert ready.transfers.uploads - before.uploads == 4
    assert ready.transfers.downloads - before.downloads == 3


def test_many_calls_run_in_parts_that_find_room(monkeypatch):
    monkeypatch.setattr(many, "_MOST_BYTES", 200)
    (f, w), (same, other) = both(walk)
    columns = np.arange(60.0).reshape(20, 3)
    expected = [same(i, x)[0] for i, x in enumerate(columns)]
    np.testing.assert_allclose(f.map(range(20), columns)[0], expected)
    np.testing.assert_allclose(w.get_value(), other.get_value())


@pytest.mark.parametrize("bad", [0, 3, 11])
def test_a_failure_among_many_stops_the_others_and_tells_its_number(bad):
    (f, w), _ = both(gather_one)
    f(2)
    w.set_value(np.zeros(()))
    indices = [1] * 12
    indices[bad] = 9
    with pytest.raises(IndexingError, match=f"at index {bad} of map"):
        f.map(indices)
    assert w.get_value() == bad, "a call behind the failure ran"
    assert f(4) == 4


def gather_one(device):
    i = T.lscalar("i")
    table, w = symnet.shared(np.arange(5.0), "table"), symnet.shared(np.zeros(()), "w")
    return symnet.function([i], table[i], updates=[(w, w + table[i])], device=device), w


# --- threads, clocks -------------------------------------------------------------------------------


def test_threads_take_turns():
    x = T.vector("x")
    f = symnet.function([x], [x * 2, x.sum()], device="cuda")
    f(np.ones(4))
    wrong = []

    def run(number):
        for _ in range(5):
            doubled, total = f(np.full(4, float(number)))
            if doubled.tolist() != [2.0 * number] * 4 or total != 4 * number:
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_clocks_count_calls_and_each_kernels_time():
    x = T.matrix("x")
    f = symnet.function([x], T.tanh(T.dot(x, x)).sum(axis=0))
    values = np.eye(4)
    program = made(f, values)
    ready = Specialisation(program, find_device(), ((4, 4),), 1, profiled=True)
    for _ in range(3):
        np.testing.assert_allclose(ready.run([values], [])[2][0], np.full(4, np.tanh(1)))
    calls, whole, *each = ready.clocks()
    assert calls == 3 and len(each) == len(program.calls)
    assert all(time > 0 for time in each) and sum(each) <= whole
    assert Specialisation(made(f, values), find_device(), ((4, 4),), 1).clocks() == []


# --- what people look at ---------------------------------------------------------------------------


def test_kernels_show_the_text_that_runs():
    x = T.matrix("x")
    f = symnet.function([x], T.tanh(x).sum(axis=0), device="cuda", name="shown")
    f(np.ones((2, 3)))
    texts = [kernel.source for kernel in f.kernels]
    assert texts and all("def " in text and "cuda." in text for text in texts)
    assert any("tanh" in text and "test_specialisation.py" in text for text in texts)


def test_what_broke_in_order_alone_is_an_error_of_its_own(monkeypatch):
    """Where many threads find a failure, one thread must, or the message would be another's."""
    f, _ = gather("cuda")
    f([0])
    ready = f._executor.specialisations[-1]
    good = made(f, np.array([0, 1]))
    monkeypatch.setattr(ready.desk, "failed", lambda: (0, 1))
    step = ready.plan.emitted.flags[0]
    assert type(good.steps[step]).__name__ == "KernelCall"
    with pytest.raises(CudaError, match="finds nothing wrong"):
        f([0])
