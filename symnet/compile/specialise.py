"""Specialisation: takes a rewritten graph and one call's shapes, hands on exact sizes for every variable.

Each axis becomes a literal, guarded where it follows from values that may differ at the next call; or a
slot, a size found when the function runs, with a capacity that memory is planned for (section by section:
`symnet.compile.program` says what the program does with guards, slots and checks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from symnet.errors import CompileError, SymnetError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape, Size, Unknown
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import (
    HostValue,
    Mismatch,
    ShapeContext,
    constant_host_value,
    mismatch_error,
)
from symnet.graph.types import DISCRETE_DTYPES
from symnet.graph.variable import Apply, Constant, Variable


class Sized(Protocol):
    """An input: an array, or what can become one (`symnet.compile.container.Container`)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of its axes."""

    def __array__(self) -> np.ndarray[Any, Any]:
        """Its entries."""


#: Names an axis across specialisations: ("input", k, axis), or ("axis", node, output, axis).
AxisKey = tuple[Any, ...]

#: The capacity first tried for a size that nothing bounds.
FIRST_CAPACITY = 64
#: An integer whose expression has more terms is computed by a kernel instead of by the entry.
MOST_TERMS = 128


@dataclass(frozen=True)
class Argument:
    """A leaf: the value of a 0-d integer input, or entry `element` of an integer vector input."""

    position: int
    element: int | None = None

    def __str__(self) -> str:
        return f"input{self.position}" + ("" if self.element is None else f"[{self.element}]")


@dataclass(frozen=True)
class Length:
    """A leaf: the length of an input's axis."""

    position: int
    axis: int

    def __str__(self) -> str:
        return f"input{self.position}.shape[{self.axis}]"


@dataclass(frozen=True)
class Computed:
    """A leaf: the value of a 0-d integer that a kernel computes, or the count that it finds."""

    variable: Variable
    count: bool = False

    def __str__(self) -> str:
        return f"{'count of ' if self.count else ''}{self.variable}"


@dataclass(frozen=True)
class SlotLeaf:
    """A leaf: a slot's value."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass
class Slot:
    """A size known when the function runs.

    `definition` is what it is; `capacity` is the largest value that memory is planned for; `leaves` are
    those that it is made of in the end.
    """

    name: str
    definition: Dimension
    capacity: int
    key: AxisKey | None
    leaves: frozenset[Any]

    @property
    def size(self) -> Size:
        """The slot as a size."""
        return Size("leaf", SlotLeaf(self.name))


@dataclass(frozen=True)
class Guard:
    """The literal that an axis was specialised to, and the expression that must still give it."""

    expression: Dimension
    literal: int
    key: AxisKey


@dataclass(frozen=True)
class Check:
    """A condition on sizes that must hold, and what to say when it does not."""

    condition: Dimension
    node: Apply
    asked: str
    shown: tuple[Dimension, ...] = ()


@dataclass
class Sizes:
    """What specialisation found.

    Attributes
    ----------
    shapes
        For each variable its axis lengths: ints and slots.
    values
        For each integer variable of at most one axis what is known of its content.
    slots, guards, checks
        In the order in which they were met.
    """

    shapes: dict[Variable, Shape] = field(default_factory=dict)
    values: dict[Variable, HostValue] = field(default_factory=dict)
    slots: dict[str, Slot] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def capacity(self, dimension: Dimension) -> int:
        """The largest value a size may have."""

        def leaf(found: Any) -> int:
            return self.slots[found.name].capacity

        return dims.evaluate(dimension, leaf)


def leaves_of(dimension: Dimension, slots: dict[str, Slot]) -> set[Any]:
    """The leaves of a size, slots traced to their definitions."""
    found: set[Any] = set()
    for leaf in dims.leaves(dimension):
        if isinstance(leaf, SlotLeaf):
            found |= slots[leaf.name].leaves
        else:
            found.add(leaf)
    return found


class _Context(ShapeContext):
    """What shape rules ask at specialisation: equalities become checks where they can't be decided."""

    def __init__(self, specialiser: Specialiser) -> None:
        self.specialiser = specialiser
        self.node: Apply | None = None

    def equal(self, left: Dimension, right: Dimension, asked: str) -> Dimension:
        """The common length; a check where one is only known at run time."""
        if left is UNKNOWN:
            return right
        if right is UNKNOWN or left == right:
            return left
        if isinstance(left, int) and isinstance(right, int):
            raise Mismatch(f"{asked}: {left} and {right}")
        assert self.node is not None
        condition = dims.apply("eq", left, right)
        self.specialiser.found.checks.append(
            Check(condition, self.node, asked + ": {0} and {1}", (left, right))
        )
        return left if isinstance(left, int) else right

    def require(self, condition: Dimension, asked: str, shown: tuple[Dimension, ...] = ()) -> None:
        """Refused at once when known to fail, else a check."""
        if isinstance(condition, Size):
            assert self.node is not None
            self.specialiser.found.checks.append(Check(condition, self.node, asked, shown))
        else:
            super().require(condition, asked, shown)

    def data_dependent(self, node_key: object, bound: Dimension) -> Dimension:
        """A slot that the node's kernel fills."""
        assert self.node is not None
        return self.specialiser.count_slot(self.node, bound)


