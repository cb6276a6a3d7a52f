"""The texts of the library's functions: hands on (text, dtype, words) for each function.

In a text, `T` is the dtype of the first argument and each word of `words` stands for its value; how
a text is read says `symnet.compile.library`. The functions of floats have no branches and no calls,
so that a loop of them vectorises, and compute what the names say for every input: NaN, infinities,
zeros of both signs, subnormal numbers and results, and overflow. Errors stated are the largest
found against mpmath by tests/compile/test_library.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from symnet.compile.library_coefficients import COEFFICIENTS, LN2, horner, horner_fused
from symnet.compile.library_reals import ERFC_FAR, OF_FLOATS, POWER, words_of_reals

Source = tuple[str, str, dict[str, str]]

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")


def sources() -> Iterator[Source]:
    """Every text with the dtype it is for and the meaning of its words."""
    for dtype in INTEGERS:
        bits = dtype.lstrip("uint")
        negative = _NEGATIVE_POWER.replace("T", dtype) if dtype.startswith("int") else "result"
        yield _INTEGER_POWER, dtype, {"BITS": bits, "NEGATIVE": negative}
    for dtype in FLOATS:
        words = _words(dtype) | words_of_reals(dtype)
        for text in (*_OF_FLOATS, *OF_FLOATS, LOG_REST[dtype], LOG_OF_DRAW[dtype], ERFC_FAR[dtype]):
            yield text, dtype, words
        if dtype == "float32":
            yield POWER, dtype, words
    yield _PHILOX, "uint32", {}
    for text in _DRAWS:
        yield text, "uint64", {}


# --- integers and division ------------------------------------------------------------------------

_INTEGER_POWER = """
def pow(base: T, exponent: T) -> T:
    '''Exponentiation by squaring, wrapping.'''
    result: T = 1
    square = base
    left = exponent
    for step in range(BITS):
        result = result * square if (left & 1) != 0 else result
        square = square * square
        left = left >> 1
    return NEGATIVE
"""
_NEGATIVE_POWER = (
    "(result if exponent >= 0 else (1 if base == 1 else "
    "((1 - 2 * (exponent & 1)) if base == -1 else cast(0, 'T'))))"
)

# What NumPy's npy_divmod computes.
_MOD = """
def mod(a: T, b: T) -> T:
    '''The remainder with the sign of the divisor.'''
    rest = fmod(a, b)
    turned = rest + b if (b < 0) != (rest < 0) else rest
    return turned if rest != 0 else (copysign(0, b) if b != 0 else rest)
"""
_FLOORDIV = """
def floordiv(a: T, b: T) -> T:
    '''The quotient rounded down, the whole number nearest to (a - mod(a, b)) / b.'''
    rest = fmod(a, b)
    exact = (a - rest) / b
    lower = exact - 1 if (rest != 0) and ((b < 0) != (rest < 0)) else exact
    floored = floor(lower)
    whole = floored + 1 if lower - floored > 0.5 else floored
    return (whole if lower != 0 else copysign(0, a / b)) if b != 0 else a / b
