"""Softmax and its logarithm: takes what people write for them, and the gradients of that, hands on ops.

The probability of an unlikely class underflows to 0; its logarithm is an ordinary number. So the
logarithm is computed from the scores, and a gradient never divides by the probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symnet.ops import elementwise_table as table
from symnet.ops.creation import zeros as zeros_of
from symnet.ops.elementwise_table import fill, log, sigmoid
from symnet.ops.indexing import AdvancedIncSubtensor, AdvancedSubtensor, IncSubtensor, Subtensor
from symnet.ops.nnet import LogSoftmax, Softmax, SoftmaxGradient
from symnet.ops.reduction import sum as reduce_sum
from symnet.ops.shape import DimShuffle, Reshape, dimshuffle, length_of
from symnet.rewrite.facts import may_stand_for
from symnet.rewrite.pattern import (
    Expression,
    any_op,
    any_variable,
    any_variables,
    rewrite,
    uniform_value,
)

x, g, h = any_variable("x"), any_variable("g"), any_variable("h")
softmax, softmax_gradient = Softmax(), SoftmaxGradient()
operands = any_variables("operands")


# --- the value -------------------------------------------------------------------------------------


@rewrite(log(softmax(x)), "softmax underflows where its logarithm does not")
def log_of_softmax(x: Expression) -> Expression:
    return LogSoftmax()(x)


_SELECTIONS = (DimShuffle, Reshape, Subtensor, AdvancedSubtensor)


def _selects_probabilities(variable: Expression) -> bool:
    """Whether the variable is entries of a softmax or a sigmoid, selected or in another arrangement."""
    while variable.owner is not None and isinstance(variable.owner.op, _SELECTIONS):
        variable = variable.owner.inputs[0]
    return variable.owner is not None and variable.owner.op in (softmax, sigmoid)


def _log_of_selected(selection: Any, operands: Sequence[Expression]) -> Expression:
    if not _selects_probabilities(operands[0]):
        return None
    return selection(log(operands[0]), *operands[1:])


def _log_rule(kind: type, name: str) -> Any:
    def rule(selection: Any, operands: Sequence[Expression]) -> Expression:
        return _log_of_selected(selection, operands)

    rule.__name__ = f"log_of_{name}_probabilities"
    reason = "probabilities underflow where their logarithms do not"
    return rewrite(log(any_op("selection", kind)(operands)), reason, depth=5)(rule)


log_of_picked_probabilities = _log_rule(AdvancedSubtensor, "picked")
log_of_sliced_probabilities = _log_rule(Subtensor, "sliced")
log_of_shuffled_probabilities = _log_rule(DimShuffle, "shuffled")
log_of_reshaped_probabilities = _log_rule(Reshape, "reshaped")


# --- the gradient ----------------------------------------------------------------------------------


def _gradient_of_log(g: Expression, p: Expression) -> Expression:
    """The gradient of log(softmax(x)) by x, from the gradient by the logarithm and the softmax."""
    if g.broadcastable != p.broadcastable:
        g = fill(p, g)
    scatter = g.owner
    if scatter is not None and isinstance(scatter.op, AdvancedIncSubtensor):
        zeros, value, *indices = scatter.inputs
        if scatter.op.axes == (0, 1) and not scatter.op.set_ and _is_zeros(zeros):
            return _gradient_of_picked_log(scatter.op, value, indices, p)
    return g - p * reduce_sum(g, axis=1, keepdims=True)


def _gradient_of_picked_log(
    scatter: AdvancedIncSubtensor, value: Expression, indices: Sequence[Expression], p: Expression
) -> Expression:
    """The same for a gradient that is scattered to a few classes of each row.

    Each row's sum is a scatter of its own, to one entry for each row; and what is scattered is added to
    the rest where that lies.
    """
    rows = zeros_of(length_of(p, 0), value.dtype)
    sums = AdvancedIncSubtensor((0,), False)(rows, value, indices[0])
    powers = p
    if p.owner is not None and p.owner.op == softmax:
        powers = table.exp(LogSoftmax()(p.owner.inputs[0]))
    return scatter(-(powers * dimshuffle(sums, 0, "x")), value, *indices)


p = any_variable("p")


@rewrite(
    softmax_gradient(g / p, p),
    "a probability may be 0: this is what the gradient of log(softmax(x)) looks like",
)
def gradient_of_log_softmax(g: Expression, p: Expression, out: Expression) -> Expression:
    found = _gradient_of_log(g, p)
    return found if may_stand_for(found, out) else None


@rewrite(softmax_gradient(-(g / p), p), "a probability may be 0, and the gradient is linear")
def negated_gradient_of_log_softmax(g: Expression, p: Expression) -> Expression:
    return -softmax_gradient(g / p, p)


@rewrite(
    softmax_gradient(g / p + h, p),
    "a probability may be 0, and the gradient is linear",
    when=lambda h, p: h.broadcastable == p.broadcastable,
)
def summed_gradient_of_log_softmax(
    g: Expression, h: Expression, p: Expression, out: Expression
) -> Expression:
    found = _gradient_of_log(g, p) + softmax_gradient(h, p)
    return found if may_stand_for(found, out) else None


def _is_zeros(variable: Expression) -> bool:
    if variable.owner is not None and variable.owner.op == fill:
        variable = variable.owner.inputs[1]
    value = uniform_value(variable)
    return value is not None and not value


@rewrite(
    softmax_gradient(any_op("scatter", AdvancedIncSubtensor)(operands), p),
    "a probability may be 0: this is what the gradient of log(softmax(x)[rows, classes]) looks like",
    depth=4,
)
def gradient_of_picked_log_softmax(
    scatter: AdvancedIncSubtensor, operands: Sequence[Expression], p: Expression, out: Expression
) -> Expression:
    zeros, value, *indices = operands
    picked = AdvancedSubtensor(scatter.axes)
    return _gradient_of_scattered(scatter, zeros, value, indices, p, picked, out)


@rewrite(
    softmax_gradient(any_op("scatter", IncSubtensor)(operands), p),
    "a probability may be 0: this is what the gradient of log(softmax(x)[:, 0]) looks like",
    depth=4,
)
def gradient_of_sliced_log_softmax(
    scatter: IncSubtensor, operands: Sequence[Expression], p: Expression, out: Expression
) -> Expression:
    zeros, value, *indices = operands
    return _gradient_of_scattered(scatter, zeros, value, indices, p, Subtensor(scatter.template), out)


def _gradient_of_scattered(
    scatter: Any,
    zeros: Expression,
    value: Expression,
    indices: Sequence[Expression],
    p: Expression,
    selection: Any,
    out: Expression,
) -> Expression:
    """`value` must be a quotient by the very probabilities that it is scattered to."""
    quotient = value.owner
    if quotient is None or quotient.op != table.true_div or not _is_zeros(zeros):
        return None
    g, picked = quotient.inputs
    if picked.owner is None or picked.owner.op != selection or picked.owner.inputs != (p, *indices):
        return None
    found = _gradient_of_log(scatter(zeros, g, *indices), p)
    return found if may_stand_for(found, out) else None
