"""Takes a size, hands on the book's four networks in it, and the function that trains each.

"full" are the networks of the book; "tiny" have the same layers on images so small that the simulator, which
has a thread of Python's for each thread of a device, makes a training step of one in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import symnet
import symnet.tensor as T
from symnet.network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer

NAMES = ("shallow", "basic_conv", "dbl_conv_relu", "dropout")


@dataclass(frozen=True)
class Size:
    """How large the four networks are: `filters` and `pools` are those of the first two layers."""

    batch: int
    image: int
    filters: tuple[tuple[int, int], tuple[int, int]]
    pools: tuple[int, int]
    hidden: int
    dropped: int
    classes: int
    count: int


FULL = Size(10, 28, ((20, 5), (40, 5)), (2, 2), 100, 1000, 10, 200)
TINY = Size(2, 7, ((2, 2), (2, 2)), (2, 2), 4, 5, 3, 6)


def layers(name: str, size: Size) -> list[Any]:
    """The layers of a network, with parameters from NumPy's global generator."""
    (first, width), (second, next_width) = size.filters
    once = (size.image - width + 1) // size.pools[0]
    twice = (once - next_width + 1) // size.pools[1]
    if name == "shallow":
        return [
            FullyConnectedLayer(size.image**2, size.hidden),
            SoftmaxLayer(size.hidden, size.classes),
        ]
    images = (size.batch, 1, size.image, size.image)
    if name == "basic_conv":
        return [
            ConvPoolLayer((first, 1, width, width), images, (size.pools[0],) * 2),
            FullyConnectedLayer(first * once**2, size.hidden),
            SoftmaxLayer(size.hidden, size.classes),
        ]
    convolutions = [
        ConvPoolLayer((first, 1, width, width), images, (size.pools[0],) * 2, ReLU),
        ConvPoolLayer(
            (second, first, next_width, next_width),
            (size.batch, first, once, once),
            (size.pools[1],) * 2,
            ReLU,
        ),
    ]
    if name == "dbl_conv_relu":
        return [
            *convolutions,
            FullyConnectedLayer(second * twice**2, size.hidden, ReLU),
            SoftmaxLayer(size.hidden, size.classes),
        ]
    assert name == "dropout"
    return [
        *convolutions,
        FullyConnectedLayer(second * twice**2, size.dropped, ReLU, p_dropout=0.5),
        FullyConnectedLayer(size.dropped, size.dropped, ReLU, p_dropout=0.5),
        SoftmaxLayer(size.dropped, size.classes, p_dropout=0.5),
    ]


@dataclass
class Training:
    """A network in training: `step(i)` is one mini-batch, with the cost and the masks that were drawn."""

    net: Network
    step: Any
    masks: int

    def params(self) -> list[np.ndarray]:
        """The parameters as they are now."""
        return [param.get_value() for param in self.net.params]


def training(name: str, size: Size, floatX: str = "float32", **options: Any) -> Training:
    """The training step that `Network.SGD` makes, on random images: the same ones in every run.

    `options` go to `symnet.function`.
    """
    random = np.random.default_rng(5)
    with symnet.config.override(floatX=floatX):
        np.random.seed(20)
        net = Network(layers(name, size), size.batch)
        for param in net.params[-2:]:
            # From zeros, as in the book, the layers before the last would not move in the first step.
            param.set_value(random.normal(0, 0.3, param.get_value().shape).astype(floatX))
        x = symnet.shared(random.random((size.count, size.image**2)).astype(floatX), name="images")
        y = symnet.shared(random.integers(0, size.classes, size.count).astype("int32"), name="labels")
        number = T.lscalar("number")
        squares = sum((layer.w**2).sum() for layer in net.layers)
        lmbda = np.asarray(0.1, floatX)
        cost = net.layers[-1].cost(net) + np.asarray(0.5, floatX) * lmbda * squares / size.count
        eta = np.asarray(0.1, floatX)
        updates = [(p, p - eta * g) for p, g in zip(net.params, T.grad(cost, net.params), strict=True)]
        masks = [layer.inpt_dropout.owner.inputs[1] for layer in net.layers if getattr(layer, "p_dropout", 0)]
        rows = slice(number * size.batch, (number + 1) * size.batch)
        step = symnet.function(
            [number], [cost, *masks], updates=updates, givens={net.x: x[rows], net.y: y[rows]}, **options
        )
    return Training(net, step, len(masks))
