"""Expressions of a kernel's text as LLVM IR: takes Python's own tree of them, hands on values.

What they mean is told in `symnet.backend.cuda.text_code`, which reads the statements.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symnet.backend.cuda import memory_code, scalar_code
from symnet.backend.cuda.memory_texts import NAMES
from symnet.backend.cuda.text_values import (
    FLOATS,
    INTEGERS,
    TYPES,
    Given,
    Memory,
    Sure,
    Value,
    cast,
    natural,
    told,
    wide,
)
from symnet.errors import CompileError

_BIT, _INT32 = TYPES["bool"], TYPES["int32"]
_SHARED = 3
#: What memory can hold.
ENTRIES = FLOATS | INTEGERS
#: What has a meaning of its own in a text.
RESERVED = frozenset(("cuda", "math", "np", "range", "min", "max", "abs", *NAMES))
#: The functions of `np`, by the dtype to which they cast.
_CASTS = {name: "bool" if name == "bool_" else name for name in ("bool_", *ENTRIES)}
#: How much of a line an error quotes.
_QUOTED = 200
#: Threads of a block that a device takes.
_MOST_THREADS = 1024
_REGISTERS = {"threadIdx": "tid", "blockIdx": "ctaid"}
#: Operators by what LLVM calls them; shifts to the right, divisions and rests go by the dtype, too.
_OF_BITS: dict[type[ast.operator], str] = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor"}
_OF_INTEGERS = _OF_BITS | {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.LShift: "shl"}
_OF_FLOATS: dict[type[ast.operator], str] = {
    ast.Add: "fadd",
    ast.Sub: "fsub",
    ast.Mult: "fmul",
    ast.Div: "fdiv",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class Expressions:
    """Reads expressions into one function of LLVM IR, where its `builder` stands.

    Parameters
    ----------
    source, name
        The text and what its kernel is called, for errors.
    function
        What is filled, with one argument for each parameter.
    dtypes
        Of the entries behind the parameters.
    compute
        The compute capability, which some functions go by.
    threads
        The most threads of a block.
    """

    def __init__(
        self,
        source: str,
        name: str,
        function: Any,
        dtypes: Sequence[str],
        compute: tuple[int, int],
        threads: int | None,
    ) -> None:
        self.source, self.name = source, name
        self.function, self.module = function, function.module
        self.dtypes = dtypes
        self.threads = threads or _MOST_THREADS
        self.functions = scalar_code.functions(compute)
        self.names: dict[str, Given] = {}
        self.sure = Sure()
        #: A variable is a place on the stack, which NVVM's own passes make a register of.
        self.places = ir.IRBuilder(function.append_basic_block("places"))
        self.builder = ir.IRBuilder(function.append_basic_block("begin"))
        self.begin = self.builder.block

    def refuse(self, node: Any, why: str) -> CompileError:
        """The error of a line that can't be read."""
        # Python counts no other ends of lines.
        lines = re.split(r"\r\n?|\n", self.source)
        line = lines[min(node.lineno, len(lines)) - 1].strip()
        if len(line) > _QUOTED:
            line = f"{line[:_QUOTED]} …"
        return CompileError(f"kernel {self.name} can't be compiled: {why} in line {node.lineno}: {line}")

    def block(self, name: str) -> Any:
        return self.function.append_basic_block(name)

    # --- expressions ---------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Given:
        match node:
            case ast.Constant(value=bool() as value):
                return Value("bool", _BIT(int(value)))
            case ast.Constant(value=int() as value):
                return self.literal(node, value)
            case ast.Constant(value=float() as value):
                return Value("float64", TYPES["float64"](value))
            case ast.Name(id=name):
                return self.read_name(node, name)
            case ast.BinOp():
                return self.chain(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return self.literal(node, -value)
            case ast.UnaryOp(op=operator, operand=operand):
                return self.unary(node, operator, self.number(operand))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self.compare(node, operator, self.number(left), self.number(right))
            case ast.BoolOp(op=operator, values=parts):
                return self.joined(operator, parts)
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return self.either(node, self.condition(test), then, otherwise)
            case ast.Call():
                found = self.call(node)
                if found is None:
                    raise self.refuse(node, "that gives no value")
                return found
            case ast.Subscript(value=array, slice=index):
                return self.item(node, array, index)
            case ast.Tuple(elts=parts):
                return tuple(self.number(each) for each in parts)
            case ast.Attribute(value=ast.Name(id="math"), attr=("inf" | "nan") as name):
                return Value("float64", TYPES["float64"](float(name)))
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="cuda"), attr=register), attr="x"):
                return self.register(node, register)
        raise self.refuse(node, "that is no expression of a kernel")

    def literal(self, node: ast.expr, number: int) -> Value:
        """An integer that stands in the text."""
        for dtype, least in (("int64", -(1 << 63)), ("uint64", 0)):
            if least <= number < least + (1 << 64):
                return Value(dtype, TYPES[dtype](number))
        raise self.refuse(node, "no integer has more than 64 bits")

    def number(self, node: ast.expr) -> Value:
        """An expression that is one number."""
        found = self.expression(node)
        if not isinstance(found, Value):
            raise self.refuse(node, f"a number is wanted, not {told(found)}")
        return found

    def condition(self, node: ast.expr) -> Any:
        found = self.number(node)
        if found.dtype != "bool":
            raise self.refuse(node, f"a condition is wanted, not {found.dtype}")
        return found.code

    def read_name(self, node: Any, name: str) -> Given:
        if name not in self.sure.names:
            raise self.refuse(node, f"{name} {'may have' if name in self.names else 'has'} no value")
        found = self.names[name]
        if isinstance(found, Memory):
            return found
        if isinstance(found, tuple):
            return tuple(Value(each.dtype, self.builder.load(each.code)) for each in found)
        return Value(found.dtype, self.builder.load(found.code))

    def register(self, node: ast.expr, name: str) -> Value:
        if name not in _REGISTERS:
            raise self.refuse(node, f"a kernel has no {name}")
        intrinsic = f"llvm.nvvm.read.ptx.sreg.{_REGISTERS[name]}.x"
        code = self.builder.call(self.external(intrinsic, _INT32), [])
        if name == "threadIdx":
            # So that a loop of the threads over fewer items than there are threads becomes no loop. Told of a
            # block's number, too, NVVM divides small numbers in 16 bits, which takes more instructions.
            bounds = [_INT32(0), _INT32(self.threads)]
            code.set_metadata("range", self.module.add_metadata(bounds))
        return Value("int32", code)

    def external(self, name: str, result: Any) -> Any:
        known = self.module.globals.get(name)
        return known or ir.Function(self.module, ir.FunctionType(result, []), name)

    # --- operators -----------------------------------------------------------------------------

    def chain(self, node: ast.BinOp) -> Given:
        """Operators one after another; a sum of thousands would else be read by as many calls."""
        operators = [node]
        while isinstance(operators[-1].left, ast.BinOp):
            operators.append(operators[-1].left)
        found = self.expression(operators[-1].left)
        for each in reversed(operators):
            found = self.binary(each, each.op, found, self.expression(each.right))
        return found

    def binary(self, node: Any, operator: ast.operator, left: Given, right: Given) -> Given:
        if isinstance(operator, ast.Add) and isinstance(left, tuple) and isinstance(right, tuple):
            return left + right
        if not isinstance(left, Value) or not isinstance(right, Value):
            raise self.refuse(node, "an operator takes two numbers")
        dtypes = {left.dtype, right.dtype}
        dtype, made = "bool", None
        if dtypes <= INTEGERS:
            shifted = isinstance(operator, ast.LShift | ast.RShift)
            dtype = wide([left] if shifted else [left, right])
            if shifted and isinstance(right.code, ir.Constant) and not 0 <= right.code.constant < 64:
                raise self.refuse(node, f"no shift by {right.code.constant}")
            made = self.of_integers(operator, dtype)
        elif dtypes <= FLOATS:
            dtype = max(dtypes)
            made = self.named(_OF_FLOATS, operator)
        elif dtypes == {"bool"}:
            made = self.named(_OF_BITS, operator)
        if made is None:
            raise self.refuse(node, f"no such operator of {left.dtype} and {right.dtype}")
        return Value(dtype, made(self.cast(left, dtype).code, self.cast(right, dtype).code))

    def named(self, names: dict[type[ast.operator], str], operator: ast.operator) -> Any:
        name = names.get(type(operator))
        return None if name is None else getattr(self.builder, name)

    def of_integers(self, operator: ast.operator, dtype: str) -> Any:
        if isinstance(operator, ast.RShift):
            return self.builder.ashr if dtype == "int64" else self.builder.lshr
        if isinstance(operator, ast.FloorDiv | ast.Mod):
            _, make = self.functions["floordiv" if isinstance(operator, ast.FloorDiv) else "mod"]
            return lambda a, b: make(self.builder, dtype, [a, b])
        return self.named(_OF_INTEGERS, operator)

    def unary(self, node: ast.expr, operator: ast.unaryop, value: Value) -> Value:
        match operator:
            case ast.USub() if value.stands:
                return self.literal(node, -value.code.constant)
            case ast.USub() if value.dtype in FLOATS and isinstance(value.code, ir.Constant):
                return Value(value.dtype, value.code.type(-value.code.constant))
            case ast.USub() if value.dtype in FLOATS:
                # The older IR has no instruction of its own for it.
                return Value(value.dtype, self.builder.fsub(value.code.type(-0.0), value.code))
            case ast.USub() | ast.Invert() if value.dtype in INTEGERS:
                met = self.cast(value, wide([value]))
                make = self.builder.neg if isinstance(operator, ast.USub) else self.builder.not_
                return Value(met.dtype, make(met.code))
            case ast.Not() | ast.Invert() if value.dtype == "bool":
                return Value("bool", self.builder.not_(value.code))
        raise self.refuse(node, f"no such operator of {value.dtype}")

    def compare(self, node: ast.expr, operator: ast.cmpop, left: Value, right: Value) -> Value:
        """A comparison of numbers by what they are, whatever the widths."""
        sign = _COMPARISONS.get(type(operator))
        dtypes = {left.dtype, right.dtype}
        if sign is None:
            raise self.refuse(node, "that is no comparison of numbers")
        floats = dtypes & FLOATS
        if floats and all(each.dtype in floats or each.stands for each in (left, right)):
            dtype = max(floats)
            for each in (left, right):
                if each.stands and abs(each.code.constant) > 1 << (24 if dtype == "float32" else 53):
                    raise self.refuse(node, f"{each.code.constant} may be no {dtype}")
            compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        elif dtypes == {"bool"} or dtypes <= INTEGERS:
            dtype = self.common(node, [left, right])
            compare = self.builder.icmp_signed if dtype.startswith("int") else self.builder.icmp_unsigned
        else:
            raise self.refuse(node, f"no comparison of {left.dtype} and {right.dtype}")
        return Value("bool", compare(sign, self.cast(left, dtype).code, self.cast(right, dtype).code))

    def joined(self, operator: ast.boolop, parts: Sequence[ast.expr]) -> Value:
        """`and`, `or`: what follows is found only where it matters."""
        met = isinstance(operator, ast.And)
        end = self.block("end")
        known = []
        for part in parts[:-1]:
            value = self.condition(part)
            known.append((_BIT(int(not met)), self.builder.block))
            more = self.block("more")
            self.builder.cbranch(value, *((more, end) if met else (end, more)))
            self.builder.position_at_end(more)
        known.append((self.condition(parts[-1]), self.builder.block))
        self.builder.branch(end)
        self.builder.position_at_end(end)
        found = self.builder.phi(_BIT)
        for value, block in known:
            found.add_incoming(value, block)
        return Value("bool", found)

    def either(self, node: ast.expr, condition: Any, then: ast.expr, otherwise: ast.expr) -> Value:
        """One of two values, of which the other is not found."""
        ways = [self.block("then"), self.block("else")]
        end = self.block("end")
        self.builder.cbranch(condition, *ways)
        found = []
        for way, part in zip(ways, (then, otherwise), strict=True):
            self.builder.position_at_end(way)
            found.append((self.number(part), self.builder.block))
        dtype = self.common(node, [value for value, _ in found])
        arrived = []
        for value, last in found:
            self.builder.position_at_end(last)
            arrived.append((self.cast(value, dtype).code, last))
            self.builder.branch(end)
        self.builder.position_at_end(end)
        chosen = self.builder.phi(TYPES[dtype])
        for code, last in arrived:
            chosen.add_incoming(code, last)
        return Value(dtype, chosen)

    def common(self, node: ast.expr, values: Sequence[Value]) -> str:
        """The dtype that takes either of two numbers as what it is."""
        dtypes = {each.dtype for each in values}
        if len(dtypes) == 1:
            return values[0].dtype
        if dtypes <= FLOATS:
            return "float64"
        if dtypes <= INTEGERS:
            if "uint64" in dtypes and not natural(*values):
                raise self.refuse(node, "uint64 meets what may be negative")
            return "uint64" if "uint64" in dtypes else wide(values)
        raise self.refuse(node, f"no dtype for both {' and '.join(sorted(dtypes))}")

    def cast(self, value: Value, dtype: str) -> Value:
        return cast(self.builder, value, dtype)

    # --- memory --------------------------------------------------------------------------------

    def entry(self, array: ast.expr, index: ast.expr) -> tuple[Memory, Any]:
        """What is indexed, and the pointer to the entry."""
        memory = self.expression(array)
        if not isinstance(memory, Memory):
            raise self.refuse(array, f"no entries to write or read in {told(memory)}")
        return memory, self.place(memory, index, self.number(index))

    def place(self, memory: Memory, node: ast.expr, index: Value) -> Any:
        """The pointer to an entry."""
        return self.builder.gep(memory.first, [self.index(node, index)])

    def index(self, node: ast.expr, index: Value) -> Any:
        """An index in 64 bits."""
        if index.dtype not in INTEGERS:
            raise self.refuse(node, f"an index is wanted, not {index.dtype}")
        return self.cast(index, wide([index])).code

    def stored(self, node: ast.expr, found: Given, memory: Memory) -> Any:
        """A number as an entry of memory."""
        if not isinstance(found, Value):
            raise self.refuse(node, "an entry is one number")
        if (found.dtype in FLOATS) != (memory.dtype in FLOATS):
            raise self.refuse(node, f"{found.dtype} is no entry of {memory.dtype}")
        return self.cast(found, memory.dtype).code

    def item(self, node: ast.expr, array: ast.expr, index: ast.expr) -> Given:
        found = self.expression(array)
        if isinstance(found, Memory):
            return Value(found.dtype, self.builder.load(self.place(found, index, self.number(index))))
        if isinstance(found, Value):
            raise self.refuse(array, f"no entries to write or read in {found.dtype}")
        match index:
            case ast.Constant(value=int() as number) if 0 <= number < len(found):
                return found[number]
            case ast.Slice(
                lower=None | ast.Constant(value=int()) as lower,
                upper=None | ast.Constant(value=int()) as upper,
                step=None,
            ):
                first, last = (None if each is None else ast.literal_eval(each) for each in (lower, upper))
                return found[first:last]
        raise self.refuse(node, f"a number below {len(found)} that stands there is wanted")

    # --- calls ---------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> Given | None:
        if node.keywords:
            raise self.refuse(node, "no function takes keywords")
        match node.func:
            case ast.Attribute(value=ast.Name(id="np"), attr=name) if name in _CASTS:
                if len(node.args) != 1:
                    raise self.refuse(node, f"np.{name} takes one number")
                return self.cast(self.number(node.args[0]), _CASTS[name])
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name in self.functions:
                return self.function_of_math(node, name)
            case ast.Attribute(value=ast.Name(id="cuda"), attr="syncthreads") if not node.args:
                barrier = self.external("llvm.nvvm.barrier0", ir.VoidType())
                self.builder.call(barrier, [])
                return None
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="cuda"), attr="shared"), attr="array"):
                return self.shared_array(node)
            case ast.Name(id="min" | "max" | "abs" as name):
                return self.function_of_integers(node, name)
            case ast.Name(id=name) if name in NAMES:
                given = [self.expression(each) for each in node.args]
                return self.function_of_memory(node, name, given)
        raise self.refuse(node, f"a kernel has no {ast.unparse(node.func)}")

    def function_of_math(self, node: ast.Call, name: str) -> Value:
        arity, make = self.functions[name]
        given = [self.number(each) for each in node.args]
        dtypes = [each.dtype for each in given]
        result = scalar_code.result_dtype(name, dtypes) if len(given) == arity else None
        if result is None:
            raise self.refuse(node, f"no math.{name} of {', '.join(dtypes) or 'nothing'}")
        return Value(result, make(self.builder, dtypes[-1], [each.code for each in given]))

    def function_of_integers(self, node: ast.Call, name: str) -> Value:
        given = [self.number(each) for each in node.args]
        if len(given) != (1 if name == "abs" else 2) or any(v.dtype not in INTEGERS for v in given):
            raise self.refuse(node, f"{name} is of integers")
        dtype = self.common(node, given)
        codes = [self.cast(each, dtype).code for each in given]
        if name == "abs" and not dtype.startswith("int"):
            return given[0]
        _, make = self.functions[{"min": "minimum", "max": "maximum"}.get(name, name)]
        return Value(dtype, make(self.builder, dtype, codes))

    def shared_array(self, node: ast.Call) -> Memory:
        match node.args:
            case [
                ast.Constant(value=int() as count),
                ast.Attribute(value=ast.Name(id="np"), attr=dtype),
                *rest,
            ] if dtype in ENTRIES and count > 0:
                size = Memory(dtype, None).size
            case _:
                raise self.refuse(node, "a shared array takes a number, a dtype and an alignment")
        match rest:
            case []:
                alignment = size
            case [ast.Constant(value=int() as alignment)] if alignment in (size << n for n in range(8)):
                pass
            case _:
                raise self.refuse(node, f"an array of {dtype} is aligned to {size}, {2 * size}, … bytes")
        kind = ir.ArrayType(TYPES[dtype], count)
        # No name of a kernel's.
        number = sum(isinstance(each, ir.GlobalVariable) for each in self.module.global_values)
        array = ir.GlobalVariable(self.module, kind, f"shared.{number}", _SHARED)
        array.linkage = "internal"
        array.initializer = ir.Constant(kind, ir.Undefined)
        array.align = alignment
        return Memory(dtype, array.gep([_INT32(0), _INT32(0)]))

    def function_of_memory(self, node: ast.Call, name: str, given: Sequence[Given]) -> Given | None:
        match name, given:
            case ("load2" | "load4", [Memory() as memory, Value() as index]):
                return self.loaded(memory, self.place(memory, node, index), name)
            case ("store2" | "store4", [Memory() as memory, Value() as index, *values]):
                codes = [self.stored(node, each, memory) for each in values]
                if len(codes) == memory_code.STORES[name]:
                    memory_code.store(self.builder, self.place(memory, node, index), codes, memory.size)
                    return None
            case (
                "shared_load1" | "shared_load2" | "shared_load4",
                [Memory() as memory, Value() as index, Value() as ahead],
            ):
                return self.loaded(memory, self.ahead_of(node, memory, index, ahead), name)
            case ("shared_store", [Memory() as memory, Value() as index, Value() as ahead, value]):
                code = self.stored(node, value, memory)
                self.builder.store(code, self.ahead_of(node, memory, index, ahead))
                return None
            case ("lane_swap", [Value() as value, Value(dtype=dtype) as mask]) if dtype in INTEGERS:
                bits = self.cast(mask, "int32").code
                return Value(value.dtype, memory_code.lane_swap(self.builder, value.code, bits))
            case ("multiply_add", [tuple() as sums, tuple() as rows, tuple() as columns]):
                dtypes = {each.dtype for each in (*sums, *rows, *columns)}
                if len(dtypes) == 1 and dtypes <= FLOATS and len(sums) == len(rows) * len(columns) > 0:
                    codes = [[each.code for each in numbers] for numbers in (sums, rows, columns)]
                    made = memory_code.multiply_add(self.builder, *codes)
                    return tuple(Value(sums[0].dtype, each) for each in made)
            case ("quotient", [Value() as number, Value() as divisor]):
                if {number.dtype, divisor.dtype} <= INTEGERS:
                    return Value(number.dtype, memory_code.quotient(self.builder, number.code, divisor.code))
        raise self.refuse(node, f"no {name} of {', '.join(map(told, given)) or 'nothing'}")

    def loaded(self, memory: Memory, first: Any, name: str) -> tuple[Value, ...]:
        count = (memory_code.LOADS | memory_code.SHARED_LOADS)[name]
        entries = memory_code.load(self.builder, first, count, memory.size)
        return tuple(Value(memory.dtype, each) for each in entries)

    def ahead_of(self, node: ast.expr, memory: Memory, index: Value, ahead: Value) -> Any:
        numbers = [self.index(node, each) for each in (index, ahead)]
        return memory_code.ahead_of(self.builder, memory.first, *numbers)
