"""Nest statements as the text of a CUDA kernel's body: takes statements, hands on lines of Python.

The text is that of `symnet.compile.print_numba` but for this: functions are those of
`symnet.backend.cuda.scalar_code` (`math.exp`, …), the library's are written out where they are called,
and a failure is a word in `state`.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Sequence

from symnet.backend.cuda.accesses import Range, affine, range_of
from symnet.backend.cuda.body import BLOCK, OWN, STATE, THREAD
from symnet.backend.cuda.memory_texts import NAMES
from symnet.backend.cuda.written_out import OF_THE_DEVICE, call_written_out
from symnet.compile import library, nest
from symnet.compile.nest import INDEX, Call, Cast, Expression, Literal, Select, Statement
from symnet.compile.print_numba import _ATOM, _BIT_AND, _BIT_OR, _PRODUCT, _SHIFT, _SUM, _Printer

#: Functions of integers that `math` has in a kernel.
_OF_INTEGERS = frozenset("abs maximum minimum sign floordiv mod fmod shift_left shift_right".split())
_RESERVED = frozenset(
    ("cuda", "math", "np", *NAMES, BLOCK, THREAD, STATE, OWN, "slots", "item", "lane", *dir(builtins))
)


def text_name(name: str) -> str:
    """The name of a parameter or a size in a kernel's text."""
    printed = name if name.isidentifier() else "".join(c if c.isalnum() else "_" for c in name)
    if not printed.isidentifier():
        printed = f"_{printed}"
    return f"{printed}_" if printed in _RESERVED or keyword.iskeyword(printed) else printed


