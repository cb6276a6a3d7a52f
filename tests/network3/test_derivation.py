"""Takes the hand-derived networks and holds their gradients against finite differences of the cost,
and their convolution against Fourier's, since all of network3 is later held against them."""

import numpy as np
import pytest

from .derivation import (
    ACTIVATIONS,
    NETWORKS,
    ConvPool,
    FullyConnected,
    Network,
    Softmax,
    convolve,
    max_pool,
    max_pool_gradient,
)

SHAPES = {
    "shallow": [(784, 100), (100, 10)],
    "basic_conv": [(20, 1, 5, 5), (2880, 100), (100, 10)],
    "dbl_conv_relu": [(20, 1, 5, 5), (40, 20, 5, 5), (640, 100), (100, 10)],
    "dropout": [(20, 1, 5, 5), (40, 20, 5, 5), (640, 1000), (1000, 1000), (1000, 10)],
}


def random_params(shapes, random, scale=None):
    params = []
    for shape in shapes:
        fan_out = shape[0] if len(shape) == 4 else shape[1]
        fan_in = int(np.prod(shape)) // fan_out
        params.append(random.normal(0, scale or 1 / np.sqrt(fan_in), shape))
        params.append(random.normal(0, 0.3, fan_out))
    return params


def random_masks(network, x, random):
    """Masks of the rate of each layer, for the input sizes that its weights show."""
    return [
        random.binomial(1, 1 - layer.p_dropout, (len(x), layer.params[0].shape[0]))
        if layer.p_dropout
        else None
        for layer in network.layers
    ]


def small_network(activation, random, p_dropout=0.0):
    """Two convolutions, one with a border that the pooling leaves out, and two full layers."""
    params = random_params([(3, 2, 3, 2), (4, 3, 2, 2), (8, 6), (6, 5)], random, 0.5)
    layers = [
        ConvPool(*params[0:2], (4, 2, 9, 10), (2, 3), activation),
        ConvPool(*params[2:4], (4, 3, 3, 3), (2, 1), activation),
        FullyConnected(*params[4:6], activation, p_dropout),
        Softmax(*params[6:8], p_dropout),
    ]
    return Network(layers)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("p_dropout", [0.0, 0.4])
def test_every_partial_derivative_by_finite_differences(activation, p_dropout):
    random = np.random.RandomState(4)
    network = small_network(activation, random, p_dropout)
    x, y = random.normal(size=(4, 180)), random.randint(5, size=4)
    arguments = (random_masks(network, x, random), 0.7, 3)
    _, gradients = network.gradients(x, y, *arguments)
    distance = 1e-6
    for param, gradient in zip(network.params, gradients, strict=True):
        for place in np.ndindex(param.shape):
            costs = []
            for sign in (1, -1):
                param[place] += sign * distance
                costs.append(network.cost(x, y, *arguments))
                param[place] -= sign * distance
            assert (costs[0] - costs[1]) / (2 * distance) == pytest.approx(
                gradient[place], rel=1e-6, abs=2e-9
            )


@pytest.mark.parametrize("name", NETWORKS)
def test_the_books_networks_along_random_directions(name):
    random = np.random.RandomState(5)
    network = NETWORKS[name](random_params(SHAPES[name], random), 3)
    # Noise on every pixel: at a tie of the pooling the cost has no derivative to compare with.
    x, y = random.uniform(size=(3, 784)), random.randint(10, size=3)
    arguments = (random_masks(network, x, random), 0.1, 5)
    _, gradients = network.gradients(x, y, *arguments)
    assert [g.shape for g in gradients] == [p.shape for p in network.params]
    distance = 1e-6
    for param, gradient in zip(network.params, gradients, strict=True):
        direction = random.normal(size=param.shape)
        direction /= np.linalg.norm(direction)
        costs = []
        for sign in (1, -1):
            param += sign * distance * direction
            costs.append(network.cost(x, y, *arguments))
            param -= sign * distance * direction
        slope = (costs[0] - costs[1]) / (2 * distance)
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-5, abs=1e-8)


def test_convolution_flips_its_filters():
    random = np.random.RandomState(6)
    x, w = random.normal(size=(2, 3, 7, 8)), random.normal(size=(4, 3, 3, 2))
    full = (7 + 3 - 1, 8 + 2 - 1)
    transforms = np.fft.rfft2(x, full)[:, None] * np.fft.rfft2(w, full)[None]
    expected = np.fft.irfft2(transforms.sum(axis=2), full)[:, :, 2:7, 1:8]
    np.testing.assert_allclose(convolve(x, w), expected, rtol=1e-12, atol=1e-12)


def test_pooling_leaves_the_border_and_its_gradient_goes_to_every_maximum():
    x = np.array([[[[1.0, 1, 5], [0, 1, 9], [7, 8, 9]]]])
    pooled = max_pool(x, (2, 2))
    np.testing.assert_array_equal(pooled, [[[[1.0]]]])
    gradient = max_pool_gradient(x, (2, 2), pooled, np.array([[[[3.0]]]]))
    np.testing.assert_array_equal(gradient, [[[[3.0, 3, 0], [0, 3, 0], [0, 0, 0]]]])


def test_relu_passes_the_gradient_at_zero_as_maximum_does():
    function, derivative = ACTIVATIONS["ReLU"]
    z = np.array([-1.0, 0, 2])
    np.testing.assert_array_equal(derivative(z, function(z)), [0, 1, 1])


def test_equal_patches_convolve_to_equal_numbers():
    random = np.random.RandomState(7)
    flat = np.full((2, 5, 9, 9), 0.3, np.float32)
    convolved = convolve(flat, random.normal(size=(6, 5, 5, 5)).astype(np.float32))
    assert (convolved == convolved[:, :, :1, :1]).all()


def test_steps_lower_the_cost_and_float32_follows_float64():
    random = np.random.RandomState(8)
    params = random_params(SHAPES["basic_conv"], random)
    x, y = random.uniform(size=(5, 784)), random.randint(10, size=5)
    wide = NETWORKS["basic_conv"](params, 5)
    narrow = NETWORKS["basic_conv"](params, 5, np.float32)
    costs = [wide.step(x, y, 0.1, lmbda=0.1, batches=10) for _ in range(5)]
    narrow_costs = [narrow.step(x, y, 0.1, lmbda=0.1, batches=10) for _ in range(5)]
    assert all(later < earlier for earlier, later in zip(costs, costs[1:], strict=False))
    np.testing.assert_allclose(narrow_costs, costs, rtol=1e-5)
    for wide_param, narrow_param in zip(wide.params, narrow.params, strict=True):
        assert wide_param.dtype == np.float64 and narrow_param.dtype == np.float32
        np.testing.assert_allclose(narrow_param, wide_param, atol=1e-5)


def test_testing_scales_by_what_dropout_keeps():
    random = np.random.RandomState(9)
    w, b = random.normal(size=(6, 4)), random.normal(size=4)
    x = random.normal(size=(3, 6))
    layer = FullyConnected(w, b, "tanh", 0.25)
    np.testing.assert_allclose(layer.output(x), np.tanh(0.75 * (x @ w) + b))
