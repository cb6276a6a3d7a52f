"""The texts of the library's functions of the reals beyond exp, log and tanh: hands on texts and words.

`symnet.compile.library_texts` puts them beside the others, in the same dialect and with the same promises;
those with `near` in their names are for arguments of moderate size, as `symnet.compile.near` says.
"""

from __future__ import annotations

from symnet.compile.library_coefficients import (
    COEFFICIENTS,
    HALF_PI,
    LOG10_OF_2,
    ONE_OVER_LN2,
    ONE_OVER_LN10,
    horner,
)


def words_of_reals(dtype: str) -> dict[str, str]:
    """The numbers of these texts that differ between float32 and float64."""
    single = dtype == "float32"
    parts = "r = x"
    for part in HALF_PI[dtype]:
        parts += f"\n    r = r - whole * {part!r}"
    return {
        "EXP2_LEAST": "-151.0" if single else "-1076.0",
        "EXP2_MOST": "128.0" if single else "1024.0",
        "LN2": repr(0.6931471805599453),
        "FEW_BITS": hex(0xFFFFF000 if single else 0xFFFFFFFF00000000),
        "ONE_OVER_LN2_HIGH": repr(ONE_OVER_LN2[dtype][0]),
        "ONE_OVER_LN2_LOW": repr(ONE_OVER_LN2[dtype][1]),
        "ONE_OVER_LN10_HIGH": repr(ONE_OVER_LN10[dtype][0]),
        "ONE_OVER_LN10_LOW": repr(ONE_OVER_LN10[dtype][1]),
        "LOG10_OF_2_HIGH": repr(LOG10_OF_2[dtype][0]),
        "LOG10_OF_2_LOW": repr(LOG10_OF_2[dtype][1]),
        "QUARTERS": repr(0.6366197723675814),
        "REDUCE": parts,
        "SIN_POLYNOMIAL": horner("z", COEFFICIENTS["sin", dtype]),
        "COS_POLYNOMIAL": horner("z", COEFFICIENTS["cos", dtype]),
        "ARCTAN_POLYNOMIAL": horner("z", COEFFICIENTS["arctan", dtype]),
        "HALF_PI_HIGH": repr(1.5707963705062866 if single else 1.5707963267948966),
        "HALF_PI_LOW": repr(-4.371138828673793e-08 if single else 6.123233995736766e-17),
        "ERF_POLYNOMIAL": horner("z", COEFFICIENTS["erf", dtype]),
        "ERF_MOST": "4.0" if single else "6.0",
        "ERF_FAR_POLYNOMIAL": horner("x" if single else "t", COEFFICIENTS["erf far", dtype]),
        "POW_LOG2": horner("z", COEFFICIENTS["pow log2", "float64"]),
        "POW_EXP2": horner("r", COEFFICIENTS["pow exp2", "float64"]),
    }


_EXP_NEAR = """
def exp_near(x: T) -> T:
    '''e to an x of at most 80 in size, not NaN: at most 1 ulp off.'''
    shifted = x * LOG2_E + ROUNDER
    whole = shifted - ROUNDER
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    power = 1 + (r + r * r * EXP_POLYNOMIAL)
    return power * from_bits((bits_of(shifted) - ROUNDER_BITS + BIAS) << FRACTION)
"""
_EXP2 = """
def exp2(x: T) -> T:
    '''2 to the x: at most 1.1 ulp off.'''
    low = EXP2_LEAST if x < EXP2_LEAST else x
    inside = EXP2_MOST if low > EXP2_MOST else low
    shifted = inside + ROUNDER
    n = cast(bits_of(shifted) - ROUNDER_BITS, 'Whole')
    r = (inside - (shifted - ROUNDER)) * LN2
    power = 1 + (r + r * r * EXP_POLYNOMIAL)
    half = n >> 1
    first = from_bits(cast(half + BIAS, 'Bits') << FRACTION)
    second = from_bits(cast(n - half + BIAS, 'Bits') << FRACTION)
    return power * first * second
"""

# log(1 + f) in two parts of which the first has few bits, times the constant in two parts.
_LOG_IN_PARTS = """
    subnormal = x < LEAST_NORMAL
    normal = x * TWO_TO_FRACTION if subnormal else x
    bits = cast(bits_of(normal) - ROOT_HALF_BITS, 'Whole')
    power = (bits >> FRACTION) - (FRACTION if subnormal else cast(0, 'Whole'))
    k = from_bits(cast(power, 'Bits') + ROUNDER_BITS) - ROUNDER
    f = from_bits((cast(bits, 'Bits') & FRACTION_MASK) + ROOT_HALF_BITS) - 1
    half_square = 0.5 * f * f
    high = from_bits(bits_of(f - half_square) & FEW_BITS)
    low = ((f - high) - half_square) + log_rest(f)"""
_CORNERS = """
    at_least_zero = -inf if x == 0 else value
    return (x if x == inf else at_least_zero) if x >= 0 else cast(nan, 'T')
"""
_LOG2 = f"""
def log2(x: T) -> T:
    '''The logarithm to base 2: at most 1.5 ulp off.'''{_LOG_IN_PARTS}
    small = (low + high) * ONE_OVER_LN2_LOW + low * ONE_OVER_LN2_HIGH
    value = k + (high * ONE_OVER_LN2_HIGH + small){_CORNERS}"""
