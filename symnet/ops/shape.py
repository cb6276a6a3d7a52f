"""Ops on shape: takes tensors and lengths, hands on the same entries in another arrangement.

Lengths may be symbolic; what is known of them becomes part of the result's type at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape, Size
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Mismatch, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES, INTEGER_DTYPES, checked_dtype
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, constant, normalize_axis, upcast
from symnet.ops.elementwise import cast, unbroadcast

fill = table.fill


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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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
    GraphError
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
        raise GraphError(f"dimshuffle{pattern}: an axis comes twice", [variable])
    for axis in range(variable.ndim):
        if axis not in numbers and variable.type.shape[axis] != 1:
            raise GraphError(
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
        raise GraphError(f"transpose to {axes}: {variable.ndim} axes are expected", [variable])
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
            if isinstance(rest, int) and rest == 0:
                context.equal(total, 0, asked)
                wanted[free[0]] = 0
            else:
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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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
        When the shape is not one, or its length can't be known.
    ShapeError
        When the numbers of entries differ, as soon as both are known.
    """
    variable = as_tensor_variable(x)
    lengths = shape_vector(newshape, "reshape")
    count = lengths.type.shape[0]
    if ndim is None:
        ndim = count
    if ndim is None:
        raise GraphError("reshape to a vector of unknown length", [variable, lengths], hint="give ndim=")
    if count is not None and count != ndim:
        raise GraphError(f"reshape to {count} lengths with ndim={ndim}", [variable, lengths])
    return Reshape(int(ndim))(variable, lengths)  # type: ignore[no-any-return]


def flatten(x: Any, ndim: int | None = None, outdim: int | None = None) -> Variable:
    """The first `ndim - 1` axes kept, all others joined into one; `ndim` is 1 by default."""
    variable = as_tensor_variable(x)
    wanted = outdim if ndim is None else ndim
    wanted = 1 if wanted is None else int(wanted)
    if wanted < 1 or variable.ndim and wanted > variable.ndim:
        raise GraphError(f"flatten to {wanted} axes", [variable], hint="from 1 up to the tensor's own number")
    if wanted == variable.ndim:
        return variable
    return reshape(variable, [length_of(variable, axis) for axis in range(wanted - 1)] + [-1])


