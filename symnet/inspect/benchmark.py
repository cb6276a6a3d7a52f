"""Takes a compiled function and arguments for it; hands on how long a call takes, what it computes and
moves in that time, and how near that is to what the machine can do.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np

from symnet.compile.backend import Specialisation
from symnet.compile.call import CompiledExecutor, Input
from symnet.compile.function import Function
from symnet.compile.program import GuardStep
from symnet.compile.specialise import Specialiser
from symnet.config import config
from symnet.errors import ArgumentError
from symnet.inspect.count import Count, counts, touched
from symnet.inspect.subject import limits_of

_UNITS = ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))
_LEAST_ROUND_SECONDS = 0.001


@dataclass(frozen=True)
class Benchmark:
    """How fast a compiled function is; `print` shows it.

    Attributes
    ----------
    name
        The function's.
    threads
        Those that it may use, `config.threads`.
    gpu
        The GPU that it runs on; None for one on the CPU.
    rounds
        Seconds of one call, in each of several rounds of calls.
    kernels
        What each of its kernels computes and moves in one call, in the order in which they run.
    flops
        Floating-point operations of one call: those of its kernels.
    bytes
        What its kernels read and write in one call: of each buffer what is touched, once for each kernel.
    limit_seconds
        What the machine needs for that at the least: for the operations at its peak, or for the bytes at
        the bandwidth of the cache or memory that holds them, whichever takes longer.
    bound
        Which of the two that is: "arithmetic" or "memory".
    """

    name: str
    threads: int
    rounds: tuple[float, ...]
    kernels: tuple[Count, ...]
    flops: int
    bytes: int
    limit_seconds: float
    bound: str
    gpu: str | None = None

    @property
    def least(self) -> float:
        """Seconds of a call in the fastest round."""
        return min(self.rounds)

    @property
    def median(self) -> float:
        """Seconds of a call in the middle round."""
        return median(self.rounds)

    @property
    def spread(self) -> float:
        """How far apart the middle half of the rounds is, as a share of the median."""
        first, _, third = quantiles(self.rounds, n=4)
        return (third - first) / self.median

    @property
    def gflops(self) -> float:
        """10^9 floating-point operations a second, in the fastest round."""
        return self.flops / self.least / 1e9

    @property
    def gigabytes(self) -> float:
        """10^9 bytes read and written a second, in the fastest round."""
        return self.bytes / self.least / 1e9

    @property
    def fraction(self) -> float:
        """The share of the machine's limit that the fastest round reached."""
        return self.limit_seconds / self.least

    def __str__(self) -> str:
        plural = "s" if self.threads != 1 else ""
        lines = [
            f"{self.name}, " + (self.gpu or f"{self.threads} thread{plural}"),
            f"  time      {_time(self.least)} least, {_time(self.median)} median, "
            f"{self.spread:.0%} spread over {len(self.rounds)} rounds",
            f"  computes  {_amount(self.flops)}FLOP, {self.gflops:.4g} GFLOP/s",
            f"  moves     {_amount(self.bytes)}B, {self.gigabytes:.4g} GB/s",
            f"  limit     {_time(self.limit_seconds)} by {self.bound}, {self.fraction:.1%} of it reached",
        ]
        calls: dict[tuple[str, int, int], int] = {}
        for each in self.kernels:
            what = (each.name, sum(each.flops.values()), each.read + each.written)
            calls[what] = calls.get(what, 0) + 1
        width = max((len(name) for name, _, _ in calls), default=0)
        for (name, flops, moved), count in calls.items():
            often = f"  {count} times" if count > 1 else ""
            lines.append(f"    {name.ljust(width)}  {_amount(flops)}FLOP  {_amount(moved)}B{often}")
        return "\n".join(lines)


