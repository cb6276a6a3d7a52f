"""Reductions: takes a reduction and what it reduces, hands on one nest with the operand computed inside.

Where memory runs along a reduced axis a scalar accumulates; where it runs along a kept axis whole rows
are added up, so that both read memory in order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_elementwise import StridedTree, join_axes, kernel_nodes
from symnet.compile.nest import BOOL, FLOATS, INDEX, Expression, Literal
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Variable
from symnet.ops.reduction import ArgExtreme, Reduce, accumulator_dtype

#: Rows are added up in the result's own dtype up to this many; beyond, rounding would show.
MOST_ROWS = 4096


def first_value(function: str, dtype: str) -> Literal:
    """The value with which a reduction starts."""
    if function == "add":
        return Literal(dtype, 0.0 if dtype in FLOATS else 0)
    if function == "mul":
        return Literal(dtype, 1.0 if dtype in FLOATS else 1)
    if function in ("and", "or"):
        return Literal(BOOL, function == "and")
    largest = function == "minimum"
    if dtype == BOOL:
        return Literal(BOOL, largest)
    if dtype in FLOATS:
        return Literal(dtype, float("inf") if largest else float("-inf"))
    limits = np.iinfo(dtype)
    return Literal(dtype, int(limits.max if largest else limits.min))


def _combiner(function: str, dtype: str) -> str:
    if function == "and":
        return "bitwise_and"
    if function == "or":
        return "bitwise_or"
    if dtype == BOOL:
        return "bitwise_or" if function == "maximum" else "bitwise_and"
    return function


class _Operand:
    """What is reduced, read at the indices of joined axes where that is possible."""

    def __init__(self, lowering: Lowering, node: Apply, axes: Sequence[int], kept: View) -> None:
        self.lowering = lowering
        self.variable: Variable = node.inputs[0]
        shape = lowering.shape(self.variable)
        rank = len(shape)
        self.tree = StridedTree(lowering, self.variable)
        kept_axes = [axis for axis in range(rank) if axis not in axes]
        kept_strides: list[Dimension] = [0] * rank
        for position, axis in enumerate(kept_axes):
            kept_strides[axis] = kept.strides[position]
        self.kept_strides = kept_strides
        if self.tree.leaves is not None:
            strides = [leaf.strides for leaf in self.tree.leaves]
            classes = [int(axis in axes) for axis in range(rank)]
            self.groups = join_axes(shape, [kept_strides, *strides] if kept_axes else strides, classes)
        else:
            self.groups = [[axis] for axis in range(rank) if shape[axis] != 1]
        self.extents = [dims.multiply(*(shape[axis] for axis in group)) for group in self.groups]
        self.reduced = [group[0] in axes for group in self.groups]

    def value(self, indices: Sequence[Expression], builder: NestBuilder) -> Expression:
        """The operand at one index for each group."""
        if self.tree.leaves is not None:
            axis_map = tuple(range(self.tree.rank))
            return self.tree.value(self.variable, axis_map, self.groups, indices, builder)
        by_axis = {group[0]: index for group, index in zip(self.groups, indices, strict=True)}
        full = [by_axis.get(axis, Literal(INDEX, 0)) for axis in range(self.variable.ndim)]
        return self.lowering.value(self.variable, full, builder)

    def place(self, kept: View, indices: Sequence[Expression]) -> tuple[View, list[Expression]]:
        """The result's entry for the kept indices."""
        strides = []
        chosen = []
        for group, reduced, index in zip(self.groups, self.reduced, indices, strict=True):
            if not reduced:
                strides.append(self.kept_strides[group[-1]])
                chosen.append(index)
        return View(kept.buffer, kept.offset, tuple(strides), ()), chosen

    def runs_along_kept(self) -> bool:
        """Whether the innermost axis in memory is kept."""
        if not self.groups or all(self.reduced) or not any(self.reduced):
            return False
        inner = len(self.groups) - 1
        if self.tree.leaves:
            # The axis with which most operands step by one entry.
            steps = [
                sum(leaf.strides[group[-1]] == 1 for leaf in self.tree.leaves) for group in self.groups
            ]
            if max(steps):
                inner = max(range(len(steps)), key=lambda position: (steps[position], position))
        return not self.reduced[inner]


@kernel_rule(Reduce, buffers=lambda node: ())
def _reduce(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Reduce)
    destination = lowering.allocate(node.outputs[0])
    operand = _Operand(lowering, node, op.axes, destination)
    builder = lowering.builder()
    nodes = [node, *kernel_nodes(lowering, node.inputs[0])]
    rows = lowering.capacity([n for n, r in zip(operand.extents, operand.reduced, strict=True) if r])
    if operand.runs_along_kept() and rows <= MOST_ROWS:
        _add_rows(operand, op, destination, builder)
    else:
        _accumulate(operand, op, destination, builder)
    lowering.add_kernel(builder, nodes, op.name)


