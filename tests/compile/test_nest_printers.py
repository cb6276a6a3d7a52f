"""Both printers of the nest form against NumPy: every function and dtype, every statement."""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from cuda_backend.simulating import by_simulator
from llvmlite import ir
from running import by_llvm, by_numba, ulps

from symnet.backend.cpu import llvm, print_llvm
from symnet.backend.cpu.numba_nest import compile_numba
from symnet.compile import nest
from symnet.compile.nest import (
    BOOL,
    FLOATS,
    INDEX,
    INTEGERS,
    Accumulate,
    Assign,
    BufferParameter,
    Call,
    Cast,
    Declare,
    Fail,
    For,
    If,
    Let,
    Literal,
    Load,
    Name,
    Nest,
    Select,
    Store,
)
from symnet.compile.print_numba import print_nest
from symnet.compile.scalar import parse_scalar
from symnet.errors import CompileError

PRINTERS = {"llvm": by_llvm, "numba": by_numba, "cuda": by_simulator}
DTYPES = (BOOL, *INTEGERS, *FLOATS)
HERE = Name(INDEX, "i")
N = Name(INDEX, "n")


def corner_values(dtype: str) -> np.ndarray:
    if dtype == BOOL:
        return np.array([False, True])
    if dtype in INTEGERS:
        information = np.iinfo(dtype)
        least, most = information.min, information.max
        values = {least, least + 1, most, most - 1, most // 3, 0, 1, 2, 3, 7, information.bits}
        if least < 0:
            values |= {-1, -2, -3, -7, least // 3}
        return np.array(sorted(values), dtype)
    information = np.finfo(dtype)
    sizes = [0.0, information.smallest_subnormal, information.tiny, 0.25, 0.5, 0.49999997, 1.0, 1.5]
    sizes += [2.0, 2.5, 3.0, math.pi, 7.0, 40.0, 1e5, 2.0**24 + 2, 1e30, information.max, math.inf]
    return np.array([*sizes, *[-size for size in sizes], math.nan], dtype)


def operands(dtype: str) -> list[np.ndarray]:
    """All pairs of corner values, and a third operand."""
    pairs = np.array(list(itertools.product(corner_values(dtype), repeat=2)), dtype)
    a, b = (np.ascontiguousarray(column) for column in pairs.T)
    return [a, b, np.roll(a, 5)]


def integer_power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    information = np.iinfo(base.dtype)

    def power(b: int, e: int) -> int:
        if e < 0:
            return {1: 1, -1: -1 if e % 2 else 1}.get(b, 0)
        wrapped = pow(b, e, 1 << information.bits)
        return wrapped - (1 << information.bits) if wrapped > information.max else wrapped

    return np.array([power(int(b), int(e)) for b, e in zip(base, exponent, strict=True)], base.dtype)


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    result = a * b + c
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    for place in np.flatnonzero(finite):
        exact = Fraction(float(a[place])) * Fraction(float(b[place])) + Fraction(float(c[place]))
        try:
            rounded = float(exact)
        except OverflowError:
            rounded = math.inf if exact > 0 else -math.inf
        if exact != 0:
            result[place] = rounded
    return result


def gamma(x: float) -> float:
    if x == 0:
        return math.copysign(math.inf, x)
    if not math.isfinite(x) or (x < 0 and x.is_integer()):
        return math.inf if x > 0 else math.nan
    return math.inf if x > 200 else float(mpmath.gamma(x))


def lgamma(x: float) -> float:
    if not math.isfinite(x) or (x <= 0 and x.is_integer()):
        return math.nan if math.isnan(x) else math.inf
    return float(mpmath.loggamma(x) if x > 0 else mpmath.log(abs(mpmath.gamma(x))))


def each(function):
    """A function of Python's floats, of arrays."""

    def of_array(x: np.ndarray) -> np.ndarray:
        with mpmath.workdps(40):
            return np.array([function(float(value)) for value in x]).astype(x.dtype)

    return of_array


def half_away(x: np.ndarray) -> np.ndarray:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x).astype(x.dtype), whole)


