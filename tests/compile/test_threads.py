"""Functions called, built and compiled by several threads and processes at once, and a cache that fails."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.compile import cache
from symnet.compile.locks import BUSY, HELD

ROOT = Path(symnet.__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder of the test's own, in a process that has warned of nothing yet."""
    monkeypatch.setenv("SYMNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned", {})
    return tmp_path / "cache"


def together(count, action):
    """Run `action(number)` in several threads that start at one moment."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# --- threads ---------------------------------------------------------------------------------------


def test_updates_of_several_threads_add_up():
    total, x = symnet.shared(np.zeros(50)), T.dvector()
    f = symnet.function([x], [total.sum()], updates=[(total, total + x)])
    together(4, lambda number: [f(np.full(50, float(number + 1))) for _ in range(200)])
    np.testing.assert_array_equal(total.get_value(), np.full(50, 200.0 * (1 + 2 + 3 + 4)))


def test_what_a_thread_reads_is_never_half_written():
    w = symnet.shared(np.zeros(5000))
    step = symnet.function([], updates=[(w, w + 1)])

    def work(number):
        if number < 2:
            for _ in range(200):
                step()
            return True
        return all(np.ptp(w.get_value()) == 0 for _ in range(200))

    assert all(together(4, work))
    assert np.all(w.get_value() == 400)


def test_each_call_computes_in_memory_of_its_own():
    x = T.dmatrix()
    y = T.dot(T.exp(x), x.T)
    f = symnet.function([x], [y, T.dot(y, y).sum(axis=0)])

    def work(number):
        given = np.full((30, 20), 0.01 * number)
        first = f(given)
        return all(
            np.array_equal(mine, its) for _ in range(50) for mine, its in zip(f(given), first, strict=True)
        )

    assert all(together(4, work))


def test_a_first_call_by_several_threads_compiles_once():
    x = T.dmatrix()
    f = symnet.function([x], T.tanh(T.dot(x, x)).sum(axis=1))
    results = together(6, lambda number: f(np.eye(5)))
    assert f.report["specialisations"] == 1
    for each in results:
        np.testing.assert_array_equal(each, results[0])


def test_lengths_that_change_in_several_threads():
    x = T.dvector()
    f = symnet.function([x], [x * 2, T.concatenate([x, x]).sum()])

    def work(number):
        for length in np.random.default_rng(number).integers(0, 40, 60):
            doubled, total = f(np.ones(length))
            assert doubled.shape == (length,) and total == 2 * length
        return True

    assert all(together(4, work))
    assert f.report["specialisations"] <= 9


def test_graphs_built_and_compiled_in_several_threads():
    def work(number):
        x = T.dvector("x")
        cost = T.sum(T.exp(x * number) + T.sqr(x))
        f = symnet.function([x], [cost, T.grad(cost, x)], name=f"by_thread_{number}")
        given = np.linspace(-1, 1, 5)
        value, gradient = f(given)
        np.testing.assert_allclose(value, np.sum(np.exp(given * number) + given**2))
        np.testing.assert_allclose(gradient, number * np.exp(given * number) + 2 * given)
        return True

    assert all(together(6, work))


def test_functions_that_share_variables_in_opposite_order_do_not_wait_for_each_other():
    a, b = symnet.shared(np.zeros(10)), symnet.shared(np.zeros(10))
    f = symnet.function([], updates=[(a, a + 1), (b, b + 1)])
    g = symnet.function([], updates=[(b, b + a * 0 + 1), (a, a + b * 0 + 1)])
    together(4, lambda number: [(f if number % 2 else g)() for _ in range(300)])
    assert np.all(a.get_value() == 1200) and np.all(b.get_value() == 1200)


def test_several_threads_call_several_functions_of_common_variables():
    """Each function keeps a = b and c = 2a, whichever runs between: no call sees another half done."""
    a, b, c = (symnet.shared(np.zeros(300), name=name) for name in "abc")
    x, i = T.dvector("x"), T.lscalar("i")
    add = symnet.function([x], [a.sum() - b.sum()], updates=[(a, a + x), (b, b + x), (c, c + 2 * x)])
    count = symnet.function([i], a[0] * 2 - c[0], updates=[(c, c + 2 * i), (b, b + i), (a, a + i)])
    look = symnet.function([], [abs(a - b).max(), abs(c - 2 * a).max(), a.max() - a.min()])
    swap = symnet.function([], a[0] - b[0], updates=[(a, b), (b, a)])
    for _ in range(2):
        add(np.zeros(300)), count(0), look(), swap()

    def work(number):
        given, wrong = np.ones(300), 0.0
        for step in range(300):
            wrong += abs(float(add(given)[0])) + abs(float(count(1))) + abs(float(swap()))
            wrong += float(sum(look()))
            if step % 50 == 0:
                wrong += float(np.abs(add.map(np.ones((20, 300)))).sum()) + np.ptp(b.get_value())
                # A list takes the Python path.
                wrong += abs(float(add(given.tolist())[0]))
        return wrong

    assert together(4, work) == [0.0] * 4
    total = 4 * (300 * 2 + 6 * 21)
    assert np.all(a.get_value() == total) and np.all(b.get_value() == total)
    assert np.all(c.get_value() == 2 * total)
    assert a.container.version == b.container.version


def test_a_value_that_is_set_while_calls_run():
    w, x = symnet.shared(np.zeros(100)), T.dscalar()
    f = symnet.function([x], [w.min() + 0 * x, w.max() + 0 * x, w.shape[0]])
    stop = threading.Event()

    def replace():
        for number in range(400):
            w.set_value(np.full(50 + number % 3 * 50, float(number)))
        stop.set()

    def work(number):
        if number == 0:
            replace()
        while not stop.is_set():
            least, most, length = f(0.0) if number % 2 else f(np.array(1.0))
            if least != most or length not in (50, 100, 150):
                return False
        return True

    assert all(together(3, work))


def test_calls_of_all_kinds_with_threads_and_collections_at_every_turn():
    """Errors, other shapes, maps, finalizers that call, values that are set: while Python switches threads
    and collects garbage as often as it can."""
    a, b, c = (symnet.shared(np.zeros(200)) for _ in range(3))
    x, i = T.dvector("x"), T.lscalar("i")
    add = symnet.function([x], {"d": a.sum() - b.sum(), "x": x * 2}, updates=[(a, a + x), (b, b + x)])
    read = symnet.function([i], [abs(a - b).max(), c[i] * 0])
    long = symnet.function([x], T.exp(T.outer(x, x)).sum(), updates=[(c, c + x)])
    wrong = []

    class Circle:
        def __init__(self):
            self.me = self

        def __del__(self):
            note(not any(read(0)))

    def note(holds):
        if not holds:
            wrong.append("a value")

    def refused(call, given, kind):
        with pytest.raises(kind):
            call(given)

    kinds = [
        *[lambda: note(add(np.ones(200))["d"] == 0)] * 6,
        *[lambda: note(not any(read(3)))] * 6,
        *[lambda: long(np.full(200, 1e-3))] * 2,
        lambda: note(not np.any(read.map([0] * 5))),
        lambda: refused(read, 500, IndexError),
        lambda: refused(add, np.ones(3), symnet.errors.SymnetError),
        lambda: note(np.ptp(a.get_value()) == 0),
        lambda: c.set_value(np.zeros(200)),
        Circle,
    ]
    until = time.monotonic() + 2

    def work(number):
        choose = np.random.default_rng(number)
        while time.monotonic() < until:
            kinds[choose.integers(len(kinds))]()
        return True

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1, 1, 1)
    try:
        assert all(together(4, work))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
    assert wrong == []
    words = [each.container.words for each in (a, b, c)]
    assert all(each[BUSY] == each[HELD] == 0 for each in words)
    np.testing.assert_array_equal(a.get_value(), b.get_value())


def test_a_call_that_waits_can_be_interrupted():
    """Ctrl-C reaches a thread that waits for another thread's call; nothing stays locked behind it."""
    program = """
import os, signal, threading, time
import numpy as np
import symnet, symnet.tensor as T
w = symnet.shared(np.full((400, 400), 1e-3))
value = w
for _ in range(100):
    value = T.dot(T.tanh(value), w)
f = symnet.function([], value.sum(), updates=[(w, w + 0)])
for _ in range(2):
    f()
other = threading.Thread(target=lambda: [f() for _ in range(2)])
other.start()
while not w.container.words[2]:
    time.sleep(0)
try:
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    for _ in range(1000):
        w.get_value()
        f()
except KeyboardInterrupt:
    other.join()
    f()
    print(w.get_value().shape, list(w.container.words[1:3]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "(400, 400) [0, 0]", done.stderr


# --- forked processes ------------------------------------------------------------------------------


def in_child(action):
    """Whether `action` holds in a forked child, which is given two minutes."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if action() else 2
        finally:
            os._exit(code)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@needs_fork
