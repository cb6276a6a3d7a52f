"""Indexing for many threads: takes assignments to parts, masks, repeats and what is joined; hands on nests.

Assignments at (0, j), (1, j'), (2, j'') … are computed on the way: each entry looks up its row's index. Those
at any indices are in `lower_scatter_threads`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS
from symnet.compile.lower import Lowering, kernel_rule, pointwise_of_threads, pointwise_rule
from symnet.compile.lower_elementwise import all_of, operand_indices, zero_of
from symnet.compile.lower_indexing import first_and_step, is_range, part_view, place_of, store_count
from symnet.compile.nest import BOOL, INDEX, Expression, Literal, Select
from symnet.compile.program import Buffer, View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Variable
from symnet.ops.indexing import AdvancedIncSubtensor, IncSubtensor, Nonzero
from symnet.ops.joining import Join, RepeatIndices

#: What is long is gone through in at most so many chunks, of at least so many entries.
MOST_CHUNKS = 1024
LEAST_CHUNK = 32
#: Up to so many tensors are joined in one kernel.
MOST_JOINED = 8
_NOWHERE = Buffer("nowhere", INDEX, 0, "arena")
COSTS[IncSubtensor] = COSTS[Join] = 3


# --- at a part that a basic index selects -----------------------------------------------------------


@pointwise_of_threads(IncSubtensor)
def _is_computed(lowering: Lowering, node: Apply) -> bool:
    """Whether all of the result is computed anew: a shared variable changes at the part alone."""
    return node.inputs[0] not in lowering.updates


@pointwise_rule(IncSubtensor)
def _with_part(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    """The tensor's entry, or what is assigned to it where it is in the part."""
    op = node.op
    assert isinstance(op, IncSubtensor)
    x, y, *symbolic = node.inputs
    chosen = first_and_step(lowering, op.template, x, symbolic)
    part = part_view(lowering, op.template, x, symbolic, _whole(lowering, x))
    lengths = iter(part.shape)
    conditions: list[Expression] = []
    inner: list[Expression] = []
    for axis, (first, step) in enumerate(chosen):
        start = builder.size(first)
        if step is None:
            conditions.append(nest.call("eq", indices[axis], start))
            continue
        count, length = next(lengths), lowering.shape(x)[axis]
        if (first, step, count) == (0, 1, length):
            inner.append(indices[axis])
            continue
        ends = (indices[axis], start) if step > 0 else (start, indices[axis])
        behind = builder.let(nest.subtract(*ends), "behind")
        number = behind
        if abs(step) > 1:
            number = builder.let(nest.call("floordiv", behind, Literal(INDEX, abs(step))), "number")
            rest = nest.call("mod", behind, Literal(INDEX, abs(step)))
            conditions.append(nest.call("eq", rest, Literal(INDEX, 0)))
        conditions.append(nest.call("ge", behind, Literal(INDEX, 0)))
        conditions.append(nest.call("lt", number, builder.size(count)))
        inner.append(number)
    inner += indices[len(chosen) :]
    before = lowering.value(x, indices, builder)
    total = builder.declare(before)
    with builder.when(all_of(conditions)):
        value = lowering.value(y, operand_indices(lowering, y, inner), builder)
        builder.assign(total, value if op.set_ else nest.call("add", before, value))
    return total


def _whole(lowering: Lowering, variable: Variable) -> View:
    """A view of no buffer, for the shapes of its parts."""
    shape = lowering.shape(variable)
    return View(_NOWHERE, 0, (0,) * len(shape), shape)


# --- where one of the index arrays counts the entries of its axis -----------------------------------


def _counting_axis(lowering: Lowering, node: Apply) -> int | None:
    """The number of an index array that is 0, 1, 2 … to the end of its axis, as long as the others."""
    op = node.op
    assert isinstance(op, AdvancedIncSubtensor)
    x, _, *arrays = node.inputs
    for number, (axis, array) in enumerate(zip(op.axes, arrays, strict=True)):
        if is_range(lowering, array):
            shape = lowering.shape(array)
            if shape == (lowering.shape(x)[axis],) and all(lowering.shape(a) == shape for a in arrays):
                return number
    return None