#: Function: how many operands, NumPy's meaning, and for which dtypes ("b" bool, "i" integers, "f"
#: floats; the order of dtype kinds), and how many ulps apart floats may be.
EXACT = {
    "add": (2, np.add, "bif"),
    "sub": (2, np.subtract, "if"),
    "mul": (2, np.multiply, "bif"),
    "div": (2, np.divide, "f"),
    "floordiv": (2, np.floor_divide, "if"),
    "mod": (2, np.remainder, "if"),
    "fmod": (2, np.fmod, "if"),
    "neg": (1, np.negative, "if"),
    "abs": (1, np.abs, "bif"),
    "sign": (1, np.sign, "if"),
    "minimum": (2, np.minimum, "bif"),
    "maximum": (2, np.maximum, "bif"),
    "sqrt": (1, np.sqrt, "f"),
    "floor": (1, np.floor, "bif"),
    "ceil": (1, np.ceil, "bif"),
    "trunc": (1, np.trunc, "bif"),
    "rint": (1, np.rint, "if"),
    "round_half_away": (1, half_away, "if"),
    "copysign": (2, np.copysign, "f"),
    "bitwise_and": (2, np.bitwise_and, "bi"),
    "bitwise_or": (2, np.bitwise_or, "bi"),
    "bitwise_xor": (2, np.bitwise_xor, "bi"),
    "bitwise_not": (1, np.bitwise_not, "bi"),
    "shift_left": (2, np.left_shift, "i"),
    "shift_right": (2, np.right_shift, "i"),
    "eq": (2, np.equal, "bif"),
    "ne": (2, np.not_equal, "bif"),
    "lt": (2, np.less, "bif"),
    "le": (2, np.less_equal, "bif"),
    "gt": (2, np.greater, "bif"),
    "ge": (2, np.greater_equal, "bif"),
    "isnan": (1, np.isnan, "if"),
    "isinf": (1, np.isinf, "if"),
    "bits_of": (1, lambda x: x.view(nest.BITS_OF[x.dtype.name]), "f"),
}
#: The same for functions that are rounded.
ROUNDED = {
    "fma": (3, fused, 1),
    "pow": (2, np.power, 4),
    "exp": (1, np.exp, 4),
    "exp2": (1, np.exp2, 4),
    "expm1": (1, np.expm1, 4),
    "log": (1, np.log, 4),
    "log2": (1, np.log2, 4),
    "log10": (1, np.log10, 4),
    "log1p": (1, np.log1p, 4),
    "sin": (1, np.sin, 4),
    "cos": (1, np.cos, 4),
    "tan": (1, np.tan, 4),
    "arcsin": (1, np.arcsin, 4),
    "arccos": (1, np.arccos, 4),
    "arctan": (1, np.arctan, 4),
    "arctan2": (2, np.arctan2, 4),
    "sinh": (1, np.sinh, 4),
    "cosh": (1, np.cosh, 4),
    "tanh": (1, np.tanh, 4),
    "arcsinh": (1, np.arcsinh, 4),
    "arccosh": (1, np.arccosh, 4),
    "arctanh": (1, np.arctanh, 4),
    "sigmoid": (1, lambda x: np.exp(-np.logaddexp(0, -x.astype(np.longdouble))).astype(x.dtype), 4),
    "erf": (1, each(math.erf), 4),
    "erfc": (1, each(math.erfc), 4),
    "gamma": (1, each(gamma), 16),
    "lgamma": (1, each(lgamma), 16),
    "hypot": (2, np.hypot, 4),
}


def kind_of(dtype: str) -> str:
    return "b" if dtype == BOOL else "i" if dtype in INTEGERS else "f"


def functions_for(dtype: str) -> dict[str, tuple]:
    """Function: (operands, meaning, ulps) of the functions that a dtype has."""
    found = {name: (n, f, 0) for name, (n, f, kinds) in EXACT.items() if kind_of(dtype) in kinds}
    if dtype in FLOATS:
        found |= ROUNDED
    if dtype in INTEGERS:
        found["pow"] = (2, integer_power, 0)
        found["fma"] = (3, lambda a, b, c: a * b + c, 0)
    return found


