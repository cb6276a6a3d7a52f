"""Which loops of a nest become the grid: takes statements, hands on `Grid`s of independent iterations.

A nest is cut into groups of its top-level statements; a group is a loop whose iterations are independent,
with all the perfectly nested independent loops in it, or statements that one thread does in order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symnet.backend.cuda.print_body import BodyPrinter
from symnet.compile import nest
from symnet.compile.nest import INDEX, Call, Expression, For, Let, Literal, Load, Name, Statement

#: Item numbers up to here are decoded in 32 bits.
MOST_SHORT = 2**31 - 1
#: A capacity above it is that of a size of which nothing is known.
_MOST_KNOWN = 2**48


@dataclass(frozen=True)
class Grid:
    """A group of a nest: independent iterations over `loops` (outermost first) of `body`, after `before`.

    Without loops, `body` is done once. `before` are scalars of the whole nest that the body needs.
    """

    before: tuple[Statement, ...]
    loops: tuple[For, ...]
    body: tuple[Statement, ...]


def grids(kernel: nest.Nest) -> tuple[Grid, ...]:
    """The groups of a nest, in order; a nest that can't be cut is one group without loops."""
    written = {each.buffer for each in nest.walk_statements(kernel.body) if isinstance(each, nest.Store)}
    scalars: dict[str, Let] = {}
    groups: list[list[Statement]] = []
    open_group = False
    for statement in kernel.body:
        if (
            isinstance(statement, Let)
            and not (loads_of([statement]) & written)
            and names_of(statement.value) <= _outside(kernel, scalars)
        ):
            scalars[statement.name] = statement
        elif _independent(statement):
            groups.append([statement])
            open_group = False
        elif open_group:
            groups[-1].append(statement)
        else:
            groups.append([statement])
            open_group = True
    if any(_needs(group) - _bound(group) - _outside(kernel, scalars) for group in groups):
        return (Grid((), (), kernel.body),)
    return tuple(_grid(tuple(group), _needed(group, scalars)) for group in groups)


def _independent(statement: Statement) -> bool:
    return isinstance(statement, For) and (statement.parallel or statement.vector)


def _outside(kernel: nest.Nest, scalars: Mapping[str, Let]) -> set[str]:
    return {*kernel.sizes, *scalars}


def _needs(body: Sequence[Statement]) -> set[str]:
    """Every name that statements mention in expressions, or change."""
    found = set()
    for statement in nest.walk_statements(tuple(body)):
        if isinstance(statement, nest.Assign | nest.Accumulate):
            found.add(statement.name)
        for expression in nest.expressions_of(statement):
            found |= names_of(expression)
    return found


def _bound(body: Sequence[Statement]) -> set[str]:
    return {
        each.name for each in nest.walk_statements(tuple(body)) if isinstance(each, Let | nest.Declare | For)
    }


def _needed(body: Sequence[Statement], scalars: Mapping[str, Let]) -> tuple[Statement, ...]:
    """The scalars that a group needs, in their order."""
    wanted = _needs(body) & set(scalars)
    while True:
        more = {name for each in wanted for name in names_of(scalars[each].value)} & set(scalars)
        if more <= wanted:
            return tuple(scalar for name, scalar in scalars.items() if name in wanted)
        wanted |= more


def _grid(body: tuple[Statement, ...], before: tuple[Statement, ...]) -> Grid:
    loops: list[For] = []
    lets: list[Statement] = []
    stored = {each.buffer for each in nest.walk_statements(body) if isinstance(each, nest.Store)}
    known = {each.name for each in before if isinstance(each, Let)}
    while True:
        *first, last = body
        if not (_independent(last) and all(isinstance(each, Let) for each in first)):
            break
        assert isinstance(last, For)
        # What the loops' extents need is known before any of them.
        inner = {
            *(loop.name for loop in loops),
            *(each.name for each in [*lets, *first] if isinstance(each, Let)),
        }
        if names_of(last.extent) & (inner - known) or loads_in(last.extent) or (loads_of(first) & stored):
            break
        lets += first
        loops.append(last)
        body = last.body
        if not body:
            break
    return Grid(before, tuple(loops), (*lets, *body))


def names_of(expression: Expression) -> set[str]:
    """The names in an expression."""
    return {each.name for each in nest.walk_expression(expression) if isinstance(each, Name)}


def loads_in(expression: Expression) -> set[str]:
    """The buffers that an expression reads."""
    return {each.buffer for each in nest.walk_expression(expression) if isinstance(each, Load)}


def loads_of(body: Sequence[Statement]) -> set[str]:
    """The buffers that statements read."""
    found: set[str] = set()
    for statement in nest.walk_statements(tuple(body)):
        for expression in nest.expressions_of(statement):
            found |= loads_in(expression)
    return found


def most(extent: Expression, capacities: Mapping[str, int]) -> int | None:
    """The largest value that an extent may have; None where that is not known."""
    match extent:
        case Literal(value=value):
            return int(value)
        case Name(name=name):
            found = capacities.get(name)
            return None if found is None or found > _MOST_KNOWN else found
        case Call(function=function, arguments=(left, right)):
            a, b = most(left, capacities), most(right, capacities)
            known = [each for each in (a, b) if each is not None]
            if function == "minimum" and known:
                return min(known)
            if function == "sub" and a is not None and isinstance(right, Literal):
                return a - int(right.value)
            if a is None or b is None:
                return None
            if function in ("add", "mul"):
                return a + b if function == "add" else a * b
            if function == "floordiv" and isinstance(right, Literal) and b > 0:
                return a // b
            if function == "maximum":
                return max(a, b)
    return None


def items_of(loops: Sequence[For], capacities: Mapping[str, int]) -> int | None:
    """The most iterations that loops may have together; None where that is not known."""
    counts = [most(loop.extent, capacities) for loop in loops]
    known = [count for count in counts if count is not None]
    return math.prod(known) if len(known) == len(counts) else None


def decoded(
    printer: BodyPrinter, loops: Sequence[For], item: str, items: int | None, last: str | None = None
) -> list[str]:
    """The loops' variables for an item's number, as expressions, after lines that they need.

    Parameters
    ----------
    items
        The most items that there may be; None where that is not known.
    last
        Stands for the innermost loop's extent.
    """
    if not loops:
        return []
    short = items is not None and items <= MOST_SHORT
    found: list[str] = []
    rest = item
    for position in range(len(loops) - 1, 0, -1):
        innermost = position == len(loops) - 1
        extent = last if last is not None and innermost else printer.text(loops[position].extent)
        quotient = printer.fresh("rest", INDEX)
        if short:
            word, by = f"np.uint32({rest})", f"np.uint32({extent})"
            printer.line(f"{quotient} = np.int64({word} // {by})")
            found.append(f"np.int64({word} % {by})")
        else:
            printer.line(f"{quotient} = {rest} // ({extent})")
            found.append(f"{rest} % ({extent})")
        rest = quotient
    return [rest, *reversed(found)]
