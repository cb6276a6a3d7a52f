"""A kernel's text as LLVM IR: takes the text that `kernel_text` writes, hands on what NVVM makes PTX of.

The text is a small part of what Numba compiles, and means here what it means there. Numba gives every name a
type for each of its values, and looks for each function among all that it knows. A text whose names keep one
dtype each is read in one pass, which takes a tenth of the time. What is no part of it is an error.

- Integers meet each other 64 bits wide, signed if one of them is; the literal ones are int64, those beyond
  it uint64. Reals are as wide as the wider of the two; the literal ones are float64.
- Integers are compared, and chosen between, by what they are: not one of uint64 and one that may be negative.
- A real that an integer can't be, cast to it, is no number in particular.
- An index counts entries from the first one and is not negative; an array's entries are not checked.
- `for` goes over `range`, whose step is a number; the end is a step away from the greatest int64.
- A name is read only where it surely has a value: it got one on every way there, or under a condition with a
  name that has held since.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symnet.backend.cuda.text_expressions import ENTRIES, RESERVED, Expressions
from symnet.backend.cuda.text_values import INTEGERS, TYPES, Given, Memory, Sure, Value, told, wide
from symnet.compile.syntax import tree_of
from symnet.errors import CompileError


def module_of(
    source: str, name: str, signature: Sequence[str], compute: tuple[int, int], threads: int | None = None
) -> ir.Module:
    """The kernel `name` of a text as a module of LLVM IR; `nvvm.compile` takes the same.

    Raises
    ------
    CompileError
        At the first line that is no part of what texts are written in; it is quoted.
    """
    module = ir.Module(name)
    dtypes = ["uint8" if each == "bool" else each for each in signature]
    unknown = [each for each in dtypes if each not in ENTRIES]
    if unknown:
        raise CompileError(f"kernel {name} can't be compiled: it has no entries of {', '.join(unknown)}")
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
        definition = self.definition()
        parameters = definition.args.args
        if len(parameters) != len(self.dtypes):
            counts = f"{len(parameters)} parameters for {len(self.dtypes)} arrays"
            raise self.refuse(definition, f"it has {counts}")
        for parameter, dtype, given in zip(parameters, self.dtypes, self.function.args, strict=True):
            given.name = parameter.arg
            self.assign_name(parameter, parameter.arg, Memory(dtype, given))
        try:
            goes_on = self.statements(definition.body)
        except RecursionError:
            raise self.refuse(self.here, "its parts are in each other too many times") from None
        if goes_on:
            self.builder.ret_void()
        self.places.branch(self.begin)

    def definition(self) -> ast.FunctionDef:
        """The text as a definition of the kernel."""
        try:
            parsed = tree_of(self.source)
        except SyntaxError as error:
            raise self.refuse(error, f"it is no Python ({error.msg})") from None
        except (RecursionError, MemoryError):
            why = "the parts of its text are in each other too many times"
            raise CompileError(f"kernel {self.name} can't be compiled: {why}") from None
        match parsed.body:
            case [
                ast.FunctionDef(
                    name=self.name,
                    args=ast.arguments(posonlyargs=[], vararg=None, kwonlyargs=[], kwarg=None, defaults=[]),
                    decorator_list=[],
                ) as definition
            ]:
                return definition
        where = parsed.body[-1] if parsed.body else ast.Pass(lineno=1)
        raise self.refuse(where, f"it is not one definition of {self.name} with plain parameters")

    # --- statements ----------------------------------------------------------------------------

    def statements(self, body: Sequence[ast.stmt]) -> bool:
        """Read statements; False when they leave the function."""
        return all(self.statement(each) for each in body)

    def statement(self, node: ast.stmt) -> bool:
        """Read a statement; False when it leaves the function."""
        self.here = node
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
            case ast.If():
                return self.choice(node)
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
                    raise self.refuse(target, f"{told(found)} for {len(parts)} names")
                for part, value in zip(parts, found, strict=True):
                    self.assign(part, value)
            case ast.Subscript(value=array, slice=index):
                memory, where = self.entry(array, index)
                self.builder.store(self.stored(target, found, memory), where)
            case _:
                raise self.refuse(target, "nothing can be assigned to that")

    def assign_name(self, node: ast.expr | ast.arg, name: str, found: Given) -> None:
        known = self.names.get(name)
        if name in RESERVED:
            raise self.refuse(node, f"{name} has a meaning of its own")
        self.sure.give(name)
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

    def choice(self, node: ast.If) -> bool:
        """An `if` with all of its `elif`: those may be hundreds."""
        end = self.block("end")
        ways: list[Sure] = []
        rest: Sequence[ast.stmt] = [node]
        while True:
            match rest:
                case [ast.If(test=test, body=body, orelse=otherwise)]:
                    condition = self.condition(test)
                    then = self.block("then")
                    other = self.block("else") if otherwise else end
                    self.builder.cbranch(condition, then, other)
                    before = self.sure
                    name = test.id if isinstance(test, ast.Name) else None
                    self.sure = before.where(name)
                    self.way(then, body, end, ways)
                    self.sure = before.elsewhere(name, self.sure)
                    if not otherwise:
                        ways.append(self.sure)
                        break
                    self.builder.position_at_end(other)
                    rest = otherwise
                case _:
                    self.way(self.builder.block, rest, end, ways)
                    break
        if not ways:
            self.function.blocks.remove(end)
            return False
        self.sure = Sure.met(ways)
        self.builder.position_at_end(end)
        return True

    def way(self, block: Any, body: Sequence[ast.stmt], end: Any, ways: list[Sure]) -> None:
        """Statements that go on at `end`, if they do; what is sure then is added to `ways`."""
        self.builder.position_at_end(block)
        if self.statements(body):
            self.builder.branch(end)
            ways.append(self.sure)

    def loop(self, target: ast.Name, numbers: ast.Call, body: Sequence[ast.stmt]) -> bool:
        """A loop over a range, whose bounds are found once."""
        found = [self.number(each) for each in numbers.args]
        if numbers.keywords or not 1 <= len(found) <= 3 or any(v.dtype not in INTEGERS for v in found):
            raise self.refuse(numbers, "a range takes one to three integers")
        step = Value("int64", TYPES["int64"](1)) if len(found) < 3 else found[2]
        if not isinstance(step.code, ir.Constant) or not step.code.constant:
            raise self.refuse(numbers, "the step of a range is a number that is not 0")
        dtype = found[0].dtype if len({each.dtype for each in found}) == 1 else wide(found)
        if dtype not in ("int32", "int64"):
            raise self.refuse(numbers, f"a range is of int32 or int64, not of {dtype}")
        start = Value("int64", TYPES["int64"](0)) if len(found) == 1 else found[0]
        stop = found[0] if len(found) == 1 else found[1]
        kept = "int64"
        # The device's registers have 32 bits; but a step beyond the end is taken, and not to leave them.
        if _short(start, stop, step) or (dtype == "int32" and abs(step.code.constant) == 1):
            kept = "int32"
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
        # What follows from conditions here need not do so in the next turn.
        before, self.sure = self.sure, Sure(set(self.sure.names))
        self.assign_name(target, target.id, self.cast(Value(kept, now), dtype))
        if self.statements(body):
            self.builder.store(self.builder.add(now, by.code, flags=["nsw"]), counter)
            self.builder.branch(test)
        self.builder.position_at_end(after)
        self.sure = Sure(before.names)
        return True

    def repeat(self, condition: ast.expr, body: Sequence[ast.stmt]) -> bool:
        test, inside, after = self.block("test"), self.block("loop"), self.block("after")
        self.builder.branch(test)
        self.builder.position_at_end(test)
        self.builder.cbranch(self.condition(condition), inside, after)
        self.builder.position_at_end(inside)
        before, self.sure = self.sure, Sure(set(self.sure.names))
        if self.statements(body):
            self.builder.branch(test)
        self.builder.position_at_end(after)
        self.sure = Sure(before.names)
        return True


def _short(*bounds: Value) -> bool:
    """Whether a range's start, end and step stand in the text, and all that is counted fits in 32 bits."""
    return all(each.stands and abs(each.code.constant) < 2**30 for each in bounds)
