"""Compiles contract samples for GPUs, in a process that simulates nothing.

`python -m cuda_backend.samples_ptx NAME …` from the folder of the tests writes JSON: by sample, for 9.0
and as 8.0, of each kernel what `ptxas -v` and its link say.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

from contract.test_contract import SAMPLES, Case

from symnet.backend.cuda.device import Code
from symnet.inspect.ahead import gpu_code

from .networks_ptx import as_older, taken


def kernels_of(sample: Any) -> list[Code]:
    """The kernels of a sample's values, gradients and second order, compiled for 9.0."""
    case = Case(sample)
    return gpu_code(case.function("default"), *case.arrays, compute=(9, 0))


def main() -> None:
    """Write what the command line asks for."""
    by_name = {each.name: each for each in SAMPLES}
    with redirect_stdout(sys.stderr):
        # Some samples print.
        codes = {name: kernels_of(by_name[name]) for name in sys.argv[1:]}
    every = [code for some in codes.values() for code in some]
    taking = taken(every, (9, 0)), taken([as_older(code) for code in every], (8, 0))
    found = {wanted: iter(each) for wanted, each in zip(("9.0", "9.0 as 8.0"), taking, strict=True)}
    json.dump(
        {
            name: {wanted: [next(each) for _ in some] for wanted, each in found.items()}
            for name, some in codes.items()
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
