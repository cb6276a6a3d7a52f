"""What lowering asks about where a program will run: hands on one `Target` for each backend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A kind of machine, as far as it decides which loops a kernel is written in.

    Attributes
    ----------
    name
        "cpu" or "cuda", as in `symnet.config.device`.
    many_threads
        Whether thousands of threads run at once: then every entry of a result has iterations of its own,
        marked `parallel` however deep they stand, sums are never kept in memory between iterations, and
        nothing walks lists of entries that are not zero.
    """

    name: str
    many_threads: bool


CPU = Target("cpu", many_threads=False)
CUDA = Target("cuda", many_threads=True)
