"""A kernel's code: takes a kernel, hands on the LLVM IR and the assembly that it becomes on this machine."""

from __future__ import annotations

from typing import NamedTuple

from symnet.compile.kernel import Kernel
from symnet.config import config


class Code(NamedTuple):
    """Optimised LLVM IR, and this machine's assembly."""

    llvm: str
    assembly: str


def code_of(kernel: Kernel) -> Code:
    """What a kernel becomes, compiled by itself."""
    from llvmlite import ir

    from symnet.backend.cpu import llvm
    from symnet.backend.cpu.contraction import emit_contraction
    from symnet.backend.cpu.machine import host_machine
    from symnet.backend.cpu.print_llvm import print_nest

    machine = host_machine()
    module = ir.Module(kernel.name)
    if kernel.contraction is not None:
        # It is written in the vectors and registers that it uses, and compiled as it is.
        emit_contraction(module, kernel.name, kernel.contraction, machine)
        parsed = llvm.parse(module, machine)
    else:
        print_nest(module, kernel.nest, fast=config.fastmath)
        parsed = llvm.parse(module, machine)
        llvm.optimise(parsed, machine, 3, slp_vectorise=False)
    return Code(str(parsed), llvm.emit_assembly(parsed))
