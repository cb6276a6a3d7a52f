"""Takes layers and hands on the network they form, trained by stochastic gradient descent.
The network is the one of Michael Nielsen's network3.py: its attributes, its meaning, its lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import symnet
from symnet import tensor as T
from symnet.network3.errors import DivergedError, NetworkError
from symnet.network3.layers import ConvPoolLayer, Layer, size
from symnet.network3.report import Progress

SharedData = tuple[Any, Any]
LINES_EVERY = 1000


def _described(number: int, layer: Any) -> str:
    source = getattr(layer, "source", None)
    where = f", made in {source.file}:{source.line}" if source is not None else ""
    return f"layer {number}: {layer!r}{where}"


class Network:
    """Layers in a row, the first fed with the mini-batch.

    Attributes
    ----------
    layers, mini_batch_size
        As given. The mini-batch size is fixed when the network is made.
    params
        The shared variables of all layers, in order: weights and biases of the first, and so on.
    x, y
        The symbolic mini-batch: a matrix of `config.floatX`, one example a row, and an int32 vector
        of labels.
    output, output_dropout
        What the last layer gives, as it is used in testing and in training.
    test_mb_predictions
        After `SGD` with test data: a function of the number of a mini-batch of the test data that
        gives the labels the network predicts.

    Raises `NetworkError` when a layer does not fit the one before it or the mini-batch size; the
    message names both and the lines that made them.
    """

    def __init__(self, layers: Sequence[Layer], mini_batch_size: int) -> None:
        self.layers = list(layers)
        self.mini_batch_size = mini_batch_size
        self._check_layers()
        self.params = [param for layer in self.layers for param in layer.params]
        self.x = T.matrix("x")
        self.y = T.ivector("y")
        inpt = inpt_dropout = self.x
        for layer in self.layers:
            layer.set_inpt(inpt, inpt_dropout, mini_batch_size)
            inpt, inpt_dropout = layer.output, layer.output_dropout
        self.output = inpt
        self.output_dropout = inpt_dropout

    def SGD(
        self,
        training_data: SharedData,
        epochs: int,
        mini_batch_size: int,
        eta: float,
        validation_data: SharedData,
        test_data: SharedData | None,
        lmbda: float = 0.0,
    ) -> None:
        """Train by mini-batch stochastic gradient descent, and print how it goes.

        training_data, validation_data, test_data
            Pairs (x, y) as `load_data_shared` gives them; no test data may be None.
        epochs, mini_batch_size, eta, lmbda
            How often to go through the training data, the mini-batch size of the network, the
            learning rate, and the strength of L2 regularisation.

        The cost is that of the last layer plus lmbda / (2 m) times the sum of all squared weights,
        where m, as in the book, is the number of mini-batches of an epoch, not of examples. The
        mini-batches are taken in the order of the data, and the examples that fill no whole one at
        the end are left out, in training, validation and testing.

        Raises `NetworkError` for data or settings that do not fit, before anything is trained. A
        cost that is not a number stops the training with a `DivergedError` that names the
        mini-batch; the parameters are then put back to those of the last finished epoch.
        """
        self._check_settings(mini_batch_size, epochs, eta, lmbda)
        self._check_last_layer()
        named = {"training_data": training_data, "validation_data": validation_data}
        if test_data:
            named["test_data"] = test_data
        for name, data in named.items():
            self._check_data(name, data)

        training_batches, validation_batches = (
            size(data) // mini_batch_size for data in (training_data, validation_data)
        )
        progress = Progress(epochs, training_batches, mini_batch_size)
        progress.note("building the training function")
        train = self._training_function(training_data, training_batches, eta, lmbda)
        last: Any = self.layers[-1]
        accuracy = last.accuracy(self.y)
        validation_accuracies = self._by_mini_batch(accuracy, validation_data)
        test_batches = 0
        if test_data:
            test_batches = size(test_data) // mini_batch_size
            test_accuracies = self._by_mini_batch(accuracy, test_data)
            self.test_mb_predictions = self._by_mini_batch(last.y_out, test_data)

        best_validation_accuracy = 0.0
        best_iteration = 0
        test_accuracy = None
        try:
            for epoch in range(epochs):
                finished = [param.get_value() for param in self.params]
                for batch in range(training_batches):
                    iteration = training_batches * epoch + batch
                    if iteration % LINES_EVERY == 0:
                        progress.say(f"Training mini-batch number {iteration}")
                    cost = float(train(batch))
                    if math.isnan(cost):
                        self._restore(finished, epoch, batch, eta)
                    progress.advance(epoch, batch, cost)
                validation_accuracy = _mean(validation_accuracies, validation_batches)
                progress.say(f"Epoch {epoch}: validation accuracy {validation_accuracy:.2%}")
                if validation_accuracy >= best_validation_accuracy:
                    progress.say("This is the best validation accuracy to date.")
                    best_validation_accuracy = validation_accuracy
                    best_iteration = iteration
                    if test_data:
                        test_accuracy = _mean(test_accuracies, test_batches)
                        progress.say(f"The corresponding test accuracy is {test_accuracy:.2%}")
        finally:
            progress.close()
        progress.say("Finished training network.")
        progress.say(
            f"Best validation accuracy of {best_validation_accuracy:.2%} "
            f"obtained at iteration {best_iteration}"
        )
        if test_accuracy is not None:
            progress.say(f"Corresponding test accuracy of {test_accuracy:.2%}")

    # --- functions of the number of a mini-batch ------------------------------------------------

    def _mini_batch(self, data: SharedData, number: Any) -> dict[Any, Any]:
        """What stands for x and y when the mini-batch is number `number` of `data`."""
        rows = slice(number * self.mini_batch_size, (number + 1) * self.mini_batch_size)
        return {self.x: data[0][rows], self.y: data[1][rows]}

    def _training_function(self, data: SharedData, batches: int, eta: float, lmbda: float) -> Any:
        """A function that makes the step of one mini-batch and gives the cost before it."""
        last: Any = self.layers[-1]
        cost = last.cost(self)
        if lmbda:
            squared_weights = sum((layer.w**2).sum() for layer in self.layers)
            cost = cost + 0.5 * lmbda * squared_weights / batches
        gradients = symnet.grad(cost, self.params)
        steps = [
            (param, param - eta * gradient) for param, gradient in zip(self.params, gradients, strict=True)
        ]
        number = T.lscalar("mini_batch")
        return symnet.function(
            [number], cost, updates=steps, givens=self._mini_batch(data, number), name="train"
        )

    def _by_mini_batch(self, output: Any, data: SharedData) -> Any:
        """A function that gives `output` for one mini-batch of `data`."""
        number = T.lscalar("mini_batch")
        # An output that needs no labels, such as the predictions, leaves self.y unused.
        return symnet.function([number], output, givens=self._mini_batch(data, number))

    def _restore(self, finished: list[np.ndarray], epoch: int, batch: int, eta: float) -> None:
        """Put the parameters back and say that the cost of this mini-batch is not a number."""
        for param, value in zip(self.params, finished, strict=True):
            param.set_value(value)
        state = f"those after epoch {epoch - 1}" if epoch else "those before the training"
        raise DivergedError(
            f"the training cost is not a number at mini-batch {batch} of epoch {epoch}",
            [
                "mini-batches and epochs are counted from 0",
                f"given: eta = {eta}",
                f"the parameters are again {state}",
            ],
            hint="a smaller eta most often helps; else look for NaN in the data.",
        )

    # --- checks -----------------------------------------------------------------------------------

    def _check_layers(self) -> None:
        if not self.layers:
            raise NetworkError("a network needs at least one layer")
        if not isinstance(self.mini_batch_size, (int, np.integer)) or self.mini_batch_size < 1:
            raise NetworkError(
                "the mini-batch size is not usable",
                [f"given: {self.mini_batch_size!r}", "expected: a positive integer"],
            )
        for number, layer in enumerate(self.layers):
            if isinstance(layer, ConvPoolLayer) and layer.image_shape[0] != self.mini_batch_size:
                raise NetworkError(
                    f"layer {number} is made for another mini-batch size than the network",
                    [
                        _described(number, layer),
                        f"given: image_shape[0] = {layer.image_shape[0]}",
                        f"expected: {self.mini_batch_size}, the network's mini_batch_size",
                    ],
                )
        for number in range(1, len(self.layers)):
            self._check_joint(number)

    def _check_joint(self, number: int) -> None:
        """That layer `number` takes what the layer before it gives."""
        before, layer = self.layers[number - 1 : number + 1]
        if isinstance(before, ConvPoolLayer) and isinstance(layer, ConvPoolLayer):
            takes: Any = layer.image_shape
            gives: Any = before.output_shape
        else:
            takes, gives = getattr(layer, "n_in", None), getattr(before, "n_out", None)
        if takes is None or gives is None or takes == gives:
            return
        raise NetworkError(
            f"layer {number} does not fit the layer before it",
            [
                _described(number - 1, before),
                _described(number, layer),
                f"given: layer {number} takes {takes}",
                f"expected: {gives}, which layer {number - 1} gives",
            ],
        )

    def _check_settings(self, mini_batch_size: int, epochs: int, eta: float, lmbda: float) -> None:
        if mini_batch_size != self.mini_batch_size:
            raise NetworkError(
                "SGD is asked for another mini-batch size than the network was made for",
                [f"given: {mini_batch_size}", f"expected: {self.mini_batch_size}"],
            )
        if not isinstance(epochs, (int, np.integer)) or epochs < 1:
            raise NetworkError(
                "SGD can't train for these epochs",
                [f"given: {epochs!r}", "expected: a positive integer"],
            )
        for name, value in (("eta", eta), ("lmbda", lmbda)):
            if not math.isfinite(value):
                raise NetworkError(f"SGD can't train with {name} = {value}", ["expected: a finite number"])

    def _check_last_layer(self) -> None:
        last = self.layers[-1]
        missing = [name for name in ("cost", "accuracy", "y_out") if not hasattr(last, name)]
        if missing:
            raise NetworkError(
                "the last layer can't be trained for",
                [_described(len(self.layers) - 1, last), f"missing: {', '.join(missing)}"],
                hint="let the network end with a SoftmaxLayer.",
            )

    def _check_data(self, name: str, data: SharedData) -> None:
        """That `data` is a pair of shared variables that fits the first and the last layer."""
        try:
            x, y = data
            pixels = x.get_value(borrow=True)
            labels = _value(y)
        except (TypeError, ValueError, AttributeError) as error:
            raise NetworkError(
                f"{name} is not a pair of shared variables",
                [f"given: {type(data).__name__}", "expected: (x, y) as load_data_shared gives it"],
                hint="wrap NumPy arrays: (symnet.shared(x), symnet.shared(y)), x of "
                f"{symnet.config.floatX} and y of int32.",
            ) from error
        n_in, n_out = (getattr(self.layers[end], kind, None) for end, kind in ((0, "n_in"), (-1, "n_out")))
        first = _described(0, self.layers[0])
        if pixels.ndim != 2 or n_in not in (None, pixels.shape[1]):
            raise NetworkError(
                f"the first layer does not fit {name}",
                [
                    first,
                    f"given: {name} with x of shape {pixels.shape}",
                    f"expected: shape (examples, {'values' if n_in is None else n_in})",
                ],
                hint="image_shape or n_in must hold as many values as an example has.",
            )
        if labels.shape != pixels.shape[:1]:
            raise NetworkError(
                f"{name} does not have one label for each example",
                [f"given: x of shape {pixels.shape}, y of shape {labels.shape}"],
            )
        if len(pixels) < self.mini_batch_size:
            raise NetworkError(
                f"the mini-batch is larger than {name}",
                [f"given: {len(pixels)} examples", f"expected: at least {self.mini_batch_size}"],
            )
        if n_out is not None and not (labels.min() >= 0 and labels.max() < n_out):
            wrong = int(np.argmax((labels < 0) | (labels >= n_out)))
            raise NetworkError(
                f"{name} has a label that the last layer has no output for",
                [
                    _described(len(self.layers) - 1, self.layers[-1]),
                    f"given: label {labels[wrong]}, example {wrong}",
                    f"expected: 0 to {n_out - 1}",
                ],
            )


def _value(variable: Any) -> np.ndarray:
    """The value of a shared variable, or of an expression of shared variables such as a cast."""
    if hasattr(variable, "get_value"):
        return np.asarray(variable.get_value(borrow=True))
    return np.asarray(symnet.function([], variable, mode="reference")())


def _mean(of_mini_batch: Any, batches: int) -> float:
    return float(np.mean([of_mini_batch(number) for number in range(batches)]))
