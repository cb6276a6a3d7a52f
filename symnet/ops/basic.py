"""From Python values to variables: takes numbers, arrays and lists, hands on constants and variables.

Also the dtype rules that all ops share, which are Theano's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import ArgumentError, GraphError
from symnet.graph.types import DISCRETE_DTYPES, TensorType, checked_dtype
from symnet.graph.variable import Constant, Variable

_FLOAT_OF = {
    "bool": "float32",
    "int8": "float32",
    "uint8": "float32",
    "int16": "float32",
    "uint16": "float32",
    "int32": "float64",
    "uint32": "float64",
    "int64": "float64",
    "uint64": "float64",
}


@functools.lru_cache(maxsize=1024)
def upcast(*dtypes: str) -> str:
    """The smallest dtype that holds every value of all of them, as NumPy promotes."""
    return np.result_type(*(np.dtype(dtype) for dtype in dtypes)).name


def float_of(dtype: str) -> str:
    """The dtype of a function of the reals (exp, sqrt …): floats keep theirs, integers get a float."""
    return _FLOAT_OF.get(dtype, dtype)


def _smallest_integer(value: int) -> str:
    for dtype in ("int8", "int16", "int32", "int64"):
        info = np.iinfo(dtype)
        if info.min <= value <= info.max:
            return dtype
    if 0 <= value <= np.iinfo("uint64").max:
        return "uint64"
    raise GraphError(f"the integer {value} does not fit in 64 bits")


def literal_array(value: Any, dtype: str | None = None) -> np.ndarray[Any, Any]:
    """A Python number as a 0-d array of the dtype that Theano gives it.

    Integers take the smallest signed dtype that holds them. A float is floatX where that is float32;
    else float32 where that loses nothing, and float64.
    """
    if dtype is not None:
        return np.asarray(value, dtype=dtype)
    if isinstance(value, bool):
        return np.asarray(value)
    if isinstance(value, int):
        return np.asarray(value, dtype=_smallest_integer(value))
    if isinstance(value, float):
        if config.floatX == "float32":
            return np.asarray(value, dtype="float32")
        with np.errstate(over="ignore"):
            short = np.float32(value)
        exact = float(short) == value or value != value
        return np.asarray(value, dtype="float32" if exact else "float64")
    return np.asarray(value)


def constant(value: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None) -> Constant:
    """A constant of a number, an array, or nested lists.

    Parameters
    ----------
    value
        Arrays and NumPy scalars keep their dtype, lists get NumPy's; Python numbers get the dtype
        described at `literal_array`.
    name
        A name for prints.
    ndim
        The rank wanted; axes of length 1 are put in front.
    dtype
        The dtype wanted, or "floatX".

    Raises
    ------
    GraphError
        When the value is not numeric or has more axes than `ndim`.
    """
    target = None if dtype is None else checked_dtype(dtype)
    if isinstance(value, Constant) and target in (None, value.dtype) and ndim in (None, value.ndim):
        return value
    weak = type(value) in (int, float) and target is None
    if type(value) in (bool, int, float):
        data = literal_array(value, target)
    else:
        try:
            data = np.array(value, dtype=target)
        except (TypeError, ValueError) as error:
            raise GraphError(f"{type(value).__name__} {value!r:.80} is not a tensor: {error}") from None
    if data.dtype.kind not in "biufc":
        raise GraphError(f"{type(value).__name__} {value!r:.80} is not a tensor of numbers")
    if ndim is not None:
        if data.ndim > ndim:
            raise GraphError(f"a value of {data.ndim} axes, where {ndim} are wanted: {value!r:.80}")
        data = data.reshape((1,) * (ndim - data.ndim) + data.shape)
    return Constant(TensorType(data.dtype.name, shape=data.shape), data, name=name, weak=weak)


def as_tensor_variable(value: Any, name: str | None = None, ndim: int | None = None) -> Variable:
    """A variable from a variable, a number, an array, or nested lists that may hold variables.

    Raises
    ------
    GraphError
        When it can't be a tensor, or has another rank than `ndim`.

    >>> import symnet.tensor as T
    >>> T.as_tensor_variable([1.5, 2.5]).type
    TensorType(float64, (2,))
    """
    if isinstance(value, Variable):
        if ndim is not None and value.ndim != ndim:
            if value.ndim < ndim:
                from symnet.ops.shape import dimshuffle

                return dimshuffle(value, ["x"] * (ndim - value.ndim) + list(range(value.ndim)))
            raise GraphError(f"a tensor of {ndim} axes is wanted", [value])
        return value
    if isinstance(value, list | tuple) and _holds_variable(value):
        from symnet.ops.joining import stack

        return stack(list(value))
    return constant(value, name=name, ndim=ndim)


def _holds_variable(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds_variable(each) for each in value)
    return isinstance(value, Variable)


def settle_literals(variables: Sequence[Variable]) -> list[Variable]:
    """Python numbers among operands, in a dtype that widens none of the others.

    Beside a float tensor a Python number takes the tensor's dtype. Beside integers an integer keeps the
    smallest dtype that holds it, and a float the dtype of `literal_array`.
    """
    others = [v.dtype for v in variables if not (isinstance(v, Constant) and v.weak)]
    if not others or len(others) == len(variables):
        return list(variables)
    common = upcast(*others)
    settled: list[Variable] = []
    for variable in variables:
        if isinstance(variable, Constant) and variable.weak:
            literal = variable.data[()]
            if common not in DISCRETE_DTYPES:
                variable = Constant(TensorType(common, shape=()), np.asarray(literal, dtype=common))
            else:
                variable = Constant(variable.type, variable.data)
        settled.append(variable)
    return settled


def normalize_axis(axis: Any, ndim: int, what: str, operands: Sequence[Variable] = ()) -> int:
    """An axis counted from the front.

    Raises
    ------
    GraphError
        When it is not an integer.
    ArgumentError
        When the tensor has no such axis.
    """
    if isinstance(axis, Constant) and axis.ndim == 0:
        axis = axis.data[()]
    if isinstance(axis, np.ndarray) and axis.ndim == 0:
        axis = axis[()]
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise GraphError(f"{what}: an axis is an integer, got {axis!r}", operands)
    if not -ndim <= axis < ndim:
        raise ArgumentError(f"{what}: axis {axis} of a tensor of {ndim} axes", operands)
    return int(axis) % ndim
