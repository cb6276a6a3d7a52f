"""Takes nests, hands on functions that run their bodies in the simulator, as kernels are on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from symnet.backend.cuda import toolkit
from symnet.backend.cuda.body import Body
from symnet.backend.cuda.machine import SIMULATOR, Machine
from symnet.backend.cuda.nest_bodies import nest_bodies, serial_body
from symnet.compile.nest import Nest

from .body_alone import kernel_source

Kernel = Callable[..., tuple[int, list[int]]]


def run_body(
    body: Body, arrays: dict[str, np.ndarray], sizes: dict[str, int], machine: Machine = SIMULATOR
) -> list[int]:
    """Run a body alone; `arrays` are those of its parameters and its scratch. Hands on the words of
    `state`."""
    state = np.zeros(4, np.int64)
    kernel = toolkit.simulate(kernel_source(body.name, body), body.name)
    given = [arrays[each.name] for each in body.parameters]
    for array, parameter in zip(given, body.parameters, strict=True):
        assert array.dtype == parameter.dtype and array.flags.c_contiguous
    before = [array.copy() for array in given]
    flat = [array.reshape(-1) for array in given]
    raw = [array.view(np.uint8) if array.dtype == bool else array for array in flat]
    slots = np.array([sizes[each] for each in body.sizes], np.int64)
    kernel(body.blocks, machine.threads, *raw, slots, state)
    for array, was, parameter in zip(given, before, body.parameters, strict=True):
        assert parameter.written or array.tobytes() == was.tobytes(), f"{parameter.name} is written"
    return state.tolist()


def by_simulator(nests: Sequence[Nest]) -> dict[str, Kernel]:
    """The nests by their bodies, one after another: `kernel(*arrays, *sizes) -> (code, status words)`.

    Where a body fails, the serial body runs on the memory as it was, as a device's failures are told.
    """
    return {nest.name: _kernel(nest) for nest in nests}


def _kernel(kernel: Nest) -> Kernel:
    # What can't be printed is found here, as by the printers for the CPU.
    alone = serial_body(kernel)

    def call(*values) -> tuple[int, list[int]]:
        arrays = {each.name: value for each, value in zip(kernel.buffers, values, strict=False)}
        sizes = dict(zip(kernel.sizes, values[len(kernel.buffers) :], strict=True))
        before = {name: array.copy() for name, array in arrays.items()}
        for body in nest_bodies(kernel, SIMULATOR, sizes):
            arrays |= {each.name: np.zeros(each.count, each.dtype) for each in body.scratch}
            if run_body(body, arrays, sizes)[0]:
                for name, array in before.items():
                    arrays[name][...] = array
                return 1, run_body(alone, arrays, sizes)
        return 0, [0, 0, 0, 0]

    return call
