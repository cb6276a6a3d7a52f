"""Indexing for many threads: takes assignments at index arrays, and masks; hands on nests.

No two threads write the same place, and what is added up in one place comes in the order of the indices.

Assignments at (0, j), (1, j'), (2, j'') … are computed on the way: each entry looks up its row's index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS
from symnet.compile.lower import Lowering, kernel_rule, pointwise_of_threads, pointwise_rule
from symnet.compile.lower_elementwise import all_of, operand_indices, write_entries, zero_of
from symnet.compile.lower_indexing import (
    common_shape,
    defer,
    first_and_step,
    is_range,
    part_view,
    place_of,
    store_count,
)
from symnet.compile.nest import BOOL, INDEX, Expression, Literal, Select
from symnet.compile.program import Buffer, View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Variable
from symnet.ops.indexing import AdvancedIncSubtensor, IncSubtensor, Nonzero
from symnet.ops.joining import Join, RepeatIndices

#: What is counted is gone through in at most so many chunks, of at least so many entries.
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


# --- at any indices ---------------------------------------------------------------------------------


@kernel_rule(AdvancedIncSubtensor, many_threads=True)
def _scatter(lowering: Lowering, node: Apply) -> None:
    """Each place, or each index that is the first to mean its place, goes through all that are assigned."""
    op = node.op
    assert isinstance(op, AdvancedIncSubtensor)
    x, y, *arrays = node.inputs
    common = common_shape(lowering, arrays)
    shape = lowering.shape(x)
    by_places = lowering.capacity([shape[axis] for axis in op.axes]) < lowering.capacity(common)
    scatter = _Scatter(lowering, node, common)
    run = scatter.by_places if by_places else scatter.by_indices
    if defer(lowering, node, [y, *arrays], lambda: run(lowering.view(x))):
        return
    destination = lowering.allocate(node.outputs[0])
    if not by_places:
        write_entries(lowering, x, destination)
    run(destination)


class _Scatter:
    """One assignment at index arrays."""

    def __init__(self, lowering: Lowering, node: Apply, common: Sequence[Dimension]) -> None:
        assert isinstance(node.op, AdvancedIncSubtensor)
        self.lowering = lowering
        self.node = node
        self.op = node.op
        self.x, self.y, *self.arrays = node.inputs
        self.shape = lowering.shape(self.x)
        self.common = common
        self.count = dims.multiply(*common)

    def _places(self, flat: Expression, builder: NestBuilder) -> list[Expression]:
        """The places along the indexed axes that an entry of the index arrays means."""
        indices = decoded(flat, self.common, builder)
        return [
            place_of(self.lowering, array, indices, self.shape[axis], builder)
            for axis, array in zip(self.op.axes, self.arrays, strict=True)
        ]

    def _meet(self, flat: Expression, places: Sequence[Expression], builder: NestBuilder) -> Expression:
        """Whether an entry of the index arrays means these places."""
        found = self._places(flat, builder)
        return all_of([nest.call("eq", a, b) for a, b in zip(found, places, strict=True)])

    def _take_in(
        self, total: nest.Name, flat: Expression, kept: Sequence[Expression], builder: NestBuilder
    ) -> None:
        """Add or assign what belongs to an entry of the index arrays."""
        place = self.op.place
        given = [*kept[:place], *decoded(flat, self.common, builder), *kept[place:]]
        y = self.y
        value = self.lowering.value(y, operand_indices(self.lowering, y, given), builder)
        builder.assign(total, value if self.op.set_ else nest.call("add", total, value))

    def by_places(self, destination: View) -> None:
        """Every entry of the tensor goes through all indices."""
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        with builder.loops(self.shape, vector=False) as indices:
            kept = [index for axis, index in enumerate(indices) if axis not in self.op.axes]
            places = [indices[axis] for axis in self.op.axes]
            total = builder.declare(self.lowering.value(self.x, indices, builder))
            with builder.loop(self.count, "k") as flat, builder.when(self._meet(flat, places, builder)):
                self._take_in(total, flat, kept, builder)
            builder.store(destination, indices, total)
        self._finish(builder)

    def by_indices(self, destination: View) -> None:
        """Every index that is the first to mean its place goes through itself and all that follow."""
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        lengths = [n for axis, n in enumerate(self.shape) if axis not in self.op.axes]
        with builder.loops([self.count, *lengths], vector=False) as (flat, *kept):
            places = self._places(flat, builder)
            earlier = builder.declare(Literal(BOOL, False), "earlier")
            with builder.loop(flat, "k") as other:
                builder.accumulate(earlier, "bitwise_or", self._meet(other, places, builder))
            with builder.when(nest.call("bitwise_not", earlier)):
                indices = self._indices(places, kept)
                total = builder.declare(builder.load(destination, indices))
                with builder.loop(nest.subtract(builder.size(self.count), flat), "k") as step:
                    other = builder.let(nest.add(flat, step), "other")
                    with builder.when(self._meet(other, places, builder)):
                        self._take_in(total, other, kept, builder)
                builder.store(destination, indices, total)
        self._finish(builder)

    def _indices(self, places: Sequence[Expression], kept: Sequence[Expression]) -> list[Expression]:
        supply = iter(kept)
        by_axis = dict(zip(self.op.axes, places, strict=True))
        return [by_axis[axis] if axis in by_axis else next(supply) for axis in range(len(self.shape))]

    def _finish(self, builder: NestBuilder) -> None:
        self.lowering.add_kernel(builder, [self.node], "scatter_set" if self.op.set_ else "scatter_add")


def decoded(flat: Expression, shape: Sequence[Dimension], builder: NestBuilder) -> list[Expression]:
    """The indices of an entry of a shape, given its number in C order."""
    found: list[Expression] = []
    for length in reversed(shape[1:]):
        size = builder.size(length)
        found.append(builder.let(nest.call("mod", flat, size), "at"))
        flat = builder.let(nest.call("floordiv", flat, size), "at")
    return [flat, *reversed(found)] if shape else []


# --- lengths that only the data knows ---------------------------------------------------------------


class _Chunks:
    """Numbers from 0 up to a total in chunks, of which each counts something; the counts lie in a buffer."""

    def __init__(self, lowering: Lowering, total: Dimension) -> None:
        self.total = total
        self.count = max(1, min(MOST_CHUNKS, lowering.capacity([total]) // LEAST_CHUNK))
        self.length = dims.ceil_divide(total, self.count)
        self.counts = lowering.scratch("counts", INDEX, (self.count,))

    @contextlib.contextmanager
    def loop(self, builder: NestBuilder) -> Iterator[tuple[Expression, Expression, Expression]]:
        """A loop over chunks: each one's number, its first entry, and how many it has."""
        with builder.loop(self.count, "chunk", parallel=True) as chunk:
            length = builder.size(self.length)
            start = builder.let(nest.multiply(chunk, length), "start")
            left = nest.call("minimum", nest.subtract(builder.size(self.total), start), length)
            yield chunk, start, builder.let(nest.call("maximum", left, Literal(INDEX, 0)), "extent")

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
    chunks = _Chunks(lowering, dims.multiply(*shape))

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
    chunks = _Chunks(lowering, lowering.shape(repeats)[0])
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
