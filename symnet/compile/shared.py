"""Shared variables: takes an array, hands on a variable whose value lives between calls.

Its container (`symnet.compile.container`) owns the value, on the host and on a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.compile.container import Container
from symnet.errors import GraphError, InputTypeError
from symnet.graph.types import TensorType
from symnet.graph.variable import Variable


class SharedVariable(Variable):
    """A variable with a value that lasts from call to call and that functions may update.

    Attributes
    ----------
    container
        The `Container` that owns the value.
    default_update
        An expression that every function which uses the variable assigns to it, unless told otherwise.
    """

    def __init__(self, type: TensorType, container: Container, name: str | None = None) -> None:
        super().__init__(type, name=name)
        self.container = container
        self.default_update: Variable | None = None

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> np.ndarray[Any, Any]:
        """The value as a NumPy array.

        A copy, unless `borrow`: then the array itself, which the next update changes in place. (What a
        function on a GPU used last is copied from there in any case.)
        """
        return self.container.borrow() if borrow else self.container.read()

    def set_value(self, new_value: Any, borrow: bool = False) -> None:
        """A new value; its shape may differ, its dtype and rank may not.

        Copied, unless `borrow` is true and it is a contiguous array of the right dtype (it is the value then
        until a function on a GPU uses the variable).

        Raises
        ------
        InputTypeError
            When the value has another rank or would lose precision.
        """
        try:
            array = self.type.filter(new_value)
        except InputTypeError as error:
            raise type(error)(
                f"set_value of {self}: {error.asked}",
                [self],
                hint=f"numpy.asarray(value, dtype={self.dtype!r}) converts it",
            ) from None
        if not borrow or array is not new_value:
            array = np.array(array, order="C")
        with self.container.lock:
            self.container.lent |= array is new_value
            self.container.replace(array)

    def zero(self, borrow: bool = False) -> None:
        """All entries 0."""
        self.container.zero()

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """A copy of the value."""
        return self.get_value()

    def clone(self, name: str | None = None) -> SharedVariable:
        """Another variable for the same container."""
        copy = SharedVariable(self.type, self.container, self.name if name is None else name)
        copy.default_update = self.default_update
        return copy

    def __str__(self) -> str:
        return self.name or f"<shared {self.type!r}>"

    __repr__ = __str__


def shared(
    value: Any,
    name: str | None = None,
    strict: bool = False,
    allow_downcast: bool | None = None,
    broadcastable: Sequence[bool] | None = None,
    borrow: bool = False,
    target: str | None = None,
    shape: Sequence[int | None] | None = None,
) -> SharedVariable:
    """A shared variable.

    Parameters
    ----------
    value
        An array, a NumPy scalar, or a Python number (int64, float64 or bool, as NumPy has it).
    name
        A name for prints and errors.
    strict, allow_downcast, target
        Accepted for Theano's programs; the variable takes the value's own dtype.
    broadcastable
        For each axis, whether its length is promised to stay 1; by default none is.
    borrow
        Whether a contiguous array is taken over as it is, and not copied; it is the value then until a
        function on a GPU uses the variable.
    shape
        Axis lengths that are promised to stay (None: may change), in place of `broadcastable`.

    Raises
    ------
    GraphError
        When the value is not a tensor.

    >>> import numpy as np, symnet
    >>> w = symnet.shared(np.zeros((2, 3)), name="w")
    >>> w.get_value().shape
    (2, 3)
    """
    if isinstance(value, Variable):
        raise GraphError(
            "shared of a symbolic variable: a value is expected",
            [value],
            hint="x.eval() or w.get_value() gives one",
        )
    if not isinstance(value, np.ndarray | np.generic | bool | int | float | complex):
        raise GraphError(
            f"shared of a {type(value).__name__}: an array or a number is expected",
            hint="numpy.asarray(value) makes it one",
        )
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise GraphError(f"shared of an array of {array.dtype}: numbers are expected")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    axes: Sequence[bool | int | None] = [None] * array.ndim
    if shape is not None:
        axes = shape
    elif broadcastable is not None:
        axes = broadcastable
    if len(axes) != array.ndim:
        raise GraphError(f"shared: {len(axes)} axes promised for an array of {array.ndim}")
    tensor_type = TensorType(array.dtype.name, axes)
    tensor_type.filter(array)
    if not borrow or array is not value or not array.flags.writeable:
        array = np.array(array, order="C")
    container = Container(array)
    container.lent = array is value
    return SharedVariable(tensor_type, container, name)
