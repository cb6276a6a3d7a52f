"""Indexing: takes templates and index arrays, hands on views (slices), gathers on the way, and scatters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS, demands
from symnet.compile.lower import Lowering, kernel_rule, pointwise_rule, view_rule
from symnet.compile.lower_elementwise import operand_indices, write_entries
from symnet.compile.nest import INDEX, Expression, Literal, Select
from symnet.compile.program import View
from symnet.compile.specialise import Computed
from symnet.errors import IndexingError
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.op import constant_host_value
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.indexing import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Nonzero,
    Subtensor,
    Template,
    bind_template,
)
from symnet.ops.joining import RepeatIndices

COSTS[AdvancedSubtensor] = 3


def _content(lowering: Lowering, variable: Variable) -> Dimension:
    value: Any = (
        constant_host_value(variable)
        if isinstance(variable, Constant)
        else lowering.sizes.values[variable]
    )
    return value  # type: ignore[no-any-return]


def _first_and_step(
    lowering: Lowering, template: Template, base: Variable, symbolic: Sequence[Variable]
) -> list[tuple[Dimension, int | None]]:
    """For each axis of the template its first index, and its step (None for an integer index)."""
    contents = [_content(lowering, each) for each in symbolic]
    found: list[tuple[Dimension, int | None]] = []
    for axis, entry in enumerate(bind_template(template, contents)):
        length = lowering.shape(base)[axis]
        if isinstance(entry, tuple):
            found.append((dims.slice_bounds(length, *entry)[0], entry[2]))
        elif isinstance(entry, int):
            found.append((dims.add(entry, length) if entry < 0 else entry, None))
        else:
            found.append((dims.select(dims.apply("lt", entry, 0), dims.add(entry, length), entry), None))
    return found


def part_view(
    lowering: Lowering, template: Template, base: Variable, symbolic: Sequence[Variable], view: View
) -> View:
    """The part of a view that a basic index selects."""
    offset = view.offset
    strides: list[Dimension] = []
    chosen = _first_and_step(lowering, template, base, symbolic)
    for axis, (first, step) in enumerate(chosen):
        offset = dims.add(offset, dims.multiply(first, view.strides[axis]))
        if step is not None:
            strides.append(dims.multiply(step, view.strides[axis]))
    strides += view.strides[len(chosen) :]
    shape: list[Dimension] = []
    contents = [_content(lowering, each) for each in symbolic]
    for axis, entry in enumerate(bind_template(template, contents)):
        if isinstance(entry, tuple):
            shape.append(dims.slice_bounds(view.shape[axis], *entry)[1])
    shape += view.shape[len(chosen) :]
    return View(view.buffer, offset, tuple(strides), tuple(shape))


@demands(Subtensor)
def _subtensor_demands(node: Apply) -> list[str]:
    return ["value", *["size"] * (len(node.inputs) - 1)]


@view_rule(Subtensor)
def _subtensor_view(lowering: Lowering, node: Apply, view: View) -> View:
    op = node.op
    assert isinstance(op, Subtensor)
    part = part_view(lowering, op.template, node.inputs[0], node.inputs[1:], view)
    return View(part.buffer, part.offset, part.strides, lowering.shape(node.outputs[0]))


@pointwise_rule(Subtensor)
def _subtensor(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    op = node.op
    assert isinstance(op, Subtensor)
    supply = iter(indices)
    inner: list[Expression] = []
    for first, step in _first_and_step(lowering, op.template, node.inputs[0], node.inputs[1:]):
        start = builder.size(first)
        inner.append(start if step is None else nest.add(start, nest.multiply(next(supply), step)))
    return lowering.value(node.inputs[0], [*inner, *supply], builder)


@demands(IncSubtensor)
def _inc_subtensor_demands(node: Apply) -> list[str]:
    return ["value", "value", *["size"] * (len(node.inputs) - 2)]


def _combined(
    builder: NestBuilder, target: View, indices: Sequence[Expression], value: Expression, set_: bool
) -> None:
    """Store a value, or add it to what is there."""
    if not set_:
        value = nest.call("add", builder.load(target, indices), value)
    builder.store(target, indices, value)


@kernel_rule(IncSubtensor, buffers=lambda node: ())
def _inc_subtensor(lowering: Lowering, node: Apply) -> None:
    """A copy of the tensor, then the part."""
    op = node.op
    assert isinstance(op, IncSubtensor)
    x, y, *symbolic = node.inputs
    destination = lowering.allocate(node.outputs[0])
    write_entries(lowering, x, destination)
    part = part_view(lowering, op.template, x, symbolic, destination)
    builder = lowering.builder()
    # The part is both read and written: loads must not be remembered across stores.
    builder.buffer(destination.buffer, written=True)
    with builder.loops(part.shape, vector=False, parallel=False) as indices:
        value = lowering.value(y, operand_indices(lowering, y, indices), builder)
        _combined(builder, part, indices, value, op.set_)
    lowering.add_kernel(builder, [node], "set_part" if op.set_ else "add_to_part")


# --- by integer arrays -----------------------------------------------------------------------------


def _checked_index(
    lowering: Lowering,
    node: Apply,
    array: Variable,
    common: Sequence[Expression],
    length: Dimension,
    axis: int,
    builder: NestBuilder,
) -> Expression:
    """An index from an array, counted from the front; outside the axis the kernel fails."""
    raw = lowering.value(array, operand_indices(lowering, array, common), builder)

    def make() -> Expression:
        wide = builder.let(nest.cast(raw, INDEX), "at")
        bound = builder.size(length)
        negative = nest.call("lt", wide, Literal(INDEX, 0))
        place = builder.let(Select(INDEX, negative, nest.add(wide, bound), wide), "at")
        outside = nest.call(
            "bitwise_or",
            nest.call("lt", place, Literal(INDEX, 0)),
            nest.call("ge", place, bound),
        )
        site = lowering.site(
            node, f"an index is outside axis {axis}: index {{0}}, length {{1}}", IndexingError
        )
        with builder.when(outside):
            builder.fail(site, wide, bound)
        return place

    return builder.remember((node, array, axis, tuple(common)), make)


def _split(
    op: AdvancedSubtensor | AdvancedIncSubtensor, indices: Sequence[Expression], common: int
) -> tuple[Sequence[Expression], list[Expression]]:
    """The indices that run over the index arrays, and those over the axes kept."""
    place = op.place
    return indices[place : place + common], [*indices[:place], *indices[place + common :]]


def _inner_indices(
    lowering: Lowering,
    node: Apply,
    x: Variable,
    arrays: Sequence[Variable],
    indices: Sequence[Expression],
    builder: NestBuilder,
) -> list[Expression]:
    """The tensor's indices for an index into the gathered result."""
    op = node.op
    assert isinstance(op, AdvancedSubtensor | AdvancedIncSubtensor)
    rank = max(each.ndim for each in arrays)
    common, kept = _split(op, indices, rank)
    supply = iter(kept)
    inner: list[Expression] = []
    for axis in range(x.ndim):
        if axis in op.axes:
            array = arrays[op.axes.index(axis)]
            length = lowering.shape(x)[axis]
            inner.append(_checked_index(lowering, node, array, common, length, axis, builder))
        else:
            inner.append(next(supply))
    return inner


