"""What a sample is: an expression of arrays, with what holds of it; takes data, hands on symnet variables.

The files `*_samples.py` list samples of one family each; `test_contract.py` holds every backend to
every sample.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import symnet.tensor as T
from symnet.graph.types import TensorType

FLOATS = ("float32", "float64")


@dataclass
class Sample:
    """An expression, or several, of arrays.

    `build` takes a variable for each array and gives one expression or a list. `types` gives an array's
    variable a shape other than one of unknown lengths. `smooth`: the expression can be differentiated at
    these values, so a finite difference shows its gradient. `order`: how often it is differentiated.
    `ulps`: how far compiled values may be from NumPy's, beside the size of the largest entry.
    """

    name: str
    build: Callable
    arrays: tuple
    types: dict = field(default_factory=dict)
    smooth: bool = True
    order: int = 2
    ulps: float = 16

    def variables(self):
        """A variable for each array."""
        return [
            TensorType(array.dtype, shape=self.types.get(position, [None] * array.ndim))(f"x{position}")
            for position, array in enumerate(self.arrays)
        ]

    def generator(self):
        """Random numbers that are the same each time."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))


def random_of(*words):
    """A generator seeded by words."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode()))


def floats(*shape, low=-2.0, high=2.0, dtype="float64"):
    """Uniform floats that depend on shape, range and dtype alone."""
    return random_of(shape, low, high, dtype).uniform(low, high, shape).astype(dtype)


def singles(*shape, low=-2.0, high=2.0):
    """Uniform float32."""
    return floats(*shape, low=low, high=high, dtype="float32")


def integers(*shape, low=-4, high=5, dtype="int64"):
    """Integers from low up to high, not included."""
    return random_of(shape, low, high, dtype).integers(low, high, shape).astype(dtype)


def bools(*shape):
    """Coin tosses."""
    return random_of(shape).random(shape) < 0.5


def weighted_sum(outputs, weights):
    """The cost that is differentiated: sum(output * weight) over float outputs."""
    total = T.constant(np.float64(0))
    for output, weight in zip(outputs, weights, strict=True):
        total = total + T.cast(T.sum(output * weight), "float64")
    return total
