"""Takes a contraction; hands on a `Plan`: which indices are rows and columns, how threads share a tile.

The sums of a tile stand in its threads' registers; slices of A and B pass through shared memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from symnet.backend.cuda.contraction_text import UNKNOWN, Space, dtype_below
from symnet.compile.contraction import Contraction, Dimension, element_bytes, normalise

A, B, C = 0, 1, 2

#: Steps of inner indices that a block lists at most, of four bytes each.
MOST_LISTED = 5120


@dataclass(frozen=True)
class Tile:
    """How a block's threads share a tile of sums.

    Attributes
    ----------
    down, across
        Threads along the tile's rows and columns.
    groups
        How many such sets of threads there are: each adds up its part of every slice.
    rows, columns
        The sums of a thread.
    depth
        The inner indices of a slice.
    """

    down: int
    across: int
    groups: int
    rows: int
    columns: int
    depth: int

    @property
    def height(self) -> int:
        """The tile's rows."""
        return self.down * self.rows

    @property
    def width(self) -> int:
        """The tile's columns."""
        return self.across * self.columns


@dataclass(frozen=True)
class Operand:
    """A or B, as a tile's slices of it are fetched.

    Attributes
    ----------
    buffer, array
        Its name, and its place among the arrays.
    space
        The rows of A, or the columns of B (after they may have been swapped).
    along_inner
        Whether neighbouring threads read neighbouring inner indices; else neighbouring rows.
    vector
        How many neighbouring entries one load takes.
    offset
        The array's first entry.
    dtype
        The dtype of offsets from there on.
    """

    buffer: str
    array: int
    space: Space
    along_inner: bool
    vector: int
    offset: int | str
    dtype: str


