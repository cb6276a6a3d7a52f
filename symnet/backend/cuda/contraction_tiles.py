"""Takes a plan; hands on the statements of a block that makes tiles of sums.

Slices of A and B stand in two halves of shared memory in turn. In the end the sums pass through shared memory
too, so that neighbouring threads store neighbouring columns.
"""

from __future__ import annotations

from symnet.backend.cuda.body import BLOCK, THREAD
from symnet.backend.cuda.contraction_epilogue import BLOCKS_EACH, Ending
from symnet.backend.cuda.contraction_fetch import Fetch
from symnet.backend.cuda.contraction_plan import Plan, pitches, slice_entries
from symnet.backend.cuda.contraction_text import Space, Text, masked, plus, quotient, shifted, walk
from symnet.backend.cuda.machine import Machine


def _tiles(space: Space, size: int) -> str:
    """How many tiles there are along a space, as an expression."""
    if space.known is not None:
        return str(-(-space.known // size))
    return quotient(f"np.{space.dtype}({space.count} + {size - 1})", size)


class Tiles:
    """The text that makes tiles of sums."""

    def __init__(self, plan: Plan, machine: Machine, ending: Ending, parts: str | None) -> None:
        self.plan, self.machine, self.ending, self.parts = plan, machine, ending, parts
        self.tile = plan.tile
        self.text = Text()
        self.pitches = pitches(plan, self.tile)
        self.half = slice_entries(plan, self.tile)
        self.starts = (0, self.half - -(-self.tile.depth * self.pitches[1] // 4) * 4)
        self.item = f"np.{plan.contraction.dtype}"
        self.width = 16 // plan.item
        most = -(-plan.rows.most // self.tile.height) * -(-plan.columns.most // self.tile.width)
        self.blocks = max(1, most * plan.batch.most * plan.splits)
        if not plan.known:
            self.blocks = min(self.blocks, machine.multiprocessors * BLOCKS_EACH)
        self.slots, entries = self._stage()
        self.shared = max(2 * self.half, entries)

    def _stage(self) -> tuple[int, int]:
        """How many of a thread's rows go through shared memory at once in the end; the entries for it."""
        each = self.machine.threads * self.tile.columns
        room = max(2 * self.half, 16384 // self.plan.item)
        slots = self.tile.rows
        while slots > 1 and slots * each > room:
            slots //= 2
        return slots, slots * each

    def print(self) -> None:
        """All statements."""
        text, plan = self.text, self.plan
        text.line(f"shared = cuda.shared.array({self.shared}, {self.item}, 16)")
        if plan.listed:
            text.line(f"steps = cuda.shared.array({len(plan.listed) * (plan.terms or 0)}, np.int32, 16)")
        text.line(f"me = np.int32({THREAD})")
        self._places()
        counts = [
            _tiles(plan.columns, self.tile.width),
            _tiles(plan.rows, self.tile.height),
            str(plan.splits),
        ]
        if plan.known:
            self._one(BLOCK, counts)
            return
        text.line(f"column_tiles = np.int64({counts[0]})")
        text.line(f"row_tiles = np.int64({counts[1]})")
        text.line(f"tiles = column_tiles * row_tiles * {plan.splits} * np.int64({plan.batch.count})")
        with text.block(f"for each in range(np.int64({BLOCK}), tiles, {self.blocks}):"):
            text.line("cuda.syncthreads()")
            self._one("each", ["column_tiles", "row_tiles", str(plan.splits)])

    def _places(self) -> None:
        """Which thread does what: its place in the tile, its first entries of slices."""
        text, tile, machine = self.text, self.tile, self.machine
        each = tile.down * tile.across
        in_group = "me"
        if tile.groups > 1:
            text.line(f"group = np.int32({shifted('me', each)})")
            text.line(f"in_group = np.int32({masked('me', each)})")
            in_group = "in_group"
        # A warp's threads stand in a rectangle, so that together they read few entries of a slice.
        warp = min(machine.warp, each)
        wide = min(tile.across, 1 << ((warp.bit_length()) // 2))
        tall = warp // wide
        if tall > tile.down:
            tall, wide = tile.down, warp // tile.down
        across = tile.across // wide
        text.line(f"warp_number = np.int32({shifted(in_group, warp)})")
        text.line(f"lane = np.int32({masked(in_group, warp)})")
        column = plus(f"{masked('warp_number', across)} * {wide}", masked("lane", wide))
        row = plus(f"{shifted('warp_number', across)} * {tall}", shifted("lane", wide))
        text.line(f"my_column = np.int32({column})")
        text.line(f"my_row = np.int32({row})")
        steps = tile.depth // tile.groups
        base: int | str = f"group * {steps * self.pitches[0]}" if tile.groups > 1 else 0
        text.line(f"row_at = np.int32({plus(base, f'my_row * {min(tile.rows, self.width)}')})")
        base = f"group * {steps * self.pitches[1]}" if tile.groups > 1 else 0
        start = self.starts[1]
        text.line(
            f"column_at = np.int32({plus(base, start, f'my_column * {min(tile.columns, self.width)}')})"
        )
        self.fetches = [
            Fetch(text, self.plan, which, machine.threads, self.pitches[which], self.starts[which])
            for which in (0, 1)
        ]
        for fetch in self.fetches:
            fetch.place()

    def _one(self, number: str, counts: list[str]) -> None:
        """One tile's part."""
        text, plan, tile = self.text, self.plan, self.tile
        # The blocks of a grid are numbered in 32 bits.
        dtype = "int32" if plan.known else "int64"
        text.line(f"number = np.{dtype}({number})")
        rest = "number"
        found = []
        for name, count in zip(("column_tile", "row_tile", "part"), counts, strict=True):
            above = f"{name}_above"
            if count == "1":
                text.line(f"{name} = np.{dtype}(0)")
                found.append(name)
                continue
            text.line(f"{above} = {quotient(rest, count)}")
            text.line(f"{name} = np.{dtype}({rest} - {above} * {count})")
            rest = above
        text.line(f"batch = np.{plan.batch.dtype}({rest})")
        text.line(f"first_row = np.{plan.rows.dtype}(row_tile * {tile.height})")
        text.line(f"first_column = np.{plan.columns.dtype}(column_tile * {tile.width})")
        arrays = {f"base_{each.buffer}": (each.array, "int64") for each in plan.operands}
        walk(
            text,
            plan.batch,
            "batch",
            arrays,
            {f"base_{each.buffer}": str(each.offset) for each in plan.operands},
        )
        for fetch in self.fetches:
            fetch.rows()
        self._bounds()
        self._list()
        self._sums()
        self._end()

    def _bounds(self) -> None:
        text, plan = self.text, self.plan
        dtype = plan.inner.dtype
        if plan.splits == 1:
            text.line(f"begin = np.{dtype}(0)")
            text.line(f"end = np.{dtype}({plan.inner.count})")
            return
        if plan.inner.known is None:
            slices = quotient(f"np.{dtype}({plan.inner.count} + {self.tile.depth - 1})", self.tile.depth)
            each = quotient(f"np.{dtype}({slices} + {plan.splits - 1})", plan.splits)
            share = f"{each} * {self.tile.depth}"
        else:
            share = str(plan.share)
        text.line(f"begin = np.{dtype}(part * {share})")
        text.line(f"end = np.{dtype}(min(begin + {share}, {plan.inner.count}))")

    def _list(self) -> None:
        """The steps of the inner indices in A and B, where they are listed."""
        text, plan = self.text, self.plan
        if not plan.listed:
            return
        terms = plan.terms
        with text.block(f"for place in range(me, {terms}, {self.machine.threads}):"):
            text.line(f"term = np.{plan.inner.dtype}(begin + place)")
            with text.block("if term < end:"):
                names = [f"{each.buffer}_step" for each in plan.listed]
                targets = {
                    name: (each.array, each.dtype) for name, each in zip(names, plan.listed, strict=True)
                }
                walk(text, plan.inner, "term", targets)
                for number, name in enumerate(names):
                    text.line(f"shared_store(steps, np.uint32(place), {number * (terms or 0)}, {name})")
        text.line("cuda.syncthreads()")

    def _sums(self) -> None:
        """All slices: while one is added up, the next one is on its way."""
        text, tile = self.text, self.tile
        text.line(f"zero = {self.item}(0.0)")
        row = ", ".join(["zero"] * tile.columns)
        text.line(f"zeros = ({row},)")
        text.line(f"sums = {' + '.join(['zeros'] * tile.rows)}")
        text.line("half = np.int32(0)")
        # The first turn brings the first slice alone.
        terms: int | str | None = self.plan.inner.known
        if terms is None or self.plan.splits > 1:
            terms = "terms"
            text.line("terms = end - begin")
        with text.block(f"for done in range({-tile.depth}, {terms}, {tile.depth}):"):
            text.line(f"ahead = np.{self.plan.inner.dtype}(done + {tile.depth})")
            text.line(f"more = ahead < {terms}")
            with text.block("if more:"):
                for fetch in self.fetches:
                    fetch.load()
            with text.block("if ahead > 0:"):
                self._slice()
            text.line(f"half = np.int32({self.half} - half)")
            with text.block("if more:"):
                for fetch in self.fetches:
                    fetch.put("half")
            text.line("cuda.syncthreads()")

    def _slice(self) -> None:
        """The products of the slice in shared memory, added to the sums."""
        text, tile = self.text, self.tile
        text.line("row_from = np.uint32(half + row_at)")
        text.line("column_from = np.uint32(half + column_at)")
        for step in range(tile.depth // tile.groups):
            rows = self._fragment("row_from", step * self.pitches[0], tile.rows, tile.down)
            columns = self._fragment("column_from", step * self.pitches[1], tile.columns, tile.across)
            text.line(f"sums = multiply_add(sums, {rows}, {columns})")

    def _fragment(self, place: str, ahead: int, count: int, threads: int) -> str:
        """A thread's entries of one inner index, as an expression."""
        width = min(self.width, count)
        return " + ".join(
            f"shared_load{width}(shared, {place}, {ahead + first * threads})"
            for first in range(0, count, width)
        )

    # --- the end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        """The sums go through shared memory, some rows of each thread at a time, and are stored."""
        text, tile = self.text, self.tile
        panel = self.slots * tile.down * tile.width
        if self.parts is None:
            self.ending.begin(text, "batch")
        base = f"group * {panel}" if tile.groups > 1 else 0
        wide = min(self.width, tile.columns)
        text.line(f"stage = np.uint32({plus(base, f'my_row * {tile.width}', f'my_column * {wide}')})")
        panels = tile.rows // self.slots
        if panels == 1:
            self._panel("0", panel)
            return
        with text.block(f"for panel in range({panels}):"):
            self._panel(f"np.int32(panel * {self.slots})", panel)
            text.line("cuda.syncthreads()")
            # The next rows take the place of those that are done.
            moved = self.slots * tile.columns
            text.line(f"sums = sums[{moved}:] + sums[:{moved}]")

    def _panel(self, first: str, panel: int) -> None:
        """Rows of each thread, from its `first` on."""
        text, tile = self.text, self.tile
        wide = min(self.width, tile.columns)
        for slot in range(self.slots):
            for column in range(tile.columns):
                ahead = slot * tile.down * tile.width + column // wide * tile.across * wide + column % wide
                text.line(f"shared_store(shared, stage, {ahead}, sums[{slot * tile.columns + column}])")
        text.line("cuda.syncthreads()")
        lanes, threads = self.ending.lanes, self.machine.threads
        across = tile.width // lanes
        beside = max(1, across // threads)
        across = min(across, threads)
        lines, step = self.slots * tile.down, threads // across
        text.line(f"my_line = np.int32({shifted('me', across)})")
        for number in range(beside):
            place = f"({plus(masked('me', across), number * threads)}) * {lanes}"
            text.line(f"in_line = np.int32({place})")
            text.line(f"column = np.{self.plan.columns.dtype}(first_column + in_line)")
            with text.block(f"if column < {self.plan.columns.count}:"):
                if self.parts is None:
                    self.ending.columns(text, "column")
                with text.block(f"for line in range(my_line, {lines}, {step}):"):
                    self._line(first, panel)

    def _line(self, first: str, panel: int) -> None:
        """A thread's columns of one row."""
        text, tile, plan = self.text, self.tile, self.plan
        lanes = self.ending.lanes
        tall = min(self.width, tile.rows)
        text.line(f"slot = np.int32({plus(first, shifted('line', tile.down))})")
        upper = f"{shifted('slot', tall)} * {tile.down * tall}"
        lower = f"{masked('line', tile.down)} * {tall}"
        row = plus("first_row", upper, lower, masked("slot", tall))
        text.line(f"row = np.{plan.rows.dtype}({row})")
        with text.block(f"if row < {plan.rows.count}:"):
            text.line(f"entry = np.uint32(line * {tile.width} + in_line)")
            totals = [f"total_{lane}" for lane in range(lanes)]
            text.line(f"{', '.join(totals)}, = shared_load{lanes}(shared, entry, 0)")
            if tile.groups > 1:
                with text.block(f"for each in range(1, {tile.groups}):"):
                    text.line(f"others = shared_load{lanes}(shared, entry, each * {panel})")
                    for lane, total in enumerate(totals):
                        text.line(f"{total} += others[{lane}]")
            if self.parts is None:
                self.ending.store(text, totals, "row")
                return
            batch, rows, columns = (
                f"np.int64({each.count})" for each in (plan.batch, plan.rows, plan.columns)
            )
            at = f"((part * {batch} + batch) * {rows} + row) * {columns} + column"
            if lanes > 1:
                text.line(f"store{lanes}({self.parts}, {at}, {', '.join(totals)})")
            else:
                text.line(f"{self.parts}[{at}] = {totals[0]}")
