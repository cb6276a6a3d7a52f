"""Contractions to try, compiled for several machines, and their check against NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from llvmlite import ir
from numpy.lib.stride_tricks import as_strided

from symnet.backend.cpu import llvm
from symnet.backend.cpu.contraction import (
    Contraction,
    Dimension,
    contraction_units,
    emit_contraction,
)
from symnet.backend.cpu.machine import Machine, host_machine

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
        as_strided(mask[source.start :], named.shape, [s // source.buffer.itemsize for s in named.strides])[
            ...
        ] = True
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
    np.testing.assert_allclose(c.buffer, expected, rtol=0, atol=TOLERANCE[dtype] * max(1.0, float(size)))


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
