"""Sigmoid and softmax written out: takes their quotients and the gradients of these, hands on the ops.

This comes before the stabilising rules, which would take parts of these forms for something else.
"""

from __future__ import annotations

from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import cast
from symnet.ops.elementwise_table import exp, fill, sigmoid, sqr
from symnet.ops.nnet import Softmax, SoftmaxGradient
from symnet.ops.reduction import Reduce
from symnet.ops.shape import dimshuffle
from symnet.rewrite.facts import added_axes, broadcasts_back, is_float, may_stand_for
from symnet.rewrite.pattern import Expression, any_variable, rewrite

x, g = any_variable("x"), any_variable("g")
softmax, softmax_gradient = Softmax(), SoftmaxGradient()


def _in_floats(x: Expression, out: Expression) -> bool:
    return is_float(x) and is_float(out)


# --- sigmoid ---------------------------------------------------------------------------------------


@rewrite(1 / (1 + exp(x)), "exp overflows where the sigmoid does not", when=_in_floats)
def sigmoid_of_quotient(x: Expression, out: Expression) -> Expression:
    return sigmoid(table.neg(cast(x, out.dtype)))


@rewrite(exp(x) / (1 + exp(x)), "exp overflows where the sigmoid does not", when=_in_floats)
def sigmoid_of_power(x: Expression, out: Expression) -> Expression:
    return sigmoid(cast(x, out.dtype))


@rewrite(
    (g / (1 + exp(x)) + -(g * exp(x)) / sqr(1 + exp(x))) * exp(x),
    "exp overflows: this is what the gradient of exp(x) / (1 + exp(x)) looks like",
    when=_in_floats,
)
def gradient_of_power_quotient(g: Expression, x: Expression, out: Expression) -> Expression:
    s = sigmoid(cast(x, out.dtype))
    return g * s * (1 - s)


@rewrite(
    (g / (1 + exp(x))) * exp(x) + (-(g * exp(x)) / sqr(1 + exp(x))) * exp(x),
    "exp overflows: so it looks when exp(x) was written twice",
    when=_in_floats,
)
def gradient_of_power_quotient_in_parts(g: Expression, x: Expression, out: Expression) -> Expression:
    s = sigmoid(cast(x, out.dtype))
    return g * s * (1 - s)


# --- softmax ---------------------------------------------------------------------------------------


def _rows(ndim: int, axes: tuple[int, ...]) -> tuple[list[int | str], list[int | str]] | None:
    """Arrangements of axes that make the summed one the last of two, and back; None if there is none."""
    if ndim == 1:
        return ["x", 0], [1]
    if ndim == 2 and axes == (1,):
        return [0, 1], [0, 1]
    if ndim == 2 and axes == (0,):
        return [1, 0], [1, 0]
    return None


def _summed(wide: Expression, powers: Expression) -> tuple[Expression, tuple[int, ...]] | None:
    """(sums, axes) when `wide` holds the sums of the powers along axes and lies along them."""
    sums, axes = added_axes(wide)
    node = sums.owner
    if node is None or not isinstance(node.op, Reduce) or node.op.function != "add":
        return None
    if node.inputs[0] is not powers or sums.dtype != powers.dtype:
        return None
    if not broadcasts_back(axes, powers.ndim, node.op.axes):
        return None
    return sums, node.op.axes


@rewrite(
    exp(x).named("powers") / any_variable("wide"),
    "exp overflows where softmax does not",
    when=lambda x, out: is_float(x) and x.dtype == out.dtype,
    depth=4,
)
def softmax_of_quotient(x: Expression, powers: Expression, wide: Expression, out: Expression) -> Expression:
    """exp(x) / sum(exp(x)) of a vector, or along either axis of a matrix."""
    found = _summed(wide, powers)
    arrangement = None if found is None else _rows(x.ndim, found[1])
    if arrangement is None:
        return None
    there, back = arrangement
    replacement = dimshuffle(softmax(dimshuffle(x, there)), back)
    return replacement if may_stand_for(replacement, out) else None


# --- its gradient ----------------------------------------------------------------------------------


@rewrite(
    (g / any_variable("wide") + any_variable("rest")) * exp(x).named("powers"),
    "exp overflows: this is what the gradient of exp(x) / sum(exp(x)) looks like",
    when=lambda x, out: is_float(x) and x.dtype == out.dtype,
    depth=9,
)
def gradient_of_softmax_quotient(
    g: Expression,
    wide: Expression,
    rest: Expression,
    powers: Expression,
    x: Expression,
    out: Expression,
) -> Expression:
    """(g / s + sum(-(g * exp(x)) / s ** 2)) * exp(x), where s = sum(exp(x))."""
    return _gradient_of_softmax(g, wide, rest, powers, x, out)


@rewrite(
    (g / any_variable("wide")) * exp(x).named("powers") + any_variable("rest") * exp(x),
    "exp overflows: so it looks when exp(x) was written twice",
    when=lambda x, out: is_float(x) and x.dtype == out.dtype,
    depth=9,
)
def gradient_of_softmax_quotient_in_parts(
    g: Expression,
    wide: Expression,
    rest: Expression,
    powers: Expression,
    x: Expression,
    out: Expression,
) -> Expression:
    """The same with the product taken apart."""
    return _gradient_of_softmax(g, wide, rest, powers, x, out)


def _gradient_of_softmax(
    g: Expression,
    wide: Expression,
    rest: Expression,
    powers: Expression,
    x: Expression,
    out: Expression,
) -> Expression:
    found = _summed(wide, powers)
    arrangement = None if found is None else _rows(x.ndim, found[1])
    if found is None or arrangement is None or not _is_part_by_sum(rest, g, powers, *found):
        return None
    there, back = arrangement
    if g.broadcastable != x.broadcastable:
        g = fill(x, g)
    gradient = softmax_gradient(dimshuffle(g, there), softmax(dimshuffle(x, there)))
    replacement = dimshuffle(gradient, back)
    return replacement if may_stand_for(replacement, out) else None


def _is_part_by_sum(
    rest: Expression, g: Expression, powers: Expression, sums: Expression, axes: tuple[int, ...]
) -> bool:
    """Whether `rest` is sum(-(g * exp(x)) / s ** 2), lying along the axes."""
    if rest.owner is not None and rest.owner.op == fill:
        rest = rest.owner.inputs[1]
    again, added = added_axes(rest)
    node = again.owner
    if node is None or not isinstance(node.op, Reduce) or node.op.function != "add":
        return False
    if node.op.axes != axes or not broadcasts_back(added, powers.ndim, axes):
        return False
    quotient = node.inputs[0].owner
    if quotient is None or quotient.op != table.true_div:
        return False
    numerator, square = (each.owner for each in quotient.inputs)
    if numerator is None or numerator.op != table.neg or square is None or square.op != table.sqr:
        return False
    product = numerator.inputs[0].owner
    if product is None or product.op != table.mul or set(product.inputs) != {g, powers}:
        return False
    found = _summed(square.inputs[0], powers)
    return found is not None and found[0] is sums
