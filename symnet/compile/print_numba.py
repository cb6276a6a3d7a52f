"""Loop nests as Python source: a nest becomes the text of a module, for people and for Numba.

The text holds the library functions that the kernel calls and then the kernel, a function over raw
pointers, sizes and the status words. `symnet.backend.cpu.numba_nest` compiles it for the CPU.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Sequence

from symnet.compile import library, nest
from symnet.compile.nest import (
    BOOL,
    INDEX,
    Call,
    Cast,
    Expression,
    Literal,
    Load,
    Name,
    Select,
    Statement,
)

#: Where the functions that Python lacks come from.
FUNCTIONS_MODULE = "symnet.backend.cpu.numba_functions"
MODULE_FUNCTIONS = ("bits_of", "fma", "from_bits")

# Precedence of Python's operators, loosest first.
(
    _IF,
    _OR,
    _AND,
    _NOT,
    _COMPARE,
    _BIT_OR,
    _BIT_XOR,
    _BIT_AND,
    _SHIFT,
    _SUM,
    _PRODUCT,
    _UNARY,
    _POWER,
) = range(13)
_ATOM = 13

_OPERATORS = {
    "add": ("+", _SUM),
    "sub": ("-", _SUM),
    "mul": ("*", _PRODUCT),
    "div": ("/", _PRODUCT),
    "bitwise_and": ("&", _BIT_AND),
    "bitwise_or": ("|", _BIT_OR),
    "bitwise_xor": ("^", _BIT_XOR),
    "eq": ("==", _COMPARE),
    "ne": ("!=", _COMPARE),
    "lt": ("<", _COMPARE),
    "le": ("<=", _COMPARE),
    "gt": (">", _COMPARE),
    "ge": (">=", _COMPARE),
}
#: Operators whose left operand may be one of the same precedence without parentheses.
_CHAINS = (_SUM, _PRODUCT, _BIT_AND, _BIT_OR, _BIT_XOR)

_BOOL_OPERATORS = {
    "add": ("or", _OR),
    "maximum": ("or", _OR),
    "bitwise_or": ("or", _OR),
    "mul": ("and", _AND),
    "minimum": ("and", _AND),
    "bitwise_and": ("and", _AND),
    "bitwise_xor": ("!=", _COMPARE),
}

_FLOAT_FUNCTIONS = {
    "maximum": "np.maximum",
    "minimum": "np.minimum",
    "abs": "abs",
    "fma": "fma",
    "fmod": "np.fmod",
    "sqrt": "math.sqrt",
    "exp": "math.exp",
    "exp2": "np.exp2",
    "expm1": "math.expm1",
    "log": "math.log",
    "log2": "math.log2",
    "log10": "math.log10",
    "log1p": "math.log1p",
    "sin": "math.sin",
    "cos": "math.cos",
    "tan": "math.tan",
    "arcsin": "math.asin",
    "arccos": "math.acos",
    "arctan": "math.atan",
    "arctan2": "math.atan2",
    "sinh": "math.sinh",
    "cosh": "math.cosh",
    "tanh": "math.tanh",
    "arcsinh": "math.asinh",
    "arccosh": "math.acosh",
    "arctanh": "math.atanh",
    "erf": "math.erf",
    "erfc": "math.erfc",
    "gamma": "math.gamma",
    "lgamma": "math.lgamma",
    "hypot": "math.hypot",
    "copysign": "math.copysign",
    "floor": "np.floor",
    "ceil": "np.ceil",
    "trunc": "np.trunc",
    "rint": "np.rint",
    "isnan": "math.isnan",
    "isinf": "math.isinf",
}

#: Functions that take several lines of Python; `{T}` is the dtype, `{bits}` its width.
_HELPERS = {
    "sign_float": """
def {name}(x):
    if x > 0.0:
        return {T}(1.0)
    if x < 0.0:
        return {T}(-1.0)
    return {T}(0.0) if x == 0.0 else x
""",
    "round_half_away": """
def {name}(x):
    whole = np.trunc(x)
    away = whole + math.copysign({T}(1.0), x)
    return away if abs(x - whole) >= 0.5 else whole
""",
    "floordiv_signed": """
