"""Compiles a nest's printed source by Numba: takes a nest, hands on the address of machine code.

The code has the C signature of the nest, as the code that `symnet.backend.cpu.print_llvm` makes.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from typing import Any

from symnet.compile import nest
from symnet.compile.print_numba import print_nest
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

    def object_code(self) -> tuple[str, bytes]:
        """The symbol and the object file of the code, to load it in another process."""
        library = self._compiled._library
        machine = library.codegen._tm
        return self._compiled._wrapper_name, bytes(machine.emit_object(library._final_module))


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
        compiled = numba.cfunc(_signature(kernel), **OPTIONS)(namespace[kernel.name])
    except NumbaError as error:
        raise CompileError(f"Numba can't compile kernel {kernel.name}: {error}", covers) from error
    return NumbaNest(kernel.name, int(compiled.address), source, compiled)


def _signature(kernel: nest.Nest) -> Any:
    from numba import types

    pointers = [
        types.CPointer(types.uint8 if buffer.dtype == nest.BOOL else getattr(types, buffer.dtype))
        for buffer in kernel.buffers
    ]
    return types.int32(*pointers, *[types.int64] * len(kernel.sizes), types.CPointer(types.int64))
