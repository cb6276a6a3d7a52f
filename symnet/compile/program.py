"""The Program: what lowering hands to memory planning and to every backend.

A list of steps over buffers: sizes to find, guards and checks to test, kernels to run. All steps up to
the first write to a shared variable may fail; none after it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from symnet.compile import nest
from symnet.compile.contraction import Contraction
from symnet.compile.nest import Nest
from symnet.compile.specialise import Argument, AxisKey, Computed, Length, Slot, SlotLeaf
from symnet.errors import SymnetError
from symnet.graph import dims
from symnet.graph.dims import Dimension, Size
from symnet.graph.source import SourceLine
from symnet.graph.variable import Apply, Variable

#: Alignment of arena buffers in bytes: a cache line, and the widest vector.
ALIGNMENT = 64


@dataclass(eq=False)
class Buffer:
    """A piece of memory for entries of one dtype.

    `kind` is "input" (an argument or shared variable: `source` is its position among the graph's
    inputs), "constant" (`source` is the constant), "output" (allocated for each call: `source` is the
    position among the results), or "arena" (`offset` in bytes, once planned).
    """

    name: str
    dtype: str
    capacity: int
    kind: str
    source: Any = None
    offset: int | None = None


@dataclass(frozen=True)
class View:
    """Where a variable's entries lie: a buffer, an element offset, a stride in elements for each axis."""

    buffer: Buffer
    offset: Dimension
    strides: tuple[Dimension, ...]
    shape: tuple[Dimension, ...]


@dataclass(frozen=True)
class KernelCall:
    """Run a nest: its buffers in the order of its parameters, its sizes by slot name."""

    kernel: Nest
    buffers: tuple[Buffer, ...]
    nodes: tuple[Apply, ...]
    phase: int = 1
    #: For the names in the nest the node that each is of.
    origins: Mapping[str, Apply] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class ContractionCall:
    """Run a contraction `C = A * B`; `offsets` are element offsets into the buffers.

    The buffers are A, B, C and those that the epilogue reads or writes beside.
    `plain` is the same contraction as a nest: what a person reads, and what other backends run.
    """

    name: str
    contraction: Contraction
    buffers: tuple[Buffer, ...]
    offsets: tuple[Dimension, ...]
    plain: Nest
    nodes: tuple[Apply, ...]
    phase: int = 1


@dataclass(frozen=True)
class SlotStep:
    """Find a slot's value and refuse one above its capacity."""

    slot: Slot


@dataclass(frozen=True)
class GuardStep:
    """Leave with status 2 unless the expression has the literal's value: another specialisation serves."""

    expression: Dimension
    literal: int
    key: AxisKey


@dataclass(frozen=True)
class CheckStep:
    """Leave with status 1 and the site unless the condition is not 0; `shown` are the site's values."""

    condition: Dimension
    site: int
    shown: tuple[Dimension, ...]


@dataclass(frozen=True, eq=False)
class HostStep:
    """Call Python in the midst of a run: `action` with the views' entries as arrays, which it may not keep.

    What it raises ends the call. There are none after the first write to a shared variable.
    """

    action: Callable[[list[np.ndarray[Any, Any]]], None]
    views: tuple[View, ...]
    node: Apply


Step = KernelCall | ContractionCall | SlotStep | GuardStep | CheckStep | HostStep


@dataclass(frozen=True)
class Site:
    """A place that may fail at run time: the exception, its message with {0} … for values, the node."""

    kind: type[SymnetError]
    message: str
    node: Apply
    operands: tuple[str, ...] = ()


