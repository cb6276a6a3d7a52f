"""Gradients of convolutions by output gradients that are mostly zeros: takes those behind max pooling.
Hands on nests that list the entries that count, and add a row of weights or pixels for each of them.

Behind pooling by 2 x 2 at most one entry in four is not zero (but for ties), and that alone is worth nothing:
products of all entries run three times as fast. Where a rectifier follows the pooling one in eight or so is
left. An entry is on the list as well where it is zero but meets an infinity or NaN: the sums are those that
all entries would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.lower import Lowering
from symnet.compile.nest import FLOATS, INDEX, Expression, Literal
from symnet.compile.program import View
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.conv import Convolution, Padding
from symnet.ops.elementwise import Elementwise
from symnet.ops.pool import MaxPoolGradient

#: So many numbers lie side by side in a row of a patch, at least, for an entry's share to be worth it.
SHORTEST_ROW = 48
#: A stretch of a row is at most so long: its sums stay in registers, eight vectors of 16.
LONGEST_STRETCH = 128
#: One entry in so many is not zero, or fewer.
RARE = 4
#: So many elementwise ops may lie between pooling and the convolution.
DEPTH = 6
#: Ops that the gradients of rectifiers are made of.
DECISIONS = ("eq", "ne", "lt", "le", "gt", "ge", "sgn", "switch")


# --- where it pays ---------------------------------------------------------------------------------


def is_rare(lowering: Lowering, variable: Variable, depth: int = DEPTH) -> bool:
    """Whether most entries are sure to be zeros, ties among maxima aside."""
    node = variable.owner
    if node is None or depth == 0:
        return False
    if isinstance(node.op, MaxPoolGradient):
        entries, windows = (lowering.capacity(lowering.shape(each)) for each in node.inputs[:2])
        return windows * RARE <= entries and _is_rectified(node.inputs[2], depth)
    if not isinstance(node.op, Elementwise):
        return False
    operands = [each for each in node.inputs[node.op.name == "switch" :] if not _is_zero(each)]
    # What is broadcast would not be rare any more.
    alike = [each for each in operands if lowering.shape(each) == lowering.shape(variable)]
    rare = (is_rare(lowering, each, depth - 1) for each in alike)
    if node.op.name == "mul":
        return any(rare)
    return node.op.name in ("add", "sub", "neg", "switch") and len(alike) == len(operands) and all(rare)


def _is_rectified(variable: Variable, depth: int) -> bool:
    """Whether elementwise ops make the variable, and one of them decides what is let through."""
    node = variable.owner
    if node is None or depth == 0 or not isinstance(node.op, Elementwise):
        return False
    return node.op.name in DECISIONS or any(_is_rectified(each, depth - 1) for each in node.inputs)


def _is_zero(variable: Variable) -> bool:
    return isinstance(variable, Constant) and variable.data.size == 1 and not variable.data.any()


def row_stretch(op: Convolution, filters: View, gradient: View) -> int | None:
    """The length of the stretches of a patch's rows; None where all entries are better taken alike."""
    lengths = (*filters.shape, *gradient.shape)
    if not all(isinstance(each, int) for each in lengths) or 0 in lengths:
        return None
    plain = op.groups == 1 and op.subsample == (1, 1) and op.filter_dilation == (1, 1)
    if not plain or gradient.buffer.dtype not in FLOATS:
        return None
    row = _literal(filters.shape[1]) * _literal(filters.shape[3])
    return max((n for n in range(SHORTEST_ROW, LONGEST_STRETCH + 1) if row % n == 0), default=None)


def _literal(length: object) -> int:
    assert isinstance(length, int)
    return length


# --- the entries that count ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Lists:
    """For each place its entries that count: their values, and where what they are taken times begins."""

    values: View
    starts: View
    counts: View


def _lists(lowering: Lowering, dtype: str, places: Sequence[int], length: int) -> _Lists:
    return _Lists(
        lowering.scratch("entries", dtype, (*places, length)),
        lowering.scratch("starts", "int32", (*places, length)),
        lowering.scratch("counts", "int32", places),
    )


