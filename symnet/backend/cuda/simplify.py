"""Integer expressions that numbers decide: takes an expression of simple parts, hands on a simpler one.

What draws share is found by this: of four neighbours' numbers 4 b + 0 … 3 the block 4 b >> 2 is the same, and
which of its words each takes is a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from symnet.compile import nest
from symnet.compile.nest import BOOL, Call, Cast, Expression, Literal, Name, Select

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    each: getattr(operator, each) for each in ("eq", "ne", "lt", "le", "gt", "ge")
}


def simplified(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """The expression, or what it comes to; `values` are those that names are bound to."""
    match expression:
        case Cast(dtype=dtype, value=Literal(value=number)) if dtype in nest.INTEGERS:
            if expression.value.dtype in nest.INTEGERS:
                return Literal(dtype, _wrapped(int(number), dtype))
        case Select(condition=Literal(value=holds), then=then, otherwise=otherwise):
            return then if holds else otherwise
        case Call(function=function, arguments=(Literal() as left, Literal() as right)):
            if left.dtype in nest.INTEGERS and function in _COMPARISONS:
                return Literal(BOOL, _COMPARISONS[function](left.value, right.value))
            if left.dtype in nest.INTEGERS and function == "bitwise_and":
                return Literal(left.dtype, int(left.value) & int(right.value))
        case Call(dtype="uint64", function="shift_right", arguments=(value, Literal(value=count))):
            base, low = _parts(value, values)
            if base is not value and low < 1 << int(count):
                return Call("uint64", "shift_right", (base, Literal("uint64", count)))
        case Call(dtype="uint64", function="bitwise_and", arguments=(value, Literal(value=mask))):
            base, low = _parts(value, values)
            if _zeros(base, values) >= int(mask).bit_length():
                return Literal("uint64", low & int(mask))
    return expression


def _wrapped(number: int, dtype: str) -> int:
    bits = int(dtype.lstrip("uint"))
    low = number & ((1 << bits) - 1)
    return low - (1 << bits) if dtype.startswith("int") and low >> (bits - 1) else low


def _parts(value: Expression, values: Mapping[str, Expression]) -> tuple[Expression, int]:
    """An unsigned expression as another one and a number that is or-ed to it."""
    match _behind(value, values):
        case Call(function="bitwise_or", arguments=(base, Literal(value=low))):
            return base, int(low)
    return value, 0


def _behind(value: Expression, values: Mapping[str, Expression]) -> Expression:
    """What a name stands for."""
    while isinstance(value, Name) and value.name in values:
        value = values[value.name]
    return value


def _zeros(value: Expression, values: Mapping[str, Expression]) -> int:
    """How many low bits of an integer are surely 0."""
    match _behind(value, values):
        case Cast(dtype="uint64" | "int64", value=inner) if inner.dtype in ("uint64", "int64"):
            return _zeros(inner, values)
        case Call(function="mul", arguments=(_, Literal(value=factor))) if factor:
            return (int(factor) & -int(factor)).bit_length() - 1
    return 0
