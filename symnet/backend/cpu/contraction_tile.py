"""Takes a plan, and the place in its loops where the builder stands.
Hands on the register tile as vector instructions: accumulators in registers, sums over the
contracted indices, results in C.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llvmlite import ir

from symnet.compile.contraction import Contraction, element_bytes, lane_offsets, runs

from .contraction_epilogue import EpilogueEmitter
from .contraction_loops import Plan, chains, turning
from .machine import Machine
from .vectors import INDEX, Count, Vectors

# Multiply-adds in one pass of an unrolled loop: enough to hide its bookkeeping, small to compile.
_UNROLLED = 20
_MOST_UNROLLED = 56

Pointers = list[ir.Value]
#: A vector of results, and where its elements lie in C and in each of the epilogue's arrays.
Place = tuple[ir.Value, tuple[list[int], ...]]


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
        self.epilogue = contraction.epilogue
        self.width = plan.lanes
        self.dimensions = {d.name: d for d in plan.dimensions}
        others = contraction.others
        self.arrays = function.args[: 3 + others]
        # How to reach each array's elements; the epilogue's are of any dtype.
        self.vectors_of = [self.emit_vectors] * 3
        if contraction.epilogue is not None:
            self.epilogues = EpilogueEmitter(function, builder, contraction.epilogue, machine.masks)
            self.vectors_of += self.epilogues.vectors
        *parameters, self.first, self.last = function.args[3 + others :]
        self.parameters = dict(zip(contraction.parameters, parameters, strict=True))
        # Where the loops stand while their insides are written.
        self.extents: dict[str, Count] = {d.name: self._value(d.extent) for d in plan.dimensions}
        self.sizes: dict[str, int] = {}
        self.mask: ir.Value | None = None
        self.is_first: ir.Value | bool = True
        self.is_last = True
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
        return [self._value(stride) for stride in dimension.strides]

    def _moved(self, pointers: Pointers, amounts: Sequence[Count]) -> Pointers:
        """The pointer to each array moved by as many of its elements."""
        return [
            vectors.at(pointer, amount)
            for vectors, pointer, amount in zip(self.vectors_of, pointers, amounts, strict=True)
        ]

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
            found = join_nested(found)
        return found

    def _outer_tile(self, pointers: Pointers) -> None:
        vectors, width = self.emit_vectors, self.width
        a, b, *targets = pointers
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
        row_offsets, chunks = self._row_offsets(2), self._chunks(2)
        offsets = [
            [[row + lane for lane in chunk] for row in self._row_offsets(n) for chunk in self._chunks(n)]
            for n in range(2, 2 + len(targets))
        ]
        places: list[Place] = list(zip(totals, zip(*offsets, strict=True), strict=True))
        lanes = [lane for chunk in chunks for lane in chunk]
        of_a_row = sum(len(runs(chunk)) for chunk in chunks)
        if self.mask is None and turning(row_offsets, of_a_row, len(lanes), width)[0]:
            places = self._turned(places, len(chunks))
        self._write(targets, places)

    def _turned(self, places: list[Place], chunks: int) -> list[Place]:
        """The same results in vectors that run along the rows instead of along the columns."""
        turned: list[Place] = []
        for j in range(chunks):
            of_chunk = places[j::chunks]
            for first in range(0, len(of_chunk), self.width):
                group = of_chunk[first : first + self.width]
                columns = self.emit_vectors.transpose([value for value, _ in group])
                arrays = list(zip(*(offsets for _, offsets in group), strict=True))
                for lane in range(len(arrays[0][0])):
                    there = tuple([offsets[lane] for offsets in array] for array in arrays)
                    turned.append((columns[lane], there))
        return turned

    def _sum(
        self,
        nested: list[tuple[Count, list[Count]]],
        a: ir.Value,
        b: ir.Value,
        sums: list[ir.Value],
        cost: int,
        copies: int,
        step: Callable[[ir.Value, ir.Value, tuple[Count, Count], list[ir.Value], int], list[ir.Value]],
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

            def written_out(count: int, a: ir.Value, b: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
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

    def _write(self, targets: Pointers, places: list[Place]) -> None:
        """Store results, or add them to C: always, never, or except on the first block."""
        c = targets[0]
        if self.epilogue is not None and self.is_last:
            self._finish(targets, places)
        elif self.accumulate or self.is_first is True:
            self._store(c, places, self.accumulate)
        else:
            with self.builder.if_else(self.is_first) as (first, later):
                with first:
                    self._store(c, places, False)
                with later:
                    self._store(c, places, True)

    def _store(self, c: ir.Value, places: list[Place], accumulate: bool) -> None:
        for value, (offsets, *_) in places:
            if accumulate:
                before = self.emit_vectors.load_lanes(c, offsets, value.type.count, self.mask)
                value = self.builder.fadd(before, value)
            self._store_lanes(value, c, offsets)

    def _store_lanes(self, value: ir.Value, c: ir.Value, offsets: list[int]) -> None:
        if self.mask is None:
            self.emit_vectors.store(value, c, offsets, False)
        else:
            self.emit_vectors.masked_store(value, c, offsets[0], self.mask)

    def _finish(self, targets: Pointers, places: list[Place]) -> None:
        """Add what earlier blocks left in C, and store what the epilogue makes of the sums."""
        c, *others = targets
        known: dict[tuple[int, ...], ir.Value] = {}
        for value, (offsets, *further) in places:
            width = value.type.count
            if self.is_first is not True:
                before = self.emit_vectors.load_lanes(c, offsets, width, self.mask)
                value = self.builder.select(self.is_first, value, self.builder.fadd(before, value))
            elements = []
            for n, (pointer, lanes) in enumerate(zip(others, further, strict=True)):
                key = (n, width, *lanes)
                if key not in known:
                    known[key] = self.epilogues.load(n, pointer, lanes, width, self.mask)
                elements.append(known[key])
            old = None
            if self.epilogues.reads_target:
                old = self.emit_vectors.load_lanes(c, offsets, width, self.mask)
            value, *beside = self.epilogues.values(value, old, elements)
            self._store_lanes(value, c, offsets)
            for (n, _), each in zip(self.epilogues.epilogue.stores, beside, strict=True):
                self._store_lanes(each, others[n], further[n])

    # -- lanes along a contracted index ----------------------------------------------------------

    def _inner_tile(self, pointers: Pointers) -> None:
        vectors, width = self.emit_vectors, self.width
        a, b, *targets = pointers
        rows = self._row_offsets(0)
        columns = [lane for chunk in self._chunks(1) for lane in chunk]
        tile = len(rows) * len(columns)
        passes = _VectorPasses(self, self.whole_tile)
        copies = passes.copies

        def step(
            a: ir.Value, b: ir.Value, offsets: tuple[Count, Count], sums: list[ir.Value], turn: int
        ) -> list[ir.Value]:
            a, b = vectors.at(a, offsets[0]), vectors.at(b, offsets[1])
            return passes.run(a, b, rows, columns, sums)

        start = [vectors.zero(width)] * (tile * copies)
        sums = self._sum(self._contracted(), a, b, start, _MOST_UNROLLED, 1, step)
        totals = self._add_copies(sums, tile, copies)
        offsets = []
        for array in range(2, 2 + len(targets)):
            lanes = [lane for chunk in self._chunks(array) for lane in chunk]
            offsets.append([row + lane for row in self._row_offsets(array) for lane in lanes])
        order = sorted(range(tile), key=lambda n: offsets[0][n])
        places: list[Place] = []
        for first in range(0, tile, width):
            group = order[first : first + width]
            sums = vectors.sums([totals[n] for n in group])
            places.append((sums, tuple([each[n] for n in group] for each in offsets)))
        self._write(targets, places)


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
    ) -> list[ir.Value]:
        emitter = self.emitter
        vectors, width, builder = emitter.emit_vectors, emitter.width, emitter.builder
        strides = emitter._strides(self.last)[:2]
        tile = len(rows) * len(columns)
        turn = 0

        def take(
            taken: int, a: ir.Value, b: ir.Value, sums: list[ir.Value], mask: ir.Value | None
        ) -> list[ir.Value]:
            nonlocal turn
            lanes = self._lanes(taken)
            for first in range(0, len(lanes), width):
                chunk = lanes[first : first + width]
                base = turn % self.copies * tile
                sums = list(sums)
                left = a, rows, [lane[0] for lane in chunk]
                right = b, columns, [lane[1] for lane in chunk]
                # The fewer vectors stay in registers beside the sums, the others come one by one.
                (kept, kept_at, kept_lanes), (other, other_at, other_lanes) = (
                    (right, left) if len(rows) > len(columns) else (left, right)
                )
                held = [self._load(kept, offset, kept_lanes, mask) for offset in kept_at]
                for n, offset in enumerate(other_at):
                    y = self._load(other, offset, other_lanes, mask)
                    for m, x in enumerate(held):
                        i, j = (n, m) if len(rows) > len(columns) else (m, n)
                        place = base + i * len(columns) + j
                        sums[place] = vectors.multiply_add(x, y, sums[place])
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
            [(size, tuple(self.emitter._literal(name, array) for array in (0, 1))) for name, size in sizes]
        )

    def _load(self, pointer: ir.Value, offset: int, lanes: list[int], mask: ir.Value | None) -> ir.Value:
        vectors, width = self.emitter.emit_vectors, self.emitter.width
        if mask is not None:
            return vectors.masked_load(pointer, offset + lanes[0], mask, vectors.zero(width))
        return vectors.load(pointer, [offset + lane for lane in lanes], width)


def join_nested(nested: list[tuple[Count, list[Count]]]) -> list[tuple[Count, list[Count]]]:
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
