"""The library's functions written out where they are called: takes a nest, hands on a nest without calls.

Kernels call no functions but those of the device; and statements on several items at once need to see which
parts of a function are the same for all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from symnet.backend.cuda.simplify import simplified
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
    changing: set[str] = set()
    for statement in nest.walk_statements(kernel.body):
        if isinstance(statement, nest.Let | nest.Declare | For):
            if statement.name in taken or isinstance(statement, nest.Declare):
                changing.add(statement.name)
            taken.add(statement.name)
    return dataclasses.replace(kernel, body=_Writer(taken, changing).block(kernel.body))


def call_written_out(
    function: library.Function, arguments: Sequence[Expression], taken: set[str]
) -> tuple[tuple[Statement, ...], Expression]:
    """Statements for one call, with names that are not `taken`, and the value after them."""
    writer = _Writer(set(taken), set(taken))
    value = writer.call(function, arguments)
    return tuple(writer.before), value


class _Writer:
    """Writes calls out; what names that keep their values have computed before in an open block is reused."""

    def __init__(self, taken: set[str], changing: set[str]) -> None:
        self.taken = taken
        #: Names with several values: declared, or bound in several places.
        self.changing = changing
        self.numbers: dict[str, int] = {}
        self.before: list[Statement] = []
        #: Names bound to values, and the statements of functions by what they need of the arguments.
        self.values: dict[str, Expression] = {}
        self.bound: dict[Expression, Name] = {}
        self.calls: dict[tuple[str, tuple[Expression, ...]], dict[str, Expression]] = {}

    def block(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        """The statements of a block, of which nothing is known outside."""
        known = self.values, self.bound, self.calls
        self.values, self.bound, self.calls = dict(known[0]), dict(known[1]), dict(known[2])
        made = self._statements(body)
        self.values, self.bound, self.calls = known
        return made

    def _statements(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        made: list[Statement] = []
        for statement in body:
            outer, self.before = self.before, []
            changed = self._statement(statement)
            made += [*self.before, changed]
            self.before = outer
            if isinstance(changed, nest.Let) and changed.name not in self.changing:
                self.values[changed.name] = changed.value
            elif isinstance(changed, nest.Declare):
                self.changing.add(changed.name)
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
                return simplified(dataclasses.replace(expression, value=self._expression(value)), self.values)
            case Select(condition=condition, then=then, otherwise=otherwise):
                parts = [self._expression(each) for each in (condition, then, otherwise)]
                return simplified(Select(expression.dtype, *parts), self.values)
            case Call(function=function, arguments=arguments):
                given = tuple(self._expression(argument) for argument in arguments)
                dtype = arguments[0].dtype
                made = library.find(function, dtype)
                if made is None or (dtype in nest.FLOATS and function in OF_THE_DEVICE):
                    return simplified(dataclasses.replace(expression, arguments=given), self.values)
                return self.call(made, given)
        return expression

    def call(self, function: library.Function, arguments: Sequence[Expression]) -> Expression:
        """The function's statements go before; its value is handed on."""
        changed = {each.name for each in nest.walk_statements(function.body) if isinstance(each, nest.Assign)}
        names: dict[str, Expression] = {}
        for (name, dtype), argument in zip(function.parameters, arguments, strict=True):
            if name in changed:
                printed = self._fresh(name)
                self.before.append(nest.Declare(printed, argument))
                names[name] = Name(dtype, printed)
            else:
                names[name] = self._named(name, argument)
        needed = {
            each
            for statement in nest.walk_statements(function.body)
            for expression in nest.expressions_of(statement)
            for each in _names_in(expression)
        }
        key = function.name, tuple(argument for name, argument in names.items() if name in needed)
        keeps = not changed & {name for name, _ in function.parameters} and all(map(self._keeps, key[1]))
        if keeps and key in self.calls:
            names = {**self.calls[key], **names}
        else:
            renamed = _Renamer(names, self._fresh).block(function.body)
            self.before += self._statements(renamed)
            if keeps:
                self.calls[key] = names
        return self._expression(_renamed(function.result, names))

    def _named(self, stem: str, argument: Expression) -> Expression:
        """A name, or a number, for an argument."""
        if isinstance(argument, Literal | Name):
            return argument
        known = self.bound.get(argument)
        if known is not None:
            return known
        name = Name(argument.dtype, self._fresh(stem))
        self.before.append(nest.Let(name.name, argument))
        self.values[name.name] = argument
        if self._keeps(argument):
            self.bound[argument] = name
        return name

    def _keeps(self, expression: Expression) -> bool:
        """Whether an expression has one value in all of a block."""
        return not any(
            isinstance(each, Load) or (isinstance(each, Name) and each.name in self.changing)
            for each in nest.walk_expression(expression)
        )

    def _fresh(self, stem: str) -> str:
        while True:
            number = self.numbers.get(stem, 0)
            self.numbers[stem] = number + 1
            name = f"{stem}_{number}" if number else stem
            if name not in self.taken:
                self.taken.add(name)
                return name


def _names_in(expression: Expression) -> set[str]:
    return {each.name for each in nest.walk_expression(expression) if isinstance(each, Name)}


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