_LOG10 = f"""
def log10(x: T) -> T:
    '''The logarithm to base 10: at most 1.5 ulp off.'''{_LOG_IN_PARTS}
    small = k * LOG10_OF_2_LOW + ((low + high) * ONE_OVER_LN10_LOW + low * ONE_OVER_LN10_HIGH)
    value = k * LOG10_OF_2_HIGH + (high * ONE_OVER_LN10_HIGH + small){_CORNERS}"""

# x = n pi / 2 + r by Cody and Waite's reduction, of which no step but the last rounds while n has few bits.
_REDUCED = """
    shifted = x * QUARTERS + ROUNDER
    quarter = bits_of(shifted)
    whole = shifted - ROUNDER
    REDUCE
    z = r * r
    sine = r + r * (z * SIN_POLYNOMIAL)
    cosine = 1 - (0.5 * z - z * z * COS_POLYNOMIAL)"""
_SIN = f"""
def sin_near(x: T) -> T:
    '''The sine of an x of moderate size: at most 2 ulp off.'''{_REDUCED}
    size = sine if (quarter & 1) == 0 else cosine
    return x if abs(x) < TINY else (size if (quarter & 2) == 0 else -size)
"""
_COS = f"""
def cos_near(x: T) -> T:
    '''The cosine of an x of moderate size: at most 2 ulp off.'''{_REDUCED}
    size = cosine if (quarter & 1) == 0 else sine
    return size if ((quarter + 1) & 2) == 0 else -size
"""
_TAN = f"""
def tan_near(x: T) -> T:
    '''The tangent of an x of moderate size: at most 4 ulp off.'''{_REDUCED}
    even = (quarter & 1) == 0
    ratio = (sine if even else -cosine) / (cosine if even else sine)
    return x if abs(x) < TINY else ratio
"""

_ARCTAN = """
def arctan(x: T) -> T:
    '''The arc tangent, of 1 / x where |x| is above 1: at most 2 ulp off.'''
    size = abs(x)
    outside = size > 1
    r = 1 / size if outside else size
    z = r * r
    angle = r + r * (z * ARCTAN_POLYNOMIAL)
    return copysign(HALF_PI_HIGH - (angle - HALF_PI_LOW) if outside else angle, x)
"""

# Near 0 from the series, from 1 on as 1 less its complement.
_ERF = """
def erf(x: T) -> T:
    '''The error function: at most 1.5 ulp off.'''
    size = abs(x)
    z = x * x
    near = x + x * ERF_POLYNOMIAL
    far = ERF_MOST if size > ERF_MOST else size
    return near if size < 1 else copysign(1 - erfc_far(far), x)
"""
ERFC_FAR = {
    "float32": """
def erfc_far(x: T) -> T:
    '''1 - erf(x) from 1 to 4, exact enough to be taken from 1.'''
    return exp_near(-ERF_FAR_POLYNOMIAL)
""",
    "float64": """
def erfc_far(x: T) -> T:
    '''1 - erf(x) from 1 to 6, exact enough to be taken from 1.'''
    t = (x - 2) / (x + 2)
    return exp_near(-x * x) * ERF_FAR_POLYNOMIAL
""",
}

# In float64, of which the 29 bits more than the result has take in every rounding: 2**(y log2 |x|), with the
# logarithm as in `log`. The corners are C's: x**0 and 1**y are 1 even of NaN.
POWER = """
def pow(x: T, y: T) -> T:
    '''x to the y: at most 0.6 ulp off.'''
    size = abs(x)
    wide = cast(size, 'float64')
    bits = cast(bits_of(wide) - 0x3FE6A09E667F3BCD, 'int64')
    k = from_bits(cast(bits >> 52, 'uint64') + 0x4338000000000000) - 6755399441055744.0
    f = from_bits((cast(bits, 'uint64') & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1
    s = f / (2 + f)
    z = s * s
    finite = k + s * POW_LOG2
    above = finite if size < inf else wide
    exponent = cast(y, 'float64') * (above if size != 0 else cast(-inf, 'float64'))
    low = -300.0 if exponent < -300 else exponent
    inside = 300.0 if low > 300 else low
    shifted = inside + 6755399441055744.0
    r = inside - (shifted - 6755399441055744.0)
    scale = from_bits((bits_of(shifted) - 0x4338000000000000 + 1023) << 52)
    value = cast((1 + r * POW_EXP2) * scale, 'T')
    whole = floor(y) == y
    odd = whole and (floor(0.5 * y) != 0.5 * y)
    signed = copysign(value, x) if odd else value
    real = signed if whole or (x >= 0) or (size == inf) or (x != x) else cast(nan, 'T')
    return 1 if (y == 0) or (x == 1) or ((size == 1) and (abs(y) == inf)) else real
"""

OF_FLOATS = (_EXP_NEAR, _EXP2, _LOG2, _LOG10, _SIN, _COS, _TAN, _ARCTAN, _ERF)
