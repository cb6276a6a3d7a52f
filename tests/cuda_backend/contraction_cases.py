"""Contractions for bodies to do, with memory for their arrays, and what NumPy makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided

from symnet.backend.cuda import toolkit
from symnet.backend.cuda.body import BLOCK, STATE, THREAD, Body
from symnet.backend.cuda.machine import SIMULATOR
from symnet.compile.contraction import Contraction, Dimension

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
MARGIN = 24
SENTINEL = 1234.5


def source_of(body: Body, name: str = "kernel") -> str:
    """A body alone as a kernel: its parameters, then its sizes and the words of failures as int64 arrays."""
    lines = [f"def {name}({', '.join([each.name for each in body.parameters] + ['sizes', STATE])}):"]
    lines += [f"    {BLOCK} = np.int64(cuda.blockIdx.x)", f"    {THREAD} = np.int32(cuda.threadIdx.x)"]
    lines += [f"    {size} = sizes[{number}]" for number, size in enumerate(body.sizes)]
    return "\n".join([*lines, *(f"    {line}" for line in body.lines)]) + "\n"


def simulate(bodies: Sequence[Body], memory: dict[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """Run bodies one after the other on arrays by their names; scratch memory is NaN at first."""
    for body in bodies:
        for scratch in body.scratch:
            memory.setdefault(scratch.name, np.full(scratch.count, np.nan, scratch.dtype))
        arrays = [memory[each.name] for each in body.parameters]
        given = np.array([sizes[each] for each in body.sizes], "int64")
        kernel = toolkit.simulate(source_of(body), "kernel")
        kernel(body.blocks, SIMULATOR.threads, *arrays, given, np.zeros(8, "int64"))


@dataclass
class Array:
    """A strided array inside longer memory."""

    memory: np.ndarray
    start: int
    view: np.ndarray


def array(shape: Sequence[int], strides: Sequence[int], dtype: str, filler: float) -> Array:
    """Memory for an array of these element strides, which may be negative or zero."""
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    # A multiple of four entries before the first, so that vector loads are where they may be.
    start = MARGIN - low + (low % 4)
    memory = np.full(start + high + 1 + MARGIN, filler, dtype)
    return Array(
        memory, start, as_strided(memory[start:], shape, [each * memory.itemsize for each in strides])
    )


def values_of(contraction: Contraction, sizes: Mapping[str, int]) -> list[tuple[int, tuple[int, ...]]]:
    """Extent and strides of each dimension as numbers."""
    found = []
    for each in contraction.dimensions:
        extent, *strides = (sizes[v] if isinstance(v, str) else v for v in (each.extent, *each.strides))
        found.append((extent, tuple(strides)))
    return found


@dataclass
class Problem:
    """Arrays for a contraction, and where each begins in its memory."""

    memory: dict[str, np.ndarray]
    offsets: list[int]
    #: What the arrays hold where the contraction looks, and the sums it is to find.
    product: np.ndarray
    target: Array
    further: list[Array]
    tolerance: float


def problem(contraction: Contraction, sizes: Mapping[str, int], seed: int = 0) -> Problem:
    """Random numbers for a contraction; what it has no business with is NaN in A and B."""
    random = np.random.default_rng(seed)
    known = values_of(contraction, sizes)
    shape = [extent for extent, _ in known]
    full = [max(1, extent) for extent in shape]
    dtype = contraction.dtype
    inputs = []
    for position in (0, 1):
        made = array(full, [strides[position] for _, strides in known], dtype, np.nan)
        named = np.zeros(made.memory.shape, bool)
        as_strided(named[made.start :], full, [s // made.memory.itemsize for s in made.view.strides])[...] = (
            True
        )
        made.memory[named] = random.standard_normal(int(named.sum())).astype(dtype)
        inputs.append(made)
    kept = [n for n, each in enumerate(contraction.dimensions) if each.c != 0]

    def outer(position: int, of: str) -> Array:
        made = array([full[n] for n in kept], [known[n][1][position] for n in kept], of, 0)
        made.memory[...] = SENTINEL if of != "bool" else 0
        made.view[...] = random.standard_normal(made.view.shape) if of != "bool" else 1
        if of == "bool":
            made.memory[...] = random.integers(0, 2, made.memory.shape)
        return made

    target = outer(2, dtype)
    dtypes = () if contraction.epilogue is None else contraction.epilogue.dtypes
    further = [outer(3 + n, of) for n, of in enumerate(dtypes)]
    inside = tuple(slice(extent) for extent in shape)
    terms = inputs[0].view[inside].astype("float64") * inputs[1].view[inside].astype("float64")
    summed = tuple(n for n, each in enumerate(contraction.dimensions) if each.c == 0)
    product = terms.sum(axis=summed)
    most = float(np.abs(terms).sum(axis=summed).max()) if terms.size else 1.0
    arrays = [*inputs, target, *further]
    names = ["a", "b", "c", *(f"d{n}" for n in range(len(further)))]
    memory = {
        name: made.memory.view("uint8") if made.memory.dtype == bool else made.memory
        for name, made in zip(names, arrays, strict=True)
    }
    return Problem(
        memory, [made.start for made in arrays], product, target, further, TOLERANCE[dtype] * max(1.0, most)
    )


def within(made: Array, product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A copy of an array's memory, and the part of it where results go."""
    memory = made.memory.copy()
    view = as_strided(memory[made.start :], made.view.shape, made.view.strides)
    return memory, view[(*(slice(extent) for extent in product.shape), ...)]


