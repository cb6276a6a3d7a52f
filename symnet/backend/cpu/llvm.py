"""Takes LLVM modules as llvmlite.ir builds them, or object code that an earlier process emitted.
Hands on object code as bytes, and loaded code whose functions have addresses to call.

Nothing here imports Numba: a warm start loads cached objects with llvmlite alone.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import llvmlite.binding as llvm

from symnet.compile.locks import CODE_GENERATOR, LIBRARY, keep_over_forks, new_lock

from .machine import Machine, host_machine

if TYPE_CHECKING:
    from llvmlite import ir

# Target machines hold LLVM state that is not safe to use from two threads at once.
_lock = new_lock(CODE_GENERATOR)
# llvmlite has one lock for all its calls, those that free memory among them, and leaves it to a child as
# it was; it has no public name.
keep_over_forks(llvm.ffi.lib._lock._lock, LIBRARY)


@functools.lru_cache(maxsize=1)
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@functools.lru_cache(maxsize=16)
def create_target_machine(machine: Machine, level: int = 2) -> llvm.TargetMachine:
    """The code generator for `machine` at code-generation level 0 to 3.

    Code is position independent, so that an object may be loaded anywhere by a later process.
    """
    with _lock:
        _initialise()
        triple = machine.triple or llvm.get_process_triple()
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=machine.name, features=machine.features, opt=level, reloc="pic", codemodel="small"
        )


def parse(module: ir.Module | str, machine: Machine | None = None) -> llvm.ModuleRef:
    """Parse and verify a module; RuntimeError with LLVM's words when it is not well formed."""
    machine = machine or host_machine()
    with _lock:
        _initialise()
        parsed = llvm.parse_assembly(str(module))
        parsed.triple = machine.triple or llvm.get_process_triple()
        parsed.data_layout = str(create_target_machine(machine).target_data)
        parsed.verify()
        return parsed


def optimise(
    module: llvm.ModuleRef,
    machine: Machine,
    level: int = 2,
    *,
    loop_vectorise: bool = True,
    slp_vectorise: bool = True,
    loop_unroll: bool = True,
) -> None:
    """Run LLVM's standard pipeline over `module`, in place, at speed level 0 to 3.

    Micro-kernels don't need it: they are written in the vectors and registers that they use.
    """
    with _lock:
        options = llvm.create_pipeline_tuning_options(speed_level=level)
        options.loop_vectorization = loop_vectorise
        options.slp_vectorization = slp_vectorise
        options.loop_unrolling = loop_unroll
        builder = llvm.create_pass_builder(create_target_machine(machine), options)
        builder.getModulePassManager().run(module, builder)


def emit_object(
    module: llvm.ModuleRef | ir.Module | str, machine: Machine | None = None, level: int = 2
) -> bytes:
    """Object code of a module, as the bytes of an object file that `load_object` takes."""
    machine = machine or host_machine()
    with _lock:
        parsed = module if isinstance(module, llvm.ModuleRef) else parse(module, machine)
        return bytes(create_target_machine(machine, level).emit_object(parsed))


def emit_assembly(
    module: llvm.ModuleRef | ir.Module | str, machine: Machine | None = None, level: int = 2
) -> str:
    """What `emit_object` makes, as text to be read."""
    machine = machine or host_machine()
    with _lock:
        parsed = module if isinstance(module, llvm.ModuleRef) else parse(module, machine)
        return str(create_target_machine(machine, level).emit_assembly(parsed))


class LoadedObject:
    """Object code in this process's memory. It stays there as long as this object is referenced."""

    def __init__(self, engine: llvm.ExecutionEngine) -> None:
        self._engine = engine

    def address(self, name: str) -> int:
        """The address of function `name`; KeyError when the object does not define it."""
        with _lock:
            address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(f"the loaded object defines no function {name!r}")
        return address


def load_object(data: bytes) -> LoadedObject:
    """Load object code made by `emit_object`, in this process or an earlier one.

    Each object gets an engine of its own, so unloading one (dropping the last reference) leaves the
    others alone; a forked child keeps what its parent had loaded. Symbols that the object does not
    define are looked up in this process (libc, libm, `llvmlite.binding.add_symbol`); LLVM ends the
    process when one is nowhere to be found, so a caller must only load what it can vouch for.
    RuntimeError when the bytes are not an object file for this kind of machine.
    """
    with _lock:
        _initialise()
        code = llvm.ObjectFileRef.from_data(data)
        # A null pointer is llvmlite's only sign that it refused; adding it would end the process.
        if not code._ptr:
            raise RuntimeError(f"these {len(data)} bytes are no object file for this machine")
        triple = llvm.get_process_triple()
        target = llvm.Target.from_triple(triple).create_target_machine(
            reloc="pic", codemodel="small", jit=True
        )
        holder = llvm.parse_assembly(f'target triple = "{triple}"')
        engine = llvm.create_mcjit_compiler(holder, target)
        engine.add_object_file(code)
        engine.finalize_object()
        return LoadedObject(engine)
