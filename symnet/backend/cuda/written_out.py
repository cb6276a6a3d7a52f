"""The library's functions written out where they are called: takes a nest, hands on a nest without calls.

Kernels call no functions but those of the device; and statements on several items at once need to see which
parts of a function are the same for all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from symnet.compile import library, nest
from symnet.compile.nest import Call, Cast, Expression, For, Literal, Load, Name, Select, Statement

#: Functions of floats that the device has itself.
OF_THE_DEVICE = frozenset(
    "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh erf erfc gamma lgamma floor ceil trunc "
    "rint sqrt pow fmod fma copysign hypot arcsin arccos arctan arctan2 arcsinh arccosh arctanh "
    "round_half_away abs maximum minimum sign isnan isinf".split()
)


def written_out(kernel: nest.Nest) -> nest.Nest:
    """The nest with the statements of each library function before the statement that calls it."""
    taken = {*kernel.sizes, *(buffer.name for buffer in kernel.buffers)}
    for statement in nest.walk_statements(kernel.body):
        if isinstance(statement, nest.Let | nest.Declare | For):
            taken.add(statement.name)
    return dataclasses.replace(kernel, body=_Writer(taken).block(kernel.body))


def call_written_out(
    function: library.Function, arguments: Sequence[Expression], taken: set[str]
) -> tuple[tuple[Statement, ...], Expression]:
    """Statements for one call, with names that are not `taken`, and the value after them."""
    writer = _Writer(set(taken))
    value = writer.call(function, arguments)
    return tuple(writer.before), value


class _Writer:
    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.numbers: dict[str, int] = {}
        self.before: list[Statement] = []

    def block(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        made: list[Statement] = []
        for statement in body:
            outer, self.before = self.before, []
            changed = self._statement(statement)
            made += [*self.before, changed]
            self.before = outer
        return tuple(made)

    def _statement(self, statement: Statement) -> Statement:
        match statement:
            case nest.Let(value=value) | nest.Declare(value=value) | nest.Assign(value=value):
                return dataclasses.replace(statement, value=self._expression(value))
            case nest.Accumulate(value=value):
                return dataclasses.replace(statement, value=self._expression(value))
            case nest.Store(index=index, value=value):
                where = self._expression(index)
                return dataclasses.replace(statement, index=where, value=self._expression(value))
            case For(extent=extent, body=body):
                return dataclasses.replace(statement, extent=self._expression(extent), body=self.block(body))
            case nest.If(condition=condition, then=then, otherwise=otherwise):
                return nest.If(self._expression(condition), self.block(then), self.block(otherwise))
            case nest.Fail(values=values):
                return dataclasses.replace(statement, values=tuple(self._expression(each) for each in values))
        return statement

    def _expression(self, expression: Expression) -> Expression:
        match expression:
            case Load(index=index):
                return dataclasses.replace(expression, index=self._expression(index))
            case Cast(value=value):
                return dataclasses.replace(expression, value=self._expression(value))
            case Select(condition=condition, then=then, otherwise=otherwise):
                parts = [self._expression(each) for each in (condition, then, otherwise)]
                return Select(expression.dtype, *parts)
            case Call(function=function, arguments=arguments):
                given = tuple(self._expression(argument) for argument in arguments)
                dtype = arguments[0].dtype
                made = library.find(function, dtype)
                if made is None or (dtype in nest.FLOATS and function in OF_THE_DEVICE):
                    return dataclasses.replace(expression, arguments=given)
                return self.call(made, given)
        return expression

    def call(self, function: library.Function, arguments: Sequence[Expression]) -> Expression:
        """The function's statements go before; its value is handed on."""
        changed = {each.name for each in nest.walk_statements(function.body) if isinstance(each, nest.Assign)}
        names: dict[str, Expression] = {}
        for (name, dtype), argument in zip(function.parameters, arguments, strict=True):
            if name in changed or not isinstance(argument, Literal | Name):
                kind = nest.Declare if name in changed else nest.Let
                printed = self._fresh(name)
                self.before.append(kind(printed, argument))
                argument = Name(dtype, printed)
            names[name] = argument
        renamed = _Renamer(names, self._fresh).block(function.body)
        self.before += self.block(renamed)
        return self._expression(_renamed(function.result, names))

    def _fresh(self, stem: str) -> str:
        while True:
            number = self.numbers.get(stem, 0)
            self.numbers[stem] = number + 1
            name = f"{stem}_{number}" if number else stem
            if name not in self.taken:
                self.taken.add(name)
                return name


def _renamed(expression: Expression, names: dict[str, Expression]) -> Expression:
    match expression:
        case Name(name=name):
            return names[name]
        case Cast(value=value):
            return dataclasses.replace(expression, value=_renamed(value, names))
        case Select(condition=condition, then=then, otherwise=otherwise):
            return Select(expression.dtype, *(_renamed(each, names) for each in (condition, then, otherwise)))
        case Call(arguments=arguments):
            return dataclasses.replace(
                expression, arguments=tuple(_renamed(each, names) for each in arguments)
            )
    return expression


class _Renamer:
    """A library function's statements with names of this call's own; `names` grows by them."""

    def __init__(self, names: dict[str, Expression], fresh: object) -> None:
        self.names = names
        self.fresh = fresh

    def block(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        return tuple(self._statement(each) for each in body)

    def _bind(self, name: str, dtype: str) -> str:
        printed = self.fresh(name)  # type: ignore[operator]
        self.names[name] = Name(dtype, printed)
        return str(printed)

    def _statement(self, statement: Statement) -> Statement:
        match statement:
            case nest.Let(name=name, value=value) | nest.Declare(name=name, value=value):
                given = _renamed(value, self.names)
                return dataclasses.replace(statement, name=self._bind(name, value.dtype), value=given)
            case nest.Assign(name=name, value=value):
                known = self.names[name]
                assert isinstance(known, Name)
                return nest.Assign(known.name, _renamed(value, self.names))
            case For(name=name, extent=extent, body=body):
                bound = self._bind(name, nest.INDEX)
                return For(bound, _renamed(extent, self.names), self.block(body))
        raise TypeError(f"{type(statement).__name__} in a library function")