"""

# --- exponentials and logarithms ------------------------------------------------------------------


def _words(dtype: str) -> dict[str, str]:
    """The numbers that differ between float32 and float64."""
    single = dtype == "float32"
    fraction = 23 if single else 52
    return {
        "Bits": "uint32" if single else "uint64",
        "Whole": "int32" if single else "int64",
        "FRACTION": str(fraction),
        "BIAS": str(127 if single else 1023),
        # Adding it to a small number rounds that to a whole one, which its low bits then hold.
        "ROUNDER": repr(1.5 * 2.0**fraction),
        "ROUNDER_BITS": hex(0x4B400000 if single else 0x4338000000000000),
        "LOG2_E": repr(1.4426950408889634),
        "LN2_HIGH": repr(LN2[dtype][0]),
        "LN2_LOW": repr(LN2[dtype][1]),
        "EXP_LEAST": "-104.0" if single else "-746.0",
        "EXP_MOST": "89.0" if single else "710.0",
        "EXPM1_LEAST": "-18.0" if single else "-40.0",
        # Beyond it, tanh is 1 but for half an ulp.
        "TANH_MOST": "9.02" if single else "22.0",
        "TINY": "1e-8" if single else "1e-17",
        "EXP_POLYNOMIAL": horner("r", COEFFICIENTS["exp", dtype]),
        "LOG_POLYNOMIAL": horner("f" if single else "z", COEFFICIENTS["log", dtype]),
        "LOG_FUSED": horner_fused("f" if single else "z", COEFFICIENTS["log", dtype]),
        "SINE_POLYNOMIAL": horner_fused("z", COEFFICIENTS["sine", dtype]),
        "COSINE_POLYNOMIAL": horner_fused("z", COEFFICIENTS["cosine", dtype]),
        "ROOT_HALF_BITS": hex(0x3F3504F3 if single else 0x3FE6A09E667F3BCD),
        "FRACTION_MASK": hex(2**fraction - 1),
        "LEAST_NORMAL": repr(2.0**-126 if single else 2.0**-1022),
        "TWO_TO_FRACTION": repr(2.0**fraction),
    }


# x = n ln 2 + r (Cody and Waite's reduction in two steps), exp(x) = 2**n exp(r). The power of two
# is multiplied in two halves, so that neither overflows and a subnormal result is rounded once.
_EXP = """
def exp(x: T) -> T:
    '''e to the x: at most 1 ulp off.'''
    low = EXP_LEAST if x < EXP_LEAST else x
    inside = EXP_MOST if low > EXP_MOST else low
    shifted = inside * LOG2_E + ROUNDER
    n = cast(bits_of(shifted) - ROUNDER_BITS, 'Whole')
    whole = shifted - ROUNDER
    r = (inside - whole * LN2_HIGH) - whole * LN2_LOW
    power = 1 + (r + r * r * EXP_POLYNOMIAL)
    half = n >> 1
    first = from_bits(cast(half + BIAS, 'Bits') << FRACTION)
    second = from_bits(cast(n - half + BIAS, 'Bits') << FRACTION)
    return power * first * second
"""

# 2**n exp(r) - 1 = 2 ((2**(n-1) - 1/2) + 2**(n-1) (exp(r) - 1)), of which no part overflows early;
# what the rounding of r lost goes into the small terms.
_EXPM1 = """
def expm1(x: T) -> T:
    '''e to the x, less 1, also for small x: at most 1.5 ulp off.'''
    low = EXPM1_LEAST if x < EXPM1_LEAST else x
    inside = EXP_MOST if low > EXP_MOST else low
    shifted = inside * LOG2_E + ROUNDER
    n = cast(bits_of(shifted) - ROUNDER_BITS, 'Whole')
    whole = shifted - ROUNDER
    high = inside - whole * LN2_HIGH
    r = high - whole * LN2_LOW
    lost = (high - r) - whole * LN2_LOW
    small = lost + r * r * EXP_POLYNOMIAL
    scale = from_bits(cast(n + (BIAS - 1), 'Bits') << FRACTION)
    moved = 2 * (((scale - 0.5) + scale * r) + scale * small)
    return x if abs(x) < TINY else (r + small if n == 0 else moved)
"""

# In float64 the form that fdlibm has: with s = f / (2 + f) it is s (f**2 / 2 + R(s)).
LOG_REST = {
    "float32": """
def log_rest(f: T) -> T:
    '''log(1 + f) - f + f**2 / 2, for 1 + f from sqrt(1/2) to sqrt(2).'''
    return (f * f) * (f * LOG_POLYNOMIAL)
""",
    "float64": """
def log_rest(f: T) -> T:
    '''log(1 + f) - f + f**2 / 2, for 1 + f from sqrt(1/2) to sqrt(2).'''
    s = f / (2 + f)
    z = s * s
    return s * (0.5 * f * f + z * LOG_POLYNOMIAL)
""",
}
_LOG_OF_MANTISSA = """
def log_of_mantissa(f: T, k: T, rest: T) -> T:
    '''k ln 2 + log(1 + f) + rest, for 1 + f from sqrt(1/2) to sqrt(2).'''
    half_square = 0.5 * f * f
    small = log_rest(f) + (k * LN2_LOW + rest)
    return k * LN2_HIGH - ((half_square - small) - f)
"""
_LOG = """
def log(x: T) -> T:
    '''The natural logarithm: at most 1 ulp off.'''
    subnormal = x < LEAST_NORMAL
    normal = x * TWO_TO_FRACTION if subnormal else x
    bits = cast(bits_of(normal) - ROOT_HALF_BITS, 'Whole')
    power = (bits >> FRACTION) - (FRACTION if subnormal else cast(0, 'Whole'))
    k = from_bits(cast(power, 'Bits') + ROUNDER_BITS) - ROUNDER
    mantissa = from_bits((cast(bits, 'Bits') & FRACTION_MASK) + ROOT_HALF_BITS)
    value = log_of_mantissa(mantissa - 1, k, 0)
    at_least_zero = -inf if x == 0 else value
    return (x if x == inf else at_least_zero) if x >= 0 else cast(nan, 'T')
