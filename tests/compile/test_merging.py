"""Kernels for many threads that become one: what a training step is left with, and that it means the same."""

from __future__ import annotations

import numpy as np
import pytest
from device_programs import FOR_A_DEVICE

import symnet
import symnet.tensor as T
from symnet.network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer

MINI_BATCH = 4
RANDOM = np.random.default_rng(0)


def _shallow():
    return [FullyConnectedLayer(n_in=144, n_out=7), SoftmaxLayer(n_in=7, n_out=10)]


def _conv():
    first = ConvPoolLayer(image_shape=(MINI_BATCH, 1, 12, 12), filter_shape=(3, 1, 5, 5), poolsize=(2, 2))
    return [first, FullyConnectedLayer(n_in=3 * 16, n_out=6), SoftmaxLayer(n_in=6, n_out=10)]


def _two_convs(p_dropout=0.0):
    images = (MINI_BATCH, 1, 12, 12), (MINI_BATCH, 3, 5, 5)
    filters = (3, 1, 3, 3), (4, 3, 2, 2)
    layers = [
        ConvPoolLayer(image_shape=i, filter_shape=f, poolsize=(2, 2), activation_fn=ReLU)
        for i, f in zip(images, filters, strict=True)
    ]
    hidden = FullyConnectedLayer(n_in=16, n_out=9, activation_fn=ReLU, p_dropout=p_dropout)
    return [*layers, hidden, SoftmaxLayer(n_in=9, n_out=10, p_dropout=p_dropout)]


def _dropout():
    return _two_convs(0.5)


def _trained(layers, mode):
    """A network's training step, its costs over some steps, and its parameters then."""
    np.random.seed(0)
    network = Network(layers(), MINI_BATCH)
    random = np.random.default_rng(1)
    x = symnet.shared(random.random((20, 144), dtype="float32"))
    y = symnet.shared(random.integers(0, 10, 20).astype("int32"))
    i = T.lscalar()
    squares = sum((layer.w**2).sum() for layer in network.layers)
    cost = network.layers[-1].cost(network) + 0.05 * squares / 5000
    gradients = T.grad(cost, network.params)
    part = slice(i * MINI_BATCH, (i + 1) * MINI_BATCH)
    f = symnet.function(
        [i],
        cost,
        updates=[(p, p - 0.1 * g) for p, g in zip(network.params, gradients, strict=True)],
        givens={network.x: x[part], network.y: y[part]},
        mode=mode,
    )
    costs = [float(f(n)) for n in range(5)]
    return f, costs, [p.get_value() for p in network.params]


@pytest.mark.parametrize(("layers", "most"), [(_shallow, 10), (_conv, 16), (_two_convs, 22), (_dropout, 27)])
def test_a_training_step_has_few_kernels_and_means_the_same(layers, most):
    with symnet.config.override(floatX="float32"):
        f, costs, parameters = _trained(layers, FOR_A_DEVICE)
        _, expected_costs, expected = _trained(layers, None)
    np.testing.assert_allclose(costs, expected_costs, rtol=1e-5)
    for mine, its in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
    names = [each.name.split("_k_")[1] for each in f.kernels]
    assert len(names) <= most, names


def _kernels(inputs, outputs, *values):
    """The names of the kernels of a function lowered for many threads, which is held to the CPU's."""
    f = symnet.function(inputs, outputs, mode=FOR_A_DEVICE, on_unused_input="ignore")
    g = symnet.function(inputs, outputs, on_unused_input="ignore")
    for mine, its in zip(f(*values), g(*values), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)
    return [each.name.split("_k_")[1] for each in f.kernels]


def test_what_follows_a_sum_is_done_with_it():
    x, v = T.matrix(dtype="float32"), T.vector(dtype="float32")
    values = RANDOM.random((30, 20), dtype="float32"), RANDOM.random(20, dtype="float32")
    assert len(_kernels([x, v], [T.exp(x.sum(axis=0)) * v], *values)) == 1
    assert len(_kernels([x, v], [T.exp(x.sum(axis=0)) * v, x.sum(axis=0)], *values)) == 1
    # What all rows are needed for is another kernel's; so is what needs the whole sum for each entry.
    assert len(_kernels([x, v], [x - x.sum(axis=0)], *values)) == 2
    assert len(_kernels([x, v], [x - x.sum()], *values)) == 2
    # The sum over a row of what that row was made into with its own maximum.
    assert len(_kernels([x, v], [T.exp(x - x.max(axis=1, keepdims=True))], *values)) == 1


