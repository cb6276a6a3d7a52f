"""Softmax: takes the scores, hands on one nest of a few passes over each row, which stays in the cache.

The logarithm of softmax has a kernel for two numbers of each row alone; its entries are computed from them
where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import demands
from symnet.compile.lower import Lowering, kernel_rule, pointwise_rule, preparation
from symnet.compile.lower_elementwise import kernel_nodes
from symnet.compile.lower_reduction import first_value
from symnet.compile.nest import INDEX, Expression, Literal, Name
from symnet.compile.program import View
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.nnet import LogSoftmax, Softmax, SoftmaxGradient

#: A longer row is added up in stretches of so many entries, which keeps the rounding error small.
STRETCH = 4096


@demands(Softmax)
def _softmax_demands(node: Apply) -> list[str]:
    return ["value"]


@demands(Softmax, SoftmaxGradient, many_threads=True)
def _stored_demands(node: Apply) -> list[str]:
    """Each pass over a row reads it anew: no thread waits for what another one stores."""
    return ["buffer"] * len(node.inputs)


@demands(LogSoftmax)
def _logarithm_demands(node: Apply) -> list[str]:
    return ["buffer"]


@demands(SoftmaxGradient)
def _gradient_demands(node: Apply) -> list[str]:
    return ["value", "buffer"]


def _sum_along(
    builder: NestBuilder, columns: Dimension, dtype: str, value: Callable[[Expression], Expression]
) -> Name:
    """The sum of a value of each column, in stretches."""
    total = builder.declare(first_value("add", dtype))
    if builder.lowering.target.many_threads or isinstance(columns, int) and columns <= STRETCH:
        with builder.loop(columns, "column") as column:
            builder.accumulate(total, "add", value(column))
        return total
    count = nest.call("floordiv", nest.add(builder.size(columns), STRETCH - 1), Literal(INDEX, STRETCH))
    with builder.loop(count, "stretch") as number:
        start = builder.let(nest.multiply(number, STRETCH), "start")
        left = nest.subtract(builder.size(columns), start)
        part = builder.declare(first_value("add", dtype), "part")
        with builder.loop(nest.call("minimum", left, Literal(INDEX, STRETCH)), "column") as column:
            builder.accumulate(part, "add", value(nest.add(start, column)))
        builder.assign(total, nest.call("add", total, part))
    return total


def _is_stored(lowering: Lowering, variable: Variable) -> bool:
    return variable in lowering.views or isinstance(variable, Constant)


@kernel_rule(Softmax)
def _softmax(lowering: Lowering, node: Apply) -> None:
    """Each row's maximum, the sum of its powers, then the quotients."""
    (x,) = node.inputs
    out = lowering.allocate(node.outputs[0])
    rows, columns = out.shape
    if lowering.target.many_threads:
        _softmax_by_threads(lowering, node, out)
        return
    stored = _is_stored(lowering, x)
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:
        most = builder.declare(first_value("maximum", x.dtype), "most")
        with builder.loop(columns, "column") as column:
            value = lowering.value(x, [row, column], builder)
            if not stored:
                builder.store(out, [row, column], value)
            builder.accumulate(most, "maximum", value)

        def power(column: Expression) -> Expression:
            where = [row, column]
            value = lowering.value(x, where, builder) if stored else builder.load(out, where)
            found = builder.let(nest.call("exp", nest.call("sub", value, most)))
            builder.store(out, where, found)
            return found

        total = _sum_along(builder, columns, x.dtype, power)
        # A row's sum is 1 at least: its reciprocal is an ordinary number, and NaN of NaN.
        factor = builder.let(nest.call("div", Literal(x.dtype, 1.0), total))
        with builder.loop(columns, "column", vector=True) as column:
            entry = builder.load(out, [row, column])
            builder.store(out, [row, column], nest.call("mul", entry, factor))
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, x)], node.op.name)


