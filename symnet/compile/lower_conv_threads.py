"""Convolutions for many threads: takes images, filters and output gradients, hands on one contraction each.

Steps between pixels and taps are strides of the contraction. Zeros around an operand are stored with it where
a kernel here computes it, and copied where not; the gradient by the images is summed over every tap of the
output gradient with zeros around it.
"""

from __future__ import annotations

from dataclasses import replace

from symnet.compile.contraction import Dimension as Axis
from symnet.compile.fusion import demands
from symnet.compile.lower import Border, Lowering, kernel_rule
from symnet.compile.lower_conv import Steps, contraction_axes, oriented
from symnet.compile.lower_elementwise import write_bordered
from symnet.compile.lower_linalg import add_contraction, axis_of
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Variable
from symnet.ops.conv import (
    Conv2d,
    Conv2dGradientFilters,
    Conv2dGradientImages,
    Convolution,
    padding,
)

_NOTHING: Border = ((0, 0), (0, 0))


@demands(Conv2d, many_threads=True)
def _operands(node: Apply) -> list[str]:
    return ["buffer", "buffer"]


@demands(Conv2dGradientFilters, many_threads=True)
def _operands_and_lengths(node: Apply) -> list[str]:
    return ["buffer", "buffer", "size", "size"]


# --- zeros around what is read ---------------------------------------------------------------------


def plan_borders(lowering: Lowering) -> None:
    """Note the zeros that convolutions read around what kernels of the program store."""
    for node in lowering.order:
        if not isinstance(node.op, Convolution) or not lowering.fusion.is_live(node):
            continue
        if isinstance(node.op, Conv2dGradientImages):
            variable, border = node.inputs[1], _Backwards(lowering, node).border
        else:
            variable, border = node.inputs[0], _sides(lowering, node)
        if border != _NOTHING and variable.owner is not None:
            known = lowering.borders.get(variable, _NOTHING)
            (a, b), (c, d) = (
                tuple(dims.maximum(*pair) for pair in zip(*axis, strict=True))
                for axis in zip(known, border, strict=True)
            )
            lowering.borders[variable] = (a, b), (c, d)


def _sides(lowering: Lowering, node: Apply) -> Border:
    """The zeros around a convolution's images."""
    op = node.op
    assert isinstance(op, Convolution)
    filters = node.outputs[0] if isinstance(op, Conv2dGradientFilters) else node.inputs[1]
    return padding(op, lowering.shape(filters)[2:])


def _with_border(lowering: Lowering, node: Apply, variable: Variable, border: Border) -> View:
    """A variable's entries with zeros around them: where they lie with such, or else a copy."""
    view = lowering.view(variable)
    if border == _NOTHING:
        return view
    (top, bottom), (left, right) = border
    *outer, height, width = lowering.shape(variable)
    shape = (*outer, dims.add(top, height, bottom), dims.add(left, width, right))
    if variable not in lowering.bordered:
        copy = lowering.copies.get((variable, border))
        if copy is None:
            copy = _copy(lowering, node, variable, border)
            lowering.copies[variable, border] = copy
        view = copy
    row, column = view.strides[-2:]
    back = dims.add(dims.multiply(top, row), dims.multiply(left, column))
    return replace(view, offset=dims.subtract(view.offset, back), shape=shape)


def _copy(lowering: Lowering, node: Apply, variable: Variable, border: Border) -> View:
    """A copy of a variable's entries in the midst of zeros."""
    builder = lowering.builder()
    source = lowering.view(variable)
    (top, bottom), (left, right) = border
    *outer, height, width = source.shape
    whole = lowering.scratch(
        "padded", variable.dtype, (*outer, dims.add(top, height, bottom), dims.add(left, width, right))
    )
    write_bordered(builder, whole, border, source.shape, lambda at: builder.load(source, at))
    lowering.add_kernel(builder, [node], "pad")
    row, column = whole.strides[-2:]
    first = dims.add(dims.multiply(top, row), dims.multiply(left, column))
    return replace(whole, offset=first, shape=source.shape)


# --- the convolution and its gradient by the filters -----------------------------------------------


def _steps(op: Convolution, images: View) -> Steps:
    batch, channel, row, column = images.strides
    (down, right), (low, wide) = op.subsample, op.filter_dilation
    return (
        batch,
        channel,
        dims.multiply(down, row),
        dims.multiply(right, column),
        dims.multiply(low, row),
        dims.multiply(wide, column),
    )


@kernel_rule(Conv2d, many_threads=True)
def _conv2d(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Conv2d)
    images = _with_border(lowering, node, node.inputs[0], _sides(lowering, node))
    filters = oriented(op, lowering.view(node.inputs[1]))
    out = lowering.allocate(node.outputs[0])
    order = ("filters", "images", "outputs")
    axes = contraction_axes(lowering, op, order, filters, _steps(op, images), out)
    add_contraction(lowering, node, "conv2d", axes, filters, images, out)


@kernel_rule(Conv2dGradientFilters, many_threads=True)
def _filters_gradient(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Conv2dGradientFilters)
    images = _with_border(lowering, node, node.inputs[0], _sides(lowering, node))
    gradient = lowering.view(node.inputs[1])
    filters = oriented(op, lowering.allocate(node.outputs[0]))
    order = ("outputs", "images", "filters")
    axes = contraction_axes(lowering, op, order, filters, _steps(op, images), gradient)
    add_contraction(lowering, node, "conv2d_by_filters", axes, gradient, images, filters)


# --- the gradient by the images --------------------------------------------------------------------


