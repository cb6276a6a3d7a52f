"""Takes layers, data and settings that do not fit, and shows that each is refused in clear words.
What fits is shown by the tests of the chapter and of single steps."""

import math

import numpy as np
import pytest

import symnet
from symnet.network3 import (
    ConvPoolLayer,
    DivergedError,
    FullyConnectedLayer,
    Network,
    NetworkError,
    SoftmaxLayer,
    dropout_layer,
    linear,
    size,
)


@pytest.fixture(autouse=True)
def float32():
    with symnet.config.override(floatX="float32"):
        yield


def small_net(n_in=4, n_out=3, mini_batch_size=2):
    return Network([SoftmaxLayer(n_in, n_out)], mini_batch_size)


def shared_data(examples=10, values=4, labels=3, dtype="int32"):
    random = np.random.RandomState(1)
    x = random.uniform(size=(examples, values)).astype(symnet.config.floatX)
    return symnet.shared(x), symnet.shared(random.randint(labels, size=examples).astype(dtype))


# --- layers -----------------------------------------------------------------------------------


def test_parameters_begin_as_the_book_has_them():
    np.random.seed(3)
    conv = ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28))
    full = FullyConnectedLayer(2880, 100)
    softmax = SoftmaxLayer(100, 10)
    np.random.seed(3)
    for param, scale in (
        (conv.w, 1 / math.sqrt(20 * 25 / 4)),
        (conv.b, 1),
        (full.w, 0.1),
        (full.b, 1),
    ):
        value = param.get_value()
        expected = np.random.normal(loc=0, scale=scale, size=value.shape)
        np.testing.assert_array_equal(value, expected.astype(np.float32))
    assert not softmax.w.get_value().any() and not softmax.b.get_value().any()
    for layer in (conv, full, softmax):
        assert layer.params == [layer.w, layer.b]
        assert [param.name for param in layer.params] == ["w", "b"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: ConvPoolLayer((20, 1, 5), (10, 1, 28, 28)),
            "filter_shape = .*expected: 4 positive",
        ),
        (
            lambda: ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 0)),
            r"given: image_shape = \(10, 1, 28, 0\)",
        ),
        (lambda: ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28), 2), "poolsize = 2.*2 positive"),
        (
            lambda: ConvPoolLayer((20, 3, 5, 5), (10, 1, 28, 28)),
            "do not have the channels.*expected 1",
        ),
        (lambda: ConvPoolLayer((20, 1, 9, 9), (10, 1, 8, 28)), r"too small.*: \(0, 20\)"),
        (lambda: ConvPoolLayer((20, 1, 5, 5), (10, 1, 8, 8), (5, 1)), "too small"),
        (lambda: FullyConnectedLayer(0, 10), "given: n_in = .*0"),
        (lambda: FullyConnectedLayer(10, 2.5), "given: n_out = .*2.5"),
        (lambda: SoftmaxLayer(10, "ten"), "given: n_out = .*ten"),
        (lambda: SoftmaxLayer(10, 10, p_dropout=1.0), "p_dropout = 1.0.*0 <= p_dropout < 1"),
    ],
)
def test_layers_that_can_not_be(make, said):
    with pytest.raises(NetworkError, match=f"(?s){said}"):
        make()


def test_dropout_layer_drops_without_scaling_and_each_time_anew():
    ones = symnet.shared(np.ones((50, 40), np.float32))
    draw = symnet.function([], [dropout_layer(ones, 0.25), dropout_layer(ones, 0.25)])
    first, twin = draw()
    again, _ = draw()
    assert set(np.unique(first)) == {0, 1} and first.dtype == np.float32
    assert 0.7 < first.mean() < 0.8
    np.testing.assert_array_equal(first, twin)  # all dropout layers begin with one seed
    assert (first != again).any()
    assert dropout_layer(ones, 0.0) is ones


def test_outputs_in_testing_are_scaled_by_what_dropout_keeps():
    layer = FullyConnectedLayer(4, 3, activation_fn=linear, p_dropout=0.25)
    net = Network([layer, SoftmaxLayer(3, 2)], 2)
    x = np.random.RandomState(2).normal(size=(2, 4)).astype(np.float32)
    output = symnet.function([net.x], layer.output)(x)
    expected = 0.75 * (x @ layer.w.get_value()) + layer.b.get_value()
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_size():
    assert size(shared_data(examples=7)) == 7


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Network([FullyConnectedLayer(784, 100), SoftmaxLayer(30, 10)], 10),
            "layer 1 does not fit.*layer 0: FullyConn.*given: layer 1 takes 30.*expected: 100",
        ),
        (
            lambda: Network([ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28)), SoftmaxLayer(784, 10)], 10),
            "given: layer 1 takes 784.*expected: 2880, which layer 0 gives",
        ),
        (
            lambda: Network(
                [
                    ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28)),
                    ConvPoolLayer((40, 20, 5, 5), (10, 20, 14, 14)),
                ],
                10,
            ),
            r"given: layer 1 takes \(10, 20, 14, 14\).*expected: \(10, 20, 12, 12\)",
        ),
        (
            lambda: Network(
                [FullyConnectedLayer(784, 100), ConvPoolLayer((1, 1, 5, 5), (10, 1, 28, 28))], 10
            ),
            "given: layer 1 takes 784.*expected: 100",
        ),
        (
            lambda: Network([ConvPoolLayer((20, 1, 5, 5), (10, 1, 28, 28))], 20),
            r"image_shape\[0\] = 10.*expected: 20",
        ),
        (lambda: Network([], 10), "at least one layer"),
        (lambda: small_net(mini_batch_size=0), "given: 0.*positive integer"),
        (lambda: small_net(mini_batch_size=2.0), "given: 2.0.*positive integer"),
    ],
)
def test_networks_that_do_not_fit(make, said):
    with pytest.raises(NetworkError, match=f"(?s){said}"):
        make()


