"""What one launch does, before it is a kernel: takes text from the printers, hands on `Body`.

Bodies that need not wait for each other are set side by side in one kernel (`symnet.backend.cuda.emit`), each
with blocks of its own; so the text knows its block only by the name `block`.
"""

from __future__ import annotations

from dataclasses import dataclass

from symnet.compile.nest import BufferParameter

#: Names that every body finds defined: the number of its block (int64, from 0 up to `blocks`), that of its
#: thread in the block (int32), the words in which failures are told, and the word of its own there.
BLOCK, THREAD, STATE, OWN = "block", "thread", "state", "own"


@dataclass(frozen=True)
class Scratch:
    """Memory that bodies of one step hand each other; a parameter of those that name it."""

    name: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Body:
    """The text of one block of a grid.

    Attributes
    ----------
    name
        A stem for the kernel's name.
    parameters
        The buffers that it touches, by the names in the text: those of the step, and scratch.
    sizes
        The sizes found at run time that it reads, by the names in the text (int64).
    lines
        Python statements as `numba.cuda` takes them, not indented. They may use `cuda`, `np`, `math` with the
        functions of `symnet.backend.cuda.scalar_code`, those of `symnet.backend.cuda.memory_code`, the
        parameters (indexed by int64 element offsets), the sizes, and the names above. All threads of a block
        reach each barrier. A thread that finds a failure stores 1 in `state[own]` and returns; in a serial
        body, which runs alone once that has happened, the one thread stores the site in `state[own]`, its
        values in the words after that, and returns.
    blocks
        How many blocks it wants.
    scratch
        What it reads or writes beside the step's buffers.
    """

    name: str
    parameters: tuple[BufferParameter, ...]
    sizes: tuple[str, ...]
    lines: tuple[str, ...]
    blocks: int
    scratch: tuple[Scratch, ...] = ()
    comments: tuple[str, ...] = ()
