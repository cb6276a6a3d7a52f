"""Contraction kernels against NumPy: values, untouched memory, run-time extents, odd machines."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llvmlite import ir
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from symnet.backend.cpu import contraction as emitter
from symnet.backend.cpu import contraction_tile, llvm
from symnet.backend.cpu.contraction import (
    Contraction,
    Dimension,
    contraction_units,
    emit_contraction,
    plan_contraction,
)
from symnet.backend.cpu.contraction_loops import turning
from symnet.backend.cpu.machine import Machine, host_machine
from symnet.backend.cpu.vectors import Vectors
from symnet.compile.contraction import normalise

HOST = host_machine()
WIDTHS = [16, 32, 64]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
MARGIN = 40
SENTINEL = 1234.5


def machines() -> dict[str, Machine]:
    """The host at each vector width, without masked loads, and with caches so small it must block."""
    found = {f"{width} bytes": HOST.with_lanes_bytes(width) for width in WIDTHS}
    found["16 bytes"] = replace(found["16 bytes"], masks=False)
    found["tiny caches"] = replace(HOST, l1=2048, l2=8192)
    if "avx512f" in HOST.features:
        found["without avx512"] = HOST.without("avx512")
    return found


MACHINES = machines()


#: Called with the addresses of A, B and C and the run-time parameters.
Kernel = Callable[..., None]


class Kernels:
    """Several contractions compiled as one module, callable by position.

    `parts` are the same functions as they are: they take the first unit and the one after the last.
    """

    def __init__(self, contractions: list[Contraction], machine: Machine = HOST) -> None:
        module = ir.Module()
        for number, contraction in enumerate(contractions):
            emit_contraction(module, f"kernel_{number}", contraction, machine)
        self.loaded = llvm.load_object(llvm.emit_object(module, machine))
        self.functions: list[Kernel] = []
        self.parts: list[Kernel] = []
        for number, contraction in enumerate(contractions):
            kind = ctypes.CFUNCTYPE(
                None,
                *[ctypes.c_void_p] * 3,
                *[ctypes.c_int64] * (len(contraction.parameters) + 2),
            )
            part = kind(self.loaded.address(f"kernel_{number}"))
            part.loaded = self.loaded  # the code lives as long as what calls it
            self.parts.append(part)
            self.functions.append(_whole(part, contraction_units(contraction, machine) or 1))


def _whole(part: Kernel, units: int) -> Kernel:
    return lambda *arguments: part(*arguments, 0, units)


@dataclass
class Operand:
    """A strided array inside a longer buffer, whose other elements must not matter."""

    buffer: np.ndarray
    start: int
    view: np.ndarray

    @property
    def address(self) -> int:
        return self.buffer.ctypes.data + self.start * self.buffer.itemsize


def operand(shape: list[int], strides: list[int], dtype: str, filler: float) -> Operand:
    """Memory for an array with these element strides, which may be negative or zero."""
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    low = sum(r for r in reach if r < 0)
    high = sum(r for r in reach if r > 0)
    buffer = np.full(high - low + 1 + 2 * MARGIN, filler, dtype)
    start = MARGIN - low
    item = buffer.itemsize
    view = as_strided(buffer[start:], shape, [stride * item for stride in strides])
    return Operand(buffer, start, view)


def check(
    contraction: Contraction,
    kernel: Kernel,
    parameters: Mapping[str, int] | None = None,
    seed: int = 0,
) -> None:
    """Run a kernel on random data; compare all of C's memory with NumPy's answer in float64."""
    parameters = dict(parameters or {})

    def value(item: int | str) -> int:
        return parameters[item] if isinstance(item, str) else item

    random = np.random.default_rng(seed)
    dimensions = contraction.dimensions
    shape = [value(d.extent) for d in dimensions]
    dtype = contraction.dtype
    empty = 0 in shape
    full = [max(size, 1) for size in shape]
    # Whatever no index names is NaN in A and B: one element too many spoils the sum.
    a = operand(full, [value(d.a) for d in dimensions], dtype, np.nan)
    b = operand(full, [value(d.b) for d in dimensions], dtype, np.nan)
    for source in (a, b):
        named = source.view
        flat = random.standard_normal(source.buffer.shape).astype(dtype)
        mask = np.zeros(source.buffer.shape, bool)
        as_strided(
            mask[source.start :], named.shape, [s // source.buffer.itemsize for s in named.strides]
        )[...] = True
        source.buffer[mask] = flat[mask]
    kept = [n for n, d in enumerate(dimensions) if d.c != 0]
    c = operand([full[n] for n in kept], [value(dimensions[n].c) for n in kept], dtype, SENTINEL)
    c.view[...] = random.standard_normal(c.view.shape)
    expected = c.buffer.copy()
    target = as_strided(expected[c.start :], c.view.shape, c.view.strides)
    target = target[(*(slice(shape[n]) for n in kept), ...)]
    inside = (*(slice(size) for size in shape), ...)
    product = a.view[inside].astype("float64") * b.view[inside].astype("float64")
    summed = tuple(n for n, d in enumerate(dimensions) if d.c == 0)
    total = product.sum(axis=summed)
    size = np.abs(product).sum(axis=summed).max() if not empty and product.size else 1.0
    np.copyto(target, total + target if contraction.accumulate else total)
    kernel(a.address, b.address, c.address, *[parameters[p] for p in contraction.parameters])
    np.testing.assert_allclose(
        c.buffer, expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(size))
    )


def product(
    rows: int | str,
    inner: int | str,
    columns: int | str,
    *,
    a_transposed: bool = False,
    b_transposed: bool = False,
    dtype: str = "float32",
    accumulate: bool = False,
    pitch: int = 0,
) -> Contraction:
    """A matrix product. Run-time extents need `pitch`, the row length of every array."""
    inner_pitch = pitch or inner
    row_pitch = pitch or rows
    column_pitch = pitch or columns
    assert not isinstance(inner_pitch, str)
    assert not isinstance(row_pitch, str)
    assert not isinstance(column_pitch, str)
    return Contraction(
        dtype,
        (
            Dimension("row", rows, 1 if a_transposed else inner_pitch, 0, column_pitch),
            Dimension("column", columns, 0, inner_pitch if b_transposed else 1, 1),
            Dimension(
                "inner",
                inner,
                row_pitch if a_transposed else 1,
                1 if b_transposed else column_pitch,
                0,
            ),
        ),
        accumulate,
    )


TRANSPOSITIONS = [(False, False), (False, True), (True, False), (True, True)]


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


@pytest.mark.parametrize(
    "name", [name for name in MACHINES if name not in ("16 bytes", "32 bytes")]
)
@pytest.mark.parametrize(("a_transposed", "b_transposed"), TRANSPOSITIONS)
def test_run_time_extents_of_every_length(
    name: str, a_transposed: bool, b_transposed: bool
) -> None:
    def form(
        rows: int | str, inner: int | str, columns: int | str, accumulate: bool
    ) -> Contraction:
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


def test_large_products_blocked_and_packed() -> None:
    small = replace(HOST, l1=4096, l2=16384)
    shapes = [(130, 70, 90), (9, 300, 150)]
    contractions = [
        product(m, k, n, a_transposed=ta, b_transposed=tb, accumulate=ta)
        for m, k, n in shapes
        for ta, tb in TRANSPOSITIONS
    ]
    plans = [plan_contraction(contraction, small) for contraction in contractions]
    assert any(plan.pack_level is not None for plan in plans)
    assert any(loop.role == "block" for plan in plans for loop in plan.loops)
    kernels = Kernels(contractions, small)
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


def test_packed_panels_fit_on_the_stack() -> None:
    small = replace(HOST, l1=4096, l2=16384)
    apart = Contraction(
        "float32",
        (
            Dimension("row", 40, 2000, 0, 33),
            Dimension("column", 33, 0, 2000, 1),
            Dimension("far", 3, 601, 601, 0),
            Dimension("near", 600, 1, 1, 0),
        ),
    )
    packed = product(130, 70, 90)
    for contraction in (apart, packed):
        module = ir.Module()
        emit_contraction(module, "kernel", contraction, small)
        panels = [int(count) for count in re.findall(r"alloca \[(\d+) x float\]", str(module))]
        assert all(count * 4 <= small.panel for count in panels)
        assert bool(panels) == (contraction is packed)
        check(contraction, Kernels([contraction], small).functions[0])


def convolutions(
    images: int | str,
    channels: int,
    height: int,
    width: int,
    filters: int,
    size: tuple[int, int],
    dtype: str = "float32",
) -> dict[str, Contraction]:
    """Correlation of images by filters, and its gradients by filters and by (padded) images."""
    tall, wide = size
    rows, columns = height - tall + 1, width - wide + 1
    tall_padded, wide_padded = height + tall - 1, width + wide - 1
    image, output, kernel = height * width, rows * columns, tall * wide
    padded = tall_padded * wide_padded
    return {
        "forward": Contraction(
            dtype,
            (
                Dimension("image", images, 0, channels * image, filters * output),
                Dimension("filter", filters, channels * kernel, 0, output),
                Dimension("y", rows, 0, width, columns),
                Dimension("x", columns, 0, 1, 1),
                Dimension("channel", channels, kernel, image, 0),
                Dimension("filter_y", tall, wide, width, 0),
                Dimension("filter_x", wide, 1, 1, 0),
            ),
        ),
        "filters": Contraction(
            dtype,
            (
                Dimension("image", images, filters * output, channels * image, 0),
                Dimension("filter", filters, output, 0, channels * kernel),
                Dimension("y", rows, columns, width, 0),
                Dimension("x", columns, 1, 1, 0),
                Dimension("channel", channels, 0, image, kernel),
                Dimension("filter_y", tall, 0, width, wide),
                Dimension("filter_x", wide, 0, 1, 1),
            ),
        ),
        "images": Contraction(
            dtype,
            (
                Dimension("image", images, 0, filters * padded, channels * image),
                Dimension("channel", channels, kernel, 0, image),
                Dimension("y", height, 0, wide_padded, width),
                Dimension("x", width, 0, 1, 1),
                Dimension("filter", filters, channels * kernel, padded, 0),
                Dimension("filter_y", tall, -wide, wide_padded, 0),
                Dimension("filter_x", wide, -1, 1, 0),
            ),
        ),
    }


CONVOLUTIONS = {
    "narrow": (3, 2, 9, 8, 3, (3, 2)),
    "wide": (2, 3, 6, 45, 5, (2, 5)),
    "tiny": (4, 5, 4, 4, 6, (3, 3)),
    "one pixel": (2, 6, 5, 7, 4, (1, 1)),
    "book": (2, 4, 12, 12, 10, (5, 5)),
}


@pytest.mark.parametrize("name", MACHINES)
def test_convolutions_and_their_gradients(name: str) -> None:
    contractions = [
        contraction
        for shape in CONVOLUTIONS.values()
        for contraction in convolutions(*shape).values()
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


def split_cases() -> list[tuple[Contraction, dict[str, int]]]:
    """Contractions whose plans differ in the loop that is shared out and in what lies round it."""
    small: dict[str, int] = {}
    cases = [
        product(m, k, n, a_transposed=ta, b_transposed=tb, accumulate=m == 9)
        for m, k, n in [(10, 60, 100), (130, 70, 90), (9, 300, 150), (61, 5, 3)]
        for ta, tb in TRANSPOSITIONS
    ]
    cases += [form for shape in CONVOLUTIONS.values() for form in convolutions(*shape).values()]
    late = [product("m", "k", 100, pitch=130), product(40, "k", "n", b_transposed=True, pitch=130)]
    return [(case, small) for case in cases] + [(case, {"k": 70, "m": 23, "n": 37}) for case in late]


@pytest.mark.parametrize("name", ["64 bytes", "16 bytes", "tiny caches"])
def test_any_split_of_the_units_gives_the_bits_of_the_whole(name: str) -> None:
    machine, cases = MACHINES[name], split_cases()
    if name == "tiny caches":
        machine = replace(machine, l1=4096, l2=16384)
    kernels = Kernels([contraction for contraction, _ in cases], machine)
    random = np.random.default_rng(2)
    a, b = random.standard_normal((2, 60000)).astype("float32")
    start = random.standard_normal(40000).astype("float32")
    counts = []
    for (contraction, values), part in zip(cases, kernels.parts, strict=True):
        parameters = [values[name] for name in contraction.parameters]

        def run(
            *ranges: tuple[int, int], part: Kernel = part, parameters: list[int] = parameters
        ) -> np.ndarray:
            c = start.copy()
            for first, last in ranges:
                # Far enough in for indices that run backwards.
                middle = [each.ctypes.data + 4 * 10000 for each in (a, b)]
                part(*middle, c.ctypes.data, *parameters, first, last)
            return c

        units = contraction_units(contraction, machine)
        counts.append(units)
        if units is None:
            continue
        whole = run((0, units))
        assert not np.array_equal(whole, start)
        single = [(n, n + 1) for n in range(units)]
        half = units // 2
        for ranges in ([(0, half), (half, units)], [(half, units), (0, half)], single, single[::-1]):
            np.testing.assert_array_equal(run(*ranges), whole)
        np.testing.assert_array_equal(run((0, 0), (half, half), (units, units)), start)
        assert not np.array_equal(run((units - 1, units)), start)
    assert sum(units is not None and units >= 4 for units in counts) > len(counts) // 3
    # Rows of A, columns of B and blocks are shared out, in packed plans and in others.
    plans = [plan_contraction(contraction, machine) for contraction, _ in cases]
    shared = {plan.loops[plan.split].role for plan in plans if plan.split is not None}
    assert {"tile", "step"} <= shared
    if name == "tiny caches":
        assert any(
            plan.split is not None and any(loop.role == "block" for loop in plan.loops[: plan.split])
            for plan in plans
        )


@pytest.mark.parametrize("name", MACHINES)
def test_tiles_may_be_turned_before_they_are_stored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it pays: with gaps, edges and sums in blocks."""
    monkeypatch.setattr(contraction_tile, "turning", lambda *_: (True, 0.0))
    machine = replace(MACHINES[name], l1=4096, l2=16384)
    contractions = [
        product(m, k, n, a_transposed=ta, accumulate=accumulate)
        for m, k, n in [(70, 90, 33), (130, 5, 64), (16, 40, 16), (37, 64, 18)]
        for ta, accumulate in [(False, False), (True, True)]
    ]
    contractions += [convolutions(*shape)["forward"] for shape in CONVOLUTIONS.values()]
    kernels = Kernels(contractions, machine)
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