def test_a_shared_variable_is_read_before_it_is_written():
    w = symnet.shared(np.arange(12, dtype="float32").reshape(3, 4))
    x = T.matrix(dtype="float32")
    value = RANDOM.random((3, 4), dtype="float32")
    f = symnet.function(
        [x], w.sum(axis=0), updates=[(w, w - x.sum(axis=0) * w.sum(axis=1, keepdims=True))], mode=FOR_A_DEVICE
    )
    before = w.get_value()
    np.testing.assert_allclose(f(value), before.sum(axis=0))
    np.testing.assert_allclose(
        w.get_value(), before - value.sum(axis=0) * before.sum(axis=1, keepdims=True), rtol=1e-5
    )


@pytest.mark.parametrize("momentum", [False, True])
def test_what_else_becomes_of_a_product_is_stored_beside_it(momentum):
    x, t = T.matrix(dtype="float32"), T.matrix(dtype="float32")
    start = RANDOM.random((6, 5), dtype="float32")
    values = RANDOM.random((7, 6), dtype="float32"), RANDOM.random((7, 5), dtype="float32")
    results = []
    for mode in (FOR_A_DEVICE, None):
        w, v = symnet.shared(start.copy()), symnet.shared(np.zeros_like(start))
        cost = T.sum(T.sqr(T.nnet.relu(T.dot(x, w)) - t))
        gradient = T.grad(cost, w)
        new = np.float32(0.9) * v - np.float32(0.1) * (gradient + np.float32(0.01) * w)
        updates = [(v, new), (w, w + new)] if momentum else [(w, w - np.float32(0.1) * gradient)]
        f = symnet.function([x, t], cost, updates=updates, mode=mode)
        results.append([[f(*values) for _ in range(3)], w.get_value(), v.get_value(), f])
    (costs, *mine, f), (expected_costs, *its, _) = results
    np.testing.assert_allclose(costs, expected_costs, rtol=1e-5)
    for one, other in zip(mine, its, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    products = [each.contraction for each in f.kernels if each.contraction is not None]
    assert len(products) == 2
    if momentum:
        # The velocity, of which the weights are made, and the weights.
        assert len(products[1].epilogue.stores) == 1 and products[1].epilogue.reads_target


def test_a_product_does_not_wait_for_what_else_becomes_of_it_later():
    x, w, m = (T.matrix(dtype="float32") for _ in range(3))
    first = T.dot(x, w)
    later = T.dot(T.tanh(T.dot(T.exp(first), w)), w)
    values = [RANDOM.random((5, 5), dtype="float32") for _ in range(3)]
    f = symnet.function([x, w, m], [later * T.sgn(first), first * m], mode=FOR_A_DEVICE)
    g = symnet.function([x, w, m], [later * T.sgn(first), first * m])
    for mine, its in zip(f(*values), g(*values), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)
    names = [each.name.split("_k_")[1] for each in f.kernels]
    assert names == ["dot_exp", "dot_1_tanh", "dot_2_sgn_mul", "mul"]


def test_what_a_size_is_made_of_is_there_before_the_size():
    x = T.dvector()
    every = T.all(x > 0, keepdims=True)
    out = T.cast(every, "float64") * T.sum(x[: T.sum(every) + 1])
    f = symnet.function([x], out, mode=FOR_A_DEVICE)
    np.testing.assert_array_equal(f(np.array([3.0, 2.0, 1.0])), [5.0])
    np.testing.assert_array_equal(f(np.array([3.0, 2.0, -1.0])), [0.0])
    g = symnet.function([x], [T.tanh(T.sum(x[: T.argmax(x)])) + T.argmax(x), T.argmax(x)], mode=FOR_A_DEVICE)
    np.testing.assert_allclose(g(np.array([3.0, 2.0, 4.0]))[0], np.tanh(5.0) + 2)