@dataclass
class Program:
    """A lowered function.

    Attributes
    ----------
    steps
        In the order in which they run.
    buffers
        All buffers.
    outputs
        For each result its buffer and shape.
    replaced
        For each shared variable whose value changes shape: its input position and the result that
        becomes its value.
    sites
        What a failing site means.
    slots
        Sizes found at run time, by name.
    computed
        Where the integers lie that kernels compute and sizes are made of.
    arena_bytes
        The size of the arena, once planned.
    views, shapes
        Where each variable that is stored lies, and the lengths of every variable's axes.
    """

    name: str
    steps: list[Step] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    outputs: list[tuple[Buffer, tuple[Dimension, ...]]] = field(default_factory=list)
    replaced: list[tuple[int, int]] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    slots: dict[str, Slot] = field(default_factory=dict)
    computed: dict[Computed, View] = field(default_factory=dict)
    arena_bytes: int = 0
    views: dict[Variable, View] = field(default_factory=dict, repr=False)
    shapes: dict[Variable, tuple[Dimension, ...]] = field(default_factory=dict, repr=False)

    @property
    def calls(self) -> list[KernelCall | ContractionCall]:
        """The steps that run a kernel."""
        return [step for step in self.steps if isinstance(step, KernelCall | ContractionCall)]

    @property
    def host_steps(self) -> list[HostStep]:
        """The steps that call Python; a step's place here is the number that it is called by."""
        return [step for step in self.steps if isinstance(step, HostStep)]

    @property
    def by_kernel(self) -> list[list[KernelCall | ContractionCall]]:
        """The calls of each kernel; one may run several times, on other buffers or at other offsets."""
        found: dict[str, list[KernelCall | ContractionCall]] = {}
        for call in self.calls:
            name = call.name if isinstance(call, ContractionCall) else call.kernel.name
            found.setdefault(name, []).append(call)
        return list(found.values())

    @property
    def kernels(self) -> list[KernelCall | ContractionCall]:
        """The first call of each kernel."""
        return [calls[0] for calls in self.by_kernel]


def source_comment(node: Apply) -> str:
    """A node and the user's line, for a kernel's header."""
    line: SourceLine | None = node.source
    if line is None:
        return str(node.op)
    written = line.library or line
    return f"{node.op}: {written.file}:{written.line}  {written.text}"


def result_name(variable: Variable) -> str:
    """A short name for a variable's buffer."""
    if variable.name and variable.name.isidentifier():
        return variable.name
    if variable.owner is not None:
        return "".join(c if c.isalnum() else "_" for c in variable.owner.op.name)
    return "value"


@dataclass(frozen=True)
class Table:
    """What the entry is given: an array of int64 words.

    First a pointer for each of `pointers`, then the arena's, that of the function that shares a task out
    among threads, that of the function that calls Python, then the length of each of `lengths`; the entry
    writes the value of each of `slots` behind them. An entry that is profiled has so many words more.
    """

    pointers: tuple[Buffer, ...]
    lengths: tuple[Length, ...]
    slots: tuple[str, ...]
    clocks: int = 0

    @property
    def arena(self) -> int:
        """The word with the arena's pointer."""
        return len(self.pointers)

    @property
    def pool(self) -> int:
        """The word with the address of the thread pool's `run`."""
        return self.arena + 1

    @property
    def host(self) -> int:
        """The word with the address of `int32 call(int64 number, int64* layout)` for host steps."""
        return self.arena + 2

    @property
    def words(self) -> int:
        """The number of words."""
        return self.clock + self.clocks

    @property
    def clock(self) -> int:
        """The first of the words in which a profiled entry adds up: its calls, its nanoseconds, and those of
        each kernel call in turn."""
        return self.host + 1 + len(self.lengths) + len(self.slots)

    def length(self, leaf: Length) -> int:
        """The word with an input's length."""
        return self.host + 1 + self.lengths.index(leaf)

    def slot(self, name: str) -> int:
        """The word for a slot's value."""
        return self.host + 1 + len(self.lengths) + self.slots.index(name)


def table_of(program: Program, profiled: bool = False) -> Table:
    """The table that a program's entry reads."""
    used: dict[Buffer, None] = {}
    sizes: list[Dimension] = []
    for step in program.steps:
        if isinstance(step, KernelCall | ContractionCall):
            used.update(dict.fromkeys(step.buffers))
        if isinstance(step, ContractionCall):
            sizes += step.offsets
        elif isinstance(step, SlotStep):
            sizes.append(step.slot.definition)
        elif isinstance(step, GuardStep):
            sizes.append(step.expression)
        elif isinstance(step, CheckStep):
            sizes += [step.condition, *step.shown]
        elif isinstance(step, HostStep):
            for view in step.views:
                used[view.buffer] = None
                sizes += [view.offset, *view.shape, *view.strides]
    lengths: dict[Length, None] = {}
    arguments = {buffer.source: buffer for buffer in program.buffers if buffer.kind == "input"}
    for size in sizes:
        for leaf in dims.leaves(size):
            if isinstance(leaf, Length):
                lengths[leaf] = None
            elif isinstance(leaf, Argument):
                used[arguments[leaf.position]] = None
    used.update(dict.fromkeys(buffer for buffer, _ in program.outputs))
    pointers = tuple(buffer for buffer in used if buffer.kind != "arena")
    found = tuple(step.slot.name for step in program.steps if isinstance(step, SlotStep))
    return Table(pointers, tuple(lengths), found, 2 + len(program.calls) if profiled else 0)


