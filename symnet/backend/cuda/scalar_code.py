"""Functions of the nest dialect, in LLVM: takes names and numbers, hands on what makes their values.

Functions of reals come from NVIDIA's libdevice, at most 2 units in the last place off; what NumPy means by
divisions, shifts and extremes is spelled out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from symnet.compile import nest

Make = Callable[[Any, str, Sequence[Any]], Any]
_BIT = ir.IntType(1)
_INT32 = ir.IntType(32)

#: libdevice's names, to which "f" is added for float32.
_DEVICE = {
    name: name
    for name in (
        "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh erf erfc lgamma floor ceil trunc "
        "rint sqrt pow fmod fma copysign hypot"
    ).split()
} | {
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "gamma": "tgamma",
    "round_half_away": "round",
    "abs": "fabs",
}
_THREE, _TWO = ("fma",), ("pow", "fmod", "copysign", "hypot", "arctan2")


def _device(name: str) -> Make:
    def make(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
        if dtype not in nest.FLOATS:
            return _integer(name, builder, dtype, values)
        full = f"__nv_{_DEVICE[name]}{'f' if dtype == 'float32' else ''}"
        return builder.call(_external(builder, full, values[0].type, values), values)

    return make


def _external(builder: Any, name: str, kind: Any, values: Sequence[Any]) -> Any:
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(kind, [each.type for each in values]), name)


def _signed(dtype: str) -> bool:
    return dtype.startswith("int")


#: From this compute capability on there are extremes of float32 that hand NaN on.
EXTREMES = (8, 0)


def _extreme(name: str, alone: bool = False) -> Make:
    """NaN comes out where there is one; of two zeros either may. `alone`: one instruction does that."""

    def make(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
        a, b = values
        if dtype == "float32" and alone:
            kind = ir.FunctionType(a.type, [a.type, a.type])
            return builder.call(ir.InlineAsm(kind, f"{name[:3]}.NaN.f32 $0, $1, $2;", "=f,f,f"), [a, b])
        sign = ">" if name == "maximum" else "<"
        if dtype in nest.FLOATS:
            first = builder.or_(builder.fcmp_ordered(sign, a, b), builder.fcmp_unordered("uno", a, a))
        else:
            compare = builder.icmp_signed if _signed(dtype) else builder.icmp_unsigned
            first = compare(sign, a, b)
        return builder.select(first, a, b)

    return make


def _sign(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    (x,) = values
    kind = x.type
    if dtype in nest.FLOATS:
        still = builder.select(builder.fcmp_ordered("==", x, kind(0.0)), kind(0.0), x)
        below = builder.select(builder.fcmp_ordered("<", x, kind(0.0)), kind(-1.0), still)
        return builder.select(builder.fcmp_ordered(">", x, kind(0.0)), kind(1.0), below)
    positive = builder.zext(builder.icmp_unsigned("!=", x, kind(0)), kind)
    return builder.or_(builder.ashr(x, kind(kind.width - 1)), positive) if _signed(dtype) else positive


def _integer(name: str, builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    """Functions that integers have beside the floats."""
    kind = values[0].type
    if name == "abs" and _signed(dtype):
        (x,) = values
        return builder.select(builder.icmp_signed("<", x, kind(0)), builder.sub(kind(0), x), x)
    if name == "fmod":
        return _divide(name)(builder, dtype, values)
    raise TypeError(f"{name} of {dtype}")


def _divide(function: str) -> Make:
    """Division without the two divisors that mean nothing: 0, and -1 of the least number."""

    def make(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
        a, b = values
        kind = a.type
        by_zero = builder.icmp_unsigned("==", b, kind(0))
        if not _signed(dtype):
            safe = builder.select(by_zero, kind(1), b)
            result = builder.udiv(a, safe) if function == "floordiv" else builder.urem(a, safe)
            return builder.select(by_zero, kind(0), result)
        by_minus_one = builder.icmp_signed("==", b, kind(-1))
        safe = builder.select(builder.or_(by_zero, by_minus_one), kind(1), b)
        rest = builder.srem(a, safe)
        if function == "fmod":
            return rest
        uneven = builder.icmp_signed("!=", rest, kind(0))
        lower = builder.and_(uneven, builder.icmp_signed("<", builder.xor(rest, safe), kind(0)))
        if function == "mod":
            return builder.add(rest, builder.select(lower, safe, kind(0)))
        quotient = builder.sub(builder.sdiv(a, safe), builder.zext(lower, kind))
        quotient = builder.select(by_minus_one, builder.sub(kind(0), a), quotient)
        return builder.select(by_zero, kind(0), quotient)

    return make


def _shift(function: str) -> Make:
    """A shift by less than 0 or by the width and more moves every bit out, as in NumPy."""

    def make(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
        a, count = values
        kind = a.type
        inside = builder.icmp_unsigned("<", count, kind(kind.width))
        if function == "shift_right" and _signed(dtype):
            return builder.ashr(a, builder.select(inside, count, kind(kind.width - 1)))
        safe = builder.select(inside, count, kind(0))
        moved = builder.shl(a, safe) if function == "shift_left" else builder.lshr(a, safe)
        return builder.select(inside, moved, kind(0))

    return make


def _is_nan(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    return builder.fcmp_unordered("uno", values[0], values[0])


def _is_infinite(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    size = _device("abs")(builder, dtype, values)
    return builder.fcmp_ordered("==", size, size.type(float("inf")))


def _bitcast(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    to = {
        "float32": ir.IntType(32),
        "float64": ir.IntType(64),
        "uint32": ir.FloatType(),
        "uint64": ir.DoubleType(),
    }
    return builder.bitcast(values[0], to[dtype])


def _where(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    return builder.select(*values)


def _mul_wide(builder: Any, dtype: str, values: Sequence[Any]) -> Any:
    """Two numbers of 32 bits give one of 64."""
    kind = ir.FunctionType(ir.IntType(64), [_INT32, _INT32])
    return builder.call(ir.InlineAsm(kind, "mul.wide.u32 $0, $1, $2;", "=l,r,r"), values)


#: By name: how many arguments it takes, and what makes its value.
FUNCTIONS: dict[str, tuple[int, Make]] = {
    **{name: (3 if name in _THREE else 2 if name in _TWO else 1, _device(name)) for name in _DEVICE},
    "maximum": (2, _extreme("maximum")),
    "minimum": (2, _extreme("minimum")),
    "sign": (1, _sign),
    "floordiv": (2, _divide("floordiv")),
    "mod": (2, _divide("mod")),
    "shift_left": (2, _shift("shift_left")),
    "shift_right": (2, _shift("shift_right")),
    "isnan": (1, _is_nan),
    "isinf": (1, _is_infinite),
    "where": (3, _where),
    "bits_of": (1, _bitcast),
    "mul_wide": (2, _mul_wide),
    "from_bits": (1, _bitcast),
}


def functions(compute: tuple[int, int]) -> dict[str, tuple[int, Make]]:
    """`FUNCTIONS`, the best for a compute capability."""
    if compute < EXTREMES:
        return FUNCTIONS
    return FUNCTIONS | {name: (2, _extreme(name, alone=True)) for name in ("maximum", "minimum")}


#: Of which dtypes functions are that are not of floats alone.
_OF_INTEGERS = frozenset(nest.INTEGERS)
_OF_NUMBERS = _OF_INTEGERS | frozenset(nest.FLOATS)
_TAKEN = {
    **dict.fromkeys(("floordiv", "mod", "shift_left", "shift_right"), _OF_INTEGERS),
    **dict.fromkeys(("maximum", "minimum", "where"), _OF_NUMBERS | {nest.BOOL}),
    **dict.fromkeys(("sign", "fmod"), _OF_NUMBERS),
    "abs": frozenset(each for each in _OF_NUMBERS if not each.startswith("uint")),
    "bits_of": frozenset(nest.BITS_OF),
    "from_bits": frozenset(nest.FROM_BITS),
    "mul_wide": frozenset({"uint32"}),
}


def result_dtype(name: str, dtypes: Sequence[str]) -> str | None:
    """The dtype of what a function of `FUNCTIONS` gives; None when it takes no arguments of such dtypes."""
    # A condition says nothing of the values that it chooses between.
    alike = dtypes[1:] if name == "where" else dtypes
    if len(set(alike)) != 1 or (name == "where" and dtypes[0] != "bool"):
        return None
    (dtype,) = set(alike)
    if dtype not in _TAKEN.get(name, nest.FLOATS):
        return None
    if name in nest.TO_BOOL:
        return "bool"
    if name == "mul_wide":
        return "uint64"
    return {"bits_of": nest.BITS_OF, "from_bits": nest.FROM_BITS}.get(name, {}).get(dtype, dtype)