class Specialiser:
    """Finds sizes for one set of input shapes.

    Parameters
    ----------
    graph
        The rewritten graph.
    arrays
        The inputs at this call: the arguments' arrays, then shared variables' (or what has their shapes and
        can become arrays, when a size depends on one's entries).
    dynamic
        The axes that came with more than one length; they become slots.
    capacities
        Capacities that earlier calls found too small or large enough, by axis.
    slots
        Slots to begin with, for whoever asks for the values of sizes made of them.
    """

    def __init__(
        self,
        graph: FunctionGraph,
        arrays: Sequence[Sized],
        dynamic: set[AxisKey],
        capacities: dict[AxisKey, int],
        slots: dict[str, Slot] | None = None,
    ) -> None:
        self.graph = graph
        self.arrays = arrays
        self.dynamic = dynamic
        self.capacities = capacities
        self.found = Sizes(slots=slots or {})
        self._context = _Context(self)
        self._positions: dict[Apply, int] = {}
        self._slot_of: dict[Dimension, Slot] = {}
        self._slot_values: dict[str, int | None] = {}

    def run(self) -> Sizes:
        """The sizes of every variable of the graph.

        Raises
        ------
        ShapeError, IndexingError
            When lengths do not fit, with the user's line.
        """
        for position, (variable, array) in enumerate(zip(self.graph.inputs, self.arrays, strict=True)):
            self._input(position, variable, array)
        for index, node in enumerate(self.graph.toposort()):
            self._positions[node] = index
            self._node(node)
        for output in self.graph.outputs:
            self.shape(output)
        return self.found

    def shape(self, variable: Variable) -> Shape:
        """The lengths of a variable's axes."""
        known = self.found.shapes.get(variable)
        if known is None:
            assert isinstance(variable, Constant)
            known = self.found.shapes[variable] = variable.data.shape
        return known

    def value(self, variable: Variable) -> HostValue:
        """What is known of a variable's content."""
        if isinstance(variable, Constant):
            return constant_host_value(variable)
        return self.found.values.get(variable)

    def concrete(self, dimension: Dimension) -> int | None:
        """The value of a size at this call; None when a kernel computes it."""

        class _Unavailable(Exception):
            pass

        def leaf(found: Any) -> int:
            if isinstance(found, Argument):
                array = np.asarray(self.arrays[found.position])
                return int(array if found.element is None else array[found.element])
            if isinstance(found, Length):
                return int(self.arrays[found.position].shape[found.axis])
            if isinstance(found, SlotLeaf):
                value = self._slot_value(found.name)
                if value is None:
                    raise _Unavailable
                return value
            raise _Unavailable

        try:
            return dims.evaluate(dimension, leaf)
        except _Unavailable:
            return None

    def _slot_value(self, name: str) -> int | None:
        """A slot's value; of slots that were handed in the earlier first, so that nothing goes deep."""
        values = self._slot_values
        if name not in values:
            for each, slot in self.found.slots.items():
                if each not in values:
                    values[each] = self.concrete(slot.definition)
                if each == name:
                    break
        return values[name]

    def new_slot(self, definition: Dimension, capacity: int, key: AxisKey | None) -> Slot:
        """A new slot."""
        leaves = frozenset(leaves_of(definition, self.found.slots))
        slot = Slot(f"n{len(self.found.slots)}", definition, capacity, key, leaves)
        self.found.slots[slot.name] = slot
        self._slot_of.setdefault(definition, slot)
        self._slot_values[slot.name] = self.concrete(definition)
        return slot

    def count_slot(self, node: Apply, bound: Dimension) -> Dimension:
        """The slot for a count that a node's kernel finds; its capacity is the bound where there is one."""
        key = ("count", self._positions[node])
        capacity = self.capacities.get(key, FIRST_CAPACITY)
        if not isinstance(bound, Unknown):
            capacity = max(1, self.found.capacity(bound))
        return self.new_slot(Size("leaf", Computed(node.outputs[0], True)), capacity, key).size

    def _input(self, position: int, variable: Variable, array: Sized) -> None:
        shape: list[Dimension] = []
        for axis, length in enumerate(array.shape):
            key = ("input", position, axis)
            if key in self.dynamic:
                capacity = max(self.capacities.get(key, 1), _round_up(length))
                slot = self.new_slot(Size("leaf", Length(position, axis)), capacity, key)
                shape.append(slot.size)
            else:
                shape.append(length)
        self.found.shapes[variable] = tuple(shape)
        if variable.dtype in DISCRETE_DTYPES:
            if not shape:
                self.found.values[variable] = Size("leaf", Argument(position))
            elif len(shape) == 1 and isinstance(shape[0], int) and shape[0] <= 16:
                self.found.values[variable] = tuple(
                    Size("leaf", Argument(position, element)) for element in range(shape[0])
                )

    def _node(self, node: Apply) -> None:
        op = node.op
        shapes = [self.shape(each) for each in node.inputs]
        values = [self.value(each) for each in node.inputs]
        self._context.node = node
        try:
            output_shapes = op.shapes(node.inputs, shapes, values, self._context)
        except Mismatch as mismatch:
            raise self._mismatch(node, str(mismatch)) from None
        for index, (output, shape) in enumerate(zip(node.outputs, output_shapes, strict=True)):
            self.found.shapes[output] = tuple(
                self._axis(node, index, axis, length) for axis, length in enumerate(shape)
            )
        if len(node.outputs) != 1:
            return
        output = node.outputs[0]
        if output.dtype in DISCRETE_DTYPES and output.ndim <= 1:
            value = op.host_values(node, shapes, values)
            if output.ndim == 0 and (value is None or value is UNKNOWN or _is_long(value)):
                value = Size("leaf", Computed(output))
            if isinstance(value, tuple) and any(each is UNKNOWN or _is_long(each) for each in value):
                value = None
            self.found.values[output] = value

    def _axis(self, node: Apply, output: int, axis: int, length: Dimension) -> Dimension:
        if isinstance(length, int):
            if length < 0:
                raise self._mismatch(node, f"axis {axis} of the result would have length {length}")
            return length
        if isinstance(length, Unknown):
            raise CompileError(
                f"{node.op}: the result's length of axis {axis} does not follow from shapes and integers",
                node.inputs,
                node.source,
                hint='mode="reference" runs it',
            )
        if length.function == "leaf" and isinstance(length.arguments[0], SlotLeaf):
            return length
        key = ("axis", self._positions[node], output, axis)
        now = self.concrete(length)
        if now is not None and now < 0:
            raise self._mismatch(node, f"axis {axis} of the result would have length {now}")
        if now is not None and key not in self.dynamic and not self._follows_a_slot(length):
            self.found.guards.append(Guard(length, now, key))
            return now
        known = self._slot_of.get(length)
        if known is not None:
            return known.size
        if now is not None:
            capacity = _round_up(now)
        else:
            capacity = max(1, self._bound(length))
        return self.new_slot(length, max(capacity, self.capacities.get(key, 1)), key).size

    def _follows_a_slot(self, length: Dimension) -> bool:
        """Whether a length is made of lengths alone, one of which changes: then it changes, too."""
        changes = any(isinstance(leaf, SlotLeaf) for leaf in dims.leaves(length))
        return changes and all(isinstance(leaf, Length) for leaf in leaves_of(length, self.found.slots))

    def _bound(self, length: Dimension) -> int:
        """An estimate of a size that a kernel computes, checked at run time: its leaves at capacity."""

        def leaf(found: Any) -> int:
            if isinstance(found, SlotLeaf):
                return self.found.slots[found.name].capacity
            if isinstance(found, Computed):
                return FIRST_CAPACITY
            return int(self.concrete(Size("leaf", found)) or 0)

        return dims.evaluate(length, leaf)

    def _mismatch(self, node: Apply, text: str) -> SymnetError:
        return mismatch_error(node.op, text, describe_operands(node, self.found), node.source)


def describe_operands(node: Apply, sizes: Sizes) -> list[str]:
    """A node's operands for an error, with the shapes of this call."""
    from symnet.errors import describe

    lines = []
    for position, variable in enumerate(node.inputs):
        shape = sizes.shapes.get(variable)
        here = ""
        if shape is not None and all(isinstance(n, int) for n in shape) and shape != variable.type.shape:
            here = f", here of shape {tuple(shape)}"
        lines.append(f"operand {position}: {describe(variable)}{here}")
    return lines


def _is_long(value: Any) -> bool:
    return isinstance(value, Size) and value.weight > MOST_TERMS


def _round_up(length: int) -> int:
    """The next power of two, so that growing lengths cost few compilations."""
    return 1 << max(0, (length - 1).bit_length())
