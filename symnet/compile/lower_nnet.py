"""Softmax and its kin: takes matrices, hands on one nest each that walks every row three times.

The first walk stores the operand's entries in the result, so that an operand computed on the way is
computed once; the walks after it change them there.
"""

from __future__ import annotations

from symnet.compile import nest
from symnet.compile.fusion import demands
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_elementwise import kernel_nodes
from symnet.compile.lower_reduction import first_value
from symnet.graph.variable import Apply
from symnet.ops.nnet import LogSoftmax, Softmax, SoftmaxGradient


@demands(Softmax, LogSoftmax)
def _softmax_demands(node: Apply) -> list[str]:
    return ["value"]


@demands(SoftmaxGradient)
def _gradient_demands(node: Apply) -> list[str]:
    return ["value", "buffer"]


@kernel_rule(Softmax, LogSoftmax)
def _softmax(lowering: Lowering, node: Apply) -> None:
    """Each row's maximum, the sum of its powers, then the quotients or the logarithm's differences."""
    (x,) = node.inputs
    logarithmic = isinstance(node.op, LogSoftmax)
    out = lowering.allocate(node.outputs[0])
    rows, columns = out.shape
    dtype = x.dtype
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:
        most = builder.declare(first_value("maximum", dtype), "most")
        with builder.loop(columns, "column") as column:
            value = lowering.value(x, [row, column], builder)
            builder.store(out, [row, column], value)
            builder.accumulate(most, "maximum", value)
        total = builder.declare(first_value("add", dtype))
        with builder.loop(columns, "column") as column:
            shifted = builder.let(nest.call("sub", builder.load(out, [row, column]), most))
            power = builder.let(nest.call("exp", shifted))
            builder.store(out, [row, column], shifted if logarithmic else power)
            builder.accumulate(total, "add", power)
        divisor = builder.let(nest.call("log", total)) if logarithmic else total
        with builder.loop(columns, "column", vector=True) as column:
            entry = builder.load(out, [row, column])
            result = nest.call("sub" if logarithmic else "div", entry, divisor)
            builder.store(out, [row, column], result)
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, x)], node.op.name)


@kernel_rule(SoftmaxGradient)
def _softmax_gradient(lowering: Lowering, node: Apply) -> None:
    """Each row's sum of products, then the differences from it times the probabilities."""
    gradient, probabilities = node.inputs
    out = lowering.allocate(node.outputs[0])
    rows, columns = out.shape
    builder = lowering.builder()
    with builder.loop(rows, "row", parallel=True) as row:
        total = builder.declare(first_value("add", out.buffer.dtype))
        with builder.loop(columns, "column") as column:
            value = lowering.value(gradient, [row, column], builder)
            builder.store(out, [row, column], value)
            weight = lowering.value(probabilities, [row, column], builder)
            builder.accumulate(total, "add", nest.call("mul", value, weight))
        with builder.loop(columns, "column", vector=True) as column:
            moved = nest.call("sub", builder.load(out, [row, column]), total)
            weight = lowering.value(probabilities, [row, column], builder)
            builder.store(out, [row, column], nest.call("mul", moved, weight))
    lowering.add_kernel(builder, [node, *kernel_nodes(lowering, gradient)], node.op.name)
