"""Profiles: takes a function and arguments, hands on where the time of its calls goes, kernel by kernel.

The times are taken inside the generated code, by a twin of the function that is compiled with clocks (on a
GPU by its clock, each kernel by itself); the function itself has none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symnet.compile.backend import Specialisation
from symnet.compile.kernel import Kernel
from symnet.config import config
from symnet.errors import ArgumentError
from symnet.graph.source import SourceLine
from symnet.inspect.count import Count, counts, touched
from symnet.inspect.subject import limits_of

if TYPE_CHECKING:
    from symnet.compile.function import Function

#: Of how many calls a trace shows each kernel by itself.
_TRACED = 100


@dataclass(frozen=True)
class KernelProfile:
    """What one kernel takes in a call of its function.

    Attributes
    ----------
    name, ops, lines
        The kernel's name, the ops that it computes, the user's lines that wrote them.
    runs
        How often it runs in a call.
    seconds
        What all its runs of a call take, on average.
    flops, bytes
        Floating-point operations of a call, and bytes of arrays read and written.
    limit_seconds
        What the machine would need at least: its arithmetic or its memory, whichever bounds.
    """

    name: str
    ops: tuple[str, ...]
    lines: tuple[SourceLine, ...]
    runs: int
    seconds: float
    flops: int
    bytes: int
    limit_seconds: float

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations a second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gigabytes(self) -> float:
        """10^9 bytes read and written a second."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def fraction(self) -> float:
        """The share of the machine's limit that it reaches."""
        return self.limit_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """Where the time of a function's calls goes; prints as a table.

    Attributes
    ----------
    name, calls, threads
        The function's name, how many calls were measured, how many threads might share a kernel.
    gpu
        The GPU that it runs on; None for one on the CPU.
    seconds
        What a call takes on average, as its caller sees it.
    kernels
        The kernels, the one that takes longest first.
    """

    name: str
    calls: int
    threads: int
    seconds: float
    kernels: tuple[KernelProfile, ...]
    _order: tuple[str, ...] = field(repr=False)
    _nanoseconds: tuple[tuple[int, ...], ...] = field(repr=False)
    gpu: str | None = None

    @property
    def kernel_seconds(self) -> float:
        """What all kernels take in a call."""
        return sum(each.seconds for each in self.kernels)

    @property
    def outside_seconds(self) -> float:
        """What a call takes beside its kernels: arguments, results, and Python where it is needed."""
        return self.seconds - self.kernel_seconds

    def __str__(self) -> str:
        plural = "s" if self.threads != 1 else ""
        threads = f"{self.threads} thread{plural}" if self.gpu is None else self.gpu
        lines = [
            f"{self.name}: {self.seconds * 1e6:.1f} us a call, {self.calls} calls, {threads}",
            f"{'us':>10} {'share':>6} {'runs':>5} {'GFLOP/s':>8} {'GB/s':>7} {'limit':>6}  kernel",
        ]
        for each in self.kernels:
            where = sorted({f"{Path(line.file).name}:{line.line}" for line in each.lines})
            lines.append(
                f"{each.seconds * 1e6:10.2f} {each.seconds / self.seconds:6.1%} {each.runs:5d} "
                f"{each.gflops:8.1f} {each.gigabytes:7.1f} {each.fraction:6.0%}  "
                f"{each.name}: {', '.join(each.ops[:4])}{' …' * (len(each.ops) > 4)} ({', '.join(where[:3])})"
            )
        lines.append(
            f"{self.outside_seconds * 1e6:10.2f} {self.outside_seconds / self.seconds:6.1%}"
            f"{'':31}outside the kernels"
        )
        return "\n".join(lines)

    def chrome_trace(self) -> dict[str, Any]:
        """The calls as events of Chrome's trace format (times in microseconds), for its viewers."""
        events: list[dict[str, Any]] = []
        moment = 0.0
        by_name = {each.name: each for each in self.kernels}
        for call, row in enumerate(self._nanoseconds):
            started = moment
            for name, spent in zip(self._order, row, strict=True):
                lines = [f"{line.file}:{line.line}" for line in by_name[name].lines]
                events.append(_event(name, moment, spent / 1e3, {"call": call, "lines": lines}))
                moment += spent / 1e3
            events.append(_event(self.name, started, moment - started, {"call": call}))
        return {"traceEvents": events, "displayTimeUnit": "ns"}

    def save_chrome_trace(self, path: str | Path) -> None:
        """Write `chrome_trace()` as JSON."""
        Path(path).write_text(json.dumps(self.chrome_trace()))


