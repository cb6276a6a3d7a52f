"""Takes nothing but the machine; hands on what it can do, measured by generated kernels: multiply-adds in
registers, and reading, copying and `c = a + s*b` over arrays that lie in a cache or in memory.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symnet.backend.cpu.machine import Machine, host_machine

#: Bytes over which a thread reads and writes: within the first cache, the second, the last, and none.
PLACES = (24 << 10, 512 << 10, 4 << 20, 12 << 20, 128 << 20)
#: How long each kernel is to take, and how often it is tried: the best is what the machine can do.
_SECONDS = 0.003
_TRIES = 9
#: Accumulators of the multiply-add kernel: latency times throughput of today's processors, and more.
_CHAINS = 12
_UNROLLED = 4
#: The kernels that move bytes, and how many arrays each goes over.
_ARRAYS = {"read": 1, "copy": 2, "triad": 3}
_APART = 4096 + 128
_BITS = {"float32": 32, "float64": 64}


@dataclass(frozen=True)
class Limits:
    """What a number of threads can do at most.

    Attributes
    ----------
    threads
        How many run at once.
    flops
        Floating-point operations a second by dtype; a multiply-add is two.
    reading, writing
        (bytes, bytes a second) for working sets of ever more bytes: of reading alone, and of the faster
        of copying and `c = a + s*b`, what is read and what is written together.
    """

    threads: int
    flops: dict[str, float]
    reading: tuple[tuple[int, float], ...]
    writing: tuple[tuple[int, float], ...]

    def bandwidth(self, touched: int, written: float) -> float:
        """Bytes a second over a working set of `touched` bytes, of which `written` is the share that is
        written: below a tenth, that of reading."""
        places = self.reading if written < 0.1 else self.writing
        return next((rate for size, rate in places if touched <= size), places[-1][1])

    def seconds(self, flops: dict[str, int], read: int, written: int, touched: int) -> tuple[float, float]:
        """The least that so many operations of each dtype take, and that so many bytes take."""
        moved = read + written
        arithmetic = sum(count / self.flops[dtype] for dtype, count in flops.items())
        return arithmetic, moved / self.bandwidth(touched, written / moved) if moved else 0.0


@functools.lru_cache(maxsize=8)
def machine_limits(threads: int) -> Limits:
    """The limits for that many threads, measured once in a process; it takes about a second.

    Each thread works on memory of its own. What else the machine does is in the figures, as little of it
    as the best of several tries has.
    """
    kernels = _Kernels(host_machine())
    flops = {dtype: kernels.rate(threads, _peak(kernels, dtype)) for dtype in _BITS}
    reading, writing = [], []
    for place in PLACES:
        read, copy, triad = (kernels.rate(threads, _moving(kernels, name, place)) for name in _ARRAYS)
        reading.append((threads * place, read))
        writing.append((threads * place, max(copy, triad)))
    return Limits(threads, flops, tuple(reading), tuple(writing))


#: Makes the work of a thread by its number: a function that does it so many times, and what one does.
_Work = Callable[[int], tuple[Callable[[int], object], float]]


class _Kernels:
    """The loaded kernels of a machine."""

    def __init__(self, machine: Machine) -> None:
        from symnet.backend.cpu import llvm

        self.machine = machine
        text = "\n".join([*(_peak_text(machine, dtype) for dtype in _BITS), _moving_text(machine)])
        self._memory: dict[int, np.ndarray[Any, Any]] = {}
        self._loaded = llvm.load_object(llvm.emit_object(text, machine))

    def memory(self, thread: int, size: int) -> np.ndarray[Any, Any]:
        """So many bytes of a thread's own memory, from the beginning of a line of a cache on."""
        mine = self._memory.get(thread)
        if mine is None or mine.size < size + _APART:
            mine = self._memory[thread] = np.zeros(size + _APART, np.uint8)
        start = -mine.__array_interface__["data"][0] % _APART
        return mine[start : start + size]

    def function(self, name: str, arguments: int) -> Callable[..., object]:
        """A kernel that takes so many words."""
        return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(self._loaded.address(name))

    def rate(self, threads: int, work: _Work) -> float:
        """What all threads do in a second, at their best."""
        call, amount = work(0)
        call(1)
        started = time.perf_counter()
        call(4)
        times = max(1, round(_SECONDS / max(1e-9, (time.perf_counter() - started) / 4)))
        calls = [call, *(work(number)[0] for number in range(1, threads))]
        return max(_together(calls, times, amount) for _ in range(_TRIES))


def _together(calls: list[Callable[[int], object]], times: int, amount: float) -> float:
    """What the calls do in a second, each in a thread of its own, begun at once."""
    barrier = threading.Barrier(len(calls))
    spans: list[tuple[float, float]] = []

    def run(call: Callable[[int], object]) -> None:
        call(1)
        barrier.wait()
        started = time.perf_counter()
        call(times)
        spans.append((started, time.perf_counter()))

    others = [threading.Thread(target=run, args=(call,)) for call in calls[1:]]
    for thread in others:
        thread.start()
    run(calls[0])
    for thread in others:
        thread.join()
    seconds = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return len(calls) * times * amount / seconds


