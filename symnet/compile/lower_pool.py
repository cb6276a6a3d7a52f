"""Pooling: takes tensors whose last two axes are pooled, hands on nests over windows or over entries.

Windows that lie whole inside the tensor have their taps written out, so that rows of windows vectorise;
windows that its border cuts, and large ones, walk their taps in loops.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import demands
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_elementwise import kernel_nodes
from symnet.compile.lower_reduction import first_value
from symnet.compile.nest import INDEX, Expression, Literal, Select
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension, Shape
from symnet.graph.variable import Apply, Variable
from symnet.ops.pool import (
    AveragePoolGradient,
    MaxPoolGradient,
    MaxPoolGradientGradient,
    Pool2d,
    Pooling,
)

#: Windows of at most this many taps are written out.
MOST_TAPS = 16

#: Entries that overlapping windows hand back to are written out up to so many windows for them all.
MOST_SHARES = 144

#: A value at indices into the last two axes of a tensor.
At = Callable[[Expression, Expression], Expression]


def _overlap(op: Pooling) -> bool:
    """Whether an entry may be in several windows."""
    return any(step < window for step, window in zip(op.stride, op.ws, strict=True))


@demands(Pool2d)
def _pool_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, Pool2d)
    return ["buffer" if _overlap(node.op) else "value"]


# The tensor itself lies in a buffer wherever its entries are compared with the maxima found among
# them: computed a second time they could be rounded otherwise.


@demands(MaxPoolGradient)
def _max_gradient_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, MaxPoolGradient)
    return ["buffer", "buffer", "buffer" if _overlap(node.op) else "value"]


@demands(MaxPoolGradientGradient)
def _second_gradient_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, MaxPoolGradientGradient)
    return ["buffer", "buffer", "buffer" if _overlap(node.op) else "value"]


@demands(AveragePoolGradient)
def _average_gradient_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, AveragePoolGradient)
    return ["buffer" if _overlap(node.op) else "value", "size", "size"]


# --- which windows, which taps ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring windows of one axis: `count` from `first` on; `whole` ones have all their taps."""

    first: Dimension
    count: Dimension
    whole: bool


@dataclass(frozen=True)
class _Places:
    """Places of one axis, `count` times as many as there are phases: `first + i * step + phase`.

    For each phase the windows that have its places among their taps, from the last to the first: each
    as the window's number at i = 0, and whether all its taps are in the tensor, whatever i is.
    """

    first: int
    count: int
    step: int
    windows: list[list[tuple[int, bool]]]

    def at(self, i: Expression) -> Iterator[tuple[Expression, list[tuple[Expression, bool]]]]:
        """For each phase the place and its windows."""
        for phase, windows in enumerate(self.windows):
            place = nest.add(nest.multiply(i, self.step), self.first + phase)
            yield place, [(nest.add(i, number), whole) for number, whole in windows]


