"""Products: takes operands' views, hands on contractions, each with the plain nest that means the same."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from symnet.compile import nest
from symnet.compile.contraction import OLD, PRODUCT, Contraction
from symnet.compile.contraction import Dimension as Axis
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.nest import INDEX, Expression, Literal
from symnet.compile.program import ContractionCall, View, source_comment
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply
from symnet.ops.linalg import BatchedDot, Dot


def plain_nest(contraction: Contraction, name: str, comments: Sequence[str]) -> nest.Nest:
    """A contraction as a loop nest: the loops in order, a scalar that adds up, one store.

    Its buffers are A, B, C and those that the epilogue reads; its sizes are an offset into each, then the
    contraction's parameters.
    """
    dtype = contraction.dtype
    epilogue = contraction.epilogue
    dtypes = () if epilogue is None else epilogue.dtypes
    further = [f"d{n}" for n in range(contraction.others)]
    offsets = [f"{buffer}0" for buffer in "abc"] + [f"{buffer}_0" for buffer in further]

    def size(value: int | str) -> Expression:
        return Literal(INDEX, value) if isinstance(value, int) else nest.Name(INDEX, value)

    def place(array: int) -> Expression:
        result: Expression = nest.Name(INDEX, offsets[array])
        for axis in contraction.dimensions:
            stride = axis.strides[array]
            if stride != 0:
                result = nest.add(result, nest.multiply(indices[axis.name], size(stride)))
        return result

    kept = [axis for axis in contraction.dimensions if axis.c != 0]
    summed = [axis for axis in contraction.dimensions if axis.c == 0]
    indices: dict[str, Expression] = {
        axis.name: nest.Name(INDEX, f"i_{axis.name}") for axis in contraction.dimensions
    }
    product = nest.call(
        "mul",
        nest.Load(dtype, "a", place(0)),
        nest.Load(dtype, "b", place(1)),
    )
    total = "total" if epilogue is None else PRODUCT
    body: tuple[nest.Statement, ...] = (nest.Accumulate(total, "add", product),)
    for axis in reversed(summed):
        body = (nest.For(f"i_{axis.name}", size(axis.extent), body),)
    target = place(2)
    result: Expression = nest.Name(dtype, total)
    made: tuple[nest.Statement, ...] = ()
    stores: list[nest.Statement] = []
    changed: set[str] = set()
    if contraction.accumulate:
        result = nest.call("add", nest.Load(dtype, "c", target), result)
    if epilogue is not None:
        if epilogue.reads_target:
            made = (nest.Let(OLD, nest.Load(dtype, "c", target)),)
        for n, (buffer, each) in enumerate(zip(further, epilogue.dtypes, strict=True)):
            made += (nest.Let(f"x{n}", nest.Load(each, buffer, place(3 + n))),)
        made += epilogue.statements
        result = epilogue.value
        for n, value in epilogue.stores:
            stores.append(nest.Store(further[n], place(3 + n), value))
            changed.add(further[n])
    zero = Literal(dtype, 0.0 if dtype in nest.FLOATS else 0)
    body = (nest.Declare(total, zero), *body, *made, nest.Store("c", target, result), *stores)
    for position, axis in enumerate(reversed(kept)):
        outermost = position == len(kept) - 1
        body = (nest.For(f"i_{axis.name}", size(axis.extent), body, parallel=outermost),)
    buffers = (
        nest.BufferParameter("a", dtype, False),
        nest.BufferParameter("b", dtype, False),
        nest.BufferParameter("c", dtype, True),
        *(nest.BufferParameter(each, of, each in changed) for each, of in zip(further, dtypes, strict=True)),
    )
    return nest.Nest(name, buffers, (*offsets, *contraction.parameters), body, tuple(comments))


def axis_of(
    lowering: Lowering, name: str, extent: Dimension, a: Dimension, b: Dimension, c: Dimension
) -> Axis:
    """One index of a contraction; what is not a literal becomes a size of the kernel."""
    lengths = [each if isinstance(each, int) else lowering.slot_name(each) for each in (extent, a, b, c)]
    return Axis(name, lengths[0], lengths[1], lengths[2], lengths[3])


def add_contraction(
    lowering: Lowering,
    node: Apply,
    stem: str,
    axes: Sequence[Axis],
    a: View,
    b: View,
    c: View,
    accumulate: bool = False,
) -> None:
    """Run `C = A * B` summed over the axes that C lacks."""
    dtype = c.buffer.dtype
    name = f"{lowering.program.name}_{lowering.new_name('k_' + stem)}"
    comments = [source_comment(node)]
    offsets = []
    for view in (a, b, c):
        offset = view.offset
        if not isinstance(offset, int):
            slot = lowering.program.slots[lowering.slot_name(offset)]
            # A device finds all sizes at once, before any kernel: what it is given are names.
            offset = slot.size if lowering.target.many_threads else offset
        offsets.append(offset)
    if dtype in nest.FLOATS:
        contraction = Contraction(dtype, tuple(axes), accumulate)
        buffers = (a.buffer, b.buffer, c.buffer)
        plain = plain_nest(contraction, name, comments)
        lowering.program.steps.append(
            ContractionCall(name, contraction, buffers, tuple(offsets), plain, (node,), lowering._phase)
        )
        return
    _integer_contraction(lowering, node, stem, axes, a, b, c, accumulate)


def _integer_contraction(
    lowering: Lowering,
    node: Apply,
    stem: str,
    axes: Sequence[Axis],
    a: View,
    b: View,
    c: View,
    accumulate: bool,
) -> None:
    """Products of integers and bools are plain loops."""
    dtype = c.buffer.dtype
    builder = lowering.builder()

    def size(value: int | str) -> Expression:
        if isinstance(value, int):
            return Literal(INDEX, value)
        return builder.size(lowering.program.slots[value].size)

    def place(view: View, which: str, indices: dict[str, Expression]) -> tuple[View, list[Expression]]:
        offset = builder.size(view.offset)
        for axis in axes:
            stride = getattr(axis, which)
            if stride != 0 and axis.name in indices:
                offset = nest.add(offset, nest.multiply(indices[axis.name], size(stride)))
        return View(view.buffer, 0, (1,), ()), [offset]

    builder.buffer(c.buffer, written=True)
    indices: dict[str, Expression] = {}
    times, plus = ("bitwise_and", "bitwise_or") if dtype == nest.BOOL else ("mul", "add")
    with contextlib.ExitStack() as outer:
        for axis in axes:
            if axis.c != 0:
                every = lowering.target.many_threads
                indices[axis.name] = outer.enter_context(builder.loop(size(axis.extent), parallel=every))
        start: Expression = Literal(dtype, False if dtype == nest.BOOL else 0)
        if accumulate:
            start = builder.load(*place(c, "c", indices))
        total = builder.declare(start)
        with contextlib.ExitStack() as inner:
            for axis in axes:
                if axis.c == 0:
                    indices[axis.name] = inner.enter_context(builder.loop(size(axis.extent), "k"))
            product = nest.call(
                times, builder.load(*place(a, "a", indices)), builder.load(*place(b, "b", indices))
            )
            builder.accumulate(total, plus, product)
        builder.store(*place(c, "c", indices), total)
    lowering.add_kernel(builder, [node], stem)


@kernel_rule(Dot, buffers=lambda node: (0, 1))
def _dot(lowering: Lowering, node: Apply) -> None:
    x, y = (lowering.view(each) for each in node.inputs)
    out = lowering.allocate(node.outputs[0])
    axes = []
    out_axes = iter(out.strides)
    if len(x.shape) == 2:
        axes.append(axis_of(lowering, "row", x.shape[0], x.strides[0], 0, next(out_axes)))
    axes.append(axis_of(lowering, "inner", x.shape[-1], x.strides[-1], y.strides[0], 0))
    if len(y.shape) == 2:
        axes.append(axis_of(lowering, "column", y.shape[1], 0, y.strides[1], next(out_axes)))
    add_contraction(lowering, node, "dot", axes, x, y, out)


@kernel_rule(BatchedDot, buffers=lambda node: (0, 1))
def _batched_dot(lowering: Lowering, node: Apply) -> None:
    x, y = (lowering.view(each) for each in node.inputs)
    out = lowering.allocate(node.outputs[0])
    axes = [
        axis_of(lowering, "batch", x.shape[0], x.strides[0], y.strides[0], out.strides[0]),
        axis_of(lowering, "row", x.shape[1], x.strides[1], 0, out.strides[1]),
        axis_of(lowering, "inner", x.shape[2], x.strides[2], y.strides[1], 0),
        axis_of(lowering, "column", y.shape[2], 0, y.strides[2], out.strides[2]),
    ]
    add_contraction(lowering, node, "batched_dot", axes, x, y, out)