@pytest.mark.parametrize("name", MACHINES)
def test_columns_that_lie_apart_are_turned_while_packed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = []
    pack = emitter._Emitter._pack_turned

    def spy(self: emitter._Emitter, *arguments: Any) -> None:
        turned.append(self.plan)
        pack(self, *arguments)

    monkeypatch.setattr(emitter._Emitter, "_pack_turned", spy)
    machine = replace(MACHINES[name], l1=max(16384, MACHINES[name].l1), l2=1 << 18)
    # Whole vectors of contracted indices and what is left, columns left over, and blocks.
    shapes = [(96, 70, 64), (200, 37, 45), (300, 16, 33), (250, 700, 40)]
    contractions = [product(m, k, n, b_transposed=True) for m, k, n in shapes]
    contractions += [convolutions(20, 7, 9, 11, 33, (3, 2))["forward"]]
    kernels = Kernels(contractions, machine)
    assert turned
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


def test_rows_of_two_indices() -> None:
    machine = replace(HOST, lanes_bytes=64, registers=32, l1=48 << 10, l2=1 << 20)
    shape = 10, 6, 14, 14, 16, (5, 5)
    contractions = [form for name, form in convolutions(*shape).items() if name != "images"]
    for contraction in contractions:
        assert len(plan_contraction(contraction, machine).rows) == 2
    for contraction, kernel in zip(contractions, Kernels(contractions, machine).functions, strict=True):
        check(contraction, kernel)