@dataclass(frozen=True)
class Axis:
    """One pooled axis: its length, and the windows along it."""

    length: Dimension
    windows: Dimension
    window: int
    stride: int
    pad: int

    def stretches(self) -> list[_Stretch]:
        """The windows cut at the front, the whole ones, those cut at the end; none that is empty."""
        front = dims.minimum(dims.ceil_divide(self.pad, self.stride), self.windows)
        room = dims.subtract(dims.add(self.length, self.pad), self.window)
        end = dims.minimum(dims.add(dims.floor_divide(room, self.stride), 1), self.windows)
        end = dims.maximum(end, front)
        found = [
            _Stretch(0, front, False),
            _Stretch(front, dims.subtract(end, front), True),
            _Stretch(end, dims.subtract(self.windows, end), False),
        ]
        return [each for each in found if each.count != 0]

    def covered(self) -> Dimension:
        """How many places from the front on are in windows that lie side by side."""
        end = dims.subtract(dims.multiply(self.windows, self.stride), self.pad)
        return dims.maximum(dims.minimum(end, self.length), 0)

    def start(self, window: Expression) -> Expression:
        """Where a window's first tap lies; negative in the padding."""
        return nest.subtract(nest.multiply(window, self.stride), self.pad)

    def taps(self, window: Expression, builder: NestBuilder) -> tuple[Expression, Expression]:
        """The place of a cut window's first tap inside the tensor, and the number of taps there."""
        start = self.start(window)
        low = nest.call("maximum", start, Literal(INDEX, 0))
        high = nest.call("minimum", nest.add(start, self.window), builder.size(self.length))
        low = builder.let(low, "low")
        return low, builder.let(nest.subtract(high, low), "taps")

    def places(self) -> list[_Places] | None:
        """Every place, in stretches whose windows lie alike; None where lengths are not known."""
        if not isinstance(self.length, int) or not isinstance(self.windows, int):
            return None
        reach = range(self.stride)
        # Window `number - j` has the places of that number among its taps, for j below these counts.
        often = [max(0, -(-(self.window - phase) // self.stride)) for phase in reach]
        begin = max(max(often) - 1, -(-self.pad // self.stride))
        end = max(begin, min(self.windows, (self.length + self.pad) // self.stride))
        first, last = (min(number * self.stride - self.pad, self.length) for number in (begin, end))
        found = [self._one_place(place) for place in range(first if end > begin else self.length)]
        if end > begin:
            windows = [[(begin - j, self._whole(begin - j, end - j)) for j in range(n)] for n in often]
            found.append(_Places(first, end - begin, self.stride, windows))
            found += [self._one_place(place) for place in range(last, self.length)]
        return found

    def _one_place(self, place: int) -> _Places:
        moved = place + self.pad
        assert isinstance(self.windows, int)
        last = min(moved // self.stride, self.windows - 1)
        first = max(0, -(-(moved - self.window + 1) // self.stride))
        return _Places(place, 1, 0, [[(n, self._whole(n, n + 1)) for n in range(last, first - 1, -1)]])

    def _whole(self, first: int, end: int) -> bool:
        """Whether the windows from one up to another have all their taps in the tensor."""
        assert isinstance(self.length, int)
        last = (end - 1) * self.stride - self.pad + self.window
        return first * self.stride >= self.pad and last <= self.length

    def windows_of(self, place: Expression, builder: NestBuilder) -> tuple[Expression, Expression]:
        """The first window that has a place among its taps, and the number of such windows."""
        moved, step = nest.add(place, self.pad), Literal(INDEX, self.stride)
        first = nest.call("floordiv", nest.add(moved, self.stride - self.window), step)
        first = builder.let(nest.call("maximum", first, Literal(INDEX, 0)), "first")
        end = nest.add(nest.call("floordiv", moved, step), 1)
        end = nest.call("minimum", end, builder.size(self.windows))
        return first, builder.let(nest.subtract(end, first), "windows")


class Pool:
    """One pooling op on its way to a nest."""

    def __init__(
        self,
        lowering: Lowering,
        node: Apply,
        tensor: Shape,
        pooled: Shape,
        builder: NestBuilder | None = None,
    ) -> None:
        op = node.op
        assert isinstance(op, Pooling)
        self.lowering = lowering
        self.node = node
        self.op = op
        self.outer_shape = tensor[:-2]
        self.axes = [
            Axis(*each) for each in zip(tensor[-2:], pooled[-2:], op.ws, op.stride, op.pad, strict=True)
        ]
        self.taps = op.ws[0] * op.ws[1]
        self.dtype = node.inputs[0].dtype
        self.zero = first_value("add", self.dtype)
        self.builder = builder or lowering.builder()
        #: The indices of the leading axes, while their loops are open.
        self.outer: Sequence[Expression] = ()

    @contextlib.contextmanager
    def planes(self) -> Iterator[None]:
        """Loops over the leading axes."""
        with self.builder.loops(self.outer_shape, vector=False) as self.outer:
            yield

    def value(self, variable: Variable, *last: Expression) -> Expression:
        """A variable's entry in the current plane."""
        return self.lowering.value(variable, [*self.outer, *last], self.builder)

    def store(self, view: View, row: Expression, column: Expression, value: Expression) -> None:
        """Store an entry of the current plane."""
        self.builder.store(view, [*self.outer, row, column], value)

    def windows(self) -> Iterator[tuple[list[Expression], bool]]:
        """Every window of a plane, as (its row and column, whether all its taps are in the tensor).

        Whoever iterates writes one window's statements for each stretch of windows.
        """
        builder = self.builder
        for rows in self.axes[0].stretches():
            for columns in self.axes[1].stretches():
                whole = rows.whole and columns.whole
                short = whole and self.taps <= MOST_TAPS
                with builder.loop(rows.count, "row") as i:
                    row = builder.let(nest.add(i, builder.size(rows.first)), "row")
                    with builder.loop(columns.count, "column", vector=short) as j:
                        yield [row, nest.add(j, builder.size(columns.first))], whole

    def for_taps(
        self, window: Sequence[Expression], whole: bool, visit: Callable[[Expression, Expression], None]
    ) -> None:
        """Write `visit`'s statements for every tap of a window: written out, or in loops."""
        builder, (rows, columns) = self.builder, self.axes
        if whole:
            starts = [axis.start(each) for axis, each in zip(self.axes, window, strict=True)]
            if self.taps <= MOST_TAPS:
                for row in range(rows.window):
                    for column in range(columns.window):
                        visit(nest.add(starts[0], row), nest.add(starts[1], column))
                return
            counts: list[Expression] = [Literal(INDEX, axis.window) for axis in self.axes]
        else:
            found = [axis.taps(each, builder) for axis, each in zip(self.axes, window, strict=True)]
            starts, counts = [low for low, _ in found], [count for _, count in found]
        with builder.loop(counts[0], "k") as i, builder.loop(counts[1], "k") as j:
            visit(nest.add(starts[0], i), nest.add(starts[1], j))

    def fold(
        self, window: Sequence[Expression], whole: bool, function: str, start: Literal, tap: At
    ) -> Expression:
        """The taps of a window joined by a function, in their order."""
        total = self.builder.declare(start)

        def visit(row: Expression, column: Expression) -> None:
            value = nest.call(function, total, tap(row, column))
            self.builder.assign(total, value)

        self.for_taps(window, whole, visit)
        return total

    def share(self, value: Expression, window: Sequence[Expression], whole: bool) -> Expression:
        """A sum over a window divided as the mode divides; integers are cut off towards zero."""
        op = self.op
        if op.mode == "sum":
            return value
        count: Expression = Literal(INDEX, self.taps)
        # Padding is only there where windows that reach beyond it are left out.
        if not whole and not (op.ignore_border and op.mode == "average_inc_pad"):
            pairs = [axis.taps(each, self.builder) for axis, each in zip(self.axes, window, strict=True)]
            count = nest.multiply(pairs[0][1], pairs[1][1])
        kind = self.dtype if self.dtype in nest.FLOATS else "float64"
        quotient = nest.call("div", nest.cast(value, kind), nest.cast(count, kind))
        return nest.cast(quotient, self.dtype)

    def finish(self, stem: str, *computed: Variable) -> None:
        """The kernel; `computed` are operands that it may have computed on the way."""
        nodes = [self.node]
        for each in computed:
            nodes += kernel_nodes(self.lowering, each)
        self.lowering.add_kernel(self.builder, nodes, stem)


# --- one result for each window --------------------------------------------------------------------


@kernel_rule(Pool2d)
def _pool2d(lowering: Lowering, node: Apply) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Pool2d)
    out = lowering.allocate(node.outputs[0])
    pool = Pool(lowering, node, lowering.shape(x), out.shape)
    function = "maximum" if op.mode == "max" else "add"
    with pool.planes():
        for window, whole in pool.windows():
            start = first_value(function, x.dtype)
            total = pool.fold(window, whole, function, start, lambda *place: pool.value(x, *place))
            if op.mode != "max":
                total = pool.share(total, window, whole)
            pool.store(out, window[0], window[1], total)
    pool.finish("pool", x)


@kernel_rule(MaxPoolGradientGradient)
def _max_gradient_gradient(lowering: Lowering, node: Apply) -> None:
    x, maxima, second = node.inputs
    out = lowering.allocate(node.outputs[0])
    pool = Pool(lowering, node, lowering.shape(x), out.shape)

    with pool.planes():
        for window, whole in pool.windows():
            most = pool.value(maxima, *window)

            def tap(*place: Expression, most: Expression = most) -> Expression:
                attains = nest.call("eq", pool.value(x, *place), most)
                return Select(x.dtype, attains, pool.value(second, *place), pool.zero)

            total = pool.fold(window, whole, "add", pool.zero, tap)
            pool.store(out, window[0], window[1], total)
    pool.finish("pool_second_gradient", second)


# --- one result for each entry ---------------------------------------------------------------------


#: What a window hands back to one of its places.
Share = Callable[[Expression, Expression], Expression]


#: For a window, and whether all of it lies inside, its share.
Shares = Callable[[Sequence[Expression], bool], Share]


def shares_of_maximum(pool: Pool) -> Shares:
    """What max pooling's windows hand back: all of their gradient to each entry that attains the maximum."""
    x, maxima, gradient = pool.node.inputs

    def shares(window: Sequence[Expression], whole: bool) -> Share:
        most, handed = pool.value(maxima, *window), pool.value(gradient, *window)

        def share(*place: Expression) -> Expression:
            attains = nest.call("eq", pool.value(x, *place), most)
            return Select(x.dtype, attains, handed, pool.zero)

        return share

    return shares


def shares_of_average(pool: Pool) -> Shares:
    """What average pooling's windows hand back: an equal part of their gradient to each entry."""
    gradient = pool.node.inputs[0]

    def shares(window: Sequence[Expression], whole: bool) -> Share:
        handed = pool.builder.let(pool.share(pool.value(gradient, *window), window, whole))
        return lambda *place: handed

    return shares


@kernel_rule(MaxPoolGradient)
def _max_gradient(lowering: Lowering, node: Apply) -> None:
    x, maxima, gradient = node.inputs
    pool = Pool(lowering, node, lowering.shape(x), lowering.shape(maxima))
    _hand_back(pool, shares_of_maximum(pool))
    pool.finish("pool_gradient", gradient)


@kernel_rule(AveragePoolGradient)
def _average_gradient(lowering: Lowering, node: Apply) -> None:
    gradient = node.inputs[0]
    pool = Pool(lowering, node, lowering.shape(node.outputs[0]), lowering.shape(gradient))
    _hand_back(pool, shares_of_average(pool))
    pool.finish("pool_gradient", gradient)


def _hand_back(pool: Pool, shares: Shares) -> None:
    """Every entry's sum of what the windows that it is in hand back to it."""
    out = pool.lowering.allocate(pool.node.outputs[0])
    with pool.planes():
        if _overlap(pool.op):
            _gather(pool, shares, out)
            return
        _fill_between(pool, out)
        for window, whole in pool.windows():
            share = shares(window, whole)

            def visit(row: Expression, column: Expression, share: Share = share) -> None:
                pool.store(out, row, column, share(row, column))

            pool.for_taps(window, whole, visit)


def _fill_between(pool: Pool, out: View) -> None:
    """Zeros at the entries that no window covers, and at more where windows lie apart."""
    builder = pool.builder
    height, width = (axis.length for axis in pool.axes)
    stretches: list[tuple[Dimension, Dimension, Dimension, Dimension]] = [(0, height, 0, width)]
    if pool.op.stride == pool.op.ws:
        rows, columns = (axis.covered() for axis in pool.axes)
        stretches = [
            (0, rows, columns, dims.subtract(width, columns)),
            (rows, dims.subtract(height, rows), 0, width),
        ]
    for row, rows, column, columns in stretches:
        if 0 in (rows, columns):
            continue
        with builder.loop(rows, "row") as i, builder.loop(columns, "column", vector=True) as j:
            place = nest.add(i, builder.size(row)), nest.add(j, builder.size(column))
            pool.store(out, *place, pool.zero)


def _gather(pool: Pool, shares: Shares, out: View) -> None:
    """Shares are added from the last window to the first: in the order of the windows' taps."""
    builder = pool.builder
    rows, columns = (axis.places() for axis in pool.axes)
    if rows is not None and columns is not None and _count(rows) * _count(columns) <= MOST_SHARES:
        _gather_alike(pool, shares, out, rows, columns)
        return
    with builder.loop(pool.axes[0].length, "y") as y, builder.loop(pool.axes[1].length, "x") as x:
        total = builder.declare(pool.zero)
        ranges = [axis.windows_of(each, builder) for axis, each in zip(pool.axes, (y, x), strict=True)]
        lasts = [builder.let(nest.subtract(nest.add(*each), 1), "last") for each in ranges]
        with builder.loop(ranges[0][1], "k") as i, builder.loop(ranges[1][1], "k") as j:
            window = [nest.subtract(last, k) for last, k in zip(lasts, (i, j), strict=True)]
            share = shares(window, False)
            builder.assign(total, nest.call("add", total, share(y, x)))
        pool.store(out, y, x, total)


def _count(axis: Sequence[_Places]) -> int:
    """How many windows the statements for an axis look at."""
    return sum(len(windows) for each in axis for windows in each.windows)


def _gather_alike(
    pool: Pool,
    shares: Shares,
    out: View,
    rows: Sequence[_Places],
    columns: Sequence[_Places],
) -> None:
    """The same with the windows of each place written out."""
    builder = pool.builder
    for beside in rows:
        with builder.loop(beside.count, "y") as i:
            for y, above in beside.at(i):
                for along in columns:
                    with builder.loop(along.count, "x", vector=True) as j:
                        for x, across in along.at(j):
                            total: Expression = pool.zero
                            for (row, whole), (column, wide) in itertools.product(above, across):
                                share = shares([row, column], whole and wide)
                                total = nest.call("add", total, share(y, x))
                            pool.store(out, y, x, total)