def every_function(dtype: str) -> Nest:
    """One kernel that stores every function of a dtype in a buffer of its own."""
    inputs = ["a", "b", "c"]
    buffers = [BufferParameter(name, dtype, False) for name in inputs]
    body = []
    for function, (arity, _, _) in functions_for(dtype).items():
        value = nest.call(function, *[Load(dtype, name, HERE) for name in inputs[:arity]])
        buffers.append(BufferParameter(f"out_{function}", value.dtype, True))
        body.append(Store(f"out_{function}", HERE, value))
    loop = For("i", N, tuple(body), vector=True)
    return Nest(f"every_{dtype}", tuple(buffers), ("n",), (loop,))


def test_the_table_of_this_test_has_the_whole_dialect():
    assert set(EXACT) | set(ROUNDED) == {*nest.SAME, *nest.TO_BOOL, "bits_of"}


@pytest.mark.parametrize("printer", PRINTERS)
@pytest.mark.parametrize("dtypes", [DTYPES[:9], DTYPES[9:]], ids=["integers", "floats"])
def test_every_function_is_numpys(printer, dtypes):
    kernels = PRINTERS[printer]([every_function(dtype) for dtype in dtypes])
    for dtype in dtypes:
        a, b, c = operands(dtype)
        functions = functions_for(dtype)
        outputs = [
            np.zeros(a.size, buffer.dtype) for buffer in every_function(dtype).buffers if buffer.written
        ]
        assert kernels[f"every_{dtype}"](a, b, c, *outputs, a.size) == (0, [0, 0, 0, 0])
        for (function, (arity, meaning, most)), output in zip(functions.items(), outputs, strict=True):
            with np.errstate(all="ignore"):
                expected = np.asarray(meaning(*[a, b, c][:arity]))
            if output.dtype == BOOL or output.dtype.kind in "iu":
                wrong = output != expected
            else:
                wrong = ulps(output, expected) > most
                if function not in ("minimum", "maximum", "fma", "gamma"):
                    zero = (output == 0) & (expected == 0)
                    wrong |= zero & (np.signbit(output) != np.signbit(expected))
            places = np.flatnonzero(wrong)[:5]
            assert not places.size, (
                f"{printer} {function} {dtype}: of {[x[places] for x in (a, b, c)][:arity]} "
                f"{output[places]}, expected {expected[places]}"
            )


# --- conversions ----------------------------------------------------------------------------------


def every_cast() -> Nest:
    buffers, body = [], []
    for old in DTYPES:
        buffers.append(BufferParameter(f"from_{old}", old, False))
        for new in DTYPES:
            buffers.append(BufferParameter(f"from_{old}_to_{new}", new, True))
            body.append(Store(f"from_{old}_to_{new}", HERE, Cast(new, Load(old, f"from_{old}", HERE))))
    return Nest("every_cast", tuple(buffers), ("n",), (For("i", N, tuple(body)),))


def fits(values: np.ndarray, dtype: str) -> np.ndarray:
    """Where a float's conversion to an integer is defined."""
    if values.dtype.kind != "f" or dtype == BOOL or dtype in FLOATS:
        return np.ones(values.shape, bool)
    information = np.iinfo(dtype)
    return (np.trunc(values) >= information.min) & (np.trunc(values) < float(information.max))


@pytest.mark.parametrize("printer", PRINTERS)
def test_every_cast_is_numpys(printer):
    size = max(corner_values(dtype).size for dtype in DTYPES)
    sources = {dtype: np.resize(corner_values(dtype), size) for dtype in DTYPES}
    arrays = {f"from_{old}": sources[old] for old in DTYPES}
    for old, new in itertools.product(DTYPES, repeat=2):
        arrays[f"from_{old}_to_{new}"] = np.zeros(size, new)
    nest_ = every_cast()
    kernel = PRINTERS[printer]([nest_])["every_cast"]
    assert kernel(*[arrays[buffer.name] for buffer in nest_.buffers], size)[0] == 0
    for old, new in itertools.product(DTYPES, repeat=2):
        defined = fits(sources[old], new)
        with np.errstate(all="ignore"):
            expected = sources[old].astype(new)
        result = arrays[f"from_{old}_to_{new}"]
        np.testing.assert_array_equal(result[defined], expected[defined], err_msg=f"{old} to {new}")


# --- statements -----------------------------------------------------------------------------------


