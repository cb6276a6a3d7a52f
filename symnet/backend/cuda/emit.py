"""Emits a Program for CUDA: takes its steps, hands on `Work`s: bodies with the memory that each is given.

Sizes, guards and checks run on the device like everything else: those that follow each other are one body of
one thread. What order works may run in, and which share a kernel, is `symnet.backend.cuda.order`'s.

What a launch finds at `state`: the status words of a failure, then a flag for each work that can fail (0; 1
it failed; 2 a guard failed; 3 a size is above its capacity; 9 one before it failed, so it did not run).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from symnet.backend.cuda.body import OWN, STATE, THREAD, Body
from symnet.backend.cuda.machine import Machine
from symnet.compile import nest
from symnet.compile.backend import FAILED, GUARD_FAILED, TOO_LARGE
from symnet.compile.nest import BufferParameter
from symnet.compile.program import (
    Buffer,
    CheckStep,
    ContractionCall,
    GuardStep,
    HostStep,
    KernelCall,
    Program,
    SlotStep,
    Step,
    Table,
    source_comment,
)
from symnet.compile.specialise import Argument, Computed, Length, SlotLeaf
from symnet.compile.steps import follows_from_loops
from symnet.graph import dims
from symnet.graph.dims import Dimension, Size

#: What stands in a flag beside the codes that a run ends with.
SKIPPED = 9
#: Words at `state`: a failure's site and values; the flags.
STATUS, FLAGS = 0, 4
#: The name by which bodies that find sizes know where those are kept.
SLOTS = "slots"

SizeStep = SlotStep | GuardStep | CheckStep
#: Gives the bodies of a kernel's step. An offset is a number or a size's name.
Printer = Callable[[KernelCall | ContractionCall, Sequence[int | str]], Sequence[Body]]


@dataclass(frozen=True)
class Recipe:
    """How any thread finds sizes for itself: statements, and for each slot what has its value behind them.

    Where a size is wrong the statements leave; `LEAVE` stands for that, indented by four.
    """

    lines: tuple[str, ...]
    values: Mapping[int, str]


#: Stands in a recipe for leaving.
LEAVE = "    leave"


@dataclass(eq=False)
class Work:
    """One body, and what it is given.

    Attributes
    ----------
    number
        Its place among the program's works, in the order of the steps.
    step
        The number of its step; the program's count of steps where it belongs to none.
    buffers
        What its parameters are, in their order.
    sizes
        For each of its sizes the number of the slot that holds it.
    needs, finds
        The slots that it reads and those that it finds.
    flag
        The number of its flag; None where it can't fail.
    careful
        Whether it must not run where anything before it failed. Others must not where sizes are wrong: what
        they compute is lost, but they touch nothing that they should not.
    tests_sizes
        Whether it is sizes that it may find wrong.
    recipe
        Of one that finds sizes out of what a call is given alone: how others do so, too.
    finds_sizes_itself
        Whether it does so, and thus need not wait for the first work.
    """

    number: int
    step: int
    body: Body
    buffers: tuple[Buffer, ...]
    sizes: tuple[int, ...] = ()
    needs: tuple[int, ...] = ()
    finds: tuple[int, ...] = ()
    flag: int | None = None
    careful: bool = True
    tests_sizes: bool = False
    recipe: Recipe | None = None
    finds_sizes_itself: bool = False

    @property
    def writes(self) -> list[Buffer]:
        """The buffers that it stores to."""
        parameters = zip(self.body.parameters, self.buffers, strict=True)
        return [buffer for parameter, buffer in parameters if parameter.written]


@dataclass
class Emitted:
    """A program's works.

    Attributes
    ----------
    works
        In the order of the steps. Host steps cut them: `cuts` has the number of the first work behind each.
    slots
        The names of the slots: the program's, then offsets that are computed like them.
    flags
        The steps whose flags stand at `state`, by the flags' numbers.
    lengths
        The buffer in which the inputs' lengths are that sizes are made of; as in the table.
    scratch
        Further buffers of the arena.
    """

    works: list[Work] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    slots: list[str] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    lengths: Buffer = field(default_factory=lambda: Buffer("lengths", nest.INDEX, 0, "lengths"))
    scratch: list[Buffer] = field(default_factory=list)


def emit(program: Program, table: Table, machine: Machine, printer: Printer | None = None) -> Emitted:
    """The works of a program.

    Parameters
    ----------
    printer
        What makes bodies of kernels; those of this package unless given.
    """
    return _Emitter(program, table, machine, printer or kernel_printer(program, machine)).run()


def kernel_printer(program: Program, machine: Machine) -> Printer:
    """This package's bodies for nests and contractions."""
    from symnet.backend.cuda.contraction import contraction_bodies
    from symnet.backend.cuda.nest_bodies import nest_bodies

    capacities = {slot.name: slot.capacity for slot in program.slots.values()}

    def bodies(step: KernelCall | ContractionCall, offsets: Sequence[int | str]) -> Sequence[Body]:
        if isinstance(step, KernelCall):
            return nest_bodies(step.kernel, machine, capacities)
        comments = tuple(dict.fromkeys(source_comment(node) for node in step.nodes))
        return contraction_bodies(step.name, step.contraction, offsets, machine, capacities, comments)

    return bodies


