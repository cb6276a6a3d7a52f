"""Pooling for many threads: takes tensors whose last two axes are pooled, hands on nests.

Each iteration makes one result: a window's, or an entry's from the few windows that it may be in.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS
from symnet.compile.lower import Lowering, kernel_rule, pointwise_of_threads, pointwise_rule
from symnet.compile.lower_elementwise import all_of, write_each
from symnet.compile.lower_pool import Axis, Pool, Shares, shares_of_average, shares_of_maximum
from symnet.compile.lower_reduction import first_value
from symnet.compile.nest import INDEX, Expression, Literal, Select
from symnet.graph import dims
from symnet.graph.variable import Apply
from symnet.ops.pool import AveragePoolGradient, MaxPoolGradient, MaxPoolGradientGradient, Pool2d

COSTS[MaxPoolGradient] = COSTS[AveragePoolGradient] = 8
#: An entry's windows are written out up to so many.
MOST_WINDOWS = 16


# --- one result for each window --------------------------------------------------------------------


def _each_window(pool: Pool, value: Callable[[list[Expression], bool], Expression]) -> None:
    """Loops over all windows that store a value for each, border included."""
    whole = all(each.whole for axis in pool.axes for each in axis.stretches())

    def entry(indices: Sequence[Expression]) -> Expression:
        pool.outer = indices[:-2]
        return value(list(indices[-2:]), whole)

    write_each(pool.lowering, pool.node.outputs[0], pool.builder, entry)


@kernel_rule(Pool2d, many_threads=True)
def _pool2d(lowering: Lowering, node: Apply) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Pool2d)
    out = lowering.allocate(node.outputs[0], fills_border=True)
    pool = Pool(lowering, node, lowering.shape(x), out.shape)
    function = "maximum" if op.mode == "max" else "add"

    def value(window: list[Expression], whole: bool) -> Expression:
        start = first_value(function, x.dtype)
        total = pool.fold(window, whole, function, start, lambda *place: pool.value(x, *place))
        return total if op.mode == "max" else pool.share(total, window, whole)

    _each_window(pool, value)
    pool.finish("pool", x)


@kernel_rule(MaxPoolGradientGradient, many_threads=True)
def _max_gradient_gradient(lowering: Lowering, node: Apply) -> None:
    x, maxima, second = node.inputs
    out = lowering.allocate(node.outputs[0], fills_border=True)
    pool = Pool(lowering, node, lowering.shape(x), out.shape)

    def value(window: list[Expression], whole: bool) -> Expression:
        most = pool.value(maxima, *window)

        def tap(*place: Expression) -> Expression:
            attains = nest.call("eq", pool.value(x, *place), most)
            return Select(x.dtype, attains, pool.value(second, *place), pool.zero)

        return pool.fold(window, whole, "add", pool.zero, tap)

    _each_window(pool, value)
    pool.finish("pool_second_gradient", second)


# --- one result for each entry ---------------------------------------------------------------------


@pointwise_of_threads(MaxPoolGradient, AveragePoolGradient)
def _is_pointwise(lowering: Lowering, node: Apply) -> bool:
    return True


@pointwise_rule(MaxPoolGradient)
def _max_gradient(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    x, maxima, _ = node.inputs
    pool = Pool(lowering, node, lowering.shape(x), lowering.shape(maxima), builder)
    return _entry(pool, indices, shares_of_maximum(pool))


@pointwise_rule(AveragePoolGradient)
def _average_gradient(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    gradient = node.inputs[0]
    pool = Pool(lowering, node, lowering.shape(node.outputs[0]), lowering.shape(gradient), builder)
    return _entry(pool, indices, shares_of_average(pool))


def _entry(pool: Pool, indices: Sequence[Expression], shares: Shares) -> Expression:
    """The sum of what an entry's windows hand back to it, the last one first."""
    builder = pool.builder
    pool.outer, place = indices[:-2], indices[-2:]
    often = [-(-axis.window // axis.stride) for axis in pool.axes]
    moved = [nest.add(at, axis.pad) for at, axis in zip(place, pool.axes, strict=True)]
    lasts = [
        builder.let(nest.call("floordiv", at, Literal(INDEX, axis.stride)) if axis.stride > 1 else at)
        for at, axis in zip(moved, pool.axes, strict=True)
    ]
    total = builder.declare(pool.zero)

    def add(back: Sequence[int | Expression]) -> None:
        window = [nest.subtract(last, each) for last, each in zip(lasts, back, strict=True)]
        conditions = [
            condition
            for axis, number, at, each in zip(pool.axes, window, moved, back, strict=True)
            for condition in _holds(pool, axis, number, at, each)
        ]
        with contextlib.ExitStack() as stack:
            if conditions:
                stack.enter_context(builder.when(all_of(conditions)))
            value = shares(window, False)(*place)
            builder.assign(total, nest.call("add", total, value))

    if often[0] * often[1] <= MOST_WINDOWS:
        for back in itertools.product(*map(range, often)):
            add(back)
    else:
        with builder.loop(often[0], "k") as i, builder.loop(often[1], "k") as j:
            add((i, j))
    return total


def _holds(
    pool: Pool, axis: Axis, window: Expression, moved: Expression, back: int | Expression
) -> list[Expression]:
    """What must be so for a window to be there and to have a place among its taps.

    `moved` is the place counted from the padding's begin, `back` how many windows before the last one
    that begins there or before it.
    """
    found = []
    if not isinstance(back, int) or back > 0:
        found.append(nest.call("ge", window, Literal(INDEX, 0)))
    last = dims.floor_divide(dims.add(axis.length, axis.pad - 1), axis.stride)
    room = dims.subtract(dims.add(axis.windows, back if isinstance(back, int) else 0), last)
    if not isinstance(room, int) or room <= 0:
        # The last places are in no such window.
        found.append(nest.call("lt", window, pool.builder.size(axis.windows)))
    reach = back * axis.stride + axis.stride - 1 if isinstance(back, int) else axis.window
    if reach >= axis.window:
        start = nest.multiply(window, axis.stride)
        found.append(nest.call("lt", nest.subtract(moved, start), Literal(INDEX, axis.window)))
    return found
