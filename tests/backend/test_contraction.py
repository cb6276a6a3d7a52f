"""Contraction kernels against NumPy: values, untouched memory, run-time extents, odd machines."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator

import numpy as np
import pytest
from contraction_kernels import (
    CONVOLUTIONS,
    HOST,
    MACHINES,
    TOLERANCE,
    TRANSPOSITIONS,
    WIDTHS,
    Kernels,
    check,
    convolutions,
    product,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from symnet.backend.cpu.contraction import (
    Contraction,
    Dimension,
)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in MACHINES), ("64 bytes", "float64"), ("16 bytes", "float64")],
)
def test_products_of_every_transposition_and_ragged_size(name: str, dtype: str) -> None:
    sizes = [(1, 7, 1), (3, 1, 5), (5, 33, 17), (13, 20, 31), (2, 65, 3)]
    contractions = [
        product(m, k, n, a_transposed=ta, b_transposed=tb, dtype=dtype, accumulate=m == 13)
        for m, k, n in sizes
        for ta, tb in TRANSPOSITIONS
    ]
    kernels = Kernels(contractions, MACHINES[name])
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


@pytest.mark.parametrize("width", WIDTHS)
def test_tails_of_every_literal_length(width: int) -> None:
    lengths = [1, 2, 3, 5, 7, 8, 9, 12, 15, 16, 17, 24, 29, 31, 32, 33]
    contractions = [product(2, 3, n) for n in lengths]
    contractions += [product(2, n, 2, b_transposed=True) for n in lengths]
    contractions += [product(n, 3, 4) for n in lengths]
    kernels = Kernels(contractions, HOST.with_lanes_bytes(width))
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


@pytest.mark.parametrize("name", [name for name in MACHINES if name not in ("16 bytes", "32 bytes")])
@pytest.mark.parametrize(("a_transposed", "b_transposed"), TRANSPOSITIONS)
def test_run_time_extents_of_every_length(name: str, a_transposed: bool, b_transposed: bool) -> None:
    def form(rows: int | str, inner: int | str, columns: int | str, accumulate: bool) -> Contraction:
        return product(
            rows,
            inner,
            columns,
            a_transposed=a_transposed,
            b_transposed=b_transposed,
            accumulate=accumulate,
            pitch=130,
        )

    contractions = [
        form("m", 6, 20, False),
        form(5, "k", 20, False),
        form(5, 6, "n", True),
        form("m", "k", "n", False),
    ]
    kernels = Kernels(contractions, MACHINES[name]).functions
    assert contractions[3].parameters == ["k", "m", "n"]
    for length in [*range(19), 31, 32, 33, 64, 127]:
        check(contractions[0], kernels[0], {"m": length})
        check(contractions[1], kernels[1], {"k": length})
        check(contractions[2], kernels[2], {"n": length})
        check(contractions[3], kernels[3], {"m": length, "k": 130 - length, "n": length})
    check(contractions[3], kernels[3], {"m": 9, "k": 0, "n": 21})


@pytest.mark.parametrize("name", MACHINES)
def test_convolutions_and_their_gradients(name: str) -> None:
    contractions = [
        contraction for shape in CONVOLUTIONS.values() for contraction in convolutions(*shape).values()
    ]
    kernels = Kernels(contractions, MACHINES[name])
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_is_the_one_numpy_knows(dtype: str) -> None:
    """The strides above mean what they say: against sliding windows, with a run-time batch."""
    contraction = convolutions("images", 3, 11, 10, 4, (4, 3), dtype)["forward"]
    kernel = Kernels([contraction]).functions[0]
    random = np.random.default_rng(1)
    filters = random.standard_normal((4, 3, 4, 3)).astype(dtype)
    for count in (0, 1, 5):
        images = random.standard_normal((count, 3, 11, 10)).astype(dtype)
        output = np.full((count, 4, 8, 8), np.nan, dtype)
        kernel(filters.ctypes.data, images.ctypes.data, output.ctypes.data, count)
        windows = sliding_window_view(images, (4, 3), axis=(2, 3))
        expected = np.einsum("nchwyx,fcyx->nfhw", windows, filters)
        np.testing.assert_allclose(output, expected, atol=TOLERANCE[dtype] * 10, rtol=0)


@st.composite
def any_contraction(draw: st.DrawFn) -> tuple[Contraction, dict[str, int]]:
    """Any roles, orders, gaps, directions and overlaps, some of it known at run time only."""
    roles = draw(st.lists(st.sampled_from(["ac", "bc", "ab", "ab", "abc", "a", "b", "c"]), max_size=5))
    long = draw(st.integers(0, max(len(roles) - 1, 0)))
    extents = [draw(st.integers(0, 40) if n == long else st.integers(1, 5)) for n in range(len(roles))]
    strides: dict[str, list[int]] = {}
    for array in "abc":
        step = draw(st.sampled_from([1, 1, 1, 2, 3]))
        strides[array] = [0] * len(roles)
        for n in draw(st.permutations(range(len(roles)))):
            if array in roles[n]:
                strides[array][n] = step * draw(st.sampled_from([1, 1, 1, -1]))
                # Inputs may overlap themselves, as images under a filter do; C may not.
                overlapping = array != "c" and draw(st.integers(0, 4)) == 0
                step *= 1 if overlapping else max(extents[n], 1)
                step += draw(st.sampled_from([0, 0, 0, 3]))
    parameters: dict[str, int] = {}

    def perhaps_late(name: str, value: int, chance: int) -> int | str:
        if draw(st.integers(0, 99)) < chance:
            parameters[name] = value
            return name
        return value

    late_strides = draw(st.integers(0, 5)) == 0
    dimensions = []
    for n, extent in enumerate(extents):
        placed = {
            array: perhaps_late(f"{array}{n}", strides[array][n], 40)
            if late_strides and strides[array][n]
            else strides[array][n]
            for array in "abc"
        }
        dimensions.append(
            Dimension(f"i{n}", perhaps_late(f"n{n}", extent, 25), **placed)  # type: ignore[arg-type]
        )
    dtype = draw(st.sampled_from(["float32", "float64"]))
    return Contraction(dtype, tuple(dimensions), draw(st.booleans())), parameters


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(any_contraction(), st.sampled_from(sorted(MACHINES)))
def test_any_contraction(case: tuple[Contraction, dict[str, int]], name: str) -> None:
    contraction, parameters = case
    kernels = Kernels([contraction], MACHINES[name])
    check(contraction, kernels.functions[0], parameters)


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_nan_and_infinity_go_where_they_should(a_transposed: bool, b_transposed: bool) -> None:
    contraction = product(6, 21, 19, a_transposed=a_transposed, b_transposed=b_transposed)
    kernel = Kernels([contraction]).functions[0]
    left = np.ones((6, 21), "float32")
    right = np.ones((21, 19), "float32")
    left[2, 20] = np.nan
    left[4, 3] = np.inf
    right[3, 18] = 0
    right[0, 5] = -np.inf
    a = np.ascontiguousarray(left.T if a_transposed else left)
    b = np.ascontiguousarray(right.T if b_transposed else right)
    c = np.zeros((6, 19), "float32")
    kernel(a.ctypes.data, b.ctypes.data, c.ctypes.data)
    with np.errstate(invalid="ignore"):
        expected = left.astype("float64") @ right.astype("float64")
    assert np.isnan(expected[4, 18])
    assert np.isnan(expected[4, 5])
    np.testing.assert_array_equal(c, expected.astype("float32"))


@pytest.fixture
def guarded() -> Iterator[GuardedMemory]:
    memory = GuardedMemory()
    yield memory
    memory.close()


class GuardedMemory:
    """Arrays that end, or begin, where memory may not be touched: a stray access ends the process."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None, use_errno=True)
        self.maps: list[tuple[mmap.mmap, int, int]] = []

    def array(self, shape: tuple[int, ...], dtype: str, at_end: bool) -> np.ndarray:
        page = mmap.PAGESIZE
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        room = -(-size // page) * page
        area = mmap.mmap(-1, room + 2 * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        for guard in (address, address + page + room):
            assert self.library.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
            self.maps.append((area, guard, page))
        start = page + (room - size if at_end else 0)
        return np.frombuffer(area, dtype, int(np.prod(shape)), start).reshape(shape)

    def close(self) -> None:
        for _, guard, page in self.maps:
            self.library.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 3)


@pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="needs pages that can be protected")
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("at_end", [True, False])
def test_no_access_outside_the_arrays(name: str, at_end: bool, guarded: GuardedMemory) -> None:
    batch, channels, height, width, filters, size = 2, 3, 9, 15, 4, (3, 4)
    forms = convolutions(batch, channels, height, width, filters, size)
    rows, columns = height - size[0] + 1, width - size[1] + 1
    shapes = {
        "filters": (filters, channels, *size),
        "images": (batch, channels, height, width),
        "output": (batch, filters, rows, columns),
        "product a": (7, 21),
        "product b": (21, 19),
        "product c": (7, 19),
    }
    arrays = {key: guarded.array(shape, "float32", at_end) for key, shape in shapes.items()}
    contractions = [
        forms["forward"],
        forms["filters"],
        product(7, 21, 19),
        product(7, "k", "n", pitch=19),
        product(7, 19, 7, b_transposed=True),
    ]
    kernels = Kernels(contractions, MACHINES[name]).functions
    address = {key: array.ctypes.data for key, array in arrays.items()}
    for array in arrays.values():
        array[...] = 1
    kernels[0](address["filters"], address["images"], address["output"])
    assert np.all(arrays["output"] == channels * size[0] * size[1])
    kernels[1](address["output"], address["images"], address["filters"])
    assert np.all(arrays["filters"] == batch * rows * columns * channels * size[0] * size[1])
    kernels[2](address["product a"], address["product b"], address["product c"])
    assert np.all(arrays["product c"] == 21)
    # With a row length of 19 the last element of every array is the last in use.
    kernels[3](address["product a"], address["product b"], address["product c"], 19, 19)
    assert np.all(arrays["product c"] == 19)
    small = guarded.array((7, 7), "float32", at_end)
    kernels[4](address["product c"], address["product c"], small.ctypes.data)
    assert np.all(small == 19.0 * 19 * 19)


def test_results_repeat_to_the_last_bit() -> None:
    contraction = convolutions(3, 4, 12, 12, 7, (5, 5))["filters"]
    random = np.random.default_rng(3)
    gradients = random.standard_normal((3, 7, 8, 8)).astype("float32")
    images = random.standard_normal((3, 4, 12, 12)).astype("float32")
    results = []
    for _ in range(2):
        kernel = Kernels([contraction])
        result = np.empty((7, 4, 5, 5), "float32")
        kernel.functions[0](gradients.ctypes.data, images.ctypes.data, result.ctypes.data)
        results.append(result)
    assert results[0].tobytes() == results[1].tobytes()


def test_what_is_not_a_contraction_is_refused() -> None:
    with pytest.raises(ValueError, match="float32 and float64; asked for 'int32'"):
        Contraction("int32", ())
    with pytest.raises(ValueError, match="own name"):
        Contraction("float32", (Dimension("i", 2, 1, 1, 0), Dimension("i", 3, 0, 1, 1)))
    with pytest.raises(ValueError, match="extent -2"):
        Contraction("float32", (Dimension("i", -2, 1, 1, 0),))
