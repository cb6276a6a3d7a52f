"""Takes a contract sample, holds what it gives on the device to what NumPy means by it."""

from __future__ import annotations

from typing import Any

from contract.test_contract import Case, assert_agree

import symnet


def check_sample(sample: Any) -> int:
    """Values, gradients and second order, by one function; how many outputs were compared."""
    case = Case(sample)
    wanted = case.function("reference")(*case.arrays)
    with symnet.config.override(device="cuda"):
        function = case.function("default")
    found = function(*case.arrays)
    assert function.report["device"] == "cuda"
    for place, (mine, its, variable) in enumerate(zip(found, wanted, case.outputs, strict=True)):
        what = "value" if place < len(case.values) else "derivative"
        # Threads add in another order than NumPy, and of second order what is added nearly cancels.
        once = len(case.values) + len(case.wrt)
        widest = sample.ulps if place < once else 4 * sample.ulps
        if mine.dtype == "float64" and any(x.dtype == "float32" for x in case.arrays):
            widest = max(widest, 2.0**29 * widest)
        assert_agree(mine, its, widest, f"{what} {place}: {variable}")
    return len(wanted)
