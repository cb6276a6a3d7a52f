"""What a case of a rewrite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Case:
    """One rule on one expression.

    rule
        Its name.
    inputs
        Names and types, for `declare`.
    before
        The expression, of the inputs.
    after
        The text of what the rule alone makes of it.
    alone
        An expression that the rule must leave alone.
    exact
        Whether values are equal to the last bit (signs of zero aside), special values included.
    gradient
        Whether the gradient of what the rule makes is that of the original.
    domain
        Where the inputs are sampled.
    """

    rule: str
    inputs: str
    before: Callable[..., Any]
    after: str
    alone: Callable[..., Any]
    exact: bool = True
    gradient: bool = True
    domain: tuple[float, float] = (-2.0, 2.0)
