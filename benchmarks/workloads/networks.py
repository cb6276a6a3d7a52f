"""Takes nothing but NumPy and the clone's MNIST; hands on the workloads that train a network, by one step
or by many, and the compiling of such functions, and the numbers that they begin with.
"""

import gzip
import os

import numpy as np

from workloads.workload import Workload

MNIST = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, "examples", "data", "mnist")
IMAGES = 10000

# The book's networks: (layers; eta; lmbda). A layer is its kind, its shape, its activation, and
# the share of its inputs that dropout drops.
TWO_CONVOLUTIONS = [
    ("convolution", (20, 1, 5, 5), "relu", 0.0),
    ("convolution", (40, 20, 5, 5), "relu", 0.0),
]
NETWORKS = {
    "shallow": (
        [("full", (784, 100), "sigmoid", 0.0), ("softmax", (100, 10), None, 0.0)],
        0.1,
        0.0,
    ),
    "basic_conv": (
        [
            ("convolution", (20, 1, 5, 5), "sigmoid", 0.0),
            ("full", (2880, 100), "sigmoid", 0.0),
            ("softmax", (100, 10), None, 0.0),
        ],
        0.1,
        0.0,
    ),
    "dbl_conv_relu": (
        [
            *TWO_CONVOLUTIONS,
            ("full", (640, 100), "relu", 0.0),
            ("softmax", (100, 10), None, 0.0),
        ],
        0.03,
        0.1,
    ),
    "dropout": (
        [
            *TWO_CONVOLUTIONS,
            ("full", (640, 1000), "relu", 0.5),
            ("full", (1000, 1000), "relu", 0.5),
            ("softmax", (1000, 10), None, 0.5),
        ],
        0.03,
        0.0,
    ),
}
# The same on digits of 8 x 8 pixels, so small that a simulated device gets through a step in seconds.
SMALL_SIDE = 8
SMALL_CONVOLUTIONS = [
    ("convolution", (2, 1, 3, 3), "relu", 0.0),
    ("convolution", (3, 2, 2, 2), "relu", 0.0),
]
SMALL_NETWORKS = {
    "small-shallow": (
        [("full", (64, 4), "sigmoid", 0.0), ("softmax", (4, 10), None, 0.0)],
        0.1,
        0.0,
    ),
    "small-basic_conv": (
        [
            ("convolution", (2, 1, 3, 3), "sigmoid", 0.0),
            ("full", (18, 4), "sigmoid", 0.0),
            ("softmax", (4, 10), None, 0.0),
        ],
        0.1,
        0.0,
    ),
    "small-dbl_conv_relu": (
        [*SMALL_CONVOLUTIONS, ("full", (3, 4), "relu", 0.0), ("softmax", (4, 10), None, 0.0)],
        0.03,
        0.1,
    ),
    "small-dropout": (
        [
            *SMALL_CONVOLUTIONS,
            ("full", (3, 6), "relu", 0.5),
            ("full", (6, 6), "relu", 0.5),
            ("softmax", (6, 10), None, 0.5),
        ],
        0.03,
        0.0,
    ),
}
MINI_BATCH_SIZES = (10, 128)
# What one call of a function that makes many steps makes of them, by mini-batch size.
STEPS = {10: 20, 128: 13}
# Fully connected networks of so many layers, by their number; only compiling them is measured.
DEPTHS = (2, 10, 25, 50, 100)
# Theano's and PyTorch's gradients of a max pooling differ where several entries attain the maximum:
# 0.8% of what the first convolution's weights move on these digits.
TOLERANCE = 0.03
# Many steps take that further.
TOLERANCE_OF_MANY = 0.1


def workloads():
    """The workloads, in the order in which they are run and reported."""
    found = []
    for size in MINI_BATCH_SIZES:
        for network in NETWORKS:
            settings = {"network": network, "mini_batch_size": size}
            counts = {**counted(network, size), "tolerance": TOLERANCE}
            name = f"step/{network}/{size}"
            found.append(Workload(name, "calls", "training_step", settings, **counts))
    for size, steps in STEPS.items():
        for network in NETWORKS:
            settings = {"network": network, "mini_batch_size": size, "steps": steps}
            counts = {**counted(network, size), "tolerance": TOLERANCE_OF_MANY}
            name = f"map/{network}/{size}"
            found.append(Workload(name, "calls", "training_steps", settings, **counts, per_call=steps))
    for network in [*NETWORKS, *(f"deep-{depth}" for depth in DEPTHS)]:
        settings = {"network": network, "mini_batch_size": MINI_BATCH_SIZES[0]}
        found.append(Workload("compile/" + network, "start", "training_step", settings))
    return found