def test_turning_pays_where_rows_lie_together() -> None:
    together, apart = range(16), range(0, 1600, 100)
    assert turning(together, 32, 32, 16)[0]
    assert not turning(together, 2, 32, 16)[0]
    assert not turning(apart, 32, 32, 16)[0]
    assert turning(apart, 2, 32, 16) == (False, 32)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_transposed_vectors(count: int) -> None:
    module = ir.Module()
    pointer = ir.PointerType()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer]), "transpose")
    builder = ir.IRBuilder(function.append_basic_block())
    vectors = Vectors(builder, ir.FloatType(), 4, False)
    source, target = function.args
    rows = [vectors.load(source, range(8 * n, 8 * n + 8), 8) for n in range(count)]
    for n, vector in enumerate(vectors.transpose(rows)):
        vectors.store(vector, target, range(count * n, count * n + count), False)
    builder.ret_void()
    loaded = llvm.load_object(llvm.emit_object(module, HOST))
    matrix = np.arange(8 * count, dtype="float32").reshape(count, 8)
    turned = np.zeros((8, count), "float32")
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("transpose"))
    run(matrix.ctypes.data, turned.ctypes.data)
    np.testing.assert_array_equal(turned, matrix.T)


@st.composite
def any_contraction(draw: st.DrawFn) -> tuple[Contraction, dict[str, int]]:
    """Any roles, orders, gaps, directions and overlaps, some of it known at run time only."""
    roles = draw(
        st.lists(st.sampled_from(["ac", "bc", "ab", "ab", "abc", "a", "b", "c"]), max_size=5)
    )
    long = draw(st.integers(0, max(len(roles) - 1, 0)))
    extents = [
        draw(st.integers(0, 40) if n == long else st.integers(1, 5)) for n in range(len(roles))
    ]
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


