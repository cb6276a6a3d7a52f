"""Devices as kernels are planned for them: takes a compute capability, hands on counts and sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What the shapes of grids and tiles follow from.

    Attributes
    ----------
    compute
        The compute capability that code is made for.
    multiprocessors
        How many there are.
    threads
        Threads of a block: the same for every kernel, so that kernels can be set side by side in one grid.
    warp
        Threads that run in step.
    shared_bytes
        Shared memory that a block may have.
    """

    compute: tuple[int, int]
    multiprocessors: int
    threads: int = 256
    warp: int = 32
    shared_bytes: int = 48 * 1024


A100 = Machine((8, 0), 108)
H100 = Machine((9, 0), 132)
#: Small enough for a thread of Python's for each thread of a block.
SIMULATOR = Machine((9, 0), 2, threads=8, warp=4)
