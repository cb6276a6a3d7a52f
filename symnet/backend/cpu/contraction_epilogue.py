"""Takes a contraction's epilogue and vectors of sums; hands on the vectors to store, as vector instructions.

An epilogue of many operations is a function of its own that every tile calls, else it is written out.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symnet.compile import library, nest
from symnet.compile.contraction import OLD, PRODUCT, Epilogue
from symnet.compile.memory import ITEM_BYTES
from symnet.compile.nest import BOOL, Call, Cast, Expression, Literal, Name, Select, Statement

from .scalar_llvm import CONTRACT, constant, llvm_type
from .vectors import Vectors

#: An epilogue of at most this many operations is written out in each tile.
_WRITTEN_OUT = 12

_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INTRINSICS = {"abs": "fabs", "round_half_away": "round"}
_SUFFIX = {"float32": "f32", "float64": "f64"}


class EpilogueEmitter:
    """Emits one epilogue's values at the place where `builder` stands."""

    def __init__(self, function: ir.Function, builder: ir.IRBuilder, epilogue: Epilogue, masks: bool) -> None:
        self.builder = builder
        self.epilogue = epilogue
        self.reads_target = epilogue.reads_target
        self.name = f"{function.name}.epilogue"
        #: How to reach the elements of each further array; a bool is a byte there.
        self.vectors = [
            Vectors(builder, ir.IntType(8) if dtype == BOOL else llvm_type(dtype), ITEM_BYTES[dtype], masks)
            for dtype in epilogue.dtypes
        ]

    def load(
        self, array: int, pointer: ir.Value, offsets: list[int], width: int, mask: ir.Value | None
    ) -> ir.Value:
        """The elements of a further array at `offsets`."""
        vector = self.vectors[array].load_lanes(pointer, offsets, width, mask)
        if self.epilogue.dtypes[array] == BOOL:
            return self.builder.icmp_unsigned("!=", vector, ir.Constant(vector.type, None))
        return vector

    def values(self, product: ir.Value, old: ir.Value | None, elements: Sequence[ir.Value]) -> list[ir.Value]:
        """What is stored for these sums, given what C held (if it matters) and the further elements."""
        given = {PRODUCT: product, **{f"x{n}": each for n, each in enumerate(elements)}}
        if old is not None:
            given[OLD] = old
        width = product.type.count
        operations = sum(_operations((), value) for value in self.epilogue.values)
        if operations + _operations(self.epilogue.statements) <= _WRITTEN_OUT:
            return self._written(self.builder, width, given)
        name = f"{self.name}.v{width}"
        module = self.builder.module
        function = module.globals.get(name)
        if function is None:
            together = ir.LiteralStructType([product.type] * len(self.epilogue.values))
            kind = ir.FunctionType(together, [each.type for each in given.values()])
            function = ir.Function(module, kind, name)
            function.attributes.add("nounwind")
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            made: ir.Value = ir.Constant(together, ir.Undefined)
            values = self._written(inside, width, dict(zip(given, function.args, strict=True)))
            for number, value in enumerate(values):
                made = inside.insert_value(made, value, number)
            inside.ret(made)
        found = self.builder.call(function, list(given.values()))
        return [self.builder.extract_value(found, n) for n in range(len(self.epilogue.values))]

    def _written(self, builder: ir.IRBuilder, width: int, given: dict[str, ir.Value]) -> list[ir.Value]:
        printer = _VectorPrinter(builder, width, given)
        printer.block(self.epilogue.statements)
        return [printer.value(value) for value in self.epilogue.values]


