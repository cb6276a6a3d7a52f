"""Softmax, activations and losses: values at ordinary and extreme arguments, gradients, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special

from symnet.config import config
from symnet.errors import ArgumentError, GraphError
from symnet.graph.types import TensorType
from symnet.ops import nnet
from symnet.ops.elementwise_table import sigmoid
from symnet.ops.normalization import (
    batch_normalization,
    batch_normalization_test,
    batch_normalization_train,
)

from .evaluate import check_gradient, evaluate, gradients


def tensor(ndim: int, dtype: str = "float64") -> Any:
    return TensorType(dtype, shape=(None,) * ndim)()


ROWS = np.random.default_rng(1).standard_normal((4, 5)) * 2


def test_softmax_and_its_logarithm() -> None:
    x = tensor(2)
    np.testing.assert_allclose(
        evaluate(nnet.softmax(x), {x: ROWS}), scipy.special.softmax(ROWS, axis=1), rtol=1e-13
    )
    np.testing.assert_allclose(
        evaluate(nnet.logsoftmax(x), {x: ROWS}), scipy.special.log_softmax(ROWS, axis=1), rtol=1e-13
    )
    np.testing.assert_allclose(
        evaluate(nnet.softmax_graph(x), {x: ROWS}), scipy.special.softmax(ROWS, axis=1), rtol=1e-13
    )


def test_softmax_at_the_extremes() -> None:
    x = tensor(2)
    large = [[1000.0, 0.0, -1000.0]]
    np.testing.assert_array_equal(evaluate(nnet.softmax(x), {x: large}), [[1, 0, 0]])
    np.testing.assert_array_equal(evaluate(nnet.logsoftmax(x), {x: large}), [[0, -1000, -2000]])
    for row in ([[np.inf, 0.0]], [[-np.inf, -np.inf]], [[np.nan, 1.0]]):
        assert np.isnan(evaluate(nnet.softmax(x), {x: row})).all()
    assert evaluate(nnet.softmax(x), {x: np.zeros((3, 0))}).shape == (3, 0)
    np.testing.assert_array_equal(evaluate(nnet.softmax(x), {x: [[-np.inf, 0.0]]}), [[0, 1]])


@pytest.mark.parametrize("function", [nnet.softmax, nnet.logsoftmax])
def test_gradients_of_softmax_to_the_third_order(function: Any) -> None:
    check_gradient(function, ROWS, order=3)


def test_softmax_of_a_vector_is_one_row() -> None:
    x = tensor(1, "float32")
    for function in (nnet.softmax, nnet.logsoftmax):
        assert function(x).type == TensorType("float32", (1, None))
    np.testing.assert_allclose(evaluate(nnet.softmax(x), {x: [0, 0]}), [[0.5, 0.5]])


def test_softmax_refuses_other_ranks_and_integers() -> None:
    with pytest.raises(ArgumentError, match="matrices"):
        nnet.softmax(tensor(3))
    with pytest.raises(ArgumentError, match="floats") as caught:
        nnet.softmax(tensor(2, "int32"))
    assert "test_nnet.py" in str(caught.value)


def test_softmax_with_bias() -> None:
    x, b = tensor(2), tensor(1)
    bias = np.arange(5.0)
    np.testing.assert_allclose(
        evaluate(nnet.softmax_with_bias(x, b), {x: ROWS, b: bias}),
        scipy.special.softmax(ROWS + bias, axis=1),
    )


@pytest.mark.parametrize(
    ("function", "expected", "slopes"),
    [
        (nnet.relu, lambda v: np.maximum(v, 0), [0, 0.5, 1]),
        (lambda x: nnet.relu(x, 0.1), lambda v: np.where(v > 0, v, 0.1 * v), [0.1, 0.55, 1]),
        (nnet.elu, lambda v: np.where(v > 0, v, np.expm1(v)), [np.exp(-2), 1, 1]),
        (lambda x: nnet.elu(x, 0.5), lambda v: np.where(v > 0, v, 0.5 * np.expm1(v)), None),
        (nnet.selu, lambda v: 1.05070098 * np.where(v > 0, v, 1.67326324 * np.expm1(v)), None),
        (nnet.softsign, lambda v: v / (1 + np.abs(v)), [1 / 9, 1, 1 / 9]),
        (nnet.hard_sigmoid, lambda v: np.clip(0.2 * v + 0.5, 0, 1), [0.2, 0.2, 0.2]),
        (nnet.ultra_fast_sigmoid, lambda v: 1 / (1 + np.exp(-v)), None),
    ],
)
def test_activations(function: Any, expected: Any, slopes: Any) -> None:
    x = tensor(1)
    values = np.array([-3.1, -2.0, -0.3, 0.0, 0.7, 2.0, 4.0])
    out = function(x)
    np.testing.assert_allclose(evaluate(out, {x: values}), expected(values), rtol=1e-7)
    if slopes is not None:
        (gradient,) = gradients(out, [x])
        np.testing.assert_allclose(evaluate(gradient, {x: [-2.0, 0.0, 2.0]}), slopes)
    check_gradient(function, values[values != 0])


def test_activations_at_the_extremes() -> None:
    x = tensor(1)
    extremes = [-np.inf, -1000.0, 1000.0, np.inf, np.nan]
    out = nnet.elu(x)
    np.testing.assert_array_equal(evaluate(out, {x: extremes}), [-1, -1, 1000, np.inf, np.nan])
    (slope,) = gradients(out, [x])
    np.testing.assert_array_equal(evaluate(slope, {x: extremes[:4]}), [0, 0, 1, 1])


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), ("int32", "float64")])
def test_activations_keep_float32(dtype: str, expected: str) -> None:
    for floatx in ("float32", "float64"):
        with config.override(floatX=floatx):
            x = tensor(2, dtype)
            for function in (nnet.relu, nnet.elu, nnet.softsign, nnet.hard_sigmoid):
                assert function(x).dtype == expected
            assert nnet.relu(x, 0.1).dtype == expected


def test_relu_with_a_slope_for_each_column() -> None:
    x, alpha = tensor(2), tensor(1)
    found = evaluate(nnet.relu(x, alpha), {x: [[-1.0, -1.0], [2.0, 3.0]], alpha: [0.5, 0.0]})
    np.testing.assert_array_equal(found, [[-0.5, 0], [2, 3]])


def test_categorical_crossentropy_by_classes_and_by_distributions() -> None:
    p, classes, distribution = tensor(2), tensor(1, "int32"), tensor(2)
    probabilities = scipy.special.softmax(ROWS, axis=1)
    y = np.array([0, 4, 2, 2], "int32")
    expected = -np.log(probabilities[np.arange(4), y])
    found = evaluate(nnet.categorical_crossentropy(p, classes), {p: probabilities, classes: y})
    np.testing.assert_allclose(found, expected)
    one_hot = evaluate(
        nnet.categorical_crossentropy(p, distribution), {p: probabilities, distribution: np.eye(5)[y]}
    )
    np.testing.assert_allclose(one_hot, expected)
    check_gradient(lambda v: nnet.categorical_crossentropy(nnet.softmax(v), y), ROWS)


def test_classes_outside_the_rows_are_an_error() -> None:
    p, classes = tensor(2), tensor(1, "int64")
    loss = nnet.categorical_crossentropy(p, classes)
    with pytest.raises(IndexError):
        evaluate(loss, {p: np.ones((2, 3)), classes: [0, 3]})


def test_categorical_crossentropy_refuses_float_classes_and_other_ranks() -> None:
    with pytest.raises(GraphError, match="integer vector"):
        nnet.categorical_crossentropy(tensor(2), tensor(1))
    with pytest.raises(GraphError, match="4 axes with targets of 1"):
        nnet.categorical_crossentropy(tensor(4), tensor(1, "int32"))


def test_binary_crossentropy() -> None:
    p, t = tensor(2), tensor(2)
    probabilities = np.random.default_rng(2).uniform(0.1, 0.9, (3, 4))
    targets = np.random.default_rng(3).uniform(0, 1, (3, 4))
    expected = -(targets * np.log(probabilities) + (1 - targets) * np.log(1 - probabilities))
    found = evaluate(nnet.binary_crossentropy(p, t), {p: probabilities, t: targets})
    np.testing.assert_allclose(found, expected)
    check_gradient(nnet.binary_crossentropy, probabilities, targets)
    x = tensor(2)
    from_scores = evaluate(
        nnet.sigmoid_binary_crossentropy(x, t), {x: scipy.special.logit(probabilities), t: targets}
    )
    np.testing.assert_allclose(from_scores, expected)
    far = evaluate(nnet.sigmoid_binary_crossentropy(x, t), {x: [[800.0, -800.0]] * 2, t: [[1, 0], [0, 1]]})
    np.testing.assert_array_equal(far, [[0, 0], [800, 800]])
    check_gradient(nnet.sigmoid_binary_crossentropy, probabilities, targets)


def test_crossentropy_softmax_names() -> None:
    x, b, y = tensor(2), tensor(1), tensor(1, "int32")
    given = {x: ROWS, b: np.arange(5.0), y: [0, 1, 2, 3]}
    loss, probabilities, best = evaluate(nnet.crossentropy_softmax_argmax_1hot_with_bias(x, b, y), given)
    expected = scipy.special.log_softmax(ROWS + np.arange(5.0), axis=1)
    np.testing.assert_allclose(loss, -expected[np.arange(4), np.arange(4)])
    np.testing.assert_allclose(probabilities, np.exp(expected))
    np.testing.assert_array_equal(best, expected.argmax(1))


def test_sigmoid_losses_agree() -> None:
    x, t = tensor(1), tensor(1)
    given = {x: [0.3, -2.0], t: [1.0, 0.2]}
    np.testing.assert_allclose(
        evaluate(nnet.binary_crossentropy(sigmoid(x), t), given),
        evaluate(nnet.sigmoid_binary_crossentropy(x, t), given),
    )


@pytest.mark.parametrize("axes", ["per-activation", "spatial", (0, 2)])
def test_batch_normalization(axes: Any) -> None:
    generator = np.random.default_rng(4)
    values = generator.standard_normal((3, 4, 5, 2)) * 2 + 1
    over = {"per-activation": (0,), "spatial": (0, 2, 3)}.get(axes, axes)
    kept = tuple(axis for axis in range(4) if axis not in over)
    shape = tuple(values.shape[axis] for axis in kept)
    scale, shift, old_mean, old_variance = (generator.uniform(0.5, 1.5, shape) for _ in range(4))
    x, parameters = tensor(4), [tensor(len(shape)) for _ in range(4)]
    outs = batch_normalization_train(
        x, *parameters[:2], axes, running_mean=parameters[2], running_var=parameters[3]
    )
    given = {x: values, **dict(zip(parameters, (scale, shift, old_mean, old_variance), strict=True))}
    out, mean, inverse, new_mean, new_variance = evaluate(outs, given)
    count = values.size / mean.size
    np.testing.assert_allclose(mean, values.mean(over))
    np.testing.assert_allclose(inverse, 1 / np.sqrt(values.var(over) + 1e-4))
    np.testing.assert_allclose(new_mean, 0.9 * old_mean + 0.1 * values.mean(over))
    np.testing.assert_allclose(
        new_variance, 0.9 * old_variance + 0.1 * values.var(over) * count / (count - 1)
    )
    spread = [np.expand_dims(each, over) for each in (scale, shift)]
    center, variance = values.mean(over, keepdims=True), values.var(over, keepdims=True)
    expected = (values - center) / np.sqrt(variance + 1e-4) * spread[0] + spread[1]
    np.testing.assert_allclose(out, expected)
    tested = evaluate(batch_normalization_test(x, *parameters, axes), given | {parameters[2]: mean})
    expected = (values - center) / np.sqrt(np.expand_dims(old_variance, over) + 1e-4)
    np.testing.assert_allclose(tested, expected * spread[0] + spread[1])
    plain = evaluate(batch_normalization(x, 2.0, 1.0, 0.5, 4.0), {x: values})
    np.testing.assert_allclose(plain, (values - 0.5) * 0.5 + 1)
