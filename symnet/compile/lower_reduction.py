"""Reductions: takes a reduction and what it reduces, hands on one nest with the operand computed inside.

Where memory runs along a reduced axis a scalar accumulates; where it runs along a kept axis whole rows
are added up, so that both read memory in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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
from symnet.ops.reduction import Reduce, accumulator_dtype

#: Independent iterations that are enough for threads to share.
ENOUGH = 8
#: A reduction with fewer than that is cut into parts if it has so many entries, each of a quarter at least.
LEAST_ENTRIES = 65536
MOST_PARTS = 64
#: Entries of a strip of rows: the sums of one stay in the first-level cache.
STRIP = 2048
LEAST_STRIP = 512
#: How many rows are combined before they are added to the result.
ROWS = 4
#: Rows are added up in the result's own dtype up to this many; beyond, rounding would show.
MOST_ROWS = 4096
#: Many threads come in blocks: so many blocks keep a device busy, each with so many entries at least, and
#: next to each other in a block are so many results where memory runs along them.
DEVICE_BLOCKS = 1024
BLOCK_ENTRIES = 4096
BLOCK_RESULTS = 32


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


def combiner(function: str, dtype: str) -> str:
    """The function that combines two values in a reduction."""
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
            steps = [sum(leaf.strides[group[-1]] == 1 for leaf in self.tree.leaves) for group in self.groups]
            if max(steps):
                inner = max(range(len(steps)), key=lambda position: (steps[position], position))
        return not self.reduced[inner]


@kernel_rule(Reduce, buffers=lambda node: ())
def _reduce(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Reduce)
    destination = lowering.allocate(node.outputs[0])
    operand = _Operand(lowering, node, op.axes, destination)
    nodes = [node, *kernel_nodes(lowering, node.inputs[0])]
    rows = lowering.capacity([n for n, r in zip(operand.extents, operand.reduced, strict=True) if r])
    results = lowering.capacity([n for n, r in zip(operand.extents, operand.reduced, strict=True) if not r])
    if lowering.target.many_threads:
        by_rows = False
        part = _part_for_blocks(operand, rows, results)
    else:
        by_rows = operand.runs_along_kept() and rows <= MOST_ROWS
        part = _part(operand, rows, results, by_rows)
    if part is None:
        builder = lowering.builder()
        _nest(operand, op, op.dtype, destination, builder, by_rows, None)
        lowering.add_kernel(builder, nodes, op.name)
        return
    dtype = op.dtype if by_rows else accumulator_dtype(op.function, op.dtype)
    shape = lowering.shape(node.outputs[0])
    partial = lowering.scratch("partial", dtype, [part.count, *shape])
    builder = lowering.builder()
    with builder.loop(part.count, "part", parallel=True) as number:
        here = View(partial.buffer, partial.offset, partial.strides[1:], shape)
        _nest(operand, op, dtype, here, builder, by_rows, part.at(number, partial.strides[0], builder))
    lowering.add_kernel(builder, nodes, f"{op.name}_of_parts")
    builder = lowering.builder()
    _combine_parts(op, part.count, partial, destination, shape, builder)
    lowering.add_kernel(builder, [node], op.name)


# --- parts of a reduction ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Here:
    """One part: its number, the entries of the group it is cut along, and the step between results."""

    group: int
    start: Expression
    extent: Dimension | Expression
    number: Expression
    step: Dimension


@dataclass(frozen=True)
class _Part:
    """A reduction in `count` parts, cut along a group into stretches of `length` of its entries."""

    group: int
    total: Dimension
    length: Dimension
    count: int

    def at(self, number: Expression, step: Dimension, builder: NestBuilder) -> _Here:
        length = builder.size(self.length)
        start = nest.multiply(number, length)
        extent: Dimension | Expression = self.length
        if not isinstance(self.total, int) or not isinstance(self.length, int):
            # The last parts may be empty.
            left = nest.call("minimum", nest.subtract(builder.size(self.total), start), length)
            extent = nest.call("maximum", left, Literal(INDEX, 0))
        elif self.total % self.length:
            extent = nest.call("minimum", nest.subtract(Literal(INDEX, self.total), start), length)
        return _Here(self.group, start, extent, number, step)


def _part(operand: _Operand, rows: int, results: int, by_rows: bool) -> _Part | None:
    """How a long reduction with few independent loops is cut into parts, which threads can share.

    The parts follow from the shape alone, and so does the order in which they are combined.
    """
    independent = results // min(results, STRIP) if by_rows and results else results
    if independent >= ENOUGH or rows * results < LEAST_ENTRIES:
        return None
    lengths = [
        (length, -i)
        for i, (length, reduced) in enumerate(zip(operand.extents, operand.reduced, strict=True))
        if reduced and isinstance(length, int)
    ]
    if not lengths:
        return None
    total, group = max(lengths)
    most = min(MOST_PARTS, rows * results // (LEAST_ENTRIES // 4), total // 4)
    if by_rows:
        most = min(most, ENOUGH)
    if most < 2:
        return None
    length = -(-total // most)
    if length >= 256:
        length = -(-length // 64) * 64
    return _Part(-group, total, length, -(-total // length))


def _part_for_blocks(operand: _Operand, rows: int, results: int) -> _Part | None:
    """How a reduction is cut so that there are blocks of threads enough for a device."""
    blocks = -(-results // BLOCK_RESULTS) if operand.runs_along_kept() else results
    reduced = [i for i, each in enumerate(operand.reduced) if each]
    if not reduced or not blocks:
        return None
    lengths = {i: operand.lowering.capacity([operand.extents[i]]) for i in reduced}
    group = max(reduced, key=lengths.__getitem__)
    count = min(-(-DEVICE_BLOCKS // blocks), rows * results // (blocks * BLOCK_ENTRIES), lengths[group])
    if count < 2:
        return None
    total = operand.extents[group]
    length = dims.ceil_divide(total, count)
    if isinstance(total, int) and isinstance(length, int):
        # Parts that begin at whole cache lines are read by the widest accesses.
        length = -(-length // 64) * 64 if length >= 256 else length
        count = -(-total // length)
    return _Part(group, total, length, count)


def _combine_parts(
    op: Reduce, count: int, partial: View, destination: View, shape: Sequence[Dimension], builder: NestBuilder
) -> None:
    combine = combiner(op.function, op.dtype)
    dtype = partial.buffer.dtype
    many = builder.lowering.target.many_threads
    with builder.loops(shape, vector=not many) as kept:
        if many:
            total = builder.declare(first_value(op.function, dtype))
            with builder.loop(count, "part") as number:
                builder.accumulate(total, combine, builder.load(partial, [number, *kept]))
            builder.store(destination, kept, nest.cast(total, op.dtype))
            return
        value = builder.load(partial, [Literal(INDEX, 0), *kept])
        # In order: what is added first does not depend on lanes.
        for each in range(1, count if count <= ENOUGH else 1):
            value = nest.call(combine, value, builder.load(partial, [Literal(INDEX, each), *kept]))
        if count > ENOUGH:
            total = builder.declare(first_value(op.function, dtype))
            with builder.loop(count, "part") as number:
                builder.accumulate(total, combine, builder.load(partial, [number, *kept]))
            value = total
        builder.store(destination, kept, nest.cast(value, op.dtype))


# --- nests ------------------------------------------------------------------------------------------


def _nest(
    operand: _Operand,
    op: Reduce,
    dtype: str,
    destination: View,
    builder: NestBuilder,
    by_rows: bool,
    part: _Here | None,
) -> None:
    """The loops of a reduction, or of one part of it, with results of a dtype."""
    if by_rows:
        _add_rows(operand, op, destination, builder, part)
    else:
        _accumulate(operand, op, dtype, destination, builder, part)


def _place(
    operand: _Operand, destination: View, indices: Sequence[Expression], part: _Here | None
) -> tuple[View, list[Expression]]:
    view, chosen = operand.place(destination, indices)
    if part is None:
        return view, chosen
    return View(view.buffer, view.offset, (part.step, *view.strides), ()), [part.number, *chosen]


@contextlib.contextmanager
def _reduced_loop(
    operand: _Operand, group: int, builder: NestBuilder, part: _Here | None
) -> Iterator[Expression]:
    """A loop over a reduced group, or over a part's stretch of it."""
    if part is None or part.group != group:
        with builder.loop(operand.extents[group], "k") as index:
            yield index
    else:
        with builder.loop(part.extent, "k") as index:
            yield nest.add(part.start, index)


