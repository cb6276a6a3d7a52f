"""Compiled convolutions against NumPy: settings, gradients to second order, ties, infinities, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from against_numpy import hold_to_numpy

import symnet
from symnet import tensor as T
from symnet.ops.conv import Conv2d, Conv2dGradientImages

RNG = np.random.default_rng(7)

# Images, filters, how they are convolved.
SETTINGS = {
    "plain": ((2, 3, 8, 7), (4, 3, 3, 2), {}),
    "large filters": ((3, 2, 6, 6), (4, 2, 5, 5), {"filter_flip": False}),
    "padded": ((2, 2, 6, 9), (3, 2, 3, 4), {"border_mode": ((1, 0), (2, 3))}),
    "full": ((2, 2, 5, 4), (3, 2, 2, 3), {"border_mode": "full"}),
    "groups": ((2, 4, 6, 5), (6, 2, 3, 3), {"border_mode": "half", "num_groups": 2}),
    "steps": ((2, 2, 9, 11), (3, 2, 3, 3), {"subsample": (2, 2), "border_mode": (1, 2)}),
    "dilated": ((2, 2, 9, 10), (3, 2, 3, 2), {"filter_dilation": (2, 3)}),
    "steps, dilated": (
        (2, 2, 9, 13),
        (3, 2, 2, 4),
        {"subsample": (3, 2), "filter_dilation": (1, 3), "border_mode": 1, "filter_flip": False},
    ),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def draw(shape, dtype):
    if np.dtype(dtype).kind == "i":
        return RNG.integers(-9, 9, shape).astype(dtype)
    return RNG.standard_normal(shape).astype(dtype)


def up_to_second_order(dtype, images, filters, settings):
    """Inputs, outputs (value, gradients, gradients of those), and values of the inputs."""
    x, f, w, dx, df = (T.TensorType(dtype, (False,) * 4)() for _ in range(5))
    y = T.nnet.conv2d(x, f, **settings)
    gx, gf = symnet.grad(T.sum(y * w), [x, f])
    second = symnet.grad(T.sum(gx * dx) + T.sum(gf * df), [x, f, w])
    values = [draw(images, dtype), draw(filters, dtype)]
    shape = symnet.function([x, f], y, mode="reference")(*values).shape
    values += [draw(shape, dtype), draw(images, dtype), draw(filters, dtype)]
    return [x, f, w, dx, df], [y, gx, gf, *second], values


@pytest.mark.parametrize("name", SETTINGS)
def test_value_gradients_and_their_gradients(name):
    dtype = "float64" if name in ("padded", "dilated") else "float32"
    inputs, outputs, values = up_to_second_order(dtype, *SETTINGS[name])
    hold_to_numpy(inputs, outputs, values, atol=20 * TOLERANCE[dtype])


def test_rewritten():
    inputs, outputs, values = up_to_second_order("float32", *SETTINGS["plain"])
    hold_to_numpy(inputs, outputs, values, atol=4e-4, mode="default")


@pytest.mark.parametrize("settings", [{}, {"subsample": (2, 2), "border_mode": 1, "num_groups": 3}])
def test_integers(settings):
    x, f, g = (T.TensorType("int32", (False,) * 4)() for _ in range(3))
    y = T.nnet.conv2d(x, f, **settings)
    by_images = y.owner.op.sibling(Conv2dGradientImages)(f, g, x.shape[2], x.shape[3])
    filters = (3, 1, 2, 2) if settings else (3, 3, 2, 2)
    values = [draw((2, 3, 5, 6), "int32"), draw(filters, "int32")]
    shape = symnet.function([x, f], y, mode="reference")(*values).shape
    hold_to_numpy([x, f, g], [y, by_images], [*values, draw(shape, "int32")])


def test_another_batch_is_no_other_code():
    """A batch that changes is found at run time; the code then made serves every batch."""
    calls = []
    for batch in (2, 5, 3, 6, 1):
        settings = {"border_mode": 1}
        inputs, outputs, values = up_to_second_order("float64", (batch, 2, 4, 5), (3, 2, 2, 3), settings)
        calls.append(values)
    compiled = hold_to_numpy(inputs, outputs[:3], *calls[:3], atol=1e-12)
    made = compiled._executor.report["specialisations"]
    for call in calls:
        assert compiled(*call)[1].shape[0] == len(call[0])
    assert compiled._executor.report["specialisations"] == made == 2


@pytest.mark.parametrize("output", [0, 1, 2])
def test_images_and_filters_of_changing_sizes(output):
    """Value, gradient by the images, gradient by the filters."""
    calls = []
    settings = {"subsample": (1, 2), "border_mode": 1} if output != 1 else {}
    for images, filters in [((2, 2, 7, 7), (3, 2, 2, 3)), ((1, 2, 6, 9), (2, 2, 3, 2))]:
        inputs, outputs, values = up_to_second_order("float64", images, filters, settings)
        calls.append(values)
    hold_to_numpy(inputs, outputs[output : output + 1], *calls, atol=1e-12)


def test_nothing_to_compute():
    """No images, and filters larger than the images."""
    inputs, outputs, values = up_to_second_order("float32", (0, 2, 5, 5), (3, 2, 2, 2), {})
    hold_to_numpy(inputs, outputs[:3], values)
    inputs, outputs, values = up_to_second_order("float32", (2, 2, 3, 3), (3, 2, 4, 2), {})
    compiled = hold_to_numpy(inputs, outputs[:3], values)
    assert compiled(*values)[0].shape == (2, 3, 0, 2)


@pytest.mark.parametrize(
    ("images", "filters", "flip"),
    [
        ((2, 2, 18, 32), (6, 2, 4, 4), False),
        ((2, 5, 30, 22), (7, 5, 5, 5), True),
        ((3, 1, 28, 28), (20, 1, 5, 5), True),
        ((2, 3, 14, 15), (5, 3, 3, 3), True),
    ],
)
def test_equal_patches_give_equal_numbers(images, filters, flip):
    """To the last bit, wherever the patch lies: max pooling's ties depend on it."""
    x, f = T.ftensor4(), T.ftensor4()
    run = symnet.function([x, f], T.nnet.conv2d(x, f, filter_flip=flip))
    weights, drawn = draw(filters, "float32"), draw(images, "float32")
    moved = np.zeros_like(drawn)
    moved[:, :, 3:, 1:] = drawn[:, :, :-3, :-1]
    moved = np.roll(moved, 1, axis=0)
    first, second = run(drawn, weights), np.roll(run(moved, weights), -1, axis=0)
    assert np.array_equal(first[:, :, :-3, :-1], second[:, :, 3:, 1:])
    background = np.broadcast_to(draw((1, images[1], 1, 1), "float32"), images).copy()
    flat = run(background, weights)
    assert np.array_equal(flat, np.broadcast_to(flat[:1, :, :1, :1], flat.shape))


