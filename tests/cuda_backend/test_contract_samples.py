"""Every contract sample on a simulated device: values, gradients and second order by one function for each.

They mean what NumPy means, as for the other backends in `tests/contract`.
"""

import pytest
from contract.test_contract import SAMPLES, Case, assert_agree, by_name

import symnet


def check(sample, **settings):
    """Hold a sample's outputs on the device to the reference's; the function that gave them."""
    case = Case(sample)
    wanted = case.function("reference")(*case.arrays)
    with symnet.config.override(device="cuda", **settings):
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
    return function


@pytest.mark.parametrize("sample", **by_name(SAMPLES))
def test_simulated_means_what_numpy_means(sample):
    check(sample)
