"""What reads kernels' texts makes of them what Numba makes of them."""

from .processes import written_by


def test_numba_is_of_one_mind():
    found = written_by("numba_ptx")
    assert found == {"operators": 679, "nests": 7, "contraction": 1, "network": 4}
