"""What GPUs are given for the training steps of the book's networks, full size: it must fit them, unspilt."""

from typing import Any

import pytest

from .networks import NAMES
from .processes import written_by
from .ptxas import MOST_REGISTERS, MOST_SHARED_BYTES, REGISTERS_OF_A_MULTIPROCESSOR

#: More kernels than this a step never had; each costs the time of a launch.
MOST_KERNELS = {"shallow": 8, "basic_conv": 18, "dbl_conv_relu": 24, "dropout": 30}


def check(name: str, kernels: list[dict[str, Any]], assembled_for_another: bool = False) -> None:
    """Hold a step's kernels to what the chips have."""
    assert 3 <= len(kernels) <= MOST_KERNELS[name], kernels
    for takes in kernels:
        kernel = takes["name"]
        registers, shared, spilled = takes["linked"]
        assert takes["spill_stores"] == takes["spill_loads"] == spilled == 0, kernel
        assert takes["stack"] == 0, kernel
        # The linker adds arrays up, the assembler aligns them.
        assert shared <= takes["shared"] < shared + 64 and takes["shared"] <= MOST_SHARED_BYTES, kernel
        assert 0 < takes["registers"] <= MOST_REGISTERS, kernel
        # At least two blocks find room, so that one runs while another waits.
        assert 2 * takes["registers"] * takes["threads"] <= REGISTERS_OF_A_MULTIPROCESSOR, kernel
        assert registers == takes["registers"] or assembled_for_another, kernel


@pytest.mark.parametrize("name", NAMES)
def test_kernels_fit(name):
    """Compiled for 9.0; the same PTX is then assembled for 8.0, which refuses what only 9.0 has."""
    found = written_by("networks_ptx", name, "9.0")
    assert list(found) == ["9.0", "9.0 as 8.0"]
    for wanted, kernels in found.items():
        check(name, kernels, assembled_for_another=wanted != "9.0")


@pytest.mark.parametrize("name", NAMES)
def test_kernels_fit_an_older_device(name):
    """Planned and compiled for 8.0."""
    (kernels,) = written_by("networks_ptx", name, "8.0").values()
    check(name, kernels)
