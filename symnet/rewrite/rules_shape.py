"""Shapes, axes and fills: takes what users and gradients write, hands on fewer arrays.

A fill says "this value in that shape". Gradients are full of them, and beside an operand that has the
shape anyway they say nothing. A refusal is never lost: an operand goes only where what stays is computed
from it, or where the types say that it fits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.types import TensorType
from symnet.graph.variable import Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import Elementwise, cast
from symnet.ops.indexing import AdvancedIncSubtensor, AdvancedSubtensor, Subtensor
from symnet.ops.reduction import Reduce
from symnet.ops.shape import DimShuffle, MakeVector, Reshape, ShapeOf, dimshuffle
from symnet.ops.shape_promises import SpecifyShape
from symnet.rewrite.facts import (
    is_dispensable,
    keeps_shape,
    may_stand_for,
    shape_source,
    shaping_operands,
)
from symnet.rewrite.pattern import Expression, any_op, any_variable, any_variables, rewrite

x, y, v, w = any_variable("x"), any_variable("y"), any_variable("v"), any_variable("w")
op = any_op("op", Elementwise)
shaped = any_op("shaped", Op, where=keeps_shape)
operands = any_variables("operands")
shuffle, second = any_op("shuffle", DimShuffle), any_op("second", DimShuffle)
shape = ShapeOf()
fill = table.fill


def _is_filled(variable: Expression) -> bool:
    return variable.owner is not None and variable.owner.op == fill


# --- fills -----------------------------------------------------------------------------------------


@rewrite(
    fill(x, v),
    "the value has the shape already",
    when=lambda x, v, out: may_stand_for(v, out) and is_dispensable(x, v),
)
def fill_of_own_shape(v: Expression) -> Expression:
    return v


@rewrite(
    fill(shaped(operands), v),
    "only the shape is wanted, and an operand has it",
)
def fill_by_operand(
    operands: Sequence[Expression], v: Expression, out: Expression, graph: FunctionGraph
) -> Expression:
    """Takes the one operand that refuses all that the others could, or what that has its shape from."""
    for kept in shaping_operands(operands):
        replacement: Expression = fill(shape_source(kept, graph), v)
        if may_stand_for(replacement, out):
            return replacement
    return None


@rewrite(
    op(operands),
    "beside an operand that has the shape, the value alone will do",
    when=lambda op: op != fill,
    among=fill,
)
def fill_beside_its_shape(op: Elementwise, operands: Sequence[Expression], out: Expression) -> Expression:
    for position, operand in enumerate(operands):
        if not _is_filled(operand):
            continue
        assert operand.owner is not None
        model, value = operand.owner.inputs
        if value.ndim > model.ndim or operand.broadcastable != model.broadcastable:
            continue
        for place, kept in enumerate(operands):
            if place == position or kept.type.shape != out.type.shape:
                continue
            if is_dispensable(model, kept):
                changed = list(operands)
                changed[position] = value
                replacement: Expression = op(*changed)
                return replacement if may_stand_for(replacement, out) else None
    return None


@rewrite(
    op(operands),
    "what is filled in may be computed before it is filled in",
    when=lambda op: op != fill,
    among=fill,
)
def fill_of_entries(op: Elementwise, operands: Sequence[Expression], out: Expression) -> Expression:
    """op(fill(x, v), fill(x, w), 2) is fill(x, op(v, w, 2)), where v and w are smaller than x."""
    model: Expression = None
    values: list[Expression] = []
    for operand in operands:
        if _is_filled(operand):
            assert operand.owner is not None
            shaping, value = operand.owner.inputs
            other = model is not None and shaping is not model
            if other or value.broadcastable == out.broadcastable:
                return None
            model = shaping
            values.append(value)
        elif operand.ndim == 0:
            values.append(operand)
        else:
            return None
    if model is None or model.broadcastable != out.broadcastable:
        return None
    replacement: Expression = fill(model, op(*values))
    return replacement if may_stand_for(replacement, out) else None


@rewrite(
    any_op("scatter", AdvancedIncSubtensor)(operands),
    "a value that is the same everywhere is scattered as it is",
    depth=3,
)
def fill_that_is_scattered(scatter: AdvancedIncSubtensor, operands: Sequence[Expression]) -> Expression:
    """Only where the fill took its shape from a gather at the same indices, from the same shape."""
    target, value, *indices = operands
    if not _is_filled(value):
        return None
    model, number = value.owner.inputs
    gather = model.owner
    if number.ndim or gather is None or gather.op != AdvancedSubtensor(scatter.axes):
        return None
    if gather.inputs[1:] != tuple(indices) or not is_dispensable(gather.inputs[0], target):
        return None
    return scatter(target, number, *indices)


# --- axes ------------------------------------------------------------------------------------------


@rewrite(shuffle(second(x)), "two arrangements of axes are one")
def dimshuffle_of_dimshuffle(shuffle: DimShuffle, second: DimShuffle, x: Expression) -> Expression:
    pattern: list[int | str] = []
    for axis in shuffle.pattern:
        pattern.append(second.pattern[axis] if isinstance(axis, int) else "x")
    return dimshuffle(x, pattern)


@rewrite(shuffle(x), "the axes are in this order already")
def dimshuffle_to_own_order(shuffle: DimShuffle, x: Expression) -> Expression:
    """An axis that is dropped where another is inserted counts as the same one: both have length 1."""
    dropped = iter(shuffle.dropped)
    order = [next(dropped, None) if axis == "x" else axis for axis in shuffle.pattern]
    return x if order == list(range(x.ndim)) else None


@rewrite(
    op(operands),
    "missing axes in front broadcast by themselves",
    when=lambda operands: any(_without_leading_axes(each) is not each for each in operands),
    among=DimShuffle,
)
def axes_added_in_front(op: Elementwise, operands: Sequence[Expression], out: Expression) -> Expression:
    # The smallest first: an operand that keeps its axes may be what lets the others go without.
    for position, operand in sorted(enumerate(operands), key=lambda each: _rank(each[1])):
        smaller = _without_leading_axes(operand)
        # The shape that a fill takes from its first operand stays in one piece.
        if smaller is not operand and not (op == fill and position == 0):
            changed = list(operands)
            changed[position] = smaller
            replacement: Expression = op(*changed)
            if may_stand_for(replacement, out):
                return replacement
    return None


def _rank(operand: Variable) -> int:
    return _without_leading_axes(operand).ndim


def _without_leading_axes(operand: Variable) -> Variable:
    node = operand.owner
    if node is None or not isinstance(node.op, DimShuffle):
        return operand
    pattern, ndim = node.op.pattern, node.op.input_ndim
    added = len(pattern) - ndim
    if added > 0 and pattern == ("x",) * added + tuple(range(ndim)):
        return node.inputs[0]
    return operand


@rewrite(
    any_op("reshape", Reshape)(x, shape(x)),
    "the shape is the tensor's own",
    when=lambda x, out: may_stand_for(x, out),
)
def reshape_to_own_shape(x: Expression) -> Expression:
    return x


@rewrite(
    any_op("reshape", Reshape)(x, y),
    "the known lengths are the tensor's own",
    when=lambda x, out: x.type == out.type and None not in out.type.shape,
)
def reshape_to_known_shape(x: Expression) -> Expression:
    return x


@rewrite(
    any_op("reshape", Reshape)(any_op("first", Reshape)(x, v).named("between"), y),
    "the second reshape alone says the result's shape",
    when=lambda x, between: None not in x.type.shape and None not in between.type.shape,
)
def reshape_of_reshape(reshape: Reshape, x: Expression, y: Expression, out: Expression) -> Expression:
    """Only of known lengths: there the first one can't fail."""
    replacement: Expression = reshape(x, y)
    return replacement if may_stand_for(replacement, out) else None


