"""The texts of the library's functions: takes nothing, hands on (text, dtype, words) for each function.

In a text, `T` is the dtype of the first argument and each word of `words` stands for its value; how a
text is read says `symnet.compile.library`. The functions of floats have no branches and no calls, so
that a loop of them vectorises, and compute what the names say for every input: NaN, infinities, zeros of
both signs, subnormal numbers and results, and overflow. Errors stated are the largest found against
mpmath by tests/compile/test_library.py.
"""

from __future__ import annotations

from collections.abc import Iterator

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
        words = _words(dtype)
        for text in (_MOD, _FLOORDIV, _EXP, _EXPM1, _LOG_OF_MANTISSA, _LOG, _LOG1P, _TANH, _SIGMOID):
            yield text, dtype, words
    yield _PHILOX, "uint32", {}
    for text in (*_DRAWS, _normal("float32"), _normal("float64")):
        yield text, "uint64", {}


def _horner(variable: str, coefficients: tuple[float, ...]) -> str:
    text = repr(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        text = f"({c!r} + {variable} * {text})"
    return text


# --- integers and division -------------------------------------------------------------------------

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

# --- exponentials and logarithms -------------------------------------------------------------------

# Minimax coefficients, lowest power first, and ln 2 in two parts of which the first has few bits:
# `python tools/minimax.py`. "exp": (exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2. "log":
# (log((1 + s) / (1 - s)) - 2 * s) / s**3 as a polynomial in s**2 for 1 + f = (1 + s) / (1 - s) between
# sqrt(1/2) and sqrt(2).
COEFFICIENTS: dict[tuple[str, str], tuple[float, ...]] = {
    ("exp", "float32"): (  # relative error 3.8e-9
        0.4999999403953552,
        0.1666652113199234,
        0.04166838899254799,
        0.008368716575205326,
        0.0013814597623422742,
    ),
    ("log", "float32"): (  # relative error 4.4e-10
        0.6666666269302368,
        0.4000033438205719,
        0.2853730022907257,
        0.23582293093204498,
    ),
    ("exp", "float64"): (  # relative error 1.1e-17
        0.5000000000000011,
        0.16666666666666413,
        0.041666666666530155,
        0.008333333333494461,
        0.0013888888943630134,
        0.00019841269506578723,
        2.480149309888739e-05,
        2.755758637378518e-06,
        2.763024838532302e-07,
        2.500006162553128e-08,
    ),
    ("log", "float64"): (  # relative error 1.9e-18
        0.6666666666666734,
        0.39999999999414326,
        0.2857142874247393,
        0.22222198563598602,
        0.1818356486025034,
        0.15314036009114804,
        0.1479610363645196,
    ),
}
LN2 = {
    "float32": (0.693145751953125, 1.428606765330187e-06),
    "float64": (0.6931471805601177, -1.7239444525614835e-13),
}


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
        "TANH_MOST": "10.0" if single else "22.0",
        "TINY": "1e-8" if single else "1e-17",
        "EXP_POLYNOMIAL": _horner("r", COEFFICIENTS["exp", dtype]),
        "LOG_POLYNOMIAL": _horner("z", COEFFICIENTS["log", dtype]),
        "ROOT_HALF_BITS": hex(0x3F3504F3 if single else 0x3FE6A09E667F3BCD),
        "FRACTION_MASK": hex(2**fraction - 1),
        "LEAST_NORMAL": repr(2.0**-126 if single else 2.0**-1022),
        "TWO_TO_FRACTION": repr(2.0**fraction),
    }


# x = n ln 2 + r (Cody and Waite's reduction in two steps), exp(x) = 2**n exp(r). The power of two is
# multiplied in two halves, so that neither overflows and a subnormal result is rounded once.
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

# 2**n exp(r) - 1 = 2 ((2**(n-1) - 1/2) + 2**(n-1) (exp(r) - 1)), of which no part overflows early; what
# the rounding of r lost goes into the small terms.
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

