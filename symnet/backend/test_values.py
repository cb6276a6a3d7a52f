"""Test values: takes a node that was just written, computes it by NumPy from values that its operands have.

A mistake that shapes and dtypes alone do not tell (an index, a length) is found on the line that makes it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from symnet.backend.reference import apply_op
from symnet.compile.shared import SharedVariable
from symnet.config import config
from symnet.errors import MissingTestValueError, describe
from symnet.graph.source import is_inherited
from symnet.graph.variable import Apply, Constant, Variable


def compute_test_values(node: Apply) -> None:
    """Set `tag.test_value` of a node's outputs, where all its operands have values.

    Raises
    ------
    SymnetError
        What the op refuses, with the user's line.
    MissingTestValueError
        With `config.test_values = "raise"`, for an operand that has no test value.
    """
    operands = []
    for variable in node.inputs:
        value = _value(variable)
        if value is None:
            _tell_missing(variable)
            return
        operands.append(value)
    with np.errstate(all="ignore"):
        results = apply_op(node, operands)
    for output, result in zip(node.outputs, results, strict=True):
        output.tag.test_value = result


def _value(variable: Variable) -> np.ndarray[Any, Any] | None:
    if isinstance(variable, Constant):
        return variable.data
    if isinstance(variable, SharedVariable):
        return variable.container.array
    if not hasattr(variable.tag, "test_value"):
        return None
    found: np.ndarray[Any, Any] = variable.type.filter(variable.tag.test_value)
    return found


def _tell_missing(variable: Variable) -> None:
    # What derivation and rewriting write is not the user's to give values for.
    if variable.owner is not None or is_inherited() or config.test_values not in ("warn", "raise"):
        return
    error = MissingTestValueError(
        f"{describe(variable)} has no test value", hint="give it one: x.tag.test_value = numpy.zeros(...)"
    )
    if config.test_values == "raise":
        raise error
    warnings.warn(str(error), stacklevel=2)