@forks
def test_a_forked_child_calls_updates_and_compiles():
    w, x = symnet.shared(np.zeros(4)), T.dvector()
    f = symnet.function([x], w.sum(), updates=[(w, w + x)])
    f(np.ones(4))

    def child():
        before = f(np.ones(4))
        g = symnet.function([x], T.exp(x) * 3 + os.getpid() * 0)
        return before == 4 and np.all(w.get_value() == 2) and np.allclose(g(np.zeros(3)), 3)

    assert in_child(child)
    assert np.all(w.get_value() == 1)
    assert f(np.ones(4)) == 4


@needs_fork
@forks
def test_a_fork_while_other_threads_call_and_compile():
    w, x = symnet.shared(np.zeros(2000)), T.dvector()
    f = symnet.function([x], w.sum(), updates=[(w, w + x)])
    f(np.ones(2000))
    stop = threading.Event()

    def call():
        while not stop.is_set():
            f(np.ones(2000))

    def build():
        number = 0
        while not stop.is_set():
            number += 1
            with symnet.config.override(cache=False):
                symnet.function([x], T.exp(x) * number)(np.ones(3))

    def child():
        if np.ptp(w.get_value()) != 0:
            return False
        with symnet.config.override(cache=False):
            g = symnet.function([x], T.log(x) + 1)
        f(np.ones(2000))
        return np.allclose(g(np.ones(3)), 1) and np.ptp(w.get_value()) == 0

    threads = [threading.Thread(target=each) for each in (call, build)]
    for each in threads:
        each.start()
    try:
        assert all(in_child(child) for _ in range(5))
    finally:
        stop.set()
        for each in threads:
            each.join()


