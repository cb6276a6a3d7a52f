"""Shape ops: takes views and values, hands on other views of the same buffer, or indices mapped.

Most of them cost nothing: a permutation, a slice or a reshape of a contiguous view is the same buffer
read another way; what can't be a view becomes an index map inside the consumer's loop, or a copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import demands
from symnet.compile.lower import (
    Lowering,
    contiguous_strides,
    is_contiguous,
    kernel_rule,
    pointwise_rule,
    view_rule,
)
from symnet.compile.lower_elementwise import operand_indices, write_entries
from symnet.compile.nest import INDEX, Expression, Literal
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply
from symnet.ops.creation import Alloc, ARange, Eye
from symnet.ops.joining import Join
from symnet.ops.shape import DimShuffle, MakeVector, Reshape, ShapeOf
from symnet.ops.shape_promises import SpecifyShape, Unbroadcast

# --- permutations and promises ---------------------------------------------------------------------


@view_rule(DimShuffle)
def _dimshuffle_view(lowering: Lowering, node: Apply, view: View) -> View:
    op = node.op
    assert isinstance(op, DimShuffle)
    strides: list[Dimension] = [view.strides[a] if isinstance(a, int) else 0 for a in op.pattern]
    return View(view.buffer, view.offset, tuple(strides), lowering.shape(node.outputs[0]))


@pointwise_rule(DimShuffle)
def _dimshuffle(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    op = node.op
    assert isinstance(op, DimShuffle)
    inner: list[Expression] = [Literal(INDEX, 0)] * op.input_ndim
    for position, axis in enumerate(op.pattern):
        if isinstance(axis, int):
            inner[axis] = indices[position]
    return lowering.value(node.inputs[0], inner, builder)


@view_rule(SpecifyShape, Unbroadcast)
def _same_view(lowering: Lowering, node: Apply, view: View) -> View:
    return View(view.buffer, view.offset, view.strides, lowering.shape(node.outputs[0]))


@pointwise_rule(SpecifyShape, Unbroadcast)
def _same(lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder) -> Expression:
    return lowering.value(node.inputs[0], indices, builder)


# --- reshape ---------------------------------------------------------------------------------------


@demands(Reshape)
def _reshape_demands(node: Apply) -> list[str]:
    return ["buffer", "size"]


@view_rule(Reshape)
def _reshape_view(lowering: Lowering, node: Apply, view: View) -> View | None:
    shape = lowering.shape(node.outputs[0])
    if is_contiguous(view):
        return View(view.buffer, view.offset, contiguous_strides(shape), shape)
    return _inserted_axes(view, shape)


def _inserted_axes(view: View, shape: Sequence[Dimension]) -> View | None:
    """A reshape that only adds or drops axes of length 1 is a view of any strides."""
    kept = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n != 1]
    if [n for n in shape if n != 1] != [n for n, _ in kept]:
        return None
    supply = iter(kept)
    strides = tuple(0 if n == 1 else next(supply)[1] for n in shape)
    return View(view.buffer, view.offset, strides, tuple(shape))


@kernel_rule(Reshape, buffers=lambda node: (0,))
def _reshape(lowering: Lowering, node: Apply) -> None:
    """Entries that are not in C order are copied into it."""
    base = node.inputs[0]
    copy = lowering.scratch("contiguous", base.dtype, lowering.shape(base))
    write_entries(lowering, base, copy)
    shape = lowering.shape(node.outputs[0])
    lowering.views[node.outputs[0]] = View(copy.buffer, 0, contiguous_strides(shape), shape)


# --- made from sizes -------------------------------------------------------------------------------


@demands(ShapeOf)
def _shape_demands(node: Apply) -> list[str]:
    return ["shape"]


@pointwise_rule(ShapeOf)
def _shape(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    return builder.chosen([builder.size(n) for n in lowering.shape(node.inputs[0])], indices[0], "int64")


@pointwise_rule(MakeVector)
def _make_vector(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    dtype = node.outputs[0].dtype
    values = [nest.cast(lowering.value(each, (), builder), dtype) for each in node.inputs]
    return builder.chosen(values, indices[0], dtype)


@demands(Alloc)
def _alloc_demands(node: Apply) -> list[str]:
    return ["value", *["size"] * (len(node.inputs) - 1)]


@pointwise_rule(Alloc)
def _alloc(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    value = node.inputs[0]
    return lowering.value(value, operand_indices(lowering, value, indices), builder)


@pointwise_rule(ARange)
def _arange(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    start, _, step = (lowering.value(each, (), builder) for each in node.inputs)
    dtype = node.outputs[0].dtype
    steps = nest.call("mul", nest.cast(indices[0], dtype), nest.cast(step, dtype))
    return nest.call("add", nest.cast(start, dtype), steps)


@demands(Eye)
def _eye_demands(node: Apply) -> list[str]:
    return ["size", "size", "value"]


@pointwise_rule(Eye)
def _eye(lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder) -> Expression:
    offset = nest.cast(lowering.value(node.inputs[2], (), builder), INDEX)
    on_diagonal = nest.call("eq", nest.add(indices[0], offset), indices[1])
    return nest.cast(on_diagonal, node.outputs[0].dtype)


# --- joining ---------------------------------------------------------------------------------------


@kernel_rule(Join, buffers=lambda node: ())
def _join(lowering: Lowering, node: Apply) -> None:
    """Each part is written to its slice of the result."""
    op = node.op
    assert isinstance(op, Join)
    destination = lowering.allocate(node.outputs[0])
    start: Dimension = 0
    for part in node.inputs:
        shape = lowering.shape(part)
        offset = dims.add(destination.offset, dims.multiply(start, destination.strides[op.axis]))
        write_entries(lowering, part, View(destination.buffer, offset, destination.strides, shape))
        start = dims.add(start, shape[op.axis])