# The form of the logarithm near 1 that fdlibm has: with s = f / (2 + f), log(1 + f) is
# f - (f**2 / 2 - s (f**2 / 2 + R(s))); `rest` is a small number to be added.
_LOG_OF_MANTISSA = """
def log_of_mantissa(f: T, k: T, rest: T) -> T:
    '''k ln 2 + log(1 + f) + rest, for 1 + f from sqrt(1/2) to sqrt(2).'''
    s = f / (2 + f)
    z = s * s
    remainder = z * LOG_POLYNOMIAL
    half_square = 0.5 * f * f
    small = s * (half_square + remainder) + (k * LN2_LOW + rest)
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
# log(1 + x) from u = 1 + x as rounded; what was lost, x - (u - 1), over u is the correction. Where no
# power of two is taken out, x itself is used and nothing was lost.
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
_TANH = """
def tanh(x: T) -> T:
    '''The hyperbolic tangent, from expm1(2 |x|): at most 2.5 ulp off.'''
    size = abs(x)
    e = expm1(2 * (TANH_MOST if size > TANH_MOST else size))
    return copysign(e / (e + 2), x)
"""
_SIGMOID = """
def sigmoid(x: T) -> T:
    '''1 / (1 + exp(-x)), without overflow: at most 2.5 ulp off.'''
    small = exp(-abs(x))
    return (1 if x >= 0 else small) / (1 + small)
"""

# --- random numbers --------------------------------------------------------------------------------

# J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3 (2011).
_PHILOX = """
def philox(word: uint32, key0: uint32, key1: uint32, c0: uint32, c1: uint32, c2: uint32, c3: uint32) -> uint32:
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

# A draw is a function of (seed, stream, call, element), see symnet.ops.philox for the convention.
_DRAWS = (
    """
def random_word(seed: T, stream: T, call: T, block: T, word: uint32) -> uint32:
    '''Word 0 to 3 of a block of four: the key is the seed, the counter block, call and stream.'''
    high = cast((block >> 32) & 0xFFFF, 'uint32') | (cast(call, 'uint32') << 16)
    return philox(word, cast(seed, 'uint32'), cast(seed >> 32, 'uint32'), cast(block, 'uint32'), high, cast(call >> 16, 'uint32'), cast(stream, 'uint32'))
""",
    """
def random_uint32(seed: T, stream: T, call: T, element: T) -> uint32:
    '''32 random bits; four neighbouring elements share a block.'''
    return random_word(seed, stream, call, element >> 2, cast(element & 3, 'uint32'))
""",
    """
def random_uint64(seed: T, stream: T, call: T, element: T) -> uint64:
    '''64 random bits, the low half first; two neighbouring elements share a block.'''
    word = cast(element & 1, 'uint32') * 2
    low = cast(random_word(seed, stream, call, element >> 1, word), 'uint64')
    high = cast(random_word(seed, stream, call, element >> 1, word + 1), 'uint64')
    return low | (high << 32)
""",
    """
def uniform_float32(seed: T, stream: T, call: T, element: T) -> float32:
    '''Uniform in [0, 1), a multiple of 2**-24.'''
    return cast(random_uint32(seed, stream, call, element) >> 8, 'float32') * 5.9604644775390625e-08
""",
    """
def uniform_float64(seed: T, stream: T, call: T, element: T) -> float64:
    '''Uniform in [0, 1), a multiple of 2**-53.'''
    return cast(random_uint64(seed, stream, call, element) >> 11, 'float64') * 1.1102230246251565e-16
""",
)

