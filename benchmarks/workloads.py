"""Takes nothing but NumPy and the clone's MNIST; hands on every workload, and the numbers it begins with.

A workload is the same for every system: what is measured has one name here, its settings and its
inputs are made here, and a peer only says how its library does it. It runs under old Pythons too,
as peers live in environments of their own.
"""

import gzip
import os

import numpy as np

MNIST = os.path.join(os.path.dirname(__file__), os.pardir, "examples", "data", "mnist")
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
MINI_BATCH_SIZES = (10, 128)

# kind: what one call of it is, for the heading of its table
CALLS = {"training_step": "one training step, f(i)"}


class Workload:
    """One line of a table.

    name
        By which it is asked for and reported.
    measure
        "calls": the time of a call in a loop, in a process that is kept. "start": the time from
        the import to the end of the first call, in new processes, with nothing and with everything
        in the system's cache on disk. "import": the time of the import alone.
    kind, settings
        What is called, by the name that peers have for it, and the arguments of `inputs`; None and
        {} where only the import is measured.
    """

    def __init__(self, name, measure, kind=None, settings=None):
        self.name, self.measure = name, measure
        self.kind, self.settings = kind, settings or {}


def all_workloads():
    """Every workload, in the order in which they are run and reported."""
    found = [
        Workload(
            f"step/{network}/{size}",
            "calls",
            "training_step",
            {"network": network, "mini_batch_size": size},
        )
        for size in MINI_BATCH_SIZES
        for network in NETWORKS
    ]
    found += [
        Workload(
            "compile/" + network,
            "start",
            "training_step",
            {"network": network, "mini_batch_size": MINI_BATCH_SIZES[0]},
        )
        for network in NETWORKS
    ]
    return [*found, Workload("import", "import")]


def inputs(kind, settings):
    """What a peer's function of that kind is given, as a dict."""
    return {"training_step": training_step}[kind](**settings)


def training_step(network, mini_batch_size):
    """A network, its first parameters, and digits to train it on.

    layers
        Tuples (kind, shape, activation, p_dropout) as in NETWORKS.
    params
        float32 arrays: w and b of each layer in turn, scaled as in the book but for the last
        layer's, which are small where the book has zeros.
    x, y
        Images, float32 (10000, 784), and labels, int32 (10000,): the first of MNIST.
    mini_batch_size, mini_batches
        Step i is of the rows from i * mini_batch_size on; i is below mini_batches.
    eta, lmbda
        The learning rate, and the strength of L2 regularisation: lmbda / (2 mini_batches) times
        the sum of the squared weights is added to the cost, if lmbda is not 0.
    compared
        Whether all systems make the same steps from these numbers: not where they draw masks.
    """
    layers, eta, lmbda = NETWORKS[network]
    random = np.random.RandomState(1)
    params = []
    for kind, shape, _, _ in layers:
        outputs = shape[0] * shape[2] * shape[3] // 4 if kind == "convolution" else shape[1]
        scale = outputs**-0.5 if kind != "softmax" else 0.1
        params.append(random.normal(0, scale, shape))
        params.append(random.normal(0, scale if kind == "softmax" else 1, _biases(kind, shape)))
    x, y = _digits()
    return {
        "layers": layers,
        "params": [param.astype(np.float32) for param in params],
        "x": x,
        "y": y,
        "mini_batch_size": mini_batch_size,
        "mini_batches": IMAGES // mini_batch_size,
        "eta": eta,
        "lmbda": lmbda,
        "compared": not any(p_dropout for _, _, _, p_dropout in layers),
    }


def _biases(kind, shape):
    return shape[0] if kind == "convolution" else shape[1]


def _digits():
    def read(name, header):
        with gzip.open(os.path.join(MNIST, name)) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    x = read("train-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:IMAGES]
    y = read("train-labels-idx1-ubyte.gz", 8)[:IMAGES]
    return x.astype(np.float32) / np.float32(256), y.astype(np.int32)
