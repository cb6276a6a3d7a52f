"""PTX: takes a kernel's text, hands on what NVIDIA's own compiler, libNVVM, makes of its LLVM IR.

Numba would, too, of the same text (`toolkit.compile`, where `config.backend` is "numba"), in eight times the
time, most of which goes to finding types. See NVIDIA's "NVVM IR Specification" for what a module must hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from llvmlite import ir

from symnet.backend.cuda.libraries import library, missing
from symnet.backend.cuda.text_code import module_of
from symnet.errors import CompileError

_LAYOUT = (
    "e-p:64:64:64-i1:8:8-i8:8:8-i16:16:16-i32:32:32-i64:64:64-i128:128:128-f32:32:32-f64:64:64-"
    "v16:16:16-v32:32:32-v64:64:64-v128:128:128-n16:32:64"
)


def compile(
    source: str, name: str, signature: Sequence[str], compute: tuple[int, int], threads: int | None = None
) -> str:
    """PTX of the kernel `name` in a text; its entry has that name. The device need not be there.

    Parameters
    ----------
    signature
        For each parameter the dtype of the entries that it points at; bools are bytes there.
    compute
        The compute capability, as (9, 0).
    threads
        The most threads of a block.

    Raises
    ------
    CompileError
        When the text is none that a kernel is written in.
    CudaError
        When a package is missing.
    """
    return ptx_of(ir_of(source, name, signature, compute, threads), name, compute)


def ir_of(
    source: str, name: str, signature: Sequence[str], compute: tuple[int, int], threads: int | None = None
) -> bytes:
    """LLVM IR of the kernel `name`, with what libNVVM wants to be told; as `compile` otherwise."""
    module = module_of(source, name, signature, compute, threads)
    version = module.add_metadata([ir.IntType(32)(number) for number in library("nvvm").ir_version()])
    module.add_named_metadata("nvvmir.version").add(version)
    module.triple, module.data_layout = "nvptx64-nvidia-cuda", _LAYOUT
    return str(module).encode()


def ptx_of(text: bytes, name: str, compute: tuple[int, int]) -> str:
    """PTX of `ir_of`; no Python runs meanwhile, so that other threads do."""
    nvvm, functions = library("nvvm"), libdevice()
    options = [f"-arch=compute_{compute[0]}{compute[1]}", "-opt=3"]
    program = nvvm.create_program()
    try:
        try:
            nvvm.add_module_to_program(program, text, len(text), name)
            # No more of it than what is called.
            nvvm.lazy_add_module_to_program(program, functions, len(functions), "libdevice")
            nvvm.compile_program(program, len(options), options)
        except nvvm.nvvmError as error:
            log = bytearray(nvvm.get_program_log_size(program))
            nvvm.get_program_log(program, log)
            told = bytes(log).partition(b"\0")[0].decode()
            raise CompileError(f"kernel {name} can't be compiled: {error}", told.splitlines()) from None
        ptx = bytearray(nvvm.get_compiled_result_size(program))
        nvvm.get_compiled_result(program, ptx)
    finally:
        nvvm.destroy_program(program)
    return bytes(ptx).partition(b"\0")[0].decode()


@cache
def libdevice() -> bytes:
    """NVIDIA's functions of reals, as LLVM's bitcode.

    Raises CudaError when the package that brings it is not there.
    """
    try:
        from cuda.pathfinder import BitcodeLibNotFoundError, find_bitcode_lib
    except ImportError as error:
        raise missing("cuda-pathfinder", error) from None
    try:
        with open(find_bitcode_lib("device"), "rb") as file:
            return file.read()
    except (OSError, BitcodeLibNotFoundError) as error:
        raise missing("nvidia-nvvm", error) from None