@rewrite(
    any_op("reshape", Reshape)(any_op("first", Reshape)(x, v), shape(x)),
    "a reshape and its inverse cancel",
    when=lambda x, out: may_stand_for(x, out),
    depth=3,
)
def reshape_there_and_back(x: Expression, v: Expression) -> Expression:
    """Only where the first takes what is left into one axis, and so can't fail."""
    lengths = v.data.tolist() if isinstance(v, Constant) else None
    return x if lengths == [-1] else None


@rewrite(
    any_op("specified", SpecifyShape)(x),
    "the type knows these lengths",
    when=lambda specified, x: all(
        want is None or want == have for want, have in zip(specified.lengths, x.type.shape, strict=True)
    ),
)
def specified_shape_that_is_known(x: Expression) -> Expression:
    return x


@rewrite(
    any_op("subtensor", Subtensor)(operands),
    "the whole tensor is the tensor",
    when=lambda subtensor: not subtensor.template,
)
def subtensor_of_all(operands: Sequence[Expression]) -> Expression:
    return operands[0]


#: Of more parts of one result than this, each would be computed apart, through all that it depends on.
_MOST_PARTS = 8


def _only_sliced(variable: Variable, graph: FunctionGraph) -> bool:
    users = graph.clients[variable]
    return len(users) <= _MOST_PARTS and all(
        user is not None and isinstance(user.op, Subtensor) and position == 0 for user, position in users
    )


