"""Takes the model of a contraction: hands on plans whose lanes run along an index of C.

The register tile is the outer-product form of Goto and van de Geijn, "Anatomy of High-Performance
Matrix Multiplication" (ACM TOMS 34, 2008), with lanes gathered from several short rows where one
row would leave a vector half empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from symnet.compile.contraction import Dimension, lane_offsets

from .contraction_loops import Loop, Plan, turning
from .contraction_model import (
    Blocks,
    Model,
    Stretch,
    balanced,
    block_segments,
    count,
    elements,
    step_cycles,
)

# The part of the nearest cache that a panel of B may fill.
_NEAR = 0.7


@dataclass(frozen=True)
class _Columns:
    """A choice of columns for the tile, and what does not depend on its rows."""

    blocks: Blocks
    stretches: list[Stretch]
    tiles: float
    panel_bytes: int
    packable: bool

    @property
    def padded(self) -> int:
        """Lanes of a whole tile, those left empty included."""
        return self.stretches[0].vectors * self.stretches[0].width


class OuterPlans(Model):
    """Lists plans, each cheaper in cycles than the one before it."""

    def plans(self) -> Iterator[Plan]:
        """Every choice of columns and rows, each as it is and with B packed."""
        for columns in self._columns():
            for rows in self._row_blocks(columns):
                for panel in self._panels(columns, rows):
                    yield from self._plan(columns, rows, panel)

    # -- the tile --------------------------------------------------------------------------------

    def _columns(self) -> Iterator[_Columns]:
        """Choices of columns, those that waste the fewest lanes first, as long as they may win."""
        choices = [blocks for d in self._vector_dimensions() for blocks in self._column_blocks(d)]
        if not self.columns and not self.swapped:
            choices.append([])
        for floor, _, blocks in sorted(
            (self._floor(blocks), number, blocks) for number, blocks in enumerate(choices)
        ):
            if floor >= self.cheapest:
                return
            stretches = self.stretches(blocks)
            used = [(count(d), self.strides[d.name][1]) for d in self.contracted]
            used += [(size, self.strides[d.name][1]) for d, size in blocks]
            yield _Columns(
                blocks,
                stretches,
                self.column_count / math.prod(size for _, size in blocks),
                elements(used) * self.element,
                bool(blocks) and self._can_pack(blocks, stretches[0].vectors * stretches[0].width),
            )

    def _floor(self, blocks: Blocks) -> float:
        """Cycles of the multiply-adds alone, lanes left empty included."""
        vectors = sum(times * -(-lanes // self.lanes) for lanes, times in block_segments(blocks))
        others = self.column_count / math.prod(count(d) for d, _ in blocks)
        return vectors * others * self.row_count * self.steps * self.repeats / 2

    def _vector_dimensions(self) -> list[Dimension]:
        """Indices worth trying along lanes: those that lie side by side in B, else in C."""
        beside = [d for d in self.columns if d.b == 1]
        stored = [d for d in self.columns if d.c == 1 and d.b != 1]
        return beside + stored or self.columns[-1:]

    def _column_blocks(self, vector: Dimension) -> Iterator[Blocks]:
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

    def _row_blocks(self, columns: _Columns) -> Iterator[Blocks]:
        """Tile blocks of A's indices: of the longest, and of that which lies nearest together in C.

        The accumulators, the vectors of columns or of rows, whichever are fewer, and one more are in
        registers at a time.
        """
        vectors = columns.stretches[0].vectors
        spare = self.machine.registers - 1 - any(stretch.merges for stretch in columns.stretches)
        most = max((spare - vectors) // vectors, min(spare // (vectors + 1), vectors - 1))
        if self.row is None:
            yield []
            return
        for size in balanced(self.row.extent, most):
            yield [(self.row, size)]
        near = self.rows[-1]
        if near is not self.row and self.strides[near.name][2] == 1:
            for size in balanced(near.extent, most):
                yield [(near, size)]
        if isinstance(near.extent, int) and len(self.rows) > 1 and 2 * near.extent <= most:
            for size in balanced(self.rows[-2].extent, most // near.extent):
                if size > 1:
                    yield [(near, near.extent), (self.rows[-2], size)]

    # -- a panel of B ----------------------------------------------------------------------------

    def _panels(self, columns: _Columns, rows: Blocks) -> list[int]:
        """Indices of the outermost contracted dimension to pack at a time; 0 for no packing."""
        if not columns.packable or self.row_count <= math.prod(size for _, size in rows):
            return [0]
        first = self.contracted[0].extent
        found = [0]
        inside = math.prod(count(d) for d in self.contracted[1:])
        for room in (int(self.machine.l1 * _NEAR), self.machine.panel):
            most = max(1, room // (columns.padded * self.element * inside))
            size = most if isinstance(first, str) else balanced(first, most)[0]
            if size not in found:
                found.append(size)
        return found

    def _can_pack(self, columns: Blocks, padded: int) -> bool:
        """Copying B pays if its columns lie apart, or if it is read often and from far away."""
        if not self.contracted or not self.steps:
            return False
        if any(isinstance(d.extent, str) for d in self.contracted[1:]):
            return False
        # The panel is on the stack, and only the outermost contracted index can be taken in parts.
        inside = math.prod(count(d) for d in self.contracted[1:])
        if inside * padded * self.element > self.machine.panel:
            return False
        return self.b_bytes > self.machine.l1 // 2 or (bool(columns) and columns[0][0].b != 1)

    def _packing(self, stretch: Stretch, lines: float) -> float:
        """Cycles to copy the columns for one contracted index."""
        together = 1
        for dimension in reversed(self.contracted):
            if isinstance(dimension.extent, str) or dimension.b != together:
                break
            together *= dimension.extent
        if stretch.loads == stretch.lanes > 1 and together >= stretch.width:
            # Read along the contracted indices and turned: see `turning`.
            return stretch.vectors * (3 + (stretch.width.bit_length() - 1) / 2)
        return max(stretch.loads * lines + stretch.vectors, 1.5 * stretch.merges)

    # -- what it costs ---------------------------------------------------------------------------

    def _plan(self, columns: _Columns, rows: Blocks, block: int) -> Iterator[Plan]:
        machine, element = self.machine, self.element
        width, vectors = columns.stretches[0].width, columns.stretches[0].vectors
        row_size = math.prod(size for _, size in rows)
        row_tiles = self.row_count / row_size
        steps, blocks = self.steps, 1.0
        if block and self.whole_sums and block != self.contracted[0].extent:
            return
        if block:
            inside = math.prod(count(d) for d in self.contracted[1:])
            steps = min(self.steps, block * inside)
            blocks = self.steps / steps

        # Bytes of B that one pass over the rows walks through, and where they are found.
        outside = not block and self.rows_outside(row_tiles, columns.tiles)
        panel = steps * columns.padded * element
        if not block:
            panel = min(panel, columns.panel_bytes)
        near = panel <= machine.l1 * _NEAR and (block or (row_tiles > 1 and not outside))
        rate: float = 64 if near else 32 if block else self.rate(self.b_bytes)
        if not near and not block and row_tiles > 1:
            # Columns of an array lie apart, those of a large one on many pages, again for every tile.
            rate /= 2 if rate > 16 else 4
        # Rows a page apart fall into the same few lines of the first-level cache.
        apart = self.strides[rows[0][0].name][0] * element if rows else 1
        crowded = row_size > 8 and apart % 4096 == 0
        strides = [(size, (self.strides[d.name][2],)) for d, size in rows]
        row_offsets = [lane[0] for lane in lane_offsets(strides)] if rows else [0]

        # Adding to C reads it, in as many pieces as it is written in.
        storing = 3.5 * blocks - (0 if self.accumulate else 2.3)
        cost, copying = 0.0, 0.0
        for stretch in columns.stretches:
            # A vector put together from pieces reads across cache lines at every piece.
            lines = self.astride(1, stretch.lanes / stretch.loads, [d for d, _ in columns.blocks])
            pieces = stretch.vectors if block else stretch.loads * lines
            merges = 0 if block else max(0, stretch.merges)
            bytes_each = stretch.vectors * width * element
            for taken, repeats in block_segments(rows):
                fmas = taken * stretch.vectors
                step = step_cycles(fmas, taken + pieces, merges, steps, row_size * vectors)
                step = max(step, (bytes_each + taken * element) / rate)
                if crowded:
                    step *= 1.15
                stores = turning(row_offsets[:taken], stretch.stores, stretch.lanes, width)[1]
                tile = blocks * (steps * step + 10) + stores * storing
                cost += stretch.times * repeats * tile
            if block:
                once = self._packing(stretch, lines)
                # Short stretches of many lines arrive at half the speed of long ones.
                once = max(once, 2 * bytes_each / self.rate(self.b_bytes))
                copying += stretch.times * self.steps * once
        cost *= self.row_count / math.prod(count(d) for d, _ in rows)
        tall = self._tall(rows, max(1, steps))
        if block and tall:
            copying *= math.ceil(count(rows[-1][0]) / tall)
        if blocks > 1:
            # C is read and written again for each block, half of it while the sums go on.
            c_bytes = self.row_count * self.column_count * element
            copying += (blocks - 1) * self.walk(c_bytes)
        cost = (cost + copying) * self.repeats
        cost *= self.variants(columns.blocks, rows)
        if any(isinstance(d.extent, str) and not d.b == d.c == 1 for d, _ in columns.blocks):
            cost *= 3  # what is left over can't be masked, and goes by in fewer and fewer lanes
        if cost >= self.cheapest:
            return
        self.cheapest = cost
        loops, pack_level = self._loops(columns.blocks, rows, block, outside, steps)
        yield Plan(
            "outer",
            self.dimensions,
            self.swapped,
            self.offsets,
            width,
            tuple(loops),
            tuple(d.name for d, _ in rows),
            tuple(d.name for d, _ in columns.blocks),
            tuple(d.name for d in self.contracted),
            pack_level=pack_level,
            cycles=cost,
        )

    def _loops(
        self, columns: Blocks, rows: Blocks, block: int, outside: bool, steps: int
    ) -> tuple[list[Loop], int | None]:
        """The loops round the tile, and the level before which B is packed."""
        loops = self.step_loops(self.batch, [])
        row_loops, column_loops = self.step_loops(self.rows, rows), self.step_loops(self.columns, columns)
        for n, (dimension, _) in enumerate(reversed(columns), len(column_loops) - len(columns)):
            if isinstance(dimension.extent, str) and dimension.b == dimension.c == 1:
                column_loops[n] = Loop(dimension.name, column_loops[n].size, "lanes")
        if not block:
            return loops + (row_loops + column_loops if outside else column_loops + row_loops), None
        tall = self._tall(rows, max(1, steps))
        if tall:
            loops.append(Loop(rows[-1][0].name, tall, "block"))
        first = self.contracted[0]
        if first.extent != block:
            loops.append(Loop(first.name, block, "block"))
        loops += column_loops
        return loops + row_loops, len(loops)

    def _tall(self, rows: Blocks, steps: int) -> int:
        """How many indices of the last row dimension fill half the second cache; 0 where all fit."""
        if not rows:
            return 0
        row, size = rows[-1]
        near = math.prod(taken for _, taken in rows[:-1])
        most = max(size, self.machine.l2 // 2 // (steps * self.element * near) // size * size)
        return most if isinstance(row.extent, str) or row.extent > most else 0
