"""Loop nests as LLVM IR: a nest and an llvmlite module become a function in that module.

The function has the C signature of the nest and is left for LLVM's pass pipeline to vectorise; its
arithmetic may be contracted into fused multiply-adds, and takes no other liberty. A function made to be
shared out among threads takes the range of iterations to do of its outermost loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symnet.backend.cpu.scalar_llvm import FAST, ScalarPrinter, llvm_type
from symnet.compile import nest
from symnet.compile.library import Function, functions_of
from symnet.compile.nest import Expression, Literal, Statement
from symnet.errors import CompileError

STATUS = "status"
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_POINTER = ir.PointerType()
#: Loops of library functions with at most this many rounds are written out.
_WRITTEN_OUT = 16
#: Independent loops of fewer rounds are printed in stretches that fill vectors.
_SHORT = 64
#: Loops of library functions, and sums, with at least this many rounds run several vectors at a time.
_LONG = 256
_SEVERAL = 4
#: A kernel of at most this many rounds in all is not worth LLVM's time for vectorising and unrolling it.
_TINY = 128


def signature(kernel: nest.Nest, shared: bool = False) -> ir.FunctionType:
    """The function type of a nest: `int32 (T0* …, int64 size…, int64* status)`.

    With `shared`, `int64 first, int64 last` follow.
    """
    arguments = [_POINTER] * len(kernel.buffers) + [_INT64] * len(kernel.sizes) + [_POINTER]
    return ir.FunctionType(_INT32, arguments + [_INT64] * 2 * shared)


def print_nest(
    module: ir.Module, kernel: nest.Nest, shared: nest.For | None = None, fast: bool = False
) -> ir.Function:
    """Add a nest to a module as function `kernel.name`, and the library functions that it calls.

    Of a loop `shared` of the nest it does the iterations from `first` to before `last`. With `fast` its
    own arithmetic may take the liberties of `config.fastmath`, library functions may not.

    Raises
    ------
    CompileError
        When an expression has no meaning in the dialect (an operation on a dtype that lacks it, a
        name or a buffer that the nest does not have); names the kernel and its comments.
    """
    function = ir.Function(module, signature(kernel, shared is not None), kernel.name)
    function.attributes.add("nounwind")
    for argument, parameter in zip(function.args, kernel.buffers, strict=False):
        argument.name = parameter.name
        for attribute in ("noalias", "nofree", "captures(none)"):
            argument.add_attribute(attribute)
    for argument, size in zip(function.args[len(kernel.buffers) :], kernel.sizes, strict=False):
        argument.name = size
    status = function.args[len(kernel.buffers) + len(kernel.sizes)]
    status.name = STATUS
    status.add_attribute("noalias")
    printer = _StatementPrinter(module, function, tiny=_rounds(kernel.body) <= _TINY)
    printer.status = status
    if fast:
        printer.scalars.liberties = FAST
    if shared is not None:
        function.args[-2].name, function.args[-1].name = "first", "last"
        printer.shared = shared
    for argument, parameter in zip(function.args, kernel.buffers, strict=False):
        printer.scalars.buffers[parameter.name] = (argument, parameter.dtype)
    for argument, size in zip(function.args[len(kernel.buffers) :], kernel.sizes, strict=False):
        printer.scalars.names[size] = argument
    try:
        if printer.block(kernel.body):
            printer.builder.ret(_INT32(0))
    except TypeError as error:
        covers = [f"in: {comment}" for comment in kernel.comments]
        raise CompileError(f"kernel {kernel.name} can't be printed: {error}", covers) from error
    return function


def library_function(module: ir.Module, function: Function) -> ir.Function:
    """The library function in this module, added on first use: internal, and always inlined."""
    name = f"library.{function.name}"  # no kernel has a dot in its name
    known = module.globals.get(name)
    if known is not None:
        return known
    arguments = [llvm_type(dtype) for _, dtype in function.parameters]
    made = ir.Function(module, ir.FunctionType(llvm_type(function.dtype), arguments), name)
    made.linkage = "internal"
    made.attributes.add("alwaysinline")
    made.attributes.add("nounwind")
    printer = _StatementPrinter(module, made, write_out=_WRITTEN_OUT)
    for argument, (name, _) in zip(made.args, function.parameters, strict=True):
        argument.name = name
        printer.scalars.names[name] = argument
    printer.block(function.body)
    printer.builder.ret(printer.scalars.value(function.result))
    return made


class _StatementPrinter:
    """Prints statements in SSA form: a variable that a loop or branch changes becomes a phi."""

    def __init__(
        self, module: ir.Module, function: ir.Function, write_out: int = 1, tiny: bool = False
    ) -> None:
        self.module = module
        self.function = function
        self.write_out = write_out
        self.tiny = tiny
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.scalars = ScalarPrinter(module, self.builder, library_function)
        self.status: ir.Value | None = None
        self.shared: nest.For | None = None
        #: The loops around what is being printed.
        self.around: list[nest.For] = []

    def block(self, body: Sequence[Statement]) -> bool:
        """Print statements; False when the last one left the function."""
        return all(self._statement(statement) for statement in body)

    def _statement(self, statement: Statement) -> bool:
        scalars = self.scalars
        match statement:
            case nest.Let(name=name, value=value):
                scalars.names[name] = scalars.value(value)
                scalars.note_sign(name, value)
            case nest.Declare(name=name, value=value):
                scalars.names[name] = scalars.value(value)
                scalars.nonnegative.discard(name)
            case nest.Assign(name=name, value=value):
                scalars.names[name] = scalars.value(value, expected=scalars.names[name].type)
            case nest.Accumulate(name=name, function=function, value=value):
                scalars.names[name] = scalars.accumulate(
                    function, value.dtype, scalars.names[name], scalars.value(value)
                )
            case nest.Store(buffer=buffer, index=index, value=value):
                scalars.store(buffer, index, value)
            case nest.For():
                return self._for(statement)
            case nest.If():
                return self._if(statement)
            case nest.Fail(site=site, values=values):
                self._fail(site, values)
                return False
            case _:
                raise TypeError(f"{type(statement).__name__} is not a statement of the nest form")
        return True

    def _fail(self, site: int, values: Sequence[Expression]) -> None:
        for word, value in enumerate((Literal(nest.INDEX, site), *values)):
            place = self.builder.gep(self.status, [_INT64(word)], inbounds=True, source_etype=_INT64)
            self.builder.store(self.scalars.value(value), place)
        self.builder.ret(_INT32(1))

    def _for(self, loop: nest.For) -> bool:
        if loop is self.shared:
            return self._loop(loop, None)
        extent = loop.extent
        rounds = int(extent.value) if isinstance(extent, Literal) else None
        if rounds is not None and rounds <= self.write_out:
            return all(self._round(loop, _INT64(index)) for index in range(rounds))
        if loop.vector and rounds is not None and rounds < _SHORT and not self.tiny:
            starts = itertools.accumulate([0, *_pieces(rounds)])
            return all(map(self._loop, itertools.repeat(loop), _pieces(rounds), starts))
        return self._loop(loop, rounds)

    def _loop(self, loop: nest.For, rounds: int | None, start: int = 0) -> bool:
        """A loop of as many rounds, or of as many as its extent is, from the round `start` on."""
        builder, names = self.builder, self.scalars.names
        begin = _INT64(0)
        if loop is self.shared:
            begin, end = self.function.args[-2:]
        else:
            end = self.scalars.index(loop.extent) if rounds is None else _INT64(rounds)
        before = builder.block
        body = self.function.append_basic_block(f"{loop.name}.body")
        after = self.function.append_basic_block(f"{loop.name}.end")
        if rounds is None:
            builder.cbranch(builder.icmp_signed(">", end, begin), body, after)
        else:
            builder.branch(body)
        first = dict(names)
        builder.position_at_end(body)
        counter = builder.phi(_INT64, loop.name)
        counter.add_incoming(begin, before)
        carried = {}
        for name in _changed(loop.body, names):
            carried[name] = builder.phi(names[name].type, name)
            carried[name].add_incoming(names[name], before)
            names[name] = carried[name]
        outer_group = self.scalars.access_group
        if loop.vector and not self.tiny:
            self.scalars.access_group = _access_group(self.module)
        place = builder.add(counter, _INT64(start), flags=("nuw", "nsw")) if start else counter
        self.around.append(loop)
        goes_on = self._round(loop, place)
        self.around.pop()
        group, self.scalars.access_group = self.scalars.access_group, outer_group
        if goes_on:
            latch = builder.block
            following = builder.add(counter, _INT64(1), flags=("nuw", "nsw"))
            counter.add_incoming(following, latch)
            for name, phi in carried.items():
                phi.add_incoming(names[name], latch)
            again = builder.cbranch(builder.icmp_signed("<", following, end), body, after)
            again.set_metadata("llvm.loop", self._loop_properties(loop, rounds, group))
        last = dict(names)
        builder.position_at_end(after)
        names.clear()
        names.update(first)
        if not goes_on and rounds is not None:
            builder.unreachable()
            return False
        for name, phi in carried.items():
            merged = builder.phi(phi.type, name)
            if goes_on:
                merged.add_incoming(last[name], latch)
            if rounds is None:
                merged.add_incoming(first[name], before)
            names[name] = merged
        return True

    def _loop_properties(self, loop: nest.For, rounds: int | None, group: Any) -> Any:
        """What LLVM is told of a loop.

        Accesses of the group in different rounds are independent. Vectorisation is not demanded, as LLVM
        would then gather where that is slower, and write to the terminal where it can't. Unrolled loops
        take LLVM twice the time and are no faster, save for sums by column and the like; and a
        short one must not be written out before it is vectorised: LLVM would gather lanes from an outer
        loop. Several vectors at a time hide the latency of long chains of operations.
        """
        module = self.module
        properties = []
        if loop.vector and not self.tiny:
            properties.append(module.add_metadata(["llvm.loop.parallel_accesses", group]))
        elif self.tiny:
            properties.append(module.add_metadata(["llvm.loop.vectorize.enable", ir.IntType(1)(0)]))
        several = 1 if self.tiny else _vectors_at_a_time(loop, rounds)
        if several > 1:
            count = ir.IntType(32)(several)
            properties.append(module.add_metadata(["llvm.loop.interleave.count", count]))
        short = rounds is not None and rounds < _SHORT
        if self.tiny or short or not (loop.vector and _adds_again(loop, self.around)):
            properties.append(module.add_metadata(["llvm.loop.unroll.disable"]))
        return _loop_metadata(module, properties)

    def _round(self, loop: nest.For, counter: ir.Value) -> bool:
        names = self.scalars.names
        outside = set(names)
        names[loop.name] = counter
        self.scalars.nonnegative.add(loop.name)
        goes_on = self.block(loop.body)
        for name in set(names) - outside:
            del names[name]
        self.scalars.nonnegative.discard(loop.name)
        return goes_on

    def _if(self, branch: nest.If) -> bool:
        builder, names = self.builder, self.scalars.names
        condition = self.scalars.value(branch.condition)
        before = dict(names)
        changed = _changed((branch,), names)
        head = builder.block
        after = None
        arriving: list[tuple[dict[str, ir.Value], Any]] = []
        for words, body in (("then", branch.then), ("otherwise", branch.otherwise)):
            block = self.function.append_basic_block(words)
            builder.position_at_end(block)
            names.clear()
            names.update(before)
            if words == "then":
                then_block = block
            else:
                with builder.goto_block(head):
                    builder.cbranch(condition, then_block, block)
            if self.block(body):
                arriving.append((dict(names), builder.block))
        if not arriving:
            return False
        after = self.function.append_basic_block("join")
        for _, block in arriving:
            builder.position_at_end(block)
            builder.branch(after)
        builder.position_at_end(after)
        names.clear()
        names.update(before)
        for name in changed:
            phi = builder.phi(before[name].type, name)
            for values, block in arriving:
                phi.add_incoming(values[name], block)
            names[name] = phi
        return True


def _changed(body: Sequence[Statement], names: dict[str, ir.Value]) -> list[str]:
    """The names outside `body` that its statements assign, in a fixed order."""
    found = {
        statement.name: None
        for statement in nest.walk_statements(tuple(body))
        if isinstance(statement, nest.Assign | nest.Accumulate) and statement.name in names
    }
    return list(found)


def _vectors_at_a_time(loop: nest.For, rounds: int | None) -> int:
    """How many vectors hide the latency: of functions that are long chains, and of sums in one register."""
    statements = list(nest.walk_statements(loop.body))
    if any(isinstance(each, nest.For) for each in statements):
        return 1
    if rounds is None or rounds >= _LONG:
        adds = any(isinstance(each, nest.Accumulate) for each in statements)
        return _SEVERAL if adds or functions_of(loop.body) else 1
    return 2 if rounds >= _SHORT and any(isinstance(each, nest.Accumulate) for each in statements) else 1


class _Distinct(ir.values.MDValue):
    """A metadata node equal to no other: what a loop's memory accesses are marked with."""

    def descr(self, buf: list[str]) -> None:
        buf += ("distinct !{}", "\n")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def _access_group(module: ir.Module) -> Any:
    """A mark for the memory accesses of one loop."""
    return _Distinct(module, (), name=str(len(module.metadata)))


