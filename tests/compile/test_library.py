"""The library of scalar functions: its errors in ulp, and its random numbers bit for bit."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
import scipy.special
from cuda_backend.simulating import by_simulator
from llvmlite import ir
from running import by_llvm, by_numba, ulps

from symnet.backend.cpu import llvm
from symnet.backend.cpu.print_llvm import print_nest
from symnet.compile import library, near, nest
from symnet.compile.library_coefficients import (
    COEFFICIENTS,
    HALF_PI,
    LN2,
    LOG10_OF_2,
    ONE_OVER_LN2,
    ONE_OVER_LN10,
)
from symnet.compile.nest import INDEX, BufferParameter, For, Literal, Load, Name, Nest, Store
from symnet.compile.print_numba import print_function
from symnet.ops import philox

HERE = Name(INDEX, "i")
N = Name(INDEX, "n")
FLOATS = ("float32", "float64")


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def cosine_of_turns(x):
    return mpmath.cospi(2 * x)


#: Function: its meaning, values at minus infinity and infinity, and the most ulps that it may be
#: off.
FUNCTIONS = {
    "exp": (mpmath.exp, 0.0, np.inf, 1.0),
    "expm1": (mpmath.expm1, -1.0, np.inf, 1.5),
    "log": (mpmath.log, np.nan, np.inf, 1.0),
    "log1p": (mpmath.log1p, np.nan, np.inf, 1.0),
    "tanh": (mpmath.tanh, -1.0, 1.0, 3.0),
    "exp2": (lambda x: mpmath.mpf(2) ** x, 0.0, np.inf, 1.1),
    "log2": (lambda x: mpmath.log(x) / mpmath.log(2), np.nan, np.inf, 1.5),
    "log10": (mpmath.log10, np.nan, np.inf, 1.5),
    "arctan": (mpmath.atan, -np.pi / 2, np.pi / 2, 2.0),
    "erf": (mpmath.erf, -1.0, 1.0, 1.5),
    "sin_near": (mpmath.sin, None, None, 2.0),
    "cos_near": (mpmath.cos, None, None, 2.0),
    "tan_near": (mpmath.tan, None, None, 4.0),
    "sigmoid": (sigmoid, 0.0, 1.0, 2.5),
    "cosine_of_turns": (cosine_of_turns, None, None, 1.5),
    "log_of_draw": (mpmath.log, None, None, 1.0),
}


def kernel(function: str, dtype: str) -> Nest:
    x = Load(dtype, "x", HERE)
    value = nest.call(function, x) if function in nest.SAME else library.call(function, x)
    buffers = (BufferParameter("x", dtype, False), BufferParameter("out", dtype, True))
    return Nest(
        f"{function}_of_{dtype}",
        buffers,
        ("n",),
        (For("i", N, (Store("out", HERE, value),), vector=True),),
    )


KERNELS = [kernel(function, dtype) for function in FUNCTIONS for dtype in FLOATS]


@pytest.fixture(scope="module", params=["this processor", "no fused multiply-add"])
def kernels(request):
    machine = llvm.host_machine()
    if request.param != "this processor":
        machine = machine.without("avx").without("fma").without("f16c").without("vaes").without("vpclmul")
    return by_llvm(KERNELS, machine)


def points(function: str, dtype: str) -> np.ndarray:
    """Random floats of every size, the ranges where a function does something, and the corners."""
    random = np.random.default_rng(11)
    size = 300
    if function == "cosine_of_turns":
        return np.concatenate([random.uniform(-1, 1, 3 * size), np.arange(-32, 33) / 16]).astype(dtype)
    if function == "log_of_draw":
        numbers = [2.0 ** -random.uniform(0, 53, 2 * size), random.uniform(0.9, 1, size), [1.0]]
        return np.concatenate(numbers).astype(dtype)
    if function.endswith("_near"):
        most = near.MOST[dtype]
        zeros = np.arange(-600, 601) * np.pi / 2
        tiny = random.uniform(-1, 1, size) * 10.0 ** random.uniform(-45, 0, size)
        x = [random.uniform(-most, most, 3 * size), random.normal(0, 2, 3 * size), zeros, tiny, [0.0, -0.0]]
        return np.concatenate([*x, [np.nan]]).astype(dtype)
    information = np.finfo(dtype)
    bits = random.integers(0, 2**information.bits, size, dtype=np.uint64)
    everywhere = bits.astype(f"uint{information.bits}").view(dtype)
    least, most = (-104, 89) if dtype == "float32" else (-746, 710)
    ranges = [
        random.normal(0, 1, size),
        random.normal(0, 20, size),
        random.uniform(0.5, 2, size),
        random.uniform(least, most, size),
        random.uniform(-1, 1, size) * 10.0 ** random.uniform(-9, 0, size),
        random.uniform(0.3, 0.4, size),
    ]
    edges = [0.0, 1.0, 0.5, 2.0, 88.72, 88.73, 103.9, 104.1, 709.78, 709.79, 745.1, 745.2, np.inf]
    edges += [
        information.max,
        information.tiny,
        information.tiny / 2,
        information.smallest_subnormal,
    ]
    corners = np.array([*edges, *[-edge for edge in edges], np.nan])
    with np.errstate(all="ignore"):
        return np.concatenate([everywhere, *[part.astype(dtype) for part in [*ranges, corners]]])


def exact(function: str, x: float, dtype: str):
    """The value as a float where it is one, or as mpmath's number with many digits."""
    meaning, at_minus_infinity, at_infinity, _ = FUNCTIONS[function]
    pole = {"log": 0.0, "log2": 0.0, "log10": 0.0, "log1p": -1.0}.get(function)
    if np.isnan(x) or (pole is not None and x < pole):
        return np.nan
    if np.isinf(x):
        return at_infinity if x > 0 else at_minus_infinity
    if x == pole:
        return -np.inf
    if function in ("exp", "exp2", "expm1", "tanh", "sigmoid", "erf") and abs(x) > 2000:
        return at_infinity if x > 0 else at_minus_infinity
    return meaning(mpmath.mpf(x))