@dataclass(frozen=True)
class Plan:
    """What the text of a contraction follows from.

    `offsets` are those of all arrays with what `normalise` adds; `dtypes` those of steps from there on.
    """

    contraction: Contraction
    rows: Space
    columns: Space
    batch: Space
    inner: Space
    operands: tuple[Operand, Operand]
    offsets: tuple[int | str, ...]
    dtypes: tuple[str, ...]
    tile: Tile
    splits: int

    @property
    def known(self) -> bool:
        """Whether the number of tiles is known."""
        return None not in (self.rows.known, self.columns.known, self.batch.known)

    @property
    def ragged(self) -> bool:
        """Whether some slice may be cut short, or a part of the sum be empty."""
        count = self.inner.known
        if count is None:
            return True
        return count % self.tile.depth != 0 or (self.splits - 1) * self.share >= count

    @property
    def share(self) -> int:
        """The inner indices of one part, where their number is known."""
        assert self.inner.known is not None
        slices = -(-self.inner.known // self.tile.depth)
        return -(-slices // self.splits) * self.tile.depth

    @property
    def terms(self) -> int | None:
        """The most inner indices that a block adds up, where that is known."""
        return self.inner.known if self.splits == 1 or self.inner.known is None else self.share

    @property
    def listed(self) -> tuple[Operand, ...]:
        """The operands whose steps a block lists in shared memory, one for each inner index that it adds up.

        Those of several inner indices would else be found by divisions, by each thread for each load.
        """
        terms = self.terms
        found = tuple(
            each for each in self.operands if self.inner.linear(each.array) is None and each.dtype == "int32"
        )
        return found if terms is not None and terms * len(found) <= MOST_LISTED else ()

    @property
    def lanes(self) -> int:
        """How many neighbouring columns a thread stores in one access, wherever it stores."""
        epilogue = self.contraction.epilogue
        stored = [C, *(() if epilogue is None else (C + 1 + n for n, _ in epilogue.stores))]
        read = range(C + 1, C + 1 + self.contraction.others)

        def serves(lanes: int) -> bool:
            return (
                self.tile.width % lanes == 0
                and all(
                    aligned(array, self.columns, (self.rows, self.batch), self.offsets[array], lanes)
                    for array in stored
                )
                and all(self.columns.side_by_side(array, lanes) for array in read)
            )

        lanes = 16 // self.item
        while lanes > 1 and not serves(lanes):
            lanes //= 2
        return lanes

    @property
    def item(self) -> int:
        """Bytes of an entry."""
        return element_bytes(self.contraction.dtype)


def laid_out(contraction: Contraction, offsets: Sequence[int | str], most: Mapping[str, int]) -> Plan | None:
    """A plan with a tile of one sum, to choose another for; None where there is nothing to do.

    Parameters
    ----------
    offsets
        The first entries of A, B, C and the epilogue's arrays; numbers, or names of sizes.
    most
        The most that sizes known at run time can be.
    """
    dimensions, moved = normalise(contraction)
    if any(each.extent == 0 and each.c != 0 for each in dimensions):
        return None
    if any(each.extent == 0 for each in dimensions):
        if contraction.accumulate:
            return None
        # A sum over nothing is zero: one inner index without a length stands for all of them.
        empty = Dimension("empty", 0, 0, 0, 0, (0,) * contraction.others)
        dimensions = (*(each for each in dimensions if each.c != 0), empty)
    swapped = _swaps(dimensions)
    first, second = (B, A) if swapped else (A, B)
    kept = [each for each in dimensions if each.c != 0]
    inner = [each for each in dimensions if each.c == 0]
    rows = [each for each in kept if each.strides[first] != 0 and each.strides[second] == 0]
    columns = [each for each in kept if each.strides[first] == 0]
    batch = [each for each in kept if each.strides[first] != 0 and each.strides[second] != 0]

    def space(of: Sequence[Dimension]) -> Space:
        return Space(tuple(of), tuple(_most(each.extent, most) for each in of))

    starts = tuple(_sum(offset, more) for offset, more in zip(offsets, moved, strict=True))
    dtypes = tuple(_dtype(dimensions, array, most) for array in range(3 + contraction.others))
    spaces = (
        space(_ordered(rows, first, inner)),
        space(_ordered(columns, second, inner)),
        space(sorted(batch, key=lambda each: -_length(each.c))),
        space(_inner_order(inner, rows, columns, first, second)),
    )
    operands = tuple(
        _operand(
            array, part, spaces[2], spaces[3], starts[array], dtypes[array], element_bytes(contraction.dtype)
        )
        for array, part in ((first, spaces[0]), (second, spaces[1]))
    )
    return Plan(contraction, *spaces, operands, starts, dtypes, Tile(1, 1, 1, 1, 1, 1), 1)  # type: ignore[arg-type]


def _sum(offset: int | str, more: int) -> int | str:
    return offset + more if isinstance(offset, int) else offset if more == 0 else f"{offset} + {more}"


def _most(extent: int | str, most: Mapping[str, int]) -> int:
    return extent if isinstance(extent, int) else most.get(extent, UNKNOWN)


def _length(stride: int | str) -> int:
    """How far a stride goes, as far as that is known."""
    return abs(stride) if isinstance(stride, int) else UNKNOWN


def _dtype(dimensions: Sequence[Dimension], array: int, most: Mapping[str, int]) -> str:
    reach = 0
    for each in dimensions:
        stride = each.strides[array]
        if isinstance(stride, str):
            return "int64"
        reach += max(0, _most(each.extent, most) - 1) * abs(stride)
    return dtype_below(reach + 1)


# --- which index is what ------------------------------------------------------------------------------


def _swaps(dimensions: Sequence[Dimension]) -> bool:
    """Whether B's indices are the rows: where neighbours in C are A's."""
    by_a = [_length(each.c) for each in dimensions if each.c != 0 and each.a != 0 and each.b == 0]
    by_b = [_length(each.c) for each in dimensions if each.c != 0 and each.b != 0 and each.a == 0]
    return min(by_a, default=UNKNOWN) < min(by_b, default=UNKNOWN)


def _ordered(dimensions: Sequence[Dimension], array: int, inner: Sequence[Dimension]) -> list[Dimension]:
    """Outermost first: last what lies side by side in the array, unless inner indices do."""
    inner_is_near = any(_length(each.strides[array]) == 1 for each in inner)

    def place(each: Dimension) -> tuple[bool, int]:
        near = _length(each.strides[array]) == 1 and not inner_is_near
        return near, -_length(each.c)

    return sorted(dimensions, key=place)


def _inner_order(
    inner: Sequence[Dimension],
    rows: Sequence[Dimension],
    columns: Sequence[Dimension],
    first: int,
    second: int,
) -> list[Dimension]:
    """Outermost first: last what lies side by side in an array whose other indices do not."""
    deciding = [
        array
        for array, others in ((first, rows), (second, columns))
        if not any(_length(each.strides[array]) == 1 for each in others)
    ] or [first, second]

    def place(each: Dimension) -> int:
        return -min(_length(each.strides[array]) or UNKNOWN for array in deciding)

    return sorted(inner, key=place)


def _operand(
    array: int, space: Space, batch: Space, inner: Space, offset: int | str, dtype: str, item: int
) -> Operand:
    def last(of: Space) -> int:
        return (_length(of.strides(array)[-1]) or UNKNOWN) if of.dimensions else UNKNOWN

    along_inner = last(inner) < last(space)
    fast, slow = (inner, space) if along_inner else (space, inner)
    vector = 1
    for width in (2, 4):
        if width * item <= 16 and aligned(array, fast, (slow, batch), offset, width):
            vector = width
    return Operand("ab"[array], array, space, along_inner, vector, offset, dtype)


def aligned(array: int, fast: Space, others: Sequence[Space], offset: int | str, width: int) -> bool:
    """Whether groups of so many neighbours lie side by side, on multiples of their size."""
    if not fast.dimensions or fast.strides(array)[-1] != 1:
        return False
    if fast.linear(array) == 1:
        steps = [offset, fast.known]
    else:
        steps = [offset, fast.dimensions[-1].extent, *fast.strides(array)[:-1]]
    for each in others:
        steps += each.strides(array)
    return all(isinstance(step, int) and step % width == 0 for step in steps)


# --- shared memory ---------------------------------------------------------------------------------


#: Words of shared memory that threads of a warp write at once, one in each bank.
_BANKS = 32


def pitches(plan: Plan, tile: Tile) -> tuple[int, int]:
    """The distance between inner indices in shared memory, for A's slice and for B's."""
    a, b = (pitch for pitch, _ in _pitches(plan, tile))
    return a, b


def writes(plan: Plan, tile: Tile) -> tuple[int, int]:
    """How often a warp's write to A's slice and to B's has to be made, as its threads meet in banks."""
    a, b = (times for _, times in _pitches(plan, tile))
    return a, b


def _pitches(plan: Plan, tile: Tile) -> Iterator[tuple[int, int]]:
    sizes = ((tile.height, tile.rows), (tile.width, tile.columns))
    for operand, (size, own) in zip(plan.operands, sizes, strict=True):
        if operand.along_inner:
            align = min(own, 16 // plan.item)
            yield _pitch(size, tile.depth // operand.vector, operand.vector, align, plan.item // 4)
        else:
            yield size, 1


@functools.cache
def _pitch(size: int, lanes: int, vector: int, align: int, words: int) -> tuple[int, int]:
    """The least pitch that lets most of a warp's threads write at once, and how often they have to.

    Neighbouring threads bring neighbouring inner indices, `lanes` of them, then the next row's.
    """
    best = (0, _BANKS + 1)
    for pitch in range(size, size + 8 * align + 1, align):
        places = [
            (lane % lanes * vector * pitch + lane // lanes) * words % _BANKS
            for lane in range(_BANKS // words)
        ]
        times = max(places.count(place) for place in set(places))
        if times < best[1]:
            best = (pitch, times)
    return best


def slice_entries(plan: Plan, tile: Tile) -> int:
    """The entries of shared memory for a slice of A and one of B."""
    a, b = pitches(plan, tile)
    return _up(tile.depth * a, 4) + _up(tile.depth * b, 4)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
