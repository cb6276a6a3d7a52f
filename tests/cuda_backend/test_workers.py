"""Kernels compiled by processes beside this one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from symnet.backend.cuda import workers
from symnet.backend.cuda.runtime import COMPILERS
from symnet.backend.cuda.workers import Job, compile_all
from symnet.errors import CompileError


def job(name: str, factor: str) -> Job:
    source = f"def {name}(a, slots, state):\n    a[cuda.threadIdx.x] *= {factor}\n"
    return Job(source, name, ("float32", "int64", "int64"), (9, 0), 128)


def test_processes_compile_what_this_one_can_not():
    """Here kernels are simulated; a process that compiles does so, and tells what it refuses."""
    jobs = [job("twice", "np.float32(2)"), job("thrice", "np.float32(3)")]
    (ptx, linked), (_, other) = compile_all(jobs, processes=1)
    assert ".visible .entry twice(" in ptx and ".target sm_90" in ptx
    assert linked.binary[:4] == b"\x7fELF" and 0 < linked.registers < 64
    assert linked.binary != other.binary
    said = r"kernel once can't be compiled: nothing_of_that_name has no value in line 2: a\["
    with pytest.raises(CompileError, match=said):
        compile_all([job("once", "nothing_of_that_name")], processes=1)


def test_what_is_cached_follows_from_the_source_of_all_that_compiles():
    """A changed module would else leave old machine code in use."""
    code = (
        "import sys; from symnet.backend.cuda import linker, nvvm, toolkit;"
        "source = 'def k(a, slots, state):\\n    a[cuda.threadIdx.x] = math.exp(a[0])\\n';"
        "arguments = (source, 'k', ('float32', 'int64', 'int64'), (9, 0));"
        "toolkit.compile(*arguments);"
        "ptx = nvvm.compile(*arguments);"
        "linker.link_for(ptx, 'k', (9, 0), 128);"
        "print(*(each for each in sys.modules if each.startswith('symnet.backend.cuda.')))"
    )
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    # What the simulator computes with is part of no code.
    assert loaded - {"scalar_values", "tile_texts"} == set(COMPILERS)


def test_a_process_that_ends_is_told(monkeypatch):
    monkeypatch.setattr(workers.sys, "executable", "/bin/false")
    with pytest.raises(CompileError, match="the process that compiles kernel twice ended"):
        compile_all([job("twice", "np.float32(2)")], processes=1)


def test_processes_are_started_where_they_pay(monkeypatch):
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda process: range(16))
    short, long = job("short", "1"), job("long", "1 + " * 20_000 + "1")
    assert workers._processes([short] * 20) == 0
    assert workers._processes([long]) == 0, "one kernel is compiled as fast here"
    assert workers._processes([long] * 3) == 3
    assert workers._processes([long] * 30) == workers._MOST_PROCESSES
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda process: range(2))
    assert workers._processes([long] * 30) == 0


def test_modules_beside_a_script_are_not_pythons(monkeypatch, tmp_path):
    (tmp_path / "types.py").write_text("raise ValueError\n")
    monkeypatch.syspath_prepend(tmp_path)
    ((ptx, _),) = compile_all([job("twice", "np.float32(2)")], processes=1)
    assert ".visible .entry twice(" in ptx
