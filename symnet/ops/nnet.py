"""Neural networks' functions: takes tensors, hands on probabilities, activations and losses.

Softmax is an op because it is stabilised and compiled as one; everything else is built from other ops,
so its gradient and its fusion follow from theirs. Names, values and corner cases are Theano's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError
from symnet.graph.dims import Shape
from symnet.graph.op import HostValue, Op, ShapeContext
from symnet.graph.types import FLOAT_DTYPES, INTEGER_DTYPES
from symnet.graph.variable import Apply, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, upcast
from symnet.ops.creation import arange
from symnet.ops.elementwise import cast
from symnet.ops.reduction import argmax
from symnet.ops.reduction import sum as reduce_sum
from symnet.ops.shape import dimshuffle, length_of

Array = np.ndarray[Any, Any]


class RowOp(Op):
    """An op on each row of float matrices of one shape, whose result has that shape, too."""

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Float matrices in their common dtype."""
        matrices = [as_tensor_variable(each) for each in inputs]
        for matrix in matrices:
            if matrix.ndim != 2:
                raise ArgumentError(
                    f"{self.name} takes matrices, got {matrix.ndim} axes",
                    matrices,
                    hint="it works along rows: reshape to a matrix first",
                )
            if matrix.dtype not in FLOAT_DTYPES:
                raise ArgumentError(f"{self.name} takes floats, got {matrix.dtype}: cast first", matrices)
        common = upcast(*(matrix.dtype for matrix in matrices))
        return [cast(matrix, common) for matrix in matrices]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The common dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The operands' shape."""
        first = shapes[0]
        for shape in shapes[1:]:
            first = tuple(
                context.equal(left, right, f"operands' lengths of axis {axis} differ")
                for axis, (left, right) in enumerate(zip(first, shape, strict=True))
            )
        return [first]


def _shifted(x: Array) -> Array:
    """Each row less its maximum, so that no exponential overflows."""
    return x - np.max(x, axis=1, keepdims=True, initial=-np.inf)


class Softmax(RowOp):
    """exp(x) / sum(exp(x)) along each row."""

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Of the rows less their maxima."""
        (x,) = inputs
        with np.errstate(all="ignore"):
            powers = np.exp(_shifted(x))
            return powers / np.sum(powers, axis=1, keepdims=True)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """`SoftmaxGradient`."""
        return [SoftmaxGradient()(output_gradients[0], node.outputs[0])]


class SoftmaxGradient(RowOp):
    """(g - sum(g * p)) * p along each row, from the incoming gradient g and the softmax p."""

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """As it says."""
        g, p = inputs
        with np.errstate(all="ignore"):
            return (g - np.sum(g * p, axis=1, keepdims=True)) * p

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By g, in which it is linear and symmetric, and by p."""
        g, p = node.inputs
        (h,) = output_gradients
        mean = reduce_sum(g * p, axis=1, keepdims=True)
        return [
            SoftmaxGradient()(h, p),
            h * (g - mean) - g * reduce_sum(h * p, axis=1, keepdims=True),
        ]


class LogSoftmax(RowOp):
    """x - log(sum(exp(x))) along each row."""

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Of the rows less their maxima."""
        with np.errstate(all="ignore"):
            shifted = _shifted(inputs[0])
            return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """g - softmax(x) * sum(g)."""
        (g,) = output_gradients
        return [g - Softmax()(node.inputs[0]) * reduce_sum(g, axis=1, keepdims=True)]


def _as_rows(x: Any) -> Variable:
    variable = as_tensor_variable(x)
    return dimshuffle(variable, "x", 0) if variable.ndim == 1 else variable


def softmax(c: Any) -> Variable:
    """exp(c) / sum(exp(c)) along each row of a float matrix; a vector is one row, and so is its result.

    >>> import symnet.tensor as T
    >>> T.nnet.softmax(T.fvector()).ndim
    2
    """
    return Softmax()(_as_rows(c))  # type: ignore[no-any-return]


def logsoftmax(c: Any) -> Variable:
    """log(softmax(c)), computed without overflow."""
    return LogSoftmax()(_as_rows(c))  # type: ignore[no-any-return]


def softmax_graph(c: Any) -> Variable:
    """`softmax` of a matrix written out in other ops, for whoever wants to see through it."""
    powers = table.exp(c)
    return powers / reduce_sum(powers, axis=-1, keepdims=True)


def softmax_with_bias(x: Any, b: Any) -> Variable:
    """softmax(x + b) of a matrix and a vector."""
    return softmax(as_tensor_variable(x) + as_tensor_variable(b))


# --- activations -----------------------------------------------------------------------------------


def relu(x: Any, alpha: Any = 0) -> Variable:
    """x where it is positive, alpha * x elsewhere; its slope at 0 is half-way between the two.

    Parameters
    ----------
    x
        A tensor.
    alpha
        The slope for negative x: a number, or a tensor that broadcasts with x.

    Returns
    -------
    Variable
        Of x's shape and dtype (floats for integers).
    """
    variable = as_tensor_variable(x)
    if isinstance(alpha, int | float):
        if alpha == 0:
            return 0.5 * (variable + table.abs_(variable))
    else:
        alpha = as_tensor_variable(alpha)
    rising, falling = 0.5 * (1 + alpha), 0.5 * (1 - alpha)
    return rising * variable + falling * table.abs_(variable)


def elu(x: Any, alpha: Any = 1) -> Variable:
    """x where it is positive, alpha * (exp(x) - 1) elsewhere (Clevert et al., 2016)."""
    variable = as_tensor_variable(x)
    # The exponential is taken of negative x only: where x is large it would be infinite, and the
    # gradient 0 * infinity.
    negative = alpha * table.expm1(table.minimum(variable, 0))
    return table.switch(table.gt(variable, 0), variable, negative)  # type: ignore[no-any-return]


def selu(x: Any) -> Variable:
    """`elu` scaled so that layers keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def softsign(x: Any) -> Variable:
    """x / (1 + |x|)."""
    variable = as_tensor_variable(x)
    return variable / (1.0 + table.abs_(variable))