def distance(value: float, expected, dtype: str) -> float:
    """How many ulps of `expected` a value is off; infinity where only one of them is special."""
    kind = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        rounded = kind(float(expected))
    if np.isnan(rounded) and np.isnan(value):
        return 0.0
    if not (np.isfinite(rounded) and np.isfinite(value)):
        return 0.0 if rounded == value else np.inf
    ulp = mpmath.mpf(float(np.spacing(np.abs(rounded))))
    return float(abs(mpmath.mpf(float(value)) - mpmath.mpf(expected)) / ulp)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_errors_in_ulp(kernels, function, dtype):
    x = points(function, dtype)
    out = np.zeros_like(x)
    assert kernels[f"{function}_of_{dtype}"](x, out, x.size)[0] == 0
    with mpmath.workprec(250):
        off = [
            distance(value, exact(function, float(place), dtype), dtype)
            for place, value in zip(x, out, strict=True)
        ]
    worst = int(np.argmax(off))
    assert off[worst] <= FUNCTIONS[function][3], (x[worst], out[worst])
    if function in ("expm1", "log1p", "tanh", "arctan", "erf", "sin_near", "tan_near"):
        zero = x == 0
        assert (np.signbit(out[zero]) == np.signbit(x[zero])).all()


@pytest.mark.parametrize(
    ("function", "meaning"),
    [
        ("exp", np.exp),
        ("expm1", np.expm1),
        ("log", np.log),
        ("log1p", np.log1p),
        ("tanh", np.tanh),
        ("exp2", np.exp2),
        ("log2", np.log2),
        ("log10", np.log10),
        ("arctan", np.arctan),
        ("erf", scipy.special.erf),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float32_over_all_of_its_range(kernels, function, meaning):
    bits = np.arange(0, 2**32, 1009, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    out = np.zeros_like(x)
    assert kernels[f"{function}_of_float32"](x, out, x.size)[0] == 0
    exact = meaning(x.astype(np.float64))
    rounded = exact.astype(np.float32)
    special = ~(np.isfinite(rounded) & np.isfinite(out))
    np.testing.assert_array_equal(out[special], rounded[special])
    off = np.abs(out - exact)[~special] / np.spacing(np.abs(rounded[~special]))
    assert off.max() <= FUNCTIONS[function][3]


@pytest.fixture(scope="module")
def powers():
    x, y = (Load("float32", name, HERE) for name in "xy")
    names = (("x", False), ("y", False), ("out", True))
    buffers = tuple(BufferParameter(name, "float32", written) for name, written in names)
    loop = For("i", N, (Store("out", HERE, nest.call("pow", x, y)),), vector=True)
    return by_llvm([Nest("powers", buffers, ("n",), (loop,))])["powers"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers_of_float32(powers):
    random = np.random.default_rng(7)
    sizes = [0, 1, 2, 0.5, 3, np.inf, 1e-45, 1e-38, 3.4e38, 2**24, 2**24 - 1, 2.5, 1e-10, 2**25]
    corners = np.array([*sizes, *[-size for size in sizes], np.nan], "float32")
    all_corners = [np.ravel(each) for each in np.meshgrid(corners, corners)]
    bits = random.integers(0, 2**32, 100_000, dtype=np.uint64).astype(np.uint32).view("float32")
    near_one = random.uniform(0.9, 1.1, 50_000), random.uniform(-900, 900, 50_000)
    for x, y in (all_corners, (bits, random.permutation(bits)), near_one):
        x, y = np.asarray(x, "float32"), np.asarray(y, "float32")
        out = np.zeros_like(x)
        assert powers(x, y, out, x.size)[0] == 0
        exact = np.power(x.astype("float64"), y.astype("float64"))
        rounded = exact.astype("float32")
        plain = np.isfinite(out) & np.isfinite(rounded)
        np.testing.assert_array_equal(out[~plain], rounded[~plain])
        np.testing.assert_array_equal(np.signbit(out[plain]), np.signbit(rounded[plain]))
        off = np.abs(out - exact)[plain] / np.spacing(np.abs(rounded[plain]))
        assert off.max() <= 0.6


def test_the_functions_vectorise_and_call_no_library():
    module = ir.Module()
    for each in KERNELS:
        print_nest(module, each)
    machine = llvm.host_machine()
    parsed = llvm.parse(module, machine)
    llvm.optimise(parsed, machine)
    for function in parsed.functions:
        if "_of_" in function.name and not function.is_declaration:
            text = str(function)
            assert re.search(r"store <\d+ x (float|double)>", text), function.name
            assert set(re.findall(r"call .*@([\w.]+)\(", text)) <= {
                f"llvm.{name}.{suffix}"
                for name in (
                    "fabs",
                    "copysign",
                    "fma",
                    "fmuladd",
                    "experimental.noalias.scope.decl",
                )
                for suffix in (
                    "f32",
                    "f64",
                    *[f"v{n}f{w}" for n in (2, 4, 8, 16) for w in (32, 64)],
                )
            }, function.name


#: Table: what its polynomial is an approximation to the argument of, and from where to where.
TABLES = {
    "exp": (mpmath.exp, lambda r, p: 1 + r + r * r * p(r), -0.3466, 0.3466),
    "sin": (mpmath.sin, lambda r, p: r + r**3 * p(r * r), 0.01, 0.7854),
    "cos": (mpmath.cos, lambda r, p: 1 - r * r / 2 + r**4 * p(r * r), 0.01, 0.7854),
    "arctan": (mpmath.atan, lambda r, p: r + r**3 * p(r * r), 0.01, 1),
    "erf": (mpmath.erf, lambda x, p: x + x * p(x * x), 0.01, 1),
    "pow exp2": (lambda r: mpmath.mpf(2) ** r, lambda r, p: 1 + r * p(r), -0.5, 0.5),
}


@pytest.mark.parametrize(("table", "dtype"), [key for key in COEFFICIENTS if key[0] in TABLES])
def test_the_coefficients_are_the_derived_ones(table, dtype):
    most = {"float32": 3e-8, "float64": 5e-17}[dtype] if table != "pow exp2" else 3e-9
    meaning, value, low, high = TABLES[table]
    coefficients = [mpmath.mpf(c) for c in COEFFICIENTS[table, dtype]]
    with mpmath.workdps(40):
        for step in range(41):
            x = low + (high - low) * mpmath.mpf(step) / 40
            found = value(x, lambda z: sum(c * z**k for k, c in enumerate(coefficients)))
            assert abs(found / meaning(x) - 1) < most


@pytest.mark.parametrize("dtype", FLOATS)
def test_constants_in_parts(dtype):
    least = {"float32": 1e-11, "float64": 1e-24}[dtype]
    with mpmath.workdps(60):
        for parts, value in (
            (LN2, mpmath.log(2)),
            (HALF_PI, mpmath.pi / 2),
            (ONE_OVER_LN2, 1 / mpmath.log(2)),
            (ONE_OVER_LN10, 1 / mpmath.log(10)),
            (LOG10_OF_2, mpmath.log10(2)),
        ):
            assert abs(sum(mpmath.mpf(part) for part in parts[dtype]) - value) < least


def test_library_functions_are_readable_python():
    function = library.find("sigmoid", "float64")
    assert function is not None
    assert print_function(function).splitlines()[0] == "def sigmoid_float64(x):"
    assert "small = math.exp(-abs(x))" in print_function(function)


# --- random numbers -------------------------------------------------------------------------------

#: Published with the Random123 library (kat_vectors, philox4x32-10): counter, key, block.
VECTORS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


def philox_words() -> Nest:
    """out[word] of a key (2) and a counter (4)."""
    key = [Load("uint32", "key", nest.index(k)) for k in range(2)]
    counter = [Load("uint32", "counter", nest.index(k)) for k in range(4)]
    body = tuple(
        Store("out", nest.index(word), library.call("philox", Literal("uint32", word), *key, *counter))
        for word in range(4)
    )
    names = (("key", False), ("counter", False), ("out", True))
    buffers = tuple(BufferParameter(name, "uint32", written) for name, written in names)
    return Nest("philox", buffers, (), body)


def draws(function: str) -> Nest:
    """out[i] = draw of element i for a state (seed, stream, call)."""
    state = [nest.cast(Load(INDEX, "state", nest.index(k)), "uint64") for k in range(3)]
    trial = [nest.cast(Name(INDEX, "trial"), "uint64")] if function == "random_uint32" else []
    value = library.call(function, *state, *trial, nest.cast(HERE, "uint64"))
    buffers = (BufferParameter("state", INDEX, False), BufferParameter("out", value.dtype, True))
    loop = For("i", N, (Store("out", HERE, value),), vector=True)
    return Nest(function, buffers, ("n", "trial"), (loop,))


DRAWS = {
    "random_uint32": lambda state, n: philox.words(state, n, 1, 5)[:, 0].astype("uint32"),
    "uniform_float32": lambda state, n: philox.uniform(state, n, "float32"),
    "uniform_float64": lambda state, n: philox.uniform(state, n, "float64"),
    "normal_float32": lambda state, n: philox.normal(state, n, "float32"),
    "normal_float64": lambda state, n: philox.normal(state, n, "float64"),
}


@pytest.fixture(scope="module")
def compiled_draws():
    return {
        "llvm": by_llvm([philox_words(), *map(draws, DRAWS)]),
        "numba": by_numba([philox_words(), draws("uniform_float32"), draws("normal_float64")]),
    }


@pytest.mark.parametrize("printer", ["llvm", "numba"])
@pytest.mark.parametrize(("counter", "key", "block"), VECTORS)
def test_philox_published_vectors(compiled_draws, printer, counter, key, block):
    out = np.zeros(4, "uint32")
    function = compiled_draws[printer]["philox"]
    assert function(np.array(key, "uint32"), np.array(counter, "uint32"), out)[0] == 0
    assert out.tolist() == block
    assert [int(word) for word in philox.philox(tuple(counter), tuple(key))] == block


@pytest.mark.parametrize("state", [(0, 0, 0), (2**40 + 12345, 7, 99), (2**63 - 1, 2**32 - 1, 2**32 - 1)])
@pytest.mark.parametrize("function", DRAWS)
def test_draws_are_numpys(compiled_draws, function, state):
    for printer, kernels in compiled_draws.items():
        if function in kernels:
            expected = DRAWS[function](state, 1003)
            out = np.zeros(1003, expected.dtype)
            assert kernels[function](np.array(state), out, out.size, 5)[0] == 0
            if function.startswith("normal"):
                assert ulps(out, expected).max() <= 6, printer
            else:
                np.testing.assert_array_equal(out, expected, err_msg=printer)


@pytest.mark.parametrize("function", DRAWS)
def test_a_graphics_processor_draws_the_same(compiled_draws, function):
    (kernel,) = by_simulator([draws(function)]).values()
    state, out = np.array((2**40 + 12345, 7, 99)), np.zeros(301, DRAWS[function]((0, 0, 0), 1).dtype)
    expected = out.copy()
    kernel(state, out, out.size, 5)
    compiled_draws["llvm"][function](state, expected, out.size, 5)
    assert out.tobytes() == expected.tobytes()


def test_a_wrong_call_of_a_library_function_is_refused():
    with pytest.raises(TypeError, match="philox takes .* given"):
        library.call("philox", Literal("uint32", 0))
    with pytest.raises(TypeError, match="frobnicate is not a library function"):
        library.call("frobnicate", HERE)