def ravel(x: Any) -> Variable:
    """All entries in one axis."""
    return flatten(x)


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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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
    GraphError
        When there is none, ranks differ, or they are scalars (`stack` joins those).
    """
    if isinstance(tensor_list, Variable) or not isinstance(tensor_list, list | tuple):
        raise GraphError(f"concatenate takes a list of tensors, got {tensor_list!r:.80}")
    if not tensor_list:
        raise GraphError("concatenate of no tensors")
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
        raise GraphError("stack of no tensors")
    parts = [as_tensor_variable(each) for each in tensors]
    if any(part.ndim != parts[0].ndim for part in parts):
        raise GraphError("stack: tensors of different rank", parts)
    axis = normalize_axis(axis, parts[0].ndim + 1, "stack", parts)
    if parts[0].ndim == 0:
        return MakeVector(upcast(*(part.dtype for part in parts)))(*parts)  # type: ignore[no-any-return]
    pattern: list[int | str] = list(range(parts[0].ndim))
    pattern.insert(axis, "x")
    return concatenate([dimshuffle(part, pattern) for part in parts], axis)


class Alloc(Op):
    """A value broadcast to a shape; inputs are the value and one length for each axis."""

    @property
    def value_inputs(self) -> tuple[int, ...]:  # type: ignore[override]
        """All lengths."""
        return tuple(range(1, 65))

    def __str__(self) -> str:
        return "alloc"

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The value's dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The lengths asked for; the value's axes of other length than 1 must have them."""
        wanted = [UNKNOWN if v is None or isinstance(v, tuple) else v for v in values[1:]]
        for n in wanted:
            if isinstance(n, int) and n < 0:
                raise Mismatch(f"the length {n} is negative")
        offset = len(wanted) - len(shapes[0])
        for axis, length in enumerate(shapes[0]):
            if inputs[0].type.shape[axis] != 1:
                asked = f"the value's length of axis {axis} and the length asked for differ"
                wanted[axis + offset] = context.equal(wanted[axis + offset], length, asked)
        return [tuple(wanted)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.broadcast_to`, copied."""
        return np.broadcast_to(inputs[0], tuple(int(n) for n in inputs[1:])).copy()

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The gradient summed over the axes that were broadcast."""
        value = node.inputs[0]
        lengths = [DISCONNECTED] * (len(node.inputs) - 1)
        if value.dtype in DISCRETE_DTYPES:
            return [ZERO, *lengths]
        return [cast(unbroadcast(output_gradients[0], value), value.dtype), *lengths]


def alloc(value: Any, *shape: Any) -> Variable:
    """`value` broadcast to a shape: lengths as arguments (numbers or integer scalars).

    Raises
    ------
    GraphError
        When the value has more axes than the shape.
    """
    if len(shape) == 1 and isinstance(shape[0], list | tuple):
        shape = tuple(shape[0])
    variable = as_tensor_variable(value)
    lengths = [as_length(each, "alloc") for each in shape]
    if variable.ndim > len(lengths):
        raise GraphError(f"alloc of a value with more axes than the {len(lengths)} lengths", [variable])
    return Alloc()(variable, *lengths)  # type: ignore[no-any-return]


def _filled(value: int, shape: Any, dtype: Any) -> Variable:
    if isinstance(shape, Variable) and shape.ndim == 1:
        count = shape.type.shape[0]
        if count is None:
            raise GraphError("a tensor of a shape vector whose length is not known", [shape])
        shape = [shape[axis] for axis in range(count)]  # type: ignore[index]
    if not isinstance(shape, list | tuple | np.ndarray):
        shape = [shape]
    target = config.floatX if dtype is None else checked_dtype(dtype)
    return alloc(constant(np.asarray(value, dtype=target)), *shape)


def zeros(shape: Any, dtype: Any = None) -> Variable:
    """Zeros of a shape (a length, several, or an integer vector); floatX unless a dtype is given."""
    return _filled(0, shape, dtype)


def ones(shape: Any, dtype: Any = None) -> Variable:
    """Ones of a shape; floatX unless a dtype is given."""
    return _filled(1, shape, dtype)


def zeros_like(model: Any, dtype: Any = None, opt: bool = False) -> Variable:
    """Zeros of a tensor's shape, in its dtype unless another is given."""
    variable = as_tensor_variable(model)
    target = variable.dtype if dtype is None else checked_dtype(dtype)
    return fill(variable, constant(np.asarray(0, dtype=target)))  # type: ignore[no-any-return]


def ones_like(model: Any, dtype: Any = None, opt: bool = False) -> Variable:
    """Ones of a tensor's shape, in its dtype unless another is given."""
    variable = as_tensor_variable(model)
    target = variable.dtype if dtype is None else checked_dtype(dtype)
    return fill(variable, constant(np.asarray(1, dtype=target)))  # type: ignore[no-any-return]


class ARange(Op):
    """The numbers from start to stop by step; inputs are three scalars of the result's dtype."""

    properties = ("dtype",)
    value_inputs = (0, 1, 2)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __str__(self) -> str:
        return "arange"

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The dtype asked for."""
        return [self.dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """As many entries as steps fit."""
        if all(isinstance(each, Constant) for each in inputs):
            data = [each.data[()] for each in inputs]  # type: ignore[attr-defined]
            if data[2] == 0:
                raise Mismatch("the step is 0")
            return [(len(np.arange(*data)),)]
        start, stop, step = values
        if start is None or stop is None or isinstance(start, tuple) or isinstance(stop, tuple):
            return [(UNKNOWN,)]
        if not isinstance(step, int):
            return [(UNKNOWN,)]
        if step == 0:
            raise Mismatch("the step is 0")
        span = dims.subtract(stop, start) if step > 0 else dims.subtract(start, stop)
        return [(dims.ceil_divide(dims.maximum(span, 0), abs(step)),)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.arange`."""
        return np.arange(inputs[0][()], inputs[1][()], inputs[2][()], dtype=self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Start and step reach the entries; the number of entries is left out of account."""
        if self.dtype in DISCRETE_DTYPES:
            return [ZERO, ZERO, ZERO]
        from symnet.ops.reduction import sum as total

        g = output_gradients[0]
        steps = cast(arange(length_of(g, 0)), self.dtype)
        return [total(g), ZERO, total(g * steps)]


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Variable:
    """The numbers from `start` (0 when only one argument is given) up to `stop`, by `step`.

    Integers give int64. The step is a number when the bounds are symbolic.

    Raises
    ------
    GraphError
        When a bound is not a scalar, or a float's number of steps depends on the data.
    """
    if stop is None:
        start, stop = 0, start
    bounds = [as_tensor_variable(each) for each in (start, stop, step)]
    if any(each.ndim for each in bounds):
        raise GraphError("arange takes scalars", bounds)
    if dtype is not None:
        target = checked_dtype(dtype)
    else:
        target = upcast(*(each.dtype for each in bounds))
        if target in DISCRETE_DTYPES:
            target = "int64"
        elif not any(isinstance(each, np.generic | np.ndarray | Variable) for each in (start, stop, step)):
            target = config.floatX if target == "float64" else target
    return ARange(target)(*(cast(each, target) for each in bounds))  # type: ignore[no-any-return]


class Eye(Op):
    """Ones on a diagonal; inputs are rows, columns, and the diagonal's offset."""

    properties = ("dtype",)
    value_inputs = (0, 1)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __str__(self) -> str:
        return "eye"

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The dtype asked for."""
        return [self.dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """Rows and columns."""
        return [tuple(UNKNOWN if v is None or isinstance(v, tuple) else v for v in values[:2])]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.eye`."""
        return np.eye(*(int(each) for each in inputs), dtype=self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Lengths have no gradient."""
        return [ZERO, ZERO, ZERO]


def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """An n × m matrix (m is n by default) with ones on the k-th diagonal; floatX by default."""
    target = config.floatX if dtype is None else checked_dtype(dtype)
    columns = n if m is None else m
    return Eye(target)(*(cast(as_length(each, "eye"), "int64") for each in (n, columns, k)))  # type: ignore[no-any-return]


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
                length if promised is None else context.equal(
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

    def host_values(
        self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]
    ) -> HostValue:
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
        int(each.data) if isinstance(each, Constant) else None if each is None else int(each) for each in shape
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
        from symnet.graph.op import BUILDING

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


def broadcast_like(value: Any, model: Any) -> Variable:
    """`value` broadcast to a tensor's shape."""
    return fill(as_tensor_variable(model), as_tensor_variable(value))  # type: ignore[no-any-return]


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
        from symnet.ops.indexing import take

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


def swapaxes(x: Any, axis1: int, axis2: int) -> Variable:
    """Two axes exchanged."""
    variable = as_tensor_variable(x)
    order = list(range(variable.ndim))
    first = normalize_axis(axis1, variable.ndim, "swapaxes", [variable])
    second = normalize_axis(axis2, variable.ndim, "swapaxes", [variable])
    order[first], order[second] = order[second], order[first]
    return dimshuffle(variable, order)


