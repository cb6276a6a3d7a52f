"""A kernel's code: takes a kernel, hands on the forms that it takes on the way to the machine, as text."""

from __future__ import annotations

from typing import NamedTuple

from symnet.compile.kernel import Kernel
from symnet.config import config


class Form(NamedTuple):
    """One of a kernel's forms: what it is called, and its text."""

    name: str
    text: str


def forms_of(kernel: Kernel) -> list[Form]:
    """What a kernel becomes, compiled by itself: the source, optimised LLVM IR, this machine's assembly.

    Of a function on a GPU: the source, and PTX where kernels are not simulated.
    """
    from symnet.backend.cuda.kernel import CudaKernel

    if isinstance(kernel, CudaKernel):
        forms = [Form("CUDA source", kernel.source), Form("PTX", kernel.ptx)]
        return [each for each in forms if each.text]
    return [Form("Numba source", kernel.source), *_compiled(kernel)]


def _compiled(kernel: Kernel) -> list[Form]:
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
    return [Form("LLVM", str(parsed)), Form("assembly", llvm.emit_assembly(parsed))]
