"""Holds the code that GPUs are given for nests to NumPy, in a process that simulates nothing.

`python -m cuda_backend.nest_ptx` from the folder of the tests: runs tests of nests with bodies that are
compiled, and whose PTX runs thread for thread (`ptx_machine`). Prints how many of each test passed, as JSON;
what fails is raised.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from symnet.backend.cuda import nvvm
from symnet.backend.cuda.body import Body
from symnet.backend.cuda.machine import Machine

from . import simulating
from .body_alone import kernel_source, signature
from .ptx_machine import Machine as PtxMachine
from .ptx_text import read

#: As small as a device can be whose warps are a GPU's.
SMALL = Machine((9, 0), 2, threads=64, warp=32)


def run_body(
    body: Body,
    arrays: dict[str, np.ndarray],
    sizes: dict[str, int],
    machine: Machine = SMALL,
    compile: Callable[..., str] = nvvm.compile,
) -> list[int]:
    """What `simulating.run_body` does, by a GPU's code."""
    ptx = compile(
        kernel_source(body.name, body), body.name, signature(body), machine.compute, machine.threads
    )
    device = PtxMachine(read(ptx))
    state = np.zeros(4, np.int64)
    slots = np.array([*(sizes[each] for each in body.sizes), 0], np.int64)
    given = [*(arrays[each.name] for each in body.parameters), slots, state]
    raw = [array.reshape(-1).view(np.uint8) if array.dtype == bool else array.reshape(-1) for array in given]
    pieces = [(device.memory.place(array), array.nbytes) for array in raw]
    device.launch(body.name, body.blocks, machine.threads, pieces)
    for array, (address, _) in zip(raw, pieces, strict=True):
        array[...] = device.memory.array(address, array)
    return state.tolist()


def cases(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """The arguments that a test's marks give it."""
    choices = []
    for mark in getattr(test, "pytestmark", ()):
        names = mark.args[0].replace(" ", "").split(",")
        rows = [values if len(names) > 1 else (values,) for values in mark.args[1]]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    for chosen in itertools.product(*choices):
        yield {name: value for part in chosen for name, value in part.items()}


def main() -> None:
    """Run the tests."""
    simulating.run_body = run_body
    simulating.SIMULATOR = SMALL
    sys.path.insert(0, str(Path(__file__).parent.parent / "compile"))
    import test_nest_printers as dialect

    from . import test_nest_bodies, test_sharing

    # libdevice's logarithm of the gamma function loses digits near its zeros below -2.
    del dialect.ROUNDED["lgamma"]
    tests = [
        (dialect.test_every_function_is_numpys, {"printer": "cuda"}),
        (dialect.test_every_cast_is_numpys, {"printer": "cuda"}),
        (test_sharing.test_rows, {"function": "maximum"}),
        (test_sharing.test_columns, {"function": "add"}),
        (test_sharing.test_bits, {"function": "bitwise_or"}),
        (test_sharing.test_softmax_of_rows, {"source": "out"}),
        (test_sharing.test_rows_of_a_length_found_at_run_time, {}),
        (test_nest_bodies.test_neighbours_are_read_and_written_at_once, {"count": 301}),
        (test_nest_bodies.test_items_that_are_no_neighbours_are_a_block_apart, {}),
        (test_nest_bodies.test_the_first_failure_in_order_is_told, {}),
        (test_nest_bodies.test_draws_are_those_of_the_philox_generator, {"count": 258}),
    ]
    passed: Counter[str] = Counter()
    for test, wanted in tests:
        for arguments in cases(test):
            if wanted.items() <= arguments.items():
                test(**arguments)
                passed[test.__name__] += 1
    print(json.dumps(passed))


if __name__ == "__main__":
    main()
