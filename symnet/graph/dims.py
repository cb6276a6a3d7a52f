"""Arithmetic on axis lengths that may not be known yet: takes ints, sizes and unknowns, hands on one.

An op states its shape rule once, over these. While the user writes, an axis is an int or `UNKNOWN`;
when a function is specialised it is an int or a `Size`, an expression over values that are only known
when the function is called. Arithmetic on ints alone gives ints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union


class Unknown:
    """An axis length, or an integer, that is not known; everything computed from it is unknown too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown()


class Size:
    """An integer expression over values known at call time.

    `function` is a name in `FUNCTIONS`, or "leaf"; a leaf's only argument identifies it. `weight` is the
    number of terms, written out.
    """

    __slots__ = ("_hash", "arguments", "function", "weight")

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.weight: int = 1 + sum(a.weight for a in arguments if isinstance(a, Size))
        self._hash = hash((function, arguments))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Size)
            and self._hash == other._hash
            and self.function == other.function
            and self.arguments == other.arguments
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.function == "leaf":
            return str(self.arguments[0])
        return f"{self.function}({', '.join(map(repr, self.arguments))})"


Dimension = Union[int, Unknown, Size]  # noqa: UP007 (mypy takes no | of what it has not seen)
Shape = tuple[Dimension, ...]


def _floor_divide(a: int, b: int) -> int:
    return a // b if b else 0


def _modulo(a: int, b: int) -> int:
    return a % b if b else 0


def _wrapping(bits: int, signed: bool) -> Callable[[int], int]:
    half = 1 << (bits - 1) if signed else 0
    return lambda a: (a + half) % (1 << bits) - half


FUNCTIONS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": _floor_divide,
    "mod": _modulo,
    "minimum": min,
    "maximum": max,
    "neg": lambda a: -a,
    "abs": abs,
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "lt": lambda a, b: int(a < b),
    "le": lambda a, b: int(a <= b),
    "gt": lambda a, b: int(a > b),
    "ge": lambda a, b: int(a >= b),
    "select": lambda c, a, b: a if c else b,
    "identity": lambda a: a,
    # Conversions: what is left of an integer in so many bits.
    **{f"int{bits}": _wrapping(bits, signed=True) for bits in (8, 16, 32)},
    **{f"uint{bits}": _wrapping(bits, signed=False) for bits in (8, 16, 32)},
}


def apply(function: str, *arguments: Dimension) -> Dimension:
    """`function` of lengths: an int when all are ints, unknown when one is, else a `Size`."""
    if all(isinstance(a, int) for a in arguments):
        return int(FUNCTIONS[function](*arguments))
    if function == "identity":
        return arguments[0]
    if function == "select" and isinstance(arguments[0], int):
        return arguments[1] if arguments[0] else arguments[2]
    if any(isinstance(a, Unknown) for a in arguments):
        return UNKNOWN
    simpler = _simplify(function, arguments)
    return Size(function, *arguments) if simpler is None else simpler


def _simplify(function: str, arguments: tuple[Dimension, ...]) -> Dimension | None:
    if len(arguments) != 2:
        return None
    left, right = arguments
    if left == right:
        if function == "sub":
            return 0
        if function in ("minimum", "maximum"):
            return left
        if function in ("eq", "le", "ge"):
            return 1
        if function in ("ne", "lt", "gt"):
            return 0
    if (function == "add" and right == 0) or (function == "sub" and right == 0):
        return left
    if function == "add" and left == 0:
        return right
    if function == "mul" and 0 in (left, right):
        return 0
    if function in ("mul", "floordiv") and right == 1:
        return left
    if function == "mul" and left == 1:
        return right
    return None


def as_dtype(size: Dimension, dtype: str) -> Dimension | None:
    """An integer as a value of an integer dtype or bool; None where 64 bits with a sign can't say it."""
    if dtype == "bool":
        return apply("ne", size, 0)
    if dtype == "uint64":
        return size if isinstance(size, int) and 0 <= size < 1 << 63 else None
    if dtype == "int64":
        return size if not isinstance(size, int) else _wrapping(64, signed=True)(size)
    return apply(dtype, size)


def evaluate(size: Dimension, leaf: Callable[[Any], int]) -> int:
    """The value of a size, given the value of each leaf."""
    if isinstance(size, int):
        return size
    if isinstance(size, Unknown):
        raise TypeError("an unknown size has no value")
    if size.function == "leaf":
        return leaf(size.arguments[0])
    return int(FUNCTIONS[size.function](*(evaluate(a, leaf) for a in size.arguments)))


#: What 64 bits with a sign can say.
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_COMPARISONS = frozenset("eq ne lt le gt ge".split())


