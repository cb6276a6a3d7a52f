"""Convolution as users call it: takes tensors and declared shapes, hands on the ops of `symnet.ops.conv`.

Declared shapes are checked when the function runs; the signatures are Theano's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symnet.errors import ArgumentError, GraphError, UnsupportedError
from symnet.graph.dims import UNKNOWN
from symnet.graph.types import FLOAT_DTYPES
from symnet.graph.variable import Constant, Variable
from symnet.ops.basic import as_tensor_variable
from symnet.ops.conv import (
    Conv2d,
    Conv2dGradientFilters,
    Conv2dGradientImages,
    is_integer,
    output_lengths,
)
from symnet.ops.elementwise import cast
from symnet.ops.shape import dimshuffle
from symnet.ops.shape_promises import specify_shape


def with_shape(variable: Variable, shape: Any, name: str) -> Variable:
    """The variable with the lengths that the user declared; a run-time check where the type knows none."""
    if shape is None or isinstance(shape, Variable):
        return variable
    lengths = [int(each.data) if isinstance(each, Constant) and each.ndim == 0 else each for each in shape]
    if len(lengths) != variable.ndim:
        raise GraphError(
            f"{name}={tuple(shape)!r} has {len(lengths)} axes, the tensor {variable.ndim}", [variable]
        )
    for length in lengths:
        if length is not None and not is_integer(length) and not isinstance(length, Variable):
            raise GraphError(f"{name}={tuple(shape)!r}: each axis is an integer or None", [variable])
    declared = [int(length) if is_integer(length) else None for length in lengths]
    if all(length is None for length in declared):
        return variable
    return specify_shape(variable, declared)  # type: ignore[no-any-return]


def _refuse_unshared(unshared: bool) -> None:
    if unshared:
        raise UnsupportedError("a convolution with unshared filters")


def conv2d(
    input: Any,
    filters: Any,
    input_shape: Any = None,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    image_shape: Any = None,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Variable:
    """Convolve images with filters.

    Parameters
    ----------
    input
        Images, (batch, channels, rows, columns).
    filters
        (output channels, channels / num_groups, rows, columns).
    input_shape, filter_shape
        Their shapes where known, None for an axis that is not. Checked when the function runs.
    border_mode
        'valid' (no padding), 'full' (padding by the filter's reach), 'half' (by half the filter,
        rounded down), an integer, a pair (rows, columns), or ((top, bottom), (left, right)).
    subsample
        Steps between output pixels.
    filter_flip
        True convolves, as in Theano; False correlates, as most other libraries do.
    image_shape
        The old name of `input_shape`.
    filter_dilation
        Distances between filter taps.
    num_groups
        Groups of channels that are convolved apart.

    Returns
    -------
    Variable
        (batch, output channels, rows, columns), of the images' dtype; of the common dtype where one is
        an integer tensor. A filter larger than the padded image gives an output with no pixels.

    Raises
    ------
    GraphError
        When an operand does not have four axes.
    ArgumentError
        For another border_mode, or steps that are not positive.
    ShapeError
        When channels, groups or declared shapes do not fit.

    >>> import symnet.tensor as T
    >>> T.nnet.conv2d(T.ftensor4(), T.ftensor4(), (10, 1, 28, 28), (20, 1, 5, 5)).type
    TensorType(float32, (10, 20, 24, 24))
    """
    _refuse_unshared(unshared)
    if input_shape is not None and image_shape is not None:
        raise GraphError("conv2d got both input_shape and image_shape, which are the same thing")
    images, kernels = as_tensor_variable(input), as_tensor_variable(filters)
    declared = image_shape if input_shape is None else input_shape
    op = Conv2d(border_mode, subsample, filter_dilation, num_groups, filter_flip)
    out: Variable = op(
        with_shape(images, declared, "input_shape"), with_shape(kernels, filter_shape, "filter_shape")
    )
    if images.dtype in FLOAT_DTYPES and kernels.dtype in FLOAT_DTYPES:
        return cast(out, images.dtype)
    return out


def old_conv2d(
    input: Any,
    filters: Any,
    image_shape: Any = None,
    filter_shape: Any = None,
    border_mode: str = "valid",
    subsample: Any = (1, 1),
) -> Variable:
    """`theano.tensor.nnet.conv.conv2d`: as `conv2d`, with border_mode 'valid' or 'full' only."""
    if border_mode not in ("valid", "full"):
        raise ArgumentError(
            f"border_mode={border_mode!r}: nnet.conv.conv2d knows 'valid' and 'full'",
            hint="nnet.conv2d knows the others",
        )
    return conv2d(input, filters, image_shape, filter_shape, border_mode, subsample)


def signal_conv2d(
    input: Any,
    filters: Any,
    image_shape: Any = None,
    filter_shape: Any = None,
    border_mode: str = "valid",
    subsample: Any = (1, 1),
) -> Variable:
    """`theano.tensor.signal.conv.conv2d`: every image with every filter, no channels.

    `input` is (rows, columns) or (images, rows, columns), `filters` likewise; the result has an axis
    for the images where there was one, then one for the filters where there was one.
    """
    images, kernels = as_tensor_variable(input), as_tensor_variable(filters)
    for variable in (images, kernels):
        if variable.ndim not in (2, 3):
            raise GraphError("signal.conv2d takes tensors of 2 or 3 axes", [images, kernels])

    def with_channel(variable: Variable, shape: Any, name: str) -> Variable:
        variable = with_shape(variable, shape, name)
        front = ["x", "x"] if variable.ndim == 2 else [0, "x"]
        return dimshuffle(variable, [*front, variable.ndim - 2, variable.ndim - 1])

    out = conv2d(
        with_channel(images, image_shape, "image_shape"),
        with_channel(kernels, filter_shape, "filter_shape"),
        border_mode=border_mode,
        subsample=subsample,
    )
    kept = [axis for axis, variable in enumerate((images, kernels)) if variable.ndim == 3]
    return dimshuffle(out, [*kept, 2, 3])


def conv2d_grad_wrt_inputs(
    output_grad: Any,
    filters: Any,
    input_shape: Any,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Variable:
    """The gradient of `conv2d` by its images; also known as a transposed convolution.

    Parameters
    ----------
    output_grad
        The gradient of the convolution's output, (batch, output channels, rows, columns).
    filters
        (output channels, channels / num_groups, rows, columns).
    input_shape
        The images' shape: the first two lengths may be None, the last two are integers or integer
        scalars.
    filter_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups
        As in `conv2d`.

    Raises
    ------
    ShapeError
        When `output_grad` is not of the shape that the convolution would have.
    """
    _refuse_unshared(unshared)
    op = Conv2dGradientImages(border_mode, subsample, filter_dilation, num_groups, filter_flip)
    height, width = _last_two(input_shape, "input_shape")
    kernels = with_shape(as_tensor_variable(filters), filter_shape, "filter_shape")
    out: Variable = op(kernels, output_grad, height, width)
    return with_shape(out, input_shape, "input_shape")


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    filter_shape: Any = None,
    border_mode: Any = "valid",
    input_dilation: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Variable:
    """A transposed convolution: `conv2d_grad_wrt_inputs` with `input_dilation` for its subsample."""
    return conv2d_grad_wrt_inputs(
        input,
        filters,
        output_shape,
        filter_shape,
        border_mode,
        input_dilation,
        filter_flip,
        filter_dilation,
        num_groups,
        unshared,
    )


def conv2d_grad_wrt_weights(
    input: Any,
    output_grad: Any,
    filter_shape: Any,
    input_shape: Any = None,
    border_mode: Any = "valid",
    subsample: Any = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Any = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Variable:
    """The gradient of `conv2d` by its filters.

    Parameters
    ----------
    input
        The images, (batch, channels, rows, columns).
    output_grad
        The gradient of the convolution's output, (batch, output channels, rows, columns).
    filter_shape
        The filters' shape: the first two lengths may be None, the last two are integers or integer
        scalars.
    input_shape, border_mode, subsample, filter_flip, filter_dilation, num_groups
        As in `conv2d`.

    Raises
    ------
    ShapeError
        When `output_grad` is not of the shape that the convolution would have.
    """
    _refuse_unshared(unshared)
    op = Conv2dGradientFilters(border_mode, subsample, filter_dilation, num_groups, filter_flip)
    height, width = _last_two(filter_shape, "filter_shape")
    images = with_shape(as_tensor_variable(input), input_shape, "input_shape")
    out: Variable = op(images, output_grad, height, width)
    return with_shape(out, filter_shape, "filter_shape")


def _last_two(shape: Any, name: str) -> tuple[Any, Any]:
    if isinstance(shape, Variable):
        if shape.ndim != 1:
            raise GraphError(f"{name} is four lengths or a vector of them", [shape])
        return shape[2], shape[3]  # type: ignore[index]
    if not isinstance(shape, list | tuple) or len(shape) != 4 or None in (shape[2], shape[3]):
        raise GraphError(f"{name}={shape!r}: four lengths are expected, the last two not None")
    return shape[2], shape[3]


def get_conv_output_shape(
    image_shape: Sequence[Any],
    kernel_shape: Sequence[Any],
    border_mode: Any,
    subsample: Any,
    filter_dilation: Any = (1, 1),
) -> tuple[int | None, ...]:
    """The shape of `conv2d`'s output from the shapes of its operands, None where it is not known."""
    op = Conv2d(border_mode, subsample, filter_dilation)
    image = [UNKNOWN if each is None else int(each) for each in image_shape]
    kernel = [UNKNOWN if each is None else int(each) for each in kernel_shape]
    found = (image[0], kernel[0], *output_lengths(op, image[2:], kernel[2:]))
    return tuple(each if isinstance(each, int) else None for each in found)
