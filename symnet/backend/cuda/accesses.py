"""Where loops read and write: takes index expressions, hands on their factors by loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from symnet.compile import nest
from symnet.compile.nest import INDEX, Call, Expression, Literal, Name, Statement

#: Entries that one thread reads or writes at once.
LANES = 4


@dataclass(frozen=True)
class Affine:
    """A sum of a constant and of names times constants."""

    constant: int
    factors: Mapping[str, int] = field(default_factory=dict)

    def factor(self, name: str) -> int:
        """How far the sum moves when the name's value grows by 1."""
        return self.factors.get(name, 0)

    def is_aligned(self, lane: str) -> bool:
        """Whether it is a multiple of `LANES` wherever the value of `lane` is."""
        rest = (factor for name, factor in self.factors.items() if name != lane)
        return self.constant % LANES == 0 and all(factor % LANES == 0 for factor in rest)

    def plus(self, other: Affine, times: int = 1) -> Affine:
        """The sum with a multiple of another."""
        factors = dict(self.factors)
        for name, factor in other.factors.items():
            factors[name] = factors.get(name, 0) + factor * times
        kept = {name: factor for name, factor in factors.items() if factor}
        return Affine(self.constant + other.constant * times, kept)


def affine(expression: Expression, lets: Mapping[str, Affine]) -> Affine | None:
    """An index as a sum; None for anything else. `lets` are names that stand for sums."""
    if expression.dtype != INDEX:
        return None
    match expression:
        case Literal(value=value):
            return Affine(int(value))
        case Name(name=name):
            return lets.get(name) or Affine(0, {name: 1})
        case Call(function="add" | "sub" | "mul" as function, arguments=(left, right)):
            a, b = affine(left, lets), affine(right, lets)
            if a is None or b is None:
                return None
            if function != "mul":
                return a.plus(b, 1 if function == "add" else -1)
            if a.factors and b.factors:
                return None
            many, one = (a, b) if a.factors else (b, a)
            return Affine(0).plus(many, one.constant)
    return None


def sums_of(body: Sequence[Statement]) -> dict[str, Affine]:
    """The names that statements, which have no loops and branches, bind to sums."""
    found: dict[str, Affine] = {}
    for statement in body:
        if isinstance(statement, nest.Let):
            known = affine(statement.value, found)
            if known is not None:
                found[statement.name] = known
    return found


def accesses(body: Sequence[Statement]) -> list[tuple[str, Expression, str]]:
    """Buffer, index and dtype of all that statements read and write."""
    found = []
    for statement in nest.walk_statements(tuple(body)):
        if isinstance(statement, nest.Store):
            found.append((statement.buffer, statement.index, statement.value.dtype))
        for expression in nest.expressions_of(statement):
            for each in nest.walk_expression(expression):
                if isinstance(each, nest.Load):
                    found.append((each.buffer, each.index, each.dtype))
    return found


# --- ranges ------------------------------------------------------------------------------------------

Range = tuple[int, int]


def goes_by_neighbours(lets: Sequence[Statement], body: Sequence[Statement], name: str) -> bool:
    """Whether more of a body's accesses take neighbouring entries when a loop's variable grows, from places
    that are multiples of `LANES` on, than take others. `lets` name what the indices are made of."""
    sums = sums_of([each for each in lets if isinstance(each, nest.Let)])
    together = apart = 0
    for _, index, _ in accesses(body):
        place = affine(index, sums)
        factor = None if place is None else place.factor(name)
        if place is not None and factor == 1 and place.is_aligned(name):
            together += 1
        elif factor != 0:
            apart += 1
    return together > apart


def ranges_of(body: Sequence[Statement], sizes: Mapping[str, int]) -> dict[str, Range]:
    """The least and the largest value of loops' variables and of names for indices, where they are known.

    `sizes` are the largest values of the names that extents are made of.
    """
    found: dict[str, Range | None] = {name: (0, most) for name, most in sizes.items()}
    for statement in nest.walk_statements(tuple(body)):
        name, made = "", None
        match statement:
            case nest.For(name=name, extent=extent):
                most = range_of(extent, found)
                made = None if most is None else (0, max(0, most[1] - 1))
            case nest.Let(name=name, value=value):
                made = range_of(value, found)
            case nest.Declare(name=name):
                pass
        if name:
            # A name that is bound in several places has the range of all.
            before = found.get(name, made)
            both = before is not None and made is not None
            found[name] = (min(before[0], made[0]), max(before[1], made[1])) if both else None  # type: ignore[index]
    return {name: known for name, known in found.items() if known is not None}


def range_of(expression: Expression, known: Mapping[str, Range | None]) -> Range | None:
    """The least and the largest value of an index; None where that is not known."""
    if expression.dtype != INDEX:
        return None
    match expression:
        case Literal(value=value):
            return int(value), int(value)
        case Name(name=name):
            return known.get(name)
        case Call(function=function, arguments=(left, right)):
            a, b = range_of(left, known), range_of(right, known)
            if a is None or b is None:
                return None
            if function == "add":
                return a[0] + b[0], a[1] + b[1]
            if function == "sub":
                return a[0] - b[1], a[1] - b[0]
            if function == "mul":
                products = [x * y for x in a for y in b]
                return min(products), max(products)
            if function in ("minimum", "maximum"):
                choose = min if function == "minimum" else max
                return choose(a[0], b[0]), choose(a[1], b[1])
            if function == "floordiv" and b[0] > 0:
                quotients = [x // y for x in a for y in b]
                return min(quotients), max(quotients)
            if function == "mod" and b[0] > 0:
                return 0, b[1] - 1
    return None
