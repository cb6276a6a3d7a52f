"""How a kernel is shared out among threads: takes a nest or a contraction, hands on units and their grain.

The grain follows from the shapes and a rough estimate of the work alone, never from the number of
threads. A kernel that takes less time than sharing it out would is left whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symnet.backend.cpu.contraction import Contraction, contraction_units, plan_contraction
from symnet.backend.cpu.machine import Machine
from symnet.compile import nest
from symnet.compile.memory import ITEM_BYTES
from symnet.compile.nest import Expression, Literal, Name

#: A kernel of less work than this, in nanoseconds, is left whole; a chunk has half of it at least.
_WORTH = 4000.0
#: Into how many chunks even the longest kernel is cut: enough for many threads to finish together.
_MOST_CHUNKS = 256
#: Iterations of an innermost loop that vectors fill whatever the dtype: chunks begin at multiples of it, so
#: that the same entries are computed in vectors and after them, however the range is cut.
_VECTOR_ROUNDS = 256

#: So many indices of C at least are computed with a panel that was packed for them.
_ROWS_A_PANEL = 128

#: Nanoseconds of one core: a multiply-add, a byte to or from a near cache, a scalar operation outside
#: vectors, and functions that take many instructions.
_PER_MULTIPLY_ADD = 0.01
_PER_BYTE = 0.02
_PER_OPERATION = 0.03
_PER_SCALAR = 0.3
_CHEAP = frozenset(
    "add sub mul neg abs minimum maximum fma eq ne lt le gt ge isnan isinf copysign bits_of from_bits "
    "bitwise_and bitwise_or bitwise_xor bitwise_not shift_left shift_right floor ceil trunc rint sign".split()
)
_EXPENSIVE = 12.0


@dataclass(frozen=True)
class Split:
    """The units of a kernel (an int64 expression in its sizes) and how many a chunk has."""

    units: Expression
    grain: int


def split_nest(kernel: nest.Nest, capacities: Mapping[str, int]) -> Split | None:
    """How the iterations of a nest's outermost loop are shared out; None where the kernel stays whole.

    `capacities` holds the most that each of the kernel's sizes may be.
    """
    loop = outermost(kernel)
    if loop is None:
        return None
    rounds = _most(loop.extent, capacities)
    each = _cost(loop.body, {**capacities, loop.name: max(0, rounds - 1)}, loop.vector)
    if rounds < 2 or rounds * each < _WORTH:
        return None
    step = 1 if any(isinstance(s, nest.For) for s in nest.walk_statements(loop.body)) else _VECTOR_ROUNDS
    return _split(loop.extent, rounds, each, step)


def split_contraction(
    contraction: Contraction, machine: Machine, capacities: Mapping[str, int]
) -> Split | None:
    """How the units of a contraction are shared out; None where it stays whole."""
    units = contraction_units(contraction, machine)
    if units is None or units < 2:
        return None
    parameters = {name: capacities.get(name, 1) for name in contraction.parameters}
    work = contraction.multiply_adds(parameters) * _PER_MULTIPLY_ADD
    if work < _WORTH:
        return None
    plan = plan_contraction(contraction, machine)
    least = 1
    if plan.pack_level is not None and plan.split is not None and plan.split >= plan.pack_level:
        # Every chunk packs the same panels anew.
        least = -(-_ROWS_A_PANEL // plan.loops[plan.split].size)
    return _split(Literal(nest.INDEX, units), units, work / units, 1, least)


def outermost(kernel: nest.Nest) -> nest.For | None:
    """The one loop that a kernel consists of, where its iterations are independent."""
    *before, loop = kernel.body or (None,)
    if not isinstance(loop, nest.For) or not (loop.parallel or loop.vector):
        return None
    if not all(isinstance(statement, nest.Let) for statement in before):
        return None
    return loop


def _split(units: Expression, most: int, each: float, step: int, least: int = 1) -> Split | None:
    grain = max(least, round(_WORTH / 2 / max(each, 1e-6)), -(-most // _MOST_CHUNKS))
    grain = -(-grain // step) * step
    # Of few chunks there is an even number of equal ones: else threads would wait for one another.
    chunks = most // grain
    if step == 1 and chunks <= 8:
        grain = -(-most // max(2, chunks // 2 * 2))
    return Split(units, grain) if grain < most else None


def _most(extent: Expression, known: Mapping[str, int]) -> int:
    """The most that an extent may be, given the most of names; an offset in it is taken to be 0 at least."""
    match extent:
        case Literal(value=value):
            return int(value)
        case Name(name=name):
            return known.get(name, 1)
        case nest.Call(function="minimum", arguments=arguments):
            return min(_most(each, known) for each in arguments)
        case nest.Call(function="mul", arguments=(left, right)):
            return _most(left, known) * _most(right, known)
        case nest.Call(function="add", arguments=(left, right)):
            return _most(left, known) + _most(right, known)
        case nest.Call(function="sub" | "mod", arguments=(left, _)):
            return _most(left, known)
        case nest.Call(function="floordiv", arguments=(left, Literal(value=divisor))) if divisor > 0:
            return _most(left, known) // int(divisor)
        case nest.Call(arguments=arguments):
            return max(_most(each, known) for each in arguments)
        case nest.Select(then=then, otherwise=otherwise):
            return max(_most(then, known), _most(otherwise, known))
        case nest.Cast(value=value):
            return _most(value, known)
    return 1


def _cost(body: tuple[nest.Statement, ...], known: Mapping[str, int], vector: bool) -> float:
    """Nanoseconds of one run of some statements, roughly."""
    total = 0.0
    for statement in body:
        if isinstance(statement, nest.For):
            rounds = _most(statement.extent, known)
            inside = {**known, statement.name: max(0, rounds - 1)}
            total += rounds * _cost(statement.body, inside, statement.vector)
            continue
        for expression in nest.expressions_of(statement):
            total += sum(_expression_cost(e, vector) for e in nest.walk_expression(expression))
        if isinstance(statement, nest.Store):
            total += ITEM_BYTES[statement.value.dtype] * _PER_BYTE if vector else _PER_SCALAR
        elif isinstance(statement, nest.Let) and statement.value.dtype == nest.INDEX:
            known = {**known, statement.name: _most(statement.value, known)}
        total += sum(_cost(block, known, vector) for block in nest.blocks_of(statement))
    return total


def _expression_cost(expression: Expression, vector: bool) -> float:
    match expression:
        case nest.Load(dtype=dtype):
            return ITEM_BYTES[dtype] * _PER_BYTE if vector else _PER_SCALAR
        case nest.Call(dtype=dtype, function=function):
            if dtype == nest.INDEX and function in ("add", "sub", "mul"):
                return 0.0  # an address, most likely
            weight = 1.0 if function in _CHEAP else _EXPENSIVE
            return weight * (_PER_OPERATION if vector else _PER_SCALAR)
    return 0.0
