"""Runs functions by their PTX (`ptx_device`), in a process that simulates nothing; writes JSON.

`python -m cuda_backend.run_ptx networks NAME …` trains tiny networks two steps there and on the CPU, with
`full` in place of `networks` the book's own, one step;
`python -m cuda_backend.run_ptx samples NAME …` runs contract samples there and by the reference. What differs
ends the process with the assertion; what is written counts what was compared.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from contract.test_contract import SAMPLES

import symnet

from . import ptx_device
from .checks import check_sample
from .networks import FULL, TINY, Size, training


def train(name: str, size: Size, steps: int) -> dict[str, Any]:
    """Steps of a network: costs, masks and parameters are those of the CPU."""
    on_device, on_cpu = (training(name, size, device=device) for device in ("cuda", "cpu"))
    masks = 0
    for number in range(steps):
        cost, *mine = on_device.step(number)
        wanted, *its = on_cpu.step(number)
        np.testing.assert_allclose(cost, wanted, rtol=1e-5)
        for drawn, same in zip(mine, its, strict=True):
            assert drawn.tobytes() == same.tobytes(), f"a mask differs: {drawn} {same}"
            masks += drawn.size
    for param, same in zip(on_device.params(), on_cpu.params(), strict=True):
        np.testing.assert_allclose(param, same, rtol=0, atol=2e-6)
    return {"kernels": on_device.step.report["launches"], "masks": masks}


def main() -> None:
    """Do what the command line asks for."""
    what, *names = sys.argv[1:]
    device = ptx_device.install()
    found: dict[str, Any] = {}
    with redirect_stdout(sys.stderr):
        # Some samples print.
        for name in names:
            before = device.launches
            if what == "networks":
                found[name] = train(name, TINY, 2)
            elif what == "full":
                found[name] = train(name, FULL, 1)
            else:
                (sample,) = (each for each in SAMPLES if each.name == name)
                with symnet.config.override(cache=True):
                    found[name] = {"outputs": check_sample(sample)}
            found[name]["launches"] = device.launches - before
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
