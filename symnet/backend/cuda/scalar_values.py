"""Functions of the nest dialect as NumPy computes them, for simulated kernels: hands on `MATH` and `NUMPY`.

They stand in a simulated kernel for what `symnet.backend.cuda.scalar_code` makes: one NumPy scalar of a dtype
in, one out, integers wrap, and conversions of floats to integers saturate as the device's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

_UNSIGNED = {"float32": np.uint32, "float64": np.uint64}
_FLOATS = {"uint32": np.float32, "uint64": np.float64}


class _Dtype:
    """`np.float32` and its like in a kernel: a conversion, and a dtype where one is asked for."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(name)

    def __call__(self, value: Any) -> Any:
        made = np.asarray(value)
        if made.dtype.kind == "f" and self.dtype.kind in "iu":
            return _saturated(made, self.dtype)
        return made.astype(self.dtype)[()]


def _saturated(value: Any, dtype: np.dtype[Any]) -> Any:
    if np.isnan(value):
        return dtype.type(0)
    limits = np.iinfo(dtype)
    if value >= float(limits.max):
        return dtype.type(limits.max)
    return dtype.type(limits.min if value <= float(limits.min) else int(value))


def _by_scalars(function: Callable[..., float]) -> Callable[..., Any]:
    """A function of Python's floats that NumPy lacks, rounded to the argument's dtype."""

    def of(value: Any) -> Any:
        kind = np.asarray(value).dtype.type
        try:
            return kind(function(float(value)))
        except OverflowError:
            return kind(np.inf)
        except ValueError:
            return kind(np.nan)

    return of


def _gamma(value: float) -> float:
    # Python raises for what is too large, as near 0 on either side.
    if abs(value) < 1e-308:
        return math.copysign(math.inf, value)
    return math.gamma(value)


def _lgamma(value: float) -> float:
    # Python's own loses digits where the gamma function is near 1 in size.
    from scipy.special import gammaln

    if abs(value) < 1e-300:
        return -math.log(abs(value)) if value else math.inf
    return math.inf if math.isinf(value) else float(gammaln(value))


def _fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c rounded once, by exact fractions."""
    if np.asarray(a).dtype.kind != "f":
        return a * b + c
    plain = a * b + c
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(c)):
        return plain
    if plain.dtype == np.float32:
        return _rounded_to_float32(float(a) * float(b), float(c))
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    try:
        return np.float64(float(exact)) if exact else plain
    except OverflowError:
        return np.float64(math.inf if exact > 0 else -math.inf)


def _rounded_to_float32(product: float, c: float) -> Any:
    """The sum of an exact product and a float32 as float32, by a float64 sum rounded to odd."""
    total = product + c
    back = total - product
    lost = (product - (total - back)) + (c - back)
    if lost and not int(np.float64(total).view(np.uint64)) & 1:
        total = math.nextafter(total, math.copysign(math.inf, lost))
    return np.float32(total)


def _pow(x: Any, y: Any) -> Any:
    # NumPy takes the square root of a scalar to the power 1/2, which differs at -0 and -inf.
    return np.power(np.asarray([x]), np.asarray([y]))[0]


def _round_half_away(x: Any) -> Any:
    whole = np.trunc(x)
    return whole + np.copysign(type(x)(1), x) if abs(x - whole) >= 0.5 else whole


def _bits_of(x: Any) -> Any:
    return np.asarray(x).view(_UNSIGNED[np.asarray(x).dtype.name])[()]


def _from_bits(x: Any) -> Any:
    return np.asarray(x).view(_FLOATS[np.asarray(x).dtype.name])[()]


def _floordiv(a: Any, b: Any) -> Any:
    a, b = _whole(a), _whole(b)
    return type(a)(0) if b == 0 else -a if a.dtype.kind == "i" and b == -1 else a // b


def _mod(a: Any, b: Any) -> Any:
    a, b = _whole(a), _whole(b)
    return type(a)(0) if b == 0 or (a.dtype.kind == "i" and b == -1) else a % b


def _fmod(a: Any, b: Any) -> Any:
    if np.asarray(a).dtype.kind == "f":
        return np.fmod(a, b)
    a, b = _whole(a), _whole(b)
    return type(a)(0) if b == 0 or (a.dtype.kind == "i" and b == -1) else np.fmod(a, b)


def _whole(value: Any) -> Any:
    """A loop's variable is an int of Python's."""
    return np.int64(value) if isinstance(value, int) else value


def _shift_left(a: Any, count: Any) -> Any:
    a = _whole(a)
    return a << type(a)(count) if 0 <= count < a.dtype.itemsize * 8 else type(a)(0)


def _shift_right(a: Any, count: Any) -> Any:
    a = _whole(a)
    bits = a.dtype.itemsize * 8
    if 0 <= count < bits:
        return a >> type(a)(count)
    return a >> type(a)(bits - 1) if a.dtype.kind == "i" else type(a)(0)


_SAME = (
    "exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh "
    "arccosh arctanh sqrt abs floor ceil trunc rint copysign hypot maximum minimum sign isnan isinf"
).split()

MATH: Any = SimpleNamespace(
    **{name: getattr(np, name) for name in _SAME},
    inf=math.inf,
    nan=math.nan,
    pow=_pow,
    fma=_fma,
    round_half_away=_round_half_away,
    erf=_by_scalars(math.erf),
    erfc=_by_scalars(math.erfc),
    gamma=_by_scalars(_gamma),
    lgamma=_by_scalars(_lgamma),
    where=lambda condition, then, otherwise: then if condition else otherwise,
    bits_of=_bits_of,
    mul_wide=lambda a, b: np.uint64(int(a) * int(b)),
    from_bits=_from_bits,
    floordiv=_floordiv,
    mod=_mod,
    fmod=_fmod,
    shift_left=_shift_left,
    shift_right=_shift_right,
)

NUMPY: Any = SimpleNamespace(
    **{
        name: _Dtype(name)
        for name in "bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()
    },
    inf=np.inf,
    nan=np.nan,
)
