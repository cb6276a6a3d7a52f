"""Machine code: takes a kernel's PTX, hands on what a GPU runs, and how many registers that takes.

It is made by the package nvidia-nvjitlink and not by the driver, so that a driver which is older than the
compiler can load it, and nothing is compiled when a program starts a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from symnet.backend.cuda.libraries import library
from symnet.errors import CompileError


@dataclass(frozen=True)
class Linked:
    """Machine code, and what a kernel in it takes: registers of a thread, shared bytes of a block, and how
    many bytes of a thread did not fit in registers."""

    binary: bytes
    registers: int
    shared_bytes: int
    spilled_bytes: int


#: Registers of a multiprocessor, for compute capability 8.0 and 9.0.
_REGISTERS = 65536


def link_for(ptx: str, name: str, compute: tuple[int, int], threads: int) -> Linked:
    """Machine code as `link` makes it, with few enough registers for two blocks in a multiprocessor at once
    where that takes no memory instead."""
    linked = link(ptx, name, compute)
    if linked.registers <= _REGISTERS // (2 * threads):
        return linked
    closer = link(re.sub(r"(\.maxntid [\d, ]+)", r"\1\n.minnctapersm 2\n", ptx, count=1), name, compute)
    return linked if closer.spilled_bytes else closer


def link(ptx: str, name: str, compute: tuple[int, int]) -> Linked:
    """Machine code of a kernel's PTX for a compute capability.

    Raises
    ------
    CompileError
        When the assembler refuses it.
    CudaError
        When the package is missing.
    """
    nvjitlink = library("nvjitlink")
    handle = nvjitlink.create(3, [f"-arch=sm_{compute[0]}{compute[1]}", "-O3", "-Xptxas=-v"])
    try:
        data = ptx.encode() + b"\0"
        try:
            nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), name)
            nvjitlink.complete(handle)
        except nvjitlink.nvJitLinkError as error:
            told = _log(nvjitlink.get_error_log_size, nvjitlink.get_error_log, handle)
            raise CompileError(f"kernel {name} can't be assembled: {error}", told.splitlines()) from None
        binary = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, binary)
        told = _log(nvjitlink.get_info_log_size, nvjitlink.get_info_log, handle)
    finally:
        nvjitlink.destroy(handle)
    return Linked(
        bytes(binary),
        _number(r"Used (\d+) registers", told),
        # The linker does not tell of arrays that have names of their own.
        sum(int(each) for each in re.findall(r"\.shared \.align \d+ \.b8 [\w$]+\[(\d+)\]", ptx)),
        _number(r"(\d+) bytes spill stores", told),
    )


def _log(size: Any, read: Any, handle: int) -> str:
    text = bytearray(size(handle))
    if text:
        read(handle, text)
    return bytes(text).partition(b"\0")[0].decode()


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(found[1]) if found else 0
