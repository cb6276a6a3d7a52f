"""What moves and combines several numbers at once, in LLVM: takes pointers and numbers, hands on numbers.

- `load2(pointer, index)`, `load4`: neighbouring entries in one access; `index` times the size of an entry is
  a multiple of the size of them all (8 or 16 bytes).
- `store2(pointer, index, a, b)`, `store4(pointer, index, a, b, c, d)`: the other way.
- `lane_swap(value, mask)`: the value of the thread whose number differs in the bit `mask`, in the same warp;
  all threads of a block call it together.
- `shared_load1(array, index, ahead)`, `shared_load2`, `shared_load4`: neighbouring entries of shared memory
  from `index + ahead` on, in one access; both are multiples of how many there are.
- `shared_store(array, index, ahead, value)`: an entry the other way. The number `ahead` becomes a part of the
  instruction, so that one sum of an index serves many accesses.
- `multiply_add(sums, rows, columns)`: `sums[i * len(columns) + j]` and the product of `rows[i]` and
  `columns[j]`, rounded once, for all i and j.
- `quotient(number, divisor)`: the whole quotient of two that are not negative, of the number's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)

#: How many entries each moves.
LOADS = {"load2": 2, "load4": 4}
STORES = {"store2": 2, "store4": 4}
SHARED_LOADS = {"shared_load1": 1, "shared_load2": 2, "shared_load4": 4}


def load(builder: Any, first: Any, count: int, size: int) -> list[Any]:
    """Entries of `size` bytes from a pointer on, in one aligned access."""
    vector = builder.load(_vector(builder, first, count), align=count * size)
    return [builder.extract_element(vector, _INT32(each)) for each in range(count)]


def store(builder: Any, first: Any, values: Sequence[Any], size: int) -> None:
    """Entries put where a pointer points, in one aligned access."""
    vector = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for each, value in enumerate(values):
        vector = builder.insert_element(vector, value, _INT32(each))
    builder.store(vector, _vector(builder, first, len(values)), align=len(values) * size)


def _vector(builder: Any, first: Any, count: int) -> Any:
    kind = ir.PointerType(ir.VectorType(first.type.pointee, count), first.type.addrspace)
    return builder.bitcast(first, kind)


def ahead_of(builder: Any, first: Any, index: Any, ahead: Any) -> Any:
    """The pointer to an array's entry; the sum is left to the pointer, which does not wrap."""
    return builder.gep(builder.gep(first, [index], inbounds=True), [ahead], inbounds=True)


def lane_swap(builder: Any, given: Any, mask: Any) -> Any:
    """The value of the lane whose number differs in the bits of `mask`; all lanes of the warp are there."""
    kind = given.type
    bits = builder.trunc(mask, _INT32) if mask.type.width > 32 else mask

    def swap(word: Any) -> Any:
        function = ir.FunctionType(_INT32, [_INT32, _INT32])
        asm = ir.InlineAsm(
            function, "shfl.sync.bfly.b32 $0, $1, $2, 31, 0xffffffff;", "=r,r,r", side_effect=True
        )
        return builder.call(asm, [word, bits], attrs=("convergent",))

    if isinstance(kind, ir.DoubleType) or (isinstance(kind, ir.IntType) and kind.width == 64):
        word = given if isinstance(kind, ir.IntType) else builder.bitcast(given, _INT64)
        low = builder.zext(swap(builder.trunc(word, _INT32)), _INT64)
        high = builder.zext(swap(builder.trunc(builder.lshr(word, _INT64(32)), _INT32)), _INT64)
        both = builder.or_(low, builder.shl(high, _INT64(32)))
        return both if isinstance(kind, ir.IntType) else builder.bitcast(both, kind)
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(swap(builder.bitcast(given, _INT32)), kind)
    if kind.width == 32:
        return swap(given)
    return builder.trunc(swap(builder.zext(given, _INT32)), kind)


def multiply_add(builder: Any, sums: Sequence[Any], rows: Sequence[Any], columns: Sequence[Any]) -> list[Any]:
    """All products of a column and a row of numbers, added to sums."""
    products = ((row, column) for row in rows for column in columns)
    return [builder.fma(row, column, total) for (row, column), total in zip(products, sums, strict=True)]


def quotient(builder: Any, dividend: Any, divisor: Any) -> Any:
    """A division without signs, as wide as the wider of the two; the quotient is as wide as the dividend."""
    kind, given = dividend.type, divisor.type
    if given.width > kind.width and isinstance(divisor, ir.Constant) and divisor.constant < 1 << kind.width:
        divisor = kind(divisor.constant)
    elif given.width > kind.width:
        whole = builder.udiv(builder.zext(dividend, given), divisor)
        return builder.trunc(whole, kind)
    return builder.udiv(dividend, builder.zext(divisor, kind))