# M. J. Wichura: Algorithm AS 241, the percentage points of the normal distribution (1988): quotients of
# polynomials (lowest power first, the divisor's leading 1 left out) in 0.180625 - q**2 for the middle
# 85%, and in sqrt(-log(p)) less 1.6 and less 5 for the tails. PPND7 and PPND16.
_NORMAL_TABLES = {
    "float32": [
        (
            (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
            (17.895169469, 78.757757664, 67.187563600),
        ),
        ((1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (0.73700164250, 0.12021132975)),
    ],
    "float64": [
        (
            (
                3.3871328727963666080,
                133.14166789178437745,
                1971.5909503065514427,
                13731.693765509461125,
                45921.953931549871457,
                67265.770927008700853,
                33430.575583588128105,
                2509.0809287301226727,
            ),
            (
                42.313330701600911252,
                687.18700749205790830,
                5394.1960214247511077,
                21213.794301586595867,
                39307.895800092710610,
                28729.085735721942674,
                5226.4952788528545610,
            ),
        ),
        (
            (
                1.42343711074968357734,
                4.63033784615654529590,
                5.76949722146069140550,
                3.64784832476320460504,
                1.27045825245236838258,
                0.241780725177450611770,
                0.0227238449892691845833,
                7.74545014278341407640e-4,
            ),
            (
                2.05319162663775882187,
                1.67638483018380384940,
                0.689767334985100004550,
                0.148103976427480074590,
                0.0151986665636164571966,
                5.47593808499534494600e-4,
                1.05075007164441684324e-9,
            ),
        ),
        (
            (
                6.65790464350110377720,
                5.46378491116411436990,
                1.78482653991729133580,
                0.296560571828504891230,
                0.0265321895265761230930,
                1.24266094738807843860e-3,
                2.71155556874348757815e-5,
                2.01033439929228813265e-7,
            ),
            (
                0.599832206555887937690,
                0.136929880922735805310,
                0.0148753612908506148525,
                7.86869131145613259100e-4,
                1.84631831751005468180e-5,
                1.42151175831644588870e-7,
                2.04426310338993978564e-15,
            ),
        ),
    ],
}


def _choice(numbers: list[float], dtype: str) -> str:
    """The number for the region: central, middle or, where there is one, tail."""
    *first, last = numbers
    text = f"cast({last!r}, '{dtype}')"
    for number, region in reversed(list(zip(first, ("central", "middle"), strict=False))):
        text = f"({number!r} if {region} else {text})"
    return text


def _normal(dtype: str) -> str:
    """The text of normal_float32 or normal_float64."""
    single = dtype == "float32"
    bits = 32 if single else 64
    kept = 31 if single else 53
    tables = _NORMAL_TABLES[dtype]
    longest = len(tables[0][0])
    scale = repr(2.0 ** -(kept + 1))
    lines = [
        f"def normal_{dtype}(seed: T, stream: T, call: T, element: T) -> {dtype}:",
        f"    '''Standard normal: the inverse distribution function of {bits} random bits.'''",
        f"    bits = random_uint{bits}(seed, stream, call, element)",
        f"    below = (bits & {hex(2 ** (bits - 1) - 1)}) >> {bits - 1 - kept}",
        f"    p = (cast(below, '{dtype}') + 0.5) * {scale}",
        f"    q = (cast({hex(2**kept)} - below, '{dtype}') - 0.5) * {scale}",
        "    r = sqrt(-log(p))",
        "    central = q <= 0.425",
        "    middle = r <= 5",
        f"    t = 0.180625 - q * q if central else r - (1.6 if middle else cast(5, '{dtype}'))",
    ]
    for name, part in (("top", 0), ("bottom", 1)):
        columns = [[*table[part], *[0.0] * longest][: longest - part] for table in tables]
        for power in reversed(range(longest - part)):
            choice = _choice([column[power] for column in columns], dtype)
            first = power == longest - part - 1
            lines.append(f"    {name} = {choice}" if first else f"    {name} = {name} * t + {choice}")
    lines += [
        f"    size = (q if central else cast(1, '{dtype}')) * top / (bottom * t + 1)",
        f"    return size if (bits >> {bits - 1}) != 0 else -size",
    ]
    return "\n".join(lines)