def _accumulate(operand: _Operand, op: Reduce, destination: View, builder: NestBuilder) -> None:
    """For each kept index a scalar accumulates over the reduced ones."""
    dtype = accumulator_dtype(op.function, op.dtype)
    combine = _combiner(op.function, op.dtype)
    order = sorted(range(len(operand.reduced)), key=lambda axis: operand.reduced[axis])
    kept = sum(not r for r in operand.reduced)
    indices: list[Expression] = [Literal(INDEX, 0)] * len(order)

    total = nest.Name(dtype, "")

    def inner(position: int) -> None:
        if position == len(order):
            value = nest.cast(operand.value(indices, builder), op.dtype)
            builder.accumulate(total, combine, nest.cast(value, dtype))
            return
        with builder.loop(operand.extents[order[position]], "k") as index:
            indices[order[position]] = index
            inner(position + 1)

    def outer(position: int) -> None:
        nonlocal total
        if position == kept:
            total = builder.declare(first_value(op.function, dtype))
            inner(position)
            view, chosen = operand.place(destination, indices)
            builder.store(view, chosen, nest.cast(total, op.dtype))
            return
        with builder.loop(operand.extents[order[position]], "i", parallel=position == 0) as index:
            indices[order[position]] = index
            outer(position + 1)

    outer(0)


def _add_rows(operand: _Operand, op: Reduce, destination: View, builder: NestBuilder) -> None:
    """The result is filled with the first value, and each row is combined with it."""
    combine = _combiner(op.function, op.dtype)
    kept_groups = [i for i, r in enumerate(operand.reduced) if not r]
    count = [operand.extents[i] for i in kept_groups]
    with builder.loops(count) as fill_indices:
        every: list[Expression] = [Literal(INDEX, 0)] * len(operand.groups)
        for group, index in zip(kept_groups, fill_indices, strict=True):
            every[group] = index
        view, chosen = operand.place(destination, every)
        builder.store(view, chosen, first_value(op.function, op.dtype))
    order = [*kept_groups[:-1], *(i for i, r in enumerate(operand.reduced) if r), kept_groups[-1]]
    indices: list[Expression] = [Literal(INDEX, 0)] * len(order)

    def step(position: int) -> None:
        if position == len(order):
            value = nest.cast(operand.value(indices, builder), op.dtype)
            view, chosen = operand.place(destination, indices)
            so_far = builder.load(view, chosen)
            builder.store(view, chosen, nest.call(combine, so_far, value))
            return
        last = position == len(order) - 1
        with builder.loop(operand.extents[order[position]], "i", vector=last) as index:
            indices[order[position]] = index
            step(position + 1)

    step(0)


@kernel_rule(ArgExtreme)
def _arg_extreme(lowering: Lowering, node: Apply) -> None:
    """The first place of the extreme, or of the first NaN."""
    op = node.op
    assert isinstance(op, ArgExtreme)
    variable = node.inputs[0]
    destination = lowering.allocate(node.outputs[0])
    shape = lowering.shape(variable)
    kept = [axis for axis in range(len(shape)) if axis != op.axis]
    builder = lowering.builder()
    dtype = variable.dtype
    with builder.loops([shape[axis] for axis in kept], vector=False) as outer:
        indices: list[Expression] = [Literal(INDEX, 0)] * len(shape)
        for axis, index in zip(kept, outer, strict=True):
            indices[axis] = index
        # Two passes, both of which run along vector lanes where one with a branch would not.
        best = builder.declare(first_value(op.function, dtype), "best")
        with builder.loop(shape[op.axis], "k") as index:
            indices[op.axis] = index
            value = lowering.value(variable, indices, builder)
            builder.accumulate(best, _combiner(op.function, dtype), value)
        place = builder.declare(builder.size(shape[op.axis]), "place")
        with builder.loop(shape[op.axis], "k") as index:
            indices[op.axis] = index
            value = lowering.value(variable, indices, builder)
            attains = nest.call("eq", value, best)
            if dtype in FLOATS:
                attains = nest.call("bitwise_or", attains, nest.call("isnan", value))
            here = nest.Select(INDEX, attains, index, builder.size(shape[op.axis]))
            builder.accumulate(place, "minimum", here)
        builder.store(destination, outer, place)
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, variable)], op.name)
