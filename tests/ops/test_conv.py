"""Convolution: its meaning against direct loops, its gradients against differences, its refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.signal

from symnet.errors import ArgumentError, GraphError, ShapeError, SymnetError
from symnet.graph.types import TensorType
from symnet.ops.conv import Conv2d, padding
from symnet.ops.convolution import (
    conv2d,
    conv2d_grad_wrt_inputs,
    conv2d_grad_wrt_weights,
    conv2d_transpose,
    get_conv_output_shape,
    old_conv2d,
    signal_conv2d,
)

from .evaluate import check_gradient, evaluate, gradients

MODES: list[Any] = ["valid", "full", "half", 1, (2, 0), ((1, 2), (0, 3))]


def tensor4(dtype: str = "float64", shape: Any = (None,) * 4) -> Any:
    return TensorType(dtype, shape=shape)()


def direct(images: Any, filters: Any, op: Conv2d) -> Any:
    """The convolution, written out pixel by pixel."""
    batch = images.shape[0]
    out_channels, per_group, rows, columns = filters.shape
    (top, bottom), (left, right) = padding(op, filters.shape[2:])
    padded = np.pad(images, [(0, 0), (0, 0), (top, bottom), (left, right)])
    reach = [(k - 1) * d + 1 for k, d in zip((rows, columns), op.filter_dilation, strict=True)]
    lengths = [max((padded.shape[2 + axis] - reach[axis]) // op.subsample[axis] + 1, 0) for axis in (0, 1)]
    result = np.zeros((batch, out_channels, *lengths), images.dtype)
    for n, o, y, x in itertools.product(*map(range, result.shape)):
        group = o // (out_channels // op.groups)
        for c, i, j in itertools.product(range(per_group), range(rows), range(columns)):
            tap = (rows - 1 - i, columns - 1 - j) if op.filter_flip else (i, j)
            result[n, o, y, x] += (
                filters[o, c, tap[0], tap[1]]
                * padded[
                    n,
                    group * per_group + c,
                    y * op.subsample[0] + i * op.filter_dilation[0],
                    x * op.subsample[1] + j * op.filter_dilation[1],
                ]
            )
    return result


@pytest.mark.parametrize("border_mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("subsample", "dilation", "groups", "flip"),
    [((1, 1), (1, 1), 1, True), ((2, 3), (1, 1), 2, False), ((1, 2), (2, 1), 1, True)],
)
def test_meaning_against_direct_loops(
    border_mode: Any, subsample: Any, dilation: Any, groups: int, flip: bool
) -> None:
    generator = np.random.default_rng(1)
    images = generator.standard_normal((2, 2 * groups, 6, 7))
    filters = generator.standard_normal((2 * groups, 2, 3, 2))
    op = Conv2d(border_mode, subsample, dilation, groups, flip)
    x, w = tensor4(), tensor4()
    out = conv2d(
        x,
        w,
        border_mode=border_mode,
        subsample=subsample,
        filter_flip=flip,
        filter_dilation=dilation,
        num_groups=groups,
    )
    np.testing.assert_allclose(
        evaluate(out, {x: images, w: filters}), direct(images, filters, op), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("mode", ["valid", "full"])
def test_meaning_against_scipy(mode: str) -> None:
    generator = np.random.default_rng(2)
    images, filters = generator.standard_normal((3, 2, 9, 8)), generator.standard_normal((4, 2, 3, 5))
    x, w = tensor4(), tensor4()
    value = evaluate(conv2d(x, w, border_mode=mode), {x: images, w: filters})
    for n, o in itertools.product(range(3), range(4)):
        expected = sum(scipy.signal.convolve2d(images[n, c], filters[o, c], mode) for c in range(2))
        np.testing.assert_allclose(value[n, o], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("border_mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("subsample", "dilation", "groups", "flip"),
    [((1, 1), (1, 1), 1, True), ((2, 3), (1, 2), 2, False), ((2, 1), (2, 1), 1, True)],
)
def test_gradients_to_the_third_order(
    border_mode: Any, subsample: Any, dilation: Any, groups: int, flip: bool
) -> None:
    generator = np.random.default_rng(3)
    images = generator.standard_normal((2, 2 * groups, 6, 7))
    filters = generator.standard_normal((2 * groups, 2, 3, 2))

    def build(x: Any, w: Any) -> Any:
        return conv2d(
            x,
            w,
            border_mode=border_mode,
            subsample=subsample,
            filter_flip=flip,
            filter_dilation=dilation,
            num_groups=groups,
        )

    check_gradient(build, images, filters, order=3)


def test_public_gradients_are_the_gradients() -> None:
    generator = np.random.default_rng(4)
    images, filters = generator.standard_normal((2, 3, 7, 8)), generator.standard_normal((4, 3, 3, 2))
    x, w, g = tensor4(), tensor4(), tensor4()
    settings: dict[str, Any] = {"border_mode": (1, 0), "subsample": (2, 2)}
    out = conv2d(x, w, **settings)
    weight = generator.standard_normal(evaluate(out, {x: images, w: filters}).shape)
    expected = evaluate(gradients(out, [x, w], g), {x: images, w: filters, g: weight})
    by_images = conv2d_grad_wrt_inputs(g, w, (None, 3, 7, 8), **settings)
    by_filters = conv2d_grad_wrt_weights(x, g, (4, 3, w.shape[2], 2), **settings)
    assert by_images.type.shape == (None, 3, 7, 8)
    np.testing.assert_allclose(evaluate(by_images, {w: filters, g: weight}), expected[0])
    np.testing.assert_allclose(evaluate(by_filters, {x: images, w: filters, g: weight}), expected[1])
    transposed = conv2d_transpose(g, w, (None, 3, 7, 8), border_mode=(1, 0), input_dilation=(2, 2))
    np.testing.assert_allclose(evaluate(transposed, {w: filters, g: weight}), expected[0])
    as_vector = conv2d_grad_wrt_inputs(g, w, x.shape, **settings)
    np.testing.assert_allclose(evaluate(as_vector, {x: images, w: filters, g: weight}), expected[0])


def test_known_shapes_are_known_at_once() -> None:
    out = conv2d(tensor4("float32"), tensor4("float32"), (10, 1, 28, 28), (20, 1, 5, 5))
    assert out.type == TensorType("float32", (10, 20, 24, 24))
    x = tensor4("float64", (10, 1, 28, 28))
    w = tensor4("float64", (20, 1, 5, 5))
    by_images, by_filters = gradients(conv2d(x, w, border_mode="half"), [x, w])
    assert by_images.type == x.type
    assert by_filters.type == w.type
    assert get_conv_output_shape((None, 3, 9, None), (8, 3, 4, 4), "half", (2, 2)) == (None, 8, 5, None)


def test_filter_larger_than_image_gives_no_pixels() -> None:
    x, w = tensor4(), tensor4()
    out = conv2d(x, w)
    given = {x: np.ones((2, 1, 3, 3)), w: np.ones((4, 1, 5, 4))}
    assert evaluate(out, given).shape == (2, 4, 0, 0)
    for gradient, value in zip(evaluate(gradients(out, [x, w]), given), given.values(), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(value))


def test_dtypes() -> None:
    float32, float64, int32 = (tensor4(dtype) for dtype in ("float32", "float64", "int32"))
    assert conv2d(float32, float64).dtype == "float32"
    assert conv2d(float64, float32).dtype == "float64"
    assert conv2d(int32, int32).dtype == "int32"
    assert conv2d(int32, float32).dtype == "float64"
    ones = np.ones((1, 1, 3, 3), "int32")
    assert evaluate(conv2d(int32, int32), {int32: ones}).item() == 9


def test_old_names() -> None:
    generator = np.random.default_rng(5)
    images, filters = generator.standard_normal((3, 6, 5)), generator.standard_normal((2, 3, 3))
    x, w = TensorType("float64", (None,) * 3)(), TensorType("float64", (None,) * 3)()
    value = evaluate(signal_conv2d(x, w, border_mode="full"), {x: images, w: filters})
    for n, o in itertools.product(range(3), range(2)):
        np.testing.assert_allclose(value[n, o], scipy.signal.convolve2d(images[n], filters[o]))
    one = evaluate(signal_conv2d(x, w[0]), {x: images, w: filters})
    assert one.shape == (3, 4, 3)
    assert evaluate(signal_conv2d(x[0], w[0]), {x: images, w: filters}).shape == (4, 3)
    with pytest.raises(ArgumentError, match="'half'"):
        old_conv2d(tensor4(), tensor4(), border_mode="half")
    assert old_conv2d(tensor4(), tensor4(), (2, 1, 5, 5), (3, 1, 2, 2)).type.shape == (2, 3, 4, 4)


@pytest.mark.parametrize("border_mode", ["same", -1, (1, -2), (1, 2, 3), None, ((1, 2), (3,)), True])
def test_border_modes_without_meaning(border_mode: Any) -> None:
    with pytest.raises(ArgumentError, match="border_mode"):
        conv2d(tensor4(), tensor4(), border_mode=border_mode)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"subsample": (0, 1)}, ArgumentError, "at least 1"),
        ({"subsample": 2}, GraphError, "pair of integers"),
        ({"filter_dilation": (1, 1.5)}, GraphError, "pair of integers"),
        ({"num_groups": 0}, ArgumentError, "num_groups"),
        ({"input_shape": (1, 2, 3)}, GraphError, "3 axes"),
        ({"input_shape": (1, 2, 3.5, 4)}, GraphError, "integer or None"),
        ({"input_shape": (1, 2, 5, 5), "filter_shape": (1, 3, 2, 2)}, ShapeError, "channels"),
        ({"filter_shape": (3, 2, 2, 2), "num_groups": 2}, ShapeError, "groups"),
        ({"unshared": True}, SymnetError, "unshared"),
    ],
)
def test_refusals_quote_the_users_line(arguments: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        conv2d(tensor4(), tensor4(), **arguments)
    assert "test_conv.py" in str(caught.value)


def test_wrong_ranks_and_shapes() -> None:
    matrix = TensorType("float64", (None, None))()
    with pytest.raises(GraphError, match="4 axes"):
        conv2d(matrix, tensor4())
    with pytest.raises(ShapeError, match="not have the length"):
        conv2d(tensor4(shape=(10, 1, 28, 28)), tensor4(), image_shape=(10, 1, 27, 28))
    x, w, g = tensor4(), tensor4(), tensor4()
    declared = conv2d(x, w, image_shape=(2, 1, 5, 5))
    with pytest.raises(ShapeError, match="axis 0"):
        evaluate(declared, {x: np.ones((3, 1, 5, 5)), w: np.ones((1, 1, 2, 2))})
    with pytest.raises(ShapeError, match="channels"):
        evaluate(conv2d(x, w), {x: np.ones((3, 1, 5, 5)), w: np.ones((1, 2, 2, 2))})
    with pytest.raises(ShapeError, match="height"):
        evaluate(
            conv2d_grad_wrt_inputs(g, w, (1, 1, 5, 5)),
            {g: np.ones((1, 1, 3, 4)), w: np.ones((1, 1, 2, 2))},
        )
