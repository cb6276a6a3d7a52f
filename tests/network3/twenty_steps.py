"""Takes MNIST's idx files from the clone, hands on all that 20 steps of the four networks begin with.
The numbers come from NumPy's frozen RandomState, so that another library, in another environment,
makes the same steps: nothing here needs more than NumPy, and nothing is symnet's.
"""

import gzip
import hashlib
from pathlib import Path

import numpy as np

MNIST = Path(__file__).resolve().parents[2] / "examples" / "data" / "mnist"
STEPS, BATCH = 20, 10

# name: (the shapes of the weights, layer by layer; eta; lmbda)
NETWORKS = {
    "shallow": ([(784, 100), (100, 10)], 0.1, 0.0),
    "basic_conv": ([(20, 1, 5, 5), (2880, 100), (100, 10)], 0.1, 0.0),
    "dbl_conv_relu": ([(20, 1, 5, 5), (40, 20, 5, 5), (640, 100), (100, 10)], 0.03, 0.1),
    "dropout": (
        [(20, 1, 5, 5), (40, 20, 5, 5), (640, 1000), (1000, 1000), (1000, 10)],
        0.03,
        0.0,
    ),
}
P_DROPOUT = 0.5
MASKED = (640, 1000, 1000)  # what comes into the dropout network's last three layers, an example


def first_params(name):
    """The parameters before the first step, float64: w and b of each layer in turn.

    Scaled as the book scales them, but for the last layer's. From zeros, as in the book, the layers
    before it would not move in the first step and hardly in the next; so they are small instead.
    """
    random = np.random.RandomState(20)
    params = []
    for shape in NETWORKS[name][0]:
        outputs = shape[0] * shape[2] * shape[3] // 4 if len(shape) == 4 else shape[1]
        params.append(random.normal(0, outputs**-0.5, shape))
        params.append(random.normal(0, 1, shape[0] if len(shape) == 4 else shape[1]))
    params[-2] *= 0.1
    params[-1] *= 0.1
    return params


def digits():
    """The images of all steps, float64 (STEPS * BATCH, 784) in [0, 1), and their labels, int32."""
    count = STEPS * BATCH
    images = gzip.decompress((MNIST / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((MNIST / "train-labels-idx1-ubyte.gz").read_bytes())
    x = np.frombuffer(images, np.uint8, count * 784, offset=16).reshape(count, 784)
    y = np.frombuffer(labels, np.uint8, count, offset=8)
    return x / 256.0, y.astype(np.int32)


def masks():
    """For each layer that drops, zeros and ones: float64 (STEPS * BATCH, values that come in)."""
    random = np.random.RandomState(21)
    kept = 1 - P_DROPOUT
    return [(random.random_sample((STEPS * BATCH, size)) < kept).astype(np.float64) for size in MASKED]


def rows(step):
    """Where the mini-batch of a step lies in what `digits` and `masks` give."""
    return slice(step * BATCH, (step + 1) * BATCH)


def fingerprint(name):
    """A digest of all numbers that the steps of a network begin with."""
    digest = hashlib.sha256()
    for array in (*first_params(name), *digits(), *masks()):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
