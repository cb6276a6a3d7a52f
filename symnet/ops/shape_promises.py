"""What a user says of a shape: takes a tensor and lengths, hands on the tensor under another type.

A promised length is checked when it runs; a forgotten one no longer broadcasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph.dims import UNKNOWN, Shape
from symnet.graph.op import BUILDING, HostValue, Op, ShapeContext
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.basic import as_tensor_variable, normalize_axis


class SpecifyShape(Op):
    """The tensor itself, with axis lengths that are promised, and checked when it runs."""

    properties = ("lengths",)

    def __init__(self, lengths: tuple[int | None, ...]) -> None:
        self.lengths = lengths

    def __str__(self) -> str:
        return f"specify_shape{{{', '.join('?' if n is None else str(n) for n in self.lengths)}}}"

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The input's dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The promised lengths, the input's where none is promised."""
        return [
            tuple(
                length
                if promised is None
                else context.equal(
                    length, promised, f"axis {axis} does not have the length it was said to have"
                )
                for axis, (length, promised) in enumerate(zip(shapes[0], self.lengths, strict=True))
            )
        ]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The array itself."""
        return inputs[0]

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The gradient itself."""
        return [output_gradients[0]]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """The input's content."""
        return values[0]


def specify_shape(x: Any, shape: Sequence[int | None]) -> Variable:
    """`x` with axis lengths that are promised (None: unknown) and checked when it runs.

    Raises
    ------
    ShapeError
        When a known length differs, at once or at run time.
    """
    variable = as_tensor_variable(x)
    if isinstance(shape, list | tuple) and len(shape) != variable.ndim:
        raise GraphError(f"specify_shape to {len(shape)} axes", [variable])
    lengths = tuple(
        None if each is None else int(each.data if isinstance(each, Constant) else each) for each in shape
    )
    if all(want is None or want == have for want, have in zip(lengths, variable.type.shape, strict=True)):
        return variable
    return SpecifyShape(lengths)(variable)  # type: ignore[no-any-return]


class Unbroadcast(Op):
    """The tensor itself, whose type forgets that some axes are 1."""

    properties = ("axes",)

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def __str__(self) -> str:
        return f"unbroadcast{{{', '.join(map(str, self.axes))}}}"

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The input's dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The input's shape, as far as the user may know it."""
        forget = self.axes if context is BUILDING else ()
        return [tuple(UNKNOWN if axis in forget else n for axis, n in enumerate(shapes[0]))]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The array itself."""
        return inputs[0]

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The gradient, known again to be 1 along the axes."""
        return [addbroadcast(output_gradients[0], *self.axes)]


def unbroadcast_axes(x: Any, *axes: int) -> Variable:
    """`x` with axes that are no longer known to have length 1 (Theano's `unbroadcast`)."""
    variable = as_tensor_variable(x)
    chosen = tuple(
        axis
        for axis in sorted({normalize_axis(each, variable.ndim, "unbroadcast", [variable]) for each in axes})
        if variable.type.shape[axis] == 1
    )
    return Unbroadcast(chosen)(variable) if chosen else variable  # type: ignore[no-any-return]


def addbroadcast(x: Any, *axes: int) -> Variable:
    """`x` with axes that are promised to have length 1 and broadcast from now on."""
    variable = as_tensor_variable(x)
    chosen = {normalize_axis(each, variable.ndim, "addbroadcast", [variable]) for each in axes}
    return specify_shape(variable, [1 if axis in chosen else None for axis in range(variable.ndim)])


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Variable:
    """`x` with exactly the given axes known to be 1."""
    variable = as_tensor_variable(x)
    if len(broadcastable) != variable.ndim:
        raise GraphError(f"patternbroadcast to {len(broadcastable)} axes", [variable])
    forgotten = unbroadcast_axes(variable, *(axis for axis, flag in enumerate(broadcastable) if not flag))
    return addbroadcast(forgotten, *(axis for axis, flag in enumerate(broadcastable) if flag))
