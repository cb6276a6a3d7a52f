"""A kernel's text as LLVM IR: takes the text that `kernel_text` writes, hands on what NVVM makes PTX of.

The text is a small part of what Numba compiles, and means here what it means there. Numba gives every name a
type for each of its values, and looks for each function among all that it knows. A text whose names keep one
dtype each is read in one pass, which takes a tenth of the time. What is no part of it is an error.

- Integers meet each other 64 bits wide, signed if one of them is; the literal ones are int64. Reals are as
  wide as the wider of the two; the literal ones are float64.
- An index counts entries from the first one and is not negative; an array's entries are not checked.
- `for` goes over `range`, whose step is a number.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symnet.backend.cuda.text_expressions import Expressions
from symnet.backend.cuda.text_values import INTEGERS, TYPES, Given, Memory, Value, told, wide
from symnet.compile.syntax import tree_of


def module_of(
    source: str, name: str, signature: Sequence[str], compute: tuple[int, int], threads: int | None = None
) -> ir.Module:
    """The kernel `name` of a text as a module of LLVM IR.

    Parameters
    ----------
    signature
        For each parameter the dtype of the entries that it points at; bools are bytes there.
    compute
        The compute capability, as (9, 0).
    threads
        The most threads of a block.

    Raises
    ------
    CompileError
        At the first line that is no part of what texts are written in; it is quoted.
    """
    module = ir.Module(name)
    dtypes = ["uint8" if each == "bool" else each for each in signature]
    kind = ir.FunctionType(ir.VoidType(), [TYPES[each].as_pointer() for each in dtypes])
    function = ir.Function(module, kind, name)
    annotations = module.add_named_metadata("nvvm.annotations")
    for what, number in (("kernel", 1), ("maxntidx", threads)):
        if number is not None:
            annotations.add(
                module.add_metadata([function, ir.MetaDataString(module, what), TYPES["int32"](number)])
            )
    _Reader(source, name, function, dtypes, compute, threads).read()
    return module


class _Reader(Expressions):
    """Reads the statements of one text into one function."""

    def read(self) -> None:
        """Read the whole text."""
        (definition,) = tree_of(self.source).body
        assert isinstance(definition, ast.FunctionDef)
        parameters = [each.arg for each in definition.args.args]
        for parameter, dtype, given in zip(parameters, self.dtypes, self.function.args, strict=True):
            given.name = parameter
            self.names[parameter] = Memory(dtype, given)
        if self.statements(definition.body):
            self.builder.ret_void()
        self.places.branch(self.begin)

    # --- statements ----------------------------------------------------------------------------

    def statements(self, body: Sequence[ast.stmt]) -> bool:
        """Read statements; False when they leave the function."""
        return all(self.statement(each) for each in body)

    def statement(self, node: ast.stmt) -> bool:
        """Read a statement; False when it leaves the function."""
        match node:
            case ast.Assign(targets=targets, value=value):
                found = self.expression(value)
                for target in targets:
                    self.assign(target, found)
            case ast.AugAssign(target=target, op=operator, value=value):
                before = self.expression(target)
                self.assign(target, self.binary(node, operator, before, self.expression(value)))
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.If(test=test, body=body, orelse=otherwise):
                return self.choice(self.condition(test), body, otherwise)
            case ast.For(
                target=ast.Name() as target,
                iter=ast.Call(func=ast.Name(id="range")) as numbers,
                body=body,
                orelse=[],
            ):
                return self.loop(target, numbers, body)
            case ast.While(test=test, body=body, orelse=[]):
                return self.repeat(test, body)
            case ast.Return(value=None):
                self.builder.ret_void()
                return False
            case ast.Pass():
                pass
            case _:
                raise self.refuse(node, "that is no statement of a kernel")
        return True

    def assign(self, target: ast.expr, found: Given) -> None:
        match target:
            case ast.Name(id=name):
                self.assign_name(target, name, found)
            case ast.Tuple(elts=parts):
                if not isinstance(found, tuple) or len(found) != len(parts):
                    raise self.refuse(target, f"it takes {len(parts)} numbers")
                for part, value in zip(parts, found, strict=True):
                    self.assign(part, value)
            case ast.Subscript(value=array, slice=index):
                memory, where = self.entry(array, index)
                self.builder.store(self.stored(target, found, memory), where)
            case _:
                raise self.refuse(target, "nothing can be assigned to that")

    def assign_name(self, node: ast.expr, name: str, found: Given) -> None:
        known = self.names.get(name)
        if isinstance(found, Memory):
            if known is not None:
                raise self.refuse(node, f"{name} has a value already")
            self.names[name] = found
            return
        values = found if isinstance(found, tuple) else (found,)
        if known is None:
            made = tuple(Value(each.dtype, self.places.alloca(each.code.type, name=name)) for each in values)
            self.names[name] = known = made if isinstance(found, tuple) else made[0]
        places = known if isinstance(known, tuple) else (known,)
        if type(known) is not type(found) or [p.dtype for p in places] != [v.dtype for v in values]:
            raise self.refuse(node, f"{name} was {told(known)} and is {told(found)} now")
        for place, value in zip(places, values, strict=True):
            assert isinstance(place, Value)
            self.builder.store(value.code, place.code)

    def choice(self, condition: Any, body: Sequence[ast.stmt], otherwise: Sequence[ast.stmt]) -> bool:
        then, end = self.block("then"), self.block("end")
        other = self.block("else") if otherwise else end
        self.builder.cbranch(condition, then, other)
        goes_on = not otherwise
        for block, part in ((then, body), (other, otherwise)):
            if not part:
                continue
            self.builder.position_at_end(block)
            if self.statements(part):
                self.builder.branch(end)
                goes_on = True
        if not goes_on:
            self.function.blocks.remove(end)
            return False
        self.builder.position_at_end(end)
        return True

    def loop(self, target: ast.Name, numbers: ast.Call, body: Sequence[ast.stmt]) -> bool:
        """A loop over a range, whose bounds are found once."""
        found = [self.number(each) for each in numbers.args]
        if numbers.keywords or not 1 <= len(found) <= 3 or any(v.dtype not in INTEGERS for v in found):
            raise self.refuse(numbers, "a range takes one to three integers")
        step = Value("int64", TYPES["int64"](1)) if len(found) < 3 else found[2]
        if not isinstance(step.code, ir.Constant) or not step.code.constant:
            raise self.refuse(numbers, "the step of a range is a number")
        dtype = found[0].dtype if len({each.dtype for each in found}) == 1 else wide(found)
        if dtype not in ("int32", "int64"):
            raise self.refuse(numbers, f"a range of {dtype}")
        start = Value("int64", TYPES["int64"](0)) if len(found) == 1 else found[0]
        stop = found[0] if len(found) == 1 else found[1]
        # The device's registers have 32 bits.
        kept = "int32" if _short(start, stop, step) else dtype
        by = self.cast(step, kept)
        counter = self.places.alloca(TYPES[kept])
        self.builder.store(self.cast(start, kept).code, counter)
        end = self.cast(stop, kept).code
        test, inside, after = self.block("test"), self.block("loop"), self.block("after")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        now = self.builder.load(counter)
        sign = "<" if step.code.constant > 0 else ">"
        self.builder.cbranch(self.builder.icmp_signed(sign, now, end), inside, after)
        self.builder.position_at_end(inside)
        self.assign_name(target, target.id, self.cast(Value(kept, now), dtype))
        if self.statements(body):
            self.builder.store(self.builder.add(now, by.code, flags=["nsw"]), counter)
            self.builder.branch(test)
        self.builder.position_at_end(after)
        return True

    def repeat(self, condition: ast.expr, body: Sequence[ast.stmt]) -> bool:
        test, inside, after = self.block("test"), self.block("loop"), self.block("after")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self.condition(condition), inside, after)
        self.builder.position_at_end(inside)
        if self.statements(body):
            self.builder.branch(test)
        self.builder.position_at_end(after)
        return True


def _short(*bounds: Value) -> bool:
    """Whether a range's start, end and step stand in the text, and all that is counted fits in 32 bits."""
    return all(each.stands and abs(each.code.constant) < 2**30 for each in bounds)
