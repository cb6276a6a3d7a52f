"""What GPUs are given for contract samples, values, gradients and second order: it must fit them, unspilt."""

import pytest
from contract.test_contract import SAMPLES

from .processes import written_by
from .ptxas import MOST_REGISTERS, MOST_SHARED_BYTES, REGISTERS_OF_A_MULTIPROCESSOR

#: Processes that each take some of the samples.
PARTS = 8
NAMES = [each.name for each in SAMPLES]


@pytest.mark.parametrize("part", range(PARTS))
def test_kernels_fit(part):
    """Compiled for 9.0; the same PTX is then assembled for 8.0, which refuses what only 9.0 has."""
    names = NAMES[part::PARTS]
    found = written_by("samples_ptx", *names)
    assert list(found) == names
    for name, devices in found.items():
        assert list(devices) == ["9.0", "9.0 as 8.0"] and devices["9.0"], name
        for wanted, kernels in devices.items():
            for takes in kernels:
                where = name, takes["name"], wanted
                registers, _, spilled = takes["linked"]
                assert takes["spill_stores"] == takes["spill_loads"] == spilled == 0, where
                assert 0 < takes["registers"] <= MOST_REGISTERS, where
                assert takes["registers"] * takes["threads"] <= REGISTERS_OF_A_MULTIPROCESSOR, where
                assert takes["shared"] <= MOST_SHARED_BYTES, where
                # Where the linker was told to leave room for two blocks, it takes fewer.
                assert 0 < registers <= takes["registers"] or wanted != "9.0", where