def interval(size: Dimension, leaf: Callable[[Any], tuple[int, int]]) -> tuple[int, int]:
    """The least and the greatest value that a size may have, given those of each leaf; or wider.

    >>> interval(apply("minimum", Size("leaf", "n"), 7), lambda leaf: (0, 1 << 40))
    (0, 7)
    """
    if isinstance(size, int):
        return size, size
    if isinstance(size, Unknown):
        return _LEAST, _MOST
    if size.function == "leaf":
        return leaf(size.arguments[0])
    least, most = _interval_of(size.function, [interval(each, leaf) for each in size.arguments])
    # What overflows may be anything.
    return (least, most) if least >= _LEAST and most <= _MOST else (_LEAST, _MOST)


def _interval_of(function: str, parts: list[tuple[int, int]]) -> tuple[int, int]:
    if function in _COMPARISONS:
        return 0, 1
    if function == "select":
        return min(parts[1][0], parts[2][0]), max(parts[1][1], parts[2][1])
    (low, high), *rest = parts
    if function == "abs":
        return 0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high))
    if function in ("neg", "identity"):
        return (-high, -low) if function == "neg" else (low, high)
    if not rest:
        wrapped = FUNCTIONS[function]
        if wrapped(low) == low and wrapped(high) == high:
            return low, high
        bits = int(function.lstrip("uint"))
        return (0, (1 << bits) - 1) if function.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)
    ((first, last),) = rest
    if function == "sub":
        return low - last, high - first
    if function in ("add", "minimum", "maximum"):
        combine = FUNCTIONS[function]
        return combine(low, first), combine(high, last)
    if function in ("mul", "floordiv") and (function == "mul" or first > 0):
        combine = FUNCTIONS[function]
        corners = [combine(a, b) for a in (low, high) for b in (first, last)]
        return min(corners), max(corners)
    if function == "mod" and first >= 0:
        return 0, max(0, last - 1)
    # A quotient is no larger than what is divided, a remainder than what it is divided by.
    largest = max(map(abs, (low, high) if function == "floordiv" else (first, last)))
    return -largest, largest


def leaves(size: Dimension) -> set[Any]:
    """What the leaves of a size stand for."""
    if not isinstance(size, Size):
        return set()
    if size.function == "leaf":
        return {size.arguments[0]}
    found: set[Any] = set()
    for argument in size.arguments:
        found |= leaves(argument)
    return found


def add(*arguments: Dimension) -> Dimension:
    """The sum."""
    total: Dimension = 0
    for argument in arguments:
        total = apply("add", total, argument)
    return total


def subtract(left: Dimension, right: Dimension) -> Dimension:
    """The difference."""
    return apply("sub", left, right)


def multiply(*arguments: Dimension) -> Dimension:
    """The product."""
    product: Dimension = 1
    for argument in arguments:
        product = apply("mul", product, argument)
    return product


def floor_divide(left: Dimension, right: Dimension) -> Dimension:
    """The quotient, rounded down."""
    return apply("floordiv", left, right)


def ceil_divide(left: Dimension, right: Dimension) -> Dimension:
    """The quotient, rounded up; the divisor is positive."""
    return apply("floordiv", apply("add", left, apply("sub", right, 1)), right)


def minimum(left: Dimension, right: Dimension) -> Dimension:
    """The smaller."""
    return apply("minimum", left, right)


def maximum(left: Dimension, right: Dimension) -> Dimension:
    """The larger."""
    return apply("maximum", left, right)


def select(condition: Dimension, then: Dimension, otherwise: Dimension) -> Dimension:
    """`then` where the condition is not 0, else `otherwise`."""
    return apply("select", condition, then, otherwise)


def slice_bounds(
    length: Dimension, start: Dimension | None, stop: Dimension | None, step: int
) -> tuple[Dimension, Dimension]:
    """(first, count) of `range(length)[start:stop:step]`, clipped as Python clips a slice.

    `None` is an absent bound; the step is a literal and not 0.
    """
    if start is None and stop is None:
        return 0 if step > 0 else subtract(length, 1), ceil_divide(length, abs(step))
    low: Dimension
    high: Dimension
    if step > 0:
        low, high = 0, length
        first = low if start is None else _clip(start, length, low, high)
        last = high if stop is None else _clip(stop, length, low, high)
        count = ceil_divide(maximum(subtract(last, first), 0), step)
    else:
        low, high = -1, subtract(length, 1)
        first = high if start is None else _clip(start, length, low, high)
        last = low if stop is None else _clip(stop, length, low, high)
        count = ceil_divide(maximum(subtract(first, last), 0), -step)
    return first, count


def _clip(bound: Dimension, length: Dimension, low: Dimension, high: Dimension) -> Dimension:
    if isinstance(bound, int):
        wrapped = add(bound, length) if bound < 0 else bound
    else:
        wrapped = select(apply("lt", bound, 0), add(bound, length), bound)
    return minimum(maximum(wrapped, low), high)
