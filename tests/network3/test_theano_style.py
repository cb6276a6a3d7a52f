"""Takes a program written on Theano's names alone, the way network3.py is written, and trains it.
Only imports name symnet; the rest is what a Theano user types."""

import numpy as np
import pytest
from symnet.theano.tensor import shared_randomstreams, tanh
from symnet.theano.tensor.nnet import conv, sigmoid, softmax
from symnet.theano.tensor.signal import downsample

import symnet
from symnet import theano
from symnet.network3 import load_data
from symnet.theano import tensor as T

BATCH = 20


def shared_weights(random, shape, scale, name):
    value = np.asarray(random.normal(scale=scale, size=shape), dtype=theano.config.floatX)
    return theano.shared(value, name=name, borrow=True)


def as_shared(x, y):
    shared_x = theano.shared(np.asarray(x, dtype=theano.config.floatX), borrow=True)
    shared_y = theano.shared(np.asarray(y, dtype=theano.config.floatX), borrow=True)
    return shared_x, T.cast(shared_y, "int32")


class Digits:
    """A convolution, a hidden layer with dropout, a softmax: all in one class."""

    def __init__(self, random):
        self.x, self.y = T.matrix("x"), T.ivector("y")
        filters = shared_weights(random, (4, 1, 5, 5), 0.2, "filters")
        filter_bias = shared_weights(random, (4,), 0.1, "filter_bias")
        hidden_w = shared_weights(random, (4 * 12 * 12, 30), 0.05, "hidden_w")
        hidden_b = shared_weights(random, (30,), 0.1, "hidden_b")
        out_w = theano.shared(np.zeros((30, 10), dtype=theano.config.floatX), name="out_w")
        out_b = theano.shared(np.zeros((10,), dtype=theano.config.floatX), name="out_b")
        self.params = [filters, filter_bias, hidden_w, hidden_b, out_w, out_b]

        images = self.x.reshape((BATCH, 1, 28, 28))
        maps = conv.conv2d(
            input=images, filters=filters, filter_shape=(4, 1, 5, 5), image_shape=(BATCH, 1, 28, 28)
        )
        pooled = downsample.max_pool_2d(input=maps, ds=(2, 2), ignore_border=True)
        features = tanh(pooled + filter_bias.dimshuffle("x", 0, "x", "x")).flatten(2)

        streams = shared_randomstreams.RandomStreams(np.random.RandomState(0).randint(999999))
        mask = streams.binomial(n=1, p=0.8, size=features.shape)
        dropped = features * T.cast(mask, theano.config.floatX)
        training_p = self.probabilities(dropped, hidden_w, hidden_b, out_w, out_b)
        self.cost = -T.mean(T.log(training_p)[T.arange(self.y.shape[0]), self.y])
        tested_p = self.probabilities(0.8 * features, hidden_w, hidden_b, out_w, out_b)
        self.accuracy = T.mean(T.eq(self.y, T.argmax(tested_p, axis=1)))

    @staticmethod
    def probabilities(features, hidden_w, hidden_b, out_w, out_b):
        hidden = sigmoid(T.dot(features, hidden_w) + hidden_b)
        return softmax(T.dot(hidden, out_w) + out_b)

    def of_mini_batch(self, i, data):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        return {self.x: data[0][rows], self.y: data[1][rows]}


@pytest.fixture(params=["float32", "float64"])
def floatX(request):
    with symnet.config.override(floatX=request.param):
        yield request.param


def test_a_network_written_on_theanos_names_trains(floatX):
    (train_x, train_y), _, (test_x, test_y) = load_data()
    training, test = (
        as_shared(train_x[:2000], train_y[:2000]),
        as_shared(test_x[:400], test_y[:400]),
    )
    net = Digits(np.random.RandomState(1))

    i = T.lscalar()
    grads = T.grad(net.cost, net.params)
    updates = [(param, param - 0.3 * grad) for param, grad in zip(net.params, grads, strict=True)]
    train = theano.function(
        [i],
        net.cost,
        updates=updates,
        givens={
            net.x: training[0][i * BATCH : (i + 1) * BATCH],
            net.y: training[1][i * BATCH : (i + 1) * BATCH],
        },
    )
    measure = theano.function([i], net.accuracy, givens=net.of_mini_batch(i, test))

    costs = np.array([[train(batch) for batch in range(100)] for _ in range(2)])
    assert costs.dtype == floatX
    assert costs[0, 0] == pytest.approx(np.log(10), rel=1e-4)
    assert costs[1].mean() < 0.6 * costs[0].mean()
    assert np.mean([measure(batch) for batch in range(20)]) > 0.8
