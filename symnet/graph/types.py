"""What a variable may hold: takes a dtype and an axis length for each axis, hands on variables.

A type is dtype and shape, each axis a number or unknown (None). Theano's `broadcastable` is an axis
known to be 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symnet.config import config
from symnet.errors import GraphError, InputTypeError, InputValueError

if TYPE_CHECKING:
    from symnet.graph.variable import Variable

DTYPES = (
    "bool",
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
    *("complex64", "complex128"),
)
FLOAT_DTYPES = ("float16", "float32", "float64")
COMPLEX_DTYPES = ("complex64", "complex128")
CONTINUOUS_DTYPES = FLOAT_DTYPES + COMPLEX_DTYPES
UNSIGNED_DTYPES = ("uint8", "uint16", "uint32", "uint64")
SIGNED_DTYPES = ("int8", "int16", "int32", "int64")
INTEGER_DTYPES = SIGNED_DTYPES + UNSIGNED_DTYPES
DISCRETE_DTYPES = ("bool", *INTEGER_DTYPES)
_KNOWN = frozenset(DTYPES)


def checked_dtype(dtype: Any) -> str:
    """The canonical name of a dtype; "floatX" is `config.floatX`.

    Raises
    ------
    GraphError
        When it is not a dtype that tensors have.
    """
    if type(dtype) is str:
        if dtype in _KNOWN:
            return dtype
        if dtype == "floatX":
            return str(config.floatX)
    try:
        name = np.dtype(dtype).name
    except TypeError:
        raise GraphError(f"{dtype!r} is not a dtype", hint=f"known are {', '.join(DTYPES)}") from None
    if name not in DTYPES:
        raise GraphError(f"dtype {name} has no tensor type", hint=f"known are {', '.join(DTYPES)}")
    return str(name)


class TensorType:
    """A dtype and a shape.

    Parameters
    ----------
    dtype
        A NumPy dtype or its name, or "floatX".
    broadcastable
        Theano's form, a bool for each axis (True: length 1, False: unknown), or the shape itself: an
        int or None for each axis.
    name
        Ignored; Theano's types may carry one.
    shape
        The shape, in place of `broadcastable`.

    >>> from symnet.graph.types import TensorType
    >>> TensorType("float32", (None, 784))
    TensorType(float32, (?, 784))
    >>> TensorType("float32", (False, True)).broadcastable
    (False, True)
    """

    __slots__ = ("_hash", "broadcastable", "dtype", "shape")

    #: Makes a variable of a type; set by `symnet.graph.variable`.
    variable_class: Callable[..., Variable]

    def __init__(
        self,
        dtype: Any,
        broadcastable: Sequence[bool | int | None] | None = None,
        name: str | None = None,
        shape: Sequence[int | None] | None = None,
    ) -> None:
        self.dtype = checked_dtype(dtype)
        given = shape if shape is not None else broadcastable
        if given is None:
            raise GraphError("TensorType needs a shape (or broadcastable) beside its dtype")
        axes: list[int | None] = []
        for axis in given:
            if axis is None:
                axes.append(None)
            elif isinstance(axis, bool | np.bool_):
                axes.append(1 if axis else None)
            elif isinstance(axis, int | np.integer) and axis >= 0:
                axes.append(int(axis))
            else:
                raise GraphError(
                    f"axis length {axis!r} in the shape {tuple(given)!r}",
                    hint="each axis is a length, None (unknown), or a bool: is it broadcastable?",
                )
        self.shape = tuple(axes)
        #: For each axis, whether its length is known to be 1.
        self.broadcastable = tuple(length == 1 for length in axes)
        self._hash = hash((self.dtype, self.shape))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return np.dtype(self.dtype)

    def clone(self, dtype: Any = None, broadcastable: Any = None, shape: Any = None) -> TensorType:
        """This type with another dtype or shape."""
        axes = shape if shape is not None else broadcastable
        return TensorType(self.dtype if dtype is None else dtype, self.shape if axes is None else axes)

    def accepts(self, other: TensorType) -> bool:
        """Whether every value of the other type is one of this type."""
        return (
            self.dtype == other.dtype
            and len(self.shape) == len(other.shape)
            and all(mine is None or mine == its for mine, its in zip(self.shape, other.shape, strict=True))
        )

    def meet(self, other: TensorType) -> TensorType:
        """The type that knows what either knows; dtypes and ranks are equal."""
        axes = [its if mine is None else mine for mine, its in zip(self.shape, other.shape, strict=True)]
        return TensorType(self.dtype, axes)

    def filter(
        self, value: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> np.ndarray[Any, Any]:
        """The value as an array of this dtype and rank, without loss.

        `strict` accepts an array of exactly this dtype. `allow_downcast` True converts from any dtype,
        False from none that is wider; None (the default) also takes a Python float for floatX.

        Raises
        ------
        InputTypeError
            When the value would lose information, has another rank, or is not numeric.
        """
        given_float = type(value) is float or (type(value) is np.float64 and self.dtype == "float64")
        if isinstance(value, np.memmap):
            array = np.asarray(value)
        elif isinstance(value, np.ndarray):
            array = value
        else:
            if strict:
                raise InputTypeError(f"expected a NumPy array of {self}, got {type(value).__name__}")
            array = np.asarray(value)
        if array.dtype == object or array.dtype.kind not in "biufc":
            kind = InputValueError if array.dtype.kind in "SU" else InputTypeError
            raise kind(f"expected {self}, got {type(value).__name__} {value!r:.80}")
        if array.dtype.name != self.dtype:
            array = self._converted(array, value, strict, allow_downcast, given_float)
        elif not array.dtype.isnative or not array.flags.aligned:
            array = np.array(array, dtype=self.numpy_dtype)
        if array.ndim != len(self.shape):
            raise InputTypeError(
                f"expected {self}, got an array of {array.ndim} axes with shape {array.shape}",
                hint="wrong number of dimensions: reshape the argument or declare the input with that rank",
            )
        for axis, length in enumerate(self.shape):
            if length is not None and array.shape[axis] != length:
                raise InputTypeError(
                    f"expected {self}, got shape {array.shape}: axis {axis} has length "
                    f"{array.shape[axis]} and not {length}"
                )
        return array

    def _converted(
        self,
        array: np.ndarray[Any, Any],
        value: Any,
        strict: bool,
        allow_downcast: bool | None,
        given_float: bool,
    ) -> np.ndarray[Any, Any]:
        target = self.numpy_dtype
        if not strict:
            if allow_downcast or np.can_cast(array.dtype, target, "safe"):
                return array.astype(target)
            if allow_downcast is None and given_float and self.dtype == config.floatX:
                return array.astype(target)
            # A number or a list has no dtype that counts: what counts is that its values survive.
            if not isinstance(value, np.ndarray) and (array.dtype.kind != "c" or target.kind == "c"):
                with np.errstate(all="ignore"):
                    converted = array.astype(target)
                if np.array_equal(converted, array, equal_nan=array.dtype.kind in "fc"):
                    return converted
        raise InputTypeError(
            f"expected {self}, got {array.dtype} "
            + (f"of shape {array.shape}" if array.ndim else repr(value))
            + ": converting it would lose precision",
            hint=f"pass numpy.asarray(value, dtype={self.dtype!r}), "
            "or function(..., allow_input_downcast=True)",
        )

    def make_variable(self, name: str | None = None) -> Variable:
        """A new variable of this type."""
        return self.variable_class(self, name=name)

    def __call__(self, name: str | None = None) -> Variable:
        return self.make_variable(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorType) and self.dtype == other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return (TensorType, (self.dtype, self.shape))

    def __str__(self) -> str:
        axes = ", ".join("?" if length is None else str(length) for length in self.shape)
        return f"{self.dtype} ({axes}{',' if len(self.shape) == 1 else ''})"

    def __repr__(self) -> str:
        axes = ", ".join("?" if length is None else str(length) for length in self.shape)
        return f"TensorType({self.dtype}, ({axes}{',' if len(self.shape) == 1 else ''}))"