"""
# log(1 + x) from u = 1 + x as rounded; what was lost, x - (u - 1), over u is the correction. Where
# no power of two is taken out, x itself is used and nothing was lost.
_LOG1P = """
def log1p(x: T) -> T:
    '''log(1 + x), also for small x: at most 1 ulp off.'''
    u = 1 + x
    bits = cast(bits_of(u) - ROOT_HALF_BITS, 'Whole')
    power = bits >> FRACTION
    mantissa = from_bits((cast(bits, 'Bits') & FRACTION_MASK) + ROOT_HALF_BITS)
    lost = (1 - (u - x)) if x >= 1 else (x - (u - 1))
    whole = power == 0
    f = x if whole else mantissa - 1
    k = from_bits(cast(power, 'Bits') + ROUNDER_BITS) - ROUNDER
    value = log_of_mantissa(f, k, 0 if whole else lost / u)
    above = -inf if x == -1 else (x if x == inf else value)
    return x if abs(x) < TINY else (above if x >= -1 else cast(nan, 'T'))
"""
# With 2 |x| = n ln 2 + r, exp(2 |x|) - 1 = (2**n - 1) + 2**n (exp(r) - 1), which loses nothing near 0.
_TANH = """
def tanh(x: T) -> T:
    '''The hyperbolic tangent, e / (e + 2) of e = exp(2 |x|) - 1: at most 3 ulp off.'''
    size = abs(x)
    double = 2 * (TANH_MOST if size > TANH_MOST else size)
    shifted = double * LOG2_E + ROUNDER
    whole = shifted - ROUNDER
    r = (double - whole * LN2_HIGH) - whole * LN2_LOW
    scale = from_bits((bits_of(shifted) - ROUNDER_BITS + BIAS) << FRACTION)
    e = scale * (r + r * r * EXP_POLYNOMIAL) + (scale - 1)
    return copysign(e / (e + 2), x)
"""
_SIGMOID = """
def sigmoid(x: T) -> T:
    '''1 / (1 + exp(-x)), without overflow: at most 2.5 ulp off.'''
    small = exp(-abs(x))
    return (1 if x >= 0 else small) / (1 + small)
"""

# What normal draws are made by is written so that a compiler has no choice of what to round: products that
# are added to are fused, all others are exact or added to nothing. So a GPU draws what a CPU draws.
LOG_OF_DRAW = {
    "float32": """
def log_of_draw(x: T) -> T:
    '''The natural logarithm of a normal number from 0 to 1: at most 1 ulp off.'''
    bits = cast(bits_of(x) - ROOT_HALF_BITS, 'Whole')
    k = from_bits(cast(bits >> FRACTION, 'Bits') + ROUNDER_BITS) - ROUNDER
    f = from_bits((cast(bits, 'Bits') & FRACTION_MASK) + ROOT_HALF_BITS) - 1
    small = fma(k, LN2_LOW, (f * f) * (f * LOG_FUSED))
    return fma(k, LN2_HIGH, fma(-0.5 * f, f, small) + f)
""",
    "float64": """
def log_of_draw(x: T) -> T:
    '''The natural logarithm of a normal number from 0 to 1: at most 1 ulp off.'''
    bits = cast(bits_of(x) - ROOT_HALF_BITS, 'Whole')
    k = from_bits(cast(bits >> FRACTION, 'Bits') + ROUNDER_BITS) - ROUNDER
    f = from_bits((cast(bits, 'Bits') & FRACTION_MASK) + ROOT_HALF_BITS) - 1
    s = f / (2 + f)
    z = s * s
    small = fma(k, LN2_LOW, s * fma(z, LOG_FUSED, (0.5 * f) * f))
    return fma(k, LN2_HIGH, fma(-0.5 * f, f, small) + f)
""",
}
# With 4 turns = q + r, q whole: a sine or cosine of r quarter turns. Nothing is lost before that.
_COSINE_OF_TURNS = """
def cosine_of_turns(turns: T) -> T:
    '''cos(2 pi turns), for turns from -4 to 4: at most 1.5 ulp off.'''
    shifted = 4 * turns + ROUNDER
    quarter = bits_of(shifted) & 3
    r = 4 * turns - (shifted - ROUNDER)
    z = r * r
    sine = r * SINE_POLYNOMIAL
    cosine = fma(z, COSINE_POLYNOMIAL, 1)
    size = cosine if (quarter & 1) == 0 else sine
    return -size if (quarter == 1) or (quarter == 2) else size