_TELLS = re.compile(rf"\b{STATE}\[")


def can_fail(body: Body) -> bool:
    """Whether a kernel's body may tell a failure."""
    return any(_TELLS.search(line) for line in body.lines)


def _waits_for_nothing(size: Dimension, known: set[str]) -> bool:
    """Whether a size is made of what a call is given, and of known slots."""
    return all(
        isinstance(leaf, Argument | Length) or (isinstance(leaf, SlotLeaf) and leaf.name in known)
        for leaf in dims.leaves(size)
    )


class _Emitter:
    def __init__(self, program: Program, table: Table, machine: Machine, printer: Printer) -> None:
        self.program = program
        self.table = table
        self.machine = machine
        self.printer = printer
        self.found = Emitted()
        self.found.lengths.capacity = max(1, len(table.lengths))
        self.found.slots = list(table.slots)
        self._slots = {name: number for number, name in enumerate(self.found.slots)}
        self._inputs = {b.source: b for b in program.buffers if b.kind == "input"}
        #: By expression the name of the slot for an offset that is none of the program's.
        self._offsets: dict[Size, str] = {}

    def run(self) -> Emitted:
        first, rest = self._sizes_first()
        known = {step.slot.name for _, step in first if isinstance(step, SlotStep)}
        offsets = [
            each
            for _, step in rest
            if isinstance(step, ContractionCall)
            for each in self._new_offsets(step, known)
        ]
        if first or offsets:
            self._sizes(0, first, offsets)
        pending: list[tuple[int, SizeStep]] = []
        for number, step in rest:
            if isinstance(step, SlotStep | GuardStep | CheckStep):
                pending.append((number, step))
                continue
            offsets = self._new_offsets(step) if isinstance(step, ContractionCall) else []
            if pending or offsets:
                self._sizes(number, pending, offsets)
                pending = []
            if isinstance(step, HostStep):
                self.found.cuts.append(len(self.found.works))
            else:
                self._kernel(number, step)
        if pending:
            self._sizes(len(self.program.steps), pending, [])
        looked_at: set[Buffer] = set()
        for work in self.found.works:
            # What failed is done again in order, on what it found.
            work.careful |= not looked_at.isdisjoint(work.writes)
            if work.flag is not None:
                looked_at.update(work.buffers)
        return self.found

    def _sizes_first(self) -> tuple[list[tuple[int, SizeStep]], list[tuple[int, Step]]]:
        """The sizes to find before all else: those at the start, and later ones that can't fail and wait for
        no kernel. And the other steps."""
        first: list[tuple[int, SizeStep]] = []
        rest: list[tuple[int, Step]] = []
        known: set[str] = set()
        for number, step in enumerate(self.program.steps):
            at_start = not rest and isinstance(step, SlotStep | GuardStep | CheckStep)
            if at_start or (
                isinstance(step, SlotStep)
                and step.slot.key is None
                and _waits_for_nothing(step.slot.definition, known)
            ):
                assert isinstance(step, SlotStep | GuardStep | CheckStep)
                first.append((number, step))
                if isinstance(step, SlotStep):
                    known.add(step.slot.name)
            else:
                rest.append((number, step))
        return first, rest

    # --- kernels -------------------------------------------------------------------------------

    def _new_offsets(
        self, step: ContractionCall, known: set[str] | None = None
    ) -> list[tuple[str, Size]]:
        """The offsets of a contraction that have to be computed, under names of their own.

        With `known`, only those that are made of these slots and of what a call is given.
        """
        made = []
        for offset in step.offsets:
            if isinstance(offset, int) or self._slot_of(offset) is not None or offset in self._offsets:
                continue
            if known is not None and not _waits_for_nothing(offset, known):
                continue
            assert isinstance(offset, Size)
            name = f"offset{len(self._offsets)}"
            self._offsets[offset] = name
            self._slots[name] = len(self.found.slots)
            self.found.slots.append(name)
            made.append((name, offset))
        return made

    @staticmethod
    def _slot_of(size: Dimension) -> str | None:
        if isinstance(size, Size) and size.function == "leaf" and isinstance(size.arguments[0], SlotLeaf):
            return str(size.arguments[0].name)
        return None

    def _offset(self, offset: Dimension) -> int | str:
        if isinstance(offset, int):
            return offset
        assert isinstance(offset, Size)
        return self._slot_of(offset) or self._offsets[offset]

    def _kernel(self, number: int, step: KernelCall | ContractionCall) -> None:
        if isinstance(step, ContractionCall):
            offsets = [self._offset(each) for each in step.offsets]
            parameters = step.plain.buffers
        else:
            offsets, parameters = [], step.kernel.buffers
        places = {each.name: buffer for each, buffer in zip(parameters, step.buffers, strict=True)}
        may_wander = isinstance(step, KernelCall) and not follows_from_loops(step.kernel)
        scratch: dict[str, Buffer] = {}
        for body in self.printer(step, offsets):
            for each in body.scratch:
                if each.name not in scratch:
                    name = f"{each.name}_of_step{number}"
                    scratch[each.name] = Buffer(name, each.dtype, each.count, "arena")
            buffers = tuple(
                scratch[each.name] if each.name in scratch else places[each.name] for each in body.parameters
            )
            sizes = tuple(self._slots[name] for name in body.sizes)
            fails = can_fail(body)
            pairs = zip(body.parameters, buffers, strict=True)
            updates = any(each.written and buffer.kind == "input" for each, buffer in pairs)
            self._add(
                fails,
                step=number,
                body=body,
                buffers=buffers,
                sizes=sizes,
                needs=sizes,
                careful=fails or updates or may_wander,
            )
        self.found.scratch += scratch.values()

    def _add(self, can_fail: bool, step: int, **given: Any) -> None:
        flag = len(self.found.flags) if can_fail else None
        if can_fail:
            self.found.flags.append(step)
        self.found.works.append(Work(len(self.found.works), step, flag=flag, **given))

    # --- sizes ---------------------------------------------------------------------------------

    def _sizes(
        self, step: int, steps: Sequence[tuple[int, SizeStep]], offsets: Sequence[tuple[str, Size]]
    ) -> None:
        """One body that finds sizes and tests them, one after the other."""
        first = steps[0][0] if steps else step
        printer = _SizePrinter(self)
        for number, each in steps:
            printer.step(number, each)
        for name, size in offsets:
            printer.find(name, size)
        lines = [f"if {THREAD} == 0:", *(f"    {line}" for line in printer.lines or ["pass"])]
        body = Body(
            name=f"{self.program.name}_sizes",
            parameters=tuple(
                BufferParameter(name, buffer.dtype, False) for buffer, name in printer.buffers.items()
            ),
            sizes=(),
            lines=tuple(lines),
            blocks=1,
        )
        self._add(
            printer.can_fail,
            step=first,
            body=body,
            buffers=tuple(printer.buffers),
            needs=tuple(sorted(printer.needs - set(printer.found))),
            finds=tuple(printer.found),
            tests_sizes=printer.can_fail,
            recipe=printer.recipe(),
        )


