"""Tensors made from lengths and scalars: takes sizes, hands on constants of a shape, ranges and eyes.

The lengths may be symbolic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Shape
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Mismatch, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES, checked_dtype
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, constant, upcast
from symnet.ops.elementwise import cast, unbroadcast
from symnet.ops.shape import as_length

fill = table.fill


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
    """The integers from start to stop by step; inputs are three scalars of the result's dtype."""

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
        start, stop, step = (UNKNOWN if v is None or isinstance(v, tuple) else v for v in values)
        context.require(dims.apply("ne", step, 0), "the step is 0")
        # Rounded up: the last step may reach beyond the end.
        steps = dims.apply("neg", dims.floor_divide(dims.subtract(start, stop), step))
        return [(dims.maximum(steps, 0),)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.arange`."""
        start, stop, step = (each.item() for each in inputs)
        return np.arange(start, stop, step, dtype=self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Integers have no gradient."""
        return [ZERO, ZERO, ZERO]


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Variable:
    """The numbers from `start` (0 when only one argument is given) up to `stop`, by `step`.

    Integers give int64. A float's gradient reaches start and step, and leaves the number of entries out
    of account.

    Raises
    ------
    GraphError
        When a bound is not a scalar.
    """
    if stop is None:
        start, stop = 0, start
    bounds = [as_tensor_variable(each) for each in (start, stop, step)]
    if any(each.ndim for each in bounds):
        raise GraphError("arange takes scalars", bounds)
    common = upcast(*(each.dtype for each in bounds))
    if dtype is not None:
        target = checked_dtype(dtype)
    elif common in DISCRETE_DTYPES:
        target = "int64"
    elif any(isinstance(each, np.generic | np.ndarray | Variable) for each in (start, stop, step)):
        target = common
    else:
        target = config.floatX if common == "float64" else common
    if common in DISCRETE_DTYPES:
        whole = target if target in DISCRETE_DTYPES else "int64"
        return cast(ARange(whole)(*(cast(each, whole) for each in bounds)), target)
    first, last, by = (cast(each, "float64") for each in bounds)
    if all(isinstance(each, Constant) for each in bounds):
        count: Any = constant(np.int64(len(np.arange(*(each.data.item() for each in bounds)))))  # type: ignore[attr-defined]
    else:
        count = cast(table.maximum(table.ceil((last - first) / by), 0), "int64")
    zero, one = constant(np.int64(0)), constant(np.int64(1))
    places = ARange("int64")(zero, count, one)
    return cast(first + places * by, target)


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
        rows, columns, diagonal = (int(each) for each in inputs)
        return np.eye(rows, columns, diagonal, dtype=self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Lengths have no gradient."""
        return [ZERO, ZERO, ZERO]


def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Variable:
    """An n × m matrix (m is n by default) with ones on the k-th diagonal; floatX by default."""
    target = config.floatX if dtype is None else checked_dtype(dtype)
    columns = n if m is None else m
    return Eye(target)(*(cast(as_length(each, "eye"), "int64") for each in (n, columns, k)))  # type: ignore[no-any-return]


def broadcast_like(value: Any, model: Any) -> Variable:
    """`value` broadcast to a tensor's shape."""
    return fill(as_tensor_variable(model), as_tensor_variable(value))  # type: ignore[no-any-return]
