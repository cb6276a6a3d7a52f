"""Runs kernels on arrays of more than 2**31 elements, by their PTX, in memory made where it is touched.

`python -m cuda_backend.places_ptx` from the folder of the tests writes JSON: by case how many blocks its grid
has, the largest place that its threads wrote, and how many entries of those were what they should be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.backend.cuda import nvvm
from symnet.backend.cuda.machine import H100
from symnet.backend.cuda.nest_bodies import nest_bodies
from symnet.compile import nest
from symnet.compile.nest import INDEX, BufferParameter, For, Literal, Load, Name, Nest, Store

from .body_alone import kernel_source, signature
from .ptx_machine import Machine, Memory
from .ptx_text import read

#: Room for every entry that the chosen blocks touch.
_ROOM = 1 << 22


def content(places: np.ndarray) -> np.ndarray:
    """What lies at the places of any array: small whole numbers, whose sums are exact, and none for long."""
    return ((places * 7 + places // 1000) % 31).astype(np.float32)


class Sparse(Memory):
    """Memory that is only there where a kernel touches it; each array begins at a multiple of 2**40."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = np.zeros(_ROOM, np.uint8)
        #: Where the entries lie that were touched, in the order in which they were.
        self.order = np.array([-1])
        self.slots = np.array([0])
        self.places = self.order
        self.kinds: dict[int, Callable[[np.ndarray], np.ndarray]] = {}

    def offsets(self, addresses: np.ndarray, size: int) -> np.ndarray:
        places = super().offsets(addresses, size)
        known = np.searchsorted(self.places, places)
        missing = self.places[np.minimum(known, len(self.places) - 1)] != places
        if missing.any():
            self._fill(np.unique(places[missing]), size)
            known = np.searchsorted(self.places, places)
        # Eight bytes of room for each entry, in the order in which they were touched.
        return 8 * self.slots[known]

    def _fill(self, new: np.ndarray, size: int) -> None:
        """Put in what lies at places that nobody touched."""
        first = len(self.order)
        which = new >> 40
        for number in np.unique(which):
            mine = np.flatnonzero(which == number)
            data = self.kinds[number]((new[mine] & ((1 << 40) - 1)) // size)
            room = 8 * (first + mine)[:, None] + np.arange(size)
            self.bytes[room] = data.view(np.uint8).reshape(len(mine), -1)[:, :size]
        self.order = np.append(self.order, new)
        self.slots = np.argsort(self.order)
        self.places = self.order[self.slots]

    def entries(self, which: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The places of an array that were touched, and where they are kept."""
        mine = np.flatnonzero(self.order >> 40 == which)
        return (self.order[mine] & ((1 << 40) - 1)) // size, 8 * mine


def index(name: str) -> Name:
    return Name(INDEX, name)


def at(*terms: tuple[str, int]) -> nest.Expression:
    place: nest.Expression = Literal(INDEX, 0)
    for name, stride in terms:
        place = nest.add(place, nest.multiply(index(name), stride))
    return place


def loops(extents: Sequence[tuple[str, int]], *body: nest.Statement) -> tuple[nest.Statement, ...]:
    """Independent loops around a body."""
    for name, extent in reversed(extents):
        body = (For(name, Literal(INDEX, extent), body, parallel=True),)
    return body


def load(buffer: str, *terms: tuple[str, int]) -> Load:
    return Load("float32", buffer, at(*terms))


def total(place: nest.Expression, read: Load, name: str, extent: int) -> tuple[nest.Statement, ...]:
    """out[place] = the sum of what is read over a loop."""
    return (
        nest.Declare("sum", Literal("float32", 0.0)),
        For(name, Literal(INDEX, extent), (nest.Accumulate("sum", "add", read),)),
        Store("out", place, Name("float32", "sum")),
    )


FLAT = 5_000_000_001
ROWS, COLUMNS = 70_001, 70_004
#: By name: the loops and what is in them, then what must be at places of `out`.
CASES: dict[str, tuple[tuple[nest.Statement, ...], dict[str, str], Callable[[np.ndarray], np.ndarray]]] = {
    "elementwise": (
        loops(
            [("i", FLAT)],
            Store("out", at(("i", 1)), nest.call("add", load("x", ("i", 1)), load("y", ("i", 1)))),
        ),
        {"x": "float32", "y": "float32"},
        lambda p: 2 * content(p),
    ),
    "rows and a vector": (
        loops(
            [("i", ROWS), ("j", COLUMNS)],
            Store(
                "out",
                at(("i", COLUMNS), ("j", 1)),
                nest.call("add", load("x", ("i", COLUMNS), ("j", 1)), load("y", ("j", 1))),
            ),
        ),
        {"x": "float32", "y": "float32"},
        lambda p: content(p) + content(p % COLUMNS),
    ),
    "transposed": (
        loops(
            [("i", ROWS), ("j", COLUMNS)],
            Store("out", at(("i", COLUMNS), ("j", 1)), load("x", ("j", ROWS), ("i", 1))),
        ),
        {"x": "float32"},
        lambda p: content(p % COLUMNS * ROWS + p // COLUMNS),
    ),
    "sums of rows": (
        loops([("i", 120_000_007)], *total(at(("i", 1)), load("x", ("i", 40), ("k", 1)), "k", 40)),
        {"x": "float32"},
        lambda p: content(p[:, None] * 40 + np.arange(40)).sum(1),
    ),
    "sums of columns": (
        loops([("j", 120_000_007)], *total(at(("j", 1)), load("x", ("k", 120_000_007), ("j", 1)), "k", 40)),
        {"x": "float32"},
        lambda p: content(p[:, None] + np.arange(40) * 120_000_007).sum(1),
    ),
    "sums of long rows": (
        loops([("i", 50_000)], *total(at(("i", 1)), load("x", ("i", 100_003), ("k", 1)), "k", 2_000)),
        {"x": "float32"},
        lambda p: content(p[:, None] * 100_003 + np.arange(2_000)).sum(1),
    ),
    "rows by indices": (
        loops(
            [("i", 1_000_003), ("j", 4096)],
            Store(
                "out",
                at(("i", 4096), ("j", 1)),
                Load(
                    "float32",
                    "x",
                    nest.add(nest.multiply(Load(INDEX, "rows", index("i")), 4096), index("j")),
                ),
            ),
        ),
        {"x": "float32", "rows": INDEX},
        lambda p: content((1_000_002 - p // 4096) * 4096 + p % 4096),
    ),
}


def run(name: str) -> dict[str, Any]:
    """The first blocks of a case's grid, the last ones, and those around places 2**31 and 2**32."""
    body, inputs, meaning = CASES[name]
    buffers = (
        *(BufferParameter(each, dtype, False) for each, dtype in inputs.items()),
        BufferParameter("out", "float32", True),
    )
    (made,) = nest_bodies(Nest("places", buffers, (), body), H100, {})
    ptx = nvvm.compile(
        kernel_source("places", made), "places", signature(made), H100.compute, H100.threads
    )
    memory = Sparse()
    machine = Machine(read(ptx), memory)
    pieces = []
    for number, parameter in enumerate((*made.parameters, None, None), 1):
        memory.kinds[number] = content
        if parameter is not None and parameter.name == "rows":
            memory.kinds[number] = lambda place: 1_000_002 - place
        elif parameter is None or parameter.written:
            memory.kinds[number] = lambda place: np.zeros(len(place))
        pieces.append((memory.base + (number << 40), 1 << 39))
    out = 1 + next(n for n, each in enumerate(made.parameters) if each.name == "out")
    last = made.blocks - 1
    extent = _entries(body)
    chosen = {0, last - 1, last, *(last * (1 << bits) // extent for bits in (31, 32) if extent >> bits)}
    machine.launch("places", made.blocks, H100.threads, pieces, sorted(chosen))
    places, slots = memory.entries(out, 4)
    found = np.array([memory.bytes[slot : slot + 4].view(np.float32)[0] for slot in slots])
    right = int((found == meaning(places)).sum())
    read_places = [int(memory.entries(n, 4)[0].max()) for n in range(1, len(made.parameters) + 1) if n != out]
    return {
        "blocks": made.blocks,
        "written": len(places),
        "right": right,
        "last": int(places.max()),
        "entries": extent,
        "furthest": max(read_places),
    }


def _entries(body: tuple[nest.Statement, ...]) -> int:
    """How many entries `out` has."""
    count = 1
    while isinstance(body[-1], For) and body[-1].parallel:
        count *= int(body[-1].extent.value)  # type: ignore[attr-defined]
        body = body[-1].body
    return count


if __name__ == "__main__":
    json.dump({name: run(name) for name in CASES}, sys.stdout)
