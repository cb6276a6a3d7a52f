"""Takes nothing: what a plan of a contraction is made of.
Hands on `Loop` and `Plan`, and what follows from one: sums, tiles of remainders, the way of the stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symnet.compile.contraction import Dimension, runs

# Multiply-adds that must be in flight to keep two units of latency four busy.
_IN_FLIGHT = 8


@dataclass(frozen=True)
class Loop:
    """One loop round the tile. An iteration takes `size` indices of the dimension.

    Roles: "step" takes one index; "tile" hands its indices to the register tile; "lanes" is a tile
    loop along vector lanes over an extent known at run time, so its last vector is masked; "block"
    narrows the dimension for the loops inside.
    """

    dimension: str
    size: int
    role: str


@dataclass(frozen=True)
class Plan:
    """How a contraction is carried out.

    `kind` is "outer" (lanes run along an index of C: broadcast A, load vectors of B), "inner"
    (lanes run along a contracted index, summed at the end) or "nothing" (no element of C changes).
    `swapped` says that A and B changed places. `offsets` are added to the pointers A, B, C
    (and the epilogue's) first.
    `rows` are tile dimensions found in A, `columns` tile dimensions found in B, fastest first;
    `contracted` are looped over inside the tile, outermost first; `vector` holds the contracted
    dimensions along lanes with the indices taken at a time, fastest first. `pack_level` is the loop
    before which the columns of B are copied side by side, if they are. `split` is the loop whose
    iterations may be shared out among threads, if there is one.
    """

    kind: str
    dimensions: tuple[Dimension, ...] = ()
    swapped: bool = False
    offsets: tuple[int, ...] = (0, 0, 0)
    lanes: int = 1
    loops: tuple[Loop, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    contracted: tuple[str, ...] = ()
    vector: tuple[tuple[str, int], ...] = ()
    pack_level: int | None = None
    cycles: float = 0.0
    split: int | None = None

    @property
    def units(self) -> int | None:
        """Iterations of the loop that may be shared out, the ragged one at its end included."""
        if self.split is None:
            return None
        loop = self.loops[self.split]
        extent = next(d.extent for d in self.dimensions if d.name == loop.dimension)
        assert isinstance(extent, int)
        return -(-extent // loop.size)

    def describe(self) -> str:
        """One line for people: kind, tile, loops."""
        if self.kind == "nothing":
            return "nothing to do"
        sizes = {loop.dimension: loop.size for loop in self.loops if loop.role != "block"}
        rows = "x".join(f"{name}:{sizes[name]}" for name in self.rows) or "1"
        columns = "x".join(f"{name}:{sizes[name]}" for name in self.columns) or "1"
        loops = " ".join(f"{loop.dimension}/{loop.size}" for loop in self.loops)
        text = f"{self.kind}, {self.lanes} lanes, tile {rows} by {columns}, loops {loops}"
        if self.vector:
            text += ", lanes along " + "x".join(f"{name}:{size}" for name, size in self.vector)
        if self.pack_level is not None:
            text += f", packed before loop {self.pack_level}"
        if self.split is not None:
            text += f", {self.units} units of {self.loops[self.split].dimension}"
        return text + (", A and B swapped" if self.swapped else "")


def chains(accumulators: int, steps: int) -> int:
    """How many sums to keep for each accumulator, so that enough multiply-adds are in flight."""
    if accumulators >= _IN_FLIGHT:
        return 1
    return max(1, min(-(-_IN_FLIGHT // max(accumulators, 1)), steps))


def remainder_sizes(loop: Loop, lanes: int) -> list[int]:
    """Falling sizes by which a tile loop takes an extent that is only known at run time.

    Each is code of its own, so there are few: along lanes a masked vector takes what is left, else
    single indices do.
    """
    if loop.role == "lanes":
        return sorted({loop.size, lanes}, reverse=True)
    return sorted({size for size in (loop.size, 4, 1) if size <= loop.size}, reverse=True)


def turning(row_offsets: Sequence[int], runs_of_a_row: int, lanes: int, width: int) -> tuple[bool, float]:
    """Whether a tile is turned before it is stored, so that its rows become lanes; and the cycles.

    `row_offsets` are the rows' places in C, `runs_of_a_row` how many stretches of C the `lanes` of one
    row cover. Turning takes each block of `width` by `width` elements a shuffle for each vector, two of
    them a cycle, as many times as the width can be halved.
    """
    plain = len(row_offsets) * runs_of_a_row
    groups = range(0, len(row_offsets), width)
    turned = lanes * sum(len(runs(row_offsets[n : n + width])) for n in groups)
    turned += len(groups) * -(-lanes // width) * width * (width.bit_length() - 1) // 2
    return turned < plain, min(plain, turned)
