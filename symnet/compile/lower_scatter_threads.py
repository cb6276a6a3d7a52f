"""Scatters for many threads: takes assignments at any index arrays, hands on nests without atomic additions.

Few indices look at each other. Few places look through chunks of the indices. Otherwise the indices are
sorted by the places that they mean, and those that mean one place stay in their order: chunks by counting,
then runs of chunks by merging, each entry looking up its rank. The first of each place then adds what the
others of its place bring, or the last one assigns. No two threads write the same entry, so that results are
the same in every run.

Sorting n indices is n * (CHUNK + WAYS * log2(n) * passes) rounds of loops, where there are log(n / CHUNK) /
log(WAYS) passes; what follows is n * r for rows of r entries. What is added up in one place comes in the
order of the indices; but where there may be more indices than places, PART of them at a time, or those of a
chunk, are added up first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.lower_elementwise import all_of, operand_indices, write_entries, zero_of
from symnet.compile.lower_indexing import common_shape, defer, is_range, place_of
from symnet.compile.lower_indexing_threads import Chunks, decoded
from symnet.compile.nest import BOOL, FLOATS, INDEX, Expression, Literal, Select
from symnet.compile.program import View
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply
from symnet.ops.indexing import AdvancedIncSubtensor, Nonzero

#: Up to so many indices look at each other, more are sorted in chunks of so many.
CHUNK = 256
#: Up to so many entries each look through the indices: to sort an index takes about as many rounds, in more
#: kernels, and some of them wait for what they load.
FEW_ENTRIES = 1024
#: So many sorted runs are merged at once.
WAYS = 8
#: What is added up at a time where many indices mean one place.
PART = 128


@kernel_rule(AdvancedIncSubtensor, many_threads=True)
def _scatter(lowering: Lowering, node: Apply) -> None:
    scatter = _Scatter(lowering, node)
    run, stores_all = scatter.way()
    if defer(lowering, node, [scatter.y, *scatter.arrays], lambda: run(lowering.view(scatter.x))):
        return
    destination = lowering.allocate(node.outputs[0])
    if not stores_all:
        write_entries(lowering, scatter.x, destination)
    run(destination)


@dataclass(frozen=True)
class _Runs:
    """The indices in sorted runs of a length: the place that each one means, and which one it is."""

    places: View
    numbers: View
    length: int


class _Scatter:
    """One assignment at index arrays."""

    def __init__(self, lowering: Lowering, node: Apply) -> None:
        assert isinstance(node.op, AdvancedIncSubtensor)
        self.lowering = lowering
        self.node = node
        self.op = node.op
        self.x, self.y, *self.arrays = node.inputs
        self.shape = lowering.shape(self.x)
        self.indexed = [self.shape[axis] for axis in self.op.axes]
        self.kept = [n for axis, n in enumerate(self.shape) if axis not in self.op.axes]
        self.common = common_shape(lowering, self.arrays)
        self.count = dims.multiply(*self.common)
        self.most = lowering.capacity(self.common)
        self.has_few_places = lowering.capacity(self.indexed) < self.most

    def way(self) -> tuple[Callable[[View], None], bool]:
        """What does it at a destination, and whether that stores all of the tensor there."""
        if self._is_distinct():
            return self.each, False
        if self.most <= CHUNK:
            return (self.by_places, True) if self.has_few_places else (self.by_indices, False)
        few_entries = self.lowering.capacity(self.shape) <= FEW_ENTRIES
        return (self.by_chunks, True) if few_entries else (self.by_order, False)

    def _is_distinct(self) -> bool:
        """Whether no two indices mean the same place, as is sure of a mask's and of where an array counts."""
        if any(array.ndim != 1 or array.type.shape == (1,) for array in self.arrays):
            return False
        owner = self.arrays[0].owner
        if owner is not None and isinstance(owner.op, Nonzero) and {*self.arrays} == {*owner.outputs}:
            return True
        return any(is_range(self.lowering, array) for array in self.arrays)

    def _places(self, flat: Expression, builder: NestBuilder) -> list[Expression]:
        """The places along the indexed axes that an entry of the index arrays means."""
        indices = decoded(flat, self.common, builder)
        return [
            place_of(self.lowering, array, indices, length, builder)
            for length, array in zip(self.indexed, self.arrays, strict=True)
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

    def _indices(self, places: Sequence[Expression], kept: Sequence[Expression]) -> list[Expression]:
        supply = iter(kept)
        by_axis = dict(zip(self.op.axes, places, strict=True))
        return [by_axis[axis] if axis in by_axis else next(supply) for axis in range(len(self.shape))]

    def _add_kernel(self, builder: NestBuilder, stem: str) -> None:
        self.lowering.add_kernel(builder, [self.node], stem)

    def _finish(self, builder: NestBuilder) -> None:
        self._add_kernel(builder, "scatter_set" if self.op.set_ else "scatter_add")

    # --- numbers of indices ---------------------------------------------------------------------------

    def _scratch(self, stem: str, most: int) -> View:
        """Room for a number of each index, at most so large."""
        return self.lowering.scratch(stem, "int32" if most < 2**31 else INDEX, [self.count])

    def _load(self, view: View, at: Expression, builder: NestBuilder) -> Expression:
        return builder.let(nest.cast(builder.load(view, [at]), INDEX))

    def _store(self, view: View, at: Expression, value: Expression, builder: NestBuilder) -> None:
        builder.store(view, [at], nest.cast(value, view.buffer.dtype))

    def _number(self, places: Sequence[Expression], builder: NestBuilder) -> Expression:
        """Places along the indexed axes as one number, in C order."""
        number: Expression = Literal(INDEX, 0)
        for place, length in zip(places, self.indexed, strict=True):
            number = nest.add(nest.multiply(number, builder.size(length)), place)
        return number

    def _numbered(self) -> View:
        """The place that each index means, as one number."""
        numbered = self._scratch("places", self.lowering.capacity(self.indexed))
        builder = self.lowering.builder()
        with builder.loop(self.count, parallel=True) as flat:
            self._store(numbered, flat, self._number(self._places(flat, builder), builder), builder)
        self._add_kernel(builder, "places")
        return numbered

    # --- few indices or places, or what never meets --------------------------------------------------

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

    def by_chunks(self, destination: View) -> None:
        """Every entry goes through each chunk of the indices, then through what was found in the chunks."""
        chunks, numbered = Chunks(self.lowering, self.count), self._numbered()
        found = self._last_of(chunks, numbered) if self.op.set_ else self._sums_of(chunks, numbered)
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        with builder.loops(self.shape, vector=False) as indices:
            kept = [index for axis, index in enumerate(indices) if axis not in self.op.axes]
            places = [indices[axis] for axis in self.op.axes]
            total = builder.declare(self.lowering.value(self.x, indices, builder))
            if self.op.set_:
                last = builder.declare(Literal(INDEX, -1), "last")
                with builder.loop(chunks.count, "k") as k:
                    builder.accumulate(last, "maximum", builder.load(found, [k, *places]))
                with builder.when(nest.call("ge", last, Literal(INDEX, 0))):
                    self._take_in(total, last, kept, builder)
            else:
                with builder.loop(chunks.count, "k") as k:
                    brought = builder.load(found, [k, *indices])
                    builder.assign(total, nest.call("add", total, brought))
            builder.store(destination, indices, total)
        self._finish(builder)

    def _last_of(self, chunks: Chunks, numbered: View) -> View:
        """For each chunk and place, the last index there that means it; -1 without one."""
        nowhere = Literal(INDEX, -1)
        found = self.lowering.scratch("last", INDEX, [chunks.count, *self.indexed])
        builder = self.lowering.builder()
        with (
            chunks.loop(builder) as (chunk, start, extent),
            builder.loops(self.indexed, vector=False) as places,
        ):
            own = builder.let(self._number(places, builder), "own")
            last = builder.declare(nowhere, "last")
            with builder.loop(extent, "k") as k:
                flat = builder.let(nest.add(start, k), "flat")
                meets = nest.call("eq", self._load(numbered, flat, builder), own)
                builder.accumulate(last, "maximum", Select(INDEX, meets, flat, nowhere))
            builder.store(found, [chunk, *places], last)
        self._add_kernel(builder, "last_of_chunks")
        return found

    def _sums_of(self, chunks: Chunks, numbered: View) -> View:
        """For each chunk and entry of the tensor, what the indices there bring."""
        sums = self.lowering.scratch("sums", self.x.dtype, [chunks.count, *self.shape])
        builder = self.lowering.builder()
        with (
            chunks.loop(builder) as (chunk, start, extent),
            builder.loops(self.shape, vector=False) as indices,
        ):
            kept = [index for axis, index in enumerate(indices) if axis not in self.op.axes]
            own = builder.let(self._number([indices[axis] for axis in self.op.axes], builder), "own")
            total = builder.declare(_nothing(self.x.dtype))
            with builder.loop(extent, "k") as k:
                flat = builder.let(nest.add(start, k), "flat")
                with builder.when(nest.call("eq", self._load(numbered, flat, builder), own)):
                    self._take_in(total, flat, kept, builder)
            builder.store(sums, [chunk, *indices], total)
        self._add_kernel(builder, "sums_of_chunks")
        return sums

    def by_indices(self, destination: View) -> None:
        """Every index that is the first to mean its place goes through itself and all that follow."""
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        with builder.loops([self.count, *self.kept], vector=False) as (flat, *kept):
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

    def each(self, destination: View) -> None:
        """Every index has its place to itself."""
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        with builder.loops([self.count, *self.kept], vector=False) as (flat, *kept):
            indices = self._indices(self._places(flat, builder), kept)
            before = zero_of(self.x.dtype) if self.op.set_ else builder.load(destination, indices)
            total = builder.declare(before)
            self._take_in(total, flat, kept, builder)
            builder.store(destination, indices, total)
        self._finish(builder)

    # --- many indices --------------------------------------------------------------------------------

    def by_order(self, destination: View) -> None:
        """The indices are sorted by the places that they mean; then the first or last of each place works."""
        runs = self._chunks(self._numbered())
        while runs.length < self.most:
            runs = self._merged(runs)
        if self.op.set_:
            self._assign(runs, destination)
        else:
            self._add(runs, destination)

    def _new_runs(self, length: int) -> _Runs:
        places = self._scratch("places", self.lowering.capacity(self.indexed))
        return _Runs(places, self._scratch("numbers", self.most), length)

    def _chunks(self, numbered: View) -> _Runs:
        """Each chunk sorted: an index's rank is how many others in its chunk come before it."""
        sorted_ = self._new_runs(CHUNK)
        builder = self.lowering.builder()
        with builder.loop(self.count, parallel=True) as flat:
            start = builder.let(_rounded_down(flat, CHUNK), "start")
            left = nest.subtract(builder.size(self.count), start)
            place = self._load(numbered, flat, builder)
            rank = builder.declare(start, "rank")
            with builder.loop(nest.call("minimum", left, Literal(INDEX, CHUNK)), "k") as k:
                other = builder.let(nest.add(start, k), "other")
                bound = nest.add(place, nest.cast(nest.call("lt", other, flat), INDEX))
                before = nest.call("lt", self._load(numbered, other, builder), bound)
                builder.accumulate(rank, "add", nest.cast(before, INDEX))
            self._store(sorted_.places, rank, place, builder)
            self._store(sorted_.numbers, rank, flat, builder)
        self._add_kernel(builder, "sorted_chunks")
        return sorted_

    def _merged(self, runs: _Runs) -> _Runs:
        """Runs merged, several at a time: each entry looks up how many of the other runs come before it."""
        length = runs.length
        merged = self._new_runs(length * WAYS)
        builder = self.lowering.builder()
        with builder.loop(self.count, parallel=True) as at:
            place = self._load(runs.places, at, builder)
            own = builder.let(nest.call("floordiv", at, Literal(INDEX, length)), "run")
            first = builder.let(_rounded_down(own, WAYS), "first")
            before = nest.multiply(nest.subtract(own, first), length)
            rank = builder.declare(nest.subtract(at, before), "rank")
            with builder.loop(min(WAYS, -(-self.most // length)), "k") as k:
                run = builder.let(nest.add(first, k), "run")
                with builder.when(nest.call("ne", run, own)):
                    start = builder.let(nest.multiply(run, length), "start")
                    end = nest.call("minimum", nest.add(start, length), builder.size(self.count))
                    # Of equal places those of earlier runs come first.
                    bound = nest.add(place, nest.cast(nest.call("lt", run, own), INDEX))
                    found = self._behind(runs, bound, start, builder.let(end, "end"), length, builder)
                    builder.accumulate(rank, "add", nest.subtract(found, start))
            self._store(merged.places, rank, place, builder)
            self._store(merged.numbers, rank, self._load(runs.numbers, at, builder), builder)
        self._add_kernel(builder, "merged_runs")
        return merged

    def _behind(
        self,
        runs: _Runs,
        bound: Expression,
        start: Expression,
        end: Expression,
        most: int,
        builder: NestBuilder,
    ) -> nest.Name:
        """The first entry, of at most so many in order, whose place is not below a bound; or the end."""
        bound = builder.let(bound, "bound")
        found = builder.declare(start, "found")
        rounds = most.bit_length()
        with builder.loop(rounds, "b") as b:
            step = nest.call("shift_right", Literal(INDEX, 1 << rounds - 1), b)
            reach = builder.let(nest.add(found, step), "reach")
            with builder.when(nest.call("le", reach, end)):
                place = self._load(runs.places, nest.subtract(reach, 1), builder)
                with builder.when(nest.call("lt", place, bound)):
                    builder.assign(found, reach)
        return found

    def _differs(
        self, runs: _Runs, at: Expression, other: Expression, limit: Expression, builder: NestBuilder
    ) -> Expression:
        """Whether an entry is at a limit, or its place is not that of its neighbour before the limit."""
        neighbour = self._load(runs.places, builder.let(other, "other"), builder)
        differs = nest.call("ne", neighbour, self._load(runs.places, at, builder))
        return nest.call("bitwise_or", nest.call("eq", at, limit), differs)

    def _at_place(
        self, runs: _Runs, at: Expression, kept: Sequence[Expression], builder: NestBuilder
    ) -> list[Expression]:
        """The indices of what an entry means."""
        return self._indices(decoded(self._load(runs.places, at, builder), self.indexed, builder), kept)

    def _loops(self) -> tuple[list[Dimension], int]:
        """The loops over the sorted indices and the axes kept, and the number of the former."""
        place = self.op.place
        return [*self.kept[:place], self.count, *self.kept[place:]], place

    def _assign(self, runs: _Runs, destination: View) -> None:
        """The last index of each place assigns."""
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        loops, place = self._loops()
        with builder.loops(loops, vector=False) as kept:
            at = kept.pop(place)
            last = nest.subtract(builder.size(self.count), 1)
            following = nest.call("minimum", nest.add(at, 1), last)
            with builder.when(self._differs(runs, at, following, last, builder)):
                total = builder.declare(zero_of(self.x.dtype))
                self._take_in(total, self._load(runs.numbers, at, builder), kept, builder)
                builder.store(destination, self._at_place(runs, at, kept, builder), total)
        self._finish(builder)

    def _add(self, runs: _Runs, destination: View) -> None:
        """The first index of each place adds in order what it and those behind it bring."""
        ends = self._ends(runs)
        parts = self._parts(runs, ends) if self.has_few_places else None
        builder = self.lowering.builder()
        builder.buffer(destination.buffer, written=True)
        loops, place = self._loops()
        with builder.loops(loops, vector=False) as kept:
            at = kept.pop(place)
            zero = Literal(INDEX, 0)
            previous = nest.call("maximum", nest.subtract(at, 1), zero)
            with builder.when(self._differs(runs, at, previous, zero, builder)):
                indices = self._at_place(runs, at, kept, builder)
                total = builder.declare(builder.load(destination, indices))
                end = self._load(ends, at, builder)
                rest = at
                if parts is not None:
                    whole = nest.call("floordiv", nest.subtract(end, at), Literal(INDEX, PART))
                    whole = builder.let(whole, "whole")
                    up = nest.call("floordiv", nest.add(at, PART - 1), Literal(INDEX, PART))
                    first = builder.let(up, "first")
                    with builder.loop(whole, "k") as k:
                        part = builder.load(parts, [nest.add(first, k), *kept])
                        builder.assign(total, nest.call("add", total, part))
                    rest = builder.let(nest.add(at, nest.multiply(whole, PART)), "rest")
                with builder.loop(nest.subtract(end, rest), "k") as k:
                    flat = self._load(runs.numbers, nest.add(rest, k), builder)
                    self._take_in(total, flat, kept, builder)
                builder.store(destination, indices, total)
        self._finish(builder)

    def _ends(self, runs: _Runs) -> View:
        """For each sorted index, behind which one its place's last is."""
        ends = self._scratch("ends", self.most)
        builder = self.lowering.builder()
        with builder.loop(self.count, parallel=True) as at:
            bound = nest.add(self._load(runs.places, at, builder), 1)
            end = builder.size(self.count)
            found = self._behind(runs, bound, nest.add(at, 1), end, self.most, builder)
            self._store(ends, at, found, builder)
        self._add_kernel(builder, "ends")
        return ends

    def _parts(self, runs: _Runs, ends: View) -> View:
        """The sums of whole parts of what belongs to one place, counted from its first index.

        A part is kept by the one multiple of PART among its positions.
        """
        count = dims.ceil_divide(self.count, PART)
        sums = self.lowering.scratch("parts", self.x.dtype, [count, *self.kept])
        builder = self.lowering.builder()
        with builder.loops([count, *self.kept], vector=False) as (part, *kept):
            at = builder.let(nest.multiply(part, PART), "at")
            place = self._load(runs.places, at, builder)
            first = self._behind(runs, place, Literal(INDEX, 0), at, self.most, builder)
            behind = nest.call("mod", nest.subtract(at, first), Literal(INDEX, PART))
            start = builder.let(nest.subtract(at, behind), "start")
            end = self._load(ends, at, builder)
            with builder.when(nest.call("le", nest.add(start, PART), end)):
                total = builder.declare(_nothing(self.x.dtype))
                with builder.loop(PART, "k") as k:
                    flat = self._load(runs.numbers, nest.add(start, k), builder)
                    self._take_in(total, flat, kept, builder)
                builder.store(sums, [part, *kept], total)
        self._add_kernel(builder, "parts")
        return sums


def _rounded_down(number: Expression, to: int) -> Expression:
    return nest.multiply(nest.call("floordiv", number, Literal(INDEX, to)), to)


def _nothing(dtype: str) -> Literal:
    """What can be added without a change: of floats the negative zero alone is that."""
    return Literal(dtype, -0.0) if dtype in FLOATS else zero_of(dtype)
