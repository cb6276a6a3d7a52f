"""Compiles the training steps of the book's networks for GPUs, in a process that simulates nothing.

`python -m cuda_backend.networks_ptx NAME MAJOR.MINOR` from the folder of the tests writes JSON: of each
kernel what `ptxas -v` and its link say; of those for 9.0 also what they take as kernels for 8.0.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from typing import Any

from symnet.inspect.ahead import gpu_code

from .networks import FULL, training
from .ptxas import usages_of_all

#: Lines of PTX that say what it is for.
_TARGET = re.compile(r"^\.target sm_90\b.*$", re.MULTILINE)


def taken(codes: list[Any], compute: tuple[int, int]) -> list[dict[str, Any]]:
    """What each kernel takes of a device of a compute capability."""
    found = usages_of_all([code.ptx for code in codes], compute)
    return [
        {
            "name": code.name,
            **dataclasses.asdict(usage[code.name]),
            "threads": code.threads,
            "linked": [code.registers, code.shared_bytes, code.spilled_bytes],
        }
        for code, usage in zip(codes, found, strict=True)
    ]


def as_older(code: Any) -> Any:
    """A kernel compiled for 9.0 as one for 8.0."""
    text, count = _TARGET.subn(".target sm_80", code.ptx)
    assert count == 1, code.ptx
    return dataclasses.replace(code, ptx=text)


def main() -> None:
    """Write what the command line asks for."""
    name, wanted = sys.argv[1:]
    major, minor = map(int, wanted.split("."))
    step = training(name, FULL, device="cpu").step
    codes = gpu_code(step, 0, compute=(major, minor))
    found = {wanted: taken(codes, (major, minor))}
    if wanted == "9.0":
        found["9.0 as 8.0"] = taken([as_older(code) for code in codes], (8, 0))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