def _adds_again(loop: nest.For, around: Sequence[nest.For]) -> bool:
    """Whether the loop changes entries that it comes back to in another round of a loop around it."""
    outer = {each.name for each in around}
    changed: dict[str, set[str]] = {}
    for statement in nest.walk_statements(loop.body):
        if isinstance(statement, nest.Store):
            parts = nest.walk_expression(statement.index)
            changed[statement.buffer] = {each.name for each in parts if isinstance(each, nest.Name)}
    loaded = {
        each.buffer
        for statement in nest.walk_statements(loop.body)
        for expression in nest.expressions_of(statement)
        for each in nest.walk_expression(expression)
        if isinstance(each, nest.Load)
    }
    return any(buffer in loaded and not outer <= used for buffer, used in changed.items())


def _loop_metadata(module: ir.Module, properties: Sequence[Any]) -> Any:
    """A loop's metadata; its identity is a node that names itself first."""
    identity = module.add_metadata([f"loop {len(module.metadata)}"])
    identity.operands = (identity, *properties)
    return identity


def _rounds(body: Sequence[Statement]) -> float:
    """How often the innermost statements run in all; infinity where only the call knows."""
    total = 0.0
    for statement in body:
        inner = sum(_rounds(block) for block in nest.blocks_of(statement))
        if isinstance(statement, nest.For):
            extent = statement.extent
            inner = int(extent.value) * max(1.0, inner) if isinstance(extent, Literal) else float("inf")
        total += inner
    return total


def _pieces(rounds: int) -> list[int]:
    """Rounds in stretches that fill vectors: LLVM leaves a short loop scalar if it would have a rest.

    >>> _pieces(30)
    [16, 8, 4, 2]
    """
    sizes = [rounds // 16 * 16, rounds & 8, rounds & 4, rounds & 3]
    return [size for size in sizes if size]
