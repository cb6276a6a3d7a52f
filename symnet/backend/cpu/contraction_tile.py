"""Takes a plan, and the place in its loops where the builder stands.
Hands on the register tile as vector instructions: accumulators in registers, sums over the
contracted indices, results in C.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from llvmlite import ir

from symnet.compile.contraction import Contraction, element_bytes, lane_offsets, runs

from .contraction_loops import Plan, chains, turning
from .machine import Machine
from .vectors import INDEX, Count, Vectors

# Multiply-adds in one pass of an unrolled loop: enough to hide its bookkeeping, small to compile.
_UNROLLED = 20
_MOST_UNROLLED = 56

Pointers = list[ir.Value]


class TileEmitter:
    """Writes the tiles of one plan; whoever writes the loops keeps extents and sizes up to date."""

    def __init__(
        self,
        builder: ir.IRBuilder,
        function: ir.Function,
        contraction: Contraction,
        plan: Plan,
        machine: Machine,
    ) -> None:
        bytes_each = element_bytes(contraction.dtype)
        self.element = ir.FloatType() if bytes_each == 4 else ir.DoubleType()
        self.emit_vectors = Vectors(builder, self.element, bytes_each, machine.masks)
        self.builder = builder
        self.function = function
        self.plan = plan
        self.accumulate = contraction.accumulate
        self.width = plan.lanes
        self.dimensions = {d.name: d for d in plan.dimensions}
        *parameters, self.first, self.last = function.args[3:]
        self.parameters = dict(zip(contraction.parameters, parameters, strict=True))
        # Where the loops stand while their insides are written.
        self.extents: dict[str, Count] = {d.name: self._value(d.extent) for d in plan.dimensions}
        self.sizes: dict[str, int] = {}
        self.mask: ir.Value | None = None
        self.is_first: ir.Value | bool = True
        self.packed = False
        self.panel: tuple[ir.Value, int] | None = None
        whole = {loop.dimension: loop.size for loop in plan.loops if loop.role != "block"}
        columns = math.prod(whole[name] for name in plan.columns)
        if plan.kind == "outer":
            columns = -(-columns // self.width)
        # Accumulators of a whole tile. Tiles at the edges sum in the same order as whole ones, so
        # that equal operands give equal elements wherever they lie in C.
        self.whole_tile = math.prod(whole[name] for name in plan.rows) * columns

    def _value(self, value: int | str) -> Count:
        return self.parameters[value] if isinstance(value, str) else value

    def _strides(self, name: str) -> list[Count]:
        dimension = self.dimensions[name]
        return [self._value(stride) for stride in (dimension.a, dimension.b, dimension.c)]

    def _literal(self, name: str, array: int) -> int:
        stride = self._strides(name)[array]
        assert isinstance(stride, int)
        return stride

    def _chunks(self, array: int) -> list[list[int]]:
        """Offsets of the tile's columns in an array, a vector's worth at a time."""
        blocks = [(self.sizes[name], (self._literal(name, array),)) for name in self.plan.columns]
        lanes = [lane[0] for lane in lane_offsets(blocks)] if blocks else [0]
        return [lanes[n : n + self.width] for n in range(0, len(lanes), self.width)]

    def _columns(self, pointer: ir.Value, offset: int, chunk: list[int]) -> ir.Value:
        if self.mask is not None:
            zero = self.emit_vectors.zero(self.width)
            return self.emit_vectors.masked_load(pointer, offset + chunk[0], self.mask, zero)
        return self.emit_vectors.load(pointer, [offset + lane for lane in chunk], self.width)

    def _row_offsets(self, array: int) -> list[int]:
        blocks = [(self.sizes[name], (self._literal(name, array),)) for name in self.plan.rows]
        return [lane[0] for lane in lane_offsets(blocks)] if blocks else [0]

    def _tile(self, pointers: Pointers) -> None:
        if self.plan.kind == "inner":
            self._inner_tile(pointers)
        else:
            self._outer_tile(pointers)

    def _contracted(self) -> list[tuple[Count, list[Count]]]:
        """(extent, strides in A and B) of the indices looped over in a tile, outermost first."""
        found: list[tuple[Count, list[Count]]] = []
        inside = len(self._chunks(1)) * self.width if self.packed else 0
        for name in reversed(self.plan.contracted):
            strides: list[Count] = self._strides(name)[:2]
            extent = self.extents[name]
            if self.packed:
                strides[1] = inside
                # Only the outermost extent may be unknown, and nothing is outside it.
                inside = inside * extent if isinstance(extent, int) else 0
            found.insert(0, (extent, strides))
        if self.packed:
            found = _join_nested(found)
        return found

    def _outer_tile(self, pointers: Pointers) -> None:
        vectors, width = self.emit_vectors, self.width
        a, b, c = pointers
        rows, chunks = self._row_offsets(0), self._chunks(1)
        if self.packed:
            chunks = [[n * width + lane for lane in range(width)] for n in range(len(chunks))]
        nested = self._contracted()
        tile = len(rows) * len(chunks)
        steps = nested[-1][0] if nested else 1
        copies = chains(self.whole_tile, steps if isinstance(steps, int) else 8)

        def step(
            a: ir.Value, b: ir.Value, offsets: tuple[Count, Count], sums: list[ir.Value], turn: int
        ) -> list[ir.Value]:
            result = list(sums)
            base = turn % copies * tile
            a, b = vectors.at(a, offsets[0]), vectors.at(b, offsets[1])

            def column(j: int) -> ir.Value:
                if self.packed:
                    return vectors.load(b, chunks[j], width)
                return self._columns(b, 0, chunks[j])

            def add(i: int, j: int, x: ir.Value, y: ir.Value) -> None:
                place = base + i * len(chunks) + j
                result[place] = vectors.multiply_add(x, y, result[place])

            # Whichever are fewer stay in registers, beside the sums.
            if len(rows) < len(chunks):
                values = [vectors.broadcast(a, row, width) for row in rows]
                for j in range(len(chunks)):
                    y = column(j)
                    for i, x in enumerate(values):
                        add(i, j, x, y)
            else:
                columns = [column(j) for j in range(len(chunks))]
                for i, row in enumerate(rows):
                    x = vectors.broadcast(a, row, width)
                    for j, y in enumerate(columns):
                        add(i, j, x, y)
            return result

        start = [vectors.zero(width)] * (tile * copies)
        sums = self._sum(nested, a, b, start, self.whole_tile, copies, step)
        totals = self._add_copies(sums, tile, copies)
        targets = self._chunks(2)
        row_offsets = self._row_offsets(2)
        places = []
        for i, row in enumerate(row_offsets):
            for j, chunk in enumerate(targets):
                places.append((totals[i * len(targets) + j], [row + lane for lane in chunk]))
        lanes = [lane for chunk in targets for lane in chunk]
        of_a_row = sum(len(runs(chunk)) for chunk in targets)
        if self.mask is None and turning(row_offsets, of_a_row, len(lanes), width)[0]:
            places = self._turned(places, len(targets))
        self._write(c, places)

    def _turned(
        self, places: list[tuple[ir.Value, list[int]]], chunks: int
    ) -> list[tuple[ir.Value, list[int]]]:
        """The same results in vectors that run along the rows instead of along the columns."""
        turned = []
        for j in range(chunks):
            of_chunk = places[j::chunks]
            for first in range(0, len(of_chunk), self.width):
                group = of_chunk[first : first + self.width]
                columns = self.emit_vectors.transpose([value for value, _ in group])
                for lane in range(len(group[0][1])):
                    turned.append((columns[lane], [offsets[lane] for _, offsets in group]))
        return turned

    def _sum(
        self,
        nested: list[tuple[Count, list[Count]]],
        a: ir.Value,
        b: ir.Value,
        sums: list[ir.Value],
        cost: int,
        copies: int,
        step: Callable[
            [ir.Value, ir.Value, tuple[Count, Count], list[ir.Value], int], list[ir.Value]
        ],
    ) -> list[ir.Value]:
        """Loops over contracted indices with `step` inside, the accumulators carried along.

        Short innermost loops are written out; a long one is unrolled so far that its bookkeeping
        disappears among the multiply-adds. `cost` is the multiply-adds of one step.
        """
        vectors = self.emit_vectors
        turn = 0
        # From here on inwards every loop is written out whole.
        whole, inside = len(nested), cost
        while whole and isinstance(nested[whole - 1][0], int):
            inside *= nested[whole - 1][0]
            limit = _MOST_UNROLLED if whole == len(nested) else _UNROLLED
            if inside > limit or nested[whole - 1][0] > 32:
                break
            whole -= 1

        def walk(
            depth: int,
            a: ir.Value,
            b: ir.Value,
            offsets: tuple[Count, Count],
            sums: list[ir.Value],
        ) -> list[ir.Value]:
            nonlocal turn
            if depth == len(nested):
                turn += 1
                return step(a, b, offsets, sums, turn - 1)
            extent, (a_stride, b_stride) = nested[depth]
            literal = isinstance(a_stride, int) and isinstance(b_stride, int)

            def written_out(
                count: int, a: ir.Value, b: ir.Value, sums: list[ir.Value]
            ) -> list[ir.Value]:
                for i in range(count):
                    moved = (
                        vectors.add(offsets[0], vectors.multiply(i, a_stride)),
                        vectors.add(offsets[1], vectors.multiply(i, b_stride)),
                    )
                    sums = walk(depth + 1, a, b, moved, sums)
                return sums

            if depth >= whole and isinstance(extent, int):
                return written_out(extent, a, b, sums)
            unroll = 1
            if depth == len(nested) - 1 and literal:
                unroll = max(copies, min(8, max(1, _UNROLLED // max(cost, 1))))

            def looped(
                count: Count, taken: int, a: ir.Value, b: ir.Value, sums: list[ir.Value]
            ) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
                def once(carried: list[ir.Value]) -> list[ir.Value]:
                    totals = written_out(taken, carried[0], carried[1], carried[2:])
                    return [
                        vectors.at(carried[0], vectors.multiply(taken, a_stride)),
                        vectors.at(carried[1], vectors.multiply(taken, b_stride)),
                        *totals,
                    ]

                a, b, *sums = vectors.loop(count, [a, b, *sums], once)
                return a, b, sums

            if isinstance(extent, int):
                a, b, sums = looped(extent // unroll, unroll, a, b, sums)
                return written_out(extent % unroll, a, b, sums)
            if unroll == 1:
                return looped(extent, 1, a, b, sums)[2]
            count = self.builder.sdiv(extent, ir.Constant(INDEX, unroll))
            left = self.builder.sub(extent, vectors.multiply(count, unroll))
            a, b, sums = looped(count, unroll, a, b, sums)
            return looped(left, 1, a, b, sums)[2]

        return walk(0, a, b, (0, 0), sums)

    def _add_copies(self, sums: list[ir.Value], tile: int, copies: int) -> list[ir.Value]:
        """The independent sums of each accumulator, added in pairs."""
        groups = [sums[n * tile : (n + 1) * tile] for n in range(copies)]
        while len(groups) > 1:
            paired = [
                [self.builder.fadd(x, y) for x, y in zip(left, right, strict=True)]
                for left, right in zip(groups[::2], groups[1::2], strict=False)
            ]
            groups = paired + (groups[-1:] if len(groups) % 2 else [])
        return groups[0]

    def _write(self, c: ir.Value, places: list[tuple[ir.Value, list[int]]]) -> None:
        """Store results, or add them to C: always, never, or except on the first block."""
        if self.accumulate or self.is_first is True:
            self._store(c, places, self.accumulate)
            return
        with self.builder.if_else(self.is_first) as (first, later):
            with first:
                self._store(c, places, False)
            with later:
                self._store(c, places, True)

    def _store(
        self, c: ir.Value, places: list[tuple[ir.Value, list[int]]], accumulate: bool
    ) -> None:
        vectors = self.emit_vectors
        for value, offsets in places:
            if self.mask is None:
                vectors.store(value, c, offsets, accumulate)
                continue
            if accumulate:
                zero = vectors.zero(self.width)
                before = vectors.masked_load(c, offsets[0], self.mask, zero)
                value = self.builder.fadd(before, value)
            vectors.masked_store(value, c, offsets[0], self.mask)

    # -- lanes along a contracted index ----------------------------------------------------------

    def _inner_tile(self, pointers: Pointers) -> None:
        vectors, width = self.emit_vectors, self.width
        a, b, c = pointers
        rows = self._row_offsets(0)
        columns = [lane for chunk in self._chunks(1) for lane in chunk]
        tile = len(rows) * len(columns)
        passes = _VectorPasses(self, self.whole_tile)
        copies = passes.copies

        def multiply(
            left: list[ir.Value], right: list[ir.Value], sums: list[ir.Value], turn: int
        ) -> list[ir.Value]:
            result = list(sums)
            base = turn % copies * tile
            for i, x in enumerate(left):
                for j, y in enumerate(right):
                    place = base + i * len(right) + j
                    result[place] = vectors.multiply_add(x, y, result[place])
            return result

        def step(
            a: ir.Value, b: ir.Value, offsets: tuple[Count, Count], sums: list[ir.Value], turn: int
        ) -> list[ir.Value]:
            a, b = vectors.at(a, offsets[0]), vectors.at(b, offsets[1])
            return passes.run(a, b, rows, columns, sums, multiply)

        start = [vectors.zero(width)] * (tile * copies)
        sums = self._sum(self._contracted(), a, b, start, _MOST_UNROLLED, 1, step)
        totals = self._add_copies(sums, tile, copies)
        targets = [lane for chunk in self._chunks(2) for lane in chunk]
        offsets = [row + column for row in self._row_offsets(2) for column in targets]
        order = sorted(range(tile), key=lambda n: offsets[n])
        places = []
        for first in range(0, tile, width):
            group = order[first : first + width]
            lanes = vectors.sums([totals[n] for n in group])
            places.append((lanes, [offsets[n] for n in group]))
        self._write(c, places)


class _VectorPasses:
    """Walks the contracted indices that lie along lanes, a vector of them at a time."""

    def __init__(self, emitter: TileEmitter, tile: int) -> None:
        self.emitter = emitter
        self.blocks = emitter.plan.vector
        name, size = self.blocks[-1]
        self.last, self.size = name, size
        self.extent = emitter.extents[name]
        near = 1
        for _, taken in self.blocks[:-1]:
            near *= taken
        self.long = len(self.blocks) == 1 and size == emitter.width and self.extent != size
        steps = 8 if self.long else -(-near * size // emitter.width)
        self.copies = chains(tile, steps)
        self.unroll = max(self.copies, min(4, _UNROLLED // tile)) if self.long else 1

    def run(
        self,
        a: ir.Value,
        b: ir.Value,
        rows: list[int],
        columns: list[int],
        sums: list[ir.Value],
        multiply: Callable[..., list[ir.Value]],
    ) -> list[ir.Value]:
        emitter = self.emitter
        vectors, width, builder = emitter.emit_vectors, emitter.width, emitter.builder
        strides = emitter._strides(self.last)[:2]
        turn = 0

        def take(
            taken: int, a: ir.Value, b: ir.Value, sums: list[ir.Value], mask: ir.Value | None
        ) -> list[ir.Value]:
            nonlocal turn
            lanes = self._lanes(taken)
            for first in range(0, len(lanes), width):
                chunk = lanes[first : first + width]
                left = [self._load(a, row, [lane[0] for lane in chunk], mask) for row in rows]
                right = [self._load(b, col, [lane[1] for lane in chunk], mask) for col in columns]
                sums = multiply(left, right, sums, turn)
                turn += 1
            return sums

        def looped(
            count: Count, taken: int, a: ir.Value, b: ir.Value, sums: list[ir.Value]
        ) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
            def once(carried: list[ir.Value]) -> list[ir.Value]:
                totals = take(taken, carried[0], carried[1], carried[2:], None)
                return [
                    vectors.at(carried[0], vectors.multiply(taken, strides[0])),
                    vectors.at(carried[1], vectors.multiply(taken, strides[1])),
                    *totals,
                ]

            a, b, *sums = vectors.loop(count, [a, b, *sums], once)
            return a, b, sums

        size = self.size * self.unroll
        if isinstance(self.extent, int):
            a, b, sums = looped(self.extent // size, size, a, b, sums)
            rest = self.extent % size
            return take(rest, a, b, sums, None) if rest else sums
        count = builder.sdiv(self.extent, ir.Constant(INDEX, size))
        left = builder.sub(self.extent, vectors.multiply(count, size))
        a, b, sums = looped(count, size, a, b, sums)
        if self.unroll > 1:
            count = builder.sdiv(left, ir.Constant(INDEX, width))
            left = builder.sub(left, vectors.multiply(count, width))
            a, b, sums = looped(count, width, a, b, sums)
        return take(width, a, b, sums, vectors.first_lanes(left, width))

    def _lanes(self, taken: int) -> list[tuple[int, ...]]:
        sizes = [*self.blocks[:-1], (self.last, taken)]
        return lane_offsets(
            [
                (size, tuple(self.emitter._literal(name, array) for array in (0, 1)))
                for name, size in sizes
            ]
        )

    def _load(
        self, pointer: ir.Value, offset: int, lanes: list[int], mask: ir.Value | None
    ) -> ir.Value:
        vectors, width = self.emitter.emit_vectors, self.emitter.width
        if mask is not None:
            return vectors.masked_load(pointer, offset + lanes[0], mask, vectors.zero(width))
        return vectors.load(pointer, [offset + lane for lane in lanes], width)


def _join_nested(nested: list[tuple[Count, list[Count]]]) -> list[tuple[Count, list[Count]]]:
    """Neighbouring loops whose indices walk both arrays as one index would, made one loop."""
    joined: list[tuple[Count, list[Count]]] = []
    for extent, strides in nested:
        if joined and isinstance(extent, int) and isinstance(joined[-1][0], int):
            far = joined[-1][1]
            if all(
                isinstance(x, int) and isinstance(y, int) and x == y * extent
                for x, y in zip(far, strides, strict=True)
            ):
                joined[-1] = (joined[-1][0] * extent, strides)
                continue
        joined.append((extent, strides))
    return joined
