"""Compiles a nest's printed source by Numba: takes a nest, hands on the address of machine code.

The code has the C signature of the nest, as the code that `symnet.backend.cpu.print_llvm` makes.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as binding
from llvmlite import ir

from symnet.backend.cpu import llvm
from symnet.backend.cpu.machine import Machine, host_machine
from symnet.compile import nest
from symnet.compile.print_numba import print_nest
from symnet.config import config
from symnet.errors import CompileError

#: NumPy's division by zero, and contraction into fused multiply-adds as the one liberty.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


@dataclass(frozen=True)
class NumbaNest:
    """Machine code of a nest; it stays in memory as long as this object is referenced.

    `address` is the function's address, `source` what Numba compiled.
    """

    name: str
    address: int
    source: str
    _compiled: Any = field(repr=False, compare=False)

    def object_code(self, machine: Machine | None = None) -> bytes:
        """The code as an object file with the function `name`, to be loaded in another process.

        What Numba optimised is emitted anew without Numba's wrapper, which needs a running Numba.
        """
        module = llvm.parse(str(self._compiled._library._final_module), machine)
        (core,) = (
            function
            for function in module.functions
            if function.linkage == binding.Linkage.external and function.name.startswith("_ZN")
            if not function.is_declaration
        )
        for each in (*module.functions, *module.global_variables):
            if not each.is_declaration:
                each.linkage = binding.Linkage.internal
        core.linkage = binding.Linkage.external
        module.link_in(llvm.parse(str(_wrapper(self.name, core)), machine))
        module.get_function(core.name).linkage = binding.Linkage.internal
        llvm.optimise(module, machine or host_machine(), 1)
        return llvm.emit_object(module, machine)


def compile_numba(kernel: nest.Nest) -> NumbaNest:
    """Compile a nest by Numba.

    Raises
    ------
    CompileError
        When the nest can't be printed or Numba refuses the text: names the kernel, what it covers
        (its comments), and the cause.
    """
    import numba
    from numba.core.errors import NumbaError

    covers = [f"in: {comment}" for comment in kernel.comments]
    try:
        source = print_nest(kernel)
    except TypeError as error:
        raise CompileError(f"kernel {kernel.name} can't be printed: {error}", covers) from error
    filename = f"<symnet kernel {kernel.name}>"
    # Numba and tracebacks quote the text's lines from here.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {}
    exec(compile(source, filename, "exec"), namespace)
    for name, function in list(namespace.items()):
        if getattr(function, "__module__", "") is None and name != kernel.name:
            namespace[name] = numba.njit(**OPTIONS)(function)
    try:
        options = {**OPTIONS, "fastmath": True} if config.fastmath else OPTIONS
        compiled: Any = numba.cfunc(_signature(kernel), **options)(namespace[kernel.name])
    except NumbaError as error:
        raise CompileError(f"Numba can't compile kernel {kernel.name}: {error}", covers) from error
    return NumbaNest(kernel.name, int(compiled.address), source, compiled)


def _wrapper(name: str, core: Any) -> ir.Module:
    """A module with the C function that calls what Numba made: `core(result*, error**, …)`."""
    kinds = {"i64": ir.IntType(64), "ptr": ir.PointerType()}
    arguments = [kinds[str(argument.type)] for argument in core.arguments][2:]
    module = ir.Module(name)
    whole, pointer = ir.IntType(32), kinds["ptr"]
    called = ir.Function(module, ir.FunctionType(whole, [pointer, pointer, *arguments]), core.name)
    function = ir.Function(module, ir.FunctionType(whole, arguments), name)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    result, error = builder.alloca(whole), builder.alloca(pointer)
    builder.call(called, [result, error, *function.args])
    builder.ret(builder.load(result, typ=whole))
    return module


def _signature(kernel: nest.Nest) -> Any:
    from numba import types

    pointers = [
        types.CPointer(types.uint8 if buffer.dtype == nest.BOOL else getattr(types, buffer.dtype))
        for buffer in kernel.buffers
    ]
    return types.int32(*pointers, *[types.int64] * len(kernel.sizes), types.CPointer(types.int64))
