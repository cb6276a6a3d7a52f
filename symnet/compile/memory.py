"""Memory planning: takes a Program, gives every arena buffer an offset so that few bytes serve many lives.

Buffers are placed largest first at the lowest offset where they overlap no buffer that lives at the
same time (greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference", 2020, section 5.2).
"""

from __future__ import annotations

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
    lives = lifetimes(program)
    placed: list[tuple[int, int, int, int]] = []
    total = 0
    for buffer in sorted(lives, key=lambda each: (-bytes_of(each), lives[each][0])):
        first, last = lives[buffer]
        size = bytes_of(buffer)
        neighbours = sorted(
            (offset, end) for offset, end, begin, until in placed if begin <= last and first <= until
        )
        offset = 0
        for begin, end in neighbours:
            if offset + size <= begin:
                break
            offset = max(offset, end)
        buffer.offset = offset
        placed.append((offset, offset + size, first, last))
        total = max(total, offset + size)
    program.arena_bytes = total
