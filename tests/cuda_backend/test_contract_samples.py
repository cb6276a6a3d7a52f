"""Every contract sample on a device: values, gradients and second order by one function for each.

They mean what NumPy means, as for the other backends in `tests/contract`: all of them in the simulator, one
of each kind of kernel (all others when asked, -m slow) by the code that a GPU would get.
"""

import pytest
from contract.test_contract import SAMPLES, by_name

from .checks import check_sample
from .processes import written_by

#: By their PTX: one of each kind of kernel.
BY_PTX = (
    "integers that wrap",
    "max at ties",
    "a mini-batch of float32",
    "by a mask of nothing and of all",
    "additions where indices repeat",
    "dot of float32",
    "max pooling of ties",
    "permutations",
)
OTHERS = [each.name for each in SAMPLES if each.name not in BY_PTX]


@pytest.mark.parametrize("sample", **by_name(SAMPLES))
def test_simulated_means_what_numpy_means(sample):
    assert check_sample(sample)


@pytest.mark.parametrize("part", range(2))
def test_compiled_means_what_numpy_means(part):
    names = BY_PTX[part::2]
    found = written_by("run_ptx", "samples", *names)
    assert list(found) == list(names)
    assert all(each["outputs"] and each["launches"] for each in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_all_compiled_mean_what_numpy_means(part):
    names = OTHERS[part::20]
    found = written_by("run_ptx", "samples", *names, timeout=3600)
    assert list(found) == names
    assert all(each["outputs"] for each in found.values())
