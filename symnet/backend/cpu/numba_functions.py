"""Functions of the scalar dialect that Python lacks, as Numba intrinsics for printed kernels.

They are one LLVM instruction each, the same that `symnet.backend.cpu.scalar_llvm` emits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BITS: dict[Any, Any] = {types.float32: types.uint32, types.float64: types.uint64}
_FLOATS = {bits: number for number, bits in _BITS.items()}


def _bitcast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


@intrinsic
def bits_of(typing: Any, number: Any) -> Any:
    """A float's bits as an unsigned integer."""
    return (_BITS[number](number), _bitcast) if number in _BITS else None


@intrinsic
def from_bits(typing: Any, bits: Any) -> Any:
    """The float of the bits."""
    return (_FLOATS[bits](bits), _bitcast) if bits in _FLOATS else None


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    if a not in _BITS or b != a or c != a:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        name = "llvm.fma.f32" if isinstance(kind, ir.FloatType) else "llvm.fma.f64"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(kind, [kind] * 3), name
        )
        return builder.call(function, arguments)

    return a(a, b, c), generate
