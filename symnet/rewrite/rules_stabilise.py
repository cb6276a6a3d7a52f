"""Forms that overflow, underflow or cancel: takes what people write, hands on what computes it safely.

Each value has its gradient beside it: `grad` differentiates the expression as it was written, so the
quotients and products that it makes are recognised here, too. Softmax has a file of its own.
"""

from __future__ import annotations

from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import Elementwise, cast
from symnet.ops.elementwise_table import (
    exp,
    expm1,
    isinf,
    log,
    log1p,
    sigmoid,
    softplus,
    sqr,
    switch,
)
from symnet.ops.reduction import Reduce, restore_axes
from symnet.ops.shape import DimShuffle, dimshuffle
from symnet.rewrite.facts import added_axes, broadcasts_back, is_float
from symnet.rewrite.pattern import Expression, any_op, any_variable, is_single_use, rewrite

x, g, z = any_variable("x"), any_variable("g"), any_variable("z")


def _in_floats(x: Expression, out: Expression) -> bool:
    return is_float(x) and is_float(out)


# --- the sigmoid and its logarithm -----------------------------------------------------------------


@rewrite(log(sigmoid(x)), "the sigmoid underflows where its logarithm does not")
def log_of_sigmoid(x: Expression) -> Expression:
    return -softplus(-x)


@rewrite(log(1 - sigmoid(x)), "the sigmoid rounds to 1 where the logarithm is still exact")
def log_of_one_minus_sigmoid(x: Expression, out: Expression) -> Expression:
    return -softplus(cast(x, out.dtype))


@rewrite(log1p(-sigmoid(x)), "the sigmoid rounds to 1 where the logarithm is still exact")
def log1p_of_minus_sigmoid(x: Expression) -> Expression:
    return -softplus(x)


@rewrite(
    1 - sigmoid(x).named("s"),
    "a sigmoid close to 1 leaves nothing in the difference",
    when=lambda s, out, graph: is_single_use(s, graph) and s.dtype == out.dtype,
)
def one_minus_sigmoid(x: Expression) -> Expression:
    """Not where the sigmoid is used otherwise: there the difference is cheaper than a second sigmoid."""
    return sigmoid(-x)


# --- products that the sigmoid's gradient makes ----------------------------------------------------


@rewrite(
    (g / (1 + exp(x))) * exp(x),
    "exp overflows: this is what the gradient of log(1 + exp(x)) looks like",
    when=_in_floats,
)
def gradient_of_softplus(g: Expression, x: Expression, out: Expression) -> Expression:
    return g * sigmoid(cast(x, out.dtype))


@rewrite(sigmoid(-x) * exp(x), "exp overflows: 1 / (1 + exp(x)) * exp(x) is a sigmoid", when=_in_floats)
def sigmoid_times_power(x: Expression, out: Expression) -> Expression:
    return sigmoid(cast(x, out.dtype))


@rewrite(sigmoid(x) * exp(-x), "exp overflows: 1 / (1 + exp(-x)) * exp(-x) is a sigmoid", when=_in_floats)
def sigmoid_times_inverse_power(x: Expression, out: Expression) -> Expression:
    return sigmoid(table.neg(cast(x, out.dtype)))


@rewrite(
    (g / sqr(1 + exp(x))) * exp(x),
    "exp overflows: this is what the gradient of 1 / (1 + exp(x)) looks like",
    when=_in_floats,
)
def gradient_of_quotient(g: Expression, x: Expression, out: Expression) -> Expression:
    s = sigmoid(table.neg(cast(x, out.dtype)))
    return g * s * (1 - s)


#: How deep a gradient is searched for quotients by the sigmoid.
_SEARCH_DEPTH = 8


@rewrite(
    g * sigmoid(x).named("s") * (1 - sigmoid(x)).named("rest"),
    "a quotient by a sigmoid times its derivative: 0 / 0 where the sigmoid saturates",
    depth=_SEARCH_DEPTH + 2,
)
def quotients_in_gradient_of_sigmoid(g: Expression, s: Expression, rest: Expression) -> Expression:
    """(a / s + b / (1 - s)) * s * (1 - s) is a * (1 - s) + b * s."""
    return _times_derivative(g, s, rest, _SEARCH_DEPTH)


def _times_derivative(g: Expression, s: Expression, rest: Expression, depth: int) -> Expression:
    """g * s * rest with the quotients in g cancelled; None where there is none."""
    node = g.owner
    if node is None or depth == 0:
        return None
    op, inputs = node.op, node.inputs
    if op == table.true_div:
        a, b = inputs
        if b is s:
            return a * rest
        if b is rest:
            return a * s
        inner = _times_derivative(a, s, rest, depth - 1)
        return None if inner is None else inner / b
    if op == table.neg:
        inner = _times_derivative(inputs[0], s, rest, depth - 1)
        return None if inner is None else -inner
    if op in (table.add, table.sub):
        parts = [_times_derivative(each, s, rest, depth - 1) for each in inputs]
        if parts == [None, None]:
            return None
        left, right = (
            each * s * rest if part is None else part for part, each in zip(parts, inputs, strict=True)
        )
        return op(left, right)
    if op == table.mul:
        for one, other in (inputs, inputs[::-1]):
            inner = _times_derivative(one, s, rest, depth - 1)
            if inner is not None:
                return inner * other
    return None