def _softmax_by_threads(lowering: Lowering, node: Apply, out: View) -> None:
    """The same, with the powers computed twice: no thread reads what another one stored."""
    (x,) = node.inputs
    rows, columns = out.shape
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:
        most = builder.declare(first_value("maximum", x.dtype), "most")
        with builder.loop(columns, "column") as column:
            builder.accumulate(most, "maximum", lowering.value(x, [row, column], builder))

        def power(column: Expression) -> Expression:
            return nest.call("exp", nest.call("sub", lowering.value(x, [row, column], builder), most))

        total = _sum_along(builder, columns, x.dtype, power)
        factor = builder.let(nest.call("div", Literal(x.dtype, 1.0), total))
        with builder.loop(columns, "column", parallel=True, vector=True) as column:
            builder.store(out, [row, column], nest.call("mul", power(column), factor))
    lowering.add_kernel(builder, [node], node.op.name)


@preparation(LogSoftmax)
def _statistics(lowering: Lowering, node: Apply) -> None:
    """Each row's maximum, and the logarithm of the sum of the powers of what is left without it.

    Where the entries are to be stored that is done at once, while the row is in the cache.
    """
    (x,) = node.inputs
    rows, columns = lowering.shape(x)
    out = lowering.allocate(node.outputs[0]) if lowering.fusion.is_materialised(node.outputs[0]) else None
    found = lowering.scratch("statistics", x.dtype, [rows, 2]) if out is None else None
    if found is not None:
        lowering.statistics[x] = found
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:
        most = builder.declare(first_value("maximum", x.dtype), "most")
        with builder.loop(columns, "column") as column:
            builder.accumulate(most, "maximum", lowering.value(x, [row, column], builder))

        def power(column: Expression) -> Expression:
            value = lowering.value(x, [row, column], builder)
            return builder.let(nest.call("exp", nest.call("sub", value, most)))

        total = _sum_along(builder, columns, x.dtype, power)
        logarithm = builder.let(nest.call("log", total))
        if found is not None:
            builder.store(found, [row, Literal(INDEX, 0)], most)
            builder.store(found, [row, Literal(INDEX, 1)], logarithm)
        if out is not None:
            many = lowering.target.many_threads
            with builder.loop(columns, "column", parallel=many, vector=True) as column:
                left = nest.call("sub", lowering.value(x, [row, column], builder), most)
                builder.store(out, [row, column], nest.call("sub", left, logarithm))
    lowering.add_kernel(builder, [node], node.op.name if found is None else f"{node.op.name}_of_rows")


@pointwise_rule(LogSoftmax)
def _logarithm(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    """What is left without the maximum, less the logarithm of the sum."""
    (x,) = node.inputs
    statistics: View = lowering.statistics[x]
    most, logarithm = (builder.load(statistics, [indices[0], Literal(INDEX, k)]) for k in range(2))
    left = nest.call("sub", lowering.value(x, indices, builder), most)
    return nest.call("sub", left, logarithm)


@kernel_rule(SoftmaxGradient)
def _softmax_gradient(lowering: Lowering, node: Apply) -> None:
    """Each row's sum of products, then the differences from it times the probabilities."""
    gradient, probabilities = node.inputs
    out = lowering.allocate(node.outputs[0])
    rows, columns = out.shape
    stored = _is_stored(lowering, gradient)
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:

        def product(column: Expression) -> Expression:
            value = lowering.value(gradient, [row, column], builder)
            if not stored:
                builder.store(out, [row, column], value)
            return nest.call("mul", value, lowering.value(probabilities, [row, column], builder))

        total = _sum_along(builder, columns, out.buffer.dtype, product)
        with builder.loop(columns, "column", lowering.target.many_threads, True) as column:
            where = [row, column]
            value = lowering.value(gradient, where, builder) if stored else builder.load(out, where)
            moved = nest.call("sub", value, total)
            weight = lowering.value(probabilities, where, builder)
            builder.store(out, where, nest.call("mul", moved, weight))
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, gradient)], node.op.name)
