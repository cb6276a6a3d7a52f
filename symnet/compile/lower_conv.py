"""Convolutions: takes images, filters and output gradients, hands on contractions of overlapping strides.

No patches are copied out: an output pixel's index and a filter tap's index step through the images
alike. Only padding, and steps between output columns, need a copy of the images beforehand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.contraction import Dimension as Axis
from symnet.compile.fusion import demands
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_conv_sparse import (
    is_rare,
    row_stretch,
    sparse_filters_gradient,
    sparse_images_gradient,
)
from symnet.compile.lower_elementwise import kernel_nodes
from symnet.compile.lower_linalg import add_contraction, axis_of
from symnet.compile.memory import ITEM_BYTES
from symnet.compile.nest import FLOATS, Expression, Literal
from symnet.compile.program import ContractionCall, View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.conv import (
    Conv2d,
    Conv2dGradientFilters,
    Conv2dGradientImages,
    Convolution,
    Padding,
    padding,
)

#: The gradient by the images is one product for each filter tap (or pixel); up to so many of them.
MOST_PRODUCTS = 1024
#: The gradient by the filters takes the images by so many bytes, which a core's own cache holds.
NEAR_BYTES = 512 * 1024


# --- images as the contractions read them ----------------------------------------------------------


def _copies_images(op: Convolution) -> bool:
    """Whether the op is sure to copy its images, so that they may be computed on the way."""
    padded = op.border_mode not in ("valid", ((0, 0), (0, 0)))
    return padded or op.subsample[1] > 1


@demands(Conv2d)
def _conv2d_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, Conv2d)
    return ["value" if _copies_images(node.op) else "buffer", "buffer"]


@demands(Conv2dGradientFilters)
def _filters_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, Conv2dGradientFilters)
    return ["value" if _copies_images(node.op) else "buffer", "buffer", "size", "size"]


@demands(Conv2dGradientImages)
def _images_demands(node: Apply) -> list[str]:
    return ["buffer", "buffer", "size", "size"]


def _zero(dtype: str) -> Literal:
    return Literal(dtype, 0.0 if dtype in FLOATS else 0)


def _fill(
    builder: NestBuilder, view: View, outer: Sequence[Expression], first: Dimension, count: Dimension
) -> None:
    """Zeros in `count` neighbouring entries of a view's last axis, from `first` on."""
    if count == 0:
        return
    part = replace(view, offset=dims.add(view.offset, first))
    with builder.loop(count, vector=True) as place:
        builder.store(part, [*outer, place], _zero(view.buffer.dtype))


def _spread(lowering: Lowering, node: Apply, images: Variable, sides: Padding, step: int) -> View:
    """The padded images with their columns dealt out by phase: (N, C, rows, step, columns).

    Entry (n, c, y, p, x) is the padded image's at row y, column x * step + p, so that neighbouring
    output pixels read neighbouring entries. Without padding and with a step of 1 nothing is copied.
    """
    (top, bottom), (left, right) = sides
    batch, channels, height, width = shape = lowering.shape(images)
    stored = images in lowering.views or isinstance(images, Constant)
    if stored and sides == ((0, 0), (0, 0)) and step == 1:
        view = lowering.view(images)
        return replace(view, strides=(*view.strides[:3], 0, view.strides[3]), shape=(*shape[:3], 1, width))
    rows = dims.add(top, height, bottom)
    columns = dims.ceil_divide(dims.add(left, width, right), step)
    target = lowering.scratch("padded", images.dtype, (batch, channels, rows, step, columns))
    row = target.strides[2]
    plane = replace(target, strides=(*target.strides[:2], 1))
    inner = dims.add(target.offset, dims.multiply(top, row))
    line = replace(target, offset=inner, strides=(*target.strides[:3], 1))
    builder = lowering.builder()
    with builder.loops((batch, channels), vector=False) as outer:
        _fill(builder, plane, outer, 0, dims.multiply(top, row))
        with builder.loop(height) as y:
            for phase in range(step):
                start = dims.multiply(phase, columns)
                first = dims.maximum(dims.ceil_divide(dims.subtract(left, phase), step), 0)
                end = dims.ceil_divide(dims.subtract(dims.add(left, width), phase), step)
                end = dims.minimum(dims.maximum(end, first), columns)
                _fill(builder, line, [*outer, y], start, first)
                part = replace(line, offset=dims.add(inner, start, first))
                moved = dims.subtract(dims.add(dims.multiply(first, step), phase), left)
                with builder.loop(dims.subtract(end, first), vector=True) as x:
                    column = nest.add(nest.multiply(x, step), builder.size(moved))
                    value = lowering.value(images, [*outer, y, column], builder)
                    builder.store(part, [*outer, y, x], value)
                _fill(builder, line, [*outer, y], dims.add(start, end), dims.subtract(columns, end))
        below = dims.multiply(dims.add(top, height), row)
        _fill(builder, plane, outer, below, dims.multiply(bottom, row))
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, images)], "pad")
    return target


