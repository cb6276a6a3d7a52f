"""Assignments at many indices: the kernels for a device do what NumPy does, to the bit."""

import pytest

from symnet.compile import lower_indexing_threads, lower_scatter_threads

from .processes import written_by
from .ptxas import REGISTERS_OF_A_MULTIPROCESSOR
from .scatter_cases import check, check_sums


@pytest.fixture
def small(monkeypatch):
    """Chunks, merges and parts so small that a few indices make many of them."""
    monkeypatch.setattr(lower_scatter_threads, "CHUNK", 4)
    monkeypatch.setattr(lower_scatter_threads, "WAYS", 3)
    monkeypatch.setattr(lower_scatter_threads, "PART", 3)
    monkeypatch.setattr(lower_scatter_threads, "FEW_ENTRIES", 4)


@pytest.mark.parametrize("set_", [False, True])
def test_in_the_simulator(small, set_):
    assert check(30, [16, 9], 2, "float64", set_) == 120


def test_sums_in_the_simulator(small, monkeypatch):
    assert check_sums(5, [15], 9, "parts") == 5
    monkeypatch.setattr(lower_indexing_threads, "LEAST_CHUNK", 3)
    assert check_sums(4, [15], 0, "sums_of_chunks") == 4


def test_by_a_gpus_code():
    found = written_by("scatter_cases")
    assert found["entries"] == [6300, 6000, 4200, 2200, 10] and found["launches"] > 50
    stems = " ".join(each["name"] for each in found["takes"])
    assert all(stem in stems for stem in ("sorted_chunks", "merged_runs", "ends", "parts", "sums_of_chunks"))
    for takes in found["takes"]:
        assert takes["spill_stores"] == takes["spill_loads"] == 0, takes
        # Two blocks find room on a multiprocessor.
        assert 2 * takes["registers"] * takes["threads"] <= REGISTERS_OF_A_MULTIPROCESSOR, takes
