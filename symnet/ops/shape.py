"""Ops on shape: takes tensors and lengths, hands on the same entries in another arrangement.

Lengths may be symbolic; what is known of them becomes part of the result's type at once.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape, Size
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Mismatch, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.basic import as_tensor_variable, constant, normalize_axis
from symnet.ops.elementwise import cast


def as_length(value: Any, what: str) -> Variable:
    """A length as an integer scalar variable."""
    variable = as_tensor_variable(value)
    if variable.ndim or variable.dtype not in DISCRETE_DTYPES:
        raise GraphError(f"{what}: a length is an integer scalar", [variable])
    return variable


class ShapeOf(Op):
    """The shape of a tensor, as an int64 vector."""

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
        """One entry for each axis."""
        return [(len(shapes[0]),)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The array's shape."""
        return np.asarray(inputs[0].shape, dtype="int64")

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """A shape does not depend on entries."""
        return [DISCONNECTED]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """The lengths themselves."""
        return shapes[0]

    def __str__(self) -> str:
        return "shape"


class MakeVector(Op):
    """Scalars joined into a vector."""

    properties = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The scalars in the vector's dtype."""
        return [cast(each, self.dtype) for each in inputs]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The vector's dtype."""
        return [self.dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """As many entries as there are scalars."""
        return [(len(inputs),)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The scalars in one array."""
        return np.array([each[()] for each in inputs], dtype=self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Each scalar gets its entry."""
        g = output_gradients[0]
        return [ZERO if self.dtype in DISCRETE_DTYPES else g[i] for i in range(len(node.inputs))]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """The scalars' values."""
        if self.dtype not in DISCRETE_DTYPES:
            return None
        return tuple(UNKNOWN if v is None or isinstance(v, tuple) else v for v in values)


class DimShuffle(Op):
    """Axes permuted, dropped (of length 1) and inserted ("x", of length 1)."""

    properties = ("pattern", "input_ndim")

    def __init__(self, pattern: tuple[int | str, ...], input_ndim: int) -> None:
        self.pattern = pattern
        self.input_ndim = input_ndim

    @property
    def kept(self) -> tuple[int, ...]:
        """The input axes that stay, in their new order."""
        return tuple(axis for axis in self.pattern if isinstance(axis, int))

    @property
    def dropped(self) -> tuple[int, ...]:
        """The input axes that go."""
        return tuple(axis for axis in range(self.input_ndim) if axis not in self.pattern)

    def __str__(self) -> str:
        return f"dimshuffle{{{', '.join(map(str, self.pattern))}}}"

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
        """The lengths in their new order, 1 for each new axis."""
        for axis in self.dropped:
            context.equal(shapes[0][axis], 1, f"axis {axis} is dropped and must have length 1")
        return [tuple(1 if axis == "x" else shapes[0][int(axis)] for axis in self.pattern)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """A transposed view with new axes."""
        x = inputs[0].transpose(self.kept + self.dropped)
        x = x.reshape(x.shape[: len(self.kept)])
        where = tuple(np.newaxis if axis == "x" else slice(None) for axis in self.pattern)
        return x[where] if where else x

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The inverse arrangement of the gradient."""
        x = node.inputs[0]
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO]
        inverse: list[int | str] = ["x"] * self.input_ndim
        for position, axis in enumerate(self.pattern):
            if isinstance(axis, int):
                inverse[axis] = position
        return [dimshuffle(output_gradients[0], inverse)]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """A scalar as a vector of one, a vector of one as a scalar, a vector as itself."""
        value = values[0]
        if value is None or len(self.pattern) > 1:
            return None
        if not self.pattern:
            return value[0] if isinstance(value, tuple) else value
        return value if isinstance(value, tuple) else (value,)


def dimshuffle(x: Any, *pattern: Any) -> Variable:
    """Axes in a new order; "x" inserts an axis of length 1; axes known to be 1 may be left out.

    Parameters
    ----------
    x
        A tensor.
    pattern
        Axis numbers and "x", as arguments or as one sequence.

    Raises
    ------
    ArgumentError
        When an axis does not exist, comes twice, or is left out without being known to be 1.

    >>> import symnet.tensor as T
    >>> T.vector("b").dimshuffle("x", 0, "x", "x").ndim
    4
    """
    variable = as_tensor_variable(x)
    if len(pattern) == 1 and isinstance(pattern[0], list | tuple):
        pattern = tuple(pattern[0])
    axes: list[int | str] = []
    for axis in pattern:
        if isinstance(axis, str):
            if axis != "x":
                raise GraphError(f'dimshuffle{pattern}: an axis is a number or "x"', [variable])
            axes.append("x")
        else:
            axes.append(normalize_axis(axis, variable.ndim, f"dimshuffle{pattern}", [variable]))
    numbers = [axis for axis in axes if axis != "x"]
    if len(set(numbers)) != len(numbers):
        raise ArgumentError(f"dimshuffle{pattern}: an axis comes twice", [variable])
    for axis in range(variable.ndim):
        if axis not in numbers and variable.type.shape[axis] != 1:
            raise ArgumentError(
                f"dimshuffle{pattern} leaves out axis {axis}, whose length is not known to be 1",
                [variable],
                hint="T.addbroadcast(x, axis) asserts that it is 1",
            )
    if axes == list(range(variable.ndim)):
        return variable
    return DimShuffle(tuple(axes), variable.ndim)(variable)  # type: ignore[no-any-return]


def transpose(x: Any, *axes: Any) -> Variable:
    """The axes reversed, or in the order given (numbers, or one sequence)."""
    variable = as_tensor_variable(x)
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], list | tuple)):
        axes = tuple(axes[0]) if axes[0] is not None else ()
    if not axes:
        axes = tuple(reversed(range(variable.ndim)))
    if len(axes) != variable.ndim:
        raise ArgumentError(f"transpose to {axes}: {variable.ndim} axes are expected", [variable])
    return dimshuffle(variable, list(axes))


class Reshape(Op):
    """The entries in C order under another shape; inputs are the tensor and an integer vector."""

    properties = ("ndim",)
    value_inputs = (1,)

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim

    def __str__(self) -> str:
        return f"reshape{{{self.ndim}}}"

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
        """The lengths asked for; one -1 takes what is left."""
        wanted: list[Dimension] = list(values[1]) if isinstance(values[1], tuple) else [UNKNOWN] * self.ndim
        total = dims.multiply(*shapes[0])
        free = [axis for axis, n in enumerate(wanted) if isinstance(n, int) and n == -1]
        if len(free) > 1:
            raise Mismatch(f"a reshape to {tuple(wanted)} has more than one -1")
        for n in wanted:
            if isinstance(n, int) and n < -1:
                raise Mismatch(f"a reshape to {tuple(wanted)}: a length is negative")
        rest = dims.multiply(*(n for axis, n in enumerate(wanted) if axis not in free))
        asked = f"a reshape of {shapes[0]} to {tuple(wanted)}: the numbers of entries differ"
        # A length that is only known at run time may be -1 as well.
        if free:
            context.require(dims.apply("ne", rest, 0), "a reshape with -1 beside a length of 0")
            wanted[free[0]] = dims.floor_divide(total, rest)
            context.equal(dims.multiply(wanted[free[0]], rest), total, asked)
        elif any(isinstance(n, Size) for n in wanted) and not isinstance(rest, int):
            wanted = [
                dims.select(dims.apply("eq", n, -1), dims.floor_divide(total, dims.apply("neg", rest)), n)
                if isinstance(n, Size)
                else n
                for n in wanted
            ]
            context.equal(dims.multiply(*wanted), total, asked)
        else:
            context.equal(rest, total, asked)
        return [tuple(wanted)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.reshape`."""
        return inputs[0].reshape(tuple(int(n) for n in inputs[1]))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The gradient under the input's shape."""
        x = node.inputs[0]
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, DISCONNECTED]
        return [reshape(output_gradients[0], shape_of(x), ndim=x.ndim), DISCONNECTED]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """A vector of one and a scalar are each other's reshape."""
        value = values[0]
        if value is None or self.ndim > 1:
            return None
        if self.ndim == 0:
            return value[0] if isinstance(value, tuple) else value
        return value if isinstance(value, tuple) else (value,)


def shape_of(x: Any) -> Variable:
    """The shape of a tensor: an int64 vector (`x.shape`)."""
    return ShapeOf()(as_tensor_variable(x))  # type: ignore[no-any-return]


def length_of(x: Variable, axis: int) -> Variable:
    """One axis's length as an int64 scalar, a constant where the type knows it."""
    known = x.type.shape[axis]
    if known is not None:
        return constant(np.int64(known))
    return x.shape[axis]  # type: ignore[attr-defined, no-any-return]


def shape_vector(shape: Any, what: str) -> Variable:
    """A shape given as numbers and integer scalars, or as one vector, as an int64 vector."""
    if isinstance(shape, Variable) and shape.ndim == 1:
        if shape.dtype not in DISCRETE_DTYPES:
            raise GraphError(f"{what}: a shape has integers", [shape])
        return cast(shape, "int64")
    if isinstance(shape, np.ndarray) and shape.ndim == 1:
        return constant(shape.astype("int64"))
    if not isinstance(shape, list | tuple):
        raise GraphError(
            f"{what}: a shape is a tuple, a list or an integer vector, got {shape!r}",
            hint=f"write ({shape},)" if isinstance(shape, int) else None,
        )
    lengths = [as_length(each, what) for each in shape]
    if all(isinstance(each, Constant) for each in lengths):
        return constant(np.array([int(each.data) for each in lengths], dtype="int64"))  # type: ignore[attr-defined]
    return MakeVector("int64")(*lengths)  # type: ignore[no-any-return]


def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Variable:
    """The entries in C order under a new shape.

    Parameters
    ----------
    x
        A tensor.
    newshape
        Lengths (numbers or integer scalars; one may be -1 and takes what is left), or an integer vector.
    ndim
        The number of new axes; needed when `newshape` is a vector of unknown length.

    Raises
    ------
    GraphError
        When the shape is not one.
    ArgumentError
        When its length can't be known, or is not `ndim`.
    ShapeError
        When the numbers of entries differ, as soon as both are known.
    """
    variable = as_tensor_variable(x)
    lengths = shape_vector(newshape, "reshape")
    count = lengths.type.shape[0]
    if ndim is None:
        ndim = count
    if ndim is None:
        raise ArgumentError("reshape to a vector of unknown length", [variable, lengths], hint="give ndim=")
    if count is not None and count != ndim:
        raise ArgumentError(f"reshape to {count} lengths with ndim={ndim}", [variable, lengths])
    return Reshape(int(ndim))(variable, lengths)  # type: ignore[no-any-return]


def flatten(x: Any, ndim: int | None = None, outdim: int | None = None) -> Variable:
    """The first `ndim - 1` axes kept, all others joined into one; `ndim` is 1 by default."""
    variable = as_tensor_variable(x)
    wanted = outdim if ndim is None else ndim
    wanted = 1 if wanted is None else int(wanted)
    if wanted < 1 or (variable.ndim and wanted > variable.ndim):
        raise ArgumentError(
            f"flatten to {wanted} axes", [variable], hint="from 1 up to the tensor's own number"
        )
    if wanted == variable.ndim:
        return variable
    return join_last_axes(variable, wanted - 1)


def join_last_axes(x: Variable, kept: int) -> Variable:
    """The first `kept` axes as they are, and all others joined into one; right for no entries, too."""
    if kept == 0:
        return reshape(x, [-1])
    lengths: list[Any] = [
        length_of(x, axis) if known is None else known for axis, known in enumerate(x.type.shape)
    ]
    return reshape(x, [*lengths[:kept], functools.reduce(operator.mul, lengths[kept:])])


def ravel(x: Any) -> Variable:
    """All entries in one axis."""
    return flatten(x)


def shape_padleft(x: Any, n_ones: int = 1) -> Variable:
    """`x` with `n_ones` axes of length 1 in front."""
    variable = as_tensor_variable(x)
    return dimshuffle(variable, ["x"] * n_ones + list(range(variable.ndim)))


def shape_padright(x: Any, n_ones: int = 1) -> Variable:
    """`x` with `n_ones` axes of length 1 at the end."""
    variable = as_tensor_variable(x)
    return dimshuffle(variable, list(range(variable.ndim)) + ["x"] * n_ones)


def shape_padaxis(x: Any, axis: int) -> Variable:
    """`x` with one axis of length 1 at a place."""
    variable = as_tensor_variable(x)
    pattern: list[int | str] = list(range(variable.ndim))
    pattern.insert(normalize_axis(axis, variable.ndim + 1, "shape_padaxis", [variable]), "x")
    return dimshuffle(variable, pattern)


def squeeze(x: Any) -> Variable:
    """`x` without the axes that are known to be 1."""
    variable = as_tensor_variable(x)
    return dimshuffle(variable, [a for a in range(variable.ndim) if variable.type.shape[a] != 1])


def swapaxes(x: Any, axis1: int, axis2: int) -> Variable:
    """Two axes exchanged."""
    variable = as_tensor_variable(x)
    order = list(range(variable.ndim))
    first = normalize_axis(axis1, variable.ndim, "swapaxes", [variable])
    second = normalize_axis(axis2, variable.ndim, "swapaxes", [variable])
    order[first], order[second] = order[second], order[first]
    return dimshuffle(variable, order)
