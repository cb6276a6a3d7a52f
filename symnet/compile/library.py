"""Scalar functions written once: texts in Python's syntax, read into the nest form when asked for.

Both printers print a kernel's library functions from here, so every target computes the same thing.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from symnet.compile import nest
from symnet.compile.library_texts import sources
from symnet.compile.nest import Call, Expression, Literal, Name, Statement
from symnet.compile.scalar import Reader, Value, literal
from symnet.compile.syntax import tree_of


@dataclass(frozen=True, slots=True)
class Function:
    """A scalar function: typed parameters, statements without branches, and what it returns."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    dtype: str
    body: tuple[Statement, ...]
    result: Expression
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """A function's text and the words in it that stand for dtypes and numbers."""

    text: str
    words: tuple[tuple[str, str], ...]


#: Texts by the function's name in the dialect and the dtype of its first argument.
_SOURCES: dict[tuple[str, str], _Source] = {}


def find(function: str, dtype: str) -> Function | None:
    """The library's function of a name, for the dtype of its first argument; None without one."""
    return _read(function, dtype) if (function, dtype) in _SOURCES else None


def functions_of(body: Sequence[Statement], result: Expression | None = None) -> tuple[Function, ...]:
    """The library functions that statements (and an expression) call, each after those it calls."""
    found: dict[str, Function] = {}
    for expression in _all_expressions(body, result):
        if isinstance(expression, Call):
            function = find(expression.function, expression.arguments[0].dtype)
            if function is not None and function.name not in found:
                for inner in functions_of(function.body, function.result):
                    found.setdefault(inner.name, inner)
                found[function.name] = function
    return tuple(found.values())


def call(function: str, *arguments: Expression) -> Expression:
    """A call of a library function; TypeError when its parameters are of other dtypes."""
    made = find(function, arguments[0].dtype) if arguments else None
    given = tuple(argument.dtype for argument in arguments)
    if made is None:
        raise TypeError(f"{function} is not a library function of {given[:1]}")
    expected = tuple(dtype for _, dtype in made.parameters)
    if given != expected:
        raise TypeError(f"{function} takes {expected}, given {given}")
    return Call(made.dtype, function, arguments)


def _all_expressions(body: Sequence[Statement], result: Expression | None) -> Iterator[Expression]:
    for statement in nest.walk_statements(tuple(body)):
        for expression in nest.expressions_of(statement):
            yield from nest.walk_expression(expression)
    if result is not None:
        yield from nest.walk_expression(result)


# --- reading the texts ----------------------------------------------------------------------------


def define(text: str, dtype: str, **words: str) -> None:
    """Put a function's text into the library for the dtype of its first argument.

    In the text, the word `T` stands for `dtype`, and each of `words` for its value.
    """
    source = _Source(textwrap.dedent(text).strip(), (("T", dtype), *words.items()))
    name = re.match(r"def (\w+)\(", source.text)
    assert name is not None, text
    key = (name.group(1), dtype)
    assert key not in _SOURCES, key
    _SOURCES[key] = source


@cache
def _read(function: str, dtype: str) -> Function:
    source = _SOURCES[function, dtype]
    text = source.text
    for word, meaning in source.words:
        text = re.sub(rf"\b{word}\b", meaning, text)
    (definition,) = tree_of(text).body
    assert isinstance(definition, ast.FunctionDef)
    return _FunctionReader(text, definition).function(function, dtype)


class _FunctionReader:
    """Reads one definition: assignments, `for name in range(number)`, and a return at the end."""

    def __init__(self, text: str, definition: ast.FunctionDef) -> None:
        self.definition = definition
        self.names: dict[str, Expression] = {}
        self.reader = Reader(text, self.names, _LibraryCalls())
        targets = [
            name.id
            for node in ast.walk(definition)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for name in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(name, ast.Name)
        ]
        self.changed = {name for name in targets if targets.count(name) > 1}

    def function(self, name: str, dtype: str) -> Function:
        definition = self.definition
        parameters = tuple((p.arg, self._dtype(p.annotation)) for p in definition.args.args)
        self.names.update({parameter: Name(of, parameter) for parameter, of in parameters})
        result_dtype = self._dtype(definition.returns)
        *statements, last = definition.body
        if statements and isinstance(statements[0], ast.Expr):
            statements = statements[1:]
        body = self._block(statements)
        assert isinstance(last, ast.Return) and last.value is not None
        result = self.reader.typed(last, self.reader.read(last.value), result_dtype)
        assert result.dtype == result_dtype, (name, result.dtype)
        alone = sum(known == name for known, _ in _SOURCES) == 1
        full = name if alone else f"{name}_{dtype}"
        return Function(full, parameters, result_dtype, body, result, ast.get_docstring(definition) or "")

    def _dtype(self, annotation: ast.expr | None) -> str:
        assert isinstance(annotation, ast.Name), self.definition.name
        return annotation.id

    def _block(self, statements: Sequence[ast.stmt]) -> tuple[Statement, ...]:
        return tuple(self._statement(statement) for statement in statements)

    def _statement(self, statement: ast.stmt) -> Statement:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                return self._assign(name, self._typed(value, self._dtype(annotation)))
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                known = self.names.get(name)
                if known is not None:
                    return self._assign(name, self._typed(value, known.dtype))
                read = self.reader.read(value)
                if not isinstance(read, Expression):
                    raise self.reader.type_error(value, f"{name} = a number alone: write {name}: dtype")
                return self._assign(name, read)
            case ast.For(
                target=ast.Name(id=name),
                iter=ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int() as extent)]),
                body=body,
            ):
                self.names[name] = Name(nest.INDEX, name)
                return nest.For(name, Literal(nest.INDEX, extent), self._block(body))
        raise self.reader.syntax_error(statement, f"{type(statement).__name__} in a library function")

    def _typed(self, node: ast.expr, dtype: str) -> Expression:
        return self.reader.typed(node, self.reader.read(node), dtype)

    def _assign(self, name: str, value: Expression) -> Statement:
        if name in self.names:
            return nest.Assign(name, value)
        self.names[name] = Name(value.dtype, name)
        return nest.Declare(name, value) if name in self.changed else nest.Let(name, value)


class _LibraryCalls(dict[str, Callable[[Sequence[Value]], Expression]]):
    """The functions that the dialect itself does not have, looked up in the library by name."""

    def __contains__(self, name: object) -> bool:
        return name not in nest.SAME and any(known == name for known, _ in _SOURCES)

    def __getitem__(self, name: str) -> Callable[[Sequence[Value]], Expression]:
        def build(values: Sequence[Value]) -> Expression:
            first = next(value for value in values if isinstance(value, Expression))
            made = next(
                found
                for (known, dtype), _ in _SOURCES.items()
                if known == name
                and (found := find(known, dtype)) is not None
                and (not isinstance(values[0], Expression) or dtype == first.dtype)
            )
            typed = [
                value if isinstance(value, Expression) else literal(value, dtype)
                for value, (_, dtype) in zip(values, made.parameters, strict=True)
            ]
            return call(name, *typed)

        return build


for _text, _dtype, _words in sources():
    define(_text, _dtype, **_words)
