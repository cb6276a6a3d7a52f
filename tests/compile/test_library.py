"""The library of scalar functions: its errors in ulp, and its random numbers bit for bit."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
from llvmlite import ir
from running import by_llvm, by_numba, ulps

from symnet.backend.cpu import llvm
from symnet.backend.cpu.print_llvm import print_nest
from symnet.compile import library, nest
from symnet.compile.library_texts import COEFFICIENTS, LN2
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
    "sigmoid": (sigmoid, 0.0, 1.0, 2.5),
    "cosine_of_turns": (cosine_of_turns, None, None, 1.5),
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
        machine = (
            machine.without("avx").without("fma").without("f16c").without("vaes").without("vpclmul")
        )
    return by_llvm(KERNELS, machine)


def points(function: str, dtype: str) -> np.ndarray:
    """Random floats of every size, the ranges where a function does something, and the corners."""
    random = np.random.default_rng(11)
    size = 300
    if function == "cosine_of_turns":
        return np.concatenate([random.uniform(-1, 1, 3 * size), np.arange(-32, 33) / 16]).astype(
            dtype
        )
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
    pole = {"log": 0.0, "log1p": -1.0}.get(function)
    if np.isnan(x) or (pole is not None and x < pole):
        return np.nan
    if np.isinf(x):
        return at_infinity if x > 0 else at_minus_infinity
    if x == pole:
        return -np.inf
    if function in ("exp", "expm1", "tanh", "sigmoid") and abs(x) > 2000:
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
    with mpmath.workprec(150):
        off = [
            distance(value, exact(function, float(place), dtype), dtype)
            for place, value in zip(x, out, strict=True)
        ]
    worst = int(np.argmax(off))
    assert off[worst] <= FUNCTIONS[function][3], (x[worst], out[worst])
    if function in ("expm1", "log1p", "tanh"):
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


def test_the_coefficients_are_the_derived_ones():
    half = mpmath.log(2) / 2
    for dtype, most in (("float32", 1e-8), ("float64", 2e-17)):
        coefficients = COEFFICIENTS["exp", dtype]
        with mpmath.workdps(40):
            for step in range(-20, 21):
                r = half * step / 20
                value = (
                    1 + r + r * r * sum(mpmath.mpf(c) * r**k for k, c in enumerate(coefficients))
                )
                assert abs(value / mpmath.exp(r) - 1) < most
            assert abs(sum(mpmath.mpf(part) for part in LN2[dtype]) - mpmath.log(2)) < most * 1e-5


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
        Store(
            "out", nest.index(word), library.call("philox", Literal("uint32", word), *key, *counter)
        )
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


@pytest.mark.parametrize(
    "state", [(0, 0, 0), (2**40 + 12345, 7, 99), (2**63 - 1, 2**32 - 1, 2**32 - 1)]
)
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


def test_a_wrong_call_of_a_library_function_is_refused():
    with pytest.raises(TypeError, match="philox takes .* given"):
        library.call("philox", Literal("uint32", 0))
    with pytest.raises(TypeError, match="frobnicate is not a library function"):
        library.call("frobnicate", HERE)