"""

_OF_FLOATS = (
    _MOD,
    _FLOORDIV,
    _EXP,
    _EXPM1,
    _LOG_OF_MANTISSA,
    _LOG,
    _LOG1P,
    _TANH,
    _SIGMOID,
    _COSINE_OF_TURNS,
)

# --- random numbers -------------------------------------------------------------------------------

# J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3
# (2011).
_PHILOX = """
def philox(
    word: uint32,
    key0: uint32, key1: uint32,
    c0: uint32, c1: uint32, c2: uint32, c3: uint32,
) -> uint32:
    '''Word 0 to 3 of the block that Philox 4x32-10 makes of a key and a counter.'''
    x0 = c0
    x1 = c1
    x2 = c2
    x3 = c3
    k0 = key0
    k1 = key1
    for step in range(10):
        left = cast(x0, 'uint64') * 0xD2511F53
        right = cast(x2, 'uint64') * 0xCD9E8D57
        x0 = cast(right >> 32, 'uint32') ^ x1 ^ k0
        x1 = cast(right, 'uint32')
        x2 = cast(left >> 32, 'uint32') ^ x3 ^ k1
        x3 = cast(left, 'uint32')
        k0 = k0 + 0x9E3779B9
        k1 = k1 + 0xBB67AE85
    return (x0 if word == 0 else x1) if word < 2 else (x2 if word == 2 else x3)
"""

# A draw is a function of (seed, stream, call, element); `symnet.ops.philox` says how the key and
# the counter are made of them, and is the meaning that these are held to.
_DRAWS = (
    """
def random_word(seed: T, stream: T, call: T, trial: T, block: T, word: uint32) -> uint32:
    '''Word 0 to 3 of a block.'''
    key0 = cast(seed, 'uint32')
    key1 = cast(seed >> 32, 'uint32')
    c0 = cast(block, 'uint32')
    c1 = cast(trial, 'uint32')
    c2 = cast(call, 'uint32')
    c3 = cast(stream, 'uint32')
    return philox(word, key0, key1, c0, c1, c2, c3)
""",
    """
def random_uint32(seed: T, stream: T, call: T, trial: T, element: T) -> uint32:
    '''32 random bits; four neighbouring elements share a block.'''
    return random_word(seed, stream, call, trial, element >> 2, cast(element & 3, 'uint32'))
""",
    """
def uniform_float32(seed: T, stream: T, call: T, element: T) -> float32:
    '''Uniform in [0, 1), a multiple of 2**-24.'''
    high = random_uint32(seed, stream, call, 0, element) >> 8
    return cast(high, 'float32') * 5.9604644775390625e-08
""",
    """
def uniform_float64(seed: T, stream: T, call: T, element: T) -> float64:
    '''Uniform in [0, 1), a multiple of 2**-53.'''
    word = cast(element & 1, 'uint32') * 2
    high = random_word(seed, stream, call, 0, element >> 1, word) >> 5
    low = random_word(seed, stream, call, 0, element >> 1, word + 1) >> 6
    return (cast(high, 'float64') * 67108864 + cast(low, 'float64')) * 1.1102230246251565e-16
""",
    """
def normal_float32(seed: T, stream: T, call: T, element: T) -> float32:
    '''Standard normal, by Box and Muller's method: two neighbours share two words.'''
    word = cast(element & 2, 'uint32')
    first = random_word(seed, stream, call, 0, element >> 2, word)
    second = random_word(seed, stream, call, 0, element >> 2, word + 1)
    a = cast(cast(first, 'float64') + 1, 'float32') * 2.3283064365386963e-10
    b = cast(second >> 8, 'float32') * 5.9604644775390625e-08
    turns = b if (element & 1) == 0 else b - 0.25
    return sqrt(-2 * log_of_draw(a)) * cosine_of_turns(turns)
""",
    """
def normal_float64(seed: T, stream: T, call: T, element: T) -> float64:
    '''Standard normal, by Box and Muller's method: two neighbours share two uniform numbers.'''
    a = 1 - uniform_float64(seed, stream, call, element & 0xFFFFFFFFFFFFFFFE)
    b = uniform_float64(seed, stream, call, element | 1)
    turns = b if (element & 1) == 0 else b - 0.25
    return sqrt(-2 * log_of_draw(a)) * cosine_of_turns(turns)
""",
)
