"""Compiles contract samples for GPUs, in a process that simulates nothing.

`python -m cuda_backend.samples_ptx NAME …` from the folder of the tests writes JSON: by sample, for 9.0
and as 8.0, by kernel what `ptxas -v` says of it, and what its link says.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

from contract.test_contract import SAMPLES, Case

from symnet.inspect.ahead import gpu_code

from .networks_ptx import as_older, taken


def kernels_of(sample: Any) -> dict[str, dict[str, Any]]:
    """What the kernels of a sample's values, gradients and second order take."""
    case = Case(sample)
    codes = gpu_code(case.function("default"), *case.arrays, compute=(9, 0))
    return {"9.0": taken(codes, (9, 0)), "9.0 as 8.0": taken([as_older(each) for each in codes], (8, 0))}


def main() -> None:
    """Write what the command line asks for."""
    by_name = {each.name: each for each in SAMPLES}
    with redirect_stdout(sys.stderr):
        # Some samples print.
        found = {name: kernels_of(by_name[name]) for name in sys.argv[1:]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
