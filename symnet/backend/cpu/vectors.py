"""Takes an llvmlite builder and offsets of lanes, known when code is made, into strided memory.
Hands on vector loads, stores, multiply-adds and sums across lanes that never touch other memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from llvmlite import ir

from symnet.compile.contraction import runs

Count: TypeAlias = int | ir.Value
INDEX = ir.IntType(64)
NUMBER = ir.IntType(32)


def index(value: Count) -> ir.Value:
    """A count as an LLVM value."""
    return ir.Constant(INDEX, value) if isinstance(value, int) else value


def power_pieces(length: int) -> list[int]:
    """`length` as a sum of falling powers of two.

    >>> power_pieces(13)
    [8, 4, 1]
    """
    return [1 << bit for bit in reversed(range(length.bit_length())) if length >> bit & 1]


class Vectors:
    """Emits vector code for one element type at the place where `builder` stands."""

    def __init__(self, builder: ir.IRBuilder, element: ir.Type, element_bytes: int, masks: bool) -> None:
        self.builder = builder
        self.element = element
        self.element_bytes = element_bytes
        self.masks = masks
        kind = "i" if isinstance(element, ir.IntType) else "f"
        self.suffix = f"{kind}{8 * element_bytes}"

    # -- integers and addresses: numbers stay numbers as long as they can ------------------------

    def multiply(self, left: Count, right: Count) -> Count:
        if isinstance(left, int) and isinstance(right, int):
            return left * right
        if left == 1 or right == 1:
            return right if left == 1 else left
        if left == 0 or right == 0:
            return 0
        return self.builder.mul(index(left), index(right))

    def add(self, left: Count, right: Count) -> Count:
        if isinstance(left, int) and isinstance(right, int):
            return left + right
        if left == 0 or right == 0:
            return right if left == 0 else left
        return self.builder.add(index(left), index(right))

    def at(self, pointer: ir.Value, offset: Count) -> ir.Value:
        """`pointer` moved by `offset` elements."""
        if offset == 0:
            return pointer
        return self.builder.gep(pointer, [index(offset)], source_etype=self.element)

    def loop(
        self,
        count: Count,
        carried: Sequence[ir.Value],
        body: Callable[[list[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Run `body` `count` times, handing its results to its next run; returns the last ones."""
        if isinstance(count, int):
            if count <= 0:
                return list(carried)
            if count == 1:
                return list(body(list(carried)))
        builder = self.builder
        before = builder.block
        inside = builder.append_basic_block("loop")
        after = builder.append_basic_block("after")
        if isinstance(count, int):
            builder.branch(inside)
        else:
            some = builder.icmp_signed(">", count, ir.Constant(INDEX, 0))
            builder.cbranch(some, inside, after)
        builder.position_at_end(inside)
        left = builder.phi(INDEX)
        left.add_incoming(index(count), before)
        phis = []
        for value in carried:
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        results = list(body(list(phis)))
        end = builder.block
        fewer = builder.sub(left, ir.Constant(INDEX, 1))
        left.add_incoming(fewer, end)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value, end)
        builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(INDEX, 0)), inside, after)
        builder.position_at_end(after)
        if isinstance(count, int):
            return results
        merged = []
        for start, value in zip(carried, results, strict=True):
            phi = builder.phi(value.type)
            phi.add_incoming(start, before)
            phi.add_incoming(value, end)
            merged.append(phi)
        return merged

    # -- values ----------------------------------------------------------------------------------

    def zero(self, width: int) -> ir.Constant:
        return ir.Constant(ir.VectorType(self.element, width), None)

    def broadcast(self, pointer: ir.Value, offset: Count, width: int) -> ir.Value:
        """The element at `pointer` + `offset`, in every lane."""
        scalar = self.builder.load(self.at(pointer, offset), align=self.element_bytes, typ=self.element)
        return self.in_every_lane(scalar, width)

    def in_every_lane(self, scalar: ir.Value, width: int) -> ir.Value:
        undefined = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(NUMBER, 0))
        if width == 1:
            return first
        zeros = ir.Constant(ir.VectorType(NUMBER, width), None)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c, rounded once."""
        return self._call("llvm.fma", c.type, [a, b, c], a.type)

    def shuffle(self, left: ir.Value, right: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """Lanes picked from `left` followed by `right`."""
        picked = [ir.Constant(NUMBER, lane) for lane in lanes]
        mask = ir.Constant(ir.VectorType(NUMBER, len(picked)), picked)
        return self.builder.shuffle_vector(left, right, mask)

    def _call(self, name: str, result: ir.Type, arguments: list[ir.Value], vector: ir.VectorType) -> ir.Value:
        full = f"{name}.v{vector.count}{self.suffix}"
        if name.startswith("llvm.masked"):
            full += ".p0"
        module = self.builder.module
        function = module.globals.get(full)
        if function is None:
            kind = ir.FunctionType(result, [argument.type for argument in arguments])
            function = ir.Function(module, kind, full)
        return self.builder.call(function, arguments)

    # -- memory ----------------------------------------------------------------------------------

    def load(self, pointer: ir.Value, offsets: Sequence[int], width: int) -> ir.Value:
        """A vector whose first lanes are the elements at `offsets`; lanes beyond them are zero."""
        found = runs(offsets)
        lengths = {length for _, _, length in found}
        if len(offsets) == width and len(lengths) == 1:
            length = lengths.pop()
            if length == width:
                return self._plain_load(pointer, found[0][1], width)
            if length > 1 and length & (length - 1) == 0:
                return self._join([self._plain_load(pointer, offset, length) for _, offset, _ in found])
        vector: ir.Value = self.zero(width)
        for lane, offset, length in found:
            if self.masks and length > 1:
                mask = self.constant_mask(lane, length, width)
                vector = self.masked_load(pointer, offset - lane, mask, vector)
                continue
            for piece in power_pieces(length):
                vector = self._insert(vector, self._plain_load(pointer, offset, piece), lane)
                lane, offset = lane + piece, offset + piece
        return vector

    def load_lanes(
        self, pointer: ir.Value, offsets: Sequence[int], width: int, mask: ir.Value | None
    ) -> ir.Value:
        """`load`, but with a mask the lanes where it is true, which lie evenly apart; others are zero."""
        if len(offsets) > 1 and len(set(offsets)) == 1:
            return self.broadcast(pointer, offsets[0], width)
        if mask is None:
            return self.load(pointer, offsets, width)
        if len(offsets) == 1 or offsets[1] == offsets[0] + 1:
            return self.masked_load(pointer, offsets[0], mask, self.zero(width))
        vector = self.broadcast(pointer, offsets[0], width)
        for lane, offset in enumerate(offsets[1:], 1):
            # Where the mask is false there may be no memory: the first lane is there always.
            number = ir.Constant(NUMBER, lane)
            inside = self.builder.extract_element(mask, number)
            place = self.builder.select(inside, index(offset), index(offsets[0]))
            scalar = self.builder.load(self.at(pointer, place), align=self.element_bytes, typ=self.element)
            vector = self.builder.insert_element(vector, scalar, number)
        return vector

    def store(self, vector: ir.Value, pointer: ir.Value, offsets: Sequence[int], accumulate: bool) -> None:
        """Write the first lanes of `vector` to `offsets`, or add them to what is there."""
        width = vector.type.count
        if accumulate:
            vector = self.builder.fadd(self.load(pointer, offsets, width), vector)
        for lane, offset, length in runs(offsets):
            if self.masks and 1 < length < width:
                mask = self.constant_mask(lane, length, width)
                self.masked_store(vector, pointer, offset - lane, mask)
                continue
            for piece in power_pieces(length):
                part = vector
                if piece == 1 and width > 1:
                    part = self.builder.extract_element(vector, ir.Constant(NUMBER, lane))
                elif piece < width:
                    part = self.shuffle(vector, vector, range(lane, lane + piece))
                self.builder.store(part, self.at(pointer, offset), align=self.element_bytes)
                lane, offset = lane + piece, offset + piece

    def _plain_load(self, pointer: ir.Value, offset: int, width: int) -> ir.Value:
        kind = ir.VectorType(self.element, width)
        return self.builder.load(self.at(pointer, offset), align=self.element_bytes, typ=kind)

    def _join(self, parts: list[ir.Value]) -> ir.Value:
        """Vectors of one width, side by side."""
        while len(parts) > 1:
            lanes = range(2 * parts[0].type.count)
            parts = [
                self.shuffle(left, right, lanes) for left, right in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    def _insert(self, vector: ir.Value, part: ir.Value, lane: int) -> ir.Value:
        """`vector` with the lanes from `lane` on replaced by those of `part`."""
        width, length = vector.type.count, part.type.count
        if length == width:
            return part
        if length == 1:
            scalar = self.builder.extract_element(part, ir.Constant(NUMBER, 0))
            return self.builder.insert_element(vector, scalar, ir.Constant(NUMBER, lane))
        wide = self.shuffle(part, part, [min(n, length - 1) for n in range(width)])
        picked = [width + n - lane if lane <= n < lane + length else n for n in range(width)]
        return self.shuffle(vector, wide, picked)

    def constant_mask(self, lane: int, length: int, width: int) -> ir.Constant:
        """True in `length` lanes from `lane` on."""
        bit = ir.IntType(1)
        chosen = [ir.Constant(bit, int(lane <= n < lane + length)) for n in range(width)]
        return ir.Constant(ir.VectorType(bit, width), chosen)

    def first_lanes(self, count: ir.Value, width: int) -> ir.Value:
        """True in the first `count` lanes, for a count that is known at run time."""
        kind = ir.VectorType(INDEX, width)
        numbers = ir.Constant(kind, [ir.Constant(INDEX, n) for n in range(width)])
        return self.builder.icmp_signed("<", numbers, self.in_every_lane(count, width))

    def masked_load(self, pointer: ir.Value, offset: int, mask: ir.Value, otherwise: ir.Value) -> ir.Value:
        """Elements from `offset` on where `mask` is true, lanes of `otherwise` elsewhere."""
        align = ir.Constant(NUMBER, self.element_bytes)
        arguments = [self.at(pointer, offset), align, mask, otherwise]
        return self._call("llvm.masked.load", otherwise.type, arguments, otherwise.type)

    def masked_store(self, vector: ir.Value, pointer: ir.Value, offset: int, mask: ir.Value) -> None:
        """Write the lanes of `vector` where `mask` is true to `offset` on."""
        align = ir.Constant(NUMBER, self.element_bytes)
        arguments = [vector, self.at(pointer, offset), align, mask]
        self._call("llvm.masked.store", ir.VoidType(), arguments, vector.type)

    def transpose(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        """A vector for each lane of `rows`, whose first lanes are the rows' elements there."""
        width = rows[0].type.count
        undefined = ir.Constant(rows[0].type, ir.Undefined)
        vectors = [*rows, *[undefined] * (width - len(rows))]
        half = width // 2
        while half:
            # Of each two vectors so far apart, blocks of so many lanes change places.
            low = [lane if not lane & half else width + lane - half for lane in range(width)]
            high = [lane + half if not lane & half else width + lane for lane in range(width)]
            for n in range(width):
                if not n & half:
                    pair = vectors[n], vectors[n + half]
                    if pair != (undefined, undefined):
                        vectors[n] = self.shuffle(*pair, low)
                        vectors[n + half] = self.shuffle(*pair, high)
            half //= 2
        return vectors

    # -- sums across lanes -----------------------------------------------------------------------

    def sums(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """One lane for each of up to a width of vectors: the sum of that vector's lanes.

        Halves are added to halves in a fixed order, two vectors at a time, so that the sums of many
        vectors cost little more than that of one.
        """
        width = vectors[0].type.count
        count = 1 << (len(vectors) - 1).bit_length()
        padding = ir.Constant(vectors[0].type, ir.Undefined)
        parts = list(vectors) + [padding] * (count - len(vectors))
        segment = width
        while segment > 1:
            half = segment // 2
            pair = len(parts) > 1
            span = 2 * width if pair else parts[0].type.count
            lows = [s + n for s in range(0, span, segment) for n in range(half)]
            highs = [lane + half for lane in lows]
            if pair:
                sources = list(zip(parts[::2], parts[1::2], strict=True))
            else:
                sources = [(parts[0], parts[0])]
            parts = [
                self.builder.fadd(self.shuffle(x, y, lows), self.shuffle(x, y, highs)) for x, y in sources
            ]
            segment = half
        return parts[0]
