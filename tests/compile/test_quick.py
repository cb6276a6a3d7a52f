"""Quick calls: builtin functions, which nothing but their speed may tell from the Python path."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import types
import weakref
from pathlib import Path

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cpu import launcher
from symnet.compile import plan
from symnet.compile.locks import BUSY, HELD
from symnet.errors import SymnetError
from symnet.ops.effects import Print

pytestmark = pytest.mark.skipif(launcher.launcher() is None, reason="this Python has no launcher")


def quick(f, *arguments):
    """The function after as many calls as make it quick."""
    for _ in range(2):
        f(*arguments)
    assert isinstance(f.__call__, types.BuiltinFunctionType)
    return f


def outcome(call, *arguments, **named):
    """What a call gives: results with dtypes and shapes, or the error."""
    try:
        found = call(*arguments, **named)
    except Exception as error:
        return type(error), str(error)
    found = found if isinstance(found, list | tuple) else [found]
    return [(each.dtype, each.shape, each.tolist()) for each in found]


class Odd(np.ndarray):
    """A subclass of arrays."""


SCALARS = [
    *(0, 1, -1, 127, 128, -128, -129, 255, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30),
    *(True, 0.0, 0.5, 0.1, -2.0, 1e300, float("inf"), 2 + 1j, None, "1", [1], [[1]], (), object()),
    *(np.int8(3), np.int64(3), np.uint64(2**63), np.float32(0.1), np.float64(0.1), np.float16(1)),
    *(np.bool_(1), np.array(3), np.array(3, "int8"), np.array(0.1), np.array(0.1, "float32"), np.array([1])),
    np.array(3, ">i8"),
    np.array(2.5).view(Odd),
]


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"])
@pytest.mark.parametrize(
    "settings", [{}, {"strict": True}, {"allow_downcast": True}, {"allow_downcast": False}]
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_scalars_of_every_kind(dtype, settings):
    x = T.scalar("x", dtype=dtype)
    f = symnet.function([symnet.In(x, **settings)], [x, T.stack([x, x])])
    quick(f, np.array(1, dtype))
    for value in SCALARS:
        for _ in range(2):
            with np.errstate(all="ignore"):
                got, want = outcome(f, value), outcome(f._caller, value)
            # Both see the same line of this file.
            assert got == want, repr(value)


def test_a_float_for_float32_follows_the_setting():
    x = T.fscalar("x")
    f = quick(symnet.function([x], x), np.float32(1))
    for floatX in ("float32", "float64", "float32"):
        with symnet.config.override(floatX=floatX):
            assert outcome(f, 0.1) == outcome(f._caller, 0.1)
    assert f(float("nan")) != f(float("nan")) and f(0.25) == 0.25


def test_a_float_is_rounded_for_floatX_without_python():
    """In a process of its own, as the first block that overrides floatX ends it for good."""
    program = """
import numpy as np, symnet, symnet.tensor as T
config = symnet.config
config.floatX = "float32"
x = T.fscalar("x")
f, exact = symnet.function([x], x), symnet.function([x], x, allow_input_downcast=False)
for _ in range(2):
    f(0.5), exact(0.5)
run, f._executor.run = f._executor.run, None
print(f(0.1) == np.float32(0.1), np.isnan(f(float("nan"))), f(float("inf")))
f._executor.run = run

def refused(call):
    try:
        return bool(call(0.1)) and False
    except symnet.errors.InputTypeError:
        return True

print(refused(exact), exact(0.25))
config.floatX = "float64"
print(refused(f), f(0.25))
config.floatX = "float32"
print(f(0.1) == np.float32(0.1))
with config.override(floatX="float64"):
    print(refused(f))
    config.floatX = "float32"
    print(refused(f))
