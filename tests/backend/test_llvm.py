"""Object code: emitted, kept as bytes, loaded again in threads, children and other processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from symnet.backend.cpu import llvm
from symnet.backend.cpu.machine import Machine, _cache_sizes, host_machine

ADD = """
define i64 @add(i64 %a, i64 %b) {
  %sum = add i64 %a, %b
  ret i64 %sum
}
declare double @cos(double)
define double @cosine(double %x) {
  %y = call double @cos(double %x)
  ret double %y
}
@table = constant [4 x double] [double 1.0, double 2.0, double 3.0, double 4.0]
define double @look_up(i64 %n) {
  %place = getelementptr [4 x double], ptr @table, i64 0, i64 %n
  %value = load double, ptr %place
  ret double %value
}
"""


def add(loaded: llvm.LoadedObject, a: int, b: int) -> int:
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(loaded.address("add"))(a, b))


def test_object_code_runs_with_library_calls_and_constants() -> None:
    loaded = llvm.load_object(llvm.emit_object(ADD))
    assert add(loaded, 40, 2) == 42
    cosine = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(loaded.address("cosine"))
    assert cosine(0.0) == 1.0
    look_up = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64)(loaded.address("look_up"))
    assert look_up(2) == 3.0


def test_objects_load_in_many_threads_and_live_as_long_as_they_are_held() -> None:
    data = llvm.emit_object(ADD)
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: llvm.load_object(data), range(32)))
        assert list(pool.map(lambda n: add(kept[n], n, 1), range(32))) == list(range(1, 33))
    del kept[:31]
    assert add(kept[0], 1, 1) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_keeps_what_was_loaded_and_loads_more() -> None:
    data = llvm.emit_object(ADD)
    loaded = llvm.load_object(data)
    child = os.fork()
    if child == 0:
        right = add(loaded, 1, 2) == 3 and add(llvm.load_object(data), 2, 2) == 4
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_process_loads_the_bytes_without_numba(tmp_path: Path) -> None:
    file = tmp_path / "add.o"
    file.write_bytes(llvm.emit_object(ADD))
    script = (
        "import sys, ctypes, pathlib\n"
        "from symnet.backend.cpu import llvm\n"
        "loaded = llvm.load_object(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)\n"
        "assert kind(loaded.address('add'))(20, 3) == 23\n"
        "assert 'numba' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", script, str(file)], check=True, env=environment)


def test_what_cannot_be_loaded_or_compiled_is_refused() -> None:
    data = llvm.emit_object(ADD)
    for damaged in (b"", b"this is no object file", data[:64], data[: len(data) // 2]):
        with pytest.raises(RuntimeError, match=f"these {len(damaged)} bytes are no object file"):
            llvm.load_object(damaged)
    with pytest.raises(RuntimeError, match="expected"):
        llvm.emit_object("define nonsense")
    loaded = llvm.load_object(llvm.emit_object(ADD))
    with pytest.raises(KeyError, match="subtract"):
        loaded.address("subtract")


def test_the_pipeline_vectorises_when_asked() -> None:
    scale = """
    define void @scale(ptr noalias %x, ptr noalias %y) {
    entry:
      br label %loop
    loop:
      %i = phi i64 [0, %entry], [%next, %loop]
      %from = getelementptr float, ptr %x, i64 %i
      %to = getelementptr float, ptr %y, i64 %i
      %value = load float, ptr %from
      %twice = fadd float %value, %value
      store float %twice, ptr %to
      %next = add i64 %i, 1
      %more = icmp slt i64 %next, 1024
      br i1 %more, label %loop, label %end
    end:
      ret void
    }
    """
    machine = host_machine()
    vectorised, plain = llvm.parse(scale), llvm.parse(scale)
    llvm.optimise(vectorised, machine, 3)
    llvm.optimise(plain, machine, 3, loop_vectorise=False, slp_vectorise=False)
    assert "x float>" in str(vectorised)
    assert "x float>" not in str(plain)


def test_machines() -> None:
    machine = host_machine()
    assert machine is host_machine()
    assert machine.lanes("float64") * 8 == machine.lanes_bytes
    assert machine.with_lanes_bytes(16).lanes("float32") == 4
    with pytest.raises(ValueError, match="asked for 24"):
        machine.with_lanes_bytes(24)
    with pytest.raises(ValueError, match="int8"):
        machine.lanes("int8")
    described = Machine(
        features="+avx,+avx2,+avx512f,+avx512vl,+fma", triple="x86_64-unknown-linux-gnu"
    ).without("avx512")
    assert (described.lanes_bytes, described.registers, described.masks) == (32, 16, True)
    assert "-avx512f" in described.features
    assert replace(machine, l1=1).l1 == 1


def test_cache_sizes_are_read_and_odd_entries_passed_over(tmp_path: Path) -> None:
    for name, content in {
        "index0": {"type": "Data\n", "level": "1\n", "size": "48K\n"},
        "index1": {"type": "Instruction\n", "level": "1\n", "size": "32K\n"},
        "index2": {"type": "Unified\n", "level": "2\n", "size": "1M\n"},
        "index3": {"type": "Unified\n", "level": "3\n", "size": "plenty\n"},
        "index4": {"type": "Data\n"},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        for key, text in content.items():
            (folder / key).write_text(text)
    assert _cache_sizes(tmp_path) == {1: 48 * 1024, 2: 1024 * 1024}
    assert _cache_sizes(tmp_path / "absent") == {}
