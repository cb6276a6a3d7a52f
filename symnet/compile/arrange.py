"""What becomes of a Program between lowering and a backend: takes one as lowered, hands it on with fewer
kernels and with a place for every buffer."""

from __future__ import annotations

from symnet.compile.epilogue import fuse_epilogues
from symnet.compile.joining import join_kernels
from symnet.compile.memory import plan_memory
from symnet.compile.merging import merge_kernels, sizes_first, tests_first
from symnet.compile.program import Program
from symnet.compile.sharing import share_kernels
from symnet.compile.target import Target


def arrange(program: Program, target: Target) -> None:
    """Fuse, join and merge a program's kernels as suits a target, and plan its memory."""
    if target.many_threads:
        sizes_first(program)
        tests_first(program)
    fuse_epilogues(program, target)
    join_kernels(program)
    fuse_epilogues(program, target)
    if target.many_threads:
        merge_kernels(program)
    share_kernels(program)
    plan_memory(program)
