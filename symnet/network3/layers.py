"""Takes symbolic mini-batches and hands on what layers make of them, with the parameters to train.
The layers are those of Michael Nielsen's "Neural Networks and Deep Learning", chapter 6, and mean
the same, also where they are quirky; each docstring says where that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

import symnet
from symnet import tensor as T
from symnet.graph.source import user_line
from symnet.network3.errors import NetworkError
from symnet.tensor.nnet import conv2d, sigmoid
from symnet.tensor.shared_randomstreams import RandomStreams
from symnet.tensor.signal.pool import pool_2d

Variable = Any
Activation = Callable[[Variable], Variable]

tanh = T.tanh


def linear(z: Variable) -> Variable:
    """z itself."""
    return z


def ReLU(z: Variable) -> Variable:
    """max(0, z); its gradient at 0 is 1, as a maximum's goes to every entry that attains it."""
    return T.maximum(0.0, z)


def size(data: tuple[Any, Any]) -> int:
    """The number of examples in a data set (x, y): the rows of x, a shared variable."""
    return int(data[0].get_value(borrow=True).shape[0])


def dropout_layer(layer: Variable, p_dropout: float) -> Variable:
    """`layer` with each entry set to zero with probability `p_dropout`, drawn anew at every call.

    What is kept is not scaled; a layer makes up for that when it is tested. As in the book every
    stream starts from one fixed seed, so dropout layers of equal shape drop the same entries, and
    two runs of a program drop the same. With a `p_dropout` of 0 it is `layer` itself.
    """
    if p_dropout == 0:
        return layer
    streams = RandomStreams(int(np.random.RandomState(0).randint(999999)))
    mask = streams.binomial(n=1, p=1 - p_dropout, size=layer.shape)
    return layer * T.cast(mask, symnet.config.floatX)


class Layer(Protocol):
    """What `Network` needs of a layer. `n_in` and `n_out`, if a layer has them, are checked."""

    params: list[Any]
    w: Any
    inpt: Variable
    output: Variable
    output_dropout: Variable

    def set_inpt(self, inpt: Variable, inpt_dropout: Variable, mini_batch_size: int) -> None:
        """Build `output` and `output_dropout` from those of the layer before."""


def _shared_normal(scale: float, shape: tuple[int, ...], name: str) -> Any:
    """A shared variable of `config.floatX`, drawn from NumPy's global generator, as in the book."""
    drawn = np.random.normal(loc=0.0, scale=scale, size=shape)
    return symnet.shared(np.asarray(drawn, dtype=symnet.config.floatX), name=name, borrow=True)


def _positive_integers(given: Any, count: int, what: str, layer: str) -> tuple[int, ...]:
    """`given` as `count` positive integers, or a `NetworkError`."""
    try:
        sizes = tuple(int(size) for size in given)
        good = len(sizes) == count and all(size > 0 for size in sizes) and sizes == tuple(given)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise NetworkError(
            f"{layer}: {what} is not usable",
            [f"given: {what} = {given!r}", f"expected: {count} positive integers"],
        )
    return sizes


