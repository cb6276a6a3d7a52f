"""Takes contractions; hands on bodies: sums in registers, slices of A and B in shared memory, two at a time.

A sum over many terms for few results is cut into parts, which a second body adds up in order; so the same
sizes always give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symnet.backend.cuda.body import BLOCK, THREAD, Body, Scratch
from symnet.backend.cuda.contraction_epilogue import Ending
from symnet.backend.cuda.contraction_plan import Operand, Plan, pitches, plan_contraction, slice_entries
from symnet.backend.cuda.contraction_text import Space, Text, plus, quotient, walk
from symnet.backend.cuda.machine import Machine
from symnet.compile.contraction import Contraction
from symnet.compile.nest import BufferParameter

#: Blocks for each multiprocessor where the number of tiles is only known at run time.
_BLOCKS_EACH = 4


def contraction_bodies(
    name: str,
    contraction: Contraction,
    offsets: Sequence[int | str],
    machine: Machine,
    capacities: Mapping[str, int],
    comments: Sequence[str] = (),
) -> list[Body]:
    """The bodies of a contraction, to run one after the other; none where there is nothing to do.

    Their buffers are a, b, c, and d0, d1 … for the arrays of the epilogue.

    Parameters
    ----------
    offsets
        The first entries of A, B, C and the epilogue's arrays; numbers, or names of sizes.
    capacities
        The most that sizes known at run time can be; without a bound for those that are not in it.
    """
    plan = plan_contraction(contraction, offsets, machine, capacities)
    if plan is None:
        return []
    sizes = sorted({*contraction.parameters, *(each for each in offsets if isinstance(each, str))})
    return bodies_of(name, plan, machine, sizes, comments)


def bodies_of(
    name: str, plan: Plan, machine: Machine, sizes: Sequence[str], comments: Sequence[str] = ()
) -> list[Body]:
    """The bodies of a plan, which read these sizes."""
    ending = Ending(plan, [*sizes])
    whole = plan.splits == 1
    parts = f"{name}_parts"
    dtype = plan.contraction.dtype
    scratch: tuple[Scratch, ...] = ()
    if not whole:
        entries = plan.splits * plan.batch.most * plan.rows.most * plan.columns.most
        scratch = (Scratch(parts, dtype, entries),)
    kernel = _Tiles(plan, machine, ending, None if whole else parts)
    kernel.print()
    read = (BufferParameter("a", dtype, False), BufferParameter("b", dtype, False))
    written = ending.parameters if whole else (BufferParameter(parts, dtype, True),)
    first = Body(
        name,
        (*read, *written),
        tuple(sizes),
        tuple(kernel.text.lines),
        kernel.blocks,
        scratch,
        tuple(comments),
    )
    if whole:
        return [first]
    adding = _Adding(plan, machine, ending, parts)
    adding.print()
    second = Body(
        f"{name}_sum",
        (BufferParameter(parts, dtype, False), *ending.parameters),
        tuple(sizes),
        tuple(adding.text.lines),
        adding.blocks,
        scratch,
        tuple(comments),
    )
    return [first, second]


def _tiles(space: Space, size: int) -> str:
    """How many tiles there are along a space, as an expression."""
    if space.known is not None:
        return str(-(-space.known // size))
    return quotient(f"{space.count} + {size - 1}", size, space.dtype)


class _Tiles:
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
            self.blocks = min(self.blocks, machine.multiprocessors * _BLOCKS_EACH)
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
        text.line(f"me = np.int32({THREAD})")
        self._places()
        counts = [
            _tiles(plan.columns, self.tile.width),
            _tiles(plan.rows, self.tile.height),
            str(plan.splits),
        ]
        if plan.known:
            text.line(f"number = np.int64({BLOCK})")
            self._one(counts)
            return
        text.line(f"column_tiles = np.int64({counts[0]})")
        text.line(f"row_tiles = np.int64({counts[1]})")
        text.line(f"tiles = column_tiles * row_tiles * {plan.splits} * np.int64({plan.batch.count})")
        with text.block(f"for number in range(np.int64({BLOCK}), tiles, {self.blocks}):"):
            text.line("cuda.syncthreads()")
            self._one(["column_tiles", "row_tiles", str(plan.splits)])

    def _places(self) -> None:
        """Which thread does what: its place in the tile, its first entries of slices."""
        text, tile, machine = self.text, self.tile, self.machine
        each = tile.down * tile.across
        in_group = "me"
        if tile.groups > 1:
            text.line(f"group = np.int32(me // {each})")
            text.line(f"in_group = np.int32(me % {each})")
            in_group = "in_group"
        # A warp's threads stand in a rectangle, so that together they read few entries of a slice.
        warp = min(machine.warp, each)
        wide = min(tile.across, 1 << ((warp.bit_length()) // 2))
        tall = warp // wide
        if tall > tile.down:
            tall, wide = tile.down, warp // tile.down
        across = tile.across // wide
        text.line(f"warp_number = np.int32({in_group} // {warp})")
        text.line(f"lane = np.int32({in_group} % {warp})")
        text.line(f"my_column = np.int32(warp_number % {across} * {wide} + lane % {wide})")
        text.line(f"my_row = np.int32(warp_number // {across} * {tall} + lane // {wide})")
        steps = tile.depth // tile.groups
        base: int | str = f"group * {steps * self.pitches[0]}" if tile.groups > 1 else 0
        text.line(f"row_at = np.int32({plus(base, f'my_row * {min(tile.rows, self.width)}')})")
        base = f"group * {steps * self.pitches[1]}" if tile.groups > 1 else 0
        start = self.starts[1]
        text.line(
            f"column_at = np.int32({plus(base, start, f'my_column * {min(tile.columns, self.width)}')})"
        )
        self.fetches = [
            _Fetch(self, operand, size, pitch, start)
            for operand, size, pitch, start in zip(
                self.plan.operands, (tile.height, tile.width), self.pitches, self.starts, strict=True
            )
        ]
        for fetch in self.fetches:
            fetch.place()

    def _one(self, counts: list[str]) -> None:
        """One tile's part."""
        text, plan, tile = self.text, self.plan, self.tile
        rest = "number"
        found = []
        for name, count in zip(("column_tile", "row_tile", "part"), counts, strict=True):
            above = f"{name}_above"
            if count == "1":
                text.line(f"{name} = np.int64(0)")
                found.append(name)
                continue
            text.line(f"{above} = {quotient(rest, count, 'int64')}")
            text.line(f"{name} = np.int64({rest} - {above} * {count})")
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
            slices = quotient(f"{plan.inner.count} + {self.tile.depth - 1}", self.tile.depth, dtype)
            share = f"{quotient(f'{slices} + {plan.splits - 1}', plan.splits, dtype)} * {self.tile.depth}"
        else:
            share = str(plan.share)
        text.line(f"begin = np.{dtype}(part * {share})")
        text.line(f"end = np.{dtype}(min(begin + {share}, {plan.inner.count}))")

    def _sums(self) -> None:
        """All slices: while one is added up, the next one is on its way."""
        text, tile = self.text, self.tile
        text.line(f"zero = {self.item}(0.0)")
        row = ", ".join(["zero"] * tile.columns)
        text.line(f"zeros = ({row},)")
        text.line(f"sums = {' + '.join(['zeros'] * tile.rows)}")
        for fetch in self.fetches:
            fetch.load("begin")
        for fetch in self.fetches:
            fetch.put("0")
        text.line("cuda.syncthreads()")
        text.line("half = np.int32(0)")
        with text.block(f"for slice in range(begin, end, {tile.depth}):"):
            text.line(f"after = np.{self.plan.inner.dtype}(slice + {tile.depth})")
            with text.block("if after < end:"):
                for fetch in self.fetches:
                    fetch.load("after")
            for step in range(tile.depth // tile.groups):
                rows = self._fragment("row_at", step * self.pitches[0], tile.rows, tile.down)
                columns = self._fragment("column_at", step * self.pitches[1], tile.columns, tile.across)
                text.line(f"sums = multiply_add(sums, {rows}, {columns})")
            text.line(f"half = np.int32({self.half} - half)")
            for fetch in self.fetches:
                fetch.put("half")
            text.line("cuda.syncthreads()")

    def _fragment(self, place: str, offset: int, count: int, threads: int) -> str:
        """A thread's entries of one inner index, as an expression."""
        width = min(self.width, count)
        found = []
        for first in range(0, count, width):
            at = f"np.uint32({plus('half', place, offset + first * threads)})"
            found.append(f"(shared[{at}],)" if width == 1 else f"shared_load{width}(shared, {at})")
        return " + ".join(found)

    def _end(self) -> None:
        """The sums pass through shared memory, so that neighbouring threads store neighbouring columns."""
        text, tile, plan = self.text, self.tile, self.plan
        threads = self.machine.threads
        panel = self.slots * tile.down * tile.width
        wide = min(self.width, tile.columns)
        tall = min(self.width, tile.rows)
        if self.parts is None:
            self.ending.begin(text, "batch")
        for first in range(0, tile.rows, self.slots):
            if first:
                text.line("cuda.syncthreads()")
            base = f"group * {panel}" if tile.groups > 1 else "0"
            text.line(f"stage = np.int32({plus(base, f'my_row * {tile.width}', f'my_column * {wide}')})")
            for slot in range(self.slots):
                for column in range(tile.columns):
                    ahead = (
                        slot * tile.down * tile.width + column // wide * tile.across * wide + column % wide
                    )
                    value = f"sums[{(first + slot) * tile.columns + column}]"
                    text.line(f"shared[np.uint32(stage + {ahead})] = {value}")
            text.line("cuda.syncthreads()")
            with text.block(f"for turn in range(me, {panel}, {threads}):"):
                text.line("entry = np.int32(turn)")
                text.line("total = shared[np.uint32(entry)]")
                if tile.groups > 1:
                    with text.block(f"for each in range(1, {tile.groups}):"):
                        text.line(f"total += shared[np.uint32(entry + each * {panel})]")
                text.line(f"line = np.int32(entry // {tile.width})")
                turn = f"(line // {tile.down} + {first})"
                place = (
                    f"{turn} // {tall} * {tile.down * tall} + line % {tile.down} * {tall} + {turn} % {tall}"
                )
                text.line(f"row = np.{plan.rows.dtype}(first_row + {place})")
                text.line(f"column = np.{plan.columns.dtype}(first_column + entry % {tile.width})")
                with text.block(f"if row < {plan.rows.count} and column < {plan.columns.count}:"):
                    if self.parts is None:
                        self.ending.store(text, "total", "row", "column")
                    else:
                        batch, rows, columns = (
                            f"np.int64({each.count})" for each in (plan.batch, plan.rows, plan.columns)
                        )
                        line = f"((part * {batch} + batch) * {rows} + row)"
                        text.line(f"{self.parts}[{line} * {columns} + column] = total")


class _Fetch:
    """How a block's threads bring a slice of A or B into shared memory, by way of registers."""

    def __init__(self, tiles: _Tiles, operand: Operand, size: int, pitch: int, start: int) -> None:
        self.tiles, self.operand, self.size, self.pitch, self.start = tiles, operand, size, pitch, start
        self.text = tiles.text
        self.name = operand.buffer
        threads, depth, vector = tiles.machine.threads, tiles.tile.depth, operand.vector
        lanes = (depth if operand.along_inner else size) // vector
        self.lanes = min(lanes, threads)
        # Lanes beside each other, then how many further places each thread has along both ways.
        self.beside = lanes // self.lanes
        self.lines = threads // self.lanes
        across = size if operand.along_inner else depth
        self.rounds = -(-across // self.lines)
        self.idle = across < self.lines
        self.across = across

    def place(self) -> None:
        """The thread's first entry of a slice, and where that goes."""
        text, name, vector = self.text, self.name, self.operand.vector
        text.line(f"{name}_fast = np.int32(me % {self.lanes} * {vector})")
        text.line(f"{name}_slow = np.int32(me // {self.lanes})")
        inner, row = ("fast", "slow") if self.operand.along_inner else ("slow", "fast")
        text.line(
            f"{name}_put = np.int32({plus(self.start, f'{name}_{inner} * {self.pitch} + {name}_{row}')})"
        )

    def rows(self) -> None:
        """The offsets of the thread's rows, which stay the same for all slices."""
        space, operand = self.operand.space, self.operand
        first = "first_row" if operand is self.tiles.plan.operands[0] else "first_column"
        count = self.rounds if operand.along_inner else self.beside
        step = self.lines if operand.along_inner else self.lanes * operand.vector
        last = f"{space.count} - {1 if operand.along_inner else operand.vector}"
        for number in range(count):
            place = f"{self.name}_{'slow' if operand.along_inner else 'fast'}"
            # What is beyond the last row is not stored; it is read where there is something.
            row = f"{self.name}_place_{number}"
            text = f"min({plus(first, place, number * step)}, {last})"
            self.text.line(f"{row} = np.{space.dtype}({text})")
            walk(self.text, space, row, {f"{self.name}_row_{number}": (operand.array, operand.dtype)})

    def load(self, first: str) -> None:
        """Load the slice that begins at an inner index into registers."""
        if self.idle:
            with self.text.block(f"if {self.name}_slow < {self.across}:"):
                self._load(first)
            with self.text.block("else:"):
                self._zeros(self._all())
        else:
            self._load(first)

    def _load(self, first: str) -> None:
        operand, name = self.operand, self.name
        if operand.along_inner:
            self._of(plus(first, f"{name}_fast"), [(n, self._names(n, 0)) for n in range(self.rounds)])
            return
        for turn in range(self.rounds):
            inner = plus(first, f"{name}_slow", turn * self.lines)
            self._of(inner, [(n, self._names(turn, n)) for n in range(self.beside)])

    def _of(self, inner: str, loads: list[tuple[int, list[str]]]) -> None:
        """The loads that share an inner index: each is a row's number and the names to define."""
        text, plan = self.text, self.tiles.plan
        index = text.fresh(f"{self.name}_inner")
        text.line(f"{index} = np.{plan.inner.dtype}({inner})")
        if plan.ragged:
            with text.block(f"if {index} < end:"):
                self._at(index, loads)
            with text.block("else:"):
                self._zeros([name for _, names in loads for name in names])
        else:
            self._at(index, loads)

    def _at(self, index: str, loads: list[tuple[int, list[str]]]) -> None:
        text, operand = self.text, self.operand
        step = text.fresh(f"{self.name}_step")
        walk(text, self.tiles.plan.inner, index, {step: (operand.array, operand.dtype)})
        for row, names in loads:
            at = f"base_{self.name} + np.{operand.dtype}({self.name}_row_{row} + {step})"
            if len(names) == 1:
                text.line(f"{names[0]} = {self.name}[{at}]")
            else:
                text.line(f"{', '.join(names)} = load{len(names)}({self.name}, {at})")

    def _zeros(self, names: list[str]) -> None:
        for name in names:
            self.text.line(f"{name} = zero")

    def _names(self, turn: int, beside: int) -> list[str]:
        return [f"{self.name}_entry_{turn}_{beside}_{n}" for n in range(self.operand.vector)]

    def _all(self) -> list[str]:
        beside = 1 if self.operand.along_inner else self.beside
        return [name for turn in range(self.rounds) for n in range(beside) for name in self._names(turn, n)]

    def put(self, half: str) -> None:
        """Put what was loaded into a half of shared memory."""
        if self.idle:
            with self.text.block(f"if {self.name}_slow < {self.across}:"):
                self._put(half)
        else:
            self._put(half)

    def _put(self, half: str) -> None:
        vector, along = self.operand.vector, self.operand.along_inner
        for turn in range(self.rounds):
            for beside in range(1 if along else self.beside):
                names = self._names(turn, beside)
                ahead = (
                    turn * self.lines
                    if along
                    else turn * self.lines * self.pitch + beside * self.lanes * vector
                )
                for n, name in enumerate(names):
                    at = ahead + n * (self.pitch if along else 1)
                    place = plus(half if half != "0" else 0, f"{self.name}_put", at)
                    self.text.line(f"shared[np.uint32({place})] = {name}")


class _Adding:
    """The text that adds up the parts of sums, an entry a thread."""

    def __init__(self, plan: Plan, machine: Machine, ending: Ending, parts: str) -> None:
        self.plan, self.machine, self.ending, self.parts = plan, machine, ending, parts
        self.text = Text()
        most = plan.batch.most * plan.rows.most * plan.columns.most
        self.blocks = max(1, -(-most // machine.threads))
        if not plan.known:
            self.blocks = min(self.blocks, machine.multiprocessors * _BLOCKS_EACH)

    def print(self) -> None:
        """All statements."""
        text, plan, threads = self.text, self.plan, self.machine.threads
        count = " * ".join(f"np.int64({each.count})" for each in (plan.batch, plan.rows, plan.columns))
        text.line(f"count = {count}")
        with text.block(
            f"for entry in range(np.int64({BLOCK}) * {threads} + {THREAD}, count, {self.blocks * threads}):"
        ):
            text.line(f"total = {self.parts}[entry]")
            with text.block(f"for part in range(1, {plan.splits}):"):
                text.line(f"total += {self.parts}[part * count + entry]")
            text.line(f"line = {quotient('entry', plan.columns.count, 'int64')}")
            text.line(f"column = np.{plan.columns.dtype}(entry - line * {plan.columns.count})")
            text.line(f"plane = {quotient('line', plan.rows.count, 'int64')}")
            text.line(f"row = np.{plan.rows.dtype}(line - plane * {plan.rows.count})")
            text.line(f"batch = np.{plan.batch.dtype}(plane)")
            self.ending.begin(text, "batch")
            self.ending.store(text, "total", "row", "column")
