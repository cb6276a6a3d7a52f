"""Pooling over the last two axes: takes tensors of any rank from 2, hands on the pooled ones.

The gradient of a maximum goes to every entry of the window that attains it, as in Theano; where windows
overlap, what they hand back adds up.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError, UnsupportedError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import COMPLEX_DTYPES
from symnet.graph.variable import Apply, Variable
from symnet.ops.basic import as_tensor_variable
from symnet.ops.conv import integer_pair
from symnet.ops.elementwise import cast
from symnet.ops.shape import as_length, length_of

Array = np.ndarray[Any, Any]

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")


class Pooling(Op):
    """What the pooling ops share: which entries are in which window.

    Along each of the last two axes window `o` covers the places from `o * stride - pad` up to, and
    without, `o * stride - pad + ws`, as far as they exist.

    Attributes
    ----------
    mode
        'max', 'sum', 'average_inc_pad' (padding counts as zeros) or 'average_exc_pad' (it does not
        count).
    ws, stride, pad
        The window's lengths, the steps between windows, and the padding on both sides; for each axis.
    ignore_border
        Whether windows that reach beyond the (padded) tensor are left out.
    """

    properties = ("mode", "ws", "stride", "pad", "ignore_border")

    def __init__(
        self,
        mode: str,
        ws: tuple[int, int],
        stride: tuple[int, int],
        pad: tuple[int, int],
        ignore_border: bool,
    ) -> None:
        self.mode = mode
        self.ws = ws
        self.stride = stride
        self.pad = pad
        self.ignore_border = ignore_border

    def sibling(self, kind: type[Pooling]) -> Pooling:
        """The op of another kind with the same properties."""
        return kind(*(getattr(self, name) for name in self.properties))

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Tensors of one rank, at least 2, and one dtype: the first one's."""
        tensors = [as_tensor_variable(each) for each in inputs]
        first = tensors[0]
        if first.ndim < 2:
            raise UnsupportedError(
                f"{self.name}: pooling needs two axes, the tensor has {first.ndim}", tensors
            )
        if first.dtype == "bool" or first.dtype in COMPLEX_DTYPES:
            raise GraphError(f"{self.name} of {first.dtype}; cast it first", tensors)
        if any(each.ndim != first.ndim for each in tensors):
            raise GraphError(f"{self.name}: operands have different numbers of axes", tensors)
        return [cast(each, first.dtype) for each in tensors]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The input's dtype; averages of integers are cut off towards zero."""
        return [inputs[0].dtype]

    def output_lengths(self, lengths: Sequence[Dimension]) -> tuple[Dimension, Dimension]:
        """(height, width) of the pooled tensor from those of the tensor."""
        found: list[Dimension] = []
        for length, window, stride, pad in zip(lengths, self.ws, self.stride, self.pad, strict=True):
            if self.ignore_border:
                room = dims.subtract(dims.add(length, 2 * pad), window)
            elif stride >= window:
                room = dims.subtract(length, 1)
            else:
                # Windows start until one of them has reached the end.
                room = dims.add(dims.maximum(dims.subtract(length, 1 + window), -stride), stride)
            found.append(dims.maximum(dims.add(dims.floor_divide(room, stride), 1), 0))
        return found[0], found[1]

    def check_pooled(
        self, shape: Shape, pooled: Shape, context: ShapeContext, asked: str = "the output gradient"
    ) -> None:
        """Refuse a tensor that is not of the pooled shape."""
        expected = (*shape[:-2], *self.output_lengths(shape[-2:]))
        for axis, (want, have) in enumerate(zip(expected, pooled, strict=True)):
            context.equal(want, have, f"{asked} is not of the pooled shape: axis {axis} differs")

    # --- the meaning, tap by tap: all windows' entries at one place of the window at a time ---------

    def padded(self, x: Array, fill: Any) -> Array:
        """The tensor within everything that a window may reach."""
        widths = [(0, 0)] * (x.ndim - 2)
        for axis, count in zip((-2, -1), self.output_lengths(x.shape[-2:]), strict=True):
            reach = (int(count) - 1) * self.stride[axis] + self.ws[axis]  # type: ignore[arg-type]
            after = reach - self.pad[axis] - x.shape[axis]
            widths.append((self.pad[axis], max(after, self.pad[axis], 0)))
        return np.pad(x, widths, constant_values=fill)

    def taps(self, lengths: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """For each place in the window, where all windows' entries are in the padded tensor."""
        counts = [int(each) for each in self.output_lengths(lengths)]  # type: ignore[arg-type]
        if 0 in counts:
            return
        for place in itertools.product(*map(range, self.ws)):
            yield (
                ...,
                *(
                    slice(first, first + stride * (count - 1) + 1, stride)
                    for first, stride, count in zip(place, self.stride, counts, strict=True)
                ),
            )

    def inner(self, x: Array, lengths: Sequence[int]) -> Array:
        """The tensor without its padding."""
        top, left = self.pad
        return np.ascontiguousarray(x[..., top : top + int(lengths[0]), left : left + int(lengths[1])])

    def divisors(self, lengths: Sequence[int]) -> Array:
        """How many entries each window averages over, (height, width)."""
        per_axis = []
        counts = self.output_lengths(lengths)
        for axis, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            edge = self.pad[axis] if self.mode == "average_inc_pad" else 0
            first = np.arange(int(count)) * self.stride[axis] - self.pad[axis]  # type: ignore[arg-type]
            last = np.minimum(first + self.ws[axis], length + edge)
            per_axis.append(last - np.maximum(first, -edge))
        return np.multiply.outer(*per_axis)


class Pool2d(Pooling):
    """The maximum, sum or average of each window."""

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The last two lengths become the numbers of windows."""
        (shape,) = shapes
        return [(*shape[:-2], *self.output_lengths(shape[-2:]))]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """The windows' entries joined place by place."""
        (x,) = inputs
        counts = [int(each) for each in self.output_lengths(x.shape[-2:])]  # type: ignore[arg-type]
        if self.mode == "max":
            low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            padded = self.padded(x, low)
            total = np.full((*x.shape[:-2], *counts), low, x.dtype)
            for where in self.taps(x.shape[-2:]):
                np.maximum(total, padded[where], out=total)
            return total
        padded = self.padded(x, 0)
        total = np.zeros((*x.shape[:-2], *counts), x.dtype)
        for where in self.taps(x.shape[-2:]):
            total += padded[where]
        if self.mode == "sum":
            return total
        with np.errstate(all="ignore"):
            return (total / self.divisors(x.shape[-2:])).astype(x.dtype)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """To the entries that attain the maximum, or in equal shares to all."""
        (x,) = node.inputs
        (g,) = output_gradients
        if self.mode == "max":
            return [self.sibling(MaxPoolGradient)(x, node.outputs[0], g)]
        return [self.sibling(AveragePoolGradient)(g, length_of(x, x.ndim - 2), length_of(x, x.ndim - 1))]


class MaxPoolGradient(Pooling):
    """From the tensor, its maxima and their gradient: the gradient at every entry that attains one."""

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The tensor's shape."""
        shape, maxima, output = shapes
        self.check_pooled(shape, maxima, context, "the tensor of maxima")
        self.check_pooled(shape, output, context)
        return [shape]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Each window's gradient added wherever the window has its maximum."""
        x, maxima, output = inputs
        padded = self.padded(x, 0)
        total = np.zeros_like(padded)
        for where in self.taps(x.shape[-2:]):
            total[where] += np.where(padded[where] == maxima, output, 0)
        return self.inner(total, x.shape[-2:])

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By the maxima's gradient only; which entries attain a maximum does not change."""
        x, maxima = node.inputs[:2]
        (g,) = output_gradients
        return [ZERO, ZERO, self.sibling(MaxPoolGradientGradient)(x, maxima, g)]


class MaxPoolGradientGradient(Pooling):
    """From the tensor, its maxima and a second tensor: the second's sum over the entries that attain
    each maximum.
    """

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The pooled shape."""
        shape, maxima, second = shapes
        self.check_pooled(shape, maxima, context, "the tensor of maxima")
        for axis, (want, have) in enumerate(zip(shape, second, strict=True)):
            context.equal(want, have, f"the two tensors' lengths of axis {axis} differ")
        return [maxima]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Entries of the second tensor added where the first has its window's maximum."""
        x, maxima, second = inputs
        padded, other = self.padded(x, 0), self.padded(second, 0)
        # A window's place in the padding holds a zero of both and adds nothing.
        total = np.zeros_like(maxima)
        for where in self.taps(x.shape[-2:]):
            total += np.where(padded[where] == maxima, other[where], 0)
        return total

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """By the second tensor."""
        x, maxima = node.inputs[:2]
        (g,) = output_gradients
        return [ZERO, ZERO, self.sibling(MaxPoolGradient)(x, maxima, g)]


class AveragePoolGradient(Pooling):
    """From the output's gradient and the tensor's last two lengths: each window's gradient at all its
    entries, divided as the mode divides.
    """

    value_inputs = (1, 2)

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """A tensor and two lengths."""
        lengths = [cast(as_length(each, self.name), "int64") for each in inputs[1:]]
        return [*super().convert(inputs[0]), *lengths]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The gradient's shape with the given last two lengths."""
        output = shapes[0]
        lengths = [UNKNOWN if v is None or isinstance(v, tuple) else v for v in values[1:]]
        shape = (*output[:-2], *lengths)
        self.check_pooled(shape, output, context)
        return [shape]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """Each window's share added at every place of the window."""
        output = inputs[0]
        lengths = [int(each) for each in inputs[1:]]
        with np.errstate(all="ignore"):
            shares = output
            if self.mode != "sum":
                shares = (output / self.divisors(lengths)).astype(output.dtype)
        total = self.padded(np.zeros((*output.shape[:-2], *lengths), output.dtype), 0)
        for where in self.taps(lengths):
            total[where] += shares
        return self.inner(total, lengths)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The pooling itself."""
        (g,) = output_gradients
        return [self.sibling(Pool2d)(g), DISCONNECTED, DISCONNECTED]


def _one_of(names: str, *values: Any) -> Any:
    """The one that was given of several arguments that mean the same."""
    given = [value for value in values if value is not None]
    if len(given) > 1:
        raise ArgumentError(f"{names} are two names of one argument; both were given")
    return given[0] if given else None


def pool_2d(
    input: Any,
    ws: Any = None,
    ignore_border: bool | None = None,
    stride: Any = None,
    pad: Any = None,
    mode: str = "max",
    ds: Any = None,
    st: Any = None,
    padding: Any = None,
) -> Variable:
    """Pool over the last two axes.

    Parameters
    ----------
    input
        A tensor of at least two axes.
    ws
        The window, (rows, columns); `ds` is its old name.
    ignore_border
        True leaves out windows that reach beyond the tensor; False, also the default as in Theano, cuts
        them off at its end.
    stride
        The steps between windows, by default the window's lengths; `st` is its old name.
    pad
        The padding on both sides, (rows, columns), less than the window, and only with `ignore_border`;
        `padding` is its old name. The maximum does not see it.
    mode
        'max', 'sum', 'average_inc_pad' (padding counts as zeros) or 'average_exc_pad' (padding does not
        count).

    Returns
    -------
    Variable
        Of the input's dtype. With `ignore_border` an axis of n has (n + 2 pad - ws) // stride + 1
        windows, and none where that is negative.

    Raises
    ------
    GraphError
        When an argument is not a pair of integers.
    ArgumentError
        For another mode, or a window or a step that is not positive.
    UnsupportedError
        For a tensor of fewer than two axes, or padding that is not less than the window or comes
        without `ignore_border`.

    >>> import symnet.tensor as T
    >>> pool_2d(T.TensorType("float32", (10, 20, 24, 24))(), (2, 2), ignore_border=True).type
    TensorType(float32, (10, 20, 12, 12))
    """
    window = _one_of("ws and ds", ws, ds)
    if window is None:
        raise ArgumentError("pool_2d needs ws, the window's (rows, columns)")
    if mode not in MODES:
        raise ArgumentError(f"mode={mode!r} is not one of {', '.join(map(repr, MODES))}")
    lengths = integer_pair(window, "ws", 1)
    steps = _one_of("stride and st", stride, st)
    steps = lengths if steps is None else integer_pair(steps, "stride", 1)
    margins = _one_of("pad and padding", pad, padding)
    margins = (0, 0) if margins is None else integer_pair(margins, "pad", 0)
    if margins != (0, 0) and not ignore_border:
        raise UnsupportedError(
            f"pad={margins} without ignore_border", hint="pad with ignore_border=True, or join zeros first"
        )
    if margins[0] >= lengths[0] or margins[1] >= lengths[1]:
        raise UnsupportedError(f"pad={margins} is not less than the window ws={lengths}")
    return Pool2d(mode, lengths, steps, margins, bool(ignore_border))(input)  # type: ignore[no-any-return]


def max_pool_2d(
    input: Any,
    ds: Any,
    ignore_border: bool = False,
    st: Any = None,
    padding: Any = (0, 0),
    mode: str = "max",
) -> Variable:
    """`theano.tensor.signal.downsample.max_pool_2d`: `pool_2d` under its old name and arguments."""
    return pool_2d(input, ds, ignore_border, st, padding, mode)