def profile(function: Function, args: Sequence[Any], kwargs: dict[str, Any], n: int) -> Profile:
    """Call a function's twin that has clocks `n` times, after two calls that compile it and make it quick.

    Raises
    ------
    ArgumentError
        When `n` is below 1, or the function has no kernels, as by mode="reference".
    """
    if not isinstance(n, int) or n < 1:
        raise ArgumentError(f"profile of {function!s}: n={n!r} calls: at least 1 is needed")
    twin = function.twin_with_clocks()
    for _ in range(2):
        twin(*args, **kwargs)
    before = [each.clocks() for each in twin.specialisations]
    rows: list[tuple[int, ...]] = []
    spent = 0.0
    latest = before
    for _ in range(n):
        started = time.perf_counter()
        twin(*args, **kwargs)
        spent += time.perf_counter() - started
        if len(rows) < _TRACED:
            now = [each.clocks() for each in twin.specialisations]
            place, row = _difference(latest, now)
            rows.append(row if place == len(now) - 1 else ())
            latest = now
    place, totals = _difference(before, [each.clocks() for each in twin.specialisations])
    return _made(function, twin.specialisations[place], totals, n, spent / n, [row for row in rows if row])


def accumulated(function: Function) -> Profile | None:
    """What a function made with `profile=True` added up in all calls of its latest specialisation."""
    specialisations = function.specialisations
    if not specialisations:
        return None
    calls, nanoseconds, *totals = specialisations[-1].clocks()
    if not calls:
        return None
    return _made(function, specialisations[-1], totals, calls, nanoseconds / calls / 1e9, [])


def _difference(before: list[list[int]], after: list[list[int]]) -> tuple[int, tuple[int, ...]]:
    """Which specialisation made most of the calls between two readings, and what its kernels took."""
    before = before + [[0] * len(each) for each in after[len(before) :]]
    calls = [now[0] - then[0] for then, now in zip(before, after, strict=True)]
    place = int(np.argmax(calls))
    return place, tuple(now - then for then, now in zip(before[place][2:], after[place][2:], strict=True))


def _made(
    function: Function,
    specialisation: Specialisation,
    totals: Sequence[int],
    calls: int,
    seconds: float,
    rows: list[tuple[int, ...]],
) -> Profile:
    program = specialisation.program
    limits = limits_of(function)
    resident = touched(program)
    runs_in_order = counts(program, specialisation.sizes())
    counted: dict[str, list[tuple[Count, int]]] = {}
    for each, spent in zip(runs_in_order, totals, strict=True):
        counted.setdefault(each.name, []).append((each, spent))
    kernels = []
    for group in program.by_kernel:
        kernel = Kernel(group)
        runs = counted[kernel.name]
        limit = 0.0
        for each, _ in runs:
            limit += max(limits.seconds(each.flops, each.read, each.written, resident))
        kernels.append(
            KernelProfile(
                kernel.name,
                tuple(dict.fromkeys(node.op.name for node in kernel.nodes)),
                tuple(kernel.lines),
                len(runs),
                sum(spent for _, spent in runs) / calls / 1e9,
                sum(sum(each.flops.values()) for each, _ in runs),
                sum(each.read + each.written for each, _ in runs),
                limit,
            )
        )
    kernels.sort(key=lambda each: -each.seconds)
    order = tuple(each.name for each in runs_in_order)
    return Profile(
        *(function.name or "function", calls, config.threads, seconds, tuple(kernels), order, tuple(rows)),
        specialisation.report.get("gpu"),
    )


def _event(name: str, start: float, length: float, about: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "X", "ts": start, "dur": length, "pid": 0, "tid": 0, "args": about}
