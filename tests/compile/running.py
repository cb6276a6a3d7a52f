"""Compiles nests by either printer and calls them on NumPy arrays, for the tests of this folder."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from symnet.backend.cpu import llvm
from symnet.backend.cpu.numba_nest import compile_numba
from symnet.backend.cpu.print_llvm import print_nest
from symnet.compile.nest import Nest

Kernel = Callable[..., tuple[int, list[int]]]
INPUT, OUTPUT = False, True


def by_llvm(nests: Sequence[Nest], machine=None) -> dict[str, Kernel]:
    """The nests as loaded LLVM code: `kernel(*arrays, *sizes) -> (code, status words)`."""
    machine = machine or llvm.host_machine()
    module = ir.Module("test")
    for nest in nests:
        print_nest(module, nest)
    parsed = llvm.parse(module, machine)
    llvm.optimise(parsed, machine)
    loaded = llvm.load_object(llvm.emit_object(parsed, machine))
    return {nest.name: _callable(nest, loaded.address(nest.name), loaded) for nest in nests}


def by_numba(nests: Sequence[Nest]) -> dict[str, Kernel]:
    """The nests compiled by Numba, called in the same way."""
    compiled = {nest.name: compile_numba(nest) for nest in nests}
    return {nest.name: _callable(nest, compiled[nest.name].address, compiled) for nest in nests}


def _callable(nest: Nest, address: int, keep: object) -> Kernel:
    arguments = [ctypes.c_void_p] * len(nest.buffers) + [ctypes.c_int64] * len(nest.sizes)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *arguments, ctypes.c_void_p)(address)

    def call(*values) -> tuple[int, list[int]]:
        assert keep is not None
        status = np.zeros(4, np.int64)
        arrays = values[: len(nest.buffers)]
        for array, buffer in zip(arrays, nest.buffers, strict=True):
            assert array.dtype == buffer.dtype and array.flags.c_contiguous
        code = function(
            *[array.ctypes.data for array in arrays],
            *values[len(nest.buffers) :],
            status.ctypes.data,
        )
        return code, status.tolist()

    return call


def ulps(value: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The distance in units in the last place; NaN only equals NaN, infinity only itself."""
    integers = {4: np.int32, 8: np.int64}[value.dtype.itemsize]
    least = np.iinfo(integers).min
    ordered = []
    for array in (value, expected.astype(value.dtype)):
        bits = array.view(integers)
        ordered.append(np.where(bits < 0, least - bits, bits).astype(object))
    distance = abs(ordered[0] - ordered[1])
    both = np.isnan(value) & np.isnan(expected)
    one = np.isnan(value) ^ np.isnan(expected)
    return np.where(both, 0, np.where(one, 2**62, distance)).astype(np.int64)
