"""Takes the steps that PyTorch recorded and holds those of symnet.network3, and the derivation's, to
them: 20 steps from the same weights on the same digits, with the same dropout masks."""

import json
from pathlib import Path

import numpy as np
import pytest

import symnet
from symnet.network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer

from . import derivation
from .twenty_steps import (
    BATCH,
    NETWORKS,
    P_DROPOUT,
    STEPS,
    digits,
    fingerprint,
    first_params,
    masks,
    rows,
)

RECORDED = json.loads(Path(__file__).with_name("recorded_torch.json").read_text())["networks"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def assert_recorded(name, floatX, params, costs):
    """Entries within the tolerance; the mean and the root mean square of all entries as well."""
    tolerance = TOLERANCE[floatX]
    recorded = RECORDED[name]
    np.testing.assert_allclose(costs, recorded["costs"][floatX], rtol=tolerance)
    for param, expected in zip(params, recorded["params"], strict=True):
        assert param.dtype == floatX and list(param.shape) == expected["shape"]
        values, expected_values = param.ravel(), expected[floatX]
        np.testing.assert_allclose(
            values[expected["positions"]], expected_values["entries"], rtol=0, atol=tolerance
        )
        total = values.sum(dtype=np.float64)
        norm = np.linalg.norm(values.astype(np.float64))
        assert abs(total - expected_values["sum"]) <= tolerance * values.size
        assert abs(norm - expected_values["norm"]) <= tolerance * values.size**0.5


def convolutions(*filters):
    images = [(BATCH, 1, 28, 28), (BATCH, 20, 12, 12)]
    return [
        ConvPoolLayer(shape, image, activation_fn=ReLU) for shape, image in zip(filters, images, strict=True)
    ]


def full(n_in, n_out, p_dropout=0.0):
    return FullyConnectedLayer(n_in, n_out, activation_fn=ReLU, p_dropout=p_dropout)


def layers(name):
    """The book's layers for the shapes that the recorded steps were made with."""
    shapes, _, _ = NETWORKS[name]
    if name == "shallow":
        return [FullyConnectedLayer(*shapes[0]), SoftmaxLayer(*shapes[1])]
    if name == "basic_conv":
        convolution = ConvPoolLayer(shapes[0], (BATCH, 1, 28, 28))
        return [convolution, FullyConnectedLayer(*shapes[1]), SoftmaxLayer(*shapes[2])]
    p_dropout = P_DROPOUT if name == "dropout" else 0.0
    hidden = [full(*shape, p_dropout) for shape in shapes[2:-1]]
    return [*convolutions(*shapes[:2]), *hidden, SoftmaxLayer(*shapes[-1], p_dropout)]


def training_function(net, name, floatX):
    """As `Network.SGD` makes it, but for masks that are given where the network would draw them."""
    _, eta, lmbda = NETWORKS[name]
    cost = net.layers[-1].cost(net)
    if lmbda:
        squared_weights = sum((layer.w**2).sum() for layer in net.layers)
        cost = cost + 0.5 * lmbda * squared_weights / STEPS
    gradients = symnet.grad(cost, net.params)
    updates = [(p, p - eta * g) for p, g in zip(net.params, gradients, strict=True)]
    number = symnet.tensor.lscalar()
    batch = slice(number * BATCH, (number + 1) * BATCH)
    x, y = digits()
    givens = {
        net.x: symnet.shared(x.astype(floatX))[batch],
        net.y: symnet.shared(y)[batch],
    }
    if name == "dropout":
        for layer, mask in zip(net.layers[2:], masks(), strict=True):
            drawn = layer.inpt_dropout.owner.inputs[1]
            givens[drawn] = symnet.shared(mask.astype(floatX))[batch]
    return symnet.function([number], cost, updates=updates, givens=givens)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_recorded_steps_began_with_these_numbers(name):
    assert RECORDED[name]["begin"] == fingerprint(name)


@pytest.mark.parametrize("floatX", TOLERANCE)
@pytest.mark.parametrize("name", NETWORKS)
def test_network3_makes_the_steps_of_pytorch(name, floatX):
    with symnet.config.override(floatX=floatX):
        net = Network(layers(name), BATCH)
        for param, value in zip(net.params, first_params(name), strict=True):
            param.set_value(value.astype(floatX))
        train = training_function(net, name, floatX)
        costs = [train(step) for step in range(STEPS)]
    assert_recorded(name, floatX, [param.get_value() for param in net.params], costs)


@pytest.mark.parametrize("floatX", TOLERANCE)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_derivation_makes_the_steps_of_pytorch(name, floatX):
    _, eta, lmbda = NETWORKS[name]
    oracle = derivation.NETWORKS[name](first_params(name), BATCH, np.dtype(floatX).type)
    x, y = digits()
    given, costs = None, []
    drawn = masks() if name == "dropout" else []
    for step in range(STEPS):
        batch = rows(step)
        if drawn:
            given = [None, None, *(mask[batch] for mask in drawn)]
        costs.append(oracle.step(x[batch], y[batch], eta, given, lmbda, STEPS))
    assert_recorded(name, floatX, oracle.params, costs)


@pytest.mark.parametrize("name", ["basic_conv", "dbl_conv_relu"])
def test_the_recorded_steps_tell_the_tie_rule(name, monkeypatch):
    """A pooling gradient that goes to one entry only, the usual rule elsewhere, is found out."""

    def to_the_first(x, poolsize, pooled, g):
        windows = derivation._windows(x, poolsize)
        first = windows.reshape(*pooled.shape, -1).argmax(axis=-1)[..., None]
        chosen = np.zeros((*pooled.shape, poolsize[0] * poolsize[1]), x.dtype)
        np.put_along_axis(chosen, first, g[..., None], axis=-1)
        n, c, rows, columns = pooled.shape
        spread = chosen.reshape(n, c, rows, columns, *poolsize).transpose(0, 1, 2, 4, 3, 5)
        return spread.reshape(n, c, rows * poolsize[0], columns * poolsize[1])

    monkeypatch.setattr(derivation, "max_pool_gradient", to_the_first)
    with pytest.raises(AssertionError, match="Mismatched elements"):
        test_the_derivation_makes_the_steps_of_pytorch(name, "float64")
