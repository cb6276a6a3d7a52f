"""Every contract sample on a device: values, gradients and second order by one function for each.

They mean what NumPy means, as for the other backends in `tests/contract`: in the simulator, and by the code
that a GPU would get, thread for thread.
"""

import pytest
from contract.test_contract import SAMPLES, by_name

from .checks import check_sample
from .processes import written_by

#: Processes that each take some of the samples.
PARTS = 8
NAMES = [each.name for each in SAMPLES]


@pytest.mark.parametrize("sample", **by_name(SAMPLES))
def test_simulated_means_what_numpy_means(sample):
    assert check_sample(sample)


@pytest.mark.parametrize("part", range(PARTS))
def test_compiled_means_what_numpy_means(part):
    names = NAMES[part::PARTS]
    found = written_by("run_ptx", "samples", *names)
    assert list(found) == names
    assert all(each["outputs"] for each in found.values())
    # A few samples of nothing launch nothing.
    assert sum(bool(each["launches"]) for each in found.values()) > 0.9 * len(names)