def _accumulate(
    operand: _Operand, op: Reduce, result: str, destination: View, builder: NestBuilder, part: _Here | None
) -> None:
    """For each kept index a scalar accumulates over the reduced ones."""
    dtype = accumulator_dtype(op.function, op.dtype)
    combine = combiner(op.function, op.dtype)
    order = sorted(range(len(operand.reduced)), key=lambda axis: operand.reduced[axis])
    kept = sum(not r for r in operand.reduced)
    indices: list[Expression] = [Literal(INDEX, 0)] * len(order)

    total = nest.Name(dtype, "")

    def inner(position: int) -> None:
        if position == len(order):
            value = nest.cast(operand.value(indices, builder), op.dtype)
            builder.accumulate(total, combine, nest.cast(value, dtype))
            return
        with _reduced_loop(operand, order[position], builder, part) as index:
            indices[order[position]] = index
            inner(position + 1)

    def outer(position: int) -> None:
        nonlocal total
        if position == kept:
            total = builder.declare(first_value(op.function, dtype))
            inner(position)
            view, chosen = _place(operand, destination, indices, part)
            builder.store(view, chosen, nest.cast(total, result))
            return
        parallel = operand.lowering.target.many_threads or position == 0 and part is None
        with builder.loop(operand.extents[order[position]], "i", parallel=parallel) as index:
            indices[order[position]] = index
            outer(position + 1)

    outer(0)


