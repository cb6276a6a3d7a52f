"""What GPUs are given for the training steps of the book's networks, full size: it must fit them, unspilt."""

from typing import Any

import pytest

from .networks import NAMES
from .processes import written_by
from .ptxas import MOST_REGISTERS, MOST_SHARED_BYTES, REGISTERS_OF_A_MULTIPROCESSOR

#: More kernels than this a step never had; each costs the time of a launch.
MOST_KERNELS = {"shallow": 8, "basic_conv": 18, "dbl_conv_relu": 24, "dropout": 30}


def check(name: str, kernels: dict[str, Any]) -> None:
    """Hold a step's kernels to what the chips have."""
    assert 3 <= len(kernels) <= MOST_KERNELS[name], sorted(kernels)
    for kernel, takes in kernels.items():
        registers, shared, spilled = takes["linked"]
        assert takes["spill_stores"] == takes["spill_loads"] == spilled == 0, kernel
        assert takes["stack"] == 0, kernel
        # The linker adds arrays up, the assembler aligns them.
        assert shared <= takes["shared"] < shared + 64 and takes["shared"] <= MOST_SHARED_BYTES, kernel
        for each in (registers, takes["registers"]):
            assert 0 < each <= MOST_REGISTERS, kernel
            # At least two blocks find room, so that one runs while another waits.
            assert 2 * each * takes["threads"] <= REGISTERS_OF_A_MULTIPROCESSOR, kernel


@pytest.mark.parametrize("name", NAMES)
def test_kernels_fit(name):
    """Compiled for 9.0; the same PTX is then assembled for 8.0, which refuses what only 9.0 has."""
    found = written_by("networks_ptx", name, "9.0")
    assert list(found) == ["9.0", "9.0 as 8.0"]
    for kernels in found.values():
        check(name, kernels)


def test_kernels_fit_an_older_device():
    """Planned and compiled for 8.0."""
    (kernels,) = written_by("networks_ptx", "shallow", "8.0").values()
    check("shallow", kernels)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_all_kernels_fit_an_older_device(name):
    (kernels,) = written_by("networks_ptx", name, "8.0").values()
    check(name, kernels)
