"""What tiles of products are made of, in LLVM: hands the toolkit what Numba's `intrinsic` wants.

- `shared_load2(array, index)`, `shared_load4`: neighbouring entries of shared memory as a tuple, in one
  access; `index` times the size of an entry is a multiple of the size of them all.
- `multiply_add(sums, rows, columns)`: `sums[i * len(columns) + j]` and the product of `rows[i]` and
  `columns[j]`, rounded once, for all i and j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir


def shared_load_of(count: int) -> Callable[..., Any]:
    """`shared_load2` or `shared_load4`."""

    def load(typing: Any, array: Any, index: Any) -> Any:
        from numba import types

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            memory = context.make_array(array)(context, builder, arguments[0])
            place = arguments[1]
            if place.type.width < 64:
                place = (builder.sext if index.signed else builder.zext)(place, ir.IntType(64))
            first = builder.gep(memory.data, [place])
            element = context.get_value_type(array.dtype)
            where = builder.bitcast(first, ir.VectorType(element, count).as_pointer())
            vector = builder.load(where, align=count * context.get_abi_sizeof(element))
            entries = [builder.extract_element(vector, ir.IntType(32)(each)) for each in range(count)]
            return context.make_tuple(builder, signature.return_type, entries)

        return types.UniTuple(array.dtype, count)(array, index), generate

    return load


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


#: By name what `intrinsic` wants.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "shared_load2": shared_load_of(2),
    "shared_load4": shared_load_of(4),
    "multiply_add": multiply_add,
}
