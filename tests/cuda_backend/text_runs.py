"""Takes a kernel's text and arrays, runs it: by what it is compiled to, or in the simulator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symnet.backend.cuda import nvvm, toolkit

from .ptx_machine import Machine
from .ptx_text import read
from .text_meaning import meaning

Arrays = dict[str, np.ndarray]


def source_of(lines: str, arrays: Arrays) -> str:
    """A kernel `k` of the arrays; `i` is the number of its thread."""
    body = ["i = np.int64(cuda.threadIdx.x)", *lines.strip("\n").splitlines()]
    return "\n".join([f"def k({', '.join(arrays)}):", *(f"    {line}" for line in body)]) + "\n"


def by_device(source: str, arrays: Arrays, threads: int, compute: tuple[int, int] = (9, 0)) -> Arrays:
    """What one block of the kernel `k` makes of the arrays, by its PTX."""
    dtypes = [str(each.dtype) for each in arrays.values()]
    machine = Machine(read(nvvm.compile(source, "k", dtypes, compute, threads)))
    pieces = [(machine.memory.place(each), each.nbytes) for each in arrays.values()]
    machine.launch("k", 1, threads, pieces)
    return {
        name: machine.memory.array(address, each)
        for (name, each), (address, _) in zip(arrays.items(), pieces, strict=True)
    }


def by_simulator(source: str, arrays: Arrays, threads: int) -> Arrays:
    """The same in the simulator."""
    made = {name: each.copy() for name, each in arrays.items()}
    toolkit.simulate(source, "k")(1, threads, *made.values())
    return made


def assert_as_simulated(lines: str, arrays: Arrays, threads: int = 32) -> Arrays:
    """Hold one to the other; what came out."""
    source = source_of(lines, arrays)
    found, wanted = by_device(source, arrays, threads), by_simulator(source, arrays, threads)
    for name, each in wanted.items():
        np.testing.assert_array_equal(found[name], each, err_msg=name)
    assert any(each.tobytes() != arrays[name].tobytes() for name, each in found.items()), "nothing is written"
    return found


def by_expressions(texts: Sequence[str], inputs: Arrays) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each expression of the inputs' names what it gives on the device, by thread; and what it means.

    Inputs of bools are conditions. All integers come as int64, floats as float64: they keep their values.
    """
    (threads,) = {len(each) for each in inputs.values()}
    rows = [{name: each[row] for name, each in inputs.items()} for row in range(threads)]
    wanted = [np.array([meaning(text, row) for row in rows]) for text in texts]
    arrays = {
        f"of_{name}": each.view(np.uint8) if each.dtype == bool else each for name, each in inputs.items()
    }
    lines = [f"{name} = of_{name}[i]{' != 0' if each.dtype == bool else ''}" for name, each in inputs.items()]
    for number, (text, values) in enumerate(zip(texts, wanted, strict=True)):
        memory = {"f": "reals", "b": "bits"}.get(values.dtype.kind, "whole")
        lines.append(f"{memory}[{number * threads} + i] = {text}")
    made = {"reals": np.float64, "bits": np.uint8, "whole": np.int64}
    arrays |= {name: np.full(len(texts) * threads, 99, dtype) for name, dtype in made.items()}
    found = by_device(source_of("\n".join(lines), arrays), arrays, threads)
    given = []
    for number, values in enumerate(wanted):
        name = {"f": "reals", "b": "bits"}.get(values.dtype.kind, "whole")
        given.append(found[name][number * threads : (number + 1) * threads])
        with np.errstate(all="ignore"):
            wanted[number] = values.astype(made[name])
    return given, wanted