#: Functions of sizes as Python has them on int64. Those of two operands that are left out are operators.
_FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "floordiv": "{0} // {1} if {1} != 0 else 0",
    "mod": "{0} % {1} if {1} != 0 else 0",
    "minimum": "min({0}, {1})",
    "maximum": "max({0}, {1})",
    "neg": "-{0}",
    "abs": "abs({0})",
    "eq": "1 if {0} == {1} else 0",
    "ne": "1 if {0} != {1} else 0",
    "lt": "1 if {0} < {1} else 0",
    "le": "1 if {0} <= {1} else 0",
    "gt": "1 if {0} > {1} else 0",
    "ge": "1 if {0} >= {1} else 0",
    "select": "{1} if {0} != 0 else {2}",
    "identity": "{0}",
    **{f"uint{bits}": f"{{0}} & {(1 << bits) - 1}" for bits in (8, 16, 32)},
    **{
        f"int{bits}": f"({{0}} + {1 << bits - 1} & {(1 << bits) - 1}) - {1 << bits - 1}"
        for bits in (8, 16, 32)
    },
}


class _SizePrinter:
    """Prints steps that find and test sizes: a line for each operation, nothing computed twice."""

    def __init__(self, emitter: _Emitter) -> None:
        self.emitter = emitter
        self.lines: list[str] = []
        self.buffers: dict[Buffer, str] = {}
        #: The slots that were read and those that were found, by number.
        self.needs: set[int] = set()
        self.found: list[int] = []
        self.can_fail = False
        self._known: dict[Any, str] = {}
        self._recipe: list[str] = []
        self._values: dict[int, str] = {}

    def step(self, number: int, step: SizeStep) -> None:
        """Print one step."""
        table = self.emitter.table
        if isinstance(step, SlotStep):
            slot = step.slot
            value = self.find(slot.name, slot.definition)
            if slot.key is not None:
                self._leave_if(f"{value} > {slot.capacity}", TOO_LARGE, [str(table.slot(slot.name)), value])
        elif isinstance(step, GuardStep):
            value = self._text(step.expression)
            self._leave_if(f"{value} != {step.literal}", GUARD_FAILED, [str(number), value])
        else:
            condition = self._text(step.condition)
            shown = [self._text(each) for each in step.shown]
            self._leave_if(f"{condition} == 0", FAILED, [str(step.site), *shown])

    def recipe(self) -> Recipe | None:
        """The same without telling anybody, where it reads nothing that a kernel writes."""
        if self.needs or any(buffer.kind not in ("input", "lengths") for buffer in self.buffers):
            return None
        return Recipe(tuple(self._recipe), self._values)

    def find(self, name: str, size: Dimension) -> str:
        """Print what finds a slot; its value's text."""
        number = self.emitter._slots[name]
        value = self._text(size)
        self.lines.append(f"{SLOTS}[{number}] = {value}")
        self._values[number] = value
        self.found.append(number)
        self._known[SlotLeaf(name)] = value
        return value

    def _leave_if(self, condition: str, code: int, words: Sequence[str]) -> None:
        self.can_fail = True
        self._recipe += [f"if {condition}:", LEAVE]
        self.lines.append(f"if {condition}:")
        for place, word in enumerate(words):
            self.lines.append(f"    {STATE}[{STATUS + place}] = {word}")
        self.lines += [f"    {STATE}[{OWN}] = {code}", "    return"]

    def _text(self, size: Dimension) -> str:
        """A number, or the name that holds a size's value."""
        if isinstance(size, int):
            return str(size) if size >= 0 else f"({size})"
        assert isinstance(size, Size)
        leaf = size.arguments[0] if size.function == "leaf" else size
        known = self._known.get(leaf)
        if known is None:
            text = self._leaf(leaf) if size.function == "leaf" else self._call(size)
            known = self._known[leaf] = f"size{len(self._known)}"
            self.lines.append(f"{known} = {text}")
            self._recipe.append(f"{known} = {text}")
        return known

    def _call(self, size: Size) -> str:
        if size.function not in dims.FUNCTIONS:
            raise TypeError(f"{size.function} is not a function of sizes")
        return _FORMS[size.function].format(*(self._text(each) for each in size.arguments))

    def _leaf(self, leaf: Any) -> str:
        emitter = self.emitter
        if isinstance(leaf, SlotLeaf):
            number = emitter._slots[leaf.name]
            self.needs.add(number)
            return f"{SLOTS}[{number}]"
        if isinstance(leaf, Length):
            return f"{self._buffer(emitter.found.lengths)}[{emitter.table.lengths.index(leaf)}]"
        if isinstance(leaf, Argument):
            return f"np.int64({self._buffer(emitter._inputs[leaf.position])}[{leaf.element or 0}])"
        assert isinstance(leaf, Computed)
        view = emitter.program.computed[leaf]
        return f"np.int64({self._buffer(view.buffer)}[{self._text(view.offset)}])"

    def _buffer(self, buffer: Buffer) -> str:
        return self.buffers.setdefault(buffer, f"integers{len(self.buffers)}")
