"""Arrays of more than 2**31 elements: threads find their entries, by the arithmetic of the PTX itself.

The kernels are compiled for grids that no machine here could fill; the first blocks, the last and those
around 2**31 and 2**32 are run (`places_ptx`), in memory made where they touch it.
Contractions have theirs in `test_contraction_bodies`.
"""

from .processes import written_by


def test_places_beyond_32_bits():
    found = written_by("places_ptx")
    assert len(found) == 7
    for name, told in found.items():
        # All blocks that ran wrote entries, the last one too, and each entry is what it should be.
        assert told["written"] == told["right"] >= 20, (name, told)
        assert told["last"] == told["entries"] - 1, (name, told)
        assert max(told["furthest"], told["last"]) > 2**32 - 2**28, (name, told)
        assert told["blocks"] < 2**31
