"""Takes texts of kernels, holds what their compiled code does, run thread for thread, to what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from symnet.backend.cuda import nvvm
from symnet.compile import nest

from .text_runs import Arrays, assert_as_simulated, by_device, by_expressions, source_of

#: One thread for each number.
NUMBERS = np.array([*range(-12, 13), 63, -64, 1 << 40, -(1 << 40), (1 << 62) + 5, -(1 << 62) - 7, 100])
COUNT = len(NUMBERS)
REALS = np.array([*np.linspace(-3, 3, COUNT - 6), 0.0, -0.0, np.nan, np.inf, -np.inf, 1e300])


def memory(width: int = 8) -> Arrays:
    """`n` and `x` have a number for each thread; `out` and `real` have room for `width` of each's."""
    return {
        "n": NUMBERS.copy(),
        "x": REALS.copy(),
        "out": np.full(COUNT * width, -99),
        "real": np.full(COUNT * width, -99.0),
    }


#: Of `n[i]` and `x[i]`, into `out[i * 8]` and behind it.
STATEMENTS = {
    "assignments": """
a = b = out[i * 8] = n[i]
c, d = b + 1, a
c, d = d, c
e, f = (c, d)
out[i * 8 + 1], real[i * 8] = e * 10 + f, x[i]
pass
""",
    "augmented assignments": """
a = n[i]
a += 3
a -= 1
a *= 2
a //= 3
a %= 50
a <<= 2
a >>= 1
a |= 64
a &= 127
a ^= 21
out[i * 8] = a
out[i * 8] += n[i]
out[i * 8 + 1] = 5
out[i * 8 + 1] *= out[i * 8] - 1
y = x[i]
y *= 0.5
y -= 1.0
y /= 3.0
real[i * 8] = y
""",
    "branches": """
a = np.int64(0)
if n[i] > 4:
    a = np.int64(1)
elif n[i] > 0:
    a = np.int64(2)
    if n[i] == 2:
        a = np.int64(20)
elif n[i] == 0:
    pass
else:
    a = np.int64(3)
    if n[i] < -6:
        b = a * 5
    else:
        b = a * 7
    a = b
out[i * 8] = a
if x[i] < 1.0:
    out[i * 8 + 1] = 4
""",
    "returns": """
out[i * 8] = 1
if n[i] > 6:
    return
if n[i] < -6:
    out[i * 8] = 2
    if n[i] & 1 == 0:
        return
    out[i * 8 + 1] = 3
elif n[i] == 0:
    return
else:
    if n[i] == 1:
        return
    out[i * 8] += 4
for j in range(n[i]):
    if j == 3:
        return
    out[i * 8 + 2] = j
out[i * 8 + 3] = 6
""",
    "every way returns": """
if n[i] > 0:
    out[i * 8] = 1
    return
else:
    out[i * 8] = 2
    return
""",
    "ranges": """
total = np.int64(0)
last = np.int64(-7)
for j in range(4):
    total = total * 10 + j
for j in range(n[i] & 7, 9):
    total = total * 10 + j
for j in range(2, 30, 7):
    total = total * 10 + j
for j in range(9, n[i] & 3, -2):
    total = total * 10 + j
for j in range(5, 5):
    total = np.int64(-1)
for j in range(3):
    last = j
    for k in range(j, -3, -1):
        total += k * j
        j = 5
    total += j
out[i * 8] = total
out[i * 8 + 1] = last
""",
    "whiles": """
a = n[i]
turns = 0
while a > 1 and turns < 20:
    if a & 1 == 1:
        a = a * 3 + 1
    else:
        a >>= 1
    turns += 1
while True:
    turns += 2
    if turns > 9:
        out[i * 8] = turns
        out[i * 8 + 1] = a
        return
""",
    "conditions stop where they are known": """
limit = np.int64(32)
if i < limit and n[i] > 0 and n[n[i] & 31] > -5 and x[i] > -1.0:
    out[i * 8] = 1
far = i + 1000000
if far >= limit or n[far] > 0:
    out[i * 8 + 1] = 2
if not (far < limit and n[far] > 0) and (i == 3 or i == 5 or i == 7):
    out[i * 8 + 2] = 3
out[i * 8 + 3] = n[far] if far < limit else 4
out[i * 8 + 4] = 1 if n[i] < 0 else 2 if n[i] == 0 else n[i]
""",
    "conditions of floats": """
y = x[i]
out[i * 8] = np.int64(y < 1.0) * 32 + np.int64(y <= 1.0) * 16 + np.int64(y > 1.0) * 8
out[i * 8 + 1] = np.int64(y == 1.0) * 4 + np.int64(y != y) * 2 + np.int64(y >= 1.0)
out[i * 8 + 2] = np.int64(not y < 0.0) + np.int64(y == -0.0) * 2 + np.int64(math.nan == y) * 4
out[i * 8 + 3] = np.int64((y < math.inf) & (y > -math.inf) | (y == 0.0) ^ (y != -3.0))
out[i * 8 + 4] = np.int64(y > -2) + np.int64(7 == y)
real[i * 8] = -y
real[i * 8 + 1] = 1.0 / -y
real[i * 8 + 2] = -0.0
real[i * 8 + 3] = -math.inf
real[i * 8 + 4] = y if y > 0.0 else -y
""",
    "names that one way gives": """
more = n[i] > 0
if more:
    a = n[i] * 3
    b, c = a + 1, x[i]
out[i * 8] = 1
if i & 1 == 0:
    out[i * 8 + 1] = 2
if more:
    out[i * 8 + 2] = a + b
    real[i * 8] = c
if n[i] == 4:
    d = np.int64(8)
elif n[i] == 5:
    d = np.int64(9)
else:
    return
out[i * 8 + 3] = d
""",
}


