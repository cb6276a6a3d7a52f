"""argmax and argmin: takes what is searched, hands on a nest for rows in memory order or across it.

Along memory each row goes by blocks: vectors find every block's extreme, and only the first block that has
the row's is searched for the place. Across memory the best so far of a strip of columns is kept, row by row.
A long search for few results is first done by chunks, whose number follows from the shape.
For many threads both are two reductions: the extreme, and the first place that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_elementwise import StridedTree, kernel_nodes
from symnet.compile.lower_reduction import (
    BLOCK_ENTRIES,
    BLOCK_RESULTS,
    DEVICE_BLOCKS,
    combiner,
    first_value,
    strips,
)
from symnet.compile.nest import FLOATS, INDEX, Expression, Literal, Name, Select
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply
from symnet.ops.reduction import ArgExtreme

#: Entries of a block along memory.
BLOCK = 256
#: A search is cut into at most so many chunks, of at least so many entries.
MOST_CHUNKS = 64
LEAST_CHUNK = 16384
#: Places across memory are kept in 32 bits.
_PLACE = "int32"
#: Behind every place.
_NOWHERE = Literal(INDEX, 2**63 - 1)


class _Search:
    """The extreme of one variable along one axis."""

    def __init__(self, lowering: Lowering, node: Apply) -> None:
        assert isinstance(node.op, ArgExtreme)
        self.lowering = lowering
        self.variable = node.inputs[0]
        self.axis = node.op.axis
        self.function = node.op.function
        self.dtype = self.variable.dtype
        self.shape = lowering.shape(self.variable)
        self.kept = [axis for axis in range(len(self.shape)) if axis != self.axis]
        self.length = self.shape[self.axis]

    def value(self, builder: NestBuilder, kept: Sequence[Expression], where: Expression) -> Expression:
        """The entry at indices of the kept axes and of the searched one."""
        indices: list[Expression] = [where] * len(self.shape)
        for axis, index in zip(self.kept, kept, strict=True):
            indices[axis] = index
        return self.lowering.value(self.variable, indices, builder)

    def better(self, value: Expression, best: Expression) -> Expression:
        """Whether a value stands before the best so far: NaN before every number, the first before all."""
        found = nest.call("gt" if self.function == "maximum" else "lt", value, best)
        if self.dtype in FLOATS:
            number = nest.call("bitwise_not", nest.call("isnan", best))
            found = nest.call(
                "bitwise_or", found, nest.call("bitwise_and", nest.call("isnan", value), number)
            )
        return found

    def attains(self, value: Expression, best: Expression) -> Expression:
        """Whether a value is the best one, of which all NaN are equal."""
        found = nest.call("eq", value, best)
        if self.dtype in FLOATS:
            found = nest.call("bitwise_or", found, nest.call("isnan", value))
        return found

    def keep_better(
        self,
        builder: NestBuilder,
        best: Name,
        place: Name,
        value: Expression,
        where: Expression,
    ) -> None:
        """Update the best so far and its place."""
        better = builder.let(self.better(value, best))
        builder.assign(place, Select(place.dtype, better, where, place))
        builder.assign(best, Select(best.dtype, better, value, best))

    def along(
        self, builder: NestBuilder, kept: Sequence[Expression], start: Expression, count: Expression
    ) -> tuple[Name, Expression]:
        """The best of `count` entries from `start` on, and its place."""
        best = builder.declare(first_value(self.function, self.dtype), "best")
        block = builder.declare(Literal(INDEX, 0), "block")
        blocks = nest.call("floordiv", nest.add(count, BLOCK - 1), Literal(INDEX, BLOCK))
        few = isinstance(count, Literal) and count.value <= BLOCK
        if isinstance(count, Literal):
            blocks = Literal(INDEX, -(-int(count.value) // BLOCK))

        def entries(number: Expression) -> tuple[Expression, Expression]:
            if few:
                return start, count
            first = nest.multiply(number, BLOCK)
            left = nest.subtract(count, first)
            return nest.add(start, first), nest.call("minimum", left, Literal(INDEX, BLOCK))

        with builder.loop(blocks, "b") as number:
            first, extent = entries(number)
            most = builder.declare(first_value(self.function, self.dtype), "most")
            with builder.loop(extent, "k") as index:
                value = self.value(builder, kept, nest.add(first, index))
                builder.accumulate(most, combiner(self.function, self.dtype), value)
            self.keep_better(builder, best, block, most, number)
        first, extent = entries(block)
        inside = builder.declare(Literal(_PLACE, BLOCK), "inside")
        with builder.loop(extent, "k") as index:
            attains = self.attains(self.value(builder, kept, nest.add(first, index)), best)
            here = Select(_PLACE, attains, nest.cast(index, _PLACE), Literal(_PLACE, BLOCK))
            builder.accumulate(inside, "minimum", here)
        return best, nest.add(first, nest.cast(inside, INDEX))


@kernel_rule(ArgExtreme, buffers=lambda node: ())
def _arg_extreme(lowering: Lowering, node: Apply) -> None:
    """The first place of the extreme, or of the first NaN."""
    search = _Search(lowering, node)
    nodes = [node, *kernel_nodes(lowering, node.inputs[0])]
    destination = lowering.allocate(node.outputs[0])
    if lowering.target.many_threads:
        _by_threads(search, destination, nodes)
        return
    if _runs_across(search):
        _across(search, destination, nodes)
        return
    results = lowering.capacity([search.shape[axis] for axis in search.kept])
    length = search.length
    if isinstance(length, int) and results < 8 and length >= 2 * LEAST_CHUNK:
        _by_chunks(search, length, destination, nodes)
        return
    builder = lowering.builder()
    with builder.loops([search.shape[axis] for axis in search.kept], vector=False) as kept:
        _, place = search.along(builder, kept, Literal(INDEX, 0), builder.size(length))
        builder.store(destination, kept, place)
    lowering.add_kernel(builder, nodes, node.op.name)


def _runs_across(search: _Search) -> bool:
    """Whether most of what is read steps by one entry along the last kept axis."""
    if not search.kept or search.lowering.capacity([search.length]) >= 2**31:
        return False
    leaves = StridedTree(search.lowering, search.variable).leaves
    if not leaves:
        return search.axis != len(search.shape) - 1
    last = search.kept[-1]
    along = sum(leaf.strides[search.axis] == 1 for leaf in leaves)
    across = sum(leaf.strides[last] == 1 for leaf in leaves)
    return across > along


def _by_chunks(search: _Search, length: int, destination: View, nodes: Sequence[Apply]) -> None:
    """The best of every chunk, and then the first of the best."""
    lowering = search.lowering
    chunk = max(LEAST_CHUNK, -(-length // (MOST_CHUNKS * BLOCK)) * BLOCK)
    chunks = -(-length // chunk)
    shape = [search.shape[axis] for axis in search.kept]
    bests = lowering.scratch("best", search.dtype, [chunks, *shape])
    places = lowering.scratch("place", INDEX, [chunks, *shape])
    builder = lowering.builder()
    with builder.loop(chunks, "chunk", parallel=True) as number, builder.loops(shape, False, False) as kept:
        start = nest.multiply(number, chunk)
        count = nest.call("minimum", nest.subtract(Literal(INDEX, length), start), Literal(INDEX, chunk))
        best, place = search.along(builder, kept, start, count)
        builder.store(bests, [number, *kept], best)
        builder.store(places, [number, *kept], place)
    lowering.add_kernel(builder, nodes, f"{search.function}_of_chunks")
    builder = lowering.builder()
    with builder.loops(shape, vector=False) as kept:
        zero = Literal(INDEX, 0)
        best = builder.declare(builder.load(bests, [zero, *kept]), "best")
        place = builder.declare(builder.load(places, [zero, *kept]), "place")
        with builder.loop(chunks, "chunk") as number:
            value = builder.load(bests, [number, *kept])
            search.keep_better(builder, best, place, value, builder.load(places, [number, *kept]))
        builder.store(destination, kept, place)
    lowering.add_kernel(builder, nodes[:1], nodes[0].op.name)


def _by_threads(search: _Search, destination: View, nodes: Sequence[Apply]) -> None:
    """The extreme, then the first place that has it; in parts where there are few results."""
    lowering, length = search.lowering, search.length
    shape = [search.shape[axis] for axis in search.kept]
    results, entries = lowering.capacity(shape), lowering.capacity([length])
    blocks = max(1, -(-results // BLOCK_RESULTS) if _runs_across(search) else results)
    count = min(-(-DEVICE_BLOCKS // blocks), entries * results // (blocks * BLOCK_ENTRIES), entries)

    def first_of(
        builder: NestBuilder,
        extent: Expression,
        value: Callable[[Expression], Expression],
        place: Callable[[Expression], Expression],
    ) -> tuple[Name, Name]:
        best = builder.declare(first_value(search.function, search.dtype), "best")
        with builder.loop(extent, "k") as index:
            builder.accumulate(best, combiner(search.function, search.dtype), value(index))
        first = builder.declare(_NOWHERE, "place")
        with builder.loop(extent, "k") as index:
            attains = search.attains(value(index), best)
            builder.accumulate(first, "minimum", Select(INDEX, attains, place(index), _NOWHERE))
        return best, first

    if count < 2:
        builder = lowering.builder()
        with builder.loops(shape, vector=False) as kept:
            _, first = first_of(
                builder, builder.size(length), lambda k: search.value(builder, kept, k), lambda k: k
            )
            builder.store(destination, kept, first)
        lowering.add_kernel(builder, nodes, nodes[0].op.name)
        return
    bests = lowering.scratch("best", search.dtype, [count, *shape])
    places = lowering.scratch("place", INDEX, [count, *shape])
    builder = lowering.builder()
    with builder.loops([count, *shape], vector=False) as (number, *kept):
        part = builder.size(dims.ceil_divide(length, count))
        start = builder.let(nest.multiply(number, part), "start")
        left = nest.call("minimum", nest.subtract(builder.size(length), start), part)
        extent = builder.let(nest.call("maximum", left, Literal(INDEX, 0)), "extent")
        best, first = first_of(
            builder,
            extent,
            lambda k: search.value(builder, kept, nest.add(start, k)),
            lambda k: nest.add(start, k),
        )
        builder.store(bests, [number, *kept], best)
        builder.store(places, [number, *kept], first)
    lowering.add_kernel(builder, nodes, f"{search.function}_of_parts")
    builder = lowering.builder()
    with builder.loops(shape, vector=False) as kept:
        _, first = first_of(
            builder,
            Literal(INDEX, count),
            lambda k: builder.load(bests, [k, *kept]),
            lambda k: builder.load(places, [k, *kept]),
        )
        builder.store(destination, kept, first)
    lowering.add_kernel(builder, nodes[:1], nodes[0].op.name)


def _across(search: _Search, destination: View, nodes: Sequence[Apply]) -> None:
    """For strips of the last kept axis: the best so far of each column, and its place, row by row."""
    lowering = search.lowering
    *outer, width = [search.shape[axis] for axis in search.kept]
    bests = lowering.scratch("best", search.dtype, [*outer, width])
    places = lowering.scratch("place", _PLACE, [*outer, width])
    builder = lowering.builder()
    with builder.loops(outer, vector=False) as kept:

        def over(start: Expression, extent: Dimension | Expression) -> None:
            def column(index: Expression) -> list[Expression]:
                return [*kept, nest.add(start, index)]

            with builder.loop(extent, "j", vector=True) as index:
                where = column(index)
                builder.store(bests, where, search.value(builder, where, Literal(INDEX, 0)))
                builder.store(places, where, Literal(_PLACE, 0))
            rest = nest.subtract(builder.size(search.length), 1)
            with builder.loop(rest, "row") as before:
                row = builder.let(nest.add(before, 1), "row")
                with builder.loop(extent, "j", vector=True) as index:
                    where = column(index)
                    value = search.value(builder, where, row)
                    best, place = builder.load(bests, where), builder.load(places, where)
                    better = builder.let(search.better(value, best))
                    here = Select(_PLACE, better, nest.cast(row, _PLACE), place)
                    builder.store(places, where, here)
                    builder.store(bests, where, Select(search.dtype, better, value, best))
            with builder.loop(extent, "j", vector=True) as index:
                where = column(index)
                builder.store(destination, where, nest.cast(builder.load(places, where), INDEX))

        strips(builder, width, not outer, over)
    lowering.add_kernel(builder, nodes, nodes[0].op.name)