def reductions() -> Nest:
    """x (n, m) summed, multiplied and compared over rows; bools and integers folded."""
    buffers = [
        BufferParameter("x", "float32", False),
        BufferParameter("whole", "int64", False),
        BufferParameter("truth", BOOL, False),
        BufferParameter("results", "float32", True),
        BufferParameter("wholes", "int64", True),
        BufferParameter("truths", BOOL, True),
    ]
    at = nest.add(nest.multiply(HERE, Name(INDEX, "m")), Name(INDEX, "j"))
    x, whole, truth = Load("float32", "x", at), Load(INDEX, "whole", at), Load(BOOL, "truth", at)
    folds = [
        ("sum", "add", Literal("float32", 0.0), x),
        ("product", "mul", Literal("float32", 1.0), x),
        ("least", "minimum", Literal("float32", math.inf), x),
        ("most", "maximum", Literal("float32", -math.inf), x),
    ]
    wholes = [
        ("wsum", "add", Literal(INDEX, 0), whole),
        ("wproduct", "mul", Literal(INDEX, 1), whole),
        ("wleast", "minimum", Literal(INDEX, 2**63 - 1), whole),
        ("wand", "bitwise_and", Literal(INDEX, -1), whole),
    ]
    truths = [
        ("any", "bitwise_or", Literal(BOOL, False), truth),
        ("all", "bitwise_and", Literal(BOOL, True), truth),
    ]
    every = [*folds, *wholes, *truths]
    inner = For("j", Name(INDEX, "m"), tuple(Accumulate(name, f, v) for name, f, _, v in every))
    stores = [
        Store(buffer, nest.add(nest.multiply(HERE, len(group)), place), Name(first.dtype, name))
        for buffer, group in (("results", folds), ("wholes", wholes), ("truths", truths))
        for place, (name, _, first, _) in enumerate(group)
    ]
    declared = [Declare(name, first) for name, _, first, _ in every]
    outer = For("i", N, (*declared, inner, *stores), parallel=True)
    return Nest("reductions", tuple(buffers), ("n", "m"), (outer,))


def checked_rows() -> Nest:
    """out[i] = x[row[i]] for rows in [0, n), negative from the end; another row fails."""
    row = Name(INDEX, "row")
    wrapped = Select(INDEX, nest.call("lt", row, nest.index(0)), nest.add(row, N), row)
    outside = nest.call(
        "bitwise_or",
        nest.call("lt", Name(INDEX, "at"), nest.index(0)),
        nest.call("ge", Name(INDEX, "at"), N),
    )
    body = (
        Let("row", Load(INDEX, "rows", HERE)),
        Let("at", wrapped),
        If(outside, (Fail(7, (HERE, row, N)),)),
        Store("out", HERE, Load("float64", "x", Name(INDEX, "at"))),
    )
    buffers = (
        BufferParameter("x", "float64", False),
        BufferParameter("rows", INDEX, False),
        BufferParameter("out", "float64", True),
    )
    return Nest("checked_rows", buffers, ("n", "m"), (For("i", Name(INDEX, "m"), body),))


def collatz() -> Nest:
    """A variable that branches change: out[i] after `steps` steps of Collatz's walk from i."""
    v = Name(INDEX, "v")
    even = nest.call("eq", nest.call("mod", v, nest.index(2)), nest.index(0))
    halve = Assign("v", nest.call("floordiv", v, nest.index(2)))
    climb = (Let("thrice", nest.multiply(v, 3)), Assign("v", nest.add(Name(INDEX, "thrice"), 1)))
    step = If(
        nest.call("gt", v, nest.index(1)),
        (If(even, (halve,), climb), Assign("count", nest.add(Name(INDEX, "count"), 1))),
    )
    body = (
        Declare("v", HERE),
        Declare("count", nest.index(0)),
        For("step", Name(INDEX, "steps"), (step,)),
        Store("out", nest.multiply(HERE, 2), v),
        Store("out", nest.add(nest.multiply(HERE, 2), 1), Name(INDEX, "count")),
    )
    buffers = (BufferParameter("out", INDEX, True),)
    return Nest("collatz", buffers, ("n", "steps"), (For("i", N, body),))


