"""Functions on a simulated device: what is copied when, beside functions on the CPU, and what is told."""

import pickle
import threading
import weakref

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cuda.runtime import find_device
from symnet.errors import CudaError, IndexingError


@pytest.fixture(autouse=True)
def floats():
    symnet.config.floatX = "float32"


def ones(*shape):
    return np.ones(shape, "float32")


def step(device, rate=0.5, name="step"):
    """A training step of a small linear model on a data set that lies in shared variables."""
    x, y, i = T.fmatrix("x"), T.fmatrix("y"), T.lscalar("i")
    numbers = np.random.RandomState(3)
    data = symnet.shared(numbers.uniform(-1, 1, (12, 3)).astype("float32"), name="data")
    target = symnet.shared(numbers.uniform(-1, 1, (12, 2)).astype("float32"), name="target")
    w = symnet.shared(np.zeros((3, 2), "float32"), name="w")
    cost = T.mean((T.tanh(T.dot(x, w)) - y) ** 2)
    given = {x: data[i * 4 : (i + 1) * 4], y: target[i * 4 : (i + 1) * 4]}
    updates = [(w, w - rate * T.grad(cost, w))]
    return symnet.function([i], cost, updates=updates, givens=given, device=device, name=name), w


def test_a_training_step_moves_the_index_in_and_the_cost_out():
    train, w = step("cuda")
    reference, same = step("cpu")
    for number in range(6):
        found = train(number % 3)
        np.testing.assert_allclose(found, reference(number % 3), rtol=1e-5)
    facts = train.report["transfers"]
    assert train.device == train.report["device"] == "cuda" and w.container.device == "cuda"
    assert (facts["uploads"], facts["downloads"]) == (6, 6)
    # Words for the index and for what the call tells of itself, whatever the data set's size is.
    assert facts["uploaded_bytes"] < 6 * 1024 and facts["downloaded_bytes"] < 6 * 1024
    assert (facts["shared_uploads"], facts["shared_downloads"]) == (3, 0)
    assert facts["shared_uploaded_bytes"] == 4 * (12 * 3 + 12 * 2 + 3 * 2)
    np.testing.assert_allclose(w.get_value(), same.get_value(), rtol=1e-5)
    assert train.report["transfers"]["shared_downloads"] == 1


def test_functions_on_both_devices_share_a_variable():
    w = symnet.shared(ones(3), name="w")
    x = T.fvector("x")
    add = symnet.function([x], w.sum(), updates=[(w, w + x)], device="cuda")
    double = symnet.function([], w.sum(), updates=[(w, w * 2)], device="cpu")
    look = symnet.function([], w * 1, device="cuda")
    expected = ones(3)
    for number in range(6):
        for _ in range(2):
            # Quick calls: what they find must be the value.
            assert float(double()) == expected.sum()
            expected = expected * 2
        assert float(add(np.full(3, number, "float32"))) == expected.sum()
        expected = expected + number
        np.testing.assert_array_equal(look(), expected)
    np.testing.assert_array_equal(w.get_value(), expected)


def test_a_value_that_is_set_is_what_the_next_call_finds():
    w = symnet.shared(ones(3), name="w")
    total = symnet.function([], w.sum(), updates=[(w, w + 1)], device="cuda")
    assert total() == 3
    w.set_value(np.zeros(3, "float32"))
    assert total() == 0 and w.get_value().tolist() == [1, 1, 1]
    w.zero()
    assert total() == 0
    w.set_value(ones(5))
    assert total() == 5 and w.get_value().tolist() == [2] * 5
    assert total.report["transfers"]["shared_uploads"] == 4


def test_an_update_of_another_shape():
    w = symnet.shared(ones(2), name="w")
    grow = symnet.function([], w.sum(), updates=[(w, T.concatenate([w, w]))], device="cuda")
    assert [float(grow()) for _ in range(3)] == [2, 4, 8]
    assert w.get_value().shape == (16,)


def test_a_failed_call_leaves_shared_variables_alone():
    i = T.lscalar("i")
    w = symnet.shared(ones(3), name="w")
    f = symnet.function([i], w[i], updates=[(w, w + 1)], device="cuda")
    f(2)
    with pytest.raises(IndexingError, match="index 3"):
        f(3)
    assert w.get_value().tolist() == [2, 2, 2] and f(0) == 2