def test_emission_is_deterministic() -> None:
    texts = []
    for _ in range(2):
        plan_contraction.cache_clear()
        module = ir.Module()
        emit_contraction(module, "kernel", product(20, 30, 40), HOST)
        texts.append(str(module))
    assert texts[0] == texts[1]


def test_dimensions_are_dropped_turned_round_and_joined() -> None:
    def shortest(*dimensions: Dimension) -> tuple[tuple[Dimension, ...], tuple[int, int, int]]:
        return normalise(Contraction("float32", dimensions))

    assert shortest(Dimension("i", 1, 5, 6, 7)) == ((), (0, 0, 0))
    backwards = Dimension("i", 4, -3, 0, -1)
    assert shortest(backwards) == ((Dimension("i", 4, 3, 0, 1),), (-9, 0, -3))
    late = Dimension("i", "n", -3, 0, -1)
    assert shortest(late) == ((late,), (0, 0, 0))
    y, x = Dimension("y", 5, 0, 7, 7), Dimension("x", 7, 0, 1, 1)
    assert shortest(x, y) == ((Dimension("y.x", 35, 0, 1, 1),), (0, 0, 0))
    # Five rows of seven, but five apart: not one row of thirty-five.
    assert shortest(Dimension("y", 5, 0, 5, 5), x)[0] == (Dimension("y", 5, 0, 5, 5), x)
    assert shortest(Dimension("y", 5, 0, 7, 8), x)[0] == (Dimension("y", 5, 0, 7, 8), x)