# --- contractions -------------------------------------------------------------------------------------


def dot(
    rows: int | str,
    inner: int | str,
    columns: int | str,
    *,
    a_transposed: bool = False,
    b_transposed: bool = False,
    dtype: str = "float32",
    pitch: int | None = None,
    accumulate: bool = False,
) -> Contraction:
    """A product of matrices; with run-time lengths `pitch` is the distance between lines of all of them."""
    a_pitch, b_pitch, c_pitch = (
        (pitch,) * 3
        if pitch is not None
        else (rows if a_transposed else inner, inner if b_transposed else columns, columns)
    )
    return Contraction(
        dtype,
        (
            Dimension("row", rows, 1 if a_transposed else a_pitch, 0, c_pitch),
            Dimension("column", columns, 0, b_pitch if b_transposed else 1, 1),
            Dimension("inner", inner, a_pitch if a_transposed else 1, 1 if b_transposed else b_pitch, 0),
        ),
        accumulate,
    )


def convolution(
    images: int | str,
    channels: int,
    height: int,
    width: int,
    filters: int,
    size: tuple[int, int],
    step: int = 1,
) -> dict[str, Contraction]:
    """A convolution (its filters turned round), and its gradients by filters and by padded images."""
    tall, wide = size
    rows, columns = (height - tall) // step + 1, (width - wide) // step + 1
    image, output, kernel = height * width, rows * columns, tall * wide
    padded_width = width + wide - 1
    padded = (height + tall - 1) * padded_width
    return {
        "forward": Contraction(
            "float32",
            (
                Dimension("batch", images, 0, channels * image, filters * output),
                Dimension("out", filters, channels * kernel, 0, output),
                Dimension("channel", channels, kernel, image, 0),
                Dimension("y", rows, 0, width * step, columns),
                Dimension("x", columns, 0, step, 1),
                Dimension("ky", tall, -wide, width, 0),
                Dimension("kx", wide, -1, 1, 0),
            ),
        ),
        "filters": Contraction(
            "float32",
            (
                Dimension("batch", images, filters * output, channels * image, 0),
                Dimension("out", filters, output, 0, channels * kernel),
                Dimension("channel", channels, 0, image, kernel),
                Dimension("y", rows, columns, width * step, 0),
                Dimension("x", columns, 1, step, 0),
                Dimension("ky", tall, 0, width, -wide),
                Dimension("kx", wide, 0, 1, -1),
            ),
        ),
        "images": Contraction(
            "float32",
            (
                Dimension("batch", images, filters * padded, 0, channels * image),
                Dimension("channel", channels, 0, kernel, image),
                Dimension("y", height, padded_width, 0, width),
                Dimension("x", width, 1, 0, 1),
                Dimension("out", filters, padded, channels * kernel, 0),
                Dimension("ky", tall, padded_width, wide, 0),
                Dimension("kx", wide, 1, 1, 0),
            ),
        ),
    }
