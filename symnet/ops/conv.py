"""Two-dimensional convolution: takes images and filters, hands on three ops, each the others' gradient.

Images are NCHW, filters (output channels, input channels / groups, height, width). As in Theano the
filters are flipped, so that it is a convolution in the mathematical sense, unless `filter_flip=False`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.op import DISCONNECTED, HostValue, Op, ShapeContext
from symnet.graph.types import FLOAT_DTYPES, INTEGER_DTYPES
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.basic import as_tensor_variable, upcast
from symnet.ops.elementwise import cast
from symnet.ops.linalg import tensor_product
from symnet.ops.shape import as_length, length_of

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]
Padding = tuple[tuple[Dimension, Dimension], tuple[Dimension, Dimension]]
BorderMode = str | tuple[Pair, Pair]


def is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def integer_pair(value: Any, name: str, least: int) -> Pair:
    """A pair of literal integers, one for each spatial axis.

    Raises
    ------
    GraphError
        When it is not a pair of integers.
    ArgumentError
        When one is less than `least`.
    """
    items = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    items = [item.data[()] if isinstance(item, Constant) and item.ndim == 0 else item for item in items]
    if len(items) != 2 or not all(map(is_integer, items)):
        raise GraphError(f"{name}={value!r}: a pair of integers is expected, one for each spatial axis")
    if any(item < least for item in items):
        raise ArgumentError(f"{name}={value!r}: the integers must be at least {least}")
    return int(items[0]), int(items[1])


def canonical_border_mode(border_mode: Any) -> BorderMode:
    """`border_mode` as a word ('valid', 'full', 'half') or as ((top, bottom), (left, right)).

    An integer pads all four sides, a pair of integers rows and columns, a pair of pairs each side.

    Raises
    ------
    ArgumentError
        For anything else, negative padding included.
    """
    if isinstance(border_mode, str):
        if border_mode in ("valid", "full", "half"):
            return border_mode
    else:
        axes = (border_mode, border_mode) if is_integer(border_mode) else border_mode
        if isinstance(axes, list | tuple) and len(axes) == 2:
            sides = [(axis, axis) if is_integer(axis) else axis for axis in axes]
            if all(
                isinstance(pair, list | tuple)
                and len(pair) == 2
                and all(is_integer(side) and side >= 0 for side in pair)
                for pair in sides
            ):
                (top, bottom), (left, right) = sides
                return (int(top), int(bottom)), (int(left), int(right))
    raise ArgumentError(
        f"border_mode={border_mode!r} is not one of 'valid', 'full', 'half', an integer, a pair of "
        "integers, or ((top, bottom), (left, right)), none of them negative"
    )


def padding(op: Convolution, kernel: Sequence[Dimension]) -> Padding:
    """((top, bottom), (left, right)): the zeros that the op puts around images for filters of that size."""
    if not isinstance(op.border_mode, str):
        return op.border_mode
    sides: list[Dimension] = []
    for length, dilation in zip(kernel, op.filter_dilation, strict=True):
        reach = dims.multiply(dims.subtract(length, 1), dilation)
        if op.border_mode == "valid":
            sides.append(0)
        elif op.border_mode == "full":
            sides.append(reach)
        else:
            sides.append(dims.floor_divide(dims.add(reach, 1), 2))
    return (sides[0], sides[0]), (sides[1], sides[1])


def output_lengths(
    op: Convolution, image: Sequence[Dimension], kernel: Sequence[Dimension]
) -> tuple[Dimension, Dimension]:
    """(height, width) of the convolution of images and filters of these heights and widths.

    A filter larger than the padded image leaves nothing: length 0.
    """
    found: list[Dimension] = []
    for axis, sides in enumerate(padding(op, kernel)):
        reach = dims.multiply(dims.subtract(kernel[axis], 1), op.filter_dilation[axis])
        room = dims.subtract(dims.add(image[axis], *sides), dims.add(reach, 1))
        steps = dims.floor_divide(room, op.subsample[axis])
        found.append(dims.maximum(dims.add(steps, 1), 0))
    return found[0], found[1]


class Convolution(Op):
    """What the three convolution ops share.

    Attributes
    ----------
    border_mode
        'valid', 'full', 'half', or ((top, bottom), (left, right)).
    subsample
        The steps between output pixels, (rows, columns).
    filter_dilation
        The distances between filter taps, (rows, columns).
    groups
        The number of groups; each group of output channels sees one group of input channels.
    filter_flip
        Whether filters are flipped (convolution) or not (cross-correlation).
    """

    properties = ("border_mode", "subsample", "filter_dilation", "groups", "filter_flip")
    operand_names: tuple[str, str]

    def __init__(
        self,
        border_mode: Any = "valid",
        subsample: Any = (1, 1),
        filter_dilation: Any = (1, 1),
        groups: int = 1,
        filter_flip: bool = True,
    ) -> None:
        self.border_mode = canonical_border_mode(border_mode)
        self.subsample = integer_pair(subsample, "subsample", 1)
        self.filter_dilation = integer_pair(filter_dilation, "filter_dilation", 1)
        if not is_integer(groups) or groups < 1:
            raise ArgumentError(f"num_groups={groups!r}: a positive integer is expected")
        self.groups = int(groups)
        self.filter_flip = bool(filter_flip)

    def sibling(self, kind: type[Convolution]) -> Convolution:
        """The op of another kind with the same properties."""
        return kind(*(getattr(self, name) for name in self.properties))

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Two tensors of four axes in their common dtype, and two lengths where the op takes them."""
        tensors = [as_tensor_variable(each) for each in inputs[:2]]
        for name, tensor in zip(self.operand_names, tensors, strict=True):
            if tensor.ndim != 4:
                raise GraphError(
                    f"{self.name}: {name} have 4 axes, not {tensor.ndim}",
                    tensors,
                    hint="images are (batch, channels, rows, columns); reshape to that first",
                )
            if tensor.dtype not in INTEGER_DTYPES + FLOAT_DTYPES:
                raise GraphError(f"{self.name}: {name} of dtype {tensor.dtype}; cast them first", tensors)
        common = upcast(*(tensor.dtype for tensor in tensors))
        return [cast(tensor, common) for tensor in tensors] + [
            cast(as_length(each, self.name), "int64") for each in inputs[2:]
        ]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The common dtype."""
        return [inputs[0].dtype]

    def check_channels(self, images: Dimension, filters: Shape, context: ShapeContext) -> None:
        """Refuse channels that do not fit the filters or the groups."""
        context.equal(
            images,
            dims.multiply(filters[1], self.groups),
            "the images' channels and the filters' input channels times groups differ",
        )
        if self.groups > 1:
            remainder = dims.apply("mod", filters[0], self.groups)
            context.require(
                dims.apply("eq", remainder, 0),
                f"the filters' output channels are not a multiple of the {self.groups} groups",
            )


def _known(value: HostValue) -> Dimension:
    return UNKNOWN if value is None or isinstance(value, tuple) else value


class Conv2d(Convolution):
    """The convolution of images (N, C, H, W) with filters (O, C / groups, kh, kw): (N, O, H', W')."""

    operand_names = ("images", "filters")

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """Batch of the images, channels of the filters, lengths by padding, step and dilation."""
        images, filters = shapes
        self.check_channels(images[1], filters, context)
        return [(images[0], filters[0], *output_lengths(self, images[2:], filters[2:]))]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """A tensor product of the filters with a view of all windows, for each group."""
        images, filters = inputs
        windows = _windows(self, images, filters.shape[2:])
        flipped = _flip(self, filters)
        parts = [
            tensor_product(_part(windows, 1, group, self.groups), part, ((1, 4, 5), (1, 2, 3)))
            for group, part in enumerate(np.split(flipped, self.groups))
        ]
        return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=3), 3, 1))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By the images and by the filters: the other two ops."""
        images, filters = node.inputs
        (g,) = output_gradients
        return [
            self.sibling(Conv2dGradientImages)(filters, g, length_of(images, 2), length_of(images, 3)),
            self.sibling(Conv2dGradientFilters)(images, g, length_of(filters, 2), length_of(filters, 3)),
        ]


