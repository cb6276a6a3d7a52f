"""Indexing: takes templates and index arrays, hands on views (slices), gathers on the way, and scatters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS, demands
from symnet.compile.lower import Lowering, kernel_rule, pointwise_rule, preparation, view_rule
from symnet.compile.lower_elementwise import operand_indices, write_entries
from symnet.compile.nest import INDEX, Expression, Literal, Select
from symnet.compile.program import View
from symnet.compile.shared import SharedVariable
from symnet.compile.specialise import Computed
from symnet.errors import IndexingError
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.op import constant_host_value
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.creation import ARange
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
from symnet.ops.nnet import LogSoftmax

COSTS[AdvancedSubtensor] = 3
#: dtypes in which a range does not wrap round.
_WIDE = ("int32", "uint32", "int64", "uint64")
#: Threads that scatter share out an axis in parts of at least so many entries.
SHORTEST_STRETCH = 512


def _content(lowering: Lowering, variable: Variable) -> Dimension:
    value: Any = (
        constant_host_value(variable) if isinstance(variable, Constant) else lowering.sizes.values[variable]
    )
    return value  # type: ignore[no-any-return]


def first_and_step(
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
    chosen = first_and_step(lowering, template, base, symbolic)
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
    for first, step in first_and_step(lowering, op.template, node.inputs[0], node.inputs[1:]):
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
    """A copy of the tensor, then the part; the part alone where the tensor is a shared variable's."""
    x, y, *_ = node.inputs
    if defer(lowering, node, [y], lambda: _set_part(lowering, node, lowering.view(x))):
        return
    destination = lowering.allocate(node.outputs[0])
    write_entries(lowering, x, destination)
    _set_part(lowering, node, destination)


def _set_part(lowering: Lowering, node: Apply, destination: View) -> None:
    """Set or add to the part of the tensor at a destination."""
    op = node.op
    assert isinstance(op, IncSubtensor)
    x, y, *symbolic = node.inputs
    part = part_view(lowering, op.template, x, symbolic, destination)
    builder = lowering.builder()
    # The part is both read and written: loads must not be remembered across stores.
    builder.buffer(destination.buffer, written=True)
    with builder.loops(part.shape) as indices:
        value = lowering.value(y, operand_indices(lowering, y, indices), builder)
        _combined(builder, part, indices, value, op.set_)
    lowering.add_kernel(builder, [node], "set_part" if op.set_ else "add_to_part")


# --- where the tensor already lies -----------------------------------------------------------------


def defer(lowering: Lowering, node: Apply, operands: Sequence[Variable], run: Callable[[], None]) -> bool:
    """Leave a shared variable's change in some places to its update, which then writes nothing else.

    That is where the result is what the variable becomes and nothing else needs it. The operands are put
    where no update reaches them.
    """
    x, out = node.inputs[0], node.outputs[0]
    if not isinstance(x, SharedVariable) or x not in lowering.updates or lowering.checker is not None:
        return False
    place = lowering._results + lowering.updates.index(x)
    demand = lowering.fusion.of(out)
    if lowering.graph.outputs[place] is not out or demand.buffer or demand.kernels != {("update", place)}:
        return False
    if any(each in lowering.updates for each in operands):
        return False
    for each in operands:
        _settle(lowering, each)
    lowering.deferred[out] = run
    return True


def _settle(lowering: Lowering, variable: Variable) -> None:
    """See that a variable's entries lie in a buffer that no update writes."""
    if isinstance(variable, Constant) or lowering._literal(variable) is not None:
        return
    view = lowering.views.get(variable)
    shared = {lowering.views[each].buffer for each in lowering.updates}
    if view is not None and view.buffer not in shared:
        return
    copy = lowering.scratch("settled", variable.dtype, lowering.shape(variable))
    write_entries(lowering, variable, copy)
    lowering.views[variable] = copy


# --- by integer arrays -----------------------------------------------------------------------------


@preparation(AdvancedSubtensor, AdvancedIncSubtensor)
def check_indices(lowering: Lowering, node: Apply) -> None:
    """A kernel that fails where an index is outside its axis, so that those that use them can't."""
    op = node.op
    assert isinstance(op, AdvancedSubtensor | AdvancedIncSubtensor)
    x, arrays = node.inputs[0], node.inputs[-len(op.axes) :]
    builder = lowering.builder()
    many = lowering.target.many_threads
    for axis, array in zip(op.axes, arrays, strict=True):
        length = lowering.shape(x)[axis]
        if many:
            if (array, length) in lowering.checked_indices or _is_inside(lowering, array, length):
                continue
            lowering.checked_indices.add((array, length))
        bound = builder.size(lowering.shape(x)[axis])
        message = f"an index is outside axis {axis}: index {{0}}, length {{1}}"
        site = lowering.site(node, message, IndexingError)
        with builder.loops(lowering.shape(array), parallel=many, vector=False) as indices:
            wide = builder.let(nest.cast(lowering.value(array, indices, builder), INDEX), "at")
            below = nest.call("lt", nest.add(wide, bound), Literal(INDEX, 0))
            outside = nest.call("bitwise_or", below, nest.call("ge", wide, bound))
            with builder.when(outside):
                builder.fail(site, wide, bound)
    if builder.body or not many:
        lowering.add_kernel(builder, [node], "check_indices")