class ConvPoolLayer:
    """A convolution, max pooling, then a bias and an activation.

    filter_shape
        (filters, channels of the input, filter height, filter width).
    image_shape
        (mini-batch size, channels, height, width) of the input, which is reshaped to it.
    poolsize
        (height, width) of the pooling; a border that fills no whole window is left out.
    activation_fn
        Applied after the pooling and the bias: output = activation_fn(pool(conv(inpt, w)) + b).

    Quirks kept from the book: w is drawn from a normal distribution of standard deviation
    sqrt(1 / n) with n = filters * filter height * filter width / pool area, which counts outputs,
    not inputs; b from the standard normal distribution; and the layer has no dropout of its own,
    so it is fed by the `output` of the layer before in training too. The filters are flipped.

    Raises `NetworkError` for shapes that can't be, or that do not fit each other.
    """

    def __init__(
        self,
        filter_shape: tuple[int, int, int, int],
        image_shape: tuple[int, int, int, int],
        poolsize: tuple[int, int] = (2, 2),
        activation_fn: Activation = sigmoid,
    ) -> None:
        self.source = user_line()
        name = type(self).__name__
        filters = _positive_integers(filter_shape, 4, "filter_shape", name)
        image = _positive_integers(image_shape, 4, "image_shape", name)
        pool = _positive_integers(poolsize, 2, "poolsize", name)
        convolved = tuple(image[axis] - filters[axis] + 1 for axis in (2, 3))
        if filters[1] != image[1]:
            raise NetworkError(
                f"{name}: its filters do not have the channels of its images",
                [f"given: filter_shape = {filters}, image_shape = {image}"],
                hint=f"filter_shape[1] is the number of channels; expected {image[1]}.",
            )
        if any(convolved[axis] < pool[axis] for axis in (0, 1)):
            raise NetworkError(
                f"{name}: its images are too small for its filters and its pooling",
                [
                    f"given: filter_shape = {filters}, image_shape = {image}, poolsize = {pool}",
                    f"left of an image after the convolution: {convolved}",
                ],
            )
        self.filter_shape, self.image_shape, self.poolsize = filters, image, pool
        self.activation_fn = activation_fn
        rows, columns = (convolved[axis] // pool[axis] for axis in (0, 1))
        self.output_shape = (image[0], filters[0], rows, columns)
        self.n_in, self.n_out = math.prod(image[1:]), math.prod(self.output_shape[1:])

        weights_out = filters[0] * math.prod(filters[2:]) / math.prod(pool)
        self.w = _shared_normal(math.sqrt(1.0 / weights_out), filters, "w")
        self.b = _shared_normal(1.0, (filters[0],), "b")
        self.params = [self.w, self.b]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(filter_shape={self.filter_shape}, "
            f"image_shape={self.image_shape}, poolsize={self.poolsize})"
        )

    def set_inpt(self, inpt: Variable, inpt_dropout: Variable, mini_batch_size: int) -> None:
        """Build `output` and `output_dropout`, which are the same, from the layer before."""
        self.inpt = inpt.reshape(self.image_shape)
        convolved = conv2d(self.inpt, self.w, self.image_shape, self.filter_shape)
        pooled = pool_2d(convolved, self.poolsize, ignore_border=True)
        self.output = self.activation_fn(pooled + self.b.dimshuffle("x", 0, "x", "x"))
        self.output_dropout = self.output


class _DenseLayer:
    """What the fully connected and the softmax layer share: everything but how parameters begin."""

    activation_fn: Activation
    w: Any
    b: Any

    def __init__(self, n_in: int, n_out: int, p_dropout: float) -> None:
        self.source = user_line()
        name = type(self).__name__
        (self.n_in,) = _positive_integers((n_in,), 1, "n_in", name)
        (self.n_out,) = _positive_integers((n_out,), 1, "n_out", name)
        if not 0 <= p_dropout < 1:
            raise NetworkError(
                f"{name}: p_dropout is not usable",
                [f"given: p_dropout = {p_dropout!r}", "expected: 0 <= p_dropout < 1"],
            )
        self.p_dropout = p_dropout

    def __repr__(self) -> str:
        dropout = f", p_dropout={self.p_dropout}" if self.p_dropout else ""
        return f"{type(self).__name__}(n_in={self.n_in}, n_out={self.n_out}{dropout})"

    @property
    def params(self) -> list[Any]:
        """The parameters to train: weights, then biases."""
        return [self.w, self.b]

    def set_inpt(self, inpt: Variable, inpt_dropout: Variable, mini_batch_size: int) -> None:
        """Build the outputs, for testing and for training, from those of the layer before."""
        batch_shape = (mini_batch_size, self.n_in)
        self.inpt = inpt.reshape(batch_shape)
        kept = 1 - self.p_dropout
        product: Variable = T.dot(self.inpt, self.w)
        self.output = self.activation_fn(kept * product + self.b)
        self.y_out = T.argmax(self.output, axis=1)
        self.inpt_dropout = dropout_layer(inpt_dropout.reshape(batch_shape), self.p_dropout)
        self.output_dropout = self.activation_fn(T.dot(self.inpt_dropout, self.w) + self.b)

    def accuracy(self, y: Variable) -> Variable:
        """The share of the mini-batch whose largest output is at y: a float64 scalar."""
        return T.mean(T.eq(y, self.y_out))


class FullyConnectedLayer(_DenseLayer):
    """activation_fn(inpt · w + b) for each row of the mini-batch.

    n_in, n_out
        The numbers of values per example that come in and go out.
    p_dropout
        The probability with which each value that comes in is dropped in training.

    Quirks kept from the book: w is drawn from a normal distribution of standard deviation
    sqrt(1 / n_out), b from the standard normal distribution; dropout works on the layer's input,
    not its output, and in testing inpt · w is multiplied by 1 - p_dropout instead.

    Raises `NetworkError` for sizes that are no positive integers or a p_dropout outside [0, 1).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation_fn: Activation = sigmoid,
        p_dropout: float = 0.0,
    ) -> None:
        super().__init__(n_in, n_out, p_dropout)
        self.activation_fn = activation_fn
        self.w = _shared_normal(math.sqrt(1.0 / self.n_out), (self.n_in, self.n_out), "w")
        self.b = _shared_normal(1.0, (self.n_out,), "b")


class SoftmaxLayer(_DenseLayer):
    """softmax(inpt · w + b) for each row of the mini-batch: the last layer, with the cost.

    n_in, n_out, p_dropout
        As for `FullyConnectedLayer`; n_out is the number of classes.

    Quirk kept from the book: weights and biases begin as zeros.
    """

    activation_fn = staticmethod(T.nnet.softmax)

    def __init__(self, n_in: int, n_out: int, p_dropout: float = 0.0) -> None:
        super().__init__(n_in, n_out, p_dropout)
        zeros = np.zeros((self.n_in, self.n_out), dtype=symnet.config.floatX)
        self.w = symnet.shared(zeros, name="w", borrow=True)
        self.b = symnet.shared(zeros[0].copy(), name="b", borrow=True)

    def cost(self, net: Any) -> Variable:
        """The mean negative log-likelihood of net.y under the output with dropout: a scalar."""
        log_p = T.log(self.output_dropout)
        mean: Variable = T.mean(log_p[T.arange(net.y.shape[0]), net.y])
        return -mean