def network_of(name):
    """(layers; eta; lmbda) of a name in NETWORKS or SMALL_NETWORKS, or "deep-N"."""
    if name in NETWORKS:
        return NETWORKS[name]
    if name in SMALL_NETWORKS:
        return SMALL_NETWORKS[name]
    depth = int(name.split("-")[1])
    sides = [784] + [50] * (depth - 1)
    layers = [("full", (sides[i], 50), "sigmoid", 0.0) for i in range(depth - 1)]
    return [*layers, ("softmax", (50, 10), None, 0.0)], 0.1, 0.0


def side_of(name):
    """The height and width of the digits that the network takes."""
    return SMALL_SIDE if name in SMALL_NETWORKS else 28


def flops(network, size):
    """Floating-point operations of the products and convolutions of a step: forward, the gradients by
    the weights, and, but for the first layer, the gradients by the inputs."""
    total, side = 0, side_of(network)
    for index, (kind, shape, _, _) in enumerate(network_of(network)[0]):
        multiplied = int(np.prod(shape))
        if kind == "convolution":
            side -= shape[2] - 1
            multiplied *= side * side
            side //= 2
        total += 2 * size * multiplied * (2 if index == 0 else 3)
    return total


def counted(network, size):
    """What one step must compute and move, as a Workload's counts."""
    return {
        "flops": flops(network, size),
        "read": 4 * (parameters(network) + (side_of(network) ** 2 + 1) * size),
        "written": 4 * parameters(network),
    }


def parameters(network):
    """How many numbers the parameters are."""
    layers = network_of(network)[0]
    return sum(int(np.prod(shape)) + _biases(kind, shape) for kind, shape, _, _ in layers)


def training_step(network, mini_batch_size, steps=1, images=IMAGES, compared=True):
    """A network, its first parameters, and digits to train it on.

    layers
        Tuples (kind, shape, activation, p_dropout) as in NETWORKS.
    params
        float32 arrays: w and b of each layer in turn, scaled as in the book but for the last
        layer's, which are small where the book has zeros.
    x, y
        Images, float32 (images, side * side), and labels, int32 (images,): the first of MNIST.
    side
        The height and width of an image.
    mini_batch_size, mini_batches
        Step i is of the rows from i * mini_batch_size on; i is below mini_batches.
    eta, lmbda
        The learning rate, and the strength of L2 regularisation: lmbda / (2 mini_batches) times
        the sum of the squared weights is added to the cost, if lmbda is not 0.
    compared
        Whether all systems make the same steps from these numbers: not where they draw masks, nor where
        there are so many steps that rounding drives them apart.
    steps, calls
        One call i makes the steps from i * steps on; i is below `calls`.
    """
    layers, eta, lmbda = network_of(network)
    random = np.random.RandomState(1)
    params = []
    for kind, shape, _, _ in layers:
        outputs = shape[0] * shape[2] * shape[3] // 4 if kind == "convolution" else shape[1]
        scale = outputs**-0.5 if kind != "softmax" else 0.1
        params.append(random.normal(0, scale, shape))
        params.append(random.normal(0, scale if kind == "softmax" else 1, _biases(kind, shape)))
    side = side_of(network)
    x, y = _digits(images, side)
    return {
        "layers": layers,
        "params": [param.astype(np.float32) for param in params],
        "x": x,
        "y": y,
        "side": side,
        "mini_batch_size": mini_batch_size,
        "mini_batches": images // mini_batch_size,
        "eta": eta,
        "lmbda": lmbda,
        "compared": compared and not any(p_dropout for _, _, _, p_dropout in layers),
        "steps": steps,
        "calls": images // mini_batch_size // steps,
    }


def _biases(kind, shape):
    return shape[0] if kind == "convolution" else shape[1]


def _digits(images, side):
    def read(name, header):
        with gzip.open(os.path.join(MNIST, name)) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    x = read("train-images-idx3-ubyte.gz", 16)[: images * 784].reshape(-1, 28, 28)
    y = read("train-labels-idx1-ubyte.gz", 8)[:images]
    if side != 28:  # every third row and column, without the empty border
        x = x[:, 2 : 2 + 3 * side : 3, 2 : 2 + 3 * side : 3]
    return x.reshape(images, side**2).astype(np.float32) / np.float32(256), y.astype(np.int32)


INPUTS = {"training_step": training_step, "training_steps": training_step}
