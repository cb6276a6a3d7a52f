"""Takes a plan and the names of sums; hands on the statements that store what becomes of them.

That is the sums themselves, what C held and the sums, or the epilogue's values. Where rows of C allow, each
thread has several neighbouring columns, and reads and stores them in one access.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from symnet.backend.cuda.body import BLOCK, THREAD
from symnet.backend.cuda.contraction_plan import C, Plan, aligned
from symnet.backend.cuda.contraction_text import Space, Text, dtype_below, plus, quotient, times, walk
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.print_body import BodyPrinter
from symnet.compile.contraction import OLD, PRODUCT
from symnet.compile.nest import BOOL, BufferParameter

#: Blocks for each multiprocessor where the number of entries is only known at run time.
BLOCKS_EACH = 4
#: Parts of a sum that are loaded before the first of them is added.
_LOADED = 16


class Ending:
    """What happens to sums in the end.

    `lanes` is how many neighbouring columns a thread has: 1, or what C takes in one access.
    """

    def __init__(self, plan: Plan, sizes: Sequence[str]) -> None:
        self.plan = plan
        self.sizes = sizes
        contraction = plan.contraction
        self.epilogue = contraction.epilogue
        dtypes = () if self.epilogue is None else self.epilogue.dtypes
        stored = {} if self.epilogue is None else dict(self.epilogue.stores)
        further = tuple(BufferParameter(f"d{n}", dtype, n in stored) for n, dtype in enumerate(dtypes))
        #: C and the epilogue's arrays.
        self.parameters = (BufferParameter("c", contraction.dtype, True), *further)
        self.lanes = plan.lanes

    # --- places ------------------------------------------------------------------------------------

    def begin(self, text: Text, batch: str) -> None:
        """The offsets of a batch in the arrays."""
        names = {f"base_{each.name}": C + n for n, each in enumerate(self.parameters)}
        offsets = {name: str(self.plan.offsets[array]) for name, array in names.items()}
        walk(text, self.plan.batch, batch, {name: (array, "int64") for name, array in names.items()}, offsets)

    def columns(self, text: Text, column: str) -> None:
        """The offsets of a column, the first of a thread's."""
        self._walk(text, column, "column")

    def _walk(self, text: Text, number: str, stem: str) -> None:
        space = self.plan.columns if stem == "column" else self.plan.rows
        targets = {
            f"{stem}_{each.name}": (C + n, self.plan.dtypes[C + n]) for n, each in enumerate(self.parameters)
        }
        walk(text, space, number, targets)

    def _lane(self, array: int, lane: int) -> int | str:
        """What a lane is ahead of a thread's first column."""
        strides = self.plan.columns.strides(array)
        return times(lane, strides[-1]) if strides else 0

    # --- values ------------------------------------------------------------------------------------

    def store(self, text: Text, totals: Sequence[str], row: str) -> None:
        """Store what becomes of the sums of a row and neighbouring columns, as many as there are lanes."""
        self._walk(text, row, "row")
        for n, each in enumerate(self.parameters):
            dtype = self.plan.dtypes[C + n]
            text.line(f"at_{each.name} = base_{each.name} + np.{dtype}(row_{each.name} + column_{each.name})")
        if self.epilogue is not None:
            self._epilogue(text, totals)
            return
        if self.plan.contraction.accumulate:
            before = self._load(text, 0, len(totals))
            totals = [f"{old} + {total}" for old, total in zip(before, totals, strict=True)]
        self._store(text, 0, totals)

    def _load(self, text: Text, number: int, lanes: int) -> list[str]:
        """The entries of an array at the thread's columns, as names."""
        array = self.parameters[number]
        name, place = array.name, f"at_{array.name}"
        test = " != 0" if array.dtype == BOOL else ""
        if all(stride == 0 for stride in self.plan.columns.strides(C + number)):
            text.line(f"in_{name} = {name}[{place}]{test}")
            return [f"in_{name}"] * lanes
        names = [f"in_{name}_{lane}" for lane in range(lanes)]
        if lanes > 1 and array.dtype != BOOL and self._is_aligned(number, lanes):
            text.line(f"{', '.join(names)} = load{lanes}({name}, {place})")
            return names
        for lane, each in enumerate(names):
            text.line(f"{each} = {name}[{plus(place, self._lane(C + number, lane))}]{test}")
        return names

    def _store(self, text: Text, number: int, values: Sequence[str]) -> None:
        name = self.parameters[number].name
        if len(values) > 1:
            text.line(f"store{len(values)}({name}, at_{name}, {', '.join(values)})")
        else:
            text.line(f"{name}[at_{name}] = {values[0]}")

    def _is_aligned(self, number: int, lanes: int) -> bool:
        plan = self.plan
        array, dtype = C + number, self.parameters[number].dtype
        wide = 8 if dtype.endswith("64") else int(re.sub(r"\D", "", dtype)) // 8
        return wide * lanes in (8, 16) and aligned(
            array, plan.columns, (plan.rows, plan.batch), plan.offsets[array], lanes
        )

    def _epilogue(self, text: Text, totals: Sequence[str]) -> None:
        assert self.epilogue is not None
        lanes = len(totals)
        before = self._load(text, 0, lanes) if self.epilogue.reads_target else []
        given = [self._load(text, 1 + n, lanes) for n in range(len(self.parameters) - 1)]
        stored: list[list[str]] = [[] for _ in self.epilogue.values]
        for lane, total in enumerate(totals):
            printer = BodyPrinter(self.parameters, self.sizes)
            # Names that the printer makes up are none of those in the text so far.
            for name in set(re.findall(r"[A-Za-z_]\w*", "\n".join(text.lines))):
                printer.dtypes.setdefault(name, "reserved")
            printer.names[PRODUCT] = total
            if before:
                printer.names[OLD] = before[lane]
            for n, names in enumerate(given):
                printer.names[f"x{n}"] = names[lane]
            printer.statements(self.epilogue.statements)
            values = [printer.text(value) for value in self.epilogue.values]
            for line in printer.lines:
                text.line(line)
            for found, value in zip(stored, values, strict=True):
                name = text.fresh("stored")
                text.line(f"{name} = np.{self.plan.contraction.dtype}({value})")
                found.append(name)
        numbers = [0, *(1 + n for n, _ in self.epilogue.stores)]
        for number, found in zip(numbers, stored, strict=True):
            self._store(text, number, found)