def test_errors_name_the_lines_of_the_layers_and_of_the_network():
    first = FullyConnectedLayer(784, 100)
    second = SoftmaxLayer(30, 10)
    with pytest.raises(NetworkError) as caught:
        Network([first, second], 10)  # this line
    assert caught.value.source.text.endswith("# this line")
    for layer in (first, second):
        assert f"{layer.source.file}:{layer.source.line}" in str(caught.value)
        assert layer.source.file == __file__


# --- training ---------------------------------------------------------------------------------


def train(net=None, training=None, validation=None, test=None, **settings):
    settings = {"epochs": 1, "mini_batch_size": 2, "eta": 0.1, "lmbda": 0.0} | settings
    (net or small_net()).SGD(
        training_data=training or shared_data(),
        validation_data=validation or shared_data(),
        test_data=test,
        **settings,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mini_batch_size": 5}, "given: 5.*expected: 2"),
        ({"epochs": 0}, "given: 0.*positive integer"),
        ({"epochs": 1.5}, "given: 1.5.*positive integer"),
        ({"eta": float("nan")}, "eta = nan"),
        ({"lmbda": float("inf")}, "lmbda = inf"),
        ({"training": (np.zeros((10, 4)), np.zeros(10, int))}, "not a pair of shared variables"),
        ({"training": 17}, "training_data is not a pair of shared variables"),
    ],
)
def test_settings_that_are_refused(arguments, said):
    with pytest.raises(NetworkError, match=f"(?s){said}"):
        train(**arguments)


@pytest.mark.parametrize("name", ["training", "validation", "test"])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: shared_data(values=5), r"x of shape \(10, 5\).*expected: shape \(examples, 4\)"),
        (lambda: shared_data(examples=1), "mini-batch is larger.*given: 1.*expected: at least 2"),
        (lambda: shared_data(labels=50), r"given: label \d+, example \d+.*expected: 0 to 2"),
        (lambda: (shared_data()[0], shared_data(examples=9)[1]), r"\(10, 4\), y of shape \(9,\)"),
    ],
)
def test_data_that_is_refused(name, data, said):
    net = small_net()
    with pytest.raises(NetworkError, match=f"(?s){name}_data.*{said}|{said}"):
        train(net, **{name: data()})
    assert not net.params[0].get_value().any()


def test_a_last_layer_without_a_cost():
    net = Network([FullyConnectedLayer(4, 3)], 2)
    with pytest.raises(NetworkError, match="(?s)FullyConnectedLayer.*missing: cost.*SoftmaxLayer"):
        train(net)


def test_image_shape_that_does_not_match_the_data():
    net = Network([ConvPoolLayer((2, 1, 3, 3), (2, 1, 6, 6)), SoftmaxLayer(8, 3)], 2)
    with pytest.raises(NetworkError, match=r"(?s)image_shape=\(2, 1, 6, 6\).*\(10, 4\).*36"):
        train(net)


def test_labels_may_be_a_cast_as_load_data_shared_makes_it():
    x, y = shared_data(dtype="float32")
    net = small_net()
    train(net, training=(x, symnet.tensor.cast(y, "int32")))
    assert net.params[0].get_value().any()


def test_the_last_partial_mini_batch_is_left_out():
    whole, more = small_net(), small_net()
    x, y = shared_data()
    x_more = np.vstack([x.get_value(), 9 * np.ones((1, 4), np.float32)])
    y_more = np.append(y.get_value(), np.int32(2))
    train(whole, training=(x, y))
    train(more, training=(symnet.shared(x_more), symnet.shared(y_more)))
    np.testing.assert_array_equal(whole.params[0].get_value(), more.params[0].get_value())


def test_nan_in_the_first_epoch_restores_the_first_parameters():
    x, y = shared_data()
    broken = x.get_value()
    broken[6] = np.nan
    net = small_net()
    with pytest.raises(DivergedError, match="mini-batch 3 of epoch 0") as caught:
        train(net, training=(symnet.shared(broken), y))
    assert "before the training" in str(caught.value)
    assert not net.params[0].get_value().any() and not net.params[1].get_value().any()


def test_nan_in_a_later_epoch_restores_the_last_finished_one(monkeypatch):
    finished = small_net()
    train(finished, epochs=2)
    net = small_net()
    functions = Network._training_function

    def nan_at_call_14(self, *arguments):
        step, calls = functions(self, *arguments), []

        def call(number):
            calls.append(step(number))
            return float("nan") if len(calls) == 14 else calls[-1]

        return call

    monkeypatch.setattr(Network, "_training_function", nan_at_call_14)
    with pytest.raises(DivergedError, match="(?s)mini-batch 3 of epoch 2.*those after epoch 1"):
        train(net, epochs=5)
    for param, expected in zip(net.params, finished.params, strict=True):
        np.testing.assert_array_equal(param.get_value(), expected.get_value())


def test_without_test_data_nothing_is_said_of_it(capsys):
    train()
    printed = capsys.readouterr().out
    assert "validation accuracy" in printed and "test accuracy" not in printed


def test_a_number_is_said_every_thousand_mini_batches(capsys):
    train(training=shared_data(examples=2400), epochs=2)
    printed = capsys.readouterr().out.splitlines()
    numbers = [line for line in printed if line.startswith("Training mini-batch number")]
    assert numbers == [f"Training mini-batch number {number}" for number in (0, 1000, 2000)]