def test_lengths_that_change():
    x = T.fvector("x")
    f = symnet.function([x], (x * 2, x.sum()), device="cuda")
    for length in (3, 5, 2, 0, 9):
        double, total = f(ones(length))
        assert double.tolist() == [2] * length and total == length
    assert f.report["specialisations"] <= 4


def test_an_array_of_which_the_length_alone_is_wanted_may_be_of_any_dtype():
    x = T.TensorType("complex64", (None,))("x")
    assert symnet.function([x], x.shape[0], device="cuda")(np.ones(3, "complex64")) == 3


def test_a_function_on_a_device_is_pickled():
    train, w = step("cuda")
    train(0)
    again, weights = pickle.loads(pickle.dumps((train, w)))
    assert again.device == "cuda"
    np.testing.assert_array_equal(again(1), train(1))
    np.testing.assert_array_equal(weights.get_value(), w.get_value())


def test_an_interrupt_between_a_run_and_its_note_loses_nothing(monkeypatch):
    w = symnet.shared(ones(3), name="w")
    add = symnet.function([], w.sum(), updates=[(w, w + 1)], device="cuda")
    double = symnet.function([], w.sum(), updates=[(w, w * 2)], device="cpu")
    add()
    assert w.get_value().tolist() == [2, 2, 2]
    device = find_device()
    wait = type(device).synchronize

    def interrupted(self):
        wait(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(device), "synchronize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add()
    monkeypatch.undo()
    # Done on the device, if told to nobody: everybody finds it.
    assert w.get_value().tolist() == [3, 3, 3]
    assert double() == 9 and add() == 18 and w.get_value().tolist() == [7, 7, 7]


def test_threads_take_turns():
    total = symnet.shared(np.float32(0), name="total")
    f = symnet.function([], total, updates=[(total, total + 1)], device="cuda")
    f()
    workers = [threading.Thread(target=lambda: [f() for _ in range(5)]) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert total.get_value() == 21


def test_threads_on_both_devices_lose_no_update():
    total = symnet.shared(np.zeros(3, "float32"), name="total")
    made = [symnet.function([], total, updates=[(total, total + 1)], device=each) for each in ("cpu", "cuda")]
    for _ in range(3):
        for each in made:
            each()
    before = total.get_value()
    counts = (400, 20)
    workers = [
        threading.Thread(target=lambda f, n: [f() for _ in range(n)], args=(f, n))
        for f, n in zip(made, counts, strict=True)
        for _ in range(2)
    ]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert total.get_value().tolist() == (before + 2 * sum(counts)).tolist()


def test_map_is_a_loop():
    train, w = step("cuda")
    loop, same = step("cuda")
    numbers = [0, 1, 2, 1, 0, 2, 2]
    np.testing.assert_array_equal(train.map(numbers), [loop(each) for each in numbers])
    np.testing.assert_array_equal(w.get_value(), same.get_value())
    assert w.container.version == same.container.version == 7


def test_an_error_in_map_tells_its_index():
    i, total = T.lscalar("i"), symnet.shared(np.float32(0), name="total")
    table = symnet.shared(np.arange(4, dtype="float32"), name="table")
    f = symnet.function([i], total, updates=[(total, total + table[i])], device="cuda")
    with pytest.raises(IndexingError, match="at index 3 of map"):
        f.map([1, 2, 3, 4, 1])
    assert total.get_value() == 6


def test_config_chooses_the_device():
    x = T.fvector("x")
    with symnet.config.override(device="cuda"):
        f = symnet.function([x], x * 2)
        g = symnet.function([x], x * 2, device="cpu")
    h = symnet.function([x], x * 2)
    assert (f.device, g.device, h.device) == ("cuda", "cpu", "cpu")
    assert f(ones(2)).tolist() == g(ones(2)).tolist() == h(ones(2)).tolist()
    assert f.report["gpu"] == find_device().name


def test_kernels_show_the_text_that_is_compiled():
    x = T.fmatrix("x")
    f = symnet.function([x], T.exp(x).sum(axis=1), device="cuda", name="f")
    f(ones(2, 3))
    (kernel,) = f.kernels
    assert "cuda.threadIdx.x" in kernel.source and "math.exp(" in kernel.source
    assert "test_calls.py" in kernel.source and kernel.lines
    text = str(f.report)
    assert "kernels: 1, which run 1 times in a call" in text and "simulat" in text
    assert "copies by calls: 1 to it" in text and "blocks" in text
    (told,) = f.report.kernels
    assert told.source == kernel.source and told.flops > 0 and told.blocks == kernel.blocks >= 1


def test_too_little_memory_is_told_before_anything_is_launched(monkeypatch):
    x = T.fmatrix("x")
    w = symnet.shared(ones(64, 64), name="w")
    f = symnet.function([x], T.dot(T.tanh(T.dot(x, w)), w).sum(axis=0), device="cuda", name="forward")
    device = find_device()
    monkeypatch.setattr(type(device), "free_bytes", lambda self: 20_000)
    monkeypatch.setattr(type(device), "graph", lambda *anything: pytest.fail("launched"))
    with pytest.raises(CudaError, match="forward needs") as caught:
        f(ones(32, 64))
    text = str(caught.value)
    assert "19.5 KiB are free" in text
    assert "shared variables that are not on it yet: 16.0 KiB" in text
    assert "intermediate results, at their peak: " in text
    assert "the largest: " in text and "entries of float32" in text and "test_calls.py:" in text
    assert "device=\"cpu\"" in caught.value.hint
    monkeypatch.undo()
    assert f(ones(1, 64)).shape == (64,)


def test_random_draws_are_the_cpus():
    """The generator's state is a shared variable, which both use in turn."""
    from symnet.tensor.shared_randomstreams import RandomStreams

    streams = RandomStreams(5), RandomStreams(5)
    draws = [each.binomial(size=(4, 5), p=0.5) + each.uniform((4, 5)) for each in streams]
    alone = symnet.function([], draws[0], device="cpu")
    mixed = [symnet.function([], draws[1], device=each) for each in ("cuda", "cpu")]
    for number in range(6):
        np.testing.assert_array_equal(mixed[number % 2](), alone())


def test_memory_that_a_variable_left_is_let_go_where_it_is_short(monkeypatch):
    """Graphs that were made for it hold it, until they are made anew or somebody needs the room."""
    w = symnet.shared(ones(3), name="w")
    total = symnet.function([], w.sum(), device="cuda")
    assert total() == 3
    rate = T.fscalar("rate")
    next_one = symnet.function([rate], w.sum(), device="cuda", on_unused_input="ignore")
    next_one(1)
    assert next_one.map([1, 2, 3]).tolist() == [3, 3, 3]
    left = weakref.ref(w.container._held.memory)
    w.set_value(ones(4))
    assert total() == 4 and left() is not None
    device = find_device()
    allocate, refused = type(device).allocate, []

    def is_full(self, count):
        if left() is not None:
            refused.append(count)
            raise CudaError("there is no room")
        return allocate(self, count)

    monkeypatch.setattr(type(device), "allocate", is_full)
    v = symnet.shared(ones(5), name="v")
    with v.container.lock:
        total._executor.backend.hold(v.container, False)
    assert refused == [20] and left() is None
    monkeypatch.undo()
    assert total() == 4 and next_one.map([1, 2, 3]).tolist() == [4, 4, 4]


def test_a_check_of_nan_stops_a_call():
    x = T.fvector("x")
    f = symnet.function([x], T.log(x) * 2, device="cuda", check="nan")
    assert f(ones(2)).tolist() == [0, 0]
    with pytest.raises(symnet.errors.NanError, match="log"):
        f(np.array([1, -1], "float32"))


def test_a_profile_tells_kernels_times():
    train, _ = step("cuda")
    train(0)
    found = train.profile(0, n=3)
    assert found.calls == 3 and found.seconds > 0
    assert all(each.seconds > 0 for each in found.kernels)
    assert found.kernel_seconds <= found.seconds
    assert found.gpu == find_device().name and found.gpu in str(found)
    page = str(symnet.inspect.html(train, profile=found))
    assert "CUDA source" in page and "cuda.threadIdx.x" in page and found.gpu in page
    measured = symnet.benchmark(train, 0, seconds=0.01, rounds=2)
    assert measured.gpu == found.gpu and measured.flops > 0 and found.gpu in str(measured)
