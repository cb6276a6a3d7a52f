"""Reductions: takes a tensor and axes, hands on sums, products, extremes, and what is made of them.

Dtypes are Theano's: sums and products of integers are 64 bits wide, float32 is summed in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph import dims
from symnet.graph.dims import Dimension, Shape
from symnet.graph.op import ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import (
    DISCRETE_DTYPES,
    FLOAT_DTYPES,
    SIGNED_DTYPES,
    UNSIGNED_DTYPES,
    checked_dtype,
)
from symnet.graph.variable import Apply, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, normalize_axis
from symnet.ops.elementwise import cast
from symnet.ops.shape import dimshuffle, flatten, join_last_axes

_NUMPY = {
    "add": np.add.reduce,
    "mul": np.multiply.reduce,
    "maximum": np.maximum.reduce,
    "minimum": np.minimum.reduce,
    "and": np.logical_and.reduce,
    "or": np.logical_or.reduce,
}
_NAMES = {"add": "sum", "mul": "prod", "maximum": "max", "minimum": "min", "and": "all", "or": "any"}


def accumulator_dtype(function: str, dtype: str) -> str:
    """The dtype in which a reduction adds up; float32 sums and products are kept in float64."""
    return "float64" if function in ("add", "mul") and dtype in FLOAT_DTYPES else dtype


class Reduce(Op):
    """A reduction over axes, which the result no longer has.

    Attributes
    ----------
    function
        "add", "mul", "maximum", "minimum", "and", "or".
    axes
        The axes reduced, ascending.
    dtype
        The result's dtype; operands are converted to it before they are combined.
    """

    properties = ("function", "axes", "dtype")

    def __init__(self, function: str, axes: tuple[int, ...], dtype: str) -> None:
        self.function = function
        self.axes = axes
        self.dtype = dtype

    @property
    def name(self) -> str:
        """The reduction's common name: sum, max …"""
        return _NAMES[self.function]

    def __str__(self) -> str:
        return f"{self.name}{{axis={self.axes}}}"

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
        """The input's shape without the axes."""
        if self.function in ("maximum", "minimum"):
            for axis in self.axes:
                context.require(
                    dims.apply("ne", shapes[0][axis], 0),
                    f"the {self.name} of no elements (axis {axis} has length 0)",
                )
        return [tuple(n for axis, n in enumerate(shapes[0]) if axis not in self.axes)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """NumPy's reduction, added up in the accumulator's dtype."""
        x = inputs[0]
        if self.function in ("add", "mul"):
            kind = accumulator_dtype(self.function, self.dtype)
            with np.errstate(all="ignore"):
                found = _NUMPY[self.function](x.astype(kind, copy=False), axis=self.axes, dtype=kind)
        else:
            found = _NUMPY[self.function](x.astype(self.dtype, copy=False), axis=self.axes)
        with np.errstate(all="ignore"):
            return np.asarray(found).astype(self.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """A sum gives all the gradient, an extreme every entry that attains it, a product by the others."""
        x, out, g = node.inputs[0], node.outputs[0], output_gradients[0]
        if self.dtype in DISCRETE_DTYPES or x.dtype in DISCRETE_DTYPES:
            return [ZERO]
        wide = restore_axes(g, x.ndim, self.axes)
        if self.function == "add":
            return [cast(table.fill(x, wide), x.dtype)]
        if self.function == "mul":
            return [cast(wide * _product_of_others(x, out, self.axes), x.dtype)]
        return [cast(wide * table.eq(restore_axes(out, x.ndim, self.axes), x), x.dtype)]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """The sum, product or extreme of known integers, such as a shape."""
        known = values[0]
        if self.dtype != "int64" or not isinstance(known, tuple) or node.inputs[0].dtype == "uint64":
            return None
        if self.function in ("add", "mul"):
            start: Dimension = {"add": 0, "mul": 1}[self.function]
            rest = known
        elif known:
            start, rest = known[0], known[1:]
        else:
            return None
        total: Dimension = start
        for each in rest:
            total = dims.apply(self.function, total, each)
        return dims.as_dtype(total, self.dtype)


def _product_of_others(x: Variable, product: Variable, axes: tuple[int, ...]) -> Variable:
    """For each entry the product of the others along the axes: right where entries are 0, too."""
    is_zero = table.eq(x, 0)
    zeros = restore_axes(sum(cast(is_zero, "int64"), axis=axes), x.ndim, axes)
    without_zeros = restore_axes(prod(table.switch(is_zero, 1, x), axis=axes, dtype=x.dtype), x.ndim, axes)
    nonzero_entry = table.switch(is_zero, 1, x)
    return table.switch(
        table.eq(zeros, 0),
        restore_axes(product, x.ndim, axes) / nonzero_entry,
        table.switch(table.and_(table.eq(zeros, 1), is_zero), without_zeros, 0),
    )


class ArgExtreme(Op):
    """The place along one axis of the largest ("maximum") or smallest entry: the first, or the first NaN."""

    properties = ("function", "axis")

    def __init__(self, function: str, axis: int) -> None:
        self.function = function
        self.axis = axis

    @property
    def name(self) -> str:
        """argmax or argmin."""
        return {"maximum": "argmax", "minimum": "argmin"}[self.function]

    def __str__(self) -> str:
        return f"{self.name}{{axis={self.axis}}}"

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
        """The input's shape without the axis."""
        context.require(
            dims.apply("ne", shapes[0][self.axis], 0),
            f"the {self.name} of no elements (axis {self.axis} has length 0)",
        )
        return [tuple(n for axis, n in enumerate(shapes[0]) if axis != self.axis)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.argmax` or `numpy.argmin`."""
        function = np.argmax if self.function == "maximum" else np.argmin
        return np.asarray(function(inputs[0], axis=self.axis), dtype="int64")

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Zero: a place does not change with the entries."""
        return [ZERO]


def restore_axes(reduced: Variable, ndim: int, axes: Sequence[int]) -> Variable:
    """A reduction's result with the reduced axes back, of length 1."""
    kept = iter(range(reduced.ndim))
    return dimshuffle(reduced, ["x" if axis in axes else next(kept) for axis in range(ndim)])


def checked_axes(axis: Any, ndim: int, what: str, operand: Variable) -> tuple[int, ...]:
    """The axes that `axis` (None, an integer, or several) means, ascending, each once."""
    if axis is None:
        return tuple(range(ndim))
    several = axis if isinstance(axis, list | tuple | np.ndarray) and np.ndim(axis) else [axis]
    return tuple(sorted({normalize_axis(each, ndim, what, [operand]) for each in several}))


def _reduce(function: str, x: Any, axis: Any, dtype: str, keepdims: bool) -> Variable:
    variable = as_tensor_variable(x)
    axes = checked_axes(axis, variable.ndim, _NAMES[function], variable)
    if not axes:
        return cast(variable, dtype)
    reduced = Reduce(function, axes, dtype)(variable)
    return restore_axes(reduced, variable.ndim, axes) if keepdims else reduced


def _wide(dtype: str) -> str:
    if dtype == "bool" or dtype in SIGNED_DTYPES:
        return "int64"
    return "uint64" if dtype in UNSIGNED_DTYPES else dtype


def sum(
    x: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
) -> Variable:
    """The sum over all axes, one, or several.

    Parameters
    ----------
    x
        A tensor.
    axis
        None (all), an integer, or several.
    dtype
        The result's dtype; by default int64 or uint64 for integers and bools, the input's for floats.
    keepdims
        Whether reduced axes stay, with length 1.
    acc_dtype
        Accepted for Theano's programs; float sums are always accumulated in float64.

    Raises
    ------
    GraphError
        When the tensor has no such axis.

    >>> import symnet.tensor as T
    >>> T.sum(T.constant([[1, 2], [3, 4]]), axis=0).eval().tolist()
    [4, 6]
    """
    variable = as_tensor_variable(x)
    return _reduce("add", variable, axis, checked_dtype(dtype) if dtype else _wide(variable.dtype), keepdims)


def prod(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    acc_dtype: Any = None,
    no_zeros_in_input: bool = False,
) -> Variable:
    """The product over axes; parameters and dtypes as `sum`'s. Its gradient is right at zeros, too."""
    variable = as_tensor_variable(x)
    return _reduce("mul", variable, axis, checked_dtype(dtype) if dtype else _wide(variable.dtype), keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The largest entry over axes, or NaN; its gradient goes to every entry that attains it."""
    variable = as_tensor_variable(x)
    return _reduce("maximum", variable, axis, variable.dtype, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The smallest entry over axes, or NaN; its gradient goes to every entry that attains it."""
    variable = as_tensor_variable(x)
    return _reduce("minimum", variable, axis, variable.dtype, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether every entry over the axes differs from 0; bool."""
    return _reduce("and", _truth(x), axis, "bool", keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """Whether some entry over the axes differs from 0; bool."""
    return _reduce("or", _truth(x), axis, "bool", keepdims)


def _truth(x: Any) -> Variable:
    variable = as_tensor_variable(x)
    return variable if variable.dtype == "bool" else table.neq(variable, 0)


def _arg_extreme(function: str, x: Any, axis: Any, keepdims: bool) -> Variable:
    variable = as_tensor_variable(x)
    what = {"maximum": "argmax", "minimum": "argmin"}[function]
    axes = checked_axes(axis, variable.ndim, what, variable)
    if variable.ndim == 0:
        return cast(table.fill(variable, 0), "int64")
    if len(axes) == 1:
        place = ArgExtreme(function, axes[0])(variable)
    elif len(axes) == variable.ndim:
        place = ArgExtreme(function, 0)(flatten(variable))
    else:
        kept = [each for each in range(variable.ndim) if each not in axes]
        moved = dimshuffle(variable, kept + list(axes))
        place = ArgExtreme(function, len(kept))(join_last_axes(moved, len(kept)))
    return restore_axes(place, variable.ndim, axes) if keepdims else place


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The place of the largest entry (the first of several, the first NaN) along an axis; int64.

    With `axis=None` the place in the flattened tensor.
    """
    return _arg_extreme("maximum", x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The place of the smallest entry (the first of several, the first NaN) along an axis; int64."""
    return _arg_extreme("minimum", x, axis, keepdims)


def max_and_argmax(x: Any, axis: Any = None, keepdims: bool = False) -> list[Variable]:
    """Both the largest entry and its place."""
    return [max(x, axis, keepdims), argmax(x, axis, keepdims)]


def _count(variable: Variable, axes: Sequence[int], dtype: str) -> Variable:
    count: Any = 1
    for axis in axes:
        length = variable.type.shape[axis]
        count = count * (variable.shape[axis] if length is None else length)
    return cast(as_tensor_variable(count), dtype)


def mean(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    op: bool = False,
    keepdims: bool = False,
    acc_dtype: Any = None,
) -> Variable:
    """The mean over axes; float64 of integers and bools, else the input's dtype. Parameters as `sum`'s."""
    variable = as_tensor_variable(x)
    if dtype is not None:
        target = checked_dtype(dtype)
    else:
        target = "float64" if variable.dtype in DISCRETE_DTYPES else variable.dtype
    if target in DISCRETE_DTYPES:
        raise GraphError(f"the mean of {variable.dtype} as {target}: a float dtype is expected", [variable])
    axes = checked_axes(axis, variable.ndim, "mean", variable)
    total = sum(variable, axis=list(axes), dtype=target, keepdims=keepdims)
    return table.true_div(total, _count(variable, axes, target))


def var(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False) -> Variable:
    """The variance over axes: the mean squared distance from the mean, over count - `ddof`.

    `corrected` subtracts the squared mean distance, which rounding leaves (Chan, Golub, LeVeque 1983).
    """
    variable = as_tensor_variable(x)
    axes = checked_axes(axis, variable.ndim, "var", variable)
    centred = variable - mean(variable, axis=list(axes), keepdims=True)
    dtype = centred.dtype
    count = _count(variable, axes, dtype)
    divisor = count - ddof if ddof else count
    squares = table.true_div(sum(table.sqr(centred), axis=list(axes), keepdims=keepdims), divisor)
    if not corrected:
        return squares
    rest = table.true_div(sum(centred, axis=list(axes), keepdims=keepdims), count)
    return squares - table.sqr(rest)


def std(x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False) -> Variable:
    """The standard deviation: the square root of `var`."""
    return table.sqrt(var(x, axis, ddof, keepdims, corrected))  # type: ignore[no-any-return]


def ptp(x: Any, axis: Any = None) -> Variable:
    """The largest minus the smallest entry."""
    return max(x, axis) - min(x, axis)


def norm_of(x: Any, order: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    """The vector norm of an order over axes: `x.norm(order)`."""
    variable = as_tensor_variable(x)
    if order == 0:
        return cast(sum(table.neq(variable, 0), axis=axis, keepdims=keepdims), variable.dtype)
    if order == float("inf"):
        return max(table.abs_(variable), axis=axis, keepdims=keepdims)
    if order == float("-inf"):
        return min(table.abs_(variable), axis=axis, keepdims=keepdims)
    powers = sum(table.abs_(variable) ** order, axis=axis, keepdims=keepdims)
    return powers ** (1.0 / order)