#: A result's axes: for each its length, or the input's axis that is as long.
ResultAxes = tuple[int | Length, ...]


def result_axes(program: Program, table: Table) -> list[ResultAxes | None]:
    """The axes of each result; None where a length follows from more than an input's axis."""
    found: list[ResultAxes | None] = []
    for _, shape in program.outputs:
        axes = [_length(program, length) for length in shape]
        is_known = all(isinstance(each, int) or each in table.lengths for each in axes)
        found.append(tuple(axes) if is_known else None)
    return found


def _length(program: Program, size: Dimension) -> Any:
    """A number, or the leaf that a size is; None where it is computed."""
    while isinstance(size, Size):
        leaf = size.arguments[0] if size.function == "leaf" else None
        if not isinstance(leaf, SlotLeaf):
            return leaf
        size = program.slots[leaf.name].definition
    return size


def result_shapes(
    axes: Sequence[ResultAxes | None], shapes: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The results' shapes for inputs of such shapes; all axes are known."""
    return [
        tuple(n if isinstance(n, int) else shapes[n.position][n.axis] for n in each or ()) for each in axes
    ]


def size_expression(size: Dimension, leaf: Callable[[Any], nest.Expression]) -> nest.Expression:
    """A size as an int64 expression, given one for each leaf."""
    if isinstance(size, int):
        return nest.Literal(nest.INDEX, size)
    assert isinstance(size, Size)
    if size.function == "leaf":
        return leaf(size.arguments[0])
    parts = [size_expression(each, leaf) for each in size.arguments]
    if size.function in nest.INTEGERS:
        return nest.cast(nest.cast(parts[0], size.function), nest.INDEX)
    if size.function == "select":
        condition = nest.call("ne", parts[0], nest.Literal(nest.INDEX, 0))
        return nest.Select(nest.INDEX, condition, parts[1], parts[2])
    return nest.cast(nest.call(size.function, *parts), nest.INDEX)


def describe_program(program: Program) -> str:
    """The program as text: all that decides its code, and no user line."""
    lines = [program.name, str(program.arena_bytes)]

    def text(size: Dimension) -> str:
        if isinstance(size, int):
            return str(size)
        assert isinstance(size, Size)
        if size.function == "leaf":
            found = size.arguments[0]
            if not isinstance(found, Computed):
                return str(found)
            view = program.computed[found]
            return f"{view.buffer.name}[{text(view.offset)}]"
        return f"{size.function}({', '.join(text(each) for each in size.arguments)})"

    for buffer in program.buffers:
        source = buffer.source if isinstance(buffer.source, int) else ""
        lines.append(f"{buffer.name} {buffer.dtype} {buffer.capacity} {buffer.kind} {source} {buffer.offset}")
    for step in program.steps:
        if isinstance(step, KernelCall):
            lines.append(f"{replace(step.kernel, comments=())} on {[b.name for b in step.buffers]}")
        elif isinstance(step, ContractionCall):
            places = [f"{b.name}+{text(o)}" for b, o in zip(step.buffers, step.offsets, strict=True)]
            lines.append(f"{step.name} {step.contraction} on {places}")
        elif isinstance(step, SlotStep):
            lines.append(f"slot {step.slot.name} = {text(step.slot.definition)} <= {step.slot.capacity}")
        elif isinstance(step, GuardStep):
            lines.append(f"guard {text(step.expression)} == {step.literal}")
        elif isinstance(step, HostStep):
            for view in step.views:
                layout = [text(size) for size in (view.offset, *view.shape, *view.strides)]
                lines.append(f"call back with {view.buffer.name} {layout}")
        else:
            lines.append(f"check {step.site} {text(step.condition)} {[text(s) for s in step.shown]}")
    return "\n".join(lines)
