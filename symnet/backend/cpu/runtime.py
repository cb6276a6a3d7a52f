"""Makes a Program runnable on the CPU: takes it lowered and planned, hands on the address of its entry.

Object code comes from the cache where it can; otherwise the module is emitted, optimised and kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from symnet.backend.cpu.pool import run_address
from symnet.compile import cache
from symnet.compile.program import ContractionCall, Program, Table, describe_program
from symnet.config import config


@dataclass
class Loaded:
    """Code in memory: the entry's address, what keeps it there, and how it came about.

    `pool` is the address of the thread pool's `run`, or 0 where no kernel is shared out.
    """

    address: int
    pool: int
    owners: list[Any] = field(repr=False)
    report: dict[str, Any]


def load_program(program: Program, table: Table) -> Loaded:
    """The entry of a program, from the cache or compiled.

    Raises
    ------
    CompileError
        When a kernel can't be printed or compiled; it names the kernel and the user's lines.
    """
    if config.backend == "numba":
        return _by_numba(program, table)
    started = time.perf_counter()
    key = None
    if config.cache:
        key = cache.key(
            [
                *("cpu", cache.emitter_fingerprint(), f"fastmath {config.fastmath}"),
                *(f"clocks {table.clocks}", describe_program(program)),
            ]
        )
        found = cache.load(key)
        if found is not None:
            return _loaded(*found, "hit", started)
    data, shared = _compile(program, table)
    about = {"name": program.name, "kernels": len(program.by_kernel), "shared": shared}
    if key is not None:
        cache.store(key, data, about)
    return _loaded(data, about, "miss" if key is not None else "off", started)


def launcher() -> Any:
    """The launcher of this process; None where this Python can't have one."""
    from symnet.backend.cpu import launcher as module

    return module.launcher()


def _loaded(data: bytes, about: dict[str, Any], how: str, started: float) -> Loaded:
    from symnet.backend.cpu import llvm

    code = llvm.load_object(data)
    pool = run_address() if about["shared"] else 0
    report = {"cache": how, "seconds": time.perf_counter() - started, "shared": about["shared"]}
    return Loaded(code.address("entry"), pool, [code], report)


def _compile(program: Program, table: Table) -> tuple[bytes, int]:
    """Object code, and how many kernels it shares out among threads."""
    from llvmlite import ir

    from symnet.backend.cpu import llvm
    from symnet.backend.cpu.emit import EntryEmitter, emit_kernels
    from symnet.backend.cpu.machine import host_machine

    machine = host_machine()
    nests, contractions = ir.Module(program.name), ir.Module(f"{program.name}.contractions")
    emit_kernels(nests, contractions, program, machine)
    entry = EntryEmitter(nests, program, table, machine)
    entry.emit()
    parsed = llvm.parse(nests, machine)
    llvm.optimise(parsed, machine, 3, slp_vectorise=False)
    parsed.link_in(llvm.parse(contractions, machine))
    for function in contractions.functions:
        if not function.is_declaration:
            parsed.get_function(function.name).linkage = "internal"
    return llvm.emit_object(parsed, machine), len(entry.shared)


def _by_numba(program: Program, table: Table) -> Loaded:
    """Every kernel from its Numba source alone; nothing is kept on disk, the entry calls them by address."""
    from llvmlite import ir

    from symnet.backend.cpu import llvm
    from symnet.backend.cpu.emit import EntryEmitter
    from symnet.backend.cpu.machine import host_machine
    from symnet.backend.cpu.numba_nest import compile_numba

    started = time.perf_counter()
    kernels = [
        compile_numba(call.plain if isinstance(call, ContractionCall) else call.kernel)
        for call in program.kernels
    ]
    module = ir.Module(name=program.name)
    addresses = {kernel.name: kernel.address for kernel in kernels}
    machine = host_machine()
    EntryEmitter(module, program, table, machine, addresses).emit()
    loaded = llvm.load_object(llvm.emit_object(module, machine))
    report = {"cache": "off", "seconds": time.perf_counter() - started, "shared": 0}
    return Loaded(loaded.address("entry"), 0, [loaded, *kernels], report)