def _peak(kernels: _Kernels, dtype: str) -> _Work:
    lanes = kernels.machine.lanes(dtype)
    rounds = 1000

    def work(thread: int) -> tuple[Callable[[int], object], float]:
        memory = kernels.memory(thread, (_CHAINS + 2) * kernels.machine.lanes_bytes)
        memory.view(dtype)[:] = 0.5
        function = kernels.function(f"peak_{dtype}", 2)
        address = memory.__array_interface__["data"][0]
        return lambda times: function(address, rounds * times), 2.0 * rounds * _CHAINS * lanes

    return work


def _moving(kernels: _Kernels, name: str, place: int) -> _Work:
    arrays = _ARRAYS[name]
    step = kernels.machine.lanes_bytes * _UNROLLED
    each = place // arrays // step * step

    def work(thread: int) -> tuple[Callable[[int], object], float]:
        # Apart by a little, so that the arrays don't meet in the same places of a cache.
        memory = kernels.memory(thread, place + 3 * _APART)
        memory.fill(0)
        start = memory.__array_interface__["data"][0]
        a, b, c = (start + min(number, arrays - 1) * (each + _APART) for number in range(3))
        function = kernels.function(name, 5)
        return lambda times: function(a, b, c, each // step, times), float(arrays * each)

    return work


def _peak_text(machine: Machine, dtype: str) -> str:
    """peak_DTYPE(memory, times): times _CHAINS multiply-adds of vectors, chains that don't wait for one
    another, begun with what lies in memory and left there."""
    bits, lanes = _BITS[dtype], machine.lanes(dtype)
    vector = f"<{lanes} x {'float' if bits == 32 else 'double'}>"
    fma = f"@llvm.fma.v{lanes}f{bits}"
    size = bits // 8

    def at(name: str, place: int) -> str:
        return f"  %{name}.at = getelementptr {vector}, ptr %memory, i64 {place}"

    loads, phis, adds, stores = [], [], [], []
    for name, place in [("m", _CHAINS), ("a", _CHAINS + 1), *((f"s{i}", i) for i in range(_CHAINS))]:
        loads += [at(name, place), f"  %{name} = load {vector}, ptr %{name}.at, align {size}"]
    for i in range(_CHAINS):
        phis.append(f"  %x{i} = phi {vector} [ %s{i}, %entry ], [ %y{i}, %loop ]")
        adds.append(f"  %y{i} = call {vector} {fma}({vector} %x{i}, {vector} %m, {vector} %a)")
        stores.append(f"  store {vector} %y{i}, ptr %s{i}.at, align {size}")
    lines = [
        f"declare {vector} {fma}({vector}, {vector}, {vector})",
        f"define void @peak_{dtype}(ptr %memory, i64 %times) {{",
        "entry:",
        *loads,
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        *phis,
        *adds,
        "  %next = add i64 %i, 1",
        "  %more = icmp slt i64 %next, %times",
        "  br i1 %more, label %loop, label %done",
        "done:",
        *stores,
        "  ret void",
        "}",
    ]
    return "\n".join(lines)


def _moving_text(machine: Machine) -> str:
    """read, copy and triad (a, b, c, steps, times): over so many steps of vectors, so many times."""
    return "\n".join(_moving_function(machine.lanes("float32"), name) for name in _ARRAYS)


def _moving_function(lanes: int, name: str) -> str:
    vector = f"<{lanes} x float>"
    phis, work, sums = [], [], []
    for i in range(_UNROLLED):

        def at(pointer: str, i: int = i) -> str:
            work.append(f"  %{pointer}{i}.at = getelementptr {vector}, ptr %{pointer}, i64 %v{i}")
            return f"ptr %{pointer}{i}.at, align 4"

        work.append(f"  %v{i} = add i64 %v, {i}")
        work.append(f"  %x{i} = load {vector}, {at('a')}")
        if name == "read":
            phis.append(f"  %r{i} = phi {vector} [ zeroinitializer, %outer ], [ %s{i}, %inner ]")
            work.append(f"  %s{i} = fadd {vector} %r{i}, %x{i}")
            sums.append(f"  store volatile {vector} %s{i}, ptr %sink, align 4")
        elif name == "copy":
            work.append(f"  store {vector} %x{i}, {at('b')}")
        else:
            work.append(f"  %y{i} = load {vector}, {at('b')}")
            work.append(f"  %t{i} = fmul {vector} %y{i}, splat (float 3.0)")
            work.append(f"  %z{i} = fadd {vector} %x{i}, %t{i}")
            work.append(f"  store {vector} %z{i}, {at('c')}")
    lines = [
        f"define void @{name}(ptr %a, ptr %b, ptr %c, i64 %steps, i64 %times) {{",
        "entry:",
        f"  %sink = alloca {vector}",
        "  br label %outer",
        "outer:",
        "  %t = phi i64 [ 0, %entry ], [ %t.next, %end ]",
        "  br label %inner",
        "inner:",
        "  %i = phi i64 [ 0, %outer ], [ %i.next, %inner ]",
        *phis,
        f"  %v = mul i64 %i, {_UNROLLED}",
        *work,
        "  %i.next = add i64 %i, 1",
        "  %i.more = icmp slt i64 %i.next, %steps",
        "  br i1 %i.more, label %inner, label %end",
        "end:",
        *sums,
        "  %t.next = add i64 %t, 1",
        "  %t.more = icmp slt i64 %t.next, %times",
        "  br i1 %t.more, label %outer, label %done",
        "done:",
        "  ret void",
        "}",
    ]
    return "\n".join(lines)
