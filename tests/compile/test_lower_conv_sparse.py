"""Gradients of convolutions behind max pooling, by lists of the entries that count, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from against_numpy import hold_to_numpy

import symnet
from symnet import tensor as T
from symnet.tensor.signal.pool import pool_2d

RNG = np.random.default_rng(29)

# Images, filters, padding, and how the output is pooled.
SETTINGS = {
    "network3": ((3, 20, 12, 12), (6, 20, 5, 5), 0, {"ws": (2, 2)}),
    "padded, AlexNet's pooling": ((2, 24, 9, 10), (5, 24, 3, 5), (1, 2), {"ws": (3, 3), "stride": (2, 2)}),
    "a rest, rows in stretches": ((2, 50, 8, 7), (3, 50, 2, 3), 0, {"ws": (2, 2)}),
    "one of everything": ((1, 48, 3, 3), (1, 48, 2, 1), 0, {"ws": (2, 2)}),
}


def gradients(images, filters, border, pooling, dtype="float32", rectified=True):
    """Inputs, the gradients by both, and values: small integers, whose sums are exact."""
    x, w = (T.TensorType(dtype, (False,) * 4)() for _ in range(2))
    y = pool_2d(T.nnet.conv2d(x, w, border_mode=border), ignore_border=True, **pooling)
    cost = T.sum(T.nnet.relu(y) * 2 if rectified else y * y)
    values = [RNG.integers(-3, 4, shape).astype(dtype) for shape in (images, filters)]
    return [x, w], symnet.grad(cost, [x, w]), values


def stems(function):
    """The kernels' names, without the function's and without numbers."""
    names = [kernel.name.split("_k_")[1] for kernel in function.kernels]
    return [name.rstrip("_0123456789") for name in names]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SETTINGS)
def test_gradients(name, dtype):
    inputs, outputs, values = gradients(*SETTINGS[name], dtype)
    run = hold_to_numpy(inputs, outputs, values)
    assert stems(run).count("entries") == 2


def test_without_a_rectifier_all_entries_are_taken():
    inputs, outputs, values = gradients(*SETTINGS["network3"], rectified=False)
    assert "entries" not in stems(hold_to_numpy(inputs, outputs, values))


def test_every_tie_counts():
    """Images all alike: each window hands its gradient to all of its entries."""
    inputs, outputs, values = gradients(*SETTINGS["network3"])
    values[0][:] = 1
    hold_to_numpy(inputs, outputs, values)


@pytest.mark.parametrize("where", ["images", "filters", "both"])
def test_infinities_and_nan_reach_what_they_met(where):
    """Through entries that are zero too."""
    inputs, outputs, values = gradients(*SETTINGS["network3"], "float64")
    if where != "filters":
        values[0][1, 3, 4, 5], values[0][2, 0, 0, 0] = np.inf, np.nan
    if where != "images":
        values[1][2, 7, 1, 4], values[1][4, 0, 0, 0] = -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        run = hold_to_numpy(inputs, outputs, values)
    found = run(*values)
    assert np.isnan(found[0]).any() == (where != "images")
    assert np.isnan(found[1]).any() == (where != "filters")


def test_through_products_and_choices():
    """Zeros stay zeros where the pooling's gradient is multiplied or let through."""
    x, w, m = (T.ftensor4() for _ in range(3))
    y = T.nnet.conv2d(x, w)
    pooled = pool_2d(T.nnet.relu(y) * m, (2, 2), ignore_border=True)
    outputs = symnet.grad(T.sum(T.maximum(pooled, 0)), [x, w])
    shapes = (2, 10, 8, 8), (3, 10, 5, 5), (2, 3, 4, 4)
    values = [RNG.integers(-2, 3, shape).astype("float32") for shape in shapes]
    run = hold_to_numpy([x, w, m], outputs, values, mode="default")
    assert stems(run).count("entries") == 2


@pytest.mark.parametrize(
    ("images", "filters", "settings"),
    [
        ((2, 3, 8, 8), (4, 3, 5, 5), {}),
        ((2, 20, 13, 13), (4, 20, 5, 5), {"subsample": (2, 2)}),
        ((2, 20, 12, 12), (4, 20, 3, 3), {"filter_dilation": (2, 2)}),
    ],
)
def test_other_convolutions_take_all_entries(images, filters, settings):
    """Short rows, steps and dilation."""
    x, w = T.ftensor4(), T.ftensor4()
    y = pool_2d(T.nnet.conv2d(x, w, **settings), (2, 2), ignore_border=True)
    outputs = symnet.grad(T.sum(T.nnet.relu(y)), [x, w])
    values = [RNG.integers(-2, 3, shape).astype("float32") for shape in (images, filters)]
    assert "entries" not in stems(hold_to_numpy([x, w], outputs, values))


def test_batches_of_changing_length():
    """A length that is only known when it is called has no lists."""
    inputs, outputs, values = gradients(*SETTINGS["network3"])
    longer = [np.concatenate([values[0]] * 2), values[1]]
    hold_to_numpy(inputs, outputs, values, longer, [values[0][:2], values[1]])


def test_numba_gives_the_same():
    inputs, outputs, values = gradients(*SETTINGS["a rest, rows in stretches"])
    expected = symnet.function(inputs, outputs)(*values)
    with symnet.config.override(backend="numba"):
        found = symnet.function(inputs, outputs)(*values)
    for have, want in zip(found, expected, strict=True):
        assert np.array_equal(have, want)