def test_plans_suit_the_shapes() -> None:
    wide = replace(HOST, lanes_bytes=64, registers=32, masks=True, l1=48 << 10, l2=1 << 20)
    convolution = convolutions(10, 20, 12, 12, 40, (5, 5))
    assert plan_contraction(convolution["forward"], wide).kind == "outer"
    assert plan_contraction(convolution["filters"], wide).kind == "inner"
    assert plan_contraction(product(1000, 1000, 1), wide).kind == "inner"
    assert plan_contraction(product(1, 1000, 1000), wide).kind == "outer"
    assert "tile" in plan_contraction(product(64, 64, 64), wide).describe()
    assert plan_contraction(product(4, 0, 4, accumulate=True), wide).kind == "nothing"


def test_arm_gets_vector_instructions() -> None:
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    arm = Machine(
        lanes_bytes=16,
        registers=32,
        name="neoverse-n1",
        features="+neon",
        triple="aarch64-unknown-linux-gnu",
    )
    for contraction in convolutions(2, 4, 12, 12, 8, (5, 5)).values():
        module = ir.Module()
        emit_contraction(module, "kernel", contraction, arm)
        text = llvm.emit_assembly(module, arm)
        assert text.count("fmla") >= 12
        assert "fmadd" not in text


OTHERS = {
    "avx2": Machine(32, 16, name="haswell", triple="x86_64-unknown-linux-gnu", masks=True),
    "arm": Machine(16, 32, name="neoverse-n1", triple="aarch64-unknown-linux-gnu"),
}


@pytest.mark.parametrize(("name", "used"), [("avx2", "ymm"), ("arm", "fmla")])
def test_code_for_other_processors(name: str, used: str) -> None:
    """Products of every transposition, packed and turned ones among them, for processors other than ours."""
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    forms = [product(300, 120, 96, a_transposed=ta, b_transposed=tb) for ta, tb in TRANSPOSITIONS]
    forms += [product(1, 300, 40), product("m", "k", 24, pitch=64)]
    forms += list(convolutions(10, 6, 14, 14, 16, (5, 5)).values())
    module = ir.Module()
    for number, form in enumerate(forms):
        emit_contraction(module, f"kernel_{number}", form, OTHERS[name])
    text = llvm.emit_assembly(module, OTHERS[name])
    assert text.count(used) > 20 * len(forms)
    assert "zmm" not in text


def test_what_is_not_a_contraction_is_refused() -> None:
    with pytest.raises(ValueError, match="float32 and float64; asked for 'int32'"):
        Contraction("int32", ())
    with pytest.raises(ValueError, match="own name"):
        Contraction("float32", (Dimension("i", 2, 1, 1, 0), Dimension("i", 3, 0, 1, 1)))
    with pytest.raises(ValueError, match="extent -2"):
        Contraction("float32", (Dimension("i", -2, 1, 1, 0),))