@rewrite(
    any_op("subtensor", Subtensor)(any_variables("parts")),
    "only the entries that are wanted are computed",
    depth=2,
)
def subtensor_of_entries(
    subtensor: Subtensor, parts: Sequence[Expression], out: Expression, graph: FunctionGraph
) -> Expression:
    """f(x, 2)[i] is f(x[i], 2), where nothing else uses f(x, 2).

    Not where x is a part already: in a chain of parts and functions each part would pass all the functions.
    """
    whole, *indices = parts
    node = whole.owner
    if node is None or not isinstance(node.op, Elementwise) or not _only_sliced(whole, graph):
        return None
    shaping = [each for each in node.inputs if each.ndim]
    if len(shaping) != 1 or shaping[0].broadcastable != whole.broadcastable:
        return None
    if shaping[0].owner is not None and isinstance(shaping[0].owner.op, Subtensor):
        return None
    operands = [subtensor(each, *indices) if each.ndim else each for each in node.inputs]
    replacement = node.op(*operands)
    return replacement if may_stand_for(replacement, out) else None


# --- reductions ------------------------------------------------------------------------------------

total, partial = any_op("total", Reduce), any_op("partial", Reduce)


@rewrite(
    total(partial(x)),
    "one reduction in place of two, which rounds once less",
    when=lambda total, partial, out: (
        total.function == partial.function
        and total.dtype == partial.dtype
        and (partial.dtype == "bool" or partial.function not in ("and", "or"))
    ),
)
def reduction_of_reduction(total: Reduce, partial: Reduce, x: Expression) -> Expression:
    kept = [axis for axis in range(x.ndim) if axis not in partial.axes]
    axes = sorted({*partial.axes, *(kept[axis] for axis in total.axes)})
    return Reduce(total.function, tuple(axes), total.dtype)(x)


@rewrite(
    total(x),
    "over an axis of length 1 there is nothing to combine",
    when=lambda total, x: any(x.type.shape[axis] == 1 for axis in total.axes),
)
def reduction_over_one(total: Reduce, x: Expression) -> Expression:
    ones = [axis for axis in total.axes if x.type.shape[axis] == 1]
    kept = [axis for axis in range(x.ndim) if axis not in ones]
    rest = tuple(kept.index(axis) for axis in total.axes if axis not in ones)
    smaller = dimshuffle(x, kept)
    if rest:
        return Reduce(total.function, rest, total.dtype)(smaller)
    return cast(smaller, total.dtype)


# --- shapes ----------------------------------------------------------------------------------------


def _int64(values: object) -> Constant:
    data = np.asarray(values, dtype="int64")
    return Constant(TensorType("int64", shape=data.shape), data)


def _single_index(subtensor: Subtensor) -> int | None:
    """The literal index of `vector[i]`."""
    template = subtensor.template
    return template[0] if len(template) == 1 and isinstance(template[0], int) else None


entry = any_op("entry", Subtensor, where=lambda op: _single_index(op) is not None)


@rewrite(shape(x), "the lengths are known", when=lambda x: None not in x.type.shape)
def shape_that_is_known(x: Expression) -> Expression:
    return _int64(x.type.shape)


@rewrite(entry(shape(x)), "the length is known")
def length_that_is_known(entry: Subtensor, x: Expression) -> Expression:
    axis = _single_index(entry)
    assert axis is not None
    if not -x.ndim <= axis < x.ndim:
        return None
    length = x.type.shape[axis]
    return None if length is None else _int64(length)


@rewrite(entry(any_op("made", MakeVector)(operands)), "the entry is there before the vector is")
def entry_of_made_vector(entry: Subtensor, operands: Sequence[Expression]) -> Expression:
    place = _single_index(entry)
    assert place is not None
    return operands[place] if -len(operands) <= place < len(operands) else None


@rewrite(entry(shape(shuffle(x))), "the length is the operand's")
def length_of_dimshuffle(entry: Subtensor, shuffle: DimShuffle, x: Expression) -> Expression:
    place = _single_index(entry)
    assert place is not None
    if not -len(shuffle.pattern) <= place < len(shuffle.pattern):
        return None
    axis = shuffle.pattern[place]
    return Subtensor((axis,))(shape(x)) if isinstance(axis, int) else _int64(1)


@rewrite(shape(shaped(operands)), "only the shape is wanted, and an operand has it")
def shape_by_operand(operands: Sequence[Expression], out: Expression, graph: FunctionGraph) -> Expression:
    """Takes the one operand that refuses all that the others could, or what that has its shape from."""
    for kept in shaping_operands(operands):
        replacement: Expression = shape(shape_source(kept, graph))
        if may_stand_for(replacement, out):
            return replacement
    return None