print(f(0.1) == np.float32(0.1))
"""
    root = str(Path(symnet.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = done.stdout.splitlines()
    assert told == ["True True inf", "True 0.25", "True 0.25", *["True"] * 4], done.stderr


def matrices():
    whole = np.arange(24.0).reshape(4, 6)
    yield from (whole, whole.T, whole[:, ::2], whole[1:], whole[:0], whole[0], whole[None], whole[::-1])
    yield from (whole.astype("float32"), whole.astype("int64"), whole.astype(">f8"), whole.tolist(), None)
    yield from (np.asfortranarray(whole), whole.view(Odd), np.ma.masked_array(whole), whole.astype(complex))
    yield np.zeros(8 * 24 + 1, np.uint8)[1:].view("float64").reshape(4, 6)
    yield pickle.loads(pickle.dumps(whole))
    yield np.ones((4, 1)) * np.ones((1, 6))


def test_arrays_of_every_kind():
    x = T.dmatrix("x")
    f = quick(symnet.function([x], [x * 2, x.sum(axis=0)]), np.ones((4, 6)))
    for value in matrices():
        assert outcome(f, value) == outcome(f._caller, value)
    # By now lengths are found at run time.
    for value in matrices():
        assert outcome(f, value) == outcome(f._caller, value)


def test_axes_of_known_length():
    x = T.TensorType("float64", (None, 3))("x")
    f = quick(symnet.function([x], x + 1), np.ones((2, 3)))
    for shape in [(2, 3), (5, 3), (2, 4), (2, 1), (0, 3), (3,), (2, 3, 1)]:
        assert outcome(f, np.ones(shape)) == outcome(f._caller, np.ones(shape))


def test_counts_names_and_defaults():
    x, y = T.dscalar("x"), T.dvector("y")
    f = symnet.function([x, symnet.In(y, value=np.ones(3))], x * y)
    quick(f, 1.0, np.ones(3))
    calls = [((), {}), ((1.0,), {}), ((1.0, [1.0, 2, 3]), {}), ((), {"y": np.ones(3), "x": 2.0})]
    calls += [((1.0, np.ones(3), 3), {}), ((1.0,), {"x": 1.0}), ((1.0,), {"z": 1.0}), ((1.0, np.ones(3)), {})]
    for given, named in calls:
        assert outcome(f, *given, **named) == outcome(f._caller, *given, **named)


def test_constant_defaults_are_quick(monkeypatch):
    x, y, z = T.dscalar("x"), T.dvector("y"), T.lscalar("z")
    f = symnet.function([x, symnet.In(y, value=np.arange(3.0)), symnet.In(z, value=3)], x * y + z)
    quick(f, 1.0)
    monkeypatch.setattr(f._executor, "run", None)
    assert f(2.0).tolist() == [3, 5, 7] and f(2.0, np.ones(3)).tolist() == [5, 5, 5]
    assert f(1.0, np.ones(3), 1).tolist() == [2, 2, 2]
    with pytest.raises(symnet.errors.InputTypeError, match="needs a value for input x"):
        f()


def test_forms_of_results():
    x = T.dvector("x")
    one = quick(symnet.function([x], x + 1), np.ones(2))
    several = quick(symnet.function([x], [x + 1, x, x]), np.ones(2))
    named = quick(symnet.function([x], {"a": x + 1, "b": x.sum()}), np.ones(2))
    none = quick(symnet.function([x], on_unused_input="ignore"), np.ones(2))
    np.testing.assert_array_equal(one(np.ones(2)), [2, 2])
    given = np.ones(2)
    a, b, c = several(given)
    b[:] = 5
    assert a.tolist() == [2, 2] and c.tolist() == [1, 1] and given.tolist() == [1, 1]
    found = named(given)
    assert list(found) == ["a", "b"] and found["b"] == 2 and found["b"].shape == ()
    assert none(given) == []


def test_results_are_the_callers_own():
    x = T.dvector("x")
    f = quick(symnet.function([x], x * 2), np.ones(3))
    kept = [f(np.full(3, float(k))) for k in range(20)]
    assert [each[0] for each in kept] == [2.0 * k for k in range(20)]
    assert all(each.flags.owndata and each.flags.writeable for each in kept)


# --- shared variables ------------------------------------------------------------------------------


def test_shared_values_that_are_replaced():
    w, x = symnet.shared(np.ones(3)), T.dscalar()
    f = quick(symnet.function([x], w * x), 2.0)
    for value in [np.full(3, 2.0), np.full(5, 3.0), np.zeros(0), np.full(3, 4.0)]:
        w.set_value(value)
        for _ in range(3):
            np.testing.assert_array_equal(f(2.0), value * 2)
    w.zero()
    np.testing.assert_array_equal(f(2.0), np.zeros(3))


def test_versions_count_updates():
    w, v = symnet.shared(np.ones(3)), symnet.shared(np.ones(3))
    f = quick(symnet.function([], v.sum(), updates=[(w, w + v)]))
    before = w.container.version, v.container.version
    f()
    assert (w.container.version, v.container.version) == (before[0] + 1, before[1])


def test_an_argument_that_is_the_updated_value():
    w, x = symnet.shared(np.arange(4.0), borrow=True), T.dvector()
    f = symnet.function([x], x.sum(), updates=[(w, w + x[::-1])])
    g = symnet.function([x], x.sum(), updates=[(w, w + x[::-1])], mode="reference")
    quick(f, np.zeros(4))
    for view in (slice(None), slice(None, None, 1)):
        for _ in range(2):
            start = w.get_value()
            f(w.get_value(borrow=True)[view])
            got = w.get_value()
            w.set_value(start)
            g(start)
            np.testing.assert_array_equal(got, w.get_value())


def test_one_container_by_two_names():
    w = symnet.shared(np.ones(3), name="w")
    again = w.clone("again")
    f = quick(symnet.function([], w.sum() + again.sum()))
    assert f() == 6


def test_a_failing_check_updates_nothing_and_lets_everything_go():
    w, i, x = symnet.shared(np.arange(5.0)), T.lscalar("i"), T.dvector("x")
    f = quick(symnet.function([i, x], [w[i], x], updates=[(w, w + x)]), 0, np.zeros(5))
    version = w.container.version
    for value, vector in [(5, np.zeros(5)), (-6, np.zeros(5)), (0, np.zeros(4))]:
        got = outcome(f, value, vector)
        assert issubclass(got[0], SymnetError) and got == outcome(f._caller, value, vector)
    assert w.container.version == version and w.container.words[BUSY] == w.container.words[HELD] == 0
    assert f(1, np.zeros(5))[0] == 1


def test_where_a_guard_fails_another_plan_serves():
    data, i = symnet.shared(np.arange(25.0)), T.lscalar("i")
    f = symnet.function([i], [data[i * 10 : (i + 1) * 10].sum(), i])
    for _ in range(4):
        for number, want in [(0, 45), (1, 145), (2, 110), (3, 0), (1, 145)]:
            assert f(number)[0] == want
    assert f.report["specialisations"] == 2


def test_a_function_that_calls_python_may_call_itself():
    w, found = symnet.shared(np.ones(3)), []

    def seen(op, value):
        found.append(float(value))
        if len(found) < 3:
            f()

    f = symnet.function([], Print("p", global_fn=seen)(w.sum()), updates=[(w, w + 1)])
    for _ in range(4):
        f()
    assert found == [3, 3, 3, 12, 15, 18]


def test_results_whose_lengths_are_arguments_lengths(monkeypatch):
    x, y, i = T.dmatrix("x"), T.dvector("y"), T.lscalar("i")
    outputs = [T.dot(x, y), x + 1, x.T * 2, T.outer(y, y[::-1]), x.sum(), (x > 0) & (x < 9), y * i]
    f = symnet.function([x, y, i], outputs)
    g = symnet.function([x, y, i], outputs, mode="reference")
    whole = np.random.RandomState(0).randn(70, 70)
    shapes = [(3, 4), (5, 6), (2, 2), (0, 3), (3, 0), (1, 1), (40, 1), (1, 60), (33, 64), (70, 70)]
    for _ in range(3):
        for rows, columns in shapes:
            given = whole[:rows, :columns].copy(), whole[0, :columns].copy(), rows
            for mine, its in zip(f(*given), g(*given), strict=True):
                assert mine.shape == its.shape and mine.flags.owndata
                np.testing.assert_allclose(mine, its, rtol=1e-12, atol=1e-14)
    columns = np.ones((4, 5, 6)), np.ones((4, 6)), range(4)
    f.map(*columns)
    monkeypatch.setattr(f._executor, "run", None)
    assert [each.shape for each in f(whole[:20, :9].copy(), whole[0, :9].copy(), 1)[:2]] == [(20,), (20, 9)]
    mapped = f.map(*columns)
    assert mapped[2].shape == (4, 6, 5) and mapped[6][:, 0].tolist() == [0, 1, 2, 3]


def test_functions_with_more_specialisations_than_plans(monkeypatch):
    x = T.dvector("x")
    monkeypatch.setattr(plan, "MOST_PLANS", 3)
    f = symnet.function([x], T.concatenate([x, x])[: x.shape[0]] * 2)
    lengths = [2**n for n in range(1, 9)]
    for _ in range(3):
        for length in (*lengths, 3, 0, 100, 1):
            np.testing.assert_array_equal(f(np.ones(length)), np.full(length, 2.0))
    assert f.report["specialisations"] > 3


def test_pickled_functions_become_quick_anew():
    w, x = symnet.shared(np.ones(3), name="w"), T.dvector("x")
    f = quick(symnet.function([x], x * w, updates=[(w, w + 1)]), np.ones(3))
    g = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(g(np.ones(3)), np.full(3, 3.0))
    quick(g, np.ones(3))
    np.testing.assert_array_equal(g(np.ones(3)), np.full(3, 6.0))
    np.testing.assert_array_equal(f(np.ones(3)), np.full(3, 3.0))


# --- memory ----------------------------------------------------------------------------------------


def test_calls_keep_no_references():
    w, x, y = symnet.shared(np.ones(3)), T.dvector("x"), T.lscalar("y")
    f = quick(symnet.function([x, y], {"a": x + y, "b": w.sum()}, updates=[(w, w + 1)]), np.ones(3), 2**40)
    given, number = np.ones(3), 2**40 + 1
    watched = [given, number, np.dtype("float64"), np.ndarray, None, f._caller, "a"]

    def counts():
        return [sys.getrefcount(each) for each in watched]

    f(given, number)
    before = counts()
    for _ in range(1000):
        f(given, number)
    with pytest.raises(SymnetError):
        f(given, 0.5)
    assert all(abs(now - then) < 50 for now, then in zip(counts(), before, strict=True))


def test_a_function_goes_without_the_garbage_collector():
    x = T.dvector("x")
    f = quick(symnet.function([x], x + 1), np.ones(3))
    call, died = f.__call__, weakref.ref(f)
    gc.disable()
    try:
        del f
        assert died() is None
    finally:
        gc.enable()
    # The builtin function keeps what it needs.
    np.testing.assert_array_equal(call(np.ones(3)), [2, 2, 2])
    np.testing.assert_array_equal(call([1.0, 2, 3]), [2, 3, 4])


def test_as_many_leases_as_calls_at_once():
    x = T.dvector("x")
    f = quick(symnet.function([x], T.exp(x).sum()), np.ones(5))
    (specialisation,) = (each for _, each in f._executor._kept)
    for _ in range(10):
        f(np.ones(5))
        f([1.0] * 5)
    assert len(specialisation._leases) == 1


def test_without_a_launcher_every_call_takes_the_python_path(monkeypatch):
    monkeypatch.setattr(launcher, "launcher", lambda: None)
    w, x = symnet.shared(np.zeros(3)), T.dvector("x")
    f = symnet.function([x], w.sum(), updates=[(w, w + x)])
    assert [float(f(np.ones(3))) for _ in range(4)] == [0, 3, 6, 9]
    assert not isinstance(f.__call__, types.BuiltinFunctionType)


# --- threads ---------------------------------------------------------------------------------------


def long_function(updates):
    """A function that computes for some tenths of a second, and its container."""
    w = symnet.shared(np.full((400, 400), 1e-3))
    value = w
    for _ in range(40):
        value = T.dot(T.tanh(value), w)
    f = symnet.function([], value.sum(), updates=[(w, w + 0)] if updates else None)
    return quick(f), w.container


def in_thread(action):
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_other_threads_run_meanwhile():
    f, container = long_function(updates=True)
    thread = in_thread(f)
    seen = 0
    while thread.is_alive():
        seen += container.words[BUSY] == -1
    thread.join()
    assert seen > 100, "this thread saw the call under way many times"
    assert container.words[BUSY] == 0


def test_who_needs_the_value_waits_for_the_call():
    f, container = long_function(updates=True)
    thread = in_thread(f)
    while container.words[BUSY] == 0 and thread.is_alive():
        time.sleep(0)
    assert thread.is_alive()
    container.read()
    assert container.words[BUSY] == 0 and container.words[HELD] == 0
    thread.join()
    f()


def test_calls_that_only_read_a_value_run_at_once():
    f, container = long_function(updates=False)
    want = f()
    found = []
    threads = [in_thread(lambda: found.extend(f() for _ in range(3))) for _ in range(2)]
    most = 0
    while any(each.is_alive() for each in threads):
        most = max(most, container.words[BUSY])
    for each in threads:
        each.join()
    assert most == 2 and container.words[BUSY] == 0
    assert all(each == want for each in found)
