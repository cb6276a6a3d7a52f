"""The thread pool: every unit is done once, by whoever comes, whatever else goes on."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import symnet
from symnet.backend.cpu import llvm, pool

#: Adds 1 to the int64 counters of its units.
COUNT = """
define void @count(ptr %counters, i64 %first, i64 %last) {
entry:
  br label %next
next:
  %unit = phi i64 [ %first, %entry ], [ %following, %next ]
  %place = getelementptr i64, ptr %counters, i64 %unit
  %value = load i64, ptr %place
  %more = add i64 %value, 1
  store i64 %more, ptr %place
  %following = add i64 %unit, 1
  %on = icmp slt i64 %following, %last
  br i1 %on, label %next, label %end
end:
  ret void
}
"""
RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

posix = pytest.mark.skipif(os.name != "posix", reason="without POSIX threads the caller does all the work")


@pytest.fixture(scope="module")
def count():
    """`count(counters, units, grain)`, shared out by the pool."""
    code = llvm.load_object(llvm.emit_object(COUNT))
    run, task = RUN(pool.run_address()), code.address("count")

    def launch(counters, units, grain):
        run(task, counters.ctypes.data, units, grain)

    launch.code = code
    return launch


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    with symnet.config.override(threads=request.param):
        yield request.param


@pytest.mark.parametrize(
    ("units", "grain"),
    [(1, 1), (2, 1), (64, 7), (1000, 1000), (1000, 999), (65535, 1), (65536, 1), (100_000, 4)],
)
def test_every_unit_is_done_once_a_launch(count, threads, units, grain):
    counters = np.zeros(units + 1, dtype=np.int64)
    for _ in range(300 if units < 5000 else 20):
        count(counters, units, grain)
    assert set(counters[:units]) == {300 if units < 5000 else 20}
    assert counters[units] == 0


@posix
def test_workers_start_with_the_first_launch_and_end_with_the_setting(count):
    counters = np.zeros(100, dtype=np.int64)
    with symnet.config.override(threads=4):
        count(counters, 100, 10)
        assert pool.count_workers() == 3
        with symnet.config.override(threads=2):
            assert pool.count_workers() == 0
            count(counters, 100, 10)
            assert pool.count_workers() == 1
    assert set(counters) == {2}


def test_a_worker_that_went_to_sleep_is_not_waited_for_and_comes_back(count, threads):
    counters = np.zeros(2000, dtype=np.int64)
    for _ in range(20):
        time.sleep(0.005)
        count(counters, 2000, 100)
    assert set(counters) == {20}


def test_several_callers_at_once(count, threads):
    each = [np.zeros(5000, dtype=np.int64) for _ in range(4)]

    def work(counters):
        for _ in range(500):
            count(counters, 5000, 250)

    callers = [threading.Thread(target=work, args=(counters,)) for counters in each]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all(set(counters) == {500} for counters in each)


def test_the_setting_may_change_while_launches_are_under_way(count):
    counters = np.zeros(5000, dtype=np.int64)
    over = threading.Event()

    def change():
        number = 0
        while not over.is_set():
            number = number % 4 + 1
            symnet.config.threads = number

    before = symnet.config.threads
    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(2000):
            count(counters, 5000, 250)
    finally:
        over.set()
        changer.join()
        symnet.config.threads = before
    assert set(counters) == {2000}


@posix
def test_a_forked_child_has_workers_of_its_own(count):
    counters = np.zeros(5000, dtype=np.int64)
    with symnet.config.override(threads=3):
        count(counters, 5000, 250)
        child = os.fork()
        if child == 0:
            there = pool.count_workers()
            count(counters, 5000, 250)
            os._exit(0 if there == 0 and pool.count_workers() == 2 and set(counters) == {2} else 1)
        assert os.waitpid(child, 0)[1] == 0
        count(counters, 5000, 250)
    assert set(counters) == {2}


def test_a_process_ends_while_workers_are_awake(tmp_path):
    script = (
        "import numpy as np, symnet, symnet.tensor as T\n"
        "symnet.config.threads = 4\n"
        "x = T.matrix()\n"
        "f = symnet.function([x], T.exp(x) * 2)\n"
        "for _ in range(20): f(np.ones((400, 400)))\n"
        "from symnet.backend.cpu.pool import count_workers\n"
        "print(count_workers())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("3" if os.name == "posix" else "0")


def test_what_threads_may_be():
    with pytest.raises(symnet.errors.ArgumentError, match=r"config.threads = 0: expected one of 1 to 256"):
        symnet.config.threads = 0
    with pytest.raises(symnet.errors.ArgumentError):
        symnet.config.threads = True
