"""Ops that hand on their operand and do something on the way: check a condition, or print.

They stay where the value is used; where nothing needs the value, nothing is checked or printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, AssertError
from symnet.graph.dims import Shape
from symnet.graph.op import DISCONNECTED, HostValue, Op, ShapeContext
from symnet.graph.variable import Apply, Variable
from symnet.ops.basic import as_tensor_variable


class _Passing(Op):
    """What hands on its first operand: its type, its shape, its gradient."""

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """All operands as variables."""
        return [as_tensor_variable(each) for each in inputs]

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
        """The value's shape."""
        return [shapes[0]]

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The gradient that comes, as it is."""
        return [output_gradients[0], *[DISCONNECTED] * (len(node.inputs) - 1)]


class Assert(_Passing):
    """`Assert(message)(value, *conditions)` is the value; a call fails where an entry of a condition is 0.

    Raises
    ------
    AssertError
        When the function is called and a condition does not hold: the message, with the user's line.
        Nothing is written to a shared variable then.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> f = symnet.function([x], T.log(Assert("x is positive")(x, x > 0)))
    >>> f([1.0]).tolist()
    [0.0]
    """

    properties = ("message",)
    can_fail = True

    def __init__(self, message: str = "") -> None:
        if not isinstance(message, str):
            raise ArgumentError(f"Assert: the message is a string, got {message!r:.80}")
        self.message = message

    def __str__(self) -> str:
        return "Assert"

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The value and at least one condition."""
        if len(inputs) < 2:
            raise ArgumentError(f"Assert takes a value and one condition or more, got {len(inputs)} operands")
        return super().convert(*inputs)

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The value, when every condition holds."""
        if not all(np.all(condition) for condition in inputs[1:]):
            raise AssertError(self.told, node.inputs, node.source)
        return inputs[0]

    @property
    def told(self) -> str:
        """What the error says."""
        return f"Assert: {self.message or 'a condition does not hold'}"


#: `assert_op(value, *conditions)`, without a message.
assert_op = Assert()


class Print(_Passing):
    """`Print(message)(value)` is the value, and prints it whenever it is computed.

    Parameters
    ----------
    message
        What is printed first.
    attrs
        What is printed of the value, a line for each: names of the array's attributes, called where they
        are methods.
    global_fn
        Called with the op and the array instead.

    What it raises stops the call before any shared variable is written.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> f = symnet.function([x], Print("x", ["shape", "max"])(x).sum())
    >>> total = f([1.0, 2.0])
    x shape = (2,)
    x max = 2.0
    """

    properties = ("message", "attrs", "global_fn")
    has_effect = True

    def __init__(
        self,
        message: str = "",
        attrs: Sequence[str] = ("__str__",),
        global_fn: Callable[[Print, np.ndarray[Any, Any]], Any] | None = None,
    ) -> None:
        for name in attrs:
            if not hasattr(np.ndarray, name):
                raise ArgumentError(f"Print: an array has no attribute {name!r} to print")
        self.message = message
        self.attrs = tuple(attrs)
        self.global_fn = global_fn

    def __str__(self) -> str:
        return f"Print{{{self.message}}}"

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The value, printed."""
        self.show(inputs[0])
        return inputs[0]

    def show(self, value: np.ndarray[Any, Any]) -> None:
        """Print a value."""
        if self.global_fn is not None:
            self.global_fn(self, value)
            return
        for name in self.attrs:
            found = getattr(value, name)
            print(self.message, name, "=", found() if callable(found) else found)