@demands(AdvancedSubtensor)
def _gather_demands(node: Apply) -> list[str]:
    return ["buffer", *["value"] * (len(node.inputs) - 1)]


@pointwise_rule(AdvancedSubtensor)
def _gather(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    x, *arrays = node.inputs
    return lowering.value(x, _inner_indices(lowering, node, x, arrays, indices, builder), builder)


@kernel_rule(AdvancedIncSubtensor, buffers=lambda node: ())
def _scatter(lowering: Lowering, node: Apply) -> None:
    """A copy of the tensor, then each value in its turn, so that repeated indices mean the same always."""
    op = node.op
    assert isinstance(op, AdvancedIncSubtensor)
    x, y, *arrays = node.inputs
    destination = lowering.allocate(node.outputs[0])
    write_entries(lowering, x, destination)
    rank = max(each.ndim for each in arrays)
    common: list[Dimension] = [1] * rank
    for array in arrays:
        for axis, length in enumerate(lowering.shape(array)):
            if array.type.shape[axis] != 1:
                common[axis + rank - array.ndim] = length
    kept = [n for axis, n in enumerate(lowering.shape(x)) if axis not in op.axes]
    target_shape = [*kept[: op.place], *common, *kept[op.place :]]
    builder = lowering.builder()
    builder.buffer(destination.buffer, written=True)
    with builder.loops(target_shape, vector=False, parallel=False) as indices:
        inner = _inner_indices(lowering, node, x, arrays, indices, builder)
        value = lowering.value(y, operand_indices(lowering, y, indices), builder)
        _combined(builder, destination, inner, value, op.set_)
    lowering.add_kernel(builder, [node], "scatter_set" if op.set_ else "scatter_add")


# --- lengths that only the data knows --------------------------------------------------------------


def _counting(
    lowering: Lowering, node: Apply, builder: NestBuilder, count: nest.Name
) -> None:
    """Store a count where the size that depends on it is read."""
    view = lowering.scratch("count", INDEX, ())
    builder.store(view, (), count)
    lowering.program.computed[Computed(node.outputs[0], True)] = view


@kernel_rule(Nonzero, buffers=lambda node: ())
def _nonzero(lowering: Lowering, node: Apply) -> None:
    x = node.inputs[0]
    targets = [lowering.allocate(each) for each in node.outputs]
    builder = lowering.builder()
    count = builder.declare(Literal(INDEX, 0), "count")
    with builder.loops(lowering.shape(x), vector=False, parallel=False) as indices:
        entry = nest.cast(lowering.value(x, indices, builder), nest.BOOL)
        with builder.when(builder.let(entry)):
            for target, index in zip(targets, indices, strict=True):
                builder.store(target, [count], index)
            builder.assign(count, nest.add(count, 1))
    _counting(lowering, node, builder, count)
    lowering.add_kernel(builder, [node], "nonzero")


@kernel_rule(RepeatIndices, buffers=lambda node: ())
def _repeat_indices(lowering: Lowering, node: Apply) -> None:
    """Past the capacity nothing is stored, only counted: the size's own check then asks for more room."""
    repeats = node.inputs[0]
    target = lowering.allocate(node.outputs[0])
    builder = lowering.builder()
    count = builder.declare(Literal(INDEX, 0), "count")
    with builder.loop(lowering.shape(repeats)[0]) as position:
        often = builder.let(nest.cast(lowering.value(repeats, [position], builder), INDEX), "often")
        with builder.when(nest.call("lt", often, Literal(INDEX, 0))):
            builder.fail(lowering.site(node, "a number of repeats is negative: {0}"), often)
        with builder.loop(often) as _:
            room = nest.call("lt", count, Literal(INDEX, target.buffer.capacity))
            with builder.when(room):
                builder.store(target, [count], position)
            builder.assign(count, nest.add(count, 1))
    _counting(lowering, node, builder, count)
    lowering.add_kernel(builder, [node], "repeat_indices")