def odd_places() -> Nest:
    """What is easily got wrong: empty loops, names that Python keeps, one name of two dtypes."""
    body = (
        For("i", nest.index(0), (Fail(1),)),
        For("lambda", nest.index(3), (Store("in", Name(INDEX, "lambda"), Literal("float32", 0.1)),)),
        If(
            Literal(BOOL, True),
            (Let("t", Literal("float32", 0.5)), Store("in", nest.index(3), Name("float32", "t"))),
            (Fail(2),),
        ),
        Let("t", nest.index(4)),
        Store("in", Name(INDEX, "t"), Literal("float32", math.nan)),
        For(
            "np",
            nest.index(1),
            (Store("in", nest.add(Name(INDEX, "np"), 5), Literal("float32", -math.inf)),),
        ),
        If(nest.call("lt", N, nest.index(0)), (Fail(3, (N,)),), (Fail(4, (N, nest.index(-1))),)),
    )
    return Nest("odd_places", (BufferParameter("in", "float32", True),), ("n",), body)


@pytest.fixture(scope="module", params=PRINTERS)
def kernels(request):
    return PRINTERS[request.param]([reductions(), checked_rows(), collatz(), odd_places()])


@pytest.mark.parametrize(("n", "m"), [(3, 100), (1, 1), (2, 0), (0, 5), (2, 1000)])
def test_reductions(kernels, n, m):
    random = np.random.default_rng(3)
    x = random.normal(1, 0.1, (n, m)).astype("float32")
    whole = random.integers(-(2**62), 2**62, (n, m))
    truth = random.random((n, m)) < 0.5
    if m == 100:
        x[0, 40] = np.nan
        x[1, 7] = np.inf
        truth[0], truth[1] = True, False
    results, wholes, truths = (
        np.zeros((n, 4), "float32"),
        np.zeros((n, 4), "int64"),
        np.zeros((n, 2), bool),
    )
    assert kernels["reductions"](x, whole, truth, results, wholes, truths, n, m)[0] == 0
    np.testing.assert_allclose(results[:, 0], x.sum(1, dtype="float64"), rtol=1e-4)
    np.testing.assert_allclose(results[:, 1], x.prod(1, dtype="float64"), rtol=1e-4)
    np.testing.assert_array_equal(results[:, 2], x.min(1, initial=np.inf))
    np.testing.assert_array_equal(results[:, 3], x.max(1, initial=-np.inf))
    np.testing.assert_array_equal(wholes[:, 0], whole.sum(1))
    np.testing.assert_array_equal(wholes[:, 1], whole.prod(1))
    np.testing.assert_array_equal(wholes[:, 2], whole.min(1, initial=2**63 - 1))
    np.testing.assert_array_equal(wholes[:, 3], np.bitwise_and.reduce(whole, 1))
    np.testing.assert_array_equal(truths, np.stack([truth.any(1), truth.all(1)], 1))


def test_fail_leaves_with_site_and_values(kernels):
    x, out = np.arange(5.0), np.zeros(4)
    rows = np.array([0, -1, 4, 2])
    assert kernels["checked_rows"](x, rows, out, 5, 4) == (0, [0, 0, 0, 0])
    np.testing.assert_array_equal(out, x[rows])
    rows[2] = -6
    out[:] = 9
    assert kernels["checked_rows"](x, rows, out, 5, 4) == (1, [7, 2, -6, 5])
    np.testing.assert_array_equal(out, [0, 4, 9, 9])


def test_branches_change_variables(kernels):
    def walk(v: int, steps: int) -> tuple[int, int]:
        for count in range(steps):
            if v <= 1:
                return v, count
            v = v // 2 if v % 2 == 0 else 3 * v + 1
        return v, steps

    out = np.zeros((40, 2), np.int64)
    for steps in (0, 1, 20):
        assert kernels["collatz"](out, 40, steps)[0] == 0
        assert [tuple(row) for row in out.tolist()] == [walk(v, steps) for v in range(40)]


def test_odd_places(kernels):
    out = np.zeros(6, "float32")
    assert kernels["odd_places"](out, 11) == (1, [4, 11, -1, 0])
    np.testing.assert_array_equal(out, np.array([0.1, 0.1, 0.1, 0.5, np.nan, -np.inf], "float32"))


# --- what the texts look like, and errors ---------------------------------------------------------


