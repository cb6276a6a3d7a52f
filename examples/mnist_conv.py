"""Shows the book's convolutional network learning MNIST: one convolution with pooling, a fully
connected layer, a softmax; or one of the chapter's other networks.

    python examples/mnist_conv.py
    python examples/mnist_conv.py --net dropout --epochs 2 --save weights.npz

It takes MNIST from examples/data/mnist (or from --data) and hands on the accuracy on the test set,
which the last line prints.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import symnet
from symnet import network3
from symnet.network3 import ConvPoolLayer, FullyConnectedLayer, Network, ReLU, SoftmaxLayer


def shallow(mini_batch_size):
    """One hidden layer of 100 sigmoid neurons."""
    return [FullyConnectedLayer(n_in=784, n_out=100), SoftmaxLayer(n_in=100, n_out=10)]


def conv(mini_batch_size):
    """One convolution of 20 filters and pooling before the hidden layer."""
    return [
        ConvPoolLayer(filter_shape=(20, 1, 5, 5), image_shape=(mini_batch_size, 1, 28, 28)),
        FullyConnectedLayer(n_in=20 * 12 * 12, n_out=100),
        SoftmaxLayer(n_in=100, n_out=10),
    ]


def two_convolutions(mini_batch_size, **activation):
    return [
        ConvPoolLayer((20, 1, 5, 5), (mini_batch_size, 1, 28, 28), **activation),
        ConvPoolLayer((40, 20, 5, 5), (mini_batch_size, 20, 12, 12), **activation),
    ]


def dbl_conv(mini_batch_size):
    """Two convolutions, of 20 and of 40 filters."""
    return [
        *two_convolutions(mini_batch_size),
        FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100),
        SoftmaxLayer(n_in=100, n_out=10),
    ]


def relu(mini_batch_size):
    """Two convolutions with rectified linear units, to be trained with L2 regularisation."""
    return [
        *two_convolutions(mini_batch_size, activation_fn=ReLU),
        FullyConnectedLayer(n_in=40 * 4 * 4, n_out=100, activation_fn=ReLU),
        SoftmaxLayer(n_in=100, n_out=10),
    ]


def dropout(mini_batch_size):
    """Two convolutions and two hidden layers of 1,000 neurons, with dropout."""
    return [
        *two_convolutions(mini_batch_size, activation_fn=ReLU),
        FullyConnectedLayer(n_in=40 * 4 * 4, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
        FullyConnectedLayer(n_in=1000, n_out=1000, activation_fn=ReLU, p_dropout=0.5),
        SoftmaxLayer(n_in=1000, n_out=10, p_dropout=0.5),
    ]


# The layers, and the chapter's learning rate and regularisation for them; but where the chapter
# trains conv for 60 epochs at 0.1, this trains for 12 with larger steps, which takes it as far.
NETS = {
    "shallow": (shallow, 0.1, 0.0),
    "conv": (conv, 0.3, 0.0),
    "dbl_conv": (dbl_conv, 0.1, 0.0),
    "relu": (relu, 0.03, 0.1),
    "dropout": (dropout, 0.03, 0.0),
}


def arguments():
    parser = argparse.ArgumentParser(
        description="Train one of the book's networks on MNIST and print its test accuracy."
    )
    parser.add_argument("--net", choices=NETS, default="conv")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--eta", type=float, help="learning rate (default: by the net)")
    parser.add_argument("--lmbda", type=float, help="L2 regularisation (default: by the net)")
    parser.add_argument("--mini-batch-size", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the first weights (default: 1)")
    parser.add_argument("--data", metavar="PATH", help="file or folder of MNIST (default: the one beside)")
    parser.add_argument("--download", action="store_true", help="fetch MNIST if it isn't there")
    parser.add_argument("--save", metavar="FILE", help="write the parameters to this .npz")
    parser.add_argument("--json", metavar="FILE", help="write settings and results to this file")
    return parser.parse_args()


def main():
    given = arguments()
    symnet.config.floatX = "float32"  # the book's, and twice as fast as float64
    np.random.seed(given.seed)  # network3 draws its first weights from NumPy's generator
    layers, eta, lmbda = NETS[given.net]
    eta = eta if given.eta is None else given.eta
    lmbda = lmbda if given.lmbda is None else given.lmbda
    mini_batch_size = given.mini_batch_size

    beside = Path(__file__).parent / "data" / "mnist"
    data = given.data or (beside if beside.is_dir() else None)
    training_data, validation_data, test_data = network3.load_data_shared(data, download=given.download)
    net = Network(layers(mini_batch_size), mini_batch_size)
    started = time.perf_counter()
    net.SGD(training_data, given.epochs, mini_batch_size, eta, validation_data, test_data, lmbda=lmbda)
    seconds = time.perf_counter() - started

    # The accuracy that SGD prints last is the one of the best epoch; this is the one of the
    # parameters as they are now, which are those that --save writes.
    labels = test_data[1].eval()
    batches = network3.size(test_data) // mini_batch_size
    predicted = np.concatenate([net.test_mb_predictions(number) for number in range(batches)])
    accuracy = float(np.mean(predicted == labels[: len(predicted)]))

    if given.save:
        network3.save_parameters(net, given.save)
    if given.json:
        settings = {
            "net": given.net,
            "epochs": given.epochs,
            "eta": eta,
            "lmbda": lmbda,
            "mini_batch_size": mini_batch_size,
            "seed": given.seed,
        }
        results = {"test_accuracy": accuracy, "seconds": seconds}
        Path(given.json).write_text(json.dumps(settings | results, indent=2) + "\n")
    print(f"test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