@pytest.mark.parametrize("settings", [{}, {"border_mode": "full"}, {"subsample": (2, 3)}])
def test_infinities_and_nan_reach_what_they_met(settings):
    inputs, outputs, values = up_to_second_order("float64", (2, 2, 6, 7), (2, 2, 3, 3), settings)
    values[0][1, 0, 2, 2] = np.nan
    values[1][0, 1, 0, 2], values[1][1, 0, 1, 1] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        compiled = hold_to_numpy(inputs, outputs[:3], values, atol=1e-11)
    # In full mode every pixel meets every weight.
    assert np.isfinite(compiled(*values)[1]).any() == (settings != {"border_mode": "full"})


def test_padding_computes_its_operand_on_the_way():
    x, f = T.ftensor4(), T.ftensor4()
    y = T.nnet.conv2d(T.tanh(x) + 1, f, border_mode=2)
    compiled = hold_to_numpy(
        [x, f], [y], [draw((2, 2, 5, 5), "float32"), draw((3, 2, 3, 3), "float32")], atol=1e-5
    )
    pad, product = compiled._executor.kernels
    assert [str(node.op) for node in pad.nodes].count("tanh") == 1
    assert [node.op for node in product.nodes] == [Conv2d(border_mode=2)]


def test_one_kernel_serves_every_tap():
    """The gradient by the images runs one kernel for each of 25 taps, or of 4 output pixels."""
    f, g = T.ftensor4(), T.ftensor4()
    gx = Conv2dGradientImages()(f, g, 12, 12)
    run = hold_to_numpy(
        [f, g], [gx], [draw((2, 3, 5, 5), "float32"), draw((2, 2, 8, 8), "float32")], atol=1e-4
    )
    program = run._executor._latest.program
    assert (len(program.kernels), len(program.calls)) == (3, 27)
    gx = Conv2dGradientImages()(f, g, 6, 6)
    run = hold_to_numpy(
        [f, g], [gx], [draw((2, 3, 5, 5), "float32"), draw((2, 2, 2, 2), "float32")], atol=1e-4
    )
    program = run._executor._latest.program
    assert (len(program.kernels), len(program.calls)) == (2, 5)


def test_blocks_of_images():
    """Images that do not lie near together are taken in blocks, whose products add up."""
    inputs, outputs, values = up_to_second_order(
        "float64", (6, 8, 32, 32), (8, 8, 3, 3), {"border_mode": "half"}
    )
    run = hold_to_numpy(inputs, outputs[:3], values, atol=1e-10)
    program = run._executor._latest.program
    # The two copies of the padded images share their kernel.
    assert len(program.calls) == len(program.kernels) + 8 + 9 + 1 + 1
