"""Takes a lowered Program and the sizes that a run found; hands on what each kernel computes and moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from symnet.compile import nest
from symnet.compile.contraction import Contraction
from symnet.compile.nest import Nest
from symnet.compile.program import ContractionCall, KernelCall, Program

#: Functions of floats that compute nothing, or that no processor takes time for beside the rest.
_FREE = ("copysign", "isnan", "isinf", "bits_of", "from_bits")


@dataclass(frozen=True)
class Count:
    """What one call of a kernel does.

    Attributes
    ----------
    name
        The kernel's.
    flops
        Floating-point operations by dtype: one for each arithmetic operation, comparison or function
        (exp and its like count one, too), two for a multiply-add. Of a branch, the longer side counts.
    read, written
        Bytes of each buffer that are read and that are written: at most the buffer, once.
    """

    name: str
    flops: dict[str, int]
    read: int
    written: int


def counts(program: Program, value: Callable[[str], int]) -> list[Count]:
    """What each kernel call of a program does, in the order in which they run.

    `value` gives the size that a run found for a slot. A loop whose extent depends on data counts 0.
    """
    return [
        _contraction(call, value) if isinstance(call, ContractionCall) else _nest(call, value)
        for call in program.calls
    ]


def touched(program: Program) -> int:
    """Bytes of all buffers that the program's kernels read or write."""
    used = {buffer for call in program.calls for buffer in call.buffers}
    return sum(buffer.capacity * np.dtype(buffer.dtype).itemsize for buffer in used)


def _contraction(call: ContractionCall, value: Callable[[str], int]) -> Count:
    contraction: Contraction = call.contraction
    names = {name: value(name) for name in contraction.parameters}
    size = np.dtype(contraction.dtype).itemsize

    def entries(operand: str, position: int) -> int:
        extents = [
            names[each.extent] if isinstance(each.extent, str) else each.extent
            for each in contraction.dimensions
            if getattr(each, operand) != 0
        ]
        return min(math.prod(extents), call.buffers[position].capacity)

    read = entries("a", 0) + entries("b", 1) + (entries("c", 2) if contraction.accumulate else 0)
    flops = {contraction.dtype: 2 * contraction.multiply_adds(names)}
    return Count(call.name, flops, size * read, size * entries("c", 2))


def _nest(call: KernelCall, value: Callable[[str], int]) -> Count:
    kernel: Nest = call.kernel
    sizes = {name: value(name) for name in kernel.sizes}
    found = _Tally(sizes)
    found.block(kernel.body, 1)
    read = written = 0
    for parameter, buffer in zip(kernel.buffers, call.buffers, strict=True):
        size = np.dtype(parameter.dtype).itemsize
        read += size * min(found.loads.get(parameter.name, 0), buffer.capacity)
        written += size * min(found.stores.get(parameter.name, 0), buffer.capacity)
    return Count(kernel.name, found.flops, read, written)


class _Tally:
    """How often a nest's statements run, and what they do; names of one value are known."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.known = dict(sizes)
        self.flops: dict[str, int] = {}
        self.loads: dict[str, int] = {}
        self.stores: dict[str, int] = {}

    def block(self, statements: tuple[nest.Statement, ...], times: int) -> None:
        """Count a list of statements that runs so many times."""
        for statement in statements:
            for expression in nest.expressions_of(statement):
                self._expression(expression, times)
            match statement:
                case nest.For(extent=extent, body=body):
                    self.block(body, times * max(0, self._value(extent) or 0))
                case nest.If(then=then, otherwise=otherwise):
                    self._longer(then, otherwise, times)
                case nest.Let(name=name, value=value):
                    known = self._value(value)
                    if known is not None:
                        self.known[name] = known
                case nest.Accumulate(value=value):
                    self._add(value.dtype, times)
                case nest.Store(buffer=buffer):
                    self.stores[buffer] = self.stores.get(buffer, 0) + times

    def _longer(
        self, then: tuple[nest.Statement, ...], otherwise: tuple[nest.Statement, ...], times: int
    ) -> None:
        sides = []
        for side in (then, otherwise):
            tally = _Tally(self.known)
            tally.block(side, times)
            sides.append(tally)
        longer = max(sides, key=lambda each: (sum(each.flops.values()), sum(each.stores.values())))
        for mine, theirs in (
            (self.flops, longer.flops),
            (self.loads, longer.loads),
            (self.stores, longer.stores),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count

    def _expression(self, expression: nest.Expression, times: int) -> None:
        for part in nest.walk_expression(expression):
            match part:
                case nest.Load(buffer=buffer):
                    self.loads[buffer] = self.loads.get(buffer, 0) + times
                case nest.Call(function=function, arguments=arguments) if function not in _FREE:
                    self._add(arguments[0].dtype, times * (2 if function == "fma" else 1))

    def _add(self, dtype: str, count: int) -> None:
        if dtype in nest.FLOATS and count:
            self.flops[dtype] = self.flops.get(dtype, 0) + count

    def _value(self, expression: nest.Expression) -> int | None:
        """The value of an index that is known before the run, as far as it is made of what is known."""
        match expression:
            case nest.Literal(value=value):
                return int(value)
            case nest.Name(name=name):
                return self.known.get(name)
            case nest.Call(function=function, arguments=arguments):
                values = [self._value(each) for each in arguments]
                rule = _INDEX_RULES.get(function)
                if rule is None or None in values:
                    return None
                return int(rule(*values))
        return None


_INDEX_RULES: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "minimum": min,
    "maximum": max,
}
