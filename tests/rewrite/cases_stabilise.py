"""Cases of the stabilising rules: what each rewrites, into what, and what it must leave alone."""

from __future__ import annotations

from typing import Any

from symnet.ops.elementwise import cast
from symnet.ops.elementwise_table import exp, fill, log, log1p, sigmoid, sqr
from symnet.ops.indexing import AdvancedIncSubtensor, IncSubtensor
from symnet.ops.nnet import SoftmaxGradient, softmax
from symnet.ops.reduction import max as highest
from symnet.ops.reduction import sum as total
from symnet.ops.shape import dimshuffle, reshape

from .case import Case

softmax_gradient = SoftmaxGradient()


def stable(rule: str, inputs: str, before: Any, after: str, alone: Any, **settings: Any) -> Case:
    """A case whose values agree where the original is exact enough, and not to the last bit."""
    return Case(rule, inputs, before, after, alone, exact=False, **settings)


def _softplus_gradient(g: Any, x: Any) -> Any:
    return g / (1 + exp(x)) * exp(x)


def _derivative(g: Any, x: Any) -> Any:
    return g * sigmoid(x) * (1 - sigmoid(x))


def _quotient_gradient(g: Any, x: Any, wide: Any, spread: Any) -> Any:
    """What the gradient of exp(x) / sum(exp(x)) looks like, from the sum with its axes kept."""
    return (g / wide + spread(-(g * exp(x)) / sqr(wide))) * exp(x)


def _sum_with_axes(x: Any) -> Any:
    return dimshuffle(total(exp(x), axis=1), 0, "x")


