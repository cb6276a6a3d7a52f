"""The scalar dialect: a text in Python's syntax and typed arguments become a nest expression.

The table of elementwise ops and the library of scalar functions are written in it; lowering puts
the expressions it makes into loop nests.

The dialect
-----------
* names of arguments; the constants `pi`, `inf`, `nan`, `True`, `False`; numbers;
* `+ - * / // % **`, `& | ^ ~ << >>`, unary `-`; comparisons, also chained;
* `and`, `or`, `not` on bools; `x if condition else y`, of which both branches are evaluated;
* calls of every function of the nest form (`symnet.compile.nest.SAME`, `TO_BOOL`, `bits_of`,
  `from_bits`), of `cast(x, "float32")`, and of the functions that the caller adds.

A number has no dtype of its own: it takes the dtype of what it meets, and must fit it. Arithmetic
on numbers alone is done when the text is read, in Python's precision.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from symnet.compile import nest
from symnet.compile.nest import BOOL, Expression, Literal
from symnet.compile.syntax import tree_of

#: A number without a dtype, while a text is read.
Number = bool | int | float
Value = Expression | Number
#: How a caller adds a function: its arguments' expressions to the call's expression.
Builder = Callable[[Sequence[Value]], Expression]

DTYPES = (BOOL, *nest.INTEGERS, *nest.FLOATS)

_CONSTANTS: dict[str, float] = {"pi": math.pi, "inf": math.inf, "nan": math.nan}

_BINARY: dict[type[ast.AST], tuple[str, Callable[[Number, Number], Number]]] = {
    ast.Add: ("add", operator.add),
    ast.Sub: ("sub", operator.sub),
    ast.Mult: ("mul", operator.mul),
    ast.Div: ("div", operator.truediv),
    ast.FloorDiv: ("floordiv", operator.floordiv),
    ast.Mod: ("mod", operator.mod),
    ast.Pow: ("pow", operator.pow),
    ast.BitAnd: ("bitwise_and", operator.and_),
    ast.BitOr: ("bitwise_or", operator.or_),
    ast.BitXor: ("bitwise_xor", operator.xor),
    ast.LShift: ("shift_left", operator.lshift),
    ast.RShift: ("shift_right", operator.rshift),
}

_COMPARISONS: dict[type[ast.AST], tuple[str, Callable[[Number, Number], bool]]] = {
    ast.Eq: ("eq", operator.eq),
    ast.NotEq: ("ne", operator.ne),
    ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le),
    ast.Gt: ("gt", operator.gt),
    ast.GtE: ("ge", operator.ge),
}

_ARITY = {
    **dict.fromkeys(nest.SAME, 1),
    **dict.fromkeys(nest.TO_BOOL, 2),
    **dict.fromkeys(
        "add sub mul div floordiv mod fmod pow minimum maximum bitwise_and bitwise_or bitwise_xor "
        "shift_left shift_right arctan2 copysign hypot".split(),
        2,
    ),
    "fma": 3,
    "isnan": 1,
    "isinf": 1,
    "bits_of": 1,
    "from_bits": 1,
}
_INTEGER_ONLY = {
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_not",
    "shift_left",
    "shift_right",
}
#: What integers have; every other function of the dialect wants a float.
_ALSO_INTEGER = _INTEGER_ONLY | set(
    "add sub mul floordiv mod fmod pow neg abs sign minimum maximum fma floor ceil trunc rint "
    "round_half_away eq ne lt le gt ge isnan isinf from_bits".split()
)
_ALSO_BOOL = set(
    "add mul minimum maximum abs floor ceil trunc bitwise_and bitwise_or bitwise_xor bitwise_not "
    "eq ne lt le gt ge".split()
)


def parse_scalar(
    text: str,
    arguments: Mapping[str, Expression],
    dtype: str | None = None,
    functions: Mapping[str, Builder] | None = None,
) -> Expression:
    """The expression that `text` says, over typed arguments.

    Parameters
    ----------
    text
        An expression of the scalar dialect.
    arguments
        The expression that each name stands for.
    dtype
        The dtype that the result must have; a text that is a number alone needs it.
    functions
        Functions besides the dialect's own, by name.

    Raises
    ------
    SyntaxError
        When the text is not an expression of the dialect; names the text and the position.
    TypeError
        When dtypes do not fit; names the text and the position.

    >>> from symnet.compile.nest import Name
    >>> parse_scalar("maximum(x, 0)", {"x": Name("float32", "x")}).dtype
    'float32'
    """
    try:
        tree = tree_of(text.strip(), mode="eval")
    except SyntaxError as error:
        raise SyntaxError(f"{error.msg} in the scalar text\n{_pointer(text, error.offset or 1)}") from None
    reader = Reader(text.strip(), arguments, functions or {})
    value = reader.read(tree.body)
    if isinstance(value, Expression):
        if dtype is not None and value.dtype != dtype:
            raise reader.type_error(tree.body, f"the result is {value.dtype}, expected {dtype}")
        return value
    if dtype is None:
        raise reader.type_error(tree.body, "a number alone has no dtype; give one, or cast it")
    return reader.typed(tree.body, value, dtype)


def literal(value: Number, dtype: str) -> Literal:
    """A literal of a dtype, rounded to it; TypeError when the number does not fit."""
    if dtype == BOOL:
        if value in (0, 1):
            return Literal(BOOL, bool(value))
    elif dtype in nest.INTEGERS:
        information = np.iinfo(dtype)
        if not isinstance(value, float) and information.min <= value <= information.max:
            return Literal(dtype, int(value))
    elif dtype in nest.FLOATS:
        with np.errstate(over="ignore"):
            rounded = float(np.dtype(dtype).type(value))
        if math.isfinite(rounded) or not math.isfinite(value):
            return Literal(dtype, rounded)
    raise TypeError(f"the number {value!r} does not fit dtype {dtype}")


class Reader:
    """Turns the syntax tree of a text into expressions, with errors that point into the text."""

    def __init__(self, text: str, names: Mapping[str, Expression], functions: Mapping[str, Builder]) -> None:
        self.text = text
        self.names = names
        self.functions = functions

    def type_error(self, node: ast.AST, message: str) -> TypeError:
        """A TypeError that shows the place of `node`."""
        return TypeError(f"{message}\n{self._place(node)}")

    def syntax_error(self, node: ast.AST, message: str) -> SyntaxError:
        """A SyntaxError that shows the place of `node`."""
        return SyntaxError(f"{message}\n{self._place(node)}")

    def _place(self, node: ast.AST) -> str:
        lines = self.text.splitlines() or [""]
        line = lines[getattr(node, "lineno", 1) - 1]
        return _pointer(line, getattr(node, "col_offset", 0) + 1)

    def typed(self, node: ast.AST, value: Value, dtype: str) -> Expression:
        """A value as an expression; a number takes `dtype`."""
        if isinstance(value, Expression):
            return value
        try:
            return literal(value, dtype)
        except TypeError as error:
            raise self.type_error(node, str(error)) from None

    def read(self, node: ast.expr) -> Value:
        """The value of an expression of the dialect."""
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.Name(id=name):
                return self._name(node, name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                function, fold = _BINARY[type(op)]
                return self._apply(node, function, [left, right], fold)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._apply(node, "neg", [operand], operator.neg)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self._apply(node, "bitwise_not", [operand], operator.invert)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return nest.call("bitwise_not", self._condition(operand, "not"))
            case ast.BoolOp(op=op, values=values):
                word, function = ("and", "bitwise_and") if isinstance(op, ast.And) else ("or", "bitwise_or")
                result, *rest = [self._condition(value, word) for value in values]
                for condition in rest:
                    result = nest.call(function, result, condition)
                return result
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition = self._condition(test, "if")
                branches = [body, orelse]
                then, otherwise = self._alike(node, branches, [self.read(each) for each in branches])
                return nest.Select(then.dtype, condition, then, otherwise)
            case ast.Call():
                return self._call(node)
        raise self.syntax_error(node, f"{type(node).__name__} is not in the scalar dialect")

    def _name(self, node: ast.expr, name: str) -> Value:
        if name in self.names:
            return self.names[name]
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        known = ", ".join([*self.names, *_CONSTANTS])
        raise self.syntax_error(node, f"{name} is not an argument or a constant (known: {known})")

    def _condition(self, node: ast.expr, word: str) -> Expression:
        value = self.read(node)
        if isinstance(value, bool):
            return Literal(BOOL, value)
        if not isinstance(value, Expression) or value.dtype != BOOL:
            given = value.dtype if isinstance(value, Expression) else f"the number {value!r}"
            raise self.type_error(node, f"`{word}` wants a bool, given {given}; compare it, as in x != 0")
        return value

    def _alike(self, node: ast.expr, parts: Sequence[ast.expr], values: Sequence[Value]) -> list[Expression]:
        """The values of `parts` in one dtype, numbers brought to it."""
        dtypes = {value.dtype for value in values if isinstance(value, Expression)}
        if not dtypes:
            if all(isinstance(value, bool) for value in values):
                dtypes = {BOOL}
            else:
                raise self.type_error(node, "numbers alone have no dtype; cast one of them")
        if len(dtypes) > 1:
            given = ", ".join(v.dtype if isinstance(v, Expression) else repr(v) for v in values)
            raise self.type_error(node, f"different dtypes meet: {given}; cast one to the other's")
        (dtype,) = dtypes
        return [self.typed(part, value, dtype) for part, value in zip(parts, values, strict=True)]

    def _apply(
        self,
        node: ast.expr,
        function: str,
        parts: Sequence[ast.expr],
        fold: Callable[..., Number] | None,
    ) -> Value:
        if len(parts) != _ARITY[function]:
            raise self.syntax_error(
                node, f"{function} takes {_ARITY[function]} argument(s), given {len(parts)}"
            )
        read = [self.read(part) for part in parts]
        if fold is not None and not any(isinstance(value, Expression) for value in read):
            try:
                return fold(*read)
            except (ArithmeticError, ValueError, TypeError) as error:
                raise self.type_error(node, f"{function} of these numbers: {error}") from None
        values = self._alike(node, parts, read)
        dtype = values[0].dtype
        if dtype == BOOL:
            fits = function in _ALSO_BOOL
        elif dtype in nest.INTEGERS:
            fits = function in _ALSO_INTEGER
        else:
            fits = function not in _INTEGER_ONLY
        if not fits:
            raise self.type_error(node, f"{function} is not defined for {dtype}; cast first")
        try:
            return nest.call(function, *values)
        except TypeError as error:
            raise self.type_error(node, str(error)) from None

    def _compare(self, node: ast.Compare) -> Value:
        operands = [node.left, *node.comparators]
        result: Value | None = None
        for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
            if type(op) not in _COMPARISONS:
                raise self.syntax_error(node, f"{type(op).__name__} is not in the scalar dialect")
            function, fold = _COMPARISONS[type(op)]
            one = self._apply(node, function, [left, right], fold)
            if result is None:
                result = one
            else:
                both = [v if isinstance(v, Expression) else Literal(BOOL, bool(v)) for v in (result, one)]
                result = nest.call("bitwise_and", *both)
        assert result is not None
        return result

    def _call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self.syntax_error(node, "a call in the scalar dialect is name(argument, ...)")
        function = node.func.id
        if function == "cast":
            return self._cast(node)
        if function in self.functions:
            try:
                return self.functions[function]([self.read(argument) for argument in node.args])
            except TypeError as error:
                raise self.type_error(node, str(error)) from None
        if function not in _ARITY:
            raise self.syntax_error(node, f"{function} is not a function of the scalar dialect")
        fold = _FOLDS.get(function)
        return self._apply(node, function, node.args, fold)

    def _cast(self, node: ast.Call) -> Expression:
        match node.args:
            case [argument, ast.Constant(value=str() as dtype)]:
                if dtype not in DTYPES:
                    raise self.type_error(node, f"cast to the unknown dtype {dtype!r}")
                value = self.read(argument)
                if isinstance(value, Expression):
                    return nest.cast(value, dtype)
                return self.typed(argument, value, dtype)
        raise self.syntax_error(node, 'a cast is written cast(value, "dtype")')


_FOLDS: dict[str, Callable[..., Number]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
    "maximum": max,
    "minimum": min,
    "pow": operator.pow,
}


def _pointer(line: str, column: int) -> str:
    return f"    {line}\n    {' ' * (column - 1)}^"
