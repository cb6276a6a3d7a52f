"""Takes the listings of the book's chapter 6 as they are typed and trains each for a moment.
Of the imports only that of network3 differs from the book; each number of epochs is cut down, and
the data is a small part of MNIST."""

import re
from collections import Counter

import numpy as np
import pytest

import symnet
from symnet import network3
from symnet import tensor as T
from symnet.network3 import (
    ConvPoolLayer,
    FullyConnectedLayer,
    Network,
    ReLU,
    SoftmaxLayer,
    load_data,
    sigmoid,
)

TRAINING, VALIDATION, TEST = 3000, 100, 200
EPOCHS = 1
mini_batch_size = 10


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory):
    """A file in the book's form with the first images of each of MNIST's three sets."""
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    names = zip(("training", "validation", "test"), (TRAINING, VALIDATION, TEST), strict=True)
    arrays = {}
    for (name, count), (x, y) in zip(names, load_data(), strict=True):
        arrays |= {f"{name}_x": x[:count], f"{name}_y": y[:count]}
    np.savez(path, **arrays)
    return path


@pytest.fixture
def data(small_mnist):
    np.random.seed(12345)
    with symnet.config.override(floatX="float32"):
        yield network3.load_data_shared(small_mnist)


def check(net, printed, epochs=EPOCHS, chance=0.1):
    """The book's lines in the book's order, and a network that learned something."""
    number = r"\d+\.\d\d%"
    epoch = (
        r"(?:Training mini-batch number \d+\n)?"
        rf"Epoch \d+: validation accuracy {number}\n"
        r"(?:This is the best validation accuracy to date\.\n"
        rf"The corresponding test accuracy is {number}\n)?"
    )
    assert re.fullmatch(
        r"Training mini-batch number 0\n"
        rf"(?:{epoch}){{{epochs}}}"
        r"Finished training network\.\n"
        rf"Best validation accuracy of {number} obtained at iteration \d+\n"
        rf"Corresponding test accuracy of {number}\n",
        printed,
    )
    predictions = net.test_mb_predictions(0)
    assert predictions.shape == (mini_batch_size,) and set(predictions) <= set(range(10))
    assert all(np.isfinite(param.get_value()).all() for param in net.params)
    assert float(re.search(r"Corresponding test accuracy of (\S+)%", printed)[1]) / 100 > chance


def test_shallow(data, capsys):
    training_data, validation_data, test_data = data
    net = Network(
        [FullyConnectedLayer(n_in=784, n_out=100), SoftmaxLayer(n_in=100, n_out=10)], mini_batch_size
    )
    net.SGD(training_data, 3, mini_batch_size, 0.1, validation_data, test_data)
    check(net, capsys.readouterr().out, epochs=3, chance=0.6)


def test_basic_conv(data, capsys):
    training_data, validation_data, test_data = data
    net = Network(
        [
            ConvPoolLayer(
                image_shape=(mini_batch_size, 1, 28, 28), filter_shape=(20, 1, 5, 5), poolsize=(2, 2)
            ),
            FullyConnectedLayer(n_in=20 * 12 * 12, n_out=100),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        mini_batch_size,
    )
    net.SGD(training_data, EPOCHS, mini_batch_size, 0.1, validation_data, test_data)
    check(net, capsys.readouterr().out)


def test_dbl_conv(data, capsys):
    training_data, validation_data, test_data = data
    net = Network(
        [
            ConvPoolLayer(
                image_shape=(mini_batch_size, 1, 28, 28), filter_shape=(20, 1, 5, 5), poolsize=(2, 2)
            ),
            ConvPoolLayer(
                image_shape=(mini_batch_size, 20, 12, 12), filter_shape=(40, 20, 5, 5), poolsize=(2, 2)
            ),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        mini_batch_size,
    )
    net.SGD(training_data, EPOCHS, mini_batch_size, 0.1, validation_data, test_data)
    check(net, capsys.readouterr().out, chance=0.05)


def test_relu(data, capsys):
    training_data, validation_data, test_data = data
    net = Network(
        [
            ConvPoolLayer(
                image_shape=(mini_batch_size, 1, 28, 28),
                filter_shape=(20, 1, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            ConvPoolLayer(
                image_shape=(mini_batch_size, 20, 12, 12),
                filter_shape=(40, 20, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100, activation_fn=ReLU),
            SoftmaxLayer(n_in=100, n_out=10),
        ],
        mini_batch_size,
    )
    net.SGD(training_data, EPOCHS, mini_batch_size, 0.03, validation_data, test_data, lmbda=0.1)
    check(net, capsys.readouterr().out, chance=0.4)


def test_dropout(data, capsys):
    expanded_training_data, validation_data, test_data = data
    net = Network(
        [
            ConvPoolLayer(
                image_shape=(mini_batch_size, 1, 28, 28),
                filter_shape=(20, 1, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            ConvPoolLayer(
                image_shape=(mini_batch_size, 20, 12, 12),
                filter_shape=(40, 20, 5, 5),
                poolsize=(2, 2),
                activation_fn=ReLU,
            ),
            FullyConnectedLayer(n_in=40 * 4 * 4, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
            FullyConnectedLayer(n_in=1000, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
            SoftmaxLayer(n_in=1000, n_out=10, p_dropout=0.5),
        ],
        mini_batch_size,
    )
    net.SGD(expanded_training_data, EPOCHS, mini_batch_size, 0.03, validation_data, test_data)
    # Half of the signals dropped in three layers, this one learns little in its first steps.
    check(net, capsys.readouterr().out, chance=0.05)


def test_tanh_and_sigmoid_activations_of_the_exercises(data, capsys):
    training_data, validation_data, test_data = data
    net = Network(
        [
            FullyConnectedLayer(784, 30, activation_fn=network3.tanh),
            FullyConnectedLayer(30, 30, activation_fn=sigmoid),
            SoftmaxLayer(30, 10),
        ],
        mini_batch_size,
    )
    net.SGD(training_data, EPOCHS, mini_batch_size, 0.1, validation_data, test_data)
    check(net, capsys.readouterr().out)


def test_an_ensemble_votes_as_the_books_experiments_do(data):
    training_data, validation_data, test_data = data
    nets = []
    for _ in range(2):
        net = Network(
            [FullyConnectedLayer(n_in=784, n_out=30), SoftmaxLayer(n_in=30, n_out=10)], mini_batch_size
        )
        net.SGD(training_data, 1, mini_batch_size, 0.5, validation_data, test_data)
        nets.append(net)
    test_x, test_y = test_data
    for net in nets:
        i = T.lscalar()
        net.test_mb_predictions = symnet.function(
            [i],
            net.layers[-1].y_out,
            givens={net.x: test_x[i * net.mini_batch_size : (i + 1) * net.mini_batch_size]},
        )
        net.test_predictions = list(
            np.concatenate([net.test_mb_predictions(i) for i in range(TEST // mini_batch_size)])
        )
    votes = zip(*[net.test_predictions for net in nets], strict=True)
    chosen = [Counter(vote).most_common(1)[0][0] for vote in votes]
    labels = test_y.eval()
    errors = [j for j in range(TEST) if chosen[j] != labels[j]]
    assert len(errors) < TEST / 2
    assert nets[0].layers[0].w.eval().shape == (784, 30)
