"""Takes a generalised contraction of two strided arrays and a machine.
Hands on what a model of cost in cycles counts: tiles and their remainders, loads, stores, footprints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from symnet.compile.contraction import Dimension, lane_offsets, runs

from .contraction_loops import Loop, chains
from .machine import Machine

# An extent that is only known at run time counts as this many when candidates are compared.
_ASSUMED_EXTENT = 16
_LINE_BYTES = 64
_MOST_SIZES = 6

#: Nested indices of a tile, as (dimension, how many at a time), fastest first.
Blocks = list[tuple[Dimension, int]]


def segments(extent: int | str, size: int) -> list[tuple[int, float]]:
    """(indices taken, how often) for a loop of `size` over `extent`; the remainder comes last."""
    if isinstance(extent, str):
        return [(size, _ASSUMED_EXTENT / size)]
    whole, rest = divmod(extent, size)
    return [(s, n) for s, n in ((size, whole), (rest, 1)) if s and n]


def block_segments(blocks: Blocks) -> list[tuple[int, float]]:
    """`segments` of nested indices, all but the last of which are taken whole."""
    if not blocks:
        return [(1, 1.0)]
    near = math.prod(size for _, size in blocks[:-1])
    last, size = blocks[-1]
    return [(near * taken, times) for taken, times in segments(last.extent, size)]


def count(dimension: Dimension) -> int:
    """The extent, or what stands for it."""
    return _ASSUMED_EXTENT if isinstance(dimension.extent, str) else dimension.extent


def balanced(extent: int | str, most: int, choices: int = _MOST_SIZES) -> list[int]:
    """The largest few block sizes up to `most`, each the even split of `extent` into some blocks."""
    if most < 1:
        return []
    if isinstance(extent, str):
        return [2**power for power in range(most.bit_length())]
    sizes = {-(-extent // -(-extent // size)) for size in range(1, min(most, extent) + 1)}
    return sorted(sizes, reverse=True)[:choices]


def literal_strides(dimension: Dimension) -> tuple[int, int, int]:
    """The strides in A, B and C; TypeError where one is only known at run time."""
    a, b, c = dimension.a, dimension.b, dimension.c
    if isinstance(a, int) and isinstance(b, int) and isinstance(c, int):
        return a, b, c
    raise TypeError(f"dimension {dimension.name!r} has a stride that is only known at run time")


def narrow(lanes_used: int, lanes: int) -> int:
    """Lanes of the narrowest vector, a power of two, that holds `lanes_used` elements if one does."""
    return min(lanes, 1 << (lanes_used - 1).bit_length())


def elements(used: Iterable[tuple[int, int]]) -> int:
    """About how many different elements nested indices, as (extent, stride), name.

    Indices whose strides interleave, such as a pixel's and a filter's, name elements again.
    """
    found = span = 1
    for extent, stride in sorted(used, key=lambda pair: abs(pair[1])):
        if stride:
            overlapping = abs(stride) < span
            span += (extent - 1) * abs(stride)
            found = min(found * extent, span) if overlapping else found * extent
    return max(found, 1)


def runs_per_vector(sizes: Sequence[int], strides: Sequence[int], width: int) -> tuple[int, int]:
    """Stretches of memory that nested lanes cover, and how many are merged into others."""
    lanes = math.prod(sizes)
    vectors = -(-lanes // width)
    if len(sizes) == 1:
        loads = vectors if strides[0] == 1 else lanes
        return loads, loads - vectors
    offsets = [lane[0] for lane in lane_offsets([(n, (s,)) for n, s in zip(sizes, strides, strict=True)])]
    loads = sum(len(runs(offsets[i : i + width])) for i in range(0, lanes, width))
    return loads, loads - vectors


def step_cycles(fmas: float, loads: float, merges: float, steps: float, whole_tile: int) -> float:
    """Two multiply-adds and two loads a cycle, six operations in all, latency four.

    Half of the merges of loaded pieces are in the way of the multiply-adds.
    """
    waiting = 4 / chains(whole_tile, max(1, int(steps)))
    return max((fmas + merges / 2) / 2, loads / 2, (fmas + merges + loads + 1) / 6, waiting)


@dataclass(frozen=True)
class Stretch:
    """What one tile of columns takes: vectors, the loads that fill them, the stores of a row."""

    times: float
    lanes: int
    width: int
    vectors: int
    loads: int
    merges: int
    stores: int


class Model:
    """A contraction's indices in their roles, for one order of A and B, and the costs they share."""

    def __init__(
        self,
        dimensions: tuple[Dimension, ...],
        offsets: tuple[int, ...],
        swapped: bool,
        machine: Machine,
        element: int,
        accumulate: bool,
        cheapest: float,
        whole_sums: bool,
    ) -> None:
        self.dimensions = dimensions
        self.offsets = (offsets[1], offsets[0], *offsets[2:]) if swapped else offsets
        self.swapped = swapped
        self.machine = machine
        self.element = element
        self.accumulate = accumulate
        self.lanes = machine.lanes_bytes // element
        strides = {d.name: literal_strides(d) for d in dimensions}
        self.strides = strides

        def far_first(wanted: Iterable[Dimension], array: int) -> list[Dimension]:
            return sorted(wanted, key=lambda d: -abs(strides[d.name][array]))

        summed = [d for d in dimensions if d.c == 0]
        kept = [d for d in dimensions if d.c != 0]
        self.contracted = sorted(summed, key=lambda d: -max(abs(strides[d.name][0]), abs(strides[d.name][1])))
        self.rows = far_first((d for d in kept if d.a != 0 and d.b == 0), 2)
        self.columns = far_first((d for d in kept if d.a == 0 and d.b != 0), 2)
        self.batch = far_first((d for d in kept if (d.a == 0) == (d.b == 0)), 2)
        self.steps = math.prod(count(d) for d in self.contracted)
        self.repeats = math.prod(count(d) for d in self.batch)
        self.row = max(self.rows, key=count, default=None)
        self.row_count = math.prod(count(d) for d in self.rows)
        self.column_count = math.prod(count(d) for d in self.columns)
        self.a_bytes = self._footprint(0) // self.repeats
        self.b_bytes = self._footprint(1) // self.repeats
        #: Cycles of the best plan so far: those that take longer need not be made.
        self.cheapest = cheapest
        self.whole_sums = whole_sums

    def step_loops(self, wanted: Sequence[Dimension], blocks: Blocks) -> list[Loop]:
        """A loop for each index of C that is no part of the tile, and those that walk the tiles."""
        chosen = {d.name for d, _ in blocks}
        loops = [Loop(d.name, 1, "step") for d in wanted if d.name not in chosen]
        return loops + [Loop(d.name, size, "tile") for d, size in reversed(blocks)]

    def stretches(self, columns: Blocks) -> list[Stretch]:
        """What whole tiles and the remainder tile take of B and C, and how often each comes."""
        if not columns:
            return [Stretch(1.0, 1, 1, 1, 1, 0, 1)]
        chosen = {d.name for d, _ in columns}
        others = math.prod(count(d) for d in self.columns if d.name not in chosen)
        width = narrow(math.prod(size for _, size in columns), self.lanes)
        last, size = columns[-1]
        found = []
        for taken, times in segments(last.extent, size):
            sizes = [*(size for _, size in columns[:-1]), taken]
            strides = [self.strides[d.name] for d, _ in columns]
            loads, merges = runs_per_vector(sizes, [s[1] for s in strides], width)
            stores, _ = runs_per_vector(sizes, [s[2] for s in strides], width)
            lanes = math.prod(sizes)
            vectors = -(-lanes // width)
            found.append(Stretch(times * others, lanes, width, vectors, loads, merges, stores))
        return found

    def variants(self, *blocks: Blocks) -> float:
        """A small charge for each more tile of code to compile, for remainders."""
        tiles = 1
        for dimension, size in (each[-1] for each in blocks if each):
            if isinstance(dimension.extent, str):
                tiles *= len({size, 4, 1})
            else:
                tiles *= len(segments(dimension.extent, size))
        return 1 + 0.03 * (tiles - 1)

    def rows_outside(self, row_tiles: float, column_tiles: float) -> bool:
        """Whether B is the cheaper of the two to walk through again and again."""
        return row_tiles * self.walk(self.b_bytes) <= column_tiles * self.walk(self.a_bytes)

    def walk(self, size: float) -> float:
        """Cycles to read `size` bytes once, by the nearest cache that holds them."""
        return size / self.rate(size)

    def rate(self, size: float) -> float:
        """Bytes a cycle from the nearest cache that holds `size` bytes with room to spare."""
        return 64 if size <= self.machine.l1 // 2 else 48 if size <= self.machine.l2 // 2 else 12

    def astride(self, array: int, run: float, vector: Iterable[Dimension]) -> float:
        """How many lines of the cache a load of `run` elements touches, on average."""
        inside = {d.name for d in vector}
        far = [self.strides[d.name][array] for d in self.dimensions if d.name not in inside]
        if all(stride * self.element % _LINE_BYTES == 0 for stride in far):
            return 1.0
        # A load that touches two lines costs a little more than two loads.
        return 1 + 1.25 * (run - 1) * self.element / _LINE_BYTES

    def _footprint(self, array: int) -> int:
        """Bytes of A (0) or B (1) that the whole contraction reads."""
        used = [(count(d), self.strides[d.name][array]) for d in self.dimensions]
        return elements(used) * self.element