def _append(
    builder: NestBuilder,
    lists: _Lists,
    place: Sequence[Expression],
    count: nest.Name,
    value: Expression,
    start: Expression,
    poison: Expression,
) -> None:
    """Store an entry behind those that count, and count it if it does: it is not 0, or `poison` is NaN."""
    builder.store(lists.values, [*place, count], value)
    builder.store(lists.starts, [*place, count], nest.cast(start, "int32"))
    counts = nest.call("ne", nest.call("add", value, poison), Literal(value.dtype, 0.0))
    builder.assign(count, nest.add(count, nest.cast(counts, INDEX)))


def _add_shares(
    builder: NestBuilder,
    lists: _Lists,
    place: Sequence[Expression],
    source: View,
    first: Expression,
    target: View,
    at: Expression,
    length: int,
) -> None:
    """To so many numbers of `target` from `at` on add each entry times the numbers of `source`.

    LLVM keeps the sums in registers over the loop, as they stay where they are and nothing else is there.
    """
    count = nest.cast(builder.load(lists.counts, place), INDEX)
    with builder.loop(count, "entry") as entry:
        value = builder.load(lists.values, [*place, entry])
        start = nest.cast(builder.load(lists.starts, [*place, entry]), INDEX)
        start = builder.let(nest.add(first, start), "start")
        done = 0
        for part in (length // 16 * 16, length % 16):
            if part:
                with builder.loop(part, "j", vector=True) as j:
                    where = nest.add(j, done)
                    there = [nest.add(at, where)]
                    share = nest.call("mul", value, builder.load(source, [nest.add(start, where)]))
                    builder.store(target, there, nest.call("add", builder.load(target, there), share))
            done += part


def _flat(view: View) -> View:
    """A buffer as one row of numbers."""
    return View(view.buffer, 0, (1,), ())


def _channels_last(lowering: Lowering, node: Apply, view: View, stem: str) -> tuple[View, View]:
    """A copy with the second axis last, and for each index of the first 0, or NaN if not all is finite."""
    first, channels, height, width = view.shape
    copy = lowering.scratch(stem, view.buffer.dtype, (first, height, width, channels))
    poison = lowering.scratch("poison", view.buffer.dtype, (first,))
    flat = View(copy.buffer, 0, (copy.strides[0], 1), ())
    zero = Literal(view.buffer.dtype, 0.0)
    builder = lowering.builder()
    builder.buffer(copy.buffer, written=True)
    with builder.loop(first, parallel=True) as n:
        with builder.loops((height, width, channels), parallel=False) as (y, x, c):
            builder.store(copy, [n, y, x, c], builder.load(view, [n, c, y, x]))
        total = builder.declare(zero)
        with builder.loop(copy.strides[0]) as j:
            # Infinity and NaN times 0 are NaN, and so is every sum with one of them.
            builder.accumulate(total, "add", nest.call("mul", builder.load(flat, [n, j]), zero))
        builder.store(poison, [n], total)
    lowering.add_kernel(builder, [node], stem)
    return copy, poison


# --- the two gradients -----------------------------------------------------------------------------


def sparse_filters_gradient(
    lowering: Lowering, node: Apply, gradient: View, images: View, filters: View, stretch: int
) -> None:
    """For each filter a list of entries; each adds the pixels of its patch, which are a few rows.

    `images` are padded, (N, C, rows, columns); `filters` is where the gradient goes.
    """
    pixels, poison = _channels_last(lowering, node, images, "channels_last")
    batch, outs, height, width = (_literal(each) for each in gradient.shape)
    _, channels, taps, across = (_literal(each) for each in filters.shape)
    lists = _lists(lowering, gradient.buffer.dtype, (batch, outs), height * width)
    builder = lowering.builder()
    with builder.loop(batch, parallel=True) as n, builder.loop(outs) as k:
        count = builder.declare(Literal(INDEX, 0), "count")
        met = builder.load(poison, [n])
        with builder.loop(height) as y, builder.loop(width) as x:
            start = builder.place(replace(pixels, offset=0), [Literal(INDEX, 0), y, x, Literal(INDEX, 0)])
            _append(builder, lists, [n, k], count, builder.load(gradient, [n, k, y, x]), start, met)
        builder.store(lists.counts, [n, k], nest.cast(count, "int32"))
    lowering.add_kernel(builder, [node], "entries")

    row = channels * across
    sums = lowering.scratch("sums", gradient.buffer.dtype, (outs, taps, across, channels))
    flat = _flat(sums)
    builder = lowering.builder()
    builder.buffer(sums.buffer, written=True)
    with builder.loop(outs, parallel=True) as k:
        with builder.loop(taps) as ky, builder.loop(row // stretch) as part:
            moved = nest.multiply(part, stretch)
            at = nest.add(nest.multiply(nest.add(nest.multiply(k, taps), ky), row), moved)
            at = builder.let(at, "at")
            with builder.loop(stretch, vector=True) as j:
                builder.store(flat, [nest.add(at, j)], Literal(flat.buffer.dtype, 0.0))
            with builder.loop(batch) as n:
                first = nest.add(nest.multiply(n, builder.size(pixels.strides[0])), moved)
                first = nest.add(first, nest.multiply(ky, builder.size(pixels.strides[1])))
                _add_shares(builder, lists, [n, k], _flat(pixels), builder.let(first), flat, at, stretch)
        with builder.loops((channels, taps, across), parallel=False, vector=False) as (c, i, j):
            builder.store(filters, [k, c, i, j], builder.load(sums, [k, i, j, c]))
    lowering.add_kernel(builder, [node], "conv2d_by_filters")


def sparse_images_gradient(
    lowering: Lowering, node: Apply, filters: View, gradient: View, sides: Padding, stretch: int
) -> None:
    """For each output pixel a list of entries; each adds its filter to the pixels that it met."""
    weights, poison = _channels_last(lowering, node, filters, "taps")
    batch, outs, height, width = (_literal(each) for each in gradient.shape)
    _, channels, taps, across = (_literal(each) for each in filters.shape)
    lists = _lists(lowering, gradient.buffer.dtype, (batch, height, width), outs)
    builder = lowering.builder()
    with builder.loop(batch, parallel=True) as n, builder.loops((height, width), False, False) as (y, x):
        count = builder.declare(Literal(INDEX, 0), "count")
        with builder.loop(outs) as k:
            start = nest.multiply(k, builder.size(weights.strides[0]))
            value, met = builder.load(gradient, [n, k, y, x]), builder.load(poison, [k])
            _append(builder, lists, [n, y, x], count, value, start, met)
        builder.store(lists.counts, [n, y, x], nest.cast(count, "int32"))
    lowering.add_kernel(builder, [node], "entries")

    out = lowering.allocate(node.outputs[0])
    rows, columns, row = height + taps - 1, width + across - 1, channels * across
    total = lowering.scratch("sums", gradient.buffer.dtype, (batch, rows, columns, channels))
    flat, image = _flat(total), rows * columns * channels
    builder = lowering.builder()
    builder.buffer(total.buffer, written=True)
    inside = [builder.size(before) for before, _ in sides]
    with builder.loop(batch, parallel=True) as n:
        begin = builder.let(nest.multiply(n, image), "begin")
        with builder.loop(image, vector=True) as j:
            builder.store(flat, [nest.add(begin, j)], Literal(flat.buffer.dtype, 0.0))
        with builder.loops((height, width, taps, row // stretch), False, False) as (y, x, ky, part):
            moved = nest.multiply(part, stretch)
            at = builder.let(builder.place(total, [n, nest.add(y, ky), x, moved]), "at")
            first = builder.let(nest.add(nest.multiply(ky, row), moved))
            _add_shares(builder, lists, [n, y, x], _flat(weights), first, flat, at, stretch)
        with builder.loops(out.shape[1:], parallel=False, vector=False) as (c, i, j):
            place = [n, nest.add(i, inside[0]), nest.add(j, inside[1]), c]
            builder.store(out, [n, c, i, j], builder.load(total, place))
    lowering.add_kernel(builder, [node], "conv2d_by_images")
