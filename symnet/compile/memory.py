"""Memory planning: takes a Program, gives every arena buffer an offset so that few bytes serve many lives.

Buffers are placed largest first at the lowest offset where they overlap no buffer that lives at the
same time (greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference", 2020, section 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from symnet.compile.program import (
    ALIGNMENT,
    Buffer,
    ContractionCall,
    HostStep,
    KernelCall,
    Program,
    SlotStep,
)

ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}


def bytes_of(buffer: Buffer) -> int:
    """The size of a buffer, rounded up to the alignment."""
    size = max(1, buffer.capacity) * ITEM_BYTES[buffer.dtype]
    return -(-size // ALIGNMENT) * ALIGNMENT


def lifetimes(program: Program) -> dict[Buffer, tuple[int, int]]:
    """For each arena buffer the first and the last step that touches it."""
    lives: dict[Buffer, tuple[int, int]] = {}

    def touch(buffer: Buffer, step: int) -> None:
        if buffer.kind == "arena":
            first, _ = lives.get(buffer, (step, step))
            lives[buffer] = (first, step)

    read_by_sizes = {view.buffer for view in program.computed.values()}
    for position, step in enumerate(program.steps):
        if isinstance(step, KernelCall | ContractionCall):
            for buffer in step.buffers:
                touch(buffer, position)
        elif isinstance(step, HostStep):
            for view in step.views:
                touch(view.buffer, position)
        elif isinstance(step, SlotStep):
            for buffer in read_by_sizes & lives.keys():
                touch(buffer, position)
    # What sizes are read from stays to the end: checks may read it anywhere.
    for buffer in read_by_sizes & lives.keys():
        lives[buffer] = (lives[buffer][0], len(program.steps))
    return lives


def plan_memory(program: Program) -> None:
    """Set the offset of every arena buffer and the size of the arena."""
    program.arena_bytes = place(lifetimes(program))


def place(lives: Mapping[Buffer, tuple[int, int]]) -> int:
    """Set the offsets of buffers, given when each is first and last in use; the bytes that they take."""
    placed = _Placed(len(lives))
    for buffer in sorted(lives, key=lambda each: (-bytes_of(each), lives[each][0])):
        buffer.offset = placed.place(bytes_of(buffer), *lives[buffer])
    return placed.total


class _Placed:
    """The buffers that have a place, by offset; as arrays, since each new one is compared with all."""

    def __init__(self, most: int) -> None:
        self.total = 0
        self._count = 0
        #: Offset, end, first and last step.
        self._books = np.empty((4, most), dtype=np.int64)

    def place(self, size: int, first: int, last: int) -> int:
        """The lowest offset with room beside all that live at the same time."""
        offsets, ends, begins, untils = self._books[:, : self._count]
        beside = (begins <= last) & (untils >= first)
        tops = np.concatenate(([0], np.maximum.accumulate(ends[beside])))
        gaps = offsets[beside] - tops[:-1] >= size
        offset = int(tops[int(gaps.argmax()) if gaps.any() else -1])
        at = int(np.searchsorted(offsets, offset))
        books = self._books[:, : self._count + 1]
        books[:, at + 1 :] = books[:, at:-1].copy()
        books[:, at] = (offset, offset + size, first, last)
        self._count += 1
        self.total = max(self.total, offset + size)
        return offset