def hard_sigmoid(x: Any) -> Variable:
    """0.2 * x + 0.5, between 0 and 1: a sigmoid of straight lines."""
    return table.clip(0.2 * as_tensor_variable(x) + 0.5, 0.0, 1.0)  # type: ignore[no-any-return]


def ultra_fast_sigmoid(x: Any) -> Variable:
    """The sigmoid under the name of Theano's approximation to it (which is off by up to 0.05).

    Here the exact one vectorises, so there is nothing to gain from another.
    """
    return table.sigmoid(x)  # type: ignore[no-any-return]


# --- losses ----------------------------------------------------------------------------------------


def binary_crossentropy(output: Any, target: Any) -> Variable:
    """-(target * log(output) + (1 - target) * log(1 - output)), entry by entry.

    `output` is a probability, `target` a number from 0 to 1. Of a sigmoid it is computed stably.
    """
    p, t = as_tensor_variable(output), as_tensor_variable(target)
    return -(t * table.log(p) + (1.0 - t) * table.log(1.0 - p))


def sigmoid_binary_crossentropy(output: Any, target: Any) -> Variable:
    """`binary_crossentropy(sigmoid(output), target)`, entry by entry and stable for every output."""
    x, t = as_tensor_variable(output), as_tensor_variable(target)
    return t * table.softplus(-x) + (1.0 - t) * table.softplus(x)


def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Variable:
    """Minus the logarithm of the probability that each row gives to what is true.

    Parameters
    ----------
    coding_dist
        Probabilities, one row for each example.
    true_dist
        An integer vector of each example's class, or probabilities of the same rank as
        `coding_dist`.

    Returns
    -------
    Variable
        A vector: -log(coding_dist[i, true_dist[i]]), or -sum(true_dist * log(coding_dist)) along
        rows. A class outside the rows is an error when the function runs.

    Raises
    ------
    GraphError
        When the target is a float vector, or has another rank.
    """
    p, t = as_tensor_variable(coding_dist), as_tensor_variable(true_dist)
    if t.ndim == p.ndim:
        return -reduce_sum(t * table.log(p), axis=p.ndim - 1)
    if t.ndim == p.ndim - 1:
        return crossentropy_categorical_1hot(p, t)
    raise GraphError(f"categorical_crossentropy of {p.ndim} axes with targets of {t.ndim}", [p, t])


def crossentropy_categorical_1hot(coding_dist: Any, true_one_of_n: Any) -> Variable:
    """-log(coding_dist[i, true_one_of_n[i]]) of a matrix of probabilities and an integer vector.

    Raises
    ------
    GraphError
        When they are not a matrix and an integer vector.
    """
    p, t = as_tensor_variable(coding_dist), as_tensor_variable(true_one_of_n)
    if p.ndim != 2 or t.ndim != 1 or t.dtype not in INTEGER_DTYPES:
        raise GraphError(
            "a matrix of probabilities and an integer vector of classes are expected",
            [p, t],
            hint=f'T.cast(labels, "int32") if the labels are {t.dtype}' if t.ndim == 1 else None,
        )
    return -table.log(p[arange(length_of(t, 0)), t])  # type: ignore[index]


def crossentropy_softmax_1hot(x: Any, y_idx: Any) -> list[Variable]:
    """[loss of each row, softmax] for scores `x` and classes `y_idx`."""
    probabilities = softmax(x)
    return [crossentropy_categorical_1hot(probabilities, y_idx), probabilities]


def crossentropy_softmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> list[Variable]:
    """`crossentropy_softmax_1hot` of x + b."""
    return crossentropy_softmax_1hot(as_tensor_variable(x) + as_tensor_variable(b), y_idx)


def crossentropy_softmax_argmax_1hot_with_bias(x: Any, b: Any, y_idx: Any) -> list[Variable]:
    """[loss of each row, softmax, likeliest class] for scores x + b and classes `y_idx`."""
    loss, probabilities = crossentropy_softmax_1hot_with_bias(x, b, y_idx)
    return [loss, probabilities, argmax(probabilities, axis=1)]