def _add_rows(
    operand: _Operand, op: Reduce, destination: View, builder: NestBuilder, part: _Here | None
) -> None:
    """For each strip of the innermost kept axis: filled with the first value, and each row combined with it.

    Rows go by fours, of which the sum is added to the result: that reads and writes the result a quarter
    as often, and rounds less.
    """
    combine = combiner(op.function, op.dtype)
    *outer, last = [i for i, r in enumerate(operand.reduced) if not r]
    reduced = [i for i, r in enumerate(operand.reduced) if r]
    indices: list[Expression] = [Literal(INDEX, 0)] * len(operand.groups)

    def over_kept(position: int) -> None:
        if position == len(outer):
            alone = part is None and not outer
            strips(builder, operand.extents[last], alone, over_strip)
            return
        parallel = position == 0 and part is None
        with builder.loop(operand.extents[outer[position]], "i", parallel=parallel) as index:
            indices[outer[position]] = index
            over_kept(position + 1)

    def over_strip(start: Expression, extent: Dimension | Expression) -> None:
        with builder.loop(extent, "j", vector=True) as index:
            indices[last] = nest.add(start, index)
            view, chosen = _place(operand, destination, indices, part)
            builder.store(view, chosen, first_value(op.function, op.dtype))
        over_rows(0, start, extent)

    def over_rows(position: int, start: Expression, extent: Dimension | Expression) -> None:
        group = reduced[position]
        if position + 1 < len(reduced):
            with _reduced_loop(operand, group, builder, part) as index:
                indices[group] = index
                over_rows(position + 1, start, extent)
            return
        first: Expression = Literal(INDEX, 0)
        count: Expression = builder.size(operand.extents[group])
        if part is not None and part.group == group:
            first = part.start
            count = part.extent if isinstance(part.extent, Expression) else builder.size(part.extent)
        fours, rest = _quotient(count, ROWS), _rest(count, ROWS)
        for rows, number, before in ((ROWS, fours, None), (1, rest, fours)):
            with builder.loop(number, "row") as row:
                if before is not None:
                    row = nest.add(nest.multiply(before, ROWS), row)
                with builder.loop(extent, "j", vector=True) as index:
                    indices[last] = nest.add(start, index)
                    values = []
                    for each in range(rows):
                        indices[group] = nest.add(first, nest.add(nest.multiply(row, rows), each))
                        values.append(nest.cast(operand.value(indices, builder), op.dtype))
                    while len(values) > 1:
                        values = [nest.call(combine, *values[i : i + 2]) for i in range(0, len(values), 2)]
                    view, chosen = _place(operand, destination, indices, part)
                    so_far = builder.load(view, chosen)
                    builder.store(view, chosen, nest.call(combine, so_far, values[0]))

    over_kept(0)


def _quotient(count: Expression, divisor: int) -> Expression:
    if isinstance(count, Literal):
        return Literal(INDEX, int(count.value) // divisor)
    return nest.call("floordiv", count, Literal(INDEX, divisor))


def _rest(count: Expression, divisor: int) -> Expression:
    if isinstance(count, Literal):
        return Literal(INDEX, int(count.value) % divisor)
    return nest.call("mod", count, Literal(INDEX, divisor))


def strips(
    builder: NestBuilder,
    width: Dimension,
    alone: bool,
    body: Callable[[Expression, Dimension | Expression], None],
) -> None:
    """A loop over strips of an axis, with a body made of where a strip begins and how many entries it has.

    An axis that is `alone`, with no loop around it, is cut so that threads can share the strips. The last,
    shorter one has a body of its own: loops of known length are better code.
    """
    if isinstance(width, int) and width <= (LEAST_STRIP if alone else STRIP):
        body(Literal(INDEX, 0), width)
        return
    if not isinstance(width, int):
        count = _quotient(nest.add(builder.size(width), STRIP - 1), STRIP)
        with builder.loop(count, "strip", alone) as number:
            start = builder.let(nest.multiply(number, STRIP), "start")
            left = nest.subtract(builder.size(width), start)
            body(start, builder.let(nest.call("minimum", left, Literal(INDEX, STRIP)), "extent"))
        return
    most = min(STRIP, max(LEAST_STRIP, -(-width // (ENOUGH * 16)) * 16)) if alone else STRIP
    even = [n for n in range(most, most // 2, -16) if width % n == 0]
    length = even[0] if even else most
    whole, rest = divmod(width, length)
    with builder.loop(whole + (rest > 0), "strip", alone) as number:
        start = builder.let(nest.multiply(number, length), "start")
        if not rest:
            body(start, length)
            return
        with builder.when(nest.call("lt", number, Literal(INDEX, whole))):
            body(start, length)
        with builder.when(nest.call("eq", number, Literal(INDEX, whole))):
            body(start, rest)
