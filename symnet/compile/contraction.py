"""Takes nothing but numbers: what a contraction of two strided arrays is.
Hands on `Contraction`, the same in its shortest terms, and the offsets of indices set side by side.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Bytes of one element of the dtypes that contractions work on.
_ELEMENT_BYTES = {"float32": 4, "float64": 8}


def element_bytes(dtype: str) -> int:
    """Bytes of one element; ValueError for anything but "float32" and "float64"."""
    if dtype not in _ELEMENT_BYTES:
        raise ValueError(f"contractions work on float32 and float64; asked for {dtype!r}")
    return _ELEMENT_BYTES[dtype]


@dataclass(frozen=True)
class Dimension:
    """One index of a contraction: how far it runs, and its stride in A, B and C, in elements.

    A stride is 0 where the index does not appear; c == 0 means that the index is summed over.
    Extents and strides are numbers, or names of int64 parameters known at run time.
    """

    name: str
    extent: int | str
    a: int | str
    b: int | str
    c: int | str


@dataclass(frozen=True)
class Contraction:
    """C[sum i*c] = (or += with `accumulate`) the sum over indices with c == 0 of A[..] * B[..].

    >>> product = Contraction("float32", (
    ...     Dimension("row", 10, 100, 0, 30),
    ...     Dimension("column", 30, 0, 1, 1),
    ...     Dimension("inner", 100, 1, 30, 0)))
    >>> product.multiply_adds({})
    30000
    """

    dtype: str
    dimensions: tuple[Dimension, ...]
    accumulate: bool = False

    def __post_init__(self) -> None:
        element_bytes(self.dtype)
        names = [dimension.name for dimension in self.dimensions]
        if len(set(names)) != len(names):
            raise ValueError(f"each dimension of a contraction has its own name; got {names}")
        for dimension in self.dimensions:
            if isinstance(dimension.extent, int) and dimension.extent < 0:
                raise ValueError(
                    f"dimension {dimension.name!r} of a contraction has extent {dimension.extent}"
                )

    @property
    def parameters(self) -> list[str]:
        """Names of the run-time parameters, sorted: the order in which the kernel takes them."""
        values = (
            value
            for dimension in self.dimensions
            for value in (dimension.extent, dimension.a, dimension.b, dimension.c)
        )
        return sorted({value for value in values if isinstance(value, str)})

    def multiply_adds(self, parameters: dict[str, int]) -> int:
        """Multiply-adds of one call, given the values of the run-time parameters."""
        return math.prod(
            parameters[d.extent] if isinstance(d.extent, str) else d.extent for d in self.dimensions
        )


def normalise(
    contraction: Contraction,
) -> tuple[tuple[Dimension, ...], tuple[int, int, int]]:
    """Drop dimensions of extent 1, turn round those that run backwards, join those that can be one.

    Returns the dimensions left and what to add to the pointers A, B and C first.
    """
    offsets = [0, 0, 0]
    kept: list[Dimension] = []
    for dimension in contraction.dimensions:
        a, b, c, extent = dimension.a, dimension.b, dimension.c, dimension.extent
        if extent == 1:
            continue
        if all(isinstance(value, int) for value in (a, b, c, extent)):
            backwards = c < 0 or (c == 0 and a <= 0 and b <= 0)  # type: ignore[operator]
            if backwards and extent:
                for position, stride in enumerate((a, b, c)):
                    offsets[position] += (extent - 1) * stride  # type: ignore[operator]
                dimension = replace(dimension, a=-a, b=-b, c=-c)  # type: ignore[operator]
        kept.append(dimension)
    joined = True
    while joined:
        joined = False
        for outer, inner in itertools.permutations(kept, 2):
            if _are_one(outer, inner):
                place = kept.index(outer)
                kept[place] = replace(
                    inner,
                    name=f"{outer.name}.{inner.name}",
                    extent=outer.extent * inner.extent,  # type: ignore[operator]
                )
                kept.remove(inner)
                joined = True
                break
    return tuple(kept), (offsets[0], offsets[1], offsets[2])


def _are_one(outer: Dimension, inner: Dimension) -> bool:
    """Whether the indices (outer, inner) walk memory as one index of the product extent would."""
    if not isinstance(outer.extent, int) or not isinstance(inner.extent, int):
        return False
    pairs = ((outer.a, inner.a), (outer.b, inner.b), (outer.c, inner.c))
    return all(
        isinstance(far, int) and isinstance(near, int) and far == near * inner.extent
        for far, near in pairs
    )


def lane_offsets(blocks: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, ...]]:
    """Offsets of every index combination of nested blocks, the first block fastest.

    Each block is (how many indices, strides in the arrays asked about).
    """
    lanes: list[tuple[int, ...]] = [()]
    for position, (size, strides) in enumerate(blocks):
        if position == 0:
            lanes = [tuple(i * stride for stride in strides) for i in range(size)]
        else:
            lanes = [
                tuple(near + i * stride for near, stride in zip(lane, strides, strict=True))
                for i in range(size)
                for lane in lanes
            ]
    return lanes


def runs(offsets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Lanes that lie side by side in memory, as (first lane, its offset, how many).

    >>> runs([0, 1, 2, 8, 9, 20])
    [(0, 0, 3), (3, 8, 2), (5, 20, 1)]
    """
    found: list[tuple[int, int, int]] = []
    for lane, offset in enumerate(offsets):
        if found and offset == found[-1][1] + found[-1][2]:
            first, start, length = found[-1]
            found[-1] = (first, start, length + 1)
        else:
            found.append((lane, offset, 1))
    return found
