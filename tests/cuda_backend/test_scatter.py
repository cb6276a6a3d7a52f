"""Assignments at many indices: the kernels for a device do what NumPy does, to the bit."""

import pytest

from symnet.compile import lower_indexing_threads, lower_scatter_threads

from .processes import written_by
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
    assert found["entries"] == [6300, 6000, 4200, 600, 10] and found["launches"] > 50