# --- processes and the cache -----------------------------------------------------------------------

PROGRAM = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    import symnet, symnet.tensor as T
    x, w = T.dmatrix("x"), symnet.shared(np.full((4, 3), 0.5), name="w")
    cost = T.sum(T.sqr(T.tanh(T.dot(x, w))))
    f = symnet.function([x], cost, updates=[(w, w - 0.1 * T.grad(cost, w))], name="step")
    values = [float(f(np.ones((2, 4)))) for _ in range(3)]
    print(json.dumps([values, f.report["cache"], "numba" in sys.modules, len(caught)]))
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "SYMNET_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    import json

    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(out)


def test_processes_that_compile_one_function_into_one_cache(tmp_path):
    folder = tmp_path / "cache"
    first, second = (finished(each) for each in [start(folder), start(folder)])
    third = finished(start(folder))
    assert first[0] == second[0] == third[0]
    assert third[1] == "hit", "the third process compiles nothing"
    assert not any(each[2] for each in (first, second, third)), "Numba is imported by nobody"
    assert first[3] == second[3] == third[3] == 0
    # The function's code, and that of the launcher, which all functions are called by.
    assert len(list(folder.glob("*.object"))) == 2 and not list(folder.glob("*.part"))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def foreign(path):
    path.write_bytes(b"\x7fELF" + bytes(5000))


def empty(path):
    path.write_bytes(b"")


def of_others(path):
    path.chmod(0o666)


def folder_of_others(path):
    path.parent.chmod(0o777)


def use():
    """A function compiled anew, its value, and how its code came about."""
    x = T.dvector("x")
    f = symnet.function([x], [T.exp(x).sum(), T.sqr(x)], name="faulty_cache")
    total, squares = f(np.arange(3.0))
    np.testing.assert_allclose(total, np.exp(np.arange(3.0)).sum())
    np.testing.assert_array_equal(squares, [0.0, 1.0, 4.0])
    return f.report["cache"]


@pytest.mark.parametrize("fault", [cut_off, damage, foreign, empty, of_others, folder_of_others])
def test_a_cache_at_fault_gives_one_warning_and_right_results(folder, fault):
    assert [use(), use()] == ["miss", "hit"]
    (path,) = folder.glob("*.object")
    fault(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert use() == "miss"
        use()
    assert [each.category for each in caught] == [symnet.errors.CacheWarning]


@pytest.mark.parametrize("kind", ["a file", "read-only", "nowhere"])
def test_a_folder_that_can_not_be_used_gives_one_warning(folder, monkeypatch, kind):
    if kind == "a file":
        folder.write_text("not a folder")
    elif kind == "read-only":
        folder.mkdir(mode=0o700)

        def refuse(*arguments, **settings):
            raise PermissionError(13, "read-only")

        # The tests may run as a user to whom no folder is read-only.
        monkeypatch.setattr(cache.os, "replace", refuse)
    else:
        monkeypatch.setenv("SYMNET_CACHE_DIR", "/proc/nowhere/cache")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
        use()
    assert [each.category for each in caught] == [symnet.errors.CacheWarning]


def test_without_a_cache_nothing_is_written(folder):
    with symnet.config.override(cache=False):
        assert use() == "off"
    assert not folder.exists()


def test_moving_a_line_compiles_nothing_anew(folder):
    assert use() == "miss"
    x = T.dvector("x")
    f = symnet.function([x], [T.exp(x).sum(), T.sqr(x)], name="faulty_cache")
    f(np.arange(3.0))
    assert f.report["cache"] == "hit"