def benchmark(function: Function, *arguments: Any, seconds: float = 0.5, rounds: int = 20) -> Benchmark:
    """Measure a compiled function on these arguments.

    The first call compiles, if it must, and is not counted; then the function is called in rounds of
    equal numbers of calls for about `seconds` in all. If it updates shared variables, it does so each
    time. Operations and bytes are counted from its kernels, not measured; the machine's limits are
    measured once in a process, which takes about a second.

    Raises
    ------
    ArgumentError
        When the function has no kernels to count, as by mode="reference"; or `rounds` is below 2.

    >>> import numpy as np, symnet, symnet.tensor as T
    >>> a, b = T.fmatrix("a"), T.fmatrix("b")
    >>> f = symnet.function([a, b], T.dot(a, b), name="product")
    >>> found = symnet.benchmark(f, np.ones((8, 20), "float32"), np.ones((20, 30), "float32"), seconds=0.01)
    >>> found.flops, found.bytes
    (9600, 4000)
    """
    if rounds < 2:
        raise ArgumentError(f"benchmark: rounds={rounds}: at least 2 are needed to tell the spread")
    function(*arguments)
    made = _specialisation(function, arguments)
    counted = counts(made.program, made.sizes())
    took = _rounds(function, arguments, seconds, rounds)
    flops: dict[str, int] = {}
    for each in counted:
        for dtype, count in each.flops.items():
            flops[dtype] = flops.get(dtype, 0) + count
    read, written = sum(each.read for each in counted), sum(each.written for each in counted)
    arithmetic, memory = limits_of(function).seconds(flops, read, written, touched(made.program))
    return Benchmark(
        name=function.name or "function",
        threads=config.threads,
        rounds=tuple(took),
        kernels=tuple(counted),
        flops=sum(flops.values()),
        bytes=read + written,
        limit_seconds=max(arithmetic, memory),
        bound="arithmetic" if arithmetic >= memory else "memory",
        gpu=made.report.get("gpu"),
    )


def _specialisation(function: Function, arguments: tuple[Any, ...]) -> Specialisation:
    """What runs for these arguments, after a call with them; the latest made where some are defaults."""
    executor = function._executor
    if not isinstance(executor, CompiledExecutor):
        raise ArgumentError(
            f"benchmark of {function!s}: it has no kernels to count", hint='compile it with mode="default"'
        )
    made = executor._latest
    assert made is not None
    if len(arguments) == executor.arguments:
        types = [each.type for each in executor.graph.inputs]
        inputs: list[Input] = [
            np.asarray(each, kind.dtype) for each, kind in zip(arguments, types, strict=False)
        ]
        inputs += [each.container for each in executor.shared]
        for each in executor._by_shapes.get(tuple(given.shape for given in inputs), ()):
            if _guards_hold(each, executor, inputs):
                return each
    return made


def _guards_hold(made: Specialisation, executor: CompiledExecutor, inputs: list[Input]) -> bool:
    """Whether the specialisation serves these inputs' values, too, not just their shapes."""
    found = Specialiser(executor.graph, inputs, set(), {}, made.program.slots)
    guards = [step for step in made.program.steps if isinstance(step, GuardStep)]
    return all(found.concrete(step.expression) == step.literal for step in guards)


def _rounds(function: Function, arguments: tuple[Any, ...], seconds: float, rounds: int) -> list[float]:
    """Seconds of a call in each round."""

    def span(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            function(*arguments)
        return time.perf_counter() - started

    once = min(span(1) for _ in range(3))
    count = max(1, round(max(_LEAST_ROUND_SECONDS, seconds / rounds) / max(once, 1e-9)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [span(count) / count for _ in range(rounds)]
    finally:
        if collecting:
            gc.enable()


def _time(seconds: float) -> str:
    scale, unit = next((scale, unit) for end, scale, unit in _UNITS if seconds < end)
    return f"{seconds * scale:.4g} {unit}"


def _amount(number: float) -> str:
    """A number with a unit's prefix, as in 1.5 k."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.4g} {prefix}"
    return f"{number:.4g} "