class Adding:
    """The text that adds up the parts of sums in order; each thread has the lanes of a row."""

    def __init__(self, plan: Plan, machine: Machine, ending: Ending, parts: str) -> None:
        self.plan, self.machine, self.ending, self.parts = plan, machine, ending, parts
        self.text = Text()
        entries = plan.batch.most * plan.rows.most * plan.columns.most
        self.blocks = max(1, -(-entries // ending.lanes // machine.threads))
        self.dtype = dtype_below(entries * plan.splits + 4096)
        if not plan.known:
            self.blocks = min(self.blocks, machine.multiprocessors * BLOCKS_EACH)

    def print(self) -> None:
        """All statements."""
        text, plan, threads, dtype = self.text, self.plan, self.machine.threads, self.dtype
        lanes = self.ending.lanes
        text.line(f"count = {' * '.join(f'np.{dtype}({each.count})' for each in self._spaces())}")
        if plan.known:
            text.line(f"entry = np.{dtype}((np.int64({BLOCK}) * {threads} + {THREAD}) * {lanes})")
            with text.block("if entry < count:"):
                self._one()
            return
        first = f"(np.int64({BLOCK}) * {threads} + {THREAD}) * {lanes}"
        with text.block(f"for place in range({first}, count, {self.blocks * threads * lanes}):"):
            text.line(f"entry = np.{dtype}(place)")
            self._one()

    def _spaces(self) -> list[Space]:
        return [self.plan.batch, self.plan.rows, self.plan.columns]

    def _one(self) -> None:
        text, plan, dtype = self.text, self.plan, self.dtype
        totals = [f"total_{lane}" for lane in range(self.ending.lanes)]
        for first in range(0, plan.splits, _LOADED):
            parts = range(first, min(first + _LOADED, plan.splits))
            for part in parts:
                names = [f"part_{part - first}_{lane}" for lane in range(len(totals))]
                at = f"np.{dtype}({plus('entry', times('count', part))})"
                if len(names) > 1:
                    text.line(f"{', '.join(names)} = load{len(names)}({self.parts}, {at})")
                else:
                    text.line(f"{names[0]} = {self.parts}[{at}]")
            for part in parts:
                for lane, total in enumerate(totals):
                    sign = "+=" if part else "="
                    text.line(f"{total} {sign} part_{part - first}_{lane}")
        text.line(f"line = {quotient('entry', plan.columns.count)}")
        text.line(f"column = np.{plan.columns.dtype}(entry - line * {plan.columns.count})")
        text.line(f"plane = {quotient('line', plan.rows.count)}")
        text.line(f"row = np.{plan.rows.dtype}(line - plane * {plan.rows.count})")
        text.line(f"batch = np.{plan.batch.dtype}(plane)")
        self.ending.begin(text, "batch")
        self.ending.columns(text, "column")
        self.ending.store(text, totals, "row")
