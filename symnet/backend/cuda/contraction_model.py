"""Takes a contraction and a machine; hands on the plan whose tiles take least time by a short model.

The model counts the instructions of a slice of a tile, what waits for memory, how many blocks a
multiprocessor runs at once, and how many times over.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from symnet.backend.cuda.contraction_plan import (
    MOST_LISTED,
    Operand,
    Plan,
    Tile,
    laid_out,
    slice_entries,
    writes,
)
from symnet.backend.cuda.contraction_text import NARROW
from symnet.backend.cuda.machine import Machine
from symnet.compile.contraction import Contraction

#: The sums of a thread: rows and columns.
_SHAPES = ((8, 8), (8, 4), (4, 8), (4, 4), (2, 4), (4, 2), (2, 2), (1, 4), (4, 1), (1, 2), (2, 1), (1, 1))
_DEPTHS = (8, 16, 32, 64, 128, 256)
_PARTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
#: Entries of all parts of sums together that there is memory for.
_MOST_IN_PARTS = 1 << 26
#: What a length counts as that is only known at run time, and without a bound.
_USUAL = 4096

#: Cycles from a load to its value where that is not in shared memory.
_LATENCY = 500.0
#: Cycles that a kernel takes before its first load and behind its last store, its launch's share included.
_LAUNCH = 2500.0
#: Bytes a cycle that a multiprocessor gets from the second-level cache, and its share of the memory's.
_CACHE_BYTES, _MEMORY_BYTES = 24.0, 12.0


def plan_contraction(
    contraction: Contraction, offsets: Sequence[int | str], machine: Machine, capacities: Mapping[str, int]
) -> Plan | None:
    """The plan for a contraction; None where there is nothing to do. The same arguments give the same plan.

    Parameters
    ----------
    offsets
        The first entries of A, B, C and the epilogue's arrays; numbers, or names of sizes.
    capacities
        The most that sizes known at run time can be.
    """
    names = {*contraction.parameters, *(each for each in offsets if isinstance(each, str))}
    known = tuple(sorted((name, most) for name, most in capacities.items() if name in names))
    return _planned(contraction, tuple(offsets), machine, known)


@functools.lru_cache(maxsize=1024)
def _planned(
    contraction: Contraction,
    offsets: tuple[int | str, ...],
    machine: Machine,
    capacities: tuple[tuple[str, int], ...],
) -> Plan | None:
    plan = laid_out(contraction, offsets, dict(capacities))
    return None if plan is None else _Choice(plan, machine).made()


class _Choice:
    """The search for a plan's tile and the number of parts of its sums."""

    def __init__(self, plan: Plan, machine: Machine) -> None:
        self.plan, self.machine = plan, machine
        spaces = (plan.rows, plan.columns, plan.batch, plan.inner)
        self.rows, self.columns, self.batch, self.inner = (
            max(1, each.most if each.most < NARROW else _USUAL) for each in spaces
        )
        # A warp's multiply-adds take so many cycles of the part of a multiprocessor that it belongs to.
        few_units = machine.compute == (8, 0)
        self.arithmetic = (2 if few_units else 1) * (1 if plan.item == 4 else 2)
        self.warps = machine.threads / machine.warp
        self.item = plan.item
        #: Of A and B whether inner indices lie side by side or rows do, entries of a load, whether what lies
        #: side by side does so without gaps, and whether one stride leads from inner index to inner index.
        self.operands = [self._known_of(each) for each in plan.operands]
        self.listed = len(replace(plan, splits=self.inner).listed)

    def _known_of(self, operand: Operand) -> tuple[bool, int, bool, bool]:
        inner = self.plan.inner
        strides = (inner if operand.along_inner else operand.space).strides(operand.array)
        near = bool(strides) and strides[-1] in (1, -1)
        return operand.along_inner, operand.vector, near, inner.linear(operand.array) is not None

    def made(self) -> Plan:
        """The plan with the best tile."""
        best, least = (Tile(1, self.machine.threads, 1, 1, 1, 8), 1), math.inf
        for tile in list(self._tiles()) or list(self._spare()):
            for parts, cycles in self._cycles(tile):
                if cycles < least:
                    best, least = (tile, parts), cycles
        assert least < math.inf
        return replace(self.plan, tile=best[0], splits=best[1])

    # --- candidates --------------------------------------------------------------------------------

    def _tiles(self) -> Iterator[Tile]:
        threads, item = self.machine.threads, self.plan.item
        # Tiles reach less than twice as far as there is something, if smaller ones can be had.
        tallest = max(1, 2 * self.rows - 1)
        widest = max(1, 2 * self.columns - 1)
        large = self.rows * self.columns * self.batch >= 512 * 512 and min(self.rows, self.columns) >= 64
        # Registers for sums; places of 64 bits take twice the registers of others.
        most = 128 if any(each.dtype == "int64" for each in self.plan.operands) else 256
        for rows, columns in _SHAPES:
            if rows * columns * item > most or (large and rows * columns < 16):
                continue
            if rows > tallest or columns > widest:
                continue
            groups = 1
            while groups <= threads and (groups == 1 or rows * columns * item <= 64):
                down = 1
                while down <= threads // groups:
                    across = threads // groups // down
                    if (down == 1 or down * rows <= tallest) and (across == 1 or across * columns <= widest):
                        for depth in _DEPTHS:
                            tile = Tile(down, across, groups, rows, columns, depth)
                            if self._fits(tile):
                                yield tile
                    down *= 2
                groups *= 2

    def _spare(self) -> Iterator[Tile]:
        """Tiles that fit where all others reach too far: all threads on one sum, or side by side."""
        for tile in (
            Tile(1, 1, self.machine.threads, 1, 1, max(8, self.machine.threads)),
            Tile(1, self.machine.threads, 1, 1, 1, 8),
            Tile(self.machine.threads, 1, 1, 1, 1, 8),
        ):
            if self._fits(tile):
                yield tile

    def _fits(self, tile: Tile) -> bool:
        """Whether each thread has work in every slice, and shared memory is enough."""
        plan, threads = self.plan, self.machine.threads
        if tile.depth % tile.groups or tile.depth // tile.groups > 16:
            return False
        for operand, size in zip(plan.operands, (tile.height, tile.width), strict=True):
            fast = tile.depth if operand.along_inner else size
            if fast % operand.vector:
                return False
            if operand.along_inner and fast // operand.vector > threads:
                return False
            if size * tile.depth // operand.vector > 16 * threads:
                return False
        return 2 * slice_entries(plan, tile) * plan.item <= self.machine.shared_bytes // 2

    # --- cost --------------------------------------------------------------------------------------

    def _cycles(self, tile: Tile) -> Iterator[tuple[int, float]]:
        """By the number of parts about how many cycles it takes."""
        plan, machine, item = self.plan, self.machine, self.item
        width = 16 // item
        tiles = math.ceil(self.rows / tile.height) * math.ceil(self.columns / tile.width) * self.batch
        slices = math.ceil(self.inner / tile.depth)
        mine = tile.depth // tile.groups
        fetched = (math.ceil(tile.rows / width) + math.ceil(tile.columns / width)) * mine
        moved, held, put, carried, found = 12.0, 0, 0.0, 0, 0
        operands = zip(self.operands, (tile.height, tile.width), writes(plan, tile), strict=True)
        for (along_inner, vector, near, linear), size, times in operands:
            loads = math.ceil(size * tile.depth / vector / machine.threads)
            moved += loads * (3 + vector)
            found += 0 if linear else 1 if along_inner else loads
            held += loads * (vector + 1)
            put += loads * (vector if along_inner else 1) * times
            # Memory comes by sectors of 32 bytes.
            run = (tile.depth if along_inner else size) if near else 1
            carried += size * tile.depth * max(item, 32 // run)
        arithmetic = tile.rows * tile.columns * mine * self.arithmetic
        # Each warp's instructions, on one of the four parts; shared memory serves all four.
        issue = self.warps / 4 * (arithmetic + fetched + moved) + self.warps * (fetched * 0.5 + put)
        words = item // 4
        registers = (tile.rows * tile.columns + tile.rows + tile.columns + held) * words + 32
        shared = 2 * slice_entries(plan, tile) * item
        if registers > 240:
            return
        limits = 2048 // machine.threads, 65536 // machine.threads // registers, 200_000 // shared
        resident = max(1, min(limits))
        # Storing the sums: what each thread does for its own, by way of shared memory.
        ending = tile.rows * tile.columns * (self.warps / 4) * 12 + 400 + 40 * tile.groups

        # An inner index's place: from a list, or by divisions.
        division = 8 * len(plan.inner.dimensions)

        def one(together: int, count: int) -> float:
            terms = count * tile.depth
            is_listed = self.listed and terms * self.listed <= MOST_LISTED
            each = issue + self.warps / 4 * found * (3 if is_listed else division)
            step = max(_LATENCY, together * each + 60, together * carried / _CACHE_BYTES)
            before = 1000 + (150 + terms / machine.threads * division * 2 if is_listed else 0)
            return before + count * step + together * ending

        entries = plan.rows.most * plan.columns.most * plan.batch.most
        for parts in (1, *_PARTS):
            few = tiles <= 2 * machine.multiprocessors and parts <= slices and plan.inner.most < NARROW
            if parts > 1 and not (few and entries * parts <= _MOST_IN_PARTS):
                break
            blocks = tiles * parts
            count = math.ceil(slices / parts)
            full, rest = divmod(math.ceil(blocks / machine.multiprocessors), resident)
            cycles = full * one(resident, count) + (one(rest, count) if rest else 0)
            if parts > 1:
                moved_bytes = 2 * entries * parts * item / machine.multiprocessors
                cycles += _LAUNCH + 600 * math.ceil(parts / 16) + moved_bytes / _MEMORY_BYTES
            yield parts, cycles
