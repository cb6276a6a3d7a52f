"""Takes a contraction of two strided arrays and a machine, and plans its register tile and loops.
Hands on an LLVM function `void(A, B, C, run-time parameters..., first, last)` in vector instructions.

One form serves matrix products with any transposition, batched and tensor products, and convolution
with both its gradients: a convolution is a contraction whose two arrays overlap in their strides,
so no patches are ever copied out.

>>> from llvmlite import ir
>>> from symnet.backend.cpu.machine import host_machine
>>> module = ir.Module()
>>> function = emit_contraction(module, "outer_product", Contraction("float32", (
...     Dimension("row", 3, 1, 0, 5), Dimension("column", 5, 0, 1, 1))), host_machine())
>>> function.name
'outer_product'
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from llvmlite import ir

from symnet.compile.contraction import Contraction, Dimension, runs

from .contraction_loops import Loop, remainder_sizes
from .contraction_plan import plan_contraction
from .contraction_tile import Pointers, TileEmitter, join_nested
from .machine import Machine
from .vectors import INDEX, Count

__all__ = ["Contraction", "Dimension", "contraction_units", "emit_contraction", "plan_contraction"]


def contraction_units(contraction: Contraction, machine: Machine) -> int | None:
    """How many units of equal or (the last one) less work a contraction's function can be asked for.

    The units are independent of each other: any may be done at the same time as, or without, others.
    None where the work can't be taken in parts that are known before it runs.
    """
    return plan_contraction(contraction, machine).units


def emit_contraction(module: ir.Module, name: str, contraction: Contraction, machine: Machine) -> ir.Function:
    """Add function `name` to `module`: `void(T* A, T* B, T* C, ..., i64 parameters..., i64 first, i64 last)`.

    The arrays that the epilogue reads follow C, and the run-time parameters in the order of
    `contraction.parameters`. Of `contraction_units` the function does those from `first` to before `last`,
    each to the same bits whatever the range; where those are None it does everything. All but C are only
    read, and C overlaps none of them. No memory is touched but the elements that the indices name. Sums are
    taken in an order that depends on the contraction and the machine only, so results repeat; NaN and
    infinity go through as in any order of summation.
    """
    plan = plan_contraction(contraction, machine)
    pointer = ir.PointerType()
    labels = ["a", "b", "c", *(f"x{n}" for n in range(contraction.others))]
    arguments = [pointer] * len(labels) + [INDEX] * (len(contraction.parameters) + 2)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.attributes.add("nounwind")
    for argument, label in zip(function.args[: len(labels)], labels, strict=True):
        argument.name = label
        argument.add_attribute("noalias")
    function.args[-2].name, function.args[-1].name = "first", "last"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    if plan.kind != "nothing":
        _Emitter(builder, function, contraction, plan, machine).emit()
    builder.ret_void()
    return function


class _Emitter(TileEmitter):
    """Writes one plan out: the loops round the tiles, and the tiles in them."""

    def emit(self) -> None:
        a, b, *others = self.arrays
        if self.plan.swapped:
            a, b = b, a
        self._nest(0, self._moved([a, b, *others], self.plan.offsets))

    # -- loops round the tile --------------------------------------------------------------------

    def _nest(self, level: int, pointers: Pointers) -> None:
        """Write loop `level` and everything inside it."""
        plan = self.plan
        if level == plan.pack_level and not self.packed:
            self.packed = True
            panel = self._pack(pointers[1])
            self._nest(level, [pointers[0], panel, *pointers[2:]])
            self.packed = False
            return
        if level == len(plan.loops):
            self._tile(pointers)
            return
        loop = plan.loops[level]
        if loop.role == "block":
            self._block(loop, level, pointers)
            return
        extent = self.extents[loop.dimension]
        shared = level == plan.split
        if shared:
            pointers = self._at_first(loop, pointers)
        segments = self._shared(loop) if shared else self._segments(loop, extent)
        for size, count, mask in segments:
            self.mask = mask if loop.role == "lanes" else self.mask
            if loop.role != "step":
                self.sizes[loop.dimension] = size
            pointers = self._advance(
                loop.dimension, size, count, pointers, lambda inside: self._nest(level + 1, inside)
            )
        if loop.role == "lanes":
            self.mask = None

    def _at_first(self, loop: Loop, pointers: Pointers) -> Pointers:
        """The pointers moved to the first unit asked for."""
        vectors = self.emit_vectors
        skipped = vectors.multiply(self.first, loop.size)
        strides = self._strides(loop.dimension)
        return self._moved(pointers, [vectors.multiply(skipped, stride) for stride in strides])

    def _shared(self, loop: Loop) -> list[tuple[int, Count, ir.Value | None]]:
        """The stretches of a loop from the first to before the last unit asked for."""
        extent = self.extents[loop.dimension]
        assert isinstance(extent, int)
        whole, rest = divmod(extent, loop.size)
        builder, full = self.builder, ir.Constant(INDEX, whole)
        below = builder.icmp_signed("<", self.last, full)
        count = builder.sub(builder.select(below, self.last, full), self.first)
        found: list[tuple[int, Count, ir.Value | None]] = [(loop.size, count, None)]
        if rest:
            some = builder.icmp_signed("<", self.first, self.last)
            reached = builder.icmp_signed(">", self.last, full)
            found.append((rest, builder.zext(builder.and_(some, reached), INDEX), None))
        return found

    def _segments(self, loop: Loop, extent: Count) -> list[tuple[int, Count, ir.Value | None]]:
        """(indices taken, how often, mask of lanes) for each stretch of a loop."""
        if isinstance(extent, int):
            whole, rest = divmod(extent, loop.size)
            return [(s, n, None) for s, n in ((loop.size, whole), (rest, 1)) if s and n]
        found: list[tuple[int, Count, ir.Value | None]] = []
        if loop.role == "step":
            return [(1, extent, None)]
        builder = self.builder
        sizes = remainder_sizes(loop, self.width)
        left: ir.Value = extent
        for size in sizes:
            count = builder.sdiv(left, ir.Constant(INDEX, size))
            left = builder.sub(left, self.emit_vectors.multiply(count, size))
            found.append((size, count, None))
        if loop.role == "lanes":
            mask = self.emit_vectors.first_lanes(left, self.width)
            some = builder.zext(builder.icmp_signed(">", left, ir.Constant(INDEX, 0)), INDEX)
            found.append((self.width, some, mask))
        return found

    def _advance(
        self,
        name: str,
        size: Count,
        count: Count,
        pointers: Pointers,
        body: Callable[[Pointers], None],
    ) -> Pointers:
        """Loop `count` times, moving the pointers by `size` indices of a dimension each time."""
        vectors = self.emit_vectors
        strides = self._strides(name)
        moving = [n for n, stride in enumerate(strides) if stride != 0]

        def once(carried: list[ir.Value]) -> list[ir.Value]:
            inside = list(pointers)
            for n, pointer in zip(moving, carried, strict=True):
                inside[n] = pointer
            body(inside)
            ended = self._moved(inside, [vectors.multiply(size, stride) for stride in strides])
            return [ended[n] for n in moving]

        ended = vectors.loop(count, [pointers[n] for n in moving], once)
        result = list(pointers)
        for n, pointer in zip(moving, ended, strict=True):
            result[n] = pointer
        return result

    def _block(self, loop: Loop, level: int, pointers: Pointers) -> None:
        """Narrow a dimension for the loops inside; over a contracted one, C adds up."""
        name, size = loop.dimension, loop.size
        extent = self.extents[name]
        contracted = self.dimensions[name].c == 0
        builder, vectors = self.builder, self.emit_vectors
        outside_first, outside_last = self.is_first, self.is_last
        stretches: list[tuple[Count, Count]]
        if level == self.plan.split:
            pointers = self._at_first(loop, pointers)
            stretches = [(taken, count) for taken, count, _ in self._shared(loop)]
        elif contracted and self.epilogue is not None:
            # The last block is code of its own, as it alone has whole sums; it may be empty.
            stretches = self._last_apart(extent, size)
        elif isinstance(extent, int):
            whole, rest = divmod(extent, size)
            stretches = [(size, whole), (rest, 1 if rest else 0)]
        else:
            count = builder.sdiv(extent, ir.Constant(INDEX, size))
            left = builder.sub(extent, self.emit_vectors.multiply(count, size))
            none = builder.icmp_signed("==", count, ir.Constant(INDEX, 0))
            some = builder.icmp_signed(">", left, ir.Constant(INDEX, 0))
            # With nothing to sum the tile still runs once, and writes zeros.
            needed = builder.or_(some, none) if contracted else some
            stretches = [(size, count), (left, builder.zext(needed, INDEX))]
        flag: ir.Value = ir.Constant(ir.IntType(1), 1)
        for number, (taken, count) in enumerate(stretches):
            self.extents[name] = taken
            if contracted:
                self.is_last = number == len(stretches) - 1
            strides = self._strides(name)

            def once(
                carried: list[ir.Value], taken: Count = taken, strides: list[Count] = strides
            ) -> list[ir.Value]:
                self.is_first = carried[-1] if contracted else outside_first
                self._nest(level + 1, carried[:-1])
                moved = self._moved(carried[:-1], [vectors.multiply(taken, each) for each in strides])
                return [*moved, ir.Constant(ir.IntType(1), 0)]

            *pointers, flag = vectors.loop(count, [*pointers, flag], once)
        self.extents[name] = extent
        self.is_first, self.is_last = outside_first, outside_last

    def _last_apart(self, extent: Count, size: int) -> list[tuple[Count, Count]]:
        """(indices taken, how often) of the blocks before the last, and of the last."""
        if isinstance(extent, int):
            before = max(0, extent - 1) // size
            return [(size, before), (extent - before * size, 1)]
        builder = self.builder
        # No index: -1 divided so is 0.
        before = builder.sdiv(builder.sub(extent, ir.Constant(INDEX, 1)), ir.Constant(INDEX, size))
        return [(size, before), (builder.sub(extent, self.emit_vectors.multiply(before, size)), 1)]

    # -- a panel of B, its columns side by side --------------------------------------------------

    def _pack(self, b: ir.Value) -> ir.Value:
        """Copy the tile's columns of B for every contracted index into a panel on the stack."""
        plan, vectors = self.plan, self.emit_vectors
        chunks = self._chunks(1)
        padded = len(chunks) * self.width
        panel = self._panel(padded)

        nested: list[tuple[Count, list[Count]]] = []
        step: Count = padded
        for name in reversed(plan.contracted):
            nested.insert(0, (self.extents[name], [self._strides(name)[1], step]))
            # Only the outermost extent may be unknown, and nothing is outside it.
            step = vectors.multiply(step, self.extents[name])
        nested = join_nested(nested)

        def copy(depth: int, source: ir.Value, target: ir.Value) -> None:
            if depth == len(nested):
                for number, chunk in enumerate(chunks):
                    vector = self._columns(source, 0, chunk)
                    place = [number * self.width + lane for lane in range(self.width)]
                    vectors.store(vector, target, place, False)
                return
            extent, steps = nested[depth]

            def walk(
                count: Count, taken: int, start: list[ir.Value], body: Callable[[list[ir.Value]], None]
            ) -> list[ir.Value]:
                def once(carried: list[ir.Value]) -> list[ir.Value]:
                    body(carried)
                    moves = [vectors.multiply(taken, each) for each in steps]
                    return [vectors.at(place, move) for place, move in zip(carried, moves, strict=True)]

                return vectors.loop(count, start, once)

            start = [source, target]
            apart = all(len(runs(chunk)) == len(chunk) for chunk in chunks)
            if depth == len(nested) - 1 and steps[0] == 1 and apart and isinstance(extent, int):
                start = walk(
                    extent // self.width, self.width, start, lambda at: self._pack_turned(at, chunks, padded)
                )
                extent %= self.width
            walk(extent, 1, start, lambda at: copy(depth + 1, *at))

        copy(0, b, panel)
        return panel

    def _pack_turned(self, places: list[ir.Value], chunks: list[list[int]], padded: int) -> None:
        """Copy a vector's width of contracted indices, along which B's elements lie side by side."""
        vectors, width = self.emit_vectors, self.width

        def turn(source: ir.Value, target: ir.Value, chunk: list[int]) -> None:
            rows = [vectors.load(source, range(lane, lane + width), width) for lane in chunk]
            rows += [vectors.zero(width)] * (width - len(rows))
            for n, column in enumerate(vectors.transpose(rows)):
                vectors.store(column, target, range(n * padded, n * padded + width), False)

        # Chunks that differ in nothing but their place share their code, which is long.
        alike = [chunk for chunk in chunks if [lane - chunk[0] for lane in chunk] == chunks[0]]
        ways = {later[0] - chunk[0] for chunk, later in itertools.pairwise(alike)}
        if len(ways) != 1:
            alike, ways = chunks[:1], {0}
        way = ways.pop()

        def once(carried: list[ir.Value]) -> list[ir.Value]:
            turn(carried[0], carried[1], chunks[0])
            return [vectors.at(carried[0], way), vectors.at(carried[1], width)]

        vectors.loop(len(alike), places, once)
        for number, chunk in enumerate(chunks[len(alike) :], len(alike)):
            turn(places[0], vectors.at(places[1], number * width), chunk)

    def _panel(self, padded: int) -> ir.Value:
        """Stack memory for a panel of `padded` columns; the first and largest serves them all."""
        if self.panel is not None and self.panel[1] >= padded:
            return self.panel[0]
        blocked = {loop.dimension: loop.size for loop in self.plan.loops if loop.role == "block"}
        count = padded
        for name in self.plan.contracted:
            extent = blocked.get(name, self.extents[name])
            assert isinstance(extent, int)
            count *= extent
        with self.builder.goto_entry_block():
            memory = self.builder.alloca(ir.ArrayType(self.element, count))
            memory.align = 64
            # llvmlite types a stack slot by what it holds; all else here is an opaque pointer.
            memory.type = ir.PointerType()
        self.panel = (memory, padded)
        return memory