def test_the_source_is_readable():
    x, w = Load("float32", "x", HERE), Load("float32", "w", nest.call("mod", HERE, nest.index(3)))
    value = parse_scalar("2 * (x - w) * x if x > 0.5 and not isnan(w) else -(x + w)", {"x": x, "w": w})
    buffers = (
        BufferParameter("x", "float32", False),
        BufferParameter("w", "float32", False),
        BufferParameter("out", "float32", True),
    )
    kernel = Nest("scale", buffers, ("n",), (For("i", N, (Store("out", HERE, value),)),), ("y = 2x, line 3",))
    assert print_nest(kernel) == (
        "import math\n"
        "import numpy as np\n\n\n"
        "def scale(x, w, out, n, status):\n"
        "    # y = 2x, line 3\n"
        "    for i in range(n):\n"
        "        out[i] = np.float32(2.0) * (x[i] - w[i % 3]) * x[i] "
        "if x[i] > 0.5 and not math.isnan(w[i % 3]) else -(x[i] + w[i % 3])\n"
        "    return 0\n"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            Cast("float32", Call("int32", "exp", (Literal("int32", 1),))),
            "exp is not defined for int32",
        ),
        (Call("float32", "frobnicate", (Literal("float32", 1.0),)), "frobnicate"),
        (Name("float32", "y"), "y is not known"),
        (Load("float32", "other", HERE), "other is not a parameter"),
        (Literal("float64", 1.0), "float64 stored in buffer out of float32"),
        (
            Call("float32", "add", (Literal("float32", 1.0), Literal("float64", 1.0))),
            "float32, float64",
        ),
    ],
)
def test_what_can_not_be_printed_names_kernel_line_and_cause(value, message):
    body = (For("i", N, (Store("out", HERE, value),)),)
    kernel = Nest(
        "broken",
        (BufferParameter("out", "float32", True),),
        ("n",),
        body,
        ("y = f(x), script.py:3",),
    )
    for printer in PRINTERS.values():
        with pytest.raises(CompileError, match=message) as caught:
            printer([kernel])
        assert "broken" in str(caught.value) and "script.py:3" in str(caught.value)


def test_numbas_object_code_runs_in_a_process_that_has_no_numba(tmp_path):
    x = Load("float64", "x", HERE)
    value = parse_scalar("sigmoid(x) + x % 2", {"x": x})
    buffers = (BufferParameter("x", "float64", False), BufferParameter("out", "float64", True))
    body = (For("i", N, (Store("out", HERE, value),)),)
    code = compile_numba(Nest("sigmoid_float64", buffers, ("n",), body)).object_code()
    (tmp_path / "object").write_bytes(code)
    script = f"""
import ctypes, sys
import numpy as np
from symnet.backend.cpu.llvm import load_object
loaded = load_object(open({str(tmp_path / "object")!r}, "rb").read())
kind = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p)
x, out, status = np.linspace(-3, 3, 7), np.zeros(7), np.zeros(4, "int64")
address = loaded.address("sigmoid_float64")
assert kind(address)(x.ctypes.data, out.ctypes.data, 7, status.ctypes.data) == 0
np.testing.assert_allclose(out, 1 / (1 + np.exp(-x)) + x % 2, rtol=1e-14)
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_loops_are_vectorised():
    x = Load("float32", "x", HERE)
    value = parse_scalar("maximum(x, 0) * 3 + sqrt(abs(x))", {"x": x})
    buffers = (BufferParameter("x", "float32", False), BufferParameter("out", "float32", True))
    elementwise = Nest(
        "elementwise", buffers, ("n",), (For("i", N, (Store("out", HERE, value),), vector=True),)
    )
    total = (
        Declare("sum", Literal("float32", 0.0)),
        Declare("most", Literal("float32", 0.0)),
        For("i", N, (Accumulate("sum", "add", x), Accumulate("most", "maximum", x))),
        Store("out", nest.index(0), Name("float32", "sum")),
        Store("out", nest.index(1), Name("float32", "most")),
    )
    module = ir.Module()
    for kernel in (elementwise, Nest("folded", buffers, ("n",), total)):
        print_llvm.print_nest(module, kernel)
    machine = llvm.host_machine()
    parsed = llvm.parse(module, machine)
    llvm.optimise(parsed, machine)
    text = str(parsed)
    assert re.search(r"store <\d+ x float>", text)
    assert re.search(r"fadd contract reassoc <\d+ x float>|fadd reassoc contract <\d+ x float>", text)
    assert re.search(r"llvm.maximum.v\d+f32", text)
