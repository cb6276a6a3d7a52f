"""A function's kernels on a GPU, for people: takes a program's kernel, hands on what does its work."""

from __future__ import annotations

from collections.abc import Sequence

from symnet.backend.cuda.device import Code
from symnet.compile.kernel import Kernel
from symnet.compile.program import ContractionCall, KernelCall


class CudaKernel(Kernel):
    """One kernel of a function on a GPU, as the program has it.

    There it may be several kernels that run one after another, and one of those may do the work of several.

    Attributes
    ----------
    codes
        The GPU's kernels that do its work: text, PTX, registers.
    blocks
        The number of blocks that do it, of all of them.
    """

    def __init__(
        self, calls: Sequence[KernelCall | ContractionCall], codes: Sequence[Code], blocks: int
    ) -> None:
        super().__init__(calls)
        self.codes = tuple(codes)
        self.blocks = blocks
        self.resources = "; ".join(map(_resources, filter(_is_compiled, codes)))

    @property
    def source(self) -> str:
        """The text that is compiled, as `numba.cuda` takes it."""
        return "\n\n".join(each.source for each in self.codes)

    @property
    def ptx(self) -> str:
        """The PTX; empty where kernels are simulated."""
        return "\n\n".join(each.ptx for each in self.codes)


def _is_compiled(code: Code) -> bool:
    return bool(code.ptx)


def _resources(code: Code) -> str:
    """What a thread and a block take of the GPU."""
    return (
        f"{code.name}: {code.registers} registers a thread, {code.spilled_bytes} bytes of them in memory, "
        f"{code.shared_bytes} bytes shared by a block of {code.threads} threads"
    )