@pointwise_of_threads(AdvancedIncSubtensor)
def _is_pointwise(lowering: Lowering, node: Apply) -> bool:
    return _counting_axis(lowering, node) is not None


@pointwise_rule(AdvancedIncSubtensor)
def _assigned(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    """The tensor's entry, and what is assigned to it where the other indices of its row mean this place."""
    op = node.op
    assert isinstance(op, AdvancedIncSubtensor)
    x, y, *arrays = node.inputs
    counting = _counting_axis(lowering, node)
    assert counting is not None
    row = indices[op.axes[counting]]
    kept = [index for axis, index in enumerate(indices) if axis not in op.axes]
    given = [*kept[: op.place], row, *kept[op.place :]]
    value = lowering.value(y, operand_indices(lowering, y, given), builder)
    before = lowering.value(x, indices, builder)
    if not op.set_:
        value = builder.let(nest.call("add", before, value))
    meets = []
    for number, (axis, array) in enumerate(zip(op.axes, arrays, strict=True)):
        if number != counting:
            place = place_of(lowering, array, [row], lowering.shape(x)[axis], builder)
            meets.append(nest.call("eq", indices[axis], place))
    return Select(value.dtype, all_of(meets), value, before) if meets else value


# --- lengths that only the data knows ---------------------------------------------------------------


def decoded(flat: Expression, shape: Sequence[Dimension], builder: NestBuilder) -> list[Expression]:
    """The indices of an entry of a shape, given its number in C order."""
    found: list[Expression] = []
    for length in reversed(shape[1:]):
        size = builder.size(length)
        found.append(builder.let(nest.call("mod", flat, size), "at"))
        flat = builder.let(nest.call("floordiv", flat, size), "at")
    return [flat, *reversed(found)] if shape else []


class Chunks:
    """Numbers from 0 up to a total in chunks; the last may be empty."""

    def __init__(self, lowering: Lowering, total: Dimension) -> None:
        self.total = total
        self.count = max(1, min(MOST_CHUNKS, lowering.capacity([total]) // LEAST_CHUNK))
        self.length = dims.ceil_divide(total, self.count)

    @contextlib.contextmanager
    def loop(self, builder: NestBuilder) -> Iterator[tuple[Expression, Expression, Expression]]:
        """A loop over chunks: each one's number, its first entry, and how many it has."""
        with builder.loop(self.count, "chunk", parallel=True) as chunk:
            length = builder.size(self.length)
            start = builder.let(nest.multiply(chunk, length), "start")
            left = nest.call("minimum", nest.subtract(builder.size(self.total), start), length)
            yield chunk, start, builder.let(nest.call("maximum", left, Literal(INDEX, 0)), "extent")


class _CountedChunks(Chunks):
    """Chunks of which each counts something; the counts lie in a buffer."""

    def __init__(self, lowering: Lowering, total: Dimension) -> None:
        super().__init__(lowering, total)
        self.counts = lowering.scratch("counts", INDEX, (self.count,))

    def before(self, builder: NestBuilder, chunk: Expression) -> nest.Name:
        """What the chunks before one have counted."""
        found = builder.declare(Literal(INDEX, 0), "before")
        with builder.loop(chunk, "k") as k:
            builder.accumulate(found, "add", builder.load(self.counts, [k]))
        return found

    def store_total(
        self, lowering: Lowering, node: Apply, builder: NestBuilder, chunk: Expression, count: Expression
    ) -> None:
        """Let the last chunk store what all have counted."""
        with builder.when(nest.call("eq", chunk, Literal(INDEX, self.count - 1))):
            store_count(lowering, node, builder, count)


@kernel_rule(Nonzero, many_threads=True)
def _nonzero(lowering: Lowering, node: Apply) -> None:
    """Chunks are counted first; then each stores its indices behind those of the chunks before it."""
    x: Variable = node.inputs[0]
    shape = lowering.shape(x)
    chunks = _CountedChunks(lowering, dims.multiply(*shape))

    def entry(builder: NestBuilder, indices: Sequence[Expression]) -> Expression:
        return builder.let(nest.cast(lowering.value(x, indices, builder), BOOL))

    builder = lowering.builder()
    with chunks.loop(builder) as (chunk, start, extent):
        count = builder.declare(Literal(INDEX, 0), "count")
        with builder.loop(extent, "k") as k:
            value = entry(builder, decoded(nest.add(start, k), shape, builder))
            builder.accumulate(count, "add", nest.cast(value, INDEX))
        builder.store(chunks.counts, [chunk], count)
    lowering.add_kernel(builder, [node], "nonzero_of_chunks")
    targets = [lowering.allocate(each) for each in node.outputs]
    builder = lowering.builder()
    with chunks.loop(builder) as (chunk, start, extent):
        count = builder.declare(chunks.before(builder, chunk), "count")
        with builder.loop(extent, "k") as k:
            indices = decoded(nest.add(start, k), shape, builder)
            with builder.when(entry(builder, indices)):
                for target, index in zip(targets, indices, strict=True):
                    builder.store(target, [count], index)
                builder.assign(count, nest.add(count, 1))
        chunks.store_total(lowering, node, builder, chunk, count)
    lowering.add_kernel(builder, [node], "nonzero")


@kernel_rule(RepeatIndices, many_threads=True)
def _repeat_indices(lowering: Lowering, node: Apply) -> None:
    """The same for numbers of repeats. Past the capacity nothing is stored, only counted."""
    repeats = node.inputs[0]
    chunks = _CountedChunks(lowering, lowering.shape(repeats)[0])
    site = lowering.site(node, "a number of repeats is negative: {0}")

    def entry(builder: NestBuilder, position: Expression) -> Expression:
        return builder.let(nest.cast(lowering.value(repeats, [position], builder), INDEX), "often")

    builder = lowering.builder()
    with chunks.loop(builder) as (chunk, start, extent):
        count = builder.declare(Literal(INDEX, 0), "count")
        with builder.loop(extent, "k") as k:
            often = entry(builder, nest.add(start, k))
            with builder.when(nest.call("lt", often, Literal(INDEX, 0))):
                builder.fail(site, often)
            builder.assign(count, nest.add(count, often))
        builder.store(chunks.counts, [chunk], count)
    lowering.add_kernel(builder, [node], "repeats_of_chunks")
    target = lowering.allocate(node.outputs[0])
    builder = lowering.builder()
    with chunks.loop(builder) as (chunk, start, extent):
        count = builder.declare(chunks.before(builder, chunk), "count")
        with builder.loop(extent, "k") as k:
            position = nest.add(start, k)
            with builder.loop(entry(builder, position)):
                room = nest.call("lt", count, Literal(INDEX, target.buffer.capacity))
                with builder.when(room):
                    builder.store(target, [count], position)
                builder.assign(count, nest.add(count, 1))
        chunks.store_total(lowering, node, builder, chunk, count)
    lowering.add_kernel(builder, [node], "repeat_indices")


# --- joining ----------------------------------------------------------------------------------------


@pointwise_of_threads(Join)
def _joins_few(lowering: Lowering, node: Apply) -> bool:
    return len(node.inputs) <= MOST_JOINED


@pointwise_rule(Join)
def _joined(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    """The entry of the part in which an index is."""
    op = node.op
    assert isinstance(op, Join)
    total = builder.declare(zero_of(node.outputs[0].dtype), "entry")
    start: Dimension = 0
    for part in node.inputs:
        length = lowering.shape(part)[op.axis]
        behind = builder.let(nest.subtract(indices[op.axis], builder.size(start)), "behind")
        conditions = [nest.call("lt", behind, builder.size(length))]
        if start != 0:
            conditions.append(nest.call("ge", behind, Literal(INDEX, 0)))
        inner = [behind if axis == op.axis else index for axis, index in enumerate(indices)]
        with builder.when(all_of(conditions)):
            builder.assign(total, lowering.value(part, inner, builder))
        start = dims.add(start, length)
    return total