def is_range(lowering: Lowering, array: Variable) -> bool:
    """Whether a vector is sure to hold 0, 1, 2 … ."""
    if array.owner is None or not isinstance(array.owner.op, ARange) or array.dtype not in _WIDE:
        return False
    start, _, step = (_content(lowering, each) for each in array.owner.inputs)
    return (start, step) == (0, 1)


def _is_inside(lowering: Lowering, array: Variable, length: Dimension) -> bool:
    """Whether all indices of an array are sure to be inside an axis."""
    if is_range(lowering, array):
        (count,) = lowering.shape(array)
        return count == length or isinstance(count, int) and isinstance(length, int) and count <= length
    if isinstance(array, Constant) and isinstance(length, int) and array.dtype != nest.BOOL:
        return not array.data.size or -length <= int(array.data.min()) <= int(array.data.max()) < length
    return False


def place_of(
    lowering: Lowering,
    array: Variable,
    common: Sequence[Expression],
    length: Dimension,
    builder: NestBuilder,
) -> Expression:
    """An index from an array, counted from the front."""

    def make() -> Expression:
        raw = lowering.value(array, operand_indices(lowering, array, common), builder)
        wide = builder.let(nest.cast(raw, INDEX), "at")
        if array.dtype.startswith("uint") or array.dtype == nest.BOOL:
            return wide
        if lowering.target.many_threads and is_range(lowering, array):
            return wide
        negative = nest.call("lt", wide, Literal(INDEX, 0))
        return builder.let(Select(INDEX, negative, nest.add(wide, builder.size(length)), wide), "at")

    with builder.outside(common):
        return builder.remember((array, length, tuple(common)), make)


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
            inner.append(place_of(lowering, array, common, lowering.shape(x)[axis], builder))
        else:
            inner.append(next(supply))
    return inner


@demands(AdvancedSubtensor)
def _gather_demands(node: Apply) -> list[str]:
    base = node.inputs[0].owner
    # What is picked of a logarithm of softmax is computed then and there from its row's two numbers.
    kind = "value" if base is not None and isinstance(base.op, LogSoftmax) else "buffer"
    return [kind, *["value"] * (len(node.inputs) - 1)]


@pointwise_rule(AdvancedSubtensor)
def _gather(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    x, *arrays = node.inputs
    return lowering.value(x, _inner_indices(lowering, node, x, arrays, indices, builder), builder)


@kernel_rule(AdvancedIncSubtensor, buffers=lambda node: ())
def _scatter(lowering: Lowering, node: Apply) -> None:
    """A copy of the tensor, then the values; these alone where the tensor is a shared variable's."""
    x, y, *arrays = node.inputs
    if defer(lowering, node, [y, *arrays], lambda: _scatter_at(lowering, node, lowering.view(x))):
        return
    destination = lowering.allocate(node.outputs[0])
    write_entries(lowering, x, destination)
    _scatter_at(lowering, node, destination)


def _scatter_at(lowering: Lowering, node: Apply, destination: View) -> None:
    """Each value in its turn, so that repeated indices mean the same always.

    Entries along the axes kept have nothing to do with each other: threads take stretches of them.
    """
    op = node.op
    assert isinstance(op, AdvancedIncSubtensor)
    x, y, *arrays = node.inputs
    common = common_shape(lowering, arrays)
    kept = [n for axis, n in enumerate(lowering.shape(x)) if axis not in op.axes]
    before, after = kept[: op.place], kept[op.place :]
    stretches = 1
    if after and all(each == 1 for each in before):
        *after, last = after
        stretches = _stretches(last)
        after.append(dims.floor_divide(last, stretches))
    builder = lowering.builder()
    builder.buffer(destination.buffer, written=True)
    with contextlib.ExitStack() as stack:
        stretch = stack.enter_context(builder.loop(stretches, "stretch", parallel=True))
        leading = stack.enter_context(builder.loops(before, stretches == 1, vector=False))
        at = stack.enter_context(builder.loops(common, parallel=False, vector=False))
        inner = stack.enter_context(builder.loops(after, parallel=False))
        if stretches > 1:
            first = nest.multiply(stretch, builder.size(after[-1]))
            inner[-1] = nest.add(first, inner[-1])
        indices = [*leading, *at, *inner]
        places = _inner_indices(lowering, node, x, arrays, indices, builder)
        value = lowering.value(y, operand_indices(lowering, y, indices), builder)
        _combined(builder, destination, places, value, op.set_)
    lowering.add_kernel(builder, [node], "scatter_set" if op.set_ else "scatter_add")


def common_shape(lowering: Lowering, arrays: Sequence[Variable]) -> list[Dimension]:
    """The shape of index arrays broadcast against each other."""
    rank = max(each.ndim for each in arrays)
    common: list[Dimension] = [1] * rank
    for array in arrays:
        for axis, length in enumerate(lowering.shape(array)):
            if array.type.shape[axis] != 1:
                common[axis + rank - array.ndim] = length
    return common


def _stretches(length: Dimension) -> int:
    """Into how many equal parts an axis is cut."""
    if not isinstance(length, int):
        return 1
    return max(n for n in range(1, 9) if length % n == 0 and (n == 1 or length // n >= SHORTEST_STRETCH))


# --- lengths that only the data knows --------------------------------------------------------------


def store_count(lowering: Lowering, node: Apply, builder: NestBuilder, count: Expression) -> None:
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
    store_count(lowering, node, builder, count)
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
    store_count(lowering, node, builder, count)
    lowering.add_kernel(builder, [node], "repeat_indices")
