"""Scalar expressions of the nest form become LLVM IR values at the builder's place.

The statement printer `symnet.backend.cpu.print_llvm` uses it; what the dialect's functions mean on
the CPU in IR is here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from symnet.compile import library, nest
from symnet.compile.nest import (
    BOOL,
    Call,
    Cast,
    Expression,
    Literal,
    Load,
    Name,
    Select,
)

#: Contraction into fused multiply-adds is the only liberty that arithmetic takes,
CONTRACT = ("contract",)
#: unless the user asks for `config.fastmath`: then sums may be reordered, and there is no NaN or infinity.
FAST = ("reassoc", "nnan", "ninf", "nsz", "arcp", "contract")
#: An accumulation may also be kept in lanes.
IN_LANES = ("contract", "reassoc")

_BIT = ir.IntType(1)
_BYTE = ir.IntType(8)
_INT64 = ir.IntType(64)
_TYPES: dict[str, ir.Type] = {"float32": ir.FloatType(), "float64": ir.DoubleType(), BOOL: _BIT}
_TYPES.update({dtype: ir.IntType(int(dtype.removeprefix("u")[3:])) for dtype in nest.INTEGERS})
_SUFFIX = {"float32": "f32", "float64": "f64"}

#: Dialect functions that are an LLVM intrinsic of the same arguments (a vector of it is one, too).
_INTRINSICS = {
    "fma": "fma",
    "sqrt": "sqrt",
    "exp": "exp",
    "exp2": "exp2",
    "log": "log",
    "log2": "log2",
    "log10": "log10",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "pow": "pow",
    "abs": "fabs",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "rint": "rint",
    "round_half_away": "round",
    "copysign": "copysign",
}
#: Dialect functions that only the C library has.
_C_FUNCTIONS = {
    "expm1": "expm1",
    "log1p": "log1p",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "erf": "erf",
    "erfc": "erfc",
    "gamma": "tgamma",
    "lgamma": "lgamma",
    "hypot": "hypot",
}
_ORDERED = {"eq": "==", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_COMPARISONS = {**_ORDERED, "ne": "!="}


def llvm_type(dtype: str) -> ir.Type:
    """The LLVM type of a scalar in a register; in memory a bool is a byte."""
    return _TYPES[dtype]


def _signed(dtype: str) -> bool:
    return dtype.startswith("int")


class ScalarPrinter:
    """Prints expressions at the place of `builder`.

    `names` and `buffers` say what a name, and the pointer and dtype of a buffer, are at that place;
    `nonnegative` are the int64 names known to be at least 0, whose division needs no correction;
    `access_group`, if any, marks the memory accesses of a loop whose iterations are independent.
    """

    def __init__(
        self,
        module: ir.Module,
        builder: ir.IRBuilder,
        library_function: Callable[[ir.Module, library.Function], ir.Function],
    ) -> None:
        self.module = module
        self.builder = builder
        self.library_function = library_function
        self.names: dict[str, ir.Value] = {}
        self.buffers: dict[str, tuple[ir.Value, str]] = {}
        self.nonnegative: set[str] = set()
        self.access_group: Any = None
        self.liberties: tuple[str, ...] = CONTRACT
        self._wrap: tuple[str, ...] = ()

    # --- what statements need ------------------------------------------------------------------

    def index(self, expression: Expression) -> ir.Value:
        """An int64 that addresses memory or counts rounds: its arithmetic does not overflow."""
        outer, self._wrap = self._wrap, ("nsw",)
        value = self.value(expression, expected=_INT64)
        self._wrap = outer
        return value

    def store(self, buffer: str, index: Expression, value: Expression) -> None:
        """`buffer[index] = value`."""
        pointer, dtype = self._buffer(buffer)
        if value.dtype != dtype:
            raise TypeError(f"a {value.dtype} stored in buffer {buffer} of {dtype}")
        printed = self.value(value)
        if dtype == BOOL:
            printed = self.builder.zext(printed, _BYTE)
        self._mark(self.builder.store(printed, self._address(pointer, dtype, index)))

    def accumulate(self, function: str, dtype: str, total: ir.Value, value: ir.Value) -> ir.Value:
        """`function(total, value)`, free to be kept in lanes."""
        if function in ("add", "mul") and dtype in nest.FLOATS:
            make = self.builder.fadd if function == "add" else self.builder.fmul
            return make(total, value, flags=IN_LANES)
        return self._call(function, dtype, [total, value])

    def note_sign(self, name: str, value: Expression) -> None:
        """Remember whether a name is known to be nonnegative."""
        if value.dtype == nest.INDEX and self._is_nonnegative(value):
            self.nonnegative.add(name)
        else:
            self.nonnegative.discard(name)

    # --- expressions ---------------------------------------------------------------------------

    def value(self, expression: Expression, expected: ir.Type | None = None) -> ir.Value:
        """The value of an expression; TypeError when it is not of the expected type."""
        made = self._value(expression)
        if expected is not None and made.type != expected:
            raise TypeError(f"a {expression.dtype} where {expected} is expected")
        return made

    def _value(self, expression: Expression) -> ir.Value:
        match expression:
            case Literal(dtype=dtype, value=value):
                return constant(dtype, value)
            case Name(dtype=dtype, name=name):
                if name not in self.names:
                    raise TypeError(f"the name {name} is not known here")
                if self.names[name].type != _TYPES[dtype]:
                    raise TypeError(f"{name} is a {self.names[name].type}, used as a {dtype}")
                return self.names[name]
            case Load(dtype=dtype, buffer=buffer, index=index):
                pointer, of = self._buffer(buffer)
                if of != dtype:
                    raise TypeError(f"a {dtype} loaded from buffer {buffer} of {of}")
                address = self._address(pointer, dtype, index)
                if dtype == BOOL:
                    byte = self._mark(self.builder.load(address, typ=_BYTE))
                    return self.builder.icmp_unsigned("!=", byte, _BYTE(0))
                return self._mark(self.builder.load(address, typ=_TYPES[dtype]))
            case Cast(dtype=dtype, value=value):
                return self._cast(self.value(value), value.dtype, dtype)
            case Select(condition=condition, then=then, otherwise=otherwise):
                if then.dtype != otherwise.dtype:
                    raise TypeError(f"a choice between {then.dtype} and {otherwise.dtype}")
                return self.builder.select(
                    self.value(condition, expected=_BIT), self.value(then), self.value(otherwise)
                )
            case Call(function=function, arguments=arguments):
                return self._dialect_call(function, arguments)
        raise TypeError(f"{type(expression).__name__} is not an expression of the nest form")

    def _buffer(self, buffer: str) -> tuple[ir.Value, str]:
        if buffer not in self.buffers:
            raise TypeError(f"the buffer {buffer} is not a parameter")
        return self.buffers[buffer]

    def _address(self, pointer: ir.Value, dtype: str, index: Expression) -> ir.Value:
        element = _BYTE if dtype == BOOL else _TYPES[dtype]
        return self.builder.gep(pointer, [self.index(index)], inbounds=True, source_etype=element)

    def _mark(self, access: ir.Instruction) -> ir.Instruction:
        if self.access_group is not None:
            access.set_metadata("llvm.access.group", self.access_group)
        return access

    def _dialect_call(self, function: str, arguments: Sequence[Expression]) -> ir.Value:
        dtype = arguments[0].dtype
        made = library.find(function, dtype)
        if made is not None:
            values = [self.value(argument) for argument in arguments]
            return self.builder.call(self.library_function(self.module, made), values)
        if any(argument.dtype != dtype for argument in arguments):
            raise TypeError(f"{function} of {', '.join(argument.dtype for argument in arguments)}")
        if function in ("floordiv", "mod") and all(self._is_nonnegative(a) for a in arguments):
            divisor = arguments[1]
            if isinstance(divisor, Literal) and divisor.value > 0:
                make = self.builder.udiv if function == "floordiv" else self.builder.urem
                return make(self.value(arguments[0]), self.value(divisor))
        return self._call(function, dtype, [self.value(argument) for argument in arguments])

    def _is_nonnegative(self, expression: Expression) -> bool:
        """Whether an int64 expression is surely at least 0.

        Loop variables count the elements of something in memory, so that their sums, and their
        products with a number of less than 15 bits, do not overflow.
        """
        if expression.dtype != nest.INDEX:
            return False
        match expression:
            case Literal(value=value):
                return value >= 0
            case Name(name=name):
                return name in self.nonnegative
            case Call(function="add" | "floordiv" | "mod" | "maximum" | "minimum", arguments=arguments):
                return all(self._is_nonnegative(argument) for argument in arguments)
            case Call(function="mul", arguments=arguments):
                bounded = self._wrap or any(
                    isinstance(argument, Literal) and argument.value < 2**15 for argument in arguments
                )
                return bool(bounded) and all(self._is_nonnegative(argument) for argument in arguments)
        return False

    # --- conversions ---------------------------------------------------------------------------

    def _cast(self, value: ir.Value, old: str, new: str) -> ir.Value:
        builder, to = self.builder, _TYPES[new]
        if old == new:
            return value
        if new == BOOL:
            if old in nest.FLOATS:
                return builder.fcmp_unordered("!=", value, value.type(0.0))
            return builder.icmp_unsigned("!=", value, value.type(0))
        if old in nest.FLOATS and new in nest.FLOATS:
            return builder.fpext(value, to) if new == "float64" else builder.fptrunc(value, to)
        if new in nest.FLOATS:
            return builder.sitofp(value, to) if _signed(old) else builder.uitofp(value, to)
        if old in nest.FLOATS:
            return self._float_to_integer(value, old, new)
        if value.type.width > to.width:
            return builder.trunc(value, to)
        if value.type.width == to.width:
            return value
        return builder.sext(value, to) if _signed(old) else builder.zext(value, to)

    def _float_to_integer(self, value: ir.Value, old: str, new: str) -> ir.Value:
        """Saturating, so never undefined; a narrow integer is the low part of a wider one."""
        width = _TYPES[new].width
        wide = 64 if new == "uint32" else max(width, 32)
        kind = "fptoui" if new == "uint64" else "fptosi"
        through = ir.IntType(wide)
        name = f"llvm.{kind}.sat.i{wide}.{_SUFFIX[old]}"
        made = self.builder.call(self._external(name, through, [value.type]), [value])
        return made if wide == width else self.builder.trunc(made, _TYPES[new])

    # --- functions -----------------------------------------------------------------------------

    def _call(self, function: str, dtype: str, values: list[ir.Value]) -> ir.Value:
        if function == "bits_of":
            return self.builder.bitcast(values[0], _TYPES[nest.BITS_OF[dtype]])
        if function == "from_bits":
            return self.builder.bitcast(values[0], _TYPES[nest.FROM_BITS[dtype]])
        if dtype in nest.FLOATS:
            made = self._float_call(function, dtype, values)
        elif dtype == BOOL:
            made = self._bool_call(function, values)
        else:
            made = self._integer_call(function, _signed(dtype), values)
        if made is None:
            raise TypeError(f"{function} is not defined for {dtype}")
        return made

    def _float_call(self, function: str, dtype: str, values: list[ir.Value]) -> ir.Value | None:
        builder = self.builder
        kind = values[0].type
        match function:
            case "add":
                return builder.fadd(*values, flags=self.liberties)
            case "sub":
                return builder.fsub(*values, flags=self.liberties)
            case "mul":
                return builder.fmul(*values, flags=self.liberties)
            case "div":
                return builder.fdiv(*values, flags=self.liberties)
            case "fmod":
                return builder.frem(*values)
            case "neg":
                return builder.fneg(*values)
            case "maximum" | "minimum":
                # nsz: of two zeros either may come out, as from NumPy; it saves half the
                # instructions.
                name = f"llvm.{function}.{_SUFFIX[dtype]}"
                return builder.call(self._external(name, kind, [kind, kind]), values, fastmath=("nsz",))
            case "sign":
                (x,) = values
                zero = kind(0.0)
                still = builder.select(builder.fcmp_ordered("==", x, zero), zero, x)
                below = builder.select(builder.fcmp_ordered("<", x, zero), kind(-1.0), still)
                return builder.select(builder.fcmp_ordered(">", x, zero), kind(1.0), below)
            case "isnan":
                return builder.fcmp_unordered("uno", values[0], values[0])
            case "isinf":
                size = self._float_call("abs", dtype, values)
                return builder.fcmp_ordered("==", size, kind(float("inf")))
            case "ne":
                return builder.fcmp_unordered("!=", *values)
        if function in _ORDERED:
            return builder.fcmp_ordered(_ORDERED[function], *values)
        if function in _INTRINSICS:
            name = f"llvm.{_INTRINSICS[function]}.{_SUFFIX[dtype]}"
            return builder.call(self._external(name, kind, [kind] * len(values)), values)
        if function in _C_FUNCTIONS:
            name = _C_FUNCTIONS[function] + ("f" if dtype == "float32" else "")
            called = self._external(name, kind, [kind] * len(values))
            called.attributes.add("readnone")
            called.attributes.add("nounwind")
            return builder.call(called, values)
        return None

    def _bool_call(self, function: str, values: list[ir.Value]) -> ir.Value | None:
        builder = self.builder
        match function:
            case "add" | "maximum" | "bitwise_or":
                return builder.or_(*values)
            case "mul" | "minimum" | "bitwise_and":
                return builder.and_(*values)
            case "bitwise_xor" | "ne":
                return builder.xor(*values)
            case "bitwise_not":
                return builder.xor(values[0], _BIT(1))
            case "abs" | "floor" | "ceil" | "trunc":
                return values[0]
        if function in _ORDERED:
            return builder.icmp_unsigned(_ORDERED[function], *values)
        return None

    def _integer_call(self, function: str, signed: bool, values: list[ir.Value]) -> ir.Value | None:
        builder = self.builder
        kind = values[0].type
        wrap = self._wrap if signed and kind == _INT64 else ()
        match function:
            case "add":
                return builder.add(*values, flags=wrap)
            case "sub":
                return builder.sub(*values, flags=wrap)
            case "mul":
                return builder.mul(*values, flags=wrap)
            case "fma":
                return builder.add(builder.mul(values[0], values[1]), values[2])
            case "neg":
                return builder.sub(kind(0), values[0])
            case "abs":
                if not signed:
                    return values[0]
                name = f"llvm.abs.i{kind.width}"
                return builder.call(self._external(name, kind, [kind, _BIT]), [values[0], _BIT(0)])
            case "sign":
                positive = builder.zext(builder.icmp_unsigned("!=", values[0], kind(0)), kind)
                if not signed:
                    return positive
                return builder.or_(builder.ashr(values[0], kind(kind.width - 1)), positive)
            case "maximum" | "minimum":
                name = f"llvm.{'s' if signed else 'u'}{function[:3]}.i{kind.width}"
                return builder.call(self._external(name, kind, [kind, kind]), values)
            case "bitwise_and":
                return builder.and_(*values)
            case "bitwise_or":
                return builder.or_(*values)
            case "bitwise_xor":
                return builder.xor(*values)
            case "bitwise_not":
                return builder.not_(values[0])
            case "floor" | "ceil" | "trunc" | "rint" | "round_half_away":
                return values[0]
            case "isnan" | "isinf":
                return _BIT(0)
            case "floordiv" | "mod" | "fmod":
                return self._divide(function, signed, *values)
            case "shift_left" | "shift_right":
                return self._shift(function, signed, *values)
        if function in _COMPARISONS:
            compare = builder.icmp_signed if signed else builder.icmp_unsigned
            return compare(_COMPARISONS[function], *values)
        return None

    def _divide(self, function: str, signed: bool, a: ir.Value, b: ir.Value) -> ir.Value:
        """Division without the two divisors that trap: 0, and -1 of the least number."""
        builder, kind = self.builder, a.type
        by_zero = builder.icmp_unsigned("==", b, kind(0))
        if not signed:
            safe = builder.select(by_zero, kind(1), b)
            result = builder.udiv(a, safe) if function == "floordiv" else builder.urem(a, safe)
            return builder.select(by_zero, kind(0), result)
        by_minus_one = builder.icmp_signed("==", b, kind(-1))
        safe = builder.select(builder.or_(by_zero, by_minus_one), kind(1), b)
        rest = builder.srem(a, safe)
        if function == "fmod":
            return rest
        uneven = builder.icmp_signed("!=", rest, kind(0))
        opposite = builder.icmp_signed("<", builder.xor(rest, safe), kind(0))
        lower = builder.and_(uneven, opposite)
        if function == "mod":
            return builder.add(rest, builder.select(lower, safe, kind(0)))
        quotient = builder.sub(builder.sdiv(a, safe), builder.zext(lower, kind))
        quotient = builder.select(by_minus_one, builder.sub(kind(0), a), quotient)
        return builder.select(by_zero, kind(0), quotient)

    def _shift(self, function: str, signed: bool, a: ir.Value, count: ir.Value) -> ir.Value:
        """A shift by less than 0 or by the width and more moves every bit out, as in NumPy."""
        builder, kind = self.builder, a.type
        inside = builder.icmp_unsigned("<", count, kind(kind.width))
        if function == "shift_right" and signed:
            return builder.ashr(a, builder.select(inside, count, kind(kind.width - 1)))
        safe = builder.select(inside, count, kind(0))
        moved = builder.shl(a, safe) if function == "shift_left" else builder.lshr(a, safe)
        return builder.select(inside, moved, kind(0))

    def _external(self, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
        known = self.module.globals.get(name)
        if known is not None:
            if not known.is_declaration:
                raise TypeError(f"a kernel has the name of the C library's function {name}")
            return known
        return ir.Function(self.module, ir.FunctionType(result, arguments), name)


def constant(dtype: str, value: bool | int | float) -> ir.Constant:
    """A literal as a constant of its LLVM type."""
    kind = _TYPES[dtype]
    if dtype in nest.FLOATS:
        return kind(float(value))
    number = int(value)
    if dtype != BOOL and number >= 2 ** (kind.width - 1):
        number -= 2**kind.width
    return kind(number)
