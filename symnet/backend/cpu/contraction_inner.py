"""Takes the model of a contraction: hands on plans whose lanes run along a contracted index."""

from __future__ import annotations

import math
from collections.abc import Iterator

from symnet.compile.contraction import Dimension

from .contraction_loops import Plan
from .contraction_model import (
    Blocks,
    Model,
    balanced,
    block_segments,
    count,
    narrow,
    runs_per_vector,
    segments,
    step_cycles,
)

# Longest run of vectors that one unrolled pass over contracted lanes may take.
_MOST_UNROLLED_VECTORS = 8


class InnerPlans(Model):
    """Lists plans, each cheaper in cycles than the one before it."""

    def plans(self) -> Iterator[Plan]:
        """Every tile for each index that lies side by side in both A and B."""
        row, registers = self.row, self.machine.registers
        for vector in self.contracted:
            if vector.a != 1 or vector.b != 1:
                continue
            blocks = self._contracted_block(vector)
            passes = self.steps * self._waste(blocks) / self.lanes
            if passes * self.row_count * self.column_count * self.repeats / 2 >= self.cheapest:
                continue
            loads = self._loads_along(blocks)
            for columns in self._nested_columns():
                lanes = math.prod(size for _, size in columns)
                for size in balanced(row.extent, (registers - 2) // lanes) if row else [1]:
                    if size * lanes + min(size, lanes) < registers:
                        rows = [(row, size)] if row else []
                        yield from self._plan(blocks, passes, loads, rows, columns)

    def _contracted_block(self, vector: Dimension) -> Blocks:
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

    def _waste(self, blocks: Blocks) -> float:
        """Lanes issued for each lane that counts, over the whole extent of the last block."""
        last, size = blocks[-1]
        near = math.prod(size for _, size in blocks[:-1])
        issued = sum(-(-near * taken // self.lanes) * times for taken, times in segments(last.extent, size))
        return issued * self.lanes / (near * count(last))

    def _nested_columns(self) -> Iterator[Blocks]:
        """Column blocks of the tile, fastest in C first; all but the last are taken whole."""
        if not self.columns:
            yield []
            return
        whole: Blocks = []
        lanes = 1
        for dimension in reversed(self.columns):
            for size in balanced(dimension.extent, most := self.machine.registers // 2 // lanes, most):
                yield [*whole, (dimension, size)]
            if isinstance(dimension.extent, str):
                return
            lanes *= dimension.extent
            if lanes > self.machine.registers // 2:
                return
            whole.append((dimension, dimension.extent))

    def _loads_along(self, blocks: Blocks) -> tuple[float, float, float]:
        """Lines read for each vector of A and of B along the contracted lanes, and merges of both."""
        sizes = [size for _, size in blocks]
        vectors = -(-math.prod(sizes) // self.lanes)
        lines, merged = [], 0.0
        for array in (0, 1):
            strides = [self.strides[d.name][array] for d, _ in blocks]
            loads, merges = runs_per_vector(sizes, strides, self.lanes)
            run = math.prod(sizes) / loads
            lines.append(loads / vectors * self.astride(array, run, [d for d, _ in blocks]))
            merged += max(0, merges) / vectors
        return lines[0], lines[1], merged

    def _plan(
        self,
        blocks: Blocks,
        passes: float,
        loads: tuple[float, float, float],
        rows: Blocks,
        columns: Blocks,
    ) -> Iterator[Plan]:
        row_size = math.prod(size for _, size in rows)
        column_size = math.prod(size for _, size in columns)
        row_tiles = self.row_count / row_size
        column_tiles = self.column_count / column_size
        outside = self.rows_outside(row_tiles, column_tiles)
        # The outer of the two loops holds a tile of one array, while the inner walks through all of the
        # other: each comes from the cache that holds what is read until it is read again.
        held, walked = self.a_bytes / row_tiles, self.b_bytes
        passing = self.b_bytes / column_tiles
        if not outside:
            held, walked, passing = self.b_bytes / column_tiles, self.a_bytes, self.a_bytes / row_tiles
        held_rate, walked_rate = self._rate_again(held + passing), self._rate_again(held + walked)
        cost = 0.0
        for columns_taken, columns_times in block_segments(columns):
            for rows_taken, repeats in block_segments(rows):
                fmas = rows_taken * columns_taken
                lines = rows_taken * loads[0] + columns_taken * loads[1]
                merges = loads[2] * (rows_taken + columns_taken) / 2
                step = step_cycles(fmas, lines, merges, passes, row_size * column_size)
                rates = (held_rate, walked_rate) if outside else (walked_rate, held_rate)
                reading = rows_taken / rates[0] + columns_taken / rates[1]
                step = max(step, self.machine.lanes_bytes * reading)
                cost += columns_times * repeats * (passes * step + 1.5 * fmas + 15)
        cost *= self.row_count / math.prod(count(d) for d, _ in rows)
        cost *= self.column_count / math.prod(count(d) for d, _ in columns)
        # What is walked through once comes from as far as it lies, the other from nearer by.
        outside_cycles = self.walk(self.a_bytes) + self.walk(self.b_bytes)
        cost = (max(cost, outside_cycles) + min(cost, outside_cycles) / 8) * self.repeats
        cost *= self.variants(columns, rows)
        if cost >= self.cheapest:
            return
        self.cheapest = cost
        row_loops, column_loops = self.step_loops(self.rows, rows), self.step_loops(self.columns, columns)
        loops = self.step_loops(self.batch, [])
        loops += row_loops + column_loops if outside else column_loops + row_loops
        along = {d.name for d, _ in blocks}
        yield Plan(
            "inner",
            self.dimensions,
            self.swapped,
            self.offsets,
            narrow(math.prod(size for _, size in blocks), self.lanes),
            tuple(loops),
            tuple(d.name for d, _ in rows),
            tuple(d.name for d, _ in columns),
            tuple(d.name for d in self.contracted if d.name not in along),
            tuple((d.name, size) for d, size in blocks),
            cycles=cost,
        )

    def _rate_again(self, size: float) -> float:
        """Bytes a cycle of what is read again after `size` bytes."""
        return 64 if size <= self.machine.l1 else 48 if size <= self.machine.l2 // 2 else 12
