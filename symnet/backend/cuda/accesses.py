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