# --- filters, and the indices of the contractions --------------------------------------------------


def oriented(op: Convolution, filters: View) -> View:
    """The filters as they meet the images: turned round where the op flips them."""
    if not op.filter_flip:
        return filters
    offset, strides = filters.offset, list(filters.strides)
    for axis in (2, 3):
        last = dims.subtract(filters.shape[axis], 1)
        offset = dims.add(offset, dims.multiply(last, strides[axis]))
        strides[axis] = dims.multiply(-1, strides[axis])
    return replace(filters, offset=offset, strides=tuple(strides))


#: How far the batch, the channel, y, x, ky and kx step through images.
Steps = tuple[Dimension, Dimension, Dimension, Dimension, Dimension, Dimension]


def _phases(op: Convolution, filters: View, images: View) -> Iterator[tuple[View, View, Steps]]:
    """For each phase of columns the filters that read it, the spread images there, and their steps."""
    step, dilation = op.subsample[1], op.filter_dilation[1]
    every = step // math.gcd(step, dilation)
    width = filters.shape[3]
    batch, channel, row, phase_step, column = images.strides
    for first in range(min(every, max(1, width)) if isinstance(width, int) else every):
        shift, phase = divmod(first * dilation, step)
        part = replace(
            filters,
            offset=dims.add(filters.offset, dims.multiply(first, filters.strides[3])),
            strides=(*filters.strides[:3], dims.multiply(every, filters.strides[3])),
            shape=(*filters.shape[:3], dims.ceil_divide(dims.subtract(width, first), every)),
        )
        start = dims.add(dims.multiply(phase, phase_step), dims.multiply(shift, column))
        steps: Steps = (
            batch,
            channel,
            dims.multiply(op.subsample[0], row),
            column,
            dims.multiply(op.filter_dilation[0], row),
            dims.multiply(every * dilation // step, column),
        )
        yield part, replace(images, offset=dims.add(images.offset, start)), steps


def contraction_axes(
    lowering: Lowering,
    op: Convolution,
    order: Sequence[str],
    filters: View,
    steps: Steps,
    outputs: View,
    without: Sequence[str] = (),
) -> list[Axis]:
    """The indices of a convolution, each of which steps through two of the three tensors.

    `order` says which of "filters", "images" and "outputs" are A, B and C.
    """
    f, o = filters.strides, outputs.strides
    batch, channel, y, x, ky, kx = steps
    count, channels = dims.floor_divide(filters.shape[0], op.groups), filters.shape[1]
    group = dims.multiply(count, f[0]), dims.multiply(channels, channel), dims.multiply(count, o[1])
    # Name, extent, steps through filters, images and outputs.
    indices: list[tuple[str, Dimension, Dimension, Dimension, Dimension]] = [
        ("group", op.groups, *group),
        ("batch", outputs.shape[0], 0, batch, o[0]),
        ("out", count, f[0], 0, o[1]),
        ("channel", channels, f[1], channel, 0),
        ("y", outputs.shape[2], 0, y, o[2]),
        ("x", outputs.shape[3], 0, x, o[3]),
        ("ky", filters.shape[2], f[2], ky, 0),
        ("kx", filters.shape[3], f[3], kx, 0),
    ]
    found = []
    for name, extent, *each in indices:
        if name not in without and (name != "group" or op.groups > 1):
            by_tensor = dict(zip(("filters", "images", "outputs"), each, strict=True))
            found.append(axis_of(lowering, name, extent, *(by_tensor[tensor] for tensor in order)))
    return found


# --- the convolution and its gradient by the filters -----------------------------------------------


@kernel_rule(Conv2d)
def _conv2d(lowering: Lowering, node: Apply) -> None:
    """Filters are broadcast, images read along their columns; each phase of taps adds to the output."""
    op = node.op
    assert isinstance(op, Conv2d)
    filters = oriented(op, lowering.view(node.inputs[1]))
    sides = padding(op, filters.shape[2:])
    images = _spread(lowering, node, node.inputs[0], sides, op.subsample[1])
    out = lowering.allocate(node.outputs[0])
    order = ("filters", "images", "outputs")
    for number, (a, b, steps) in enumerate(_phases(op, filters, images)):
        axes = contraction_axes(lowering, op, order, a, steps, out)
        add_contraction(lowering, node, "conv2d", axes, a, b, out, accumulate=number > 0)


@kernel_rule(Conv2dGradientFilters)
def _filters_gradient(lowering: Lowering, node: Apply) -> None:
    """Output gradients and images are read along their columns; each phase of taps is written apart."""
    op = node.op
    assert isinstance(op, Conv2dGradientFilters)
    gradient = lowering.view(node.inputs[1])
    out = lowering.allocate(node.outputs[0])
    filters = oriented(op, out)
    sides = padding(op, filters.shape[2:])
    images = _spread(lowering, node, node.inputs[0], sides, op.subsample[1])
    stretch = row_stretch(op, filters, gradient) if is_rare(lowering, node.inputs[1]) else None
    if stretch is not None:
        strides = (*images.strides[:3], images.strides[4])
        planes = replace(images, strides=strides, shape=(*images.shape[:3], images.shape[4]))
        sparse_filters_gradient(lowering, node, gradient, planes, filters, stretch)
        return
    order = ("outputs", "images", "filters")
    part, starts = _blocks(gradient, images)
    if len(starts) > 1:
        _clear(lowering, node, out)
    for c, b, steps in _phases(op, filters, images):
        axes = contraction_axes(lowering, op, order, c, steps, part)
        if len(starts) == 1:
            add_contraction(lowering, node, "conv2d_by_filters", axes, gradient, b, c)
        else:
            places = [(_moved(part, n), _moved(b, n), c) for n in starts]
            _add_at(lowering, node, "conv2d_by_filters", axes, places)


def _blocks(gradient: View, images: View, products: int = 1) -> tuple[View, list[int]]:
    """The output gradient of so many images as lie near together, and where each such block begins.

    All images are one block where the sizes are not known, or where `products` kernels for each block
    would be too many calls.
    """
    batch, dtype = gradient.shape[0], images.buffer.dtype
    sizes = dims.multiply(*gradient.shape[1:]), dims.multiply(*images.shape[1:])
    if not isinstance(batch, int) or dtype not in FLOATS or not all(isinstance(n, int) for n in sizes):
        return gradient, [0]
    each = ITEM_BYTES[dtype] * sum(sizes)  # type: ignore[arg-type]
    near = [n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * each <= NEAR_BYTES)]
    count = max((n for n in near if batch // n * products <= MOST_PRODUCTS), default=batch)
    starts = list(range(0, batch, max(1, count))) or [0]
    return replace(gradient, shape=(count, *gradient.shape[1:])), starts


# --- the gradient by the images --------------------------------------------------------------------


@kernel_rule(Conv2dGradientImages)
def _images_gradient(lowering: Lowering, node: Apply) -> None:
    """Each filter tap's product with the output gradient is added where the tap met the images.

    Where there are fewer output pixels than taps, each pixel's product with the filters is. Nothing is
    multiplied by a zero outside the output: an infinite weight reaches only the pixels that it met.
    """
    op = node.op
    assert isinstance(op, Conv2dGradientImages)
    filters = oriented(op, lowering.view(node.inputs[0]))
    gradient = lowering.view(node.inputs[1])
    taps, pixels = (_known_count(each.shape) for each in (filters, gradient))
    by_loops = gradient.buffer.dtype not in FLOATS or min(taps, pixels) > MOST_PRODUCTS
    sides = padding(op, filters.shape[2:])
    stretch = row_stretch(op, filters, gradient) if is_rare(lowering, node.inputs[1]) else None
    if stretch is not None:
        sparse_images_gradient(lowering, node, filters, gradient, sides, stretch)
        return
    step = op.subsample[1] if not by_loops and 1 < taps <= pixels else 1
    total = _Total(lowering, node, sides, step)
    if by_loops:
        _add_by_loops(lowering, node, filters, gradient, total)
    elif taps <= pixels:
        _add_taps(lowering, node, _packed(lowering, node, filters), gradient, total)
    else:
        _add_pixels(lowering, node, filters, gradient, total)
    total.finish()


def _known_count(shape: Sequence[Dimension]) -> float:
    """The entries of the last two axes, infinity where they are only known at run time."""
    height, width = shape[2:]
    return height * width if isinstance(height, int) and isinstance(width, int) else math.inf


class _Total:
    """The padded images' gradient, which begins with zeros; its columns lie by phase as in `_spread`."""

    def __init__(self, lowering: Lowering, node: Apply, sides: Padding, step: int) -> None:
        self.lowering = lowering
        self.node = node
        self.sides = sides
        self.step = step
        (top, bottom), (left, right) = sides
        batch, channels, height, width = self.shape = lowering.shape(node.outputs[0])
        self.in_place = step == 1 and sides == ((0, 0), (0, 0))
        if self.in_place:
            self.view = lowering.allocate(node.outputs[0])
            strides = (*self.view.strides[:3], 0, 1)
            self.view = replace(self.view, strides=strides)
        else:
            columns = dims.ceil_divide(dims.add(left, width, right), step)
            rows = dims.add(top, height, bottom)
            padded = (batch, channels, rows, step, columns)
            self.view = lowering.scratch("padded_gradient", node.outputs[0].dtype, padded)
        _clear(lowering, node, self.view)

    def place(self, row: Dimension, column: int) -> View:
        """The view from a row and a column of the padded images on."""
        _, _, row_step, phase_step, _ = self.view.strides
        shift, phase = divmod(column, self.step)
        there = dims.add(dims.multiply(row, row_step), dims.multiply(phase, phase_step), shift)
        return replace(self.view, offset=dims.add(self.view.offset, there))

    def steps(self) -> Steps:
        """How far the indices of the convolution step; x from phase to phase, kx only with one phase."""
        op = self.node.op
        assert isinstance(op, Convolution)
        batch, channel, row, _, _ = self.view.strides
        x = 1 if self.step == op.subsample[1] else op.subsample[1]
        return (
            batch,
            channel,
            dims.multiply(op.subsample[0], row),
            x,
            dims.multiply(op.filter_dilation[0], row),
            op.filter_dilation[1],
        )

    def finish(self) -> None:
        """The node's result: the inner part of the total, put in order where it lies by phase."""
        if self.in_place:
            return
        lowering, out = self.lowering, self.node.outputs[0]
        (top, _), (left, _) = self.sides
        if self.step == 1:
            strides = self.view.strides
            first = dims.add(dims.multiply(top, strides[2]), left)
            lowering.views[out] = View(self.view.buffer, first, (*strides[:3], 1), self.shape)
            return
        target = lowering.allocate(out)
        builder = lowering.builder()
        above = replace(self.view, offset=dims.multiply(top, self.view.strides[2]))
        width = self.shape[3]
        with builder.loops(self.shape[:3], vector=False) as outer:
            for first in range(self.step):
                # Columns first, first + step, … of the result lie side by side in one phase.
                count = dims.ceil_divide(dims.subtract(width, first), self.step)
                moved = dims.add(left, first)
                phase, shift = (dims.apply(f, moved, self.step) for f in ("mod", "floordiv"))
                with builder.loop(count) as x:
                    source = [*outer, builder.size(phase), nest.add(x, builder.size(shift))]
                    column = nest.add(nest.multiply(x, self.step), first)
                    builder.store(target, [*outer, column], builder.load(above, source))
        lowering.add_kernel(builder, [self.node], "by_phase")


def _clear(lowering: Lowering, node: Apply, view: View) -> None:
    """Zeros in all of a new buffer."""
    builder = lowering.builder()
    _fill(builder, replace(view, offset=0, strides=(1,)), (), 0, dims.multiply(*view.shape))
    lowering.add_kernel(builder, [node], "zeros")


def _packed(lowering: Lowering, node: Apply, filters: View) -> View:
    """The filters tap by tap, so that each tap's weights lie side by side."""
    if _known_count(filters.shape) == 1:
        return filters
    out, channels, height, width = filters.shape
    packed = lowering.scratch("taps", filters.buffer.dtype, (height, width, out, channels))
    ky, kx, o, c = packed.strides
    builder = lowering.builder()
    with builder.loops(packed.shape) as (i, j, k, m):
        builder.store(packed, [i, j, k, m], builder.load(filters, [k, m, i, j]))
    lowering.add_kernel(builder, [node], "taps")
    return View(packed.buffer, 0, (o, c, ky, kx), filters.shape)


_BY_IMAGES = ("filters", "outputs", "images")


def _add_taps(lowering: Lowering, node: Apply, filters: View, gradient: View, total: _Total) -> None:
    """One kernel for all taps, each time with another tap's weights and from another pixel on."""
    op = node.op
    assert isinstance(op, Convolution)
    taps = list(np.ndindex(*filters.shape[2:]))  # type: ignore[arg-type]
    part, starts = _blocks(gradient, total.view, len(taps))
    axes = contraction_axes(lowering, op, _BY_IMAGES, filters, total.steps(), part, ("ky", "kx"))
    places = []
    for n, (i, j) in itertools.product(starts, taps):
        there = total.place(i * op.filter_dilation[0], j * op.filter_dilation[1])
        places.append((_moved(filters, 0, 0, i, j), _moved(part, n), _moved(there, n)))
    _add_at(lowering, node, "conv2d_by_images", axes, places)


def _add_pixels(lowering: Lowering, node: Apply, filters: View, gradient: View, total: _Total) -> None:
    """One kernel for all output pixels, each time with another pixel's gradient."""
    op = node.op
    assert isinstance(op, Convolution)
    axes = contraction_axes(lowering, op, _BY_IMAGES, filters, total.steps(), gradient, ("y", "x"))
    places = []
    for i, j in np.ndindex(*gradient.shape[2:]):  # type: ignore[arg-type]
        there = total.place(i * op.subsample[0], j * op.subsample[1])
        places.append((filters, _moved(gradient, 0, 0, i, j), there))
    _add_at(lowering, node, "conv2d_by_images", axes, places)


def _moved(view: View, *indices: int) -> View:
    """The view from an entry on."""
    moves = [dims.multiply(i, step) for i, step in zip(indices, view.strides, strict=False)]
    return replace(view, offset=dims.add(view.offset, *moves))


def _add_at(
    lowering: Lowering,
    node: Apply,
    stem: str,
    axes: Sequence[Axis],
    places: Sequence[tuple[View, View, View]],
) -> None:
    """Run one kernel `C += A * B` at several places, each a view of A, B and C."""
    kernel: ContractionCall | None = None
    for a, b, c in places:
        if kernel is None:
            add_contraction(lowering, node, stem, axes, a, b, c, accumulate=True)
            step = lowering.program.steps[-1]
            assert isinstance(step, ContractionCall)
            kernel = step
            continue
        offsets = (a.offset, b.offset, c.offset)
        for offset in offsets:
            if not isinstance(offset, int):
                lowering.slot_name(offset)
        lowering.program.steps.append(replace(kernel, offsets=offsets))


def _add_by_loops(lowering: Lowering, node: Apply, filters: View, gradient: View, total: _Total) -> None:
    """The same as plain loops, for integers and for numbers of taps that are not known or too many."""
    op = node.op
    assert isinstance(op, Convolution)
    builder = lowering.builder()
    builder.buffer(total.view.buffer, written=True)
    outs, channels, height, width = filters.shape
    count = dims.floor_divide(outs, op.groups)
    walk = replace(total.view, strides=total.steps())
    extents = (gradient.shape[0], op.groups, count, channels, height, width, *gradient.shape[2:])
    with builder.loops(extents) as (n, g, k, m, i, j, y, x):
        out = builder.let(nest.add(nest.multiply(g, builder.size(count)), k))
        channel = builder.let(nest.add(nest.multiply(g, builder.size(channels)), m))
        product = nest.call(
            "mul", builder.load(filters, [out, m, i, j]), builder.load(gradient, [n, out, y, x])
        )
        place = [n, channel, y, x, i, j]
        builder.store(walk, place, nest.call("add", builder.load(walk, place), product))
    lowering.add_kernel(builder, [node], "conv2d_by_images")