class BodyPrinter(_Printer):
    """Prints statements over buffers and sizes; `lines` is the text so far.

    `ordered` says that one thread does all there is: a failure then writes where and with which values, to
    the words of `state` from its own on, as a kernel for the CPU does.
    """

    def __init__(
        self, buffers: Sequence[nest.BufferParameter], sizes: Sequence[str], ordered: bool = False
    ) -> None:
        super().__init__()
        self.ordered = ordered
        #: Of loops in order, the factor of each in the number of an item; that number's names in the text.
        self.rows: dict[str, int] = {}
        self.items: tuple[str, ...] = ()
        #: What is known of the values of names.
        self.ranges: dict[str, Range] = {}
        self.used_buffers: dict[str, None] = {}
        self.used_sizes: dict[str, None] = {}
        self.sizes = frozenset(sizes)
        self.dtypes = dict.fromkeys(_RESERVED, "reserved")
        for buffer in buffers:
            self.buffers[buffer.name] = buffer.dtype
            self._parameter(buffer.name, f"{buffer.dtype}*")
        for size in sizes:
            self._parameter(size, INDEX)

    def _parameter(self, name: str, dtype: str) -> None:
        printed = text_name(name)
        if printed in self.dtypes:
            raise TypeError(f"two parameters have the name {printed} in the text")
        self.names[name] = printed
        self.dtypes[printed] = f"{dtype} parameter"

    # --- names ---------------------------------------------------------------------------------

    def fresh(self, stem: str, dtype: str) -> str:
        """A Python name that the text does not have yet."""
        number = 0
        printed = stem
        while printed in self.dtypes or keyword.iskeyword(printed):
            number += 1
            printed = f"{stem}_{number}"
        self.dtypes[printed] = dtype
        return printed

    def _name(self, name: str) -> str:
        if name in self.sizes:
            self.used_sizes[name] = None
        elif name in self.buffers:
            self.used_buffers[name] = None
        return super()._name(name)

    # --- statements ----------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Append a line at the present indentation."""
        self._line(text)

    def statements(self, body: Sequence[Statement]) -> None:
        """Print statements in the scope that is open."""
        for statement in body:
            self._statement(statement)

    def bind_loop(self, name: str, dtype: str) -> str:
        """The name in the text of a loop's variable, in the scope that is open."""
        return self._bind(name, dtype)

    def block(self, body: Sequence[Statement]) -> bool:
        """Print statements in a scope of their own; False when the last one leaves the function."""
        return self._block(body)

    def _nested(self, body: Sequence[Statement]) -> bool:
        self.indent += 1
        before = len(self.lines)
        goes_on = self._block(body)
        if len(self.lines) == before:
            self._line("pass")
        self.indent -= 1
        return goes_on

    def _statement(self, statement: Statement) -> bool:
        match statement:
            case (
                nest.Let(name=name, value=Literal() as value)
                | nest.Declare(name=name, value=Literal() as value)
            ):
                text = self.typed_literal(value)
                self._line(f"{self._bind(name, value.dtype)} = {text}")
            case nest.Assign(name=name, value=Literal() as value):
                self._line(f"{self._name(name)} = {self.typed_literal(value)}")
            case nest.Fail(site=site, values=values):
                told: list[Expression] = (
                    [Literal(INDEX, site), *values] if self.ordered else [Literal(INDEX, 1)]
                )
                for word, each in enumerate(told):
                    where = f"{OWN} + {word}" if word else OWN
                    self._line(f"{STATE}[{where}] = {self.text(each)}")
                self._line("return")
                return False
            case _:
                return super()._statement(statement)
        return True

    def typed_literal(self, literal: Literal) -> str:
        """A number of which all that read the text know the dtype."""
        text = self.text(literal)
        return f"np.{literal.dtype}({text})" if literal.dtype in ("float64", INDEX) else text

    # --- expressions ---------------------------------------------------------------------------

    def _expression(self, expression: Expression) -> tuple[str, int]:
        if isinstance(expression, Call) and expression.dtype == INDEX and self.rows:
            by_rows = self._by_rows(expression)
            if by_rows is not None:
                return by_rows
        match expression:
            case Cast(dtype=dtype, value=value) if value.dtype in nest.FLOATS and dtype in nest.INTEGERS:
                # A narrow integer is the low part of a wider one, as on the CPU.
                through = {"uint32": INDEX}.get(
                    dtype, "int32" if dtype.lstrip("uint") in ("8", "16") else dtype
                )
                text = f"np.{through}({self.text(value)})"
                return (text if through == dtype else f"np.{dtype}({text})"), _ATOM
            case Select(condition=condition, then=then, otherwise=otherwise):
                # Python's own is a branch, and branches are what compiling takes long for.
                parts = ", ".join(self.text(each) for each in (condition, then, otherwise))
                return f"math.where({parts})", _ATOM
        return super()._expression(expression)

    def _by_rows(self, expression: Expression) -> tuple[str, int] | None:
        """A place that goes by the number of the item alone, by that number."""
        found = affine(expression, {})
        *_, (last, _) = self.rows.items()
        if found is None or len(self.rows) < 2 or not found.factor(last):
            return None
        times = found.factor(last)
        if found.factors != {name: times * factor for name, factor in self.rows.items()}:
            return None
        item = self.item_name()
        text = item if times == 1 else f"{item} * {times}"
        if found.constant:
            return f"{text} + {found.constant}", _SUM
        return text, _ATOM if times == 1 else _PRODUCT

    def item_name(self) -> str:
        """The name of the item's number."""
        return self.items[0]

    def count_items(self, loops: Sequence[nest.For], body: Sequence[Statement], *items: str) -> None:
        """From now on places that go by the item's number are printed by its name in `items`."""
        self.rows, self.items = {}, items
        inner = {each.name for each in nest.walk_statements(tuple(body)) if isinstance(each, nest.For)}
        if inner & {loop.name for loop in loops}:
            return
        factor = 1
        rows: dict[str, int] = {}
        for loop in reversed(loops):
            rows[loop.name] = factor
            if not isinstance(loop.extent, Literal) or not loop.extent.value:
                return
            factor *= int(loop.extent.value)
        self.rows = dict(reversed(rows.items()))

    def _call(self, function: str, arguments: Sequence[Expression]) -> tuple[str, int]:
        dtype = arguments[0].dtype
        direct = dtype in nest.FLOATS and function in OF_THE_DEVICE
        made = None if direct else library.find(function, dtype)
        if made is not None:
            statements, value = call_written_out(made, arguments, {*self.names, *self.dtypes})
            self.statements(statements)
            return self._expression(value)
        if any(argument.dtype != dtype for argument in arguments):
            raise TypeError(f"{function} of {', '.join(argument.dtype for argument in arguments)}")
        if function == "mul" and dtype == "uint64":
            match arguments:
                case (Cast(value=short), Literal(value=number)) if short.dtype == "uint32" and number < 2**32:
                    # One instruction, where the compiler would multiply 64 bits by 64.
                    return f"math.mul_wide({self.text(short)}, np.uint32({number}))", _ATOM
        if direct or function in ("bits_of", "from_bits"):
            return self._apply(f"math.{function}", arguments), _ATOM
        return super()._call(function, arguments)

    def _integer_call(
        self, function: str, dtype: str, arguments: Sequence[Expression]
    ) -> tuple[str, int] | None:
        if function == "abs" and not dtype.startswith("int"):
            return self._expression(arguments[0])
        if function in ("abs", "sign", "maximum", "minimum"):
            return self._apply(f"math.{function}", arguments), _ATOM
        return super()._integer_call(function, dtype, arguments)

    def _bool_call(self, function: str, arguments: Sequence[Expression]) -> tuple[str, int] | None:
        if function in ("add", "maximum", "bitwise_or"):
            return self._infix("|", _BIT_OR, arguments), _BIT_OR
        if function in ("mul", "minimum", "bitwise_and"):
            return self._infix("&", _BIT_AND, arguments), _BIT_AND
        return super()._bool_call(function, arguments)

    def _guarded(
        self, function: str, dtype: str, signed: bool, arguments: Sequence[Expression]
    ) -> tuple[str, int]:
        """Divisions of indices by numbers, by shifts and in 32 bits where they may be."""
        match arguments:
            case (value, Literal(value=by)) if dtype == INDEX and by > 0 and function in ("floordiv", "mod"):
                whole, divisor = function == "floordiv", int(by)
                if divisor & (divisor - 1) == 0:
                    # Rounds down, and is not negative, for negative values too.
                    if whole:
                        return f"{self.text(value, _SHIFT)} >> {divisor.bit_length() - 1}", _SHIFT
                    return f"{self.text(value, _BIT_AND)} & {divisor - 1}", _BIT_AND
                known = range_of(value, self.ranges)
                if known is not None and known[0] >= 0 and max(known[1], divisor) < 2**32:
                    operator = "//" if whole else "%"
                    short = f"np.uint32({self.text(value)}) {operator} np.uint32({divisor})"
                    return f"np.int64({short})", _ATOM
        return super()._guarded(function, dtype, signed, arguments)

    def _helper(self, helper: str, name: str, dtype: str) -> str:
        function = name.removesuffix(f"_{dtype}")
        assert function in _OF_INTEGERS or function in OF_THE_DEVICE, name
        return f"math.{function}"
