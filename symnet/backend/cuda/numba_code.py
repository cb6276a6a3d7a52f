"""What a kernel's text calls, for Numba: hands on `scalar_code` and `memory_code` as it wants them.

These are functions of the arguments' types, which give a signature and what generates code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from symnet.backend.cuda import memory_code, scalar_code

Typed = Callable[..., Any]


def functions_of_math(compute: tuple[int, int]) -> dict[str, Typed]:
    """The functions of `math` in a text."""
    return {
        name: _of_scalars(name, arity, make) for name, (arity, make) in scalar_code.functions(compute).items()
    }


def functions_of_memory() -> dict[str, Typed]:
    """What a text calls by its plain name."""
    made: dict[str, Typed] = {
        "lane_swap": _lane_swap,
        "multiply_add": _multiply_add,
        "quotient": _quotient,
        "shared_store": _shared_store,
    }
    made.update({name: _load_of(count) for name, count in memory_code.LOADS.items()})
    made.update({name: _store_of(count) for name, count in memory_code.STORES.items()})
    made.update({name: _shared_load_of(count) for name, count in memory_code.SHARED_LOADS.items()})
    return made


def _of_scalars(name: str, arity: int, make: scalar_code.Make) -> Typed:
    def of(kinds: Sequence[Any]) -> Any:
        dtypes = [str(kind) for kind in kinds]
        result = scalar_code.result_dtype(name, dtypes)
        if result is None:
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            return make(builder, dtypes[-1], arguments)

        return getattr(types, "boolean" if result == "bool" else result)(*kinds), generate

    def of_one(typing: Any, a: Any) -> Any:
        return of((a,))

    def of_two(typing: Any, a: Any, b: Any) -> Any:
        return of((a, b))

    def of_three(typing: Any, a: Any, b: Any, c: Any) -> Any:
        return of((a, b, c))

    return (of_one, of_two, of_three)[arity - 1]


# --- memory -------------------------------------------------------------------------------------------------


def _load_of(count: int) -> Typed:
    def load(typing: Any, pointer: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            size = context.get_abi_sizeof(context.get_value_type(pointer.dtype))
            first = builder.gep(arguments[0], [arguments[1]])
            entries = memory_code.load(builder, first, count, size)
            return context.make_tuple(builder, signature.return_type, entries)

        return types.UniTuple(pointer.dtype, count)(pointer, index), generate

    return load


def _store_of(count: int) -> Typed:
    def of(pointer: Any, index: Any, values: Sequence[Any]) -> Any:
        if any(value != pointer.dtype for value in values):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            size = context.get_abi_sizeof(context.get_value_type(pointer.dtype))
            first = builder.gep(arguments[0], [arguments[1]])
            memory_code.store(builder, first, arguments[2:], size)
            return context.get_dummy_value()

        return types.void(pointer, index, *values), generate

    def store2(typing: Any, pointer: Any, index: Any, a: Any, b: Any) -> Any:
        return of(pointer, index, (a, b))

    def store4(typing: Any, pointer: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return of(pointer, index, (a, b, c, d))

    return store2 if count == 2 else store4


def _shared_load_of(count: int) -> Typed:
    def load(typing: Any, array: Any, index: Any, ahead: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            size = context.get_abi_sizeof(context.get_value_type(array.dtype))
            first = _ahead_of(context, builder, signature, arguments)
            entries = memory_code.load(builder, first, count, size)
            return context.make_tuple(builder, signature.return_type, entries)

        return types.UniTuple(array.dtype, count)(array, index, ahead), generate

    return load


def _shared_store(typing: Any, array: Any, index: Any, ahead: Any, value: Any) -> Any:
    if value != array.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        builder.store(arguments[3], _ahead_of(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(array, index, ahead, value), generate


def _ahead_of(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
    memory = context.make_array(signature.args[0])(context, builder, arguments[0])
    numbers = []
    for kind, number in zip(signature.args[1:3], arguments[1:3], strict=True):
        if number.type.width < 64:
            number = (builder.sext if kind.signed else builder.zext)(number, ir.IntType(64))
        numbers.append(number)
    return memory_code.ahead_of(builder, memory.data, *numbers)


# --- numbers ------------------------------------------------------------------------------------------------


def _lane_swap(typing: Any, value: Any, mask: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        return memory_code.lane_swap(builder, *arguments)

    return value(value, mask), generate


def _multiply_add(typing: Any, sums: Any, rows: Any, columns: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        given = [
            [builder.extract_value(argument, number) for number in range(kind.count)]
            for argument, kind in zip(arguments, (sums, rows, columns), strict=True)
        ]
        made = memory_code.multiply_add(builder, *given)
        return context.make_tuple(builder, signature.return_type, made)

    return sums(sums, rows, columns), generate


def _quotient(typing: Any, number: Any, divisor: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        return memory_code.quotient(builder, *arguments)

    return number(number, divisor), generate
