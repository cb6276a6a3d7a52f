"""Takes the book's four networks through 20 steps and holds their parameters to the derivation's.
The derivation computes in float64; symnet may be 1e-5 from it in float32 and 1e-10 in float64."""

import numpy as np
import pytest

import symnet
from symnet import tensor as T
from symnet.network3 import (
    ConvPoolLayer,
    FullyConnectedLayer,
    Network,
    ReLU,
    SoftmaxLayer,
    load_data,
)

from . import derivation

STEPS, BATCH = 20, 10
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def two_convolutions():
    return [
        ConvPoolLayer((20, 1, 5, 5), (BATCH, 1, 28, 28), activation_fn=ReLU),
        ConvPoolLayer((40, 20, 5, 5), (BATCH, 20, 12, 12), activation_fn=ReLU),
    ]


def full(n_in, n_out, p_dropout=0.0):
    return FullyConnectedLayer(n_in, n_out, activation_fn=ReLU, p_dropout=p_dropout)


# name: layers, eta, lmbda
NETWORKS = {
    "shallow": (lambda: [FullyConnectedLayer(784, 100), SoftmaxLayer(100, 10)], 0.1, 0.0),
    "basic_conv": (
        lambda: [
            ConvPoolLayer((20, 1, 5, 5), (BATCH, 1, 28, 28)),
            FullyConnectedLayer(2880, 100),
            SoftmaxLayer(100, 10),
        ],
        0.1,
        0.0,
    ),
    "dbl_conv_relu": (
        lambda: [*two_convolutions(), full(640, 100), SoftmaxLayer(100, 10)],
        0.03,
        0.1,
    ),
}


def dropout_layers():
    return [
        *two_convolutions(),
        full(640, 1000, 0.5),
        full(1000, 1000, 0.5),
        SoftmaxLayer(1000, 10, 0.5),
    ]


@pytest.fixture(params=TOLERANCE)
def floatX(request):
    np.random.seed(20)
    with symnet.config.override(floatX=request.param):
        yield request.param


def digits():
    (x, y), _, _ = load_data()
    return x[: STEPS * BATCH], y[: STEPS * BATCH].astype(np.int32)


def the_oracle(name, net):
    return derivation.NETWORKS[name]([param.get_value() for param in net.params], BATCH)


def assert_same_parameters(net, oracle, floatX):
    for param, expected in zip(net.params, oracle.params, strict=True):
        value = param.get_value()
        assert value.dtype == floatX
        np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE[floatX])


@pytest.mark.parametrize("name", NETWORKS)
def test_twenty_steps_of_SGD(name, floatX):
    layers, eta, lmbda = NETWORKS[name]
    net = Network(layers(), BATCH)
    oracle = the_oracle(name, net)
    x, y = digits()
    data = symnet.shared(x.astype(floatX)), symnet.shared(y)
    net.SGD(data, 1, BATCH, eta, data, None, lmbda=lmbda)
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        oracle.step(x[rows], y[rows], eta, lmbda=lmbda, batches=STEPS)
    assert_same_parameters(net, oracle, floatX)


def test_twenty_steps_with_dropout(floatX):
    """The same by a function that hands on its masks, which the derivation then uses."""
    net = Network(dropout_layers(), BATCH)
    oracle = the_oracle("dropout", net)
    x, y = digits()
    eta = 0.03
    cost = net.layers[-1].cost(net)
    updates = [
        (param, param - eta * gradient)
        for param, gradient in zip(net.params, symnet.grad(cost, net.params), strict=True)
    ]
    masks = [layer.inpt_dropout.owner.inputs[1] for layer in net.layers[2:]]
    number = T.lscalar()
    rows = slice(number * BATCH, (number + 1) * BATCH)
    shared_x, shared_y = symnet.shared(x.astype(floatX)), symnet.shared(y)
    train = symnet.function(
        [number],
        [cost, *masks],
        updates=updates,
        givens={net.x: shared_x[rows], net.y: shared_y[rows]},
    )
    for step in range(STEPS):
        found, *drawn = train(step)
        for mask in drawn:
            assert set(np.unique(mask)) == {0, 1} and 0.4 < mask.mean() < 0.6
        rows = slice(step * BATCH, (step + 1) * BATCH)
        expected = oracle.step(x[rows], y[rows], eta, masks=[None, None, *drawn])
        assert found == pytest.approx(expected, rel=10 * TOLERANCE[floatX])
    assert_same_parameters(net, oracle, floatX)
