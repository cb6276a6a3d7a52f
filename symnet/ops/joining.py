"""Tensors put side by side: takes several tensors, or one several times, hands on one tensor.

Lengths add up along one axis; elsewhere they must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.op import ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES, INTEGER_DTYPES
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.basic import as_tensor_variable, constant, normalize_axis, upcast
from symnet.ops.creation import alloc
from symnet.ops.elementwise import cast
from symnet.ops.shape import (
    MakeVector,
    as_length,
    dimshuffle,
    flatten,
    length_of,
    reshape,
    shape_padleft,
)
from symnet.ops.shape_promises import specify_shape


class Join(Op):
    """Tensors one behind the other along an axis."""

    properties = ("axis",)

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def __str__(self) -> str:
        return f"join{{axis={self.axis}}}"

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Tensors of one rank, in their common dtype."""
        variables = [as_tensor_variable(each) for each in inputs]
        dtype = upcast(*(each.dtype for each in variables))
        return [cast(each, dtype) for each in variables]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The common dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """Lengths added along the axis, equal along the others."""
        result: list[Dimension] = []
        for axis in range(len(shapes[0])):
            if axis == self.axis:
                result.append(dims.add(*(shape[axis] for shape in shapes)))
                continue
            length = shapes[0][axis]
            for shape in shapes[1:]:
                length = context.equal(length, shape[axis], f"lengths of axis {axis} differ")
            result.append(length)
        return [tuple(result)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.concatenate`."""
        return np.concatenate(inputs, axis=self.axis)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Each part's slice of the gradient."""
        if node.outputs[0].dtype in DISCRETE_DTYPES:
            return [ZERO] * len(node.inputs)
        g = output_gradients[0]
        gradients = []
        start: Any = 0
        for part in node.inputs:
            stop = start + length_of(part, self.axis)
            where = (slice(None),) * self.axis + (slice(start, stop),)
            gradients.append(specify_shape(g[where], part.type.shape))  # type: ignore[index]
            start = stop
        return gradients

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """Known vectors joined."""
        joined: tuple[Dimension, ...] = ()
        for value in values:
            if not isinstance(value, tuple):
                return None
            joined += value
        return joined


def concatenate(tensor_list: Any, axis: int = 0) -> Variable:
    """Tensors of one rank, one behind the other along an axis.

    Raises
    ------
    ArgumentError
        When there is none, or they have no such axis.
    GraphError
        When ranks differ, or they are scalars (`stack` joins those).
    """
    if isinstance(tensor_list, Variable) or not isinstance(tensor_list, list | tuple):
        raise GraphError(f"concatenate takes a list of tensors, got {tensor_list!r:.80}")
    if not tensor_list:
        raise ArgumentError("concatenate of no tensors")
    parts = [as_tensor_variable(each) for each in tensor_list]
    if any(part.ndim != parts[0].ndim for part in parts):
        raise GraphError("concatenate: tensors of different rank", parts)
    if parts[0].ndim == 0:
        raise GraphError("concatenate of scalars", parts, hint="T.stack joins scalars into a vector")
    axis = normalize_axis(axis, parts[0].ndim, "concatenate", parts)
    if len(parts) == 1:
        return parts[0]
    return Join(axis)(*parts)  # type: ignore[no-any-return]


def join(axis: int, *tensors: Any) -> Variable:
    """`concatenate` with the axis first."""
    return concatenate(list(tensors), axis)


def stack(*tensors: Any, axis: int = 0) -> Variable:
    """Tensors of one shape along a new axis: `stack([a, b], axis=0)`; the old `stack(a, b)` works too."""
    if tensors and isinstance(tensors[0], list | tuple):
        if len(tensors) > 2:
            raise GraphError("stack takes a list of tensors and an axis")
        if len(tensors) == 2:
            axis = tensors[1]
        tensors = tuple(tensors[0])
    if not tensors:
        raise ArgumentError("stack of no tensors")
    parts = [as_tensor_variable(each) for each in tensors]
    if any(part.ndim != parts[0].ndim for part in parts):
        raise GraphError("stack: tensors of different rank", parts)
    axis = normalize_axis(axis, parts[0].ndim + 1, "stack", parts)
    if parts[0].ndim == 0:
        return MakeVector(upcast(*(part.dtype for part in parts)))(*parts)  # type: ignore[no-any-return]
    pattern: list[int | str] = list(range(parts[0].ndim))
    pattern.insert(axis, "x")
    return concatenate([dimshuffle(part, pattern) for part in parts], axis)


class RepeatIndices(Op):
    """Each index i as often as entry i of an integer vector says: what `repeat` gathers by."""

    can_fail = True

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """int64."""
        return ["int64"]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The sum of the entries, which only the data knows."""
        return [(context.data_dependent(inputs[0], UNKNOWN),)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.repeat` of the indices."""
        return np.repeat(np.arange(len(inputs[0]), dtype="int64"), inputs[0])

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Counts have no gradient."""
        return [ZERO]


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Variable:
    """Each entry (or slice along an axis) several times, next to itself.

    Parameters
    ----------
    x
        A tensor; flattened when `axis` is None.
    repeats
        How often: an integer, an integer scalar, or one for each entry along the axis.
    axis
        The axis, or None.
    """
    variable = as_tensor_variable(x)
    if axis is None:
        variable, axis = flatten(variable), 0
    axis = normalize_axis(axis, variable.ndim, "repeat", [variable])
    counts = as_tensor_variable(repeats)
    if counts.dtype not in INTEGER_DTYPES or counts.ndim > 1:
        raise GraphError("repeat takes an integer, or an integer vector, of repeats", [variable, counts])
    if counts.ndim == 1 and counts.type.shape[0] == 1:
        counts = dimshuffle(counts, [])
    if counts.ndim == 1:
        context_length = variable.type.shape[axis]
        count_length = counts.type.shape[0]
        if None not in (context_length, count_length) and context_length != count_length:
            raise GraphError(
                f"repeat: {count_length} repeats for an axis of length {context_length}", [variable, counts]
            )
        if isinstance(counts, Constant):
            where: Any = constant(np.repeat(np.arange(len(counts.data), dtype="int64"), counts.data))
        else:
            where = RepeatIndices()(counts)
        from symnet.ops.subscript import take

        return take(variable, where, axis)
    lengths = [length_of(variable, each) for each in range(variable.ndim)]
    pattern: list[int | str] = list(range(variable.ndim))
    pattern.insert(axis + 1, "x")
    wide = alloc(dimshuffle(variable, pattern), *lengths[: axis + 1], counts, *lengths[axis + 1 :])
    joined = [*lengths[:axis], lengths[axis] * counts, *lengths[axis + 1 :]]
    return reshape(wide, joined)


def tile(x: Any, reps: Any, ndim: int | None = None) -> Variable:
    """The whole tensor several times along each axis.

    Parameters
    ----------
    x
        A tensor.
    reps
        How often along each axis (integers or integer scalars), or one number for the last axis; where
        they are fewer than axes, the first axes are not repeated; where they are more, axes are added.
    ndim
        The rank of the result, when larger.
    """
    variable = as_tensor_variable(x)
    if isinstance(reps, Variable) and reps.ndim == 1:
        count = reps.type.shape[0]
        if count is None:
            raise GraphError("tile by a vector of unknown length", [variable, reps], hint="give a tuple")
        reps = [reps[each] for each in range(count)]  # type: ignore[index]
    if not isinstance(reps, list | tuple):
        reps = [reps]
    counts = [as_length(each, "tile") for each in reps]
    rank = max(len(counts), variable.ndim, ndim or 0)
    if ndim is not None and ndim < rank:
        raise GraphError(f"tile to {ndim} axes, where {rank} are needed", [variable])
    ones_needed = [constant(np.int64(1))] * (rank - len(counts))
    counts = [*ones_needed, *counts]
    variable = shape_padleft(variable, rank - variable.ndim)
    lengths = [length_of(variable, axis) for axis in range(rank)]
    pattern: list[int | str] = []
    for axis in range(rank):
        pattern += ["x", axis]
    wide_lengths = [each for pair in zip(counts, lengths, strict=True) for each in pair]
    wide = alloc(dimshuffle(variable, pattern), *wide_lengths)
    return reshape(wide, [a * b for a, b in zip(counts, lengths, strict=True)])
