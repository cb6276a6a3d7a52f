"""Functions that are quick for arguments of moderate size: takes a body, hands on one that sees to all sizes.

A sine needs hundreds of digits of pi for a huge argument and few for any other. A loop that takes sines is
cut into blocks; each looks at its arguments first, and only a block that has a huge one calls the C library
(for that argument alone, so that no entry's value depends on its neighbours').
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from symnet.compile import library, nest
from symnet.compile.nest import BOOL, INDEX, Call, Expression, For, Let, Literal, Name, Select, Statement

#: The library's function for arguments below a size, by the dialect's function.
NEAR = {"sin": "sin_near", "cos": "cos_near", "tan": "tan_near"}
MOST = {"float32": 1600.0, "float64": 1.6e6}
#: Entries of a block: many lanes, and few enough to stay in the first-level cache.
BLOCK = 1024


def look_at_arguments(body: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements with every innermost loop that calls functions of `NEAR` cut into blocks.

    A loop in which a store could change what a later round reads, and calls outside loops, stay as they
    are: they call the C library's functions, which take every argument.
    """
    return tuple(_statement(statement) for statement in body)


def _statement(statement: Statement) -> Statement:
    match statement:
        case For(body=body):
            if all(isinstance(each, Let | nest.Store | nest.Accumulate) for each in body):
                return _blocks(statement)
            return dataclasses.replace(statement, body=look_at_arguments(body))
        case nest.If(then=then, otherwise=otherwise):
            return dataclasses.replace(
                statement, then=look_at_arguments(then), otherwise=look_at_arguments(otherwise)
            )
    return statement


def _blocks(loop: For) -> Statement:
    arguments = _arguments(loop.body)
    if not arguments or not _may_look_ahead(loop):
        return loop
    block, far = f"{loop.name}_block", f"{loop.name}_far"
    start = nest.multiply(Name(INDEX, block), BLOCK)
    left = nest.subtract(loop.extent, start)
    extent = nest.call("minimum", left, Literal(INDEX, BLOCK))
    here = Let(loop.name, nest.add(start, Name(INDEX, f"{loop.name}_in")))
    looks: list[Statement] = [here, *_needed(loop.body, arguments)]
    for each in arguments:
        is_far = nest.call("ge", _size(each), Literal(each.dtype, MOST[each.dtype]))
        looks.append(nest.Accumulate(far, "bitwise_or", is_far))

    def over(body: Sequence[Statement], vector: bool) -> For:
        return For(f"{loop.name}_in", extent, tuple(body), vector=vector)

    near = [here, *(_replaced(each, only_near=True) for each in loop.body)]
    every = [here, *(_replaced(each, only_near=False) for each in loop.body)]
    body = (
        nest.Declare(far, Literal(BOOL, False)),
        over(looks, False),
        nest.If(Name(BOOL, far), (over(every, False),), (over(near, loop.vector),)),
    )
    count = nest.call("floordiv", nest.add(loop.extent, BLOCK - 1), Literal(INDEX, BLOCK))
    if isinstance(loop.extent, Literal):
        count = Literal(INDEX, -(-int(loop.extent.value) // BLOCK))
    return For(block, count, body, parallel=loop.parallel)


def _size(argument: Expression) -> Expression:
    return nest.call("abs", argument)


def _arguments(body: Sequence[Statement]) -> list[Expression]:
    found: dict[Expression, None] = {}
    for statement in body:
        for expression in nest.expressions_of(statement):
            for each in nest.walk_expression(expression):
                if isinstance(each, Call) and each.function in NEAR:
                    found[each.arguments[0]] = None
    return list(found)


def _may_look_ahead(loop: For) -> bool:
    """Whether the arguments of all rounds may be computed before the first round."""
    stored = {each.buffer for each in loop.body if isinstance(each, nest.Store)}
    if stored and not loop.vector:
        for statement in loop.body:
            for expression in nest.expressions_of(statement):
                for each in nest.walk_expression(expression):
                    if isinstance(each, nest.Load) and each.buffer in stored:
                        return False
    changed = {each.name for each in loop.body if isinstance(each, nest.Accumulate)}
    names = _names_in(loop.body, _arguments(loop.body))
    return not (changed & names)


def _names_in(body: Sequence[Statement], expressions: Sequence[Expression]) -> set[str]:
    """The names that expressions need, directly or through the body's `Let`s."""
    lets = {each.name: each.value for each in body if isinstance(each, Let)}
    found: set[str] = set()
    stack = list(expressions)
    while stack:
        for each in nest.walk_expression(stack.pop()):
            if isinstance(each, Name) and each.name not in found:
                found.add(each.name)
                if each.name in lets:
                    stack.append(lets[each.name])
    return found


def _needed(body: Sequence[Statement], arguments: Sequence[Expression]) -> list[Statement]:
    """The `Let`s that the arguments need; one that takes a sine itself does so for every argument."""
    names = _names_in(body, arguments)
    return [_replaced(each, only_near=False) for each in body if isinstance(each, Let) and each.name in names]


def _replaced(statement: Statement, only_near: bool) -> Statement:
    def new(expression: Expression) -> Expression:
        match expression:
            case Call(dtype=dtype, function=function, arguments=arguments):
                arguments = tuple(new(each) for each in arguments)
                if function not in NEAR:
                    return Call(dtype, function, arguments)
                near = library.call(NEAR[function], *arguments)
                if only_near:
                    return near
                inside = nest.call("lt", _size(arguments[0]), Literal(dtype, MOST[dtype]))
                return Select(dtype, inside, near, Call(dtype, function, arguments))
            case nest.Load(index=index):
                return dataclasses.replace(expression, index=new(index))
            case nest.Cast(value=value):
                return dataclasses.replace(expression, value=new(value))
            case Select(condition=condition, then=then, otherwise=otherwise):
                return dataclasses.replace(
                    expression, condition=new(condition), then=new(then), otherwise=new(otherwise)
                )
        return expression

    match statement:
        case Let(value=value) | nest.Accumulate(value=value):
            return dataclasses.replace(statement, value=new(value))
        case nest.Store(index=index, value=value):
            return dataclasses.replace(statement, index=new(index), value=new(value))
    return statement