@pytest.mark.parametrize("lines", STATEMENTS.values(), ids=STATEMENTS)
def test_statements(lines):
    assert_as_simulated(lines, memory(), COUNT)


# --- expressions ---------------------------------------------------------------------------------


def inputs() -> Arrays:
    """By a short name, numbers of every dtype, the least and greatest among them; and conditions `p`, `q`."""
    made: Arrays = {}
    for dtype in nest.INTEGERS:
        limits = np.iinfo(dtype)
        some = [limits.min, limits.max, 0, 1, 2, 3, 5, 7, limits.max // 3, limits.max - 1, 100, 64]
        made[f"{dtype[0]}{dtype.lstrip('uint')}"] = np.array(
            [*some, *([-1, -5] if limits.min else [4, 6])], dtype
        )
    made["f32"] = np.array(
        [0, -0.0, 1, 2.5, -3.75, np.nan, np.inf, -np.inf, 1e-40, 3e38, 0.1, 7, -1e9, 16777216], "f4"
    )
    made["f64"] = np.array(
        [1, 2, -0.0, 0.1, 1e300, np.inf, np.nan, -7, 5e-324, 0.5, 1 / 3, 3, -2, 16777217.0]
    )
    made["p"], made["q"] = np.arange(14) % 3 == 0, np.arange(14) % 2 == 0
    # No two orders alike, so that each meets others.
    return {name: np.roll(each, 3 * number) for number, (name, each) in enumerate(made.items())}


SIGNED, UNSIGNED = ("i8", "i16", "i32", "i64"), ("u8", "u16", "u32", "u64")
PAIRS = [("i32", "i64"), ("i8", "u8"), ("i64", "u64"), ("u32", "i32"), ("u32", "u64"), ("u16", "i16")]
EXPRESSIONS = {
    "operators of integers": [
        f"{a} {sign} {b}" for a, b in PAIRS for sign in ("+", "-", "*", "//", "%", "&", "|", "^")
    ],
    "integers are as wide as the widest": [
        *("i32 + i32", "i32 * i32", "u32 * u32 - i64", "u8 - u8", "-i32", "-u32", "-u64"),
        *("~i8", "~u8", "~u64", "-np.uint8(3)", "-np.int32(3)", "-np.uint64(3)", "~np.uint16(3)"),
        "np.int32(7) // np.int32(-2)",
        *("i64 % -7", "-7 // i64", "-7 % i32", "u64 % 7", "u64 // np.uint64(10)", "i64 // 0", "u8 % u8"),
    ],
    "shifts": [
        *("i64 << 3", "i64 >> 3", "i32 << 31", "i32 >> 40", "u64 >> 3", "u32 << 33", "u32 >> 1", "u64 << 63"),
        *("i8 >> 7", "i64 << (u8 & 63)", "u64 >> (i32 & 31)", "u64 >> (u64 & 63)", "1 << (i8 & 15)"),
    ],
    "comparisons": [
        f"{a} {sign} {b}"
        for a, b in [
            *(("i8", "i64"), ("i32", "u32"), ("u8", "i8"), ("u64", "u64"), ("u16", "u64"), ("i64", "u32")),
            *(("u64", "5"), ("9223372036854775808", "u64"), ("i64", "-5"), ("u32", "-1"), ("f32", "f64")),
            *(("f64", "f64"), ("f32", "7"), ("2", "f64"), ("p", "q"), ("f32", "16777216"), ("u64", "u8")),
        ]
        for sign in ("<", "<=", "==", "!=", ">", ">=")
    ],
    "bools": [
        *("p & q", "p | q", "p ^ q", "~p", "not p", "p and q", "p or q", "p and q and i32 > 0 or not q"),
        *("p == q", "True", "p != False", "p if q else False", "np.bool_(u8)", "np.bool_(f32)"),
    ],
    "floats": [
        *("f32 + f32", "f32 - f64", "f32 / f64", "f64 / f64", "f32 * 0.1", "-f32", "-f64"),
        *("-(-f64)", "0.0 - f64", "f32 + 0.5", "f32 * f32", "math.inf - f64", "-math.inf + f32"),
        *("math.nan", "-0.0", "1.0 / -0.0"),
        *("np.float32(0.1) + np.float32(0.2)", "np.float32(0.1) + 0.2", "-np.float32(0.0)", "1e400"),
    ],
    "choices": [
        *("i32 if p else i64", "i8 if p else u16", "u64 if p else 7", "0 if p else u64", "f32 if p else f64"),
        *("f32 if p else -0.0", "1 if p else 2 if q else i8", "u8 if p else u32", "(1 if p else 2) + i32"),
        *("min(i32, i64)", "max(i8, u32)", "min(u64, 5)", "max(u64, u8)", "max(-3, i64)"),
        *("abs(i32)", "abs(i64)", "abs(u8)", "abs(i8)", "min(u8, u16)", "abs(-5)", "max(2, 3)"),
    ],
    "numbers that stand in the text": [
        *("9223372036854775807", "-9223372036854775808", "18446744073709551615", "-(-9223372036854775808)"),
        *("u64 * 15287482434086399187", "np.int64(18446744073709551615)", "np.int32(4294967295) + 0"),
        *("np.uint64(-1) >> 1", "np.uint8(300)", "np.int8(200)", "np.uint64(np.int32(-1))", "- - -5"),
        *("np.uint64(9223372036854775808) // 3", "-9223372036854775808 - i64", "-(1 << 62)", "True & p"),
        "np.int64(True) + 1",
    ],
    "functions of integers": [
        *(f"math.{name}({a}, {b})" for a, b in (("i64", "np.int64(i8)"), ("u64", "np.uint64(u8)")) for name in
          ("floordiv", "mod", "fmod", "maximum", "minimum", "shift_left", "shift_right")),
        *(f"math.{name}({a})" for a in ("i32, np.int32(i8)", "u8, np.uint8(u16)") for name in
          ("floordiv", "mod", "fmod", "shift_left", "shift_right")),
        *("math.abs(i8)", "math.sign(i16)", "math.sign(u16)", "math.where(p, i8, np.int8(3))"),
        *("math.where(p, q, p)", "math.maximum(i8, np.int8(3))", "math.minimum(u16, np.uint16(300))"),
        *("math.mul_wide(u32, np.uint32(i64))", "math.bits_of(f32)", "math.bits_of(f64)"),
        *("math.from_bits(u32)", "math.from_bits(u64)"),
    ],
    "functions of floats": [
        *(f"math.{name}({a})" for a in ("f32", "f64") for name in (
            "floor", "ceil", "trunc", "rint", "round_half_away", "abs", "sign", "sqrt", "isnan", "isinf")),
        *(f"math.{name}({a}, -{a} / np.float{a[1:]}(3))" for a in ("f32", "f64") for name in (
            "maximum", "minimum", "copysign")),
        *("math.where(p, f32, np.float32(f64))", "math.maximum(f32, np.float32(f64))"),
        "math.fma(f64, f64, f64)", "math.fma(f32, f32, -f32)",
    ],
}  # fmt: skip


@pytest.mark.parametrize("texts", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions(texts):
    found, wanted = by_expressions(texts, inputs())
    for text, mine, its in zip(texts, found, wanted, strict=True):
        np.testing.assert_array_equal(mine, its, err_msg=text)
        if its.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(mine[its == 0]), np.signbit(its[its == 0]), err_msg=text)


def test_every_dtype_is_cast_to_every_other():
    """Integers wrap, floats lose what is behind the point; those beyond an integer are no text's."""
    given = inputs()
    for dtype in nest.FLOATS:
        given[f"small{dtype[5:]}"] = np.array(
            [0.0, -0.0, 0.5, 0.99, 1, 1.5, 2.5, 63.9, 99, 100.25, 120, 127, 3, 4], dtype
        )
        given[f"below{dtype[5:]}"] = -given[f"small{dtype[5:]}"]
    dtypes = ("bool_", *nest.INTEGERS, *nest.FLOATS)
    texts = [f"np.{to}({name})" for to in dtypes for name in (*SIGNED, *UNSIGNED, "p")]
    texts += [f"np.{to}({name})" for to in ("bool_", *nest.FLOATS) for name in ("f32", "f64")]
    texts += [f"np.{to}(small{bits})" for to in nest.INTEGERS for bits in (32, 64)]
    texts += [f"np.{to}(below{bits})" for to in nest.INTEGERS if to[0] == "i" for bits in (32, 64)]
    found, wanted = by_expressions(texts, given)
    for text, mine, its in zip(texts, found, wanted, strict=True):
        np.testing.assert_array_equal(mine, its, err_msg=text)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
def test_entries_are_cast_as_they_are_stored(dtype):
    lines = "a[i] = n[i]\na[i + 32] = np.int8(-5)" if dtype[0] == "i" else "a[i] = x[i] / 3.0"
    found = by_device(
        source_of(lines, memory() | {"a": np.zeros(64, dtype)}), memory() | {"a": np.zeros(64, dtype)}, COUNT
    )
    with np.errstate(over="ignore"):
        wanted = NUMBERS.astype(dtype) if dtype[0] == "i" else (REALS / 3).astype(dtype)
    np.testing.assert_array_equal(found["a"][:COUNT], wanted)
    np.testing.assert_array_equal(found["a"][32:], -5 if dtype[0] == "i" else 0)


MOVES = """
one = cuda.shared.array(64, np.{dtype})
two = cuda.shared.array(256, np.{dtype}, 32)
a, b = load2(first, i * 2)
four = load4(second, i * 4)
again = four
store2(first, (31 - i) * 2 + 64, b, a)
store4(second, 128 + i * 4, four[3], four[2], again[1], four[0])
one[i] = a
one[i + 32] = four[0]
shared_store(two, i * 4, 0, a)
shared_store(two, np.uint32(i) * np.uint32(4), 1, b)
shared_store(two, i * 4, np.int32(2), four[1])
shared_store(two, np.int32(i * 4), 3, four[2])
cuda.syncthreads()
other = one[31 - i] - one[32 + (i ^ 5)]
c, d = shared_load2(two, (i ^ 1) * 4, 2)
(e,) = shared_load1(two, np.uint32(i ^ 3), 40)
six = shared_load4(two, (31 - i) * 4, 0) + (c, d)
turned = six[4:] + six[:4] + six[1:3]
cuda.syncthreads()
one[i] = other
view = one
out[i * 8] = view[i]
out[i * 8 + 1] = e
store2(out, i * 8 + 2, turned[0], turned[1])
store4(out, i * 8 + 4, turned[2], turned[5], turned[6], turned[7])
cuda.syncthreads()
swapped = lane_swap(a, 1)
swapped = lane_swap(swapped, np.int32(16))
view[i] = swapped
shared_store(two, i, 64, lane_swap(view[i], 4))
out[i * 8 + 1] += two[i + 64]
"""


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_numbers_move_together(dtype):
    """Several at once, through shared memory, and from lane to lane."""
    arrays = {
        "first": (np.arange(128) - (0 if dtype == "uint8" else 64)).astype(dtype),
        "second": (np.arange(256) * 3 % 101).astype(dtype),
        "out": np.zeros(256, dtype),
    }
    # Integers meet in 64 bits, the simulator's do not.
    lines = MOVES.format(dtype=dtype).replace("other = ", f"other = np.{dtype}(").replace("^ 5)]", "^ 5)])")
    found = assert_as_simulated(lines, arrays)
    assert (found["out"] != 0).any()


def test_tiles_of_products():
    """Whole numbers, whose products and sums are exact whether or not they are rounded once."""
    lines = """
zeros = (0.0, 0.0)
sums = zeros + zeros + (1.0, 2.0)
for step in range(n[i] & 3):
    rows = (x[i], x[i] + 1.0, 5.0)
    sums = multiply_add(sums, rows, (2.0, x[i] - 3.0))
out[i] = quotient(n[i], 7)
out[i + 32] = np.int64(quotient(np.int32(n[i]), (n[i] | 1) << 32))
out[i + 64] = quotient(np.uint8(n[i]), np.int32(n[i] | 1))
out[i + 96] = quotient(np.int32(n[i] * 99), np.uint8(n[i] | 192))
for column in range(1):
    store4(real, i * 8, sums[0], sums[1], sums[2], sums[3])
    store2(real, i * 8 + 4, sums[4], sums[5])
"""
    arrays = memory() | {"n": np.arange(COUNT), "x": np.arange(COUNT) - 9.0}
    found = assert_as_simulated(lines, arrays, COUNT)
    np.testing.assert_array_equal(found["out"][:COUNT], arrays["n"] // 7)


# --- what goes wrong easily ----------------------------------------------------------------------


def test_a_range_ends_near_the_greatest_number():
    """int32 counts up to its end; a step that would leave it does not begin again from below."""
    most, least = 2**31 - 1, -(2**31)
    lines = f"""
last = np.int32({most})
total = np.int64(0)
for j in range(np.int32({most - 5}), last, np.int32(4)):
    total += j
out[i] = total
total = np.int64(0)
for j in range(np.int32({least + 5}), np.int32({least}), np.int32(-4)):
    total += j
out[i + 32] = total
total = np.int64(0)
for j in range(np.int32({most - 3}), last):
    total = total * 2 + j
out[i + 64] = total
"""
    arrays = {"out": np.zeros(96, np.int64)}
    found = by_device(source_of(lines, arrays), arrays, 32)["out"].reshape(3, 32)
    ranges = [range(most - 5, most, 4), range(least + 5, least, -4)]
    assert [set(row) for row in found[:2].tolist()] == [{sum(each)} for each in ranges]
    assert set(found[2]) == {4 * (most - 3) + 2 * (most - 2) + most - 1}


def test_sums_of_thousands_of_terms():
    lines = f"out[i] = {' + '.join(f'n[i] * {number}' for number in range(2000))}"
    found = by_device(source_of(lines, memory()), memory(), 8)["out"]
    np.testing.assert_array_equal(found[:8], NUMBERS[:8] * (1999 * 1000))


def test_hundreds_of_choices():
    """As many works may share a kernel, each with blocks of its own."""
    lines = ["if n[i] == 1000:", "    out[i] = 0"]
    for number in range(-300, 300):
        lines += [f"elif n[i] == {number}:", f"    out[i] = {number * 3}"]
    lines += ["else:", "    out[i] = 1"]
    lines += [f"if {' or '.join(f'n[i] == {number}' for number in range(400))}:", "    out[i] += 5"]
    found = by_device(source_of("\n".join(lines), memory()), memory(), COUNT)["out"][:COUNT]
    inside, after = abs(NUMBERS) < 300, (NUMBERS >= 0) & (NUMBERS < 400)
    np.testing.assert_array_equal(found, np.where(inside, NUMBERS * 3, 1) + 5 * after)


def test_a_kernel_may_have_the_name_of_a_shared_array():
    for name in ("shared_0", "k", "places", "a"):
        source = f"def {name}(a):\n    b = cuda.shared.array(4, np.int32)\n    b[0] = 1\n    a[0] = b[0]\n"
        assert f".visible .entry {name}(" in nvvm.compile(source, name, ["int32"], (9, 0))


def test_names_are_any_of_pythons():
    lines = "größe = n[i]\nend = then = loop = größe\nout[i] = end + then + loop"
    arrays = memory()
    np.testing.assert_array_equal(
        by_device(source_of(lines, arrays), arrays, COUNT)["out"][:COUNT], NUMBERS * 3
    )


@pytest.mark.parametrize("compute", [(7, 5), (8, 0), (9, 0)])
def test_extremes_hand_nan_on_on_every_device(compute):
    reals = np.array([np.nan, 1, np.nan, -np.inf, 2, 3], np.float32)
    arrays = {"a": reals, "b": np.roll(reals, 1), "out": np.zeros(12, np.float32)}
    lines = "out[i] = math.maximum(a[i], b[i])\nout[i + 6] = math.minimum(a[i], b[i])"
    found = by_device(source_of(lines, arrays), arrays, 6, compute)["out"]
    np.testing.assert_array_equal(found[:6], np.maximum(reals, np.roll(reals, 1)))
    np.testing.assert_array_equal(found[6:], np.minimum(reals, np.roll(reals, 1)))
