"""What tiles of products are made of, in LLVM: hands the toolkit what Numba's `intrinsic` wants.

- `shared_load1(array, index, ahead)`, `shared_load2`, `shared_load4`: neighbouring entries of shared memory
  from `index + ahead` on, as a tuple, in one access; both are multiples of how many there are.
- `shared_store(array, index, ahead, value)`: an entry the other way. The number `ahead` becomes a part of the
  instruction, so that one sum of an index serves many accesses.
- `multiply_add(sums, rows, columns)`: `sums[i * len(columns) + j]` and the product of `rows[i]` and
  `columns[j]`, rounded once, for all i and j.
- `quotient(number, divisor)`: the whole quotient of two that are not negative, of the number's dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir


def shared_load_of(count: int) -> Callable[..., Any]:
    """`shared_load1`, `shared_load2` or `shared_load4`."""

    def load(typing: Any, array: Any, index: Any, ahead: Any) -> Any:
        from numba import types

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            first = _place(context, builder, signature, arguments)
            element = context.get_value_type(array.dtype)
            where = builder.bitcast(first, ir.VectorType(element, count).as_pointer())
            vector = builder.load(where, align=count * context.get_abi_sizeof(element))
            entries = [builder.extract_element(vector, ir.IntType(32)(each)) for each in range(count)]
            return context.make_tuple(builder, signature.return_type, entries)

        return types.UniTuple(array.dtype, count)(array, index, ahead), generate

    return load


def shared_store(typing: Any, array: Any, index: Any, ahead: Any, value: Any) -> Any:
    """A value put into shared memory."""
    from numba import types

    if value != array.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        builder.store(arguments[3], _place(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(array, index, ahead, value), generate


def _place(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
    """The pointer to an array's entry; the sum is left to the pointer, which does not wrap."""
    memory = context.make_array(signature.args[0])(context, builder, arguments[0])
    pointer = memory.data
    for kind, number in zip(signature.args[1:3], arguments[1:3], strict=True):
        if number.type.width < 64:
            number = (builder.sext if kind.signed else builder.zext)(number, ir.IntType(64))
        pointer = builder.gep(pointer, [number], inbounds=True)
    return pointer


def multiply_add(typing: Any, sums: Any, rows: Any, columns: Any) -> Any:
    """All products of a column and a row of numbers, added to sums."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        total, left, right = arguments
        found = []
        for i in range(rows.count):
            for j in range(columns.count):
                place = i * columns.count + j
                found.append(
                    builder.fma(
                        builder.extract_value(left, i),
                        builder.extract_value(right, j),
                        builder.extract_value(total, place),
                    )
                )
        return context.make_tuple(builder, signature.return_type, found)

    return sums(sums, rows, columns), generate


def quotient(typing: Any, number: Any, divisor: Any) -> Any:
    """A division without signs, as wide as the number divided."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        dividend, by = arguments
        if by.type.width != dividend.type.width:
            by = (builder.trunc if by.type.width > dividend.type.width else builder.zext)(by, dividend.type)
        return builder.udiv(dividend, by)

    return number(number, divisor), generate


#: By name what `intrinsic` wants.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "shared_load1": shared_load_of(1),
    "shared_load2": shared_load_of(2),
    "shared_load4": shared_load_of(4),
    "shared_store": shared_store,
    "quotient": quotient,
    "multiply_add": multiply_add,
}