def {name}(a, b):
    if b == 0:
        return {T}(0)
    return {T}(-a) if b == -1 else {T}(a // b)
""",
    "mod_signed": """
def {name}(a, b):
    return {T}(0) if b == 0 or b == -1 else {T}(a % b)
""",
    "fmod_signed": """
def {name}(a, b):
    if b == 0 or b == -1:
        return {T}(0)
    rest = {T}(a % b)
    return {T}(rest - b) if rest != 0 and (rest < 0) != (a < 0) else rest
""",
    "floordiv_unsigned": """
def {name}(a, b):
    return {T}(0) if b == 0 else {T}(a // b)
""",
    "mod_unsigned": """
def {name}(a, b):
    return {T}(0) if b == 0 else {T}(a % b)
""",
    "shift_left": """
def {name}(a, count):
    return {T}(a << count) if 0 <= count < {bits} else {T}(0)
""",
    "shift_right_signed": """
def {name}(a, count):
    return {T}(a >> (count if 0 <= count < {bits} else {T}({bits} - 1)))
""",
    "shift_right_unsigned": """
def {name}(a, count):
    return {T}(a >> count) if 0 <= count < {bits} else {T}(0)
""",
}


def print_nest(kernel: nest.Nest) -> str:
    """The text of a module that defines `kernel.name`, and above it what that calls.

    The function takes the nest's buffers as pointers (those of bools as pointers to uint8), its
    sizes as int64, and `status` as a pointer to int64; it returns 0 or 1.

    Raises
    ------
    TypeError
        When an expression has no meaning in the dialect.
    """
    printer = _Printer()
    text = printer.kernel(kernel)
    body = "\n".join([*printer.definitions, text])
    needed = {
        "import math": "math." in body,
        "import numpy as np": "np." in body,
        f"from {FUNCTIONS_MODULE} import {', '.join(sorted(printer.module_functions))}": bool(
            printer.module_functions
        ),
    }
    head = [line for line, wanted in needed.items() if wanted]
    return "\n".join([*head, "", "", body] if head else [body])


def print_function(function: library.Function) -> str:
    """A library function as Python source."""
    return _Printer().function(function, function.name)


class _Printer:
    """Collects the definitions that a kernel needs while its text is made."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self.defined: set[str] = set()
        self.module_functions: set[str] = set()
        self.lines: list[str] = []
        self.indent = 0
        self.kernel_name = ""
        self._start(())

    def _start(self, reserved: Sequence[str]) -> None:
        self.names: dict[str, str] = {}
        self.dtypes: dict[str, str] = dict.fromkeys(
            ["math", "np", "range", "abs", "min", "max", *MODULE_FUNCTIONS, *reserved], "reserved"
        )
        self.buffers: dict[str, str] = {}

    # --- definitions ---------------------------------------------------------------------------

    def kernel(self, kernel: nest.Nest) -> str:
        """The kernel's own text."""
        self.kernel_name = kernel.name
        self._start([kernel.name, "status"])
        for buffer in kernel.buffers:
            self.buffers[buffer.name] = buffer.dtype
        parameters = [self._bind(buffer.name, f"{buffer.dtype}*") for buffer in kernel.buffers]
        parameters += [self._bind(size, INDEX) for size in kernel.sizes]
        self._line(f"def {kernel.name}({', '.join([*parameters, 'status'])}):")
        self.indent += 1
        for comment in kernel.comments:
            self._line(f"# {comment}")
        if self._block(kernel.body):
            self._line("return 0")
        self.indent -= 1
        return "\n".join(self.lines) + "\n"

    def function(self, function: library.Function, name: str) -> str:
        """A library function's own text, under a name."""
        self._start([name])
        parameters = [self._bind(name, dtype) for name, dtype in function.parameters]
        self._line(f"def {name}({', '.join(parameters)}):")
        self.indent += 1
        if function.documentation:
            first, *rest = function.documentation.splitlines()
            self._line(f'"""{first}' + ('"""' if not rest else ""))
            for line in rest:
                self._line(line) if line else self.lines.append("")
            if rest:
                self._line('"""')
        for statement in function.body:
            self._statement(statement)
        self._line(f"return {self.text(function.result)}")
        self.indent -= 1
        return "\n".join(self.lines) + "\n"

    def _define(self, name: str, text: str) -> str:
        if name not in self.defined:
            self.defined.add(name)
            self.definitions += [text.strip() + "\n", ""]
        return name

    def _library(self, function: library.Function) -> str:
        name = self._free(function.name)
        if name not in self.defined:
            inner = _Printer()
            inner.kernel_name = self.kernel_name
            inner.defined, inner.definitions = self.defined, self.definitions
            inner.module_functions = self.module_functions
            self._define(name, inner.function(function, name))
        return name

    def _helper(self, helper: str, name: str, dtype: str) -> str:
        name = self._free(name)
        text = _HELPERS[helper].format(name=name, T=f"np.{dtype}", bits=dtype.lstrip("uintfloa"))
        return self._define(name, text)

    def _free(self, name: str) -> str:
        """The name of a helper, changed where the kernel itself is called so."""
        return f"{name}_" if name == self.kernel_name else name

    # --- names ---------------------------------------------------------------------------------

    def _bind(self, name: str, dtype: str) -> str:
        """A Python name for a nest's name; a Python variable keeps one dtype."""
        printed = name if name.isidentifier() else "".join(c if c.isalnum() else "_" for c in name)
        if keyword.iskeyword(printed) or not printed.isidentifier():
            printed = f"_{printed}"
        while self.dtypes.get(printed, dtype) != dtype:
            printed += f"_{dtype.rstrip('*')}"
        self.names[name] = printed
        self.dtypes[printed] = dtype
        return printed

    def _name(self, name: str) -> str:
        if name not in self.names:
            raise TypeError(f"the name {name} is not known here")
        return self.names[name]

    # --- statements ----------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def _block(self, body: Sequence[Statement]) -> bool:
        """Print statements in a scope of their own; False when the last one leaves the function."""
        outer = dict(self.names)
        before = len(self.lines)
        goes_on = all(self._statement(statement) for statement in body)
        if len(self.lines) == before and self.indent > 1:
            self._line("pass")
        self.names = outer
        return goes_on

    def _statement(self, statement: Statement) -> bool:
        match statement:
            case nest.Let(name=name, value=value) | nest.Declare(name=name, value=value):
                text = self.text(value)
                self._line(f"{self._bind(name, value.dtype)} = {text}")
            case nest.Assign(name=name, value=value):
                self._line(f"{self._name(name)} = {self.text(value)}")
            case nest.Accumulate(name=name, function=function, value=value):
                operator = {"add": "+=", "mul": "*="}.get(function)
                if operator and value.dtype in (*nest.FLOATS, INDEX):
                    self._line(f"{self._name(name)} {operator} {self.text(value)}")
                else:
                    total = Call(value.dtype, function, (Name(value.dtype, name), value))
                    self._line(f"{self._name(name)} = {self.text(total)}")
            case nest.Store(buffer=buffer, index=index, value=value):
                of = self._buffer_dtype(buffer)
                if of != value.dtype:
                    raise TypeError(f"a {value.dtype} stored in buffer {buffer} of {of}")
                stored = self.text(value)
                if of == BOOL:
                    stored = f"np.uint8({stored})"
                self._line(f"{self._name(buffer)}[{self.text(index)}] = {stored}")
            case nest.For(name=name, extent=extent, body=body):
                end = self.text(extent)
                self._line(f"for {self._bind(name, INDEX)} in range({end}):")
                self._nested(body)
            case nest.If(condition=condition, then=then, otherwise=otherwise):
                self._line(f"if {self.text(condition)}:")
                then_goes_on = self._nested(then)
                if not otherwise:
                    return True
                self._line("else:")
                return self._nested(otherwise) or then_goes_on
            case nest.Fail(site=site, values=values):
                self._line(f"status[0] = {site}")
                for word, value in enumerate(values, 1):
                    self._line(f"status[{word}] = {self.text(value)}")
                self._line("return 1")
                return False
            case _:
                raise TypeError(f"{type(statement).__name__} is not a statement of the nest form")
        return True

    def _nested(self, body: Sequence[Statement]) -> bool:
        self.indent += 1
        goes_on = self._block(body)
        self.indent -= 1
        return goes_on

    # --- expressions ---------------------------------------------------------------------------

    def text(self, expression: Expression, within: int = _IF) -> str:
        """The expression, in parentheses if it binds less than `within`."""
        text, precedence = self._expression(expression)
        return text if precedence >= within else f"({text})"

    def _buffer_dtype(self, buffer: str) -> str:
        if buffer not in self.buffers:
            raise TypeError(f"the buffer {buffer} is not a parameter")
        return self.buffers[buffer]

    def _expression(self, expression: Expression) -> tuple[str, int]:
        match expression:
            case Literal():
                return _literal(expression)
            case Name(name=name):
                return self._name(name), _ATOM
            case Load(dtype=dtype, buffer=buffer, index=index):
                if self._buffer_dtype(buffer) != dtype:
                    raise TypeError(f"a {dtype} loaded from buffer {buffer} of {self.buffers[buffer]}")
                text = f"{self._name(buffer)}[{self.text(index)}]"
                return (f"{text} != 0", _COMPARE) if dtype == BOOL else (text, _ATOM)
            case Cast(dtype=dtype, value=value):
                if dtype == value.dtype:
                    return self._expression(value)
                if dtype == BOOL:
                    return f"{self.text(value, _COMPARE + 1)} != 0", _COMPARE
                return f"np.{dtype}({self.text(value)})", _ATOM
            case Select(condition=condition, then=then, otherwise=otherwise):
                return (
                    f"{self.text(then, _IF + 1)} if {self.text(condition, _IF + 1)} "
                    f"else {self.text(otherwise)}",
                    _IF,
                )
            case Call(function=function, arguments=arguments):
                return self._call(function, arguments)
        raise TypeError(f"{type(expression).__name__} is not an expression of the nest form")

    def _call(self, function: str, arguments: Sequence[Expression]) -> tuple[str, int]:
        dtype = arguments[0].dtype
        made = library.find(function, dtype)
        python = _FLOAT_FUNCTIONS.get(function) if dtype in nest.FLOATS else None
        operator = function == "pow" and dtype in nest.FLOATS
        if made is not None and python is None and not operator:
            return self._apply(self._library(made), arguments), _ATOM
        if any(argument.dtype != dtype for argument in arguments):
            raise TypeError(f"{function} of {', '.join(argument.dtype for argument in arguments)}")
        if function in ("bits_of", "from_bits"):
            self.module_functions.add(function)
            return self._apply(function, arguments), _ATOM
        if dtype == BOOL:
            printed = self._bool_call(function, arguments)
        elif dtype in nest.FLOATS:
            printed = self._float_call(function, dtype, python, arguments)
        else:
            printed = self._integer_call(function, dtype, arguments)
        if printed is None:
            raise TypeError(f"{function} is not defined for {dtype}")
        return printed

    def _apply(self, function: str, arguments: Sequence[Expression]) -> str:
        return f"{function}({', '.join(self.text(argument) for argument in arguments)})"

    def _infix(self, operator: str, level: int, arguments: Sequence[Expression]) -> str:
        left, right = arguments
        if level == _COMPARE:
            return f"{self._compared(left)} {operator} {self._compared(right)}"
        left_level = level if level in _CHAINS or operator in ("and", "or") else level + 1
        return f"{self.text(left, left_level)} {operator} {self.text(right, level + 1)}"

    def _compared(self, operand: Expression) -> str:
        """An operand of a comparison: there a float32 number may be written as Python's float."""
        if isinstance(operand, Literal) and operand.dtype == "float32" and abs(operand.value) < 2**20:
            plain = repr(operand.value)
            if plain == _shortest_float32(operand.value):
                return plain
        return self.text(operand, _COMPARE + 1)

    def _bool_call(self, function: str, arguments: Sequence[Expression]) -> tuple[str, int] | None:
        if function == "bitwise_not":
            return f"not {self.text(arguments[0], _NOT)}", _NOT
        if function in ("abs", "floor", "ceil", "trunc"):
            return self._expression(arguments[0])
        operator, level = _BOOL_OPERATORS.get(function) or _OPERATORS.get(function, ("", -1))
        if level == _COMPARE or function in _BOOL_OPERATORS:
            return self._infix(operator, level, arguments), level
        return None

    def _float_call(
        self, function: str, dtype: str, python: str | None, arguments: Sequence[Expression]
    ) -> tuple[str, int] | None:
        if function == "neg":
            return f"-{self.text(arguments[0], _UNARY)}", _UNARY
        if function == "pow":
            return (
                f"{self.text(arguments[0], _POWER + 1)} ** {self.text(arguments[1], _UNARY)}",
                _POWER,
            )
        if function == "sign":
            return self._apply(self._helper("sign_float", f"sign_{dtype}", dtype), arguments), _ATOM
        if function == "round_half_away":
            name = self._helper(function, f"{function}_{dtype}", dtype)
            return self._apply(name, arguments), _ATOM
        if function in _OPERATORS and _OPERATORS[function][0] not in "&|^":
            operator, level = _OPERATORS[function]
            return self._infix(operator, level, arguments), level
        if python is None:
            return None
        if python in MODULE_FUNCTIONS:
            self.module_functions.add(python)
        return self._apply(python, arguments), _ATOM

    def _integer_call(
        self, function: str, dtype: str, arguments: Sequence[Expression]
    ) -> tuple[str, int] | None:
        signed = dtype.startswith("int")
        printed: tuple[str, int] | None
        match function:
            case "eq" | "ne" | "lt" | "le" | "gt" | "ge":
                operator, level = _OPERATORS[function]
                return self._infix(operator, level, arguments), level
            case "floor" | "ceil" | "trunc" | "rint" | "round_half_away":
                return self._expression(arguments[0])
            case "isnan" | "isinf":
                return "False", _ATOM
            case "neg":
                printed = f"-{self.text(arguments[0], _UNARY)}", _UNARY
            case "bitwise_not":
                printed = f"~{self.text(arguments[0], _UNARY)}", _UNARY
            case "abs":
                if not signed:
                    return self._expression(arguments[0])
                printed = self._apply("abs", arguments), _ATOM
            case "sign":
                of = self.text(arguments[0], _COMPARE + 1)
                sign = f"({of} > 0) - ({of} < 0)" if signed else f"{of} > 0"
                return f"np.{dtype}({sign})", _ATOM
            case "maximum" | "minimum":
                printed = self._apply(function[:3], arguments), _ATOM
            case "fma":
                a, b, c = arguments
                return self._integer_call("add", dtype, (Call(dtype, "mul", (a, b)), c))
            case "floordiv" | "mod" | "fmod" | "shift_left" | "shift_right":
                return self._guarded(function, dtype, signed, arguments)
            case "add" | "sub" | "mul" | "bitwise_and" | "bitwise_or" | "bitwise_xor":
                operator, level = _OPERATORS[function]
                printed = self._infix(operator, level, arguments), level
            case _:
                return None
        # Numba computes in int64 or uint64, whatever the operands: all but those need narrowing.
        if dtype == INDEX:
            return printed
        return f"np.{dtype}({printed[0]})", _ATOM

    def _guarded(
        self, function: str, dtype: str, signed: bool, arguments: Sequence[Expression]
    ) -> tuple[str, int]:
        """Divisions and shifts: operators where the second operand is a harmless number."""
        kind = "signed" if signed else "unsigned"
        second = arguments[1]
        known = second.value if isinstance(second, Literal) else None
        if function in ("floordiv", "mod") and known is not None and known > 0:
            operator = "//" if function == "floordiv" else "%"
            text, level = self._infix(operator, _PRODUCT, arguments), _PRODUCT
        elif function.startswith("shift") and known is not None and 0 <= known < int(dtype.lstrip("uint")):
            operator = "<<" if function == "shift_left" else ">>"
            text, level = self._infix(operator, _SHIFT, arguments), _SHIFT
        else:
            if function == "fmod" and not signed:
                function = "mod"
            helper = function if function == "shift_left" else f"{function}_{kind}"
            name = self._helper(helper, f"{function}_{dtype}", dtype)
            return self._apply(name, arguments), _ATOM
        return (text, level) if dtype == INDEX else (f"np.{dtype}({text})", _ATOM)


def _literal(literal: Literal) -> tuple[str, int]:
    """A number in Python; what Numba would take for another dtype is converted by name."""
    value = literal.value
    if literal.dtype == BOOL:
        return str(bool(value)), _ATOM
    if literal.dtype in nest.FLOATS:
        number = float(value)
        text = repr(number)
        if not math.isfinite(number):
            text = {"inf": "math.inf", "-inf": "-math.inf", "nan": "math.nan"}[text]
        elif literal.dtype == "float32":
            text = _shortest_float32(number)
    else:
        text = repr(int(value))
    if literal.dtype in ("float64", INDEX):
        return text, _UNARY if text.startswith("-") else _ATOM
    return f"np.{literal.dtype}({text})", _ATOM


def _shortest_float32(number: float) -> str:
    """The shortest decimal that rounds to the same float32."""
    import numpy as np

    return repr(float(str(np.float32(number))))
