"""Tensors that pass on and change only the gradient that comes back: takes x, hands on x.

`zero_grad` and `disconnected_grad`, which have no parameters, are rows of the elementwise table.
"""

from __future__ import annotations

from typing import Any

from symnet.errors import ArgumentError
from symnet.graph.variable import Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable
from symnet.ops.elementwise import Elementwise, common


class GradClip(Elementwise):
    """The tensor itself, whose gradient is limited to an interval."""

    properties: tuple[str, ...] = ("low", "high")

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        super().__init__(
            f"grad_clip{{{low:g}, {high:g}}}",
            "x",
            "x",
            lambda x: x,
            lambda x, out, g: [table.clip(g, low, high)],
            result=common,
        )

    def __reduce__(self) -> Any:
        return (GradClip, (self.low, self.high))


class GradScale(Elementwise):
    """The tensor itself, whose gradient is multiplied by a number."""

    properties = ("multiplier",)

    def __init__(self, multiplier: float) -> None:
        self.multiplier = multiplier
        super().__init__(
            f"grad_scale{{{multiplier:g}}}",
            "x",
            "x",
            lambda x: x,
            lambda x, out, g: [table.mul(g, multiplier)],
            result=common,
        )

    def __reduce__(self) -> Any:
        return (GradScale, (self.multiplier,))


def grad_clip(x: Any, lower_bound: float, upper_bound: float) -> Variable:
    """`x` itself; the gradient that passes it is clipped to [lower_bound, upper_bound].

    Raises
    ------
    ArgumentError
        When the bounds are in the wrong order.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dscalar("x")
    >>> print(float(symnet.grad(grad_clip(x, -1, 1) * 5, x).eval({x: 0.0})))
    1.0
    """
    if not lower_bound <= upper_bound:
        raise ArgumentError(f"grad_clip from {lower_bound} to {upper_bound}: the interval is empty")
    return GradClip(float(lower_bound), float(upper_bound))(as_tensor_variable(x))  # type: ignore[no-any-return]


def grad_scale(x: Any, multiplier: float) -> Variable:
    """`x` itself; the gradient that passes it is multiplied by a number."""
    return GradScale(float(multiplier))(as_tensor_variable(x))  # type: ignore[no-any-return]
