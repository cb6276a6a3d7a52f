"""Takes a generalised contraction of two strided arrays and a machine.
Hands on a `Plan`: which index runs along vector lanes, the register tile, and the loops round it.

The register tile is the outer-product form of Goto and van de Geijn, "Anatomy of High-Performance
Matrix Multiplication" (ACM TOMS 34, 2008), with lanes gathered from several short rows where one
row would leave a vector half empty. The choice is by a short model of cost in cycles, which counts
multiply-adds, loads and shuffles for every candidate, ragged edges included.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from symnet.compile.contraction import (
    Contraction,
    Dimension,
    element_bytes,
    lane_offsets,
    normalise,
    runs,
)

from .machine import Machine

# An extent that is only known at run time counts as this many when candidates are compared.
_ASSUMED_EXTENT = 16
# Multiply-adds that must be in flight to keep two units of latency four busy.
_IN_FLIGHT = 8
# Longest run of vectors that one unrolled pass over contracted lanes may take.
_MOST_UNROLLED_VECTORS = 8


@dataclass(frozen=True)
class Loop:
    """One loop round the tile. An iteration takes `size` indices of the dimension.

    Roles: "step" takes one index; "tile" hands its indices to the register tile; "lanes" is a tile
    loop along vector lanes over an extent known at run time, so its last vector is masked; "block"
    narrows the dimension for the loops inside.
    """

    dimension: str
    size: int
    role: str


@dataclass(frozen=True)
class Plan:
    """How a contraction is carried out.

    `kind` is "outer" (lanes run along an index of C: broadcast A, load vectors of B), "inner"
    (lanes run along a contracted index, summed at the end) or "nothing" (no element of C changes).
    `swapped` says that A and B changed places. `offsets` are added to the pointers A, B, C first.
    `rows` are tile dimensions found in A, `columns` tile dimensions found in B, fastest first;
    `contracted` are looped over inside the tile, outermost first; `vector` holds the contracted
    dimensions along lanes with the indices taken at a time, fastest first. `pack_level` is the loop
    before which the columns of B are copied side by side, if they are. `split` is the loop whose
    iterations may be shared out among threads, if there is one.
    """

    kind: str
    dimensions: tuple[Dimension, ...] = ()
    swapped: bool = False
    offsets: tuple[int, int, int] = (0, 0, 0)
    lanes: int = 1
    loops: tuple[Loop, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    contracted: tuple[str, ...] = ()
    vector: tuple[tuple[str, int], ...] = ()
    pack_level: int | None = None
    cycles: float = 0.0
    split: int | None = None

    @property
    def units(self) -> int | None:
        """Iterations of the loop that may be shared out, the ragged one at its end included."""
        if self.split is None:
            return None
        loop = self.loops[self.split]
        extent = next(d.extent for d in self.dimensions if d.name == loop.dimension)
        assert isinstance(extent, int)
        return -(-extent // loop.size)

    def describe(self) -> str:
        """One line for people: kind, tile, loops."""
        if self.kind == "nothing":
            return "nothing to do"
        sizes = {loop.dimension: loop.size for loop in self.loops if loop.role != "block"}
        rows = "x".join(f"{name}:{sizes[name]}" for name in self.rows) or "1"
        columns = "x".join(f"{name}:{sizes[name]}" for name in self.columns) or "1"
        loops = " ".join(f"{loop.dimension}/{loop.size}" for loop in self.loops)
        text = f"{self.kind}, {self.lanes} lanes, tile {rows} by {columns}, loops {loops}"
        if self.vector:
            text += ", lanes along " + "x".join(f"{name}:{size}" for name, size in self.vector)
        if self.pack_level is not None:
            text += f", packed before loop {self.pack_level}"
        if self.split is not None:
            text += f", {self.units} units of {self.loops[self.split].dimension}"
        return text + (", A and B swapped" if self.swapped else "")


@functools.lru_cache(maxsize=1024)
def plan_contraction(contraction: Contraction, machine: Machine) -> Plan:
    """The cheapest plan by the model of cost. Deterministic: the same arguments, the same plan."""
    dimensions, offsets = normalise(contraction)
    if any(d.extent == 0 and d.c != 0 for d in dimensions):
        return Plan("nothing")
    if any(d.extent == 0 for d in dimensions):
        if contraction.accumulate:
            return Plan("nothing")
        # A sum over nothing: one empty contracted dimension makes every element zero.
        empty = Dimension("empty", 0, 0, 0, 0)
        dimensions = (*(d for d in dimensions if d.c != 0), empty)
    if any(isinstance(stride, str) for d in dimensions for stride in (d.a, d.b, d.c)):
        return _plain(dimensions, offsets)
    element = element_bytes(contraction.dtype)
    candidates: list[Plan] = []
    for swapped in (False, True):
        turned = tuple(replace(d, a=d.b, b=d.a) for d in dimensions) if swapped else dimensions
        chooser = _Chooser(turned, offsets, swapped, machine, element)
        candidates.extend(chooser.outer())
        if not swapped:
            candidates.extend(chooser.inner())
    best = min(candidates, key=lambda plan: plan.cycles)
    return replace(best, split=_split(best))


def _split(plan: Plan) -> int | None:
    """The loop that keeps two to sixteen threads busiest; the outermost of those that do as well."""
    best, best_level = 0.0, None
    dimensions = {d.name: d for d in plan.dimensions}
    blocked = {loop.dimension for loop in plan.loops if loop.role == "block"}
    rows = math.prod(_count(d) for d in plan.dimensions if d.a and d.c and not d.b)
    for level, loop in enumerate(plan.loops):
        extent, c = dimensions[loop.dimension].extent, dimensions[loop.dimension].c
        inside_block = loop.role != "block" and loop.dimension in blocked
        if c == 0 or inside_block or isinstance(extent, str) or extent <= loop.size:
            continue
        units = -(-extent // loop.size)
        packs_again = plan.pack_level is not None and level >= plan.pack_level
        score = 0.0
        for threads in (2, 4, 8, 16):
            longest = min(-(-units // threads) * loop.size, extent)
            # Packing an element takes about as long as two multiply-adds with it.
            score += 1 / (longest / extent + (2 / rows if packs_again else 0)) / threads
        if score > best * 1.05:
            best, best_level = score, level
    return best_level


def _plain(dimensions: tuple[Dimension, ...], offsets: tuple[int, int, int]) -> Plan:
    """One element at a time, for strides that are only known at run time."""
    return Plan(
        "outer",
        dimensions,
        offsets=offsets,
        loops=tuple(Loop(d.name, 1, "step") for d in dimensions if d.c != 0),
        contracted=tuple(d.name for d in dimensions if d.c == 0),
    )


def chains(accumulators: int, steps: int) -> int:
    """How many sums to keep for each accumulator, so that enough multiply-adds are in flight."""
    if accumulators >= _IN_FLIGHT:
        return 1
    return max(1, min(-(-_IN_FLIGHT // max(accumulators, 1)), steps))


def remainder_sizes(loop: Loop, lanes: int) -> list[int]:
    """Falling sizes by which a tile loop takes an extent that is only known at run time.

    Each is code of its own, so there are few: along lanes a masked vector takes what is left, else
    single indices do.
    """
    if loop.role == "lanes":
        return sorted({loop.size, lanes}, reverse=True)
    return sorted({size for size in (loop.size, 4, 1) if size <= loop.size}, reverse=True)


def _segments(extent: int | str, size: int) -> list[tuple[int, float]]:
    """(indices taken, how often) for a loop of `size` over `extent`; the remainder comes last."""
    if isinstance(extent, str):
        return [(size, _ASSUMED_EXTENT / size)]
    whole, rest = divmod(extent, size)
    return [(s, n) for s, n in ((size, whole), (rest, 1)) if s and n]


def _count(dimension: Dimension) -> int:
    return _ASSUMED_EXTENT if isinstance(dimension.extent, str) else dimension.extent


def _balanced(extent: int | str, most: int) -> list[int]:
    """Block sizes up to `most`, each the even split of `extent` into some number of blocks."""
    if most < 1:
        return []
    if isinstance(extent, str):
        return [2**power for power in range(most.bit_length())]
    sizes = {-(-extent // -(-extent // size)) for size in range(1, min(most, extent) + 1)}
    return sorted(sizes, reverse=True)[:8]


def _strides(dimension: Dimension) -> tuple[int, int, int]:
    a, b, c = dimension.a, dimension.b, dimension.c
    if isinstance(a, int) and isinstance(b, int) and isinstance(c, int):
        return a, b, c
    raise TypeError(f"dimension {dimension.name!r} has a stride that is only known at run time")


def _narrow(count: int, lanes: int) -> int:
    """Lanes of the narrowest vector, a power of two, that holds `count` elements if one does."""
    return min(lanes, 1 << (count - 1).bit_length())


def _elements(used: list[tuple[int, int]]) -> int:
    """About how many different elements nested indices, as (extent, stride), name.

    Indices whose strides interleave, such as a pixel's and a filter's, name elements again.
    """
    count = span = 1
    for extent, stride in sorted(used, key=lambda pair: abs(pair[1])):
        if stride:
            overlapping = abs(stride) < span
            span += (extent - 1) * abs(stride)
            count = min(count * extent, span) if overlapping else count * extent
    return max(count, 1)


@dataclass(frozen=True)
class _Stretch:
    """What one tile of columns takes: vectors, the loads that fill them, the stores of a row."""

    times: float
    width: int
    vectors: int
    loads: int
    merges: int
    stores: int


class _Chooser:
    """Lists plans for one order of A and B, each cheaper in cycles than the one before it."""

    def __init__(
        self,
        dimensions: tuple[Dimension, ...],
        offsets: tuple[int, int, int],
        swapped: bool,
        machine: Machine,
        element: int,
    ) -> None:
        self.dimensions = dimensions
        self.offsets = (offsets[1], offsets[0], offsets[2]) if swapped else offsets
        self.swapped = swapped
        self.machine = machine
        self.element = element
        self.lanes = machine.lanes_bytes // element
        strides = {d.name: _strides(d) for d in dimensions}
        self.strides = strides

        def far_first(wanted: Iterable[Dimension], array: int) -> list[Dimension]:
            return sorted(wanted, key=lambda d: -abs(strides[d.name][array]))

        summed = [d for d in dimensions if d.c == 0]
        kept = [d for d in dimensions if d.c != 0]
        self.contracted = sorted(
            summed, key=lambda d: -max(abs(strides[d.name][0]), abs(strides[d.name][1]))
        )
        self.rows = far_first((d for d in kept if d.a != 0 and d.b == 0), 2)
        self.columns = far_first((d for d in kept if d.a == 0 and d.b != 0), 2)
        self.batch = far_first((d for d in kept if (d.a == 0) == (d.b == 0)), 2)
        self.steps = math.prod(_count(d) for d in self.contracted)
        self.repeats = math.prod(_count(d) for d in self.batch)
        self.row = max(self.rows, key=_count, default=None)
        self.row_count = math.prod(_count(d) for d in self.rows)
        self.column_count = math.prod(_count(d) for d in self.columns)
        self.a_bytes = self._footprint(0) // self.repeats
        self.b_bytes = self._footprint(1) // self.repeats
        self.cheapest = math.inf

    # -- lanes along an index of C ---------------------------------------------------------------

    def outer(self) -> Iterator[Plan]:
        for vector in self._vector_dimensions():
            for columns in self._column_blocks(vector):
                yield from self._outer_tiles(columns)
        if not self.columns and not self.swapped:
            yield from self._outer_tiles([])

    def _vector_dimensions(self) -> list[Dimension]:
        """Indices worth trying along lanes: those that lie side by side in B, else in C."""
        beside = [d for d in self.columns if d.b == 1]
        stored = [d for d in self.columns if d.c == 1 and d.b != 1]
        return beside + stored or self.columns[-1:]

    def _column_blocks(self, vector: Dimension) -> Iterator[list[tuple[Dimension, int]]]:
        """Tile blocks of B's indices, fastest first; all but the last are taken whole."""
        most = max(1, (self.machine.registers - 2) // 2) * self.lanes
        if isinstance(vector.extent, str) or vector.extent > self.lanes:
            beside = vector.b == vector.c == 1 or isinstance(vector.extent, int)
            # Code for every remainder of lanes that lie apart would be long: one vector is enough.
            for vectors in range(1, most // self.lanes + 1 if beside else 2):
                size = vectors * self.lanes
                if isinstance(vector.extent, int) and size >= vector.extent:
                    break
                yield [(vector, size)]
        if isinstance(vector.extent, str) or vector.extent > most:
            return
        yield [(vector, vector.extent)]
        whole = [(vector, vector.extent)]
        lanes = vector.extent
        others = sorted(
            (d for d in self.columns if d is not vector), key=lambda d: abs(self.strides[d.name][1])
        )
        for other in others:
            if isinstance(other.extent, str):
                return
            for size in range(2, min(other.extent, most // lanes) + 1):
                # Blocks that leave much of their last vector empty are not worth costing.
                if -lanes * size % self.lanes <= lanes * size // 4 or size == other.extent:
                    yield [*whole, (other, size)]
            lanes *= other.extent
            if lanes > most:
                return
            whole.append((other, other.extent))

    def _outer_tiles(self, columns: list[tuple[Dimension, int]]) -> Iterator[Plan]:
        """Every tile height for one choice of columns, each as it is and with B packed."""
        stretches = self._stretches(columns)
        vectors = stretches[0].vectors
        row = self.row
        spare = self.machine.registers - vectors - 1
        if any(stretch.merges for stretch in stretches):
            spare -= 1
        sizes = _balanced(row.extent, spare // vectors) if row else [1]
        packable = self._can_pack(columns, vectors * stretches[0].width)
        for size in sizes:
            yield from self._outer_plan(columns, stretches, size, packed=False)
            if packable and row and _count(row) > size:
                yield from self._outer_plan(columns, stretches, size, packed=True)

    def _stretches(self, columns: list[tuple[Dimension, int]]) -> list[_Stretch]:
        """What whole tiles and the remainder tile take of B and C, and how often each comes."""
        if not columns:
            return [_Stretch(1.0, 1, 1, 1, 0, 1)]
        chosen = {d.name for d, _ in columns}
        others = math.prod(_count(d) for d in self.columns if d.name not in chosen)
        width = _narrow(math.prod(size for _, size in columns), self.lanes)
        last, size = columns[-1]
        found = []
        for taken, times in _segments(last.extent, size):
            sizes = [*(size for _, size in columns[:-1]), taken]
            strides = [self.strides[d.name] for d, _ in columns]
            loads, merges = self._runs_per_vector(sizes, [s[1] for s in strides], width)
            stores, _ = self._runs_per_vector(sizes, [s[2] for s in strides], width)
            vectors = -(-math.prod(sizes) // width)
            found.append(_Stretch(times * others, width, vectors, loads, merges, stores))
        return found

    def _can_pack(self, columns: list[tuple[Dimension, int]], padded: int) -> bool:
        """Copying B pays if its columns lie apart, or if it is read often and from far away."""
        if not self.contracted or not self.steps:
            return False
        if any(isinstance(d.extent, str) for d in self.contracted[1:]):
            return False
        # The panel is on the stack, and only the outermost contracted index can be taken in parts.
        if math.prod(_count(d) for d in self.contracted[1:]) * padded * self.element > (
            self.machine.l1
        ):
            return False
        return self.b_bytes > self.machine.l1 // 2 or (bool(columns) and columns[0][0].b != 1)

    def _outer_plan(
        self,
        columns: list[tuple[Dimension, int]],
        stretches: list[_Stretch],
        row_size: int,
        packed: bool,
    ) -> Iterator[Plan]:
        machine, element, row = self.machine, self.element, self.row
        width, vectors = stretches[0].width, stretches[0].vectors
        padded = vectors * width
        row_tiles = self.row_count / row_size
        column_tiles = self.column_count / math.prod(size for _, size in columns)
        block, steps = 0, self.steps
        if packed:
            inside = math.prod(_count(d) for d in self.contracted[1:])
            deepest = max(1, int(machine.l1 * 0.7) // (padded * element * inside))
            first = self.contracted[0].extent
            block = deepest if isinstance(first, str) else _balanced(first, deepest)[0]
            steps = min(self.steps, block * inside)
        blocks = self.steps / steps if steps else 1

        # Bytes of B that one pass over the rows walks through, and where they are found.
        rows_outside = not packed and self._rows_outside(row_tiles, column_tiles)
        panel = min(steps * padded * element, self._panel_bytes(columns))
        near = packed or (row_tiles > 1 and panel <= machine.l1 * 0.7 and not rows_outside)
        rate: float = 64 if near else self._rate(self.b_bytes)
        if rate < 16 and row_tiles > 1:
            rate /= 2  # columns of a large array are spread over pages, again for every tile
        # Rows a page apart fall into the same few lines of the first-level cache.
        apart = self.strides[row.name][0] * element if row else 1
        crowded = row_size > 8 and apart % 4096 == 0

        cost, copying = 0.0, 0.0
        for stretch in stretches:
            # A vector put together from pieces reads across cache lines at every piece.
            pieces = stretch.vectors if packed else stretch.loads + max(0, stretch.merges) * 2
            for rows, repeats in _segments(row.extent, row_size) if row else [(1, 1.0)]:
                fmas = rows * stretch.vectors
                step = self._step_cycles(fmas, rows + pieces, steps, row_size * vectors)
                step = max(step, stretch.vectors * width * element / rate)
                if crowded:
                    step *= 1.15
                tile = blocks * (steps * step + 10 + 2 * stretch.stores * rows)
                cost += stretch.times * repeats * tile
            if packed:
                once: float = max(stretch.loads + stretch.vectors, stretch.merges)
                once = max(once, stretch.vectors * width * element / self._rate(self.b_bytes))
                copying += stretch.times * self.steps * once
        other_rows = self.row_count / _count(row) if row else 1
        cost = (cost * other_rows + copying) * self.repeats
        cost *= self._variants(columns, row_size)
        if any(isinstance(d.extent, str) and not d.b == d.c == 1 for d, _ in columns):
            cost *= 3  # what is left over can't be masked, and goes by in fewer and fewer lanes
        if cost >= self.cheapest:
            return
        self.cheapest = cost

        loops = [Loop(d.name, 1, "step") for d in self.batch]
        row_loops = self._row_loops(row_size)
        chosen = {d.name for d, _ in columns}
        column_loops = [Loop(d.name, 1, "step") for d in self.columns if d.name not in chosen]
        for dimension, size in reversed(columns):
            ragged = isinstance(dimension.extent, str) and dimension.b == dimension.c == 1
            column_loops.append(Loop(dimension.name, size, "lanes" if ragged else "tile"))
        pack_level = None
        if packed:
            assert row is not None
            tall = max(row_size, machine.l2 // 2 // (steps * element) // row_size * row_size)
            if _count(row) > tall or isinstance(row.extent, str):
                loops.append(Loop(row.name, tall, "block"))
            if self.contracted[0].extent != block:
                loops.append(Loop(self.contracted[0].name, block, "block"))
            loops += column_loops
            pack_level = len(loops)
            loops += row_loops
        elif rows_outside:
            loops += row_loops + column_loops
        else:
            loops += column_loops + row_loops
        yield Plan(
            "outer",
            self.dimensions,
            self.swapped,
            self.offsets,
            width,
            tuple(loops),
            (row.name,) if row else (),
            tuple(d.name for d, _ in columns),
            tuple(d.name for d in self.contracted),
            pack_level=pack_level,
            cycles=cost,
        )

    def _variants(self, columns: list[tuple[Dimension, int]], row_size: int) -> float:
        """A small charge for each more tile of code to compile, for remainders."""
        tiles = 1
        for dimension, size in ([(self.row, row_size)] if self.row else []) + columns[-1:]:
            if isinstance(dimension.extent, str):
                tiles *= len({size, 4, 1})
            else:
                tiles *= len(_segments(dimension.extent, size))
        return 1 + 0.02 * (tiles - 1)

    def _row_loops(self, row_size: int) -> list[Loop]:
        loops = [Loop(d.name, 1, "step") for d in self.rows if d is not self.row]
        if self.row:
            loops.append(Loop(self.row.name, row_size, "tile"))
        return loops

    def _rows_outside(self, row_tiles: float, column_tiles: float) -> bool:
        """Whether B is the cheaper of the two to walk through again and again."""
        return row_tiles * self._walk(self.b_bytes) <= column_tiles * self._walk(self.a_bytes)

    def _walk(self, size: float) -> float:
        """Cycles to read `size` bytes once, by the nearest cache that holds them."""
        return size / self._rate(size)

    def _rate(self, size: float) -> float:
        """Bytes a cycle from the nearest cache that holds `size` bytes with room to spare."""
        return 64 if size <= self.machine.l1 // 2 else 32 if size <= self.machine.l2 // 2 else 12

    def _footprint(self, array: int) -> int:
        """Bytes of A (0) or B (1) that the whole contraction reads."""
        used = [(_count(d), self.strides[d.name][array]) for d in self.dimensions]
        return _elements(used) * self.element

    def _panel_bytes(self, columns: list[tuple[Dimension, int]]) -> int:
        """Bytes of B that one tile reads."""
        used = [(_count(d), self.strides[d.name][1]) for d in self.contracted]
        used += [(size, self.strides[d.name][1]) for d, size in columns]
        return _elements(used) * self.element

    @staticmethod
    def _runs_per_vector(sizes: list[int], strides: list[int], width: int) -> tuple[int, int]:
        """Stretches of memory that nested lanes cover, and how many are merged into others."""
        count = math.prod(sizes)
        vectors = -(-count // width)
        if len(sizes) == 1:
            loads = vectors if strides[0] == 1 else count
            return loads, loads - vectors
        lanes = lane_offsets([(n, (stride,)) for n, stride in zip(sizes, strides, strict=True)])
        offsets = [lane[0] for lane in lanes]
        loads = sum(len(runs(offsets[i : i + width])) for i in range(0, count, width))
        return loads, loads - vectors

    @staticmethod
    def _step_cycles(fmas: float, loads: float, steps: float, whole_tile: int) -> float:
        """Two multiply-adds and two loads a cycle, six operations in all, latency four."""
        waiting = 4 / chains(whole_tile, max(1, int(steps)))
        return max(fmas / 2, loads / 2, (fmas + loads + 1) / 6, waiting)

    # -- lanes along a contracted index ----------------------------------------------------------

    def inner(self) -> Iterator[Plan]:
        """Every tile for each index that lies side by side in both A and B."""
        row, registers = self.row, self.machine.registers
        for vector in self.contracted:
            if vector.a != 1 or vector.b != 1:
                continue
            blocks = self._contracted_block(vector)
            passes = self.steps * self._waste(blocks) / self.lanes
            loads = self._loads_along(blocks)
            for columns in self._nested_columns():
                count = math.prod(size for _, size in columns)
                for size in _balanced(row.extent, (registers - 2) // count) if row else [1]:
                    if size * count + min(size, count) < registers:
                        yield from self._inner_plan(blocks, passes, loads, size, columns)

    def _contracted_block(self, vector: Dimension) -> list[tuple[Dimension, int]]:
        """Contracted indices that one unrolled pass takes along lanes, fastest first."""
        lanes = self.lanes
        if isinstance(vector.extent, str) or vector.extent > _MOST_UNROLLED_VECTORS * lanes:
            return [(vector, lanes)]
        others = sorted(
            (d for d in self.contracted if d is not vector),
            key=lambda d: max(abs(self.strides[d.name][0]), abs(self.strides[d.name][1])),
        )
        best = ([(vector, vector.extent)], self._waste([(vector, vector.extent)]))
        if others and isinstance(others[0].extent, int):
            for size in range(2, others[0].extent + 1):
                blocks = [(vector, vector.extent), (others[0], size)]
                if size * vector.extent > _MOST_UNROLLED_VECTORS * lanes:
                    break
                waste = self._waste(blocks)
                if waste < best[1] - 1e-9:
                    best = (blocks, waste)
        return best[0]

    def _waste(self, blocks: list[tuple[Dimension, int]]) -> float:
        """Lanes issued for each lane that counts, over the whole extent of the last block."""
        last, size = blocks[-1]
        near = math.prod(size for _, size in blocks[:-1])
        issued = sum(
            -(-near * taken // self.lanes) * times for taken, times in _segments(last.extent, size)
        )
        return issued * self.lanes / (near * _count(last))

    def _nested_columns(self) -> Iterator[list[tuple[Dimension, int]]]:
        """Column blocks of the tile, fastest in C first; all but the last are taken whole."""
        if not self.columns:
            yield []
            return
        whole: list[tuple[Dimension, int]] = []
        count = 1
        for dimension in reversed(self.columns):
            for size in _balanced(dimension.extent, self.machine.registers // 2 // count):
                yield [*whole, (dimension, size)]
            if isinstance(dimension.extent, str):
                return
            count *= dimension.extent
            if count > self.machine.registers // 2:
                return
            whole.append((dimension, dimension.extent))

    def _inner_plan(
        self,
        blocks: list[tuple[Dimension, int]],
        passes: float,
        loads: tuple[float, float],
        row_size: int,
        columns: list[tuple[Dimension, int]],
    ) -> Iterator[Plan]:
        row = self.row
        column_size = math.prod(size for _, size in columns)
        row_tiles = self.row_count / row_size
        column_tiles = self.column_count / column_size
        rows_outside = self._rows_outside(row_tiles, column_tiles)
        cost = 0.0
        for stretch in self._stretches(columns):
            width = stretch.vectors * stretch.width if columns else 1
            width = min(width, column_size)
            for rows, repeats in _segments(row.extent, row_size) if row else [(1, 1.0)]:
                fmas = rows * width
                needed = rows * loads[0] + width * loads[1]
                step = self._step_cycles(fmas, needed, passes, row_size * column_size)
                cost += stretch.times * repeats * (passes * step + 1.5 * fmas + 15)
        cost *= self.row_count / _count(row) if row else 1
        # What is walked through once comes from as far as it lies, the other from nearer by.
        outside = self._walk(self.a_bytes) + self._walk(self.b_bytes)
        cost = (max(cost, outside) + min(cost, outside) / 8) * self.repeats
        cost *= self._variants(columns, row_size)
        if cost >= self.cheapest:
            return
        self.cheapest = cost

        row_loops = self._row_loops(row_size)
        chosen = {d.name for d, _ in columns}
        column_loops = [Loop(d.name, 1, "step") for d in self.columns if d.name not in chosen]
        column_loops += [Loop(d.name, size, "tile") for d, size in reversed(columns)]
        loops = [Loop(d.name, 1, "step") for d in self.batch]
        loops += row_loops + column_loops if rows_outside else column_loops + row_loops
        along = {d.name for d, _ in blocks}
        yield Plan(
            "inner",
            self.dimensions,
            self.swapped,
            self.offsets,
            _narrow(math.prod(size for _, size in blocks), self.lanes),
            tuple(loops),
            (row.name,) if row else (),
            tuple(d.name for d, _ in columns),
            tuple(d.name for d in self.contracted if d.name not in along),
            tuple((d.name, size) for d, size in blocks),
            cycles=cost,
        )

    def _loads_along(self, blocks: list[tuple[Dimension, int]]) -> tuple[float, float]:
        """Loads for each vector of A and of B along the contracted lanes, on average."""
        if len(blocks) == 1:
            return 1.0, 1.0
        counts = []
        for array in (0, 1):
            strides = [self.strides[d.name][array] for d, _ in blocks]
            loads, merges = self._runs_per_vector([n for _, n in blocks], strides, self.lanes)
            counts.append((loads + merges) / (loads - merges))
        return counts[0], counts[1]
