"""Emits a Program for the CPU: takes its steps, hands on one LLVM module of kernels and an entry.

The entry has the C interface `int32 entry(int64* table, int64* status)`. It returns 0, or 1 (a check
failed: `status` holds the site and its values), 2 (a guard failed: its step and the value), 3 (a size
is above its capacity: the slot's word and the value), 4 (Python raised when it was called back).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llvmlite import ir

from symnet.backend.cpu.contraction import contraction_units, emit_contraction
from symnet.backend.cpu.machine import Machine
from symnet.backend.cpu.print_llvm import library_function, print_nest
from symnet.backend.cpu.scalar_llvm import ScalarPrinter, llvm_type
from symnet.backend.cpu.split import Split, outermost, split_contraction, split_nest
from symnet.compile import nest
from symnet.compile.backend import FAILED, GUARD_FAILED, HOST_FAILED, TOO_LARGE
from symnet.compile.memory import ITEM_BYTES
from symnet.compile.plan import STATUS_WORDS
from symnet.compile.program import (
    Buffer,
    CheckStep,
    ContractionCall,
    GuardStep,
    HostStep,
    KernelCall,
    Program,
    SlotStep,
    Table,
    View,
    size_expression,
)
from symnet.compile.specialise import Argument, Computed, Length, SlotLeaf
from symnet.config import config
from symnet.graph.dims import Dimension

ENTRY = "entry"

_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_BYTE = ir.IntType(8)
_POINTER = ir.PointerType()


def emit_kernels(nests: ir.Module, contractions: ir.Module, program: Program, machine: Machine) -> None:
    """Print every kernel of a program: loop nests into one module, contractions into the other.

    Contractions are written in the vectors and registers that they use: passes over them would only
    take time. The module of nests declares them.
    """
    for call in program.kernels:
        if isinstance(call, ContractionCall):
            function = emit_contraction(contractions, call.name, call.contraction, machine)
            ir.Function(nests, function.function_type, call.name)
        else:
            shared = split_nest(call.kernel, capacities(program)) is not None
            loop = outermost(call.kernel) if shared else None
            function = print_nest(nests, call.kernel, loop, config.fastmath)
            function.linkage = "internal"
            # Inlined into one entry, kernels would take LLVM more time than they take apart.
            function.attributes.add("noinline")


def capacities(program: Program) -> dict[str, int]:
    """The most that each size found at run time may be."""
    return {slot.name: slot.capacity for slot in program.slots.values()}


def _parameters(call: KernelCall | ContractionCall) -> int:
    """How many integers a kernel takes."""
    if isinstance(call, ContractionCall):
        return len(call.contraction.parameters)
    return len(call.kernel.sizes)


class EntryEmitter:
    """Writes the entry of a program into a module.

    `addresses` holds, by kernel name, the address of a kernel compiled elsewhere; every other kernel is
    a function of the module.
    """

    def __init__(
        self,
        module: ir.Module,
        program: Program,
        table: Table,
        machine: Machine,
        addresses: Mapping[str, int] | None = None,
    ) -> None:
        self.module = module
        self.machine = machine
        self.program = program
        self.table = table
        self.addresses = addresses or {}
        kind = ir.FunctionType(_INT32, [_POINTER, _POINTER])
        self.function = ir.Function(module, kind, ENTRY)
        self.function.args[0].name, self.function.args[1].name = "table", "status"
        self.builder = ir.IRBuilder(self.function.append_basic_block("start"))
        self.slots: dict[str, ir.Value] = {}
        #: The names of kernels that are shared out among threads.
        self.shared: set[str] = set()
        self._inputs = {b.source: b for b in program.buffers if b.kind == "input"}
        self._pointer_words = {buffer: word for word, buffer in enumerate(table.pointers)}
        self._capacities = capacities(program)
        #: For each kernel how its units are shared out (None: they are not), and whether it may fail.
        self._nests: dict[str, tuple[Split | None, bool]] = {}
        self._contractions: dict[str, Split | None] = {}
        self._arena = self.builder.load(self._word(table.arena), typ=_POINTER)
        self._leaf_names: dict[Any, str] = {}
        self._scalars = ScalarPrinter(module, self.builder, library_function)
        self._context = self._new_context()
        #: Two words for a time in seconds and nanoseconds.
        self._moment = self._stack_words(2)

    def emit(self) -> None:
        """All steps, then `return 0`."""
        host_number = kernel_number = 0
        started = before = self._time()
        for number, step in enumerate(self.program.steps):
            if isinstance(step, SlotStep):
                self._slot(step)
            elif isinstance(step, GuardStep):
                self._guard(number, step)
            elif isinstance(step, CheckStep):
                self._check(step)
            elif isinstance(step, KernelCall):
                self._kernel(step)
            elif isinstance(step, HostStep):
                self._host(host_number, step)
                host_number += 1
            else:
                self._contraction(step)
            if isinstance(step, KernelCall | ContractionCall) and before is not None:
                # Up to a kernel's end everything since the one before it counts as its time.
                now = self._time()
                self._add_to_clock(2 + kernel_number, self.builder.sub(now, before))
                before, kernel_number = now, kernel_number + 1
        if before is not None:
            self._add_to_clock(0, _INT64(1))
            self._add_to_clock(1, self.builder.sub(self._time(), started))
        self.builder.ret(_INT32(0))

    # --- time ----------------------------------------------------------------------------------

    def _time(self) -> ir.Value | None:
        """Nanoseconds of a clock that only goes forward; None where the entry is not profiled."""
        if not self.table.clocks:
            return None
        name = "clock_gettime"
        read = self.module.globals.get(name)
        if read is None:
            read = ir.Function(self.module, ir.FunctionType(_INT32, [_INT32, _POINTER]), name)
        self.builder.call(read, [_INT32(time.CLOCK_MONOTONIC), self._moment])
        seconds, rest = (
            self.builder.load(self._at(self.builder, self._moment, place), typ=_INT64) for place in (0, 1)
        )
        return self.builder.add(self.builder.mul(seconds, _INT64(10**9)), rest)

    def _add_to_clock(self, number: int, value: ir.Value) -> None:
        place = self._word(self.table.clock + number)
        self.builder.store(self.builder.add(self.builder.load(place, typ=_INT64), value), place)

    # --- words and pointers --------------------------------------------------------------------

    def _word(self, number: int) -> ir.Value:
        return self.builder.gep(self.function.args[0], [_INT64(number)], source_etype=_INT64)

    def _pointer(self, buffer: Buffer) -> ir.Value:
        if buffer.kind == "arena":
            return self.builder.gep(self._arena, [_INT64(buffer.offset or 0)], source_etype=_BYTE)
        return self.builder.load(self._word(self._pointer_words[buffer]), typ=_POINTER)

    def _integer(self, view: View, element: int = 0) -> ir.Value:
        """An integer entry of a buffer, as int64."""
        dtype = view.buffer.dtype
        bits = ITEM_BYTES[dtype] * 8
        place = self._pointer(view.buffer)
        offset = self.builder.add(self._size(view.offset), _INT64(element))
        kind = ir.IntType(bits)
        place = self.builder.gep(place, [offset], source_etype=kind)
        value = self.builder.load(place, typ=kind)
        if bits == 64:
            return value
        signed = dtype.startswith("int")
        return self.builder.sext(value, _INT64) if signed else self.builder.zext(value, _INT64)

    # --- sizes ---------------------------------------------------------------------------------

    def _leaf(self, leaf: Any) -> ir.Value:
        if isinstance(leaf, SlotLeaf):
            return self.slots[leaf.name]
        if isinstance(leaf, Length):
            return self.builder.load(self._word(self.table.length(leaf)), typ=_INT64)
        if isinstance(leaf, Argument):
            view = View(self._inputs[leaf.position], 0, (), ())
            return self._integer(view, leaf.element or 0)
        assert isinstance(leaf, Computed)
        return self._integer(self.program.computed[leaf])

    def _size(self, size: Dimension) -> ir.Value:
        names = self._scalars.names

        def leaf(found: Any) -> nest.Expression:
            name = self._leaf_names.setdefault(found, f"leaf{len(self._leaf_names)}")
            names[name] = self._leaf(found)
            return nest.Name(nest.INDEX, name)

        return self._scalars.value(size_expression(size, leaf))

    def _leave_unless(self, holds: ir.Value, code: int, words: list[ir.Value]) -> None:
        with self.builder.if_then(self.builder.not_(holds), likely=False):
            for number, value in enumerate(words):
                place = self.builder.gep(self.function.args[1], [_INT64(number)], source_etype=_INT64)
                self.builder.store(value, place)
            self.builder.ret(_INT32(code))

    def _slot(self, step: SlotStep) -> None:
        value = self._size(step.slot.definition)
        self.slots[step.slot.name] = value
        word = self.table.slot(step.slot.name)
        self.builder.store(value, self._word(word))
        if step.slot.key is not None:
            fits = self.builder.icmp_signed("<=", value, _INT64(step.slot.capacity))
            self._leave_unless(fits, TOO_LARGE, [_INT64(word), value])

    def _guard(self, number: int, step: GuardStep) -> None:
        value = self._size(step.expression)
        same = self.builder.icmp_signed("==", value, _INT64(step.literal))
        self._leave_unless(same, GUARD_FAILED, [_INT64(number), value])

    def _check(self, step: CheckStep) -> None:
        holds = self.builder.icmp_signed("!=", self._size(step.condition), _INT64(0))
        self._leave_unless(holds, FAILED, [_INT64(step.site), *(self._size(each) for each in step.shown)])

    def _host(self, number: int, step: HostStep) -> None:
        """Call Python with where the views' entries lie: for each a pointer, its shape, its strides."""
        words: list[ir.Value] = []
        for view in step.views:
            kind = llvm_type(view.buffer.dtype)
            if view.buffer.dtype == nest.BOOL:
                kind = _BYTE
            base = self._pointer(view.buffer)
            words.append(self.builder.gep(base, [self._size(view.offset)], source_etype=kind))
            words += [self._size(size) for size in (*view.shape, *view.strides)]
        for place, value in enumerate(words):
            self.builder.store(value, self._at(self.builder, self._context, place))
        call = self.builder.load(self._word(self.table.host), typ=_POINTER)
        call.type = ir.FunctionType(_INT32, [_INT64, _POINTER]).as_pointer()
        code = self.builder.call(call, [_INT64(number), self._context])
        self._leave_unless(self.builder.icmp_signed("==", code, _INT32(0)), HOST_FAILED, [])

    # --- kernels -------------------------------------------------------------------------------

    def _call(self, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
        address = self.addresses.get(name)
        if address is None:
            return self.builder.call(self.module.globals[name], arguments)
        kind = ir.FunctionType(result, [each.type for each in arguments])
        pointer = self.builder.inttoptr(_INT64(address), kind.as_pointer())
        return self.builder.call(pointer, arguments)

    def _kernel(self, step: KernelCall) -> None:
        name = step.kernel.name
        arguments = [
            *(self._pointer(each) for each in step.buffers),
            *(self.slots[size] for size in step.kernel.sizes),
        ]
        if name not in self._nests:
            # A kernel from its Numba source has no range, and fewer parameters than a shared one.
            split = None if name in self.addresses else split_nest(step.kernel, self._capacities)
            statements = nest.walk_statements(step.kernel.body)
            self._nests[name] = split, any(isinstance(each, nest.Fail) for each in statements)
        split, may_fail = self._nests[name]
        if split is None:
            self._run(name, [*arguments, self.function.args[1]], may_fail)
            return
        self._scalars.names.update({size: self.slots[size] for size in step.kernel.sizes})
        units = self._scalars.value(split.units)
        failed = self._share(name, _INT32, arguments, units, split.grain)
        if may_fail:
            # Which chunk fails first is chance; run again in order, the first entry that fails is told.
            with self.builder.if_then(self.builder.icmp_signed("!=", failed, _INT32(0)), likely=False):
                self._run(name, [*arguments, self.function.args[1], _INT64(0), units])

    def _run(self, name: str, arguments: list[ir.Value], may_fail: bool = True) -> None:
        """Call a kernel with a nest's signature, and leave when it failed."""
        code = self._call(name, _INT32, arguments)
        if may_fail:
            self._leave_unless(self.builder.icmp_signed("==", code, _INT32(0)), FAILED, [])

    def _contraction(self, step: ContractionCall) -> None:
        parameters = [self.slots[name] for name in step.contraction.parameters]
        offsets = [self._size(each) for each in step.offsets]
        pointers = [self._pointer(each) for each in step.buffers]
        if step.name in self.addresses:
            self._run(step.name, [*pointers, *offsets, *parameters, self.function.args[1]])
            return
        moved = [
            self.builder.gep(pointer, [offset], source_etype=ir.IntType(8 * ITEM_BYTES[buffer.dtype]))
            for pointer, offset, buffer in zip(pointers, offsets, step.buffers, strict=True)
        ]
        if step.name not in self._contractions:
            split = split_contraction(step.contraction, self.machine, self._capacities)
            self._contractions[step.name] = split
        split = self._contractions[step.name]
        if split is None:
            units = contraction_units(step.contraction, self.machine) or 1
            self._call(step.name, ir.VoidType(), [*moved, *parameters, _INT64(0), _INT64(units)])
        else:
            units = self._scalars.value(split.units)
            self._share(step.name, ir.VoidType(), [*moved, *parameters], units, split.grain)

    # --- sharing out among threads -------------------------------------------------------------

    def _share(
        self, name: str, result: ir.Type, arguments: list[ir.Value], units: ir.Value, grain: int
    ) -> ir.Value:
        """Have the pool run a kernel's units; whether any chunk failed (int32, not 0)."""
        self.shared.add(name)
        fails = isinstance(result, ir.IntType)
        task = self._task(name, result, arguments)
        for number, value in enumerate(arguments):
            self.builder.store(value, self._at(self.builder, self._context, number))
        flag = self._at(self.builder, self._context, len(arguments))
        if fails:
            self.builder.store(_INT32(0), flag)
        run = self.builder.load(self._word(self.table.pool), typ=_POINTER)
        values = [task, self._context, units, _INT64(grain)]
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER, _INT64, _INT64])
        run.type = kind.as_pointer()
        self.builder.call(run, values)
        return self.builder.load(flag, typ=_INT32) if fails else _INT32(0)

    def _new_context(self) -> ir.Value:
        """Stack memory for the arguments of any kernel of the program, a code and status words; or for a
        host step's layout."""
        most = max((len(call.buffers) + _parameters(call) for call in self.program.calls), default=0)
        layouts = (sum(1 + 2 * len(v.shape) for v in step.views) for step in self.program.host_steps)
        count = max(most + 1 + STATUS_WORDS, *layouts, 0)
        return self._stack_words(count)

    def _stack_words(self, count: int) -> ir.Value:
        words = self.builder.alloca(ir.ArrayType(_INT64, max(1, count)))
        # llvmlite types a stack slot by what it holds; all else here is an opaque pointer.
        words.type = _POINTER
        return words

    @staticmethod
    def _at(builder: ir.IRBuilder, context: ir.Value, number: int) -> ir.Value:
        return builder.gep(context, [_INT64(number)], source_etype=_INT64)

    def _task(self, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Function:
        """`void task(int64* context, int64 first, int64 last)`: the kernel, its arguments out of the context.

        The context holds the arguments; for a kernel that returns a code then a word where it is kept
        when it is not 0, and status words that any chunk may write and nobody reads.
        """
        known = self.module.globals.get(f"task.{name}")
        if known is not None:
            return known
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _INT64, _INT64])
        task = ir.Function(self.module, kind, f"task.{name}")
        task.linkage = "internal"
        context, first, last = task.args
        builder = ir.IRBuilder(task.append_basic_block("start"))
        given = [
            builder.load(self._at(builder, context, number), typ=value.type)
            for number, value in enumerate(arguments)
        ]
        flag = self._at(builder, context, len(arguments))
        if isinstance(result, ir.IntType):
            given.append(self._at(builder, context, len(arguments) + 1))
        code = builder.call(self.module.globals[name], [*given, first, last])
        if isinstance(result, ir.IntType):
            with builder.if_then(builder.icmp_signed("!=", code, _INT32(0)), likely=False):
                builder.store(code, flag)
        builder.ret_void()
        return task