# --- softplus, log1p, expm1 ------------------------------------------------------------------------


@rewrite(log(1 + exp(x)), "exp overflows where softplus does not", when=_in_floats)
def log_of_one_plus_exp(x: Expression, out: Expression) -> Expression:
    return softplus(cast(x, out.dtype))


@rewrite(log1p(exp(x)), "exp overflows where softplus does not", when=_in_floats)
def log1p_of_exp(x: Expression, out: Expression) -> Expression:
    return softplus(cast(x, out.dtype))


@rewrite(log(1 + x), "a small x is lost beside 1", when=_in_floats)
def log_of_one_plus(x: Expression, out: Expression) -> Expression:
    return log1p(cast(x, out.dtype))


@rewrite(log(1 - x), "a small x is lost beside 1", when=_in_floats)
def log_of_one_minus(x: Expression, out: Expression) -> Expression:
    return log1p(table.neg(cast(x, out.dtype)))


@rewrite(exp(x) - 1, "a power close to 1 leaves nothing in the difference", when=_in_floats)
def exp_minus_one(x: Expression, out: Expression) -> Expression:
    return expm1(cast(x, out.dtype))


# --- the logarithm of a sum of powers --------------------------------------------------------------

total = any_op("total", Reduce, where=lambda op: op.function == "add")
shuffle = any_op("shuffle", DimShuffle)


def _is_shifted(x: Expression) -> bool:
    """Whether x is something less a maximum, so that its powers are at most 1."""
    node = x.owner
    if node is None or node.op != table.sub:
        return False
    subtracted = node.inputs[1]
    while subtracted.owner is not None:
        inner = subtracted.owner
        if isinstance(inner.op, Reduce):
            return inner.op.function == "maximum"
        if inner.op == switch:
            subtracted = inner.inputs[2]
        elif isinstance(inner.op, DimShuffle | Elementwise) and len(inner.inputs) == 1:
            subtracted = inner.inputs[0]
        else:
            return False
    return False


@rewrite(
    log(total(exp(x))),
    "exp overflows; less the maximum it does not",
    when=lambda x, total, out: _in_floats(x, out) and total.dtype == x.dtype and not _is_shifted(x),
)
def log_of_sum_of_exp(total: Reduce, x: Expression) -> Expression:
    """Infinite maxima are not subtracted: inf - inf is NaN where the logarithm is inf (or -inf)."""
    highest = Reduce("maximum", total.axes, x.dtype)(x)
    shift = switch(isinf(highest), 0, highest)
    powers = exp(x - restore_axes(shift, x.ndim, total.axes))
    return log(total(powers)) + shift


@rewrite(
    log(shuffle(total(exp(x)))),
    "the logarithm of a sum of powers has a safe form before axes are added",
    when=lambda x, out: _in_floats(x, out) and not _is_shifted(x),
)
def log_of_sum_with_axes(shuffle: DimShuffle, total: Reduce, x: Expression) -> Expression:
    return shuffle(log(total(exp(x))))


@rewrite(
    any_variable("quotient") * exp(x).named("powers"),
    "exp overflows: this is what the gradient of log(sum(exp(x))) looks like",
    when=lambda x, out: _in_floats(x, out) and not _is_shifted(x),
    depth=5,
)
def gradient_of_log_of_sum(quotient: Expression, powers: Expression, x: Expression) -> Expression:
    """g / sum(exp(x)) * exp(x) is g * exp(x - log(sum(exp(x)))), whatever axes are added on the way."""
    divided, outer_axes = added_axes(quotient)
    if divided.owner is None or divided.owner.op != table.true_div:
        return None
    g, divisor = divided.owner.inputs
    sums, inner_axes = added_axes(divisor)
    node = sums.owner
    if node is None or not isinstance(node.op, Reduce) or node.inputs[0] is not powers:
        return None
    if node.op.function != "add" or divisor.ndim != divided.ndim or sums.dtype != x.dtype:
        return None
    axes = tuple(inner_axes[axis] if isinstance(axis, int) else "x" for axis in outer_axes)
    if not broadcasts_back(axes, x.ndim, node.op.axes) or g.ndim not in (0, divided.ndim):
        return None
    wide = restore_axes(log(sums), x.ndim, node.op.axes)
    g = dimshuffle(g, outer_axes) if g.ndim else g
    return g * exp(x - wide)