class _VectorPrinter:
    """Prints expressions of the scalar dialect, each lane of a vector one scalar."""

    def __init__(self, builder: ir.IRBuilder, width: int, names: dict[str, ir.Value]) -> None:
        self.builder = builder
        self.width = width
        self.names = names

    def block(self, statements: Sequence[Statement]) -> None:
        """Statements without loops or branches."""
        for statement in statements:
            if not isinstance(statement, nest.Let | nest.Declare | nest.Assign):
                raise TypeError(f"{type(statement).__name__} in an epilogue")
            self.names[statement.name] = self.value(statement.value)

    def value(self, expression: Expression) -> ir.Value:
        """The value of an expression in every lane."""
        builder = self.builder
        match expression:
            case Literal(dtype=dtype, value=value):
                scalar = constant(dtype, value)
                return ir.Constant(self._type(dtype), [scalar] * self.width)
            case Name(name=name):
                return self.names[name]
            case Select(condition=condition, then=then, otherwise=otherwise):
                return builder.select(self.value(condition), self.value(then), self.value(otherwise))
            case Cast(dtype=dtype, value=value):
                return self._cast(self.value(value), value.dtype, dtype)
            case Call(function=function, arguments=arguments):
                values = [self.value(argument) for argument in arguments]
                made = library.find(function, arguments[0].dtype)
                if made is not None:
                    names = {name: v for (name, _), v in zip(made.parameters, values, strict=True)}
                    inner = _VectorPrinter(builder, self.width, names)
                    inner.block(made.body)
                    return inner.value(made.result)
                return self._call(function, arguments[0].dtype, expression.dtype, values)
        raise TypeError(f"{type(expression).__name__} in an epilogue")

    def _type(self, dtype: str) -> ir.VectorType:
        return ir.VectorType(llvm_type(dtype), self.width)

    def _zero(self, dtype: str) -> ir.Constant:
        return ir.Constant(self._type(dtype), None)

    def _cast(self, value: ir.Value, old: str, new: str) -> ir.Value:
        builder, to = self.builder, self._type(new)
        signed = old.startswith("int")
        if old == new:
            return value
        if new == BOOL:
            zero = self._zero(old)
            if old in nest.FLOATS:
                return builder.fcmp_unordered("!=", value, zero)
            return builder.icmp_unsigned("!=", value, zero)
        if old in nest.FLOATS and new in nest.FLOATS:
            return builder.fpext(value, to) if new == "float64" else builder.fptrunc(value, to)
        if new in nest.FLOATS:
            return builder.sitofp(value, to) if signed else builder.uitofp(value, to)
        if old in nest.FLOATS:
            raise TypeError(f"a cast from {old} to {new} in an epilogue")
        before, after = value.type.element.width, to.element.width
        if before == after:
            return value
        if before > after:
            return builder.trunc(value, to)
        return builder.sext(value, to) if signed else builder.zext(value, to)

    def _call(self, function: str, dtype: str, result: str, values: list[ir.Value]) -> ir.Value:
        if function in ("bits_of", "from_bits"):
            return self.builder.bitcast(values[0], self._type(result))
        if dtype in nest.FLOATS:
            return self._float_call(function, dtype, values)
        return self._integer_call(function, dtype.startswith("int"), values)

    def _float_call(self, function: str, dtype: str, values: list[ir.Value]) -> ir.Value:
        builder, kind = self.builder, self._type(dtype)
        match function:
            case "add" | "sub" | "mul":
                return getattr(builder, f"f{function}")(*values, flags=CONTRACT)
            case "div":
                return builder.fdiv(*values)
            case "neg":
                return builder.fneg(*values)
            case "isnan":
                return builder.fcmp_unordered("uno", values[0], values[0])
            case "ne":
                return builder.fcmp_unordered("!=", *values)
            case "sign":
                (x,) = values
                zero, one = self._zero(dtype), constant(dtype, 1.0)
                ones = ir.Constant(kind, [one] * self.width)
                still = builder.select(builder.fcmp_ordered("==", x, zero), zero, x)
                below = builder.select(builder.fcmp_ordered("<", x, zero), builder.fneg(ones), still)
                return builder.select(builder.fcmp_ordered(">", x, zero), ones, below)
        if function in _COMPARISONS:
            return builder.fcmp_ordered(_COMPARISONS[function], *values)
        name = f"llvm.{_INTRINSICS.get(function, function)}.v{self.width}{_SUFFIX[dtype]}"
        module = builder.module
        known = module.globals.get(name)
        if known is None:
            known = ir.Function(module, ir.FunctionType(kind, [kind] * len(values)), name)
        # nsz: of two zeros either may come out, as from NumPy.
        flags = ("nsz",) if function in ("maximum", "minimum") else ()
        return builder.call(known, values, fastmath=flags)

    def _integer_call(self, function: str, signed: bool, values: list[ir.Value]) -> ir.Value:
        builder = self.builder
        match function:
            case "add" | "sub" | "mul":
                return getattr(builder, function)(*values)
            case "bitwise_and":
                return builder.and_(*values)
            case "bitwise_or":
                return builder.or_(*values)
            case "bitwise_xor":
                return builder.xor(*values)
            case "bitwise_not":
                return builder.not_(values[0])
            case "shift_left":
                return builder.shl(*values)
            case "shift_right":
                return builder.ashr(*values) if signed else builder.lshr(*values)
        compare = builder.icmp_signed if signed else builder.icmp_unsigned
        return compare(_COMPARISONS[function], *values)


def _operations(statements: Sequence[Statement], *values: Expression) -> int:
    """How many operations statements and values are."""
    expressions = [e for each in statements for e in nest.expressions_of(each)]
    count = 0
    for expression in (*expressions, *values):
        for part in nest.walk_expression(expression):
            if isinstance(part, Call):
                made = library.find(part.function, part.arguments[0].dtype)
                count += 1 if made is None else _operations(made.body, made.result)
    return count
