"""Batch normalisation: takes activations and their scale and shift, hands on normalised activations.

Everything here is built from other ops; names and arguments are those of `theano.tensor.nnet.bn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symnet.errors import ArgumentError, GraphError
from symnet.graph.variable import Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable
from symnet.ops.elementwise import cast
from symnet.ops.reduction import checked_axes, mean, var
from symnet.ops.shape import dimshuffle, length_of
from symnet.ops.shape_promises import addbroadcast


def batch_normalization(
    inputs: Any, gamma: Any, beta: Any, mean: Any, std: Any, mode: str = "low_mem"
) -> Variable:
    """(inputs - mean) * (gamma / std) + beta; `mode` is accepted and has no meaning here."""
    x = as_tensor_variable(inputs)
    return (x - mean) * (as_tensor_variable(gamma) / std) + beta


def batch_normalization_train(
    inputs: Any,
    gamma: Any,
    beta: Any,
    axes: Any = "per-activation",
    epsilon: float = 1e-4,
    running_average_factor: float = 0.1,
    running_mean: Any = None,
    running_var: Any = None,
) -> tuple[Variable, ...]:
    """Normalise by the mini-batch's own mean and variance (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    inputs
        Activations.
    gamma, beta
        Scale and shift, of the inputs' rank with length 1 along `axes`, or of the other axes only.
    axes
        What to average over: 'per-activation' (axis 0), 'spatial' (all axes but 1), or axis numbers.
    epsilon
        Added to the variance.
    running_average_factor
        The weight of this mini-batch in the running averages.
    running_mean, running_var
        Running averages so far; both or neither.

    Returns
    -------
    tuple
        The normalised activations, the mean, 1 / standard deviation, and where running averages were
        given the new running mean and the new running variance (of the population).
    """
    x = as_tensor_variable(inputs)
    over = _axes(axes, x)
    parameters = [as_tensor_variable(each) for each in (gamma, beta)]
    full = parameters[0].ndim == x.ndim
    scale, shift = (_spread(each, x, over) for each in parameters)
    average = mean(x, axis=over, keepdims=True)
    variance = var(x, axis=over, keepdims=True)
    inverse = 1.0 / table.sqrt(variance + epsilon)
    results = [(x - average) * (scale * inverse) + shift, average, inverse]
    if (running_mean is None) != (running_var is None):
        raise ArgumentError("running_mean and running_var: give both or neither")
    if running_mean is not None:
        old_mean, old_variance = (
            _spread(as_tensor_variable(each), x, over) for each in (running_mean, running_var)
        )
        count: Any = 1
        for axis in over:
            count = count * length_of(x, axis)
        count = cast(count, x.dtype)
        factor = running_average_factor
        results.append(old_mean * (1.0 - factor) + average * factor)
        results.append(old_variance * (1.0 - factor) + count / (count - 1.0) * variance * factor)
    if not full:
        kept = [axis for axis in range(x.ndim) if axis not in over]
        results[1:] = [dimshuffle(each, kept) for each in results[1:]]
    return tuple(results)


def batch_normalization_test(
    inputs: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    var: Any,
    axes: Any = "per-activation",
    epsilon: float = 1e-4,
) -> Variable:
    """Normalise by a given mean and variance; parameters as `batch_normalization_train`'s."""
    x = as_tensor_variable(inputs)
    over = _axes(axes, x)
    scale, shift, average, variance = (
        _spread(as_tensor_variable(each), x, over) for each in (gamma, beta, mean, var)
    )
    return (x - average) * (scale / table.sqrt(variance + epsilon)) + shift


def _axes(axes: Any, x: Variable) -> tuple[int, ...]:
    if axes == "per-activation":
        return (0,)
    if axes == "spatial":
        return (0, *range(2, x.ndim))
    if isinstance(axes, str):
        raise ArgumentError(f"axes={axes!r}: 'per-activation', 'spatial' or axis numbers are expected")
    return checked_axes(axes, x.ndim, "batch_normalization", x)


def _spread(parameter: Variable, x: Variable, over: Sequence[int]) -> Variable:
    """A parameter in the inputs' rank, of length 1 along the axes that are averaged over."""
    if parameter.ndim == x.ndim:
        return addbroadcast(parameter, *over)
    kept = iter(range(x.ndim - len(over)))
    if parameter.ndim != x.ndim - len(over):
        raise GraphError(
            f"batch_normalization: a parameter of {x.ndim} or {x.ndim - len(over)} axes is expected",
            [parameter, x],
        )
    return dimshuffle(parameter, ["x" if axis in over else next(kept) for axis in range(x.ndim)])