class Conv2dGradientFilters(Convolution):
    """The gradient by the filters, from images, output gradient, and the filters' height and width."""

    operand_names = ("images", "output gradients")
    value_inputs = (2, 3)

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """(O, C / groups, height, width)."""
        images, output = shapes[:2]
        kernel = _known(values[2]), _known(values[3])
        filters = (output[1], dims.floor_divide(images[1], self.groups), *kernel)
        self.check_channels(images[1], filters, context)
        context.equal(images[0], output[0], "the images' and the output gradient's batches differ")
        _check_output(self, images, kernel, output, context)
        return [filters]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """A tensor product of the output gradient with a view of all windows, for each group."""
        images, output, height, width = inputs
        windows = _windows(self, images, (int(height), int(width)))
        parts = [
            tensor_product(
                _part(output, 1, group, self.groups),
                _part(windows, 1, group, self.groups),
                ((0, 2, 3), (0, 2, 3)),
            )
            for group in range(self.groups)
        ]
        return np.ascontiguousarray(_flip(self, np.concatenate(parts)))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By the images and by the output gradient: the other two ops."""
        images, output = node.inputs[:2]
        (g,) = output_gradients
        return [
            self.sibling(Conv2dGradientImages)(g, output, length_of(images, 2), length_of(images, 3)),
            self.sibling(Conv2d)(images, g),
            DISCONNECTED,
            DISCONNECTED,
        ]


class Conv2dGradientImages(Convolution):
    """The gradient by the images, from filters, output gradient, and the images' height and width."""

    operand_names = ("filters", "output gradients")
    value_inputs = (2, 3)

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """(N, C, height, width)."""
        filters, output = shapes[:2]
        images = (
            output[0],
            dims.multiply(filters[1], self.groups),
            _known(values[2]),
            _known(values[3]),
        )
        self.check_channels(images[1], filters, context)
        context.equal(filters[0], output[1], "the filters' and the output gradient's output channels differ")
        _check_output(self, images, filters[2:], output, context)
        return [images]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Each filter tap's share is added to the pixels it met."""
        filters, output, *lengths = inputs
        image = int(lengths[0]), int(lengths[1])
        kernel = filters.shape[2:]
        ((top, bottom), (left, right)) = padding(self, kernel)
        rows, columns = output.shape[2:]
        channels = filters.shape[1] * self.groups
        extents = [image[0] + int(top) + int(bottom), image[1] + int(left) + int(right)]  # type: ignore[arg-type]
        total = np.zeros((output.shape[0], channels, *extents), output.dtype)
        flipped = _flip(self, filters)
        shares = np.concatenate(
            [
                tensor_product(part, _part(output, 1, group, self.groups), ((0,), (1,)))
                for group, part in enumerate(np.split(flipped, self.groups))
            ]
        )  # (C, kh, kw, N, H', W')
        for i in range(kernel[0] if rows and columns else 0):
            for j in range(kernel[1]):
                first, second = i * self.filter_dilation[0], j * self.filter_dilation[1]
                total[
                    :,
                    :,
                    first : first + self.subsample[0] * (rows - 1) + 1 : self.subsample[0],
                    second : second + self.subsample[1] * (columns - 1) + 1 : self.subsample[1],
                ] += np.swapaxes(shares[:, i, j], 0, 1)
        start_row, start_column = int(top), int(left)  # type: ignore[arg-type]
        inner: Array = total[:, :, start_row : start_row + image[0], start_column : start_column + image[1]]
        return np.ascontiguousarray(inner)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By the filters and by the output gradient: the other two ops."""
        filters, output = node.inputs[:2]
        (g,) = output_gradients
        return [
            self.sibling(Conv2dGradientFilters)(g, output, length_of(filters, 2), length_of(filters, 3)),
            self.sibling(Conv2d)(g, filters),
            DISCONNECTED,
            DISCONNECTED,
        ]


def _check_output(
    op: Convolution, images: Shape, kernel: Sequence[Dimension], output: Shape, context: ShapeContext
) -> None:
    """Refuse an output gradient that is not of the shape of the convolution's output."""
    lengths = output_lengths(op, images[2:], kernel)
    for axis, word in enumerate(("height", "width")):
        context.equal(
            lengths[axis], output[2 + axis], f"the output gradient's {word} is not the convolution's"
        )


def _windows(op: Convolution, images: Array, kernel: Sequence[int]) -> Array:
    """A view (N, C, H', W', kh, kw) of every window of the padded images."""
    sides = [(int(first), int(last)) for first, last in padding(op, kernel)]  # type: ignore[arg-type]
    padded = np.pad(images, [(0, 0), (0, 0), *sides])
    rows, columns = output_lengths(op, images.shape[2:], kernel)
    batch, channel, row, column = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (*images.shape[:2], int(rows), int(columns), *kernel),  # type: ignore[arg-type]
        (
            batch,
            channel,
            row * op.subsample[0],
            column * op.subsample[1],
            row * op.filter_dilation[0],
            column * op.filter_dilation[1],
        ),
        writeable=False,
    )


def _flip(op: Convolution, filters: Array) -> Array:
    return filters[:, :, ::-1, ::-1] if op.filter_flip else filters


def _part(array: Array, axis: int, group: int, groups: int) -> Array:
    """One group's share of an axis."""
    length = array.shape[axis] // groups
    return array[(slice(None),) * axis + (slice(group * length, (group + 1) * length),)]