CASES = [
    # --- the sigmoid
    stable(
        "sigmoid_of_quotient",
        "x:dvector",
        lambda x: 1 / (1 + exp(x)),
        "sigmoid(neg(x))",
        lambda x: 2 / (1 + exp(x)),
    ),
    stable(
        "sigmoid_of_power",
        "x:dvector",
        lambda x: exp(x) / (exp(x) + 1),
        "sigmoid(x)",
        lambda x: exp(-x) / (1 + exp(x)),
    ),
    stable(
        "log_of_sigmoid",
        "x:dvector",
        lambda x: log(sigmoid(x)),
        "neg(softplus(neg(x)))",
        lambda x: log(sigmoid(x) + 1),
    ),
    stable(
        "log_of_one_minus_sigmoid",
        "x:fvector",
        lambda x: log(1 - sigmoid(x)),
        "neg(softplus(x))",
        lambda x: log(2 - sigmoid(x)),
    ),
    stable(
        "log1p_of_minus_sigmoid",
        "x:dvector",
        lambda x: log1p(-sigmoid(x)),
        "neg(softplus(x))",
        lambda x: log1p(sigmoid(x)),
    ),
    stable(
        "one_minus_sigmoid",
        "x:dvector",
        lambda x: 1 - sigmoid(x),
        "sigmoid(neg(x))",
        # The sigmoid is there anyway.
        lambda x: sigmoid(x) * (1 - sigmoid(x)),
    ),
    stable(
        "gradient_of_softplus",
        "g:dvector x:dvector",
        _softplus_gradient,
        "mul(g, sigmoid(x))",
        lambda g, x: g / (1 + exp(x)) * exp(g),
    ),
    stable(
        "sigmoid_times_power",
        "x:dvector",
        lambda x: exp(x) * sigmoid(-x),
        "sigmoid(x)",
        lambda x: exp(x) * sigmoid(x),
    ),
    stable(
        "sigmoid_times_inverse_power",
        "x:dvector",
        lambda x: sigmoid(x) * exp(-x),
        "sigmoid(neg(x))",
        lambda x: sigmoid(x) * exp(x),
    ),
    stable(
        "gradient_of_quotient",
        "g:dvector x:dvector",
        lambda g, x: g / sqr(1 + exp(x)) * exp(x),
        "mul(mul(g, sigmoid(neg(x))), sub(1.0, sigmoid(neg(x))))",
        lambda g, x: g / sqr(1 + exp(x)) * exp(g),
    ),
    stable(
        "gradient_of_power_quotient",
        "g:dvector x:dvector",
        lambda g, x: (g / (1 + exp(x)) + -(g * exp(x)) / sqr(1 + exp(x))) * exp(x),
        "mul(mul(g, sigmoid(x)), sub(1.0, sigmoid(x)))",
        lambda g, x: (g / (1 + exp(x)) + -(g * exp(x)) / sqr(2 + exp(x))) * exp(x),
    ),
    stable(
        "gradient_of_power_quotient_in_parts",
        "g:dvector x:dvector",
        lambda g, x: g / (1 + exp(x)) * exp(x) + -(g * exp(x)) / sqr(1 + exp(x)) * exp(x),
        "mul(mul(g, sigmoid(x)), sub(1.0, sigmoid(x)))",
        lambda g, x: g / (1 + exp(x)) * exp(x) - -(g * exp(x)) / sqr(1 + exp(x)) * exp(x),
    ),
    stable(
        "quotients_in_gradient_of_sigmoid",
        "g:dvector x:dvector",
        lambda g, x: _derivative(g / sigmoid(x), x),
        "mul(g, sub(1.0, sigmoid(x)))",
        _derivative,
    ),
    stable(
        "quotients_in_gradient_of_sigmoid",
        "a:dvector b:dvector x:dvector",
        lambda a, b, x: _derivative(-(2 * (a / sigmoid(x))) - b / (1 - sigmoid(x)) / 3, x),
        "sub(neg(mul(mul(a, sub(1.0, sigmoid(x))), 2.0)), true_div(mul(b, sigmoid(x)), 3.0))",
        lambda a, b, x: _derivative(a / sigmoid(b), x),
    ),
    stable(
        "quotients_in_gradient_of_sigmoid",
        "a:dvector b:dvector x:dvector",
        lambda a, b, x: _derivative(a / sigmoid(x) + b, x),
        "add(mul(a, sub(1.0, sigmoid(x))), mul(mul(b, sigmoid(x)), sub(1.0, sigmoid(x))))",
        lambda a, b, x: _derivative(sigmoid(x) / a, x),
    ),
    # --- softplus, log1p, expm1
    stable(
        "log_of_one_plus_exp",
        "x:dvector",
        lambda x: log(1 + exp(x)),
        "softplus(x)",
        lambda x: log(2 + exp(x)),
    ),
    stable("log1p_of_exp", "x:fvector", lambda x: log1p(exp(x)), "softplus(x)", lambda x: log1p(x)),
    stable(
        "log_of_one_plus",
        "x:dvector",
        lambda x: log(x + 1),
        "log1p(x)",
        # Integers are exact, and wrap.
        lambda x: log(cast(x, "int8") + 1),
        domain=(0.0, 3.0),
    ),
    stable(
        "log_of_one_minus",
        "x:dvector",
        lambda x: log(1 - x),
        "log1p(neg(x))",
        lambda x: log(x - 1),
        domain=(-3.0, 0.5),
    ),
    stable("exp_minus_one", "x:dvector", lambda x: exp(x) - 1, "expm1(x)", lambda x: exp(x) - 2),
    # --- logarithm of a sum of powers
    stable(
        "log_of_sum_of_exp",
        "x:dmatrix",
        lambda x: log(total(exp(x), axis=1)),
        "add(log(sum{axis=(1,)}(exp(sub(x, dimshuffle{0, x}(switch(isinf(max{axis=(1,)}(x)), 0.0, "
        "max{axis=(1,)}(x))))))), switch(isinf(max{axis=(1,)}(x)), 0.0, max{axis=(1,)}(x)))",
        lambda x: log(total(exp(x - highest(x, axis=1, keepdims=True)), axis=1)),
    ),
    stable(
        "log_of_sum_with_axes",
        "x:dmatrix",
        lambda x: log(_sum_with_axes(x)),
        "dimshuffle{0, x}(log(sum{axis=(1,)}(exp(x))))",
        lambda x: log(dimshuffle(total(x, axis=1), 0, "x")),
    ),
    stable(
        "gradient_of_log_of_sum",
        "g:dvector x:d(3,?)",
        lambda g, x: dimshuffle(g / total(exp(x), axis=1), 0, "x") * exp(x),
        "mul(dimshuffle{0, x}(g), exp(sub(x, dimshuffle{0, x}(log(sum{axis=(1,)}(exp(x)))))))",
        lambda g, x: dimshuffle(g / total(x, axis=1), 0, "x") * exp(x),
    ),
    stable(
        "gradient_of_log_of_sum",
        "g:dscalar x:dmatrix",
        lambda g, x: g / total(exp(x)) * exp(x),
        "mul(g, exp(sub(x, dimshuffle{x, x}(log(sum{axis=(0, 1)}(exp(x)))))))",
        # These sums lie along the other axis.
        lambda g, x: g / total(exp(x), axis=1) * exp(x),
    ),
    stable(
        "gradient_of_log_of_sum",
        "g:dcol x:dmatrix",
        lambda g, x: g / _sum_with_axes(x) * exp(x),
        "mul(g, exp(sub(x, dimshuffle{0, x}(log(sum{axis=(1,)}(exp(x)))))))",
        lambda g, x: g / _sum_with_axes(x) * exp(2 * x),
    ),
    # --- softmax
    stable(
        "softmax_of_quotient",
        "x:dmatrix",
        lambda x: exp(x) / total(exp(x), axis=1, keepdims=True),
        "Softmax(x)",
        lambda x: exp(x) / dimshuffle(total(exp(x), axis=0), 0, "x"),
    ),
    stable(
        "softmax_of_quotient",
        "x:dmatrix",
        lambda x: exp(x) / total(exp(x), axis=0, keepdims=True),
        "dimshuffle{1, 0}(Softmax(dimshuffle{1, 0}(x)))",
        lambda x: exp(x) / total(exp(2 * x), axis=0, keepdims=True),
    ),
    stable(
        "softmax_of_quotient",
        "x:dvector y:dmatrix",
        lambda x, y: exp(x) / total(exp(x)),
        "dimshuffle{1}(Softmax(dimshuffle{x, 0}(x)))",
        lambda x, y: exp(y) / total(exp(y)),
    ),
    stable(
        "log_of_softmax",
        "x:dmatrix",
        lambda x: log(softmax(x)),
        "LogSoftmax(x)",
        lambda x: log(softmax(x) + 1),
    ),
    stable(
        "log_of_picked_probabilities",
        "x:dmatrix i:lvector",
        lambda x, i: log(softmax(x)[i, i]),
        "gather{axes=(0, 1)}(log(Softmax(x)), i, i)",
        lambda x, i: log(exp(x)[i, i]),
    ),
    stable(
        "log_of_sliced_probabilities",
        "x:dmatrix",
        lambda x: log(sigmoid(x)[:, 1]),
        "subtensor[:, 1](log(sigmoid(x)))",
        lambda x: log(exp(x)[:, 1]),
    ),
    stable(
        "log_of_shuffled_probabilities",
        "x:dmatrix",
        lambda x: log(dimshuffle(softmax(x), 1, 0)),
        "dimshuffle{1, 0}(log(Softmax(x)))",
        lambda x: log(dimshuffle(exp(x), 1, 0)),
    ),
    stable(
        "log_of_reshaped_probabilities",
        "x:dmatrix",
        lambda x: log(reshape(softmax(x), (-1,))),
        "reshape{1}(log(Softmax(x)), [-1])",
        lambda x: log(reshape(exp(x), (-1,))),
    ),
    # --- the gradient of softmax
    stable(
        "gradient_of_log_softmax",
        "g:dmatrix x:dmatrix",
        lambda g, x: softmax_gradient(g / softmax(x), softmax(x)),
        "sub(g, mul(Softmax(x), dimshuffle{0, x}(sum{axis=(1,)}(g))))",
        lambda g, x: softmax_gradient(g / exp(x), softmax(x)),
    ),
    stable(
        "negated_gradient_of_log_softmax",
        "g:dmatrix x:dmatrix",
        lambda g, x: softmax_gradient(-(g / softmax(x)), softmax(x)),
        "neg(SoftmaxGradient(true_div(g, Softmax(x)), Softmax(x)))",
        lambda g, x: softmax_gradient(-g, softmax(x)),
    ),
    stable(
        "summed_gradient_of_log_softmax",
        "g:dmatrix h:dmatrix x:dmatrix",
        lambda g, h, x: softmax_gradient(g / softmax(x) + h, softmax(x)),
        "add(sub(g, mul(Softmax(x), dimshuffle{0, x}(sum{axis=(1,)}(g)))), SoftmaxGradient(h, Softmax(x)))",
        lambda g, h, x: softmax_gradient(g + h, softmax(x)),
    ),
    stable(
        "gradient_of_picked_log_softmax",
        "g:dvector x:dmatrix i:lvector",
        lambda g, x, i: softmax_gradient(
            AdvancedIncSubtensor((0, 1), False)(fill(softmax(x), 0.0), g / softmax(x)[i, i], i, i),
            softmax(x),
        ),
        "inc_gathered{axes=(0, 1)}(neg(mul(exp(LogSoftmax(x)), "
        "dimshuffle{0, x}(inc_gathered{axes=(0,)}(alloc(0.0, subtensor[0](shape(Softmax(x)))), g, i)))), "
        "g, i, i)",
        lambda g, x, i: softmax_gradient(
            AdvancedIncSubtensor((0, 1), False)(fill(softmax(x), 0.0), g / exp(x)[i, i], i, i),
            softmax(x),
        ),
    ),
    stable(
        "gradient_of_sliced_log_softmax",
        "g:dvector x:d(3,?)",
        lambda g, x: softmax_gradient(
            IncSubtensor((("slice", None, None, 1), 0), False)(fill(softmax(x), 0.0), g / softmax(x)[:, 0]),
            softmax(x),
        ),
        "sub(inc_subtensor[:, 0](fill(Softmax(x), 0.0), g), mul(Softmax(x), "
        "dimshuffle{0, x}(sum{axis=(1,)}(inc_subtensor[:, 0](fill(Softmax(x), 0.0), g)))))",
        lambda g, x: softmax_gradient(
            IncSubtensor((("slice", None, None, 1), 0), False)(fill(softmax(x), 1.0), g / softmax(x)[:, 0]),
            softmax(x),
        ),
    ),
    stable(
        "gradient_of_softmax_quotient",
        "g:dmatrix x:dmatrix",
        lambda g, x: _quotient_gradient(
            g, x, _sum_with_axes(x), lambda each: dimshuffle(total(each, axis=1), 0, "x")
        ),
        "SoftmaxGradient(g, Softmax(x))",
        lambda g, x: _quotient_gradient(
            g, x, _sum_with_axes(x), lambda each: dimshuffle(total(each, axis=0), 0, "x")
        ),
    ),
    stable(
        "gradient_of_softmax_quotient",
        "g:dmatrix x:dmatrix",
        lambda g, x: _quotient_gradient(
            g,
            x,
            _sum_with_axes(x),
            lambda each: fill(exp(x), dimshuffle(total(each, axis=1), 0, "x")),
        ),
        "SoftmaxGradient(g, Softmax(x))",
        lambda g, x: _quotient_gradient(g, x, _sum_with_axes(x), lambda each: total(each, axis=1)),
    ),
    stable(
        "gradient_of_softmax_quotient",
        "g:dvector x:dvector",
        lambda g, x: _quotient_gradient(g, x, total(exp(x)), total),
        "dimshuffle{1}(SoftmaxGradient(dimshuffle{x, 0}(g), Softmax(dimshuffle{x, 0}(x))))",
        lambda g, x: _quotient_gradient(g, x, total(exp(g)), total),
    ),
    stable(
        "gradient_of_softmax_quotient",
        "g:drow x:dmatrix",
        lambda g, x: _quotient_gradient(g, x, total(exp(x), axis=0), lambda each: total(each, axis=0)),
        "dimshuffle{1, 0}(SoftmaxGradient(dimshuffle{1, 0}(fill(x, g)), Softmax(dimshuffle{1, 0}(x))))",
        lambda g, x: _quotient_gradient(g, x, total(exp(x), axis=0), lambda each: total(each, axis=1)),
    ),
    stable(
        "gradient_of_softmax_quotient_in_parts",
        "g:dmatrix x:dmatrix",
        lambda g, x: (
            g / _sum_with_axes(x) * exp(x)
            + dimshuffle(total(-(g * exp(x)) / sqr(_sum_with_axes(x)), axis=1), 0, "x") * exp(x)
        ),
        "SoftmaxGradient(g, Softmax(x))",
        lambda g, x: (
            g / _sum_with_axes(x) * exp(x)
            + dimshuffle(total(-(x * exp(x)) / sqr(_sum_with_axes(x)), axis=1), 0, "x") * exp(x)
        ),
    ),
]
