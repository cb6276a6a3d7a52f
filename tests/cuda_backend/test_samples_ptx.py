"""What GPUs are given for contract samples, values, gradients and second order: it must fit them."""

import pytest
from contract.test_contract import SAMPLES

from .processes import written_by
from .ptxas import MOST_REGISTERS, MOST_SHARED_BYTES

#: In the ordinary run one of so many samples, of all families alike; all when asked (-m slow): they take
#: minutes to compile.
STEP = 14
#: Bytes of a thread that may be put away: a register or two around the calls that divide doubles and find
#: their logarithms. The networks' kernels, which are the hot ones, put none away (`test_networks_ptx.py`).
MOST_SPILLED_BYTES = 16
NAMES = [each.name for each in SAMPLES]
CHOSEN = NAMES[::STEP]
OTHERS = [name for name in NAMES if name not in CHOSEN]


def check(names: list[str]) -> None:
    """Hold the kernels of samples to what the chips have."""
    found = written_by("samples_ptx", *names, timeout=3600)
    assert list(found) == names
    for name, devices in found.items():
        assert list(devices) == ["9.0", "9.0 as 8.0"] and devices["9.0"], name
        for kernels in devices.values():
            for kernel, takes in kernels.items():
                spilled = max(takes["spill_stores"], takes["spill_loads"])
                assert spilled <= MOST_SPILLED_BYTES, (name, kernel)
                assert 0 < takes["registers"] <= MOST_REGISTERS, (name, kernel)
                assert takes["registers"] * takes["threads"] <= 65536, (name, kernel)
                assert takes["shared"] <= MOST_SHARED_BYTES, (name, kernel)


@pytest.mark.parametrize("part", range(2))
def test_kernels_fit(part):
    check(CHOSEN[part::2])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_all_kernels_fit(part):
    check(OTHERS[part::20])
