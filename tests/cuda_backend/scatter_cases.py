"""Assignments at many indices on a device: what becomes of a shared table, held to NumPy's to the bit.

`python -m cuda_backend.scatter_cases` from the folder of the tests runs them by their PTX, in a process that
simulates nothing, and writes JSON: how many entries were compared, how many kernels ran, and what kernels
for many indices take of a device.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

import symnet
import symnet.tensor as T
from symnet.errors import IndexingError


def check(places: int, counts: list[int], width: int, dtype: str, set_: bool) -> int:
    """Rows assigned or added where a shared table lies, with indices that mostly mean few places.

    Hands on how many entries were compared.
    """
    random = np.random.default_rng(places)
    table = symnet.shared((random.standard_normal((places, width)) * 100).astype(dtype))
    rows, at = T.matrix(dtype=dtype), T.lvector()
    change = (T.set_subtensor if set_ else T.inc_subtensor)(table[at], rows)
    f = symnet.function([rows, at], [], updates=[(table, change)], device="cuda")
    expected = table.get_value()
    for count in counts:
        new = (random.standard_normal((count, width)) * 100).astype(dtype)
        indices = random.integers(-places, places, count)
        indices[random.random(count) < 0.5] %= 3
        f(new, indices)
        if set_:
            for index, row in zip(indices, new, strict=True):
                expected[index] = row
        else:
            np.add.at(expected, indices, new)
        assert table.get_value().tobytes() == expected.tobytes()
    indices[len(indices) // 2] = places
    try:
        f(new, indices)
    except IndexingError as error:
        assert f"index {places}, length {places}" in str(error), error
    else:
        raise AssertionError("an index behind the last place was taken")
    assert table.get_value().tobytes() == expected.tobytes()
    assert any("sorted_chunks" in kernel.name for kernel in f.kernels)
    return expected.size * len(counts)


def check_sums(places: int, counts: list[int], hot: int, by: str) -> int:
    """Many numbers added in few places: whole numbers, whose sums are exact in any order.

    At least `hot` mean one place; `by` stands in the name of the kernel that adds them up.
    """
    random = np.random.default_rng(places)
    x, new, at = T.dvector(), T.dvector(), T.lvector()
    f = symnet.function([x, new, at], T.inc_subtensor(x[at], new), device="cuda")
    for count in counts:
        before, added = random.integers(-99, 99, places) * 1.0, random.integers(-99, 99, count) * 1.0
        indices = random.integers(0, places, count)
        indices[:hot] = 1
        expected = before.copy()
        np.add.at(expected, indices, added)
        assert f(before, added, indices).tobytes() == expected.tobytes()
    assert any(by in kernel.name for kernel in f.kernels)
    return places * len(counts)


def kernels_of_many() -> list[dict[str, Any]]:
    """What the kernels take that add 10**5 rows to a table, and as many numbers in few places."""
    from symnet.inspect.ahead import gpu_code

    from .networks_ptx import taken

    found = []
    for places, width in ((200_000, 32), (2000, 1), (20, 1)):
        table, rows, at = T.fmatrix(), T.fmatrix(), T.lvector()
        f = symnet.function([table, rows, at], T.inc_subtensor(table[at], rows))
        shapes = np.zeros((places, width), "float32"), np.zeros((100_000, width), "float32")
        found += taken(gpu_code(f, *shapes, np.zeros(100_000, "int64"), compute=(9, 0)), (9, 0))
    return found


def main() -> None:
    """Run them with chunks as large as they are."""
    from symnet.compile.lower_scatter_threads import PART

    from . import ptx_device

    takes = kernels_of_many()
    device = ptx_device.install()
    entries = [
        check(700, [600, 300, 480], 3, "float64", False),
        check(3000, [2500], 2, "float32", False),
        check(700, [600, 300, 480], 2, "int32", True),
        check_sums(1100, [2000, 1777], 3 * PART, "parts"),
        check_sums(5, [1000, 777], 0, "sums_of_chunks"),
    ]
    json.dump({"entries": entries, "launches": device.launches, "takes": takes}, sys.stdout)


if __name__ == "__main__":
    main()