class _Phase:
    """Places of one axis, `step` apart, that meet the same taps: those of number `tap`, `tap + every` … .

    Place `first + j * step` meets tap `tap + m * every` in output `start + j - m * back`.
    """

    def __init__(
        self, step: int, dilation: int, rest: int, length: Dimension, before: Dimension, taps: Dimension
    ) -> None:
        self.step = step
        #: The first place: what is before it and itself leave that rest.
        self.first = dims.apply("mod", dims.subtract(rest, before), step)
        self.count = dims.maximum(dims.ceil_divide(dims.subtract(length, self.first), step), 0)
        meeting = [tap for tap in range(step) if tap * dilation % step == rest]
        self.tap = meeting[0] if meeting else 0
        self.every = next(n for n in range(1, step + 1) if n * dilation % step == 0)
        self.back = self.every * dilation // step
        left = dims.ceil_divide(dims.subtract(taps, self.tap), self.every)
        self.taps: Dimension = dims.maximum(left, 0) if meeting else 0
        met = dims.subtract(dims.add(self.first, before), self.tap * dilation)
        self.start = dims.floor_divide(met, step)


class _Backwards:
    """How far the gradient by the images reaches over the output gradient."""

    def __init__(self, lowering: Lowering, node: Apply) -> None:
        op = node.op
        assert isinstance(op, Conv2dGradientImages)
        taps = lowering.shape(node.inputs[0])[2:]
        outputs = lowering.shape(node.inputs[1])[2:]
        self.phases: list[list[_Phase]] = []
        sides: list[tuple[Dimension, Dimension]] = []
        for axis, (before, _) in enumerate(padding(op, taps)):
            step, dilation = op.subsample[axis], op.filter_dilation[axis]
            length = lowering.shape(node.outputs[0])[2 + axis]
            args = (length, before, taps[axis])
            self.phases.append([_Phase(step, dilation, rest, *args) for rest in range(step)])
            reach = dims.subtract(dims.multiply(dims.subtract(taps[axis], 1), dilation), before)
            front = dims.maximum(dims.floor_divide(reach, step), 0)
            last = dims.floor_divide(dims.add(dims.subtract(length, 1), before), step)
            behind = dims.maximum(dims.add(dims.subtract(last, outputs[axis]), 1), 0)
            sides.append((front, behind))
        self.border: Border = (sides[0], sides[1])


@kernel_rule(Conv2dGradientImages, many_threads=True)
def _images_gradient(lowering: Lowering, node: Apply) -> None:
    """A contraction for each phase of places, over the taps that they meet.

    Places near the border meet zeros beside the output gradient: there an infinite weight gives NaN, where
    the convolution itself never read it.
    """
    op = node.op
    assert isinstance(op, Conv2dGradientImages)
    backwards = _Backwards(lowering, node)
    filters = oriented(op, lowering.view(node.inputs[0]))
    gradient = _with_border(lowering, node, node.inputs[1], backwards.border)
    out = lowering.allocate(node.outputs[0])
    for rows in backwards.phases[0]:
        for columns in backwards.phases[1]:
            phases = (rows, columns)
            if any(phase.count == 0 for phase in phases):
                continue
            # The last of a phase's taps first, so that the output gradient is walked forwards.
            a, b, c = filters, gradient, out
            shape: list[Dimension] = []
            for axis, phase in enumerate(phases, 2):
                front = backwards.border[axis - 2][0]
                last = dims.subtract(phase.taps, 1)
                tap = dims.add(phase.tap, dims.multiply(phase.every, last))
                a = _moved(a, axis, tap, dims.multiply(-phase.every, filters.strides[axis]))
                start = dims.subtract(dims.add(front, phase.start), dims.multiply(phase.back, last))
                b = _moved(b, axis, start, gradient.strides[axis])
                c = _moved(c, axis, phase.first, dims.multiply(phase.step, out.strides[axis]))
                shape.append(phase.taps)
            a = replace(a, shape=(*filters.shape[:2], *shape))
            c = replace(c, shape=(*out.shape[:2], rows.count, columns.count))
            axes = _axes_back(lowering, op, a, b, c, (rows.back, columns.back))
            add_contraction(lowering, node, "conv2d_by_images", axes, a, b, c)


def _axes_back(
    lowering: Lowering, op: Convolution, a: View, b: View, c: View, back: tuple[int, int]
) -> list[Axis]:
    """The indices of one phase: A are filters, B the output gradient, C the images' gradient."""
    outs, channels = dims.floor_divide(a.shape[0], op.groups), a.shape[1]
    group = (outs, a.strides[0]), (outs, b.strides[1]), (channels, c.strides[1])
    rows, columns = (dims.multiply(n, step) for n, step in zip(back, b.strides[2:], strict=True))
    indices: list[tuple[str, Dimension, Dimension, Dimension, Dimension]] = [
        ("batch", c.shape[0], 0, b.strides[0], c.strides[0]),
        ("out", outs, a.strides[0], b.strides[1], 0),
        ("channel", channels, a.strides[1], 0, c.strides[1]),
        ("y", c.shape[2], 0, b.strides[2], c.strides[2]),
        ("x", c.shape[3], 0, b.strides[3], c.strides[3]),
        ("ky", a.shape[2], a.strides[2], rows, 0),
        ("kx", a.shape[3], a.strides[3], columns, 0),
    ]
    if op.groups > 1:
        first, second, third = (dims.multiply(*each) for each in group)
        indices.insert(0, ("group", op.groups, first, second, third))
    return [axis_of(lowering, *each) for each in indices]


def _moved(view: View, axis: int, place: Dimension, stride: Dimension) -> View:
    """A view from a place of an axis on, with another stride along it."""
    strides = list(view.strides)
    offset = dims.add(view.offset, dims.multiply(place, strides[axis]))
    strides[axis] = stride
    return replace(view, offset=offset, strides=tuple(strides))
