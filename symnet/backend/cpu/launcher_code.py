"""The launcher's code: hands on an LLVM module whose functions call compiled functions without Python.

It reads objects at the launcher's offsets, and a function's plans as `symnet.compile.plan` lays them out;
what it uses of Python and NumPy it finds in a table, the runtime, so that object code is free of addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

from symnet.backend.cpu.launcher import (
    DATA,
    DTYPE,
    DTYPE_WORD,
    FLAGS,
    FLOAT32_EVERYWHERE,
    FUNCTIONS,
    LENGTHS,
    OBJECTS,
    RANK,
    REGULAR,
    TYPE,
    VALUE,
)
from symnet.compile import plan
from symnet.compile.locks import ARRAY_OBJECT, BUSY, HELD, LENT, VERSION

_INT1, _INT8, _INT32, _INT64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_POINTER = ir.PointerType()
_NULL = ir.Constant(_POINTER, None)

#: The types of result and arguments of the functions that the code calls.
_SIGNATURES: dict[str, tuple[ir.Type, list[ir.Type]]] = {
    "PyEval_SaveThread": (_POINTER, []),
    "PyEval_RestoreThread": (ir.VoidType(), [_POINTER]),
    "PyObject_Vectorcall": (_POINTER, [_POINTER, _POINTER, _INT64, _POINTER]),
    "PyLong_AsLongLongAndOverflow": (_INT64, [_POINTER, _POINTER]),
    "Py_IncRef": (ir.VoidType(), [_POINTER]),
    "Py_DecRef": (ir.VoidType(), [_POINTER]),
    "PyList_New": (_POINTER, [_INT64]),
    "PyList_SetItem": (_INT32, [_POINTER, _INT64, _POINTER]),
    "PyDict_New": (_POINTER, []),
    "PyDict_SetItem": (_INT32, [_POINTER, _POINTER, _POINTER]),
    "PyTuple_GetItem": (_POINTER, [_POINTER, _INT64]),
    "PyArray_NewFromDescr": (
        _POINTER,
        [_POINTER, _POINTER, _INT32, _POINTER, _POINTER, _POINTER, _INT32, _POINTER],
    ),
}


class _Code:
    """A function being written: loads and stores of words, loops, calls by the runtime's table."""

    def __init__(self, module: ir.Module, name: str, result: ir.Type, arguments: dict[str, ir.Type]) -> None:
        self.function = ir.Function(module, ir.FunctionType(result, list(arguments.values())), name)
        for argument, label in zip(self.function.args, arguments, strict=True):
            argument.name = label
        self.builder = ir.IRBuilder(self.function.append_basic_block("start"))
        self.runtime: ir.Value | None = None

    def word(self, base: ir.Value, number: int | ir.Value, kind: ir.Type = _INT64) -> ir.Value:
        """A word of an array of words."""
        return self.builder.load(self.place(base, number), typ=kind)

    def place(self, base: ir.Value, number: int | ir.Value) -> ir.Value:
        """Where a word is."""
        number = _INT64(number) if isinstance(number, int) else number
        return self.builder.gep(base, [number], source_etype=_INT64)

    def field(self, base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
        """What stands some bytes into an object."""
        return self.builder.load(self.inside(base, offset), typ=kind)

    def inside(self, base: ir.Value, offset: int) -> ir.Value:
        """Where it stands."""
        return self.builder.gep(base, [_INT64(offset)], source_etype=_INT8)

    def equal(self, left: ir.Value, right: ir.Value | int) -> ir.Value:
        """Whether two integers or pointers are equal."""
        return self.compare("==", left, right)

    def compare(self, how: str, left: ir.Value, right: ir.Value | int) -> ir.Value:
        """A comparison of signed integers."""
        return self.builder.icmp_signed(how, left, left.type(right) if isinstance(right, int) else right)

    def add(self, left: ir.Value, right: ir.Value | int) -> ir.Value:
        """A sum of integers."""
        return self.builder.add(left, left.type(right) if isinstance(right, int) else right)

    def block(self, name: str) -> ir.Block:
        """A new block at the function's end."""
        return self.function.append_basic_block(name)

    def go_unless(self, holds: ir.Value, elsewhere: ir.Block) -> None:
        """Go on here where it holds, else elsewhere."""
        here = self.block("holds")
        self.builder.cbranch(holds, here, elsewhere)
        self.builder.position_at_end(here)

    def choice(self, holds: ir.Value, then: ir.Block, otherwise: ir.Block) -> ir.Block:
        """A block that goes on to one of two."""
        chosen = self.block("choice")
        with self.builder.goto_block(chosen):
            self.builder.cbranch(holds, then, otherwise)
        return chosen

    def variable(self, value: ir.Value) -> ir.Value:
        """A variable with its first value; made in the function's first block."""
        with self.builder.goto_entry_block():
            found = self.builder.alloca(value.type)
        self.builder.store(value, found)
        return found

    def read(self, variable: ir.Value, kind: ir.Type = _INT64) -> ir.Value:
        """A variable's value."""
        return self.builder.load(variable, typ=kind)

    @contextmanager
    def loop(self, count: ir.Value, first: ir.Value | None = None) -> Iterator[ir.Value]:
        """For each number below the count."""
        number = self.variable(_INT64(0) if first is None else first)
        head, body, after = self.block("head"), self.block("body"), self.block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        now = self.read(number)
        self.builder.cbranch(self.compare("<", now, count), body, after)
        self.builder.position_at_end(body)
        yield now
        self.builder.store(self.add(now, 1), number)
        self.builder.branch(head)
        self.builder.position_at_end(after)

    def call(self, name: str, *arguments: ir.Value) -> ir.Value:
        """Call one of the runtime's functions."""
        result, kinds = _SIGNATURES[name]
        assert self.runtime is not None
        function = self.word(self.runtime, FUNCTIONS.index(name))
        return self.by_address(function, result, kinds, arguments)

    def by_address(
        self, address: ir.Value, result: ir.Type, kinds: list[ir.Type], arguments: Sequence[ir.Value]
    ) -> ir.Value:
        """Call what is at an address."""
        kind = ir.FunctionType(result, kinds).as_pointer()
        return self.builder.call(self.builder.inttoptr(address, kind), list(arguments))

    def object(self, name: str) -> ir.Value:
        """One of the runtime's objects."""
        assert self.runtime is not None
        return self.word(self.runtime, len(FUNCTIONS) + [*OBJECTS, FLOAT32_EVERYWHERE].index(name), _POINTER)

    def as_word(self, pointer: ir.Value) -> ir.Value:
        """A pointer as an integer."""
        return self.builder.ptrtoint(pointer, _INT64)


# --- arrays ----------------------------------------------------------------------------------------


def _emit_array(module: ir.Module) -> ir.Function:
    """`int64 array(object, record, table)`: fills in an array's data and lengths; its size in bytes.

    -1 for one that is not of the record's dtype, rank and lengths, contiguous and aligned.
    """
    code = _Code(module, "array", _INT64, {"object": _POINTER, "record": _POINTER, "table": _POINTER})
    code.function.linkage = "internal"
    array, record, table = code.function.args
    builder = code.builder
    other = code.block("other")
    mask = plan.DTYPE_MASK
    dtype = code.field(code.field(array, DTYPE, _POINTER), DTYPE_WORD, _INT64)
    code.go_unless(code.equal(builder.and_(dtype, _INT64(mask)), code.word(record, plan.DTYPE)), other)
    rank = code.field(array, RANK, _INT32)
    rank = builder.sext(rank, _INT64)
    code.go_unless(code.equal(rank, code.word(record, plan.RANK)), other)
    flags = builder.and_(code.field(array, FLAGS, _INT32), _INT32(REGULAR))
    code.go_unless(code.equal(flags, REGULAR), other)
    size = code.variable(code.word(record, plan.ITEM))
    lengths = code.field(array, LENGTHS, _POINTER)
    with code.loop(rank) as axis:
        length = code.word(lengths, axis)
        place = code.add(builder.mul(axis, _INT64(2)), plan.AXES)
        wanted = code.word(record, place)
        fits = builder.or_(code.equal(wanted, -1), code.equal(wanted, length))
        code.go_unless(fits, other)
        word = code.word(record, code.add(place, 1))
        with builder.if_then(code.compare(">=", word, 0)):
            builder.store(length, code.place(table, word))
        builder.store(builder.mul(code.read(size), length), size)
    word = code.word(record, plan.WORD)
    with builder.if_then(code.compare(">=", word, 0)):
        builder.store(code.field(array, DATA, _INT64), code.place(table, word))
    builder.ret(code.read(size))
    builder.position_at_end(other)
    builder.ret(_INT64(-1))
    return code.function


def _emit_arguments(module: ir.Module, array: ir.Function) -> ir.Function:
    """`int1 arguments(desk, plan, lease, given, count)`: fills in what a call was given; 0 when it can't."""
    kinds = {**dict.fromkeys(("desk", "plan", "lease", "given"), _POINTER), "count": _INT64}
    code = _Code(module, "arguments", _INT1, kinds)
    code.function.linkage = "internal"
    desk, words, lease, given, count = code.function.args
    builder = code.builder
    code.runtime = code.word(desk, plan.RUNTIME, _POINTER)
    other = code.block("other")
    defaults = code.word(desk, plan.DEFAULTS, _POINTER)
    float32 = code.object(FLOAT32_EVERYWHERE)
    overflow = code.variable(_INT32(0))
    record = code.variable(code.as_word(code.place(words, code.word(words, plan.ARGUMENTS_AT))))
    scalars = code.place(lease, code.word(words, plan.SCALARS))
    extents = code.place(lease, code.word(words, plan.EXTENTS))
    with code.loop(code.word(desk, plan.ARGUMENTS)) as number:
        here = builder.inttoptr(code.read(record), _POINTER)
        inner = code.place(here, plan.ARRAY)
        values = builder.select(code.compare("<", number, count), given, defaults)
        value = code.word(values, number, _POINTER)
        code.go_unless(builder.not_(code.equal(value, _NULL)), other)
        kind = code.field(value, TYPE, _POINTER)
        scalar = code.place(scalars, number)
        extent = code.place(extents, builder.mul(number, _INT64(2)))
        done, otherwise = code.block("done"), code.block("otherwise")

        def hand_over(place: ir.Value, done: ir.Block = done, inner: ir.Value = inner) -> None:
            word = code.word(inner, plan.WORD)
            with builder.if_then(code.compare(">=", word, 0)):
                builder.store(code.as_word(place), code.place(lease, word))
            builder.branch(done)

        # An array.
        as_array = code.block("as_array")
        builder.store(_INT64(0), extent)
        builder.store(_INT64(0), code.place(extent, 1))
        builder.cbranch(code.equal(kind, code.object("array")), as_array, otherwise)
        builder.position_at_end(as_array)
        size = builder.call(array, [value, inner, lease])
        code.go_unless(code.compare(">=", size, 0), other)
        data = code.field(value, DATA, _INT64)
        builder.store(data, extent)
        builder.store(code.add(data, size), code.place(extent, 1))
        builder.branch(done)

        # A NumPy scalar of the dtype, or a Python float for a double: the value lies in the object.
        builder.position_at_end(otherwise)
        direct, number_given = code.block("direct"), code.block("number")
        sort = code.word(here, plan.KIND)
        code.go_unless(builder.not_(code.equal(sort, plan.ARRAYS_ALONE)), other)
        is_float = code.equal(kind, code.object("float"))
        is_double = builder.and_(is_float, code.equal(sort, plan.DOUBLE))
        same = builder.or_(code.equal(kind, code.word(here, plan.SCALAR_TYPE, _POINTER)), is_double)
        builder.cbranch(same, direct, number_given)
        builder.position_at_end(direct)
        hand_over(code.inside(value, VALUE))

        # A Python int for an integer.
        builder.position_at_end(number_given)
        integer, rounded = code.block("integer"), code.block("rounded")
        is_int = builder.and_(code.equal(kind, code.object("int")), code.equal(sort, plan.INTEGER))
        builder.cbranch(is_int, integer, rounded)
        builder.position_at_end(integer)
        found = code.call("PyLong_AsLongLongAndOverflow", value, overflow)
        code.go_unless(code.equal(code.read(overflow, _INT32), 0), other)
        code.go_unless(code.compare(">=", found, code.word(here, plan.LOWEST)), other)
        code.go_unless(code.compare("<=", found, code.word(here, plan.HIGHEST)), other)
        builder.store(found, scalar)
        hand_over(scalar)

        # A Python float for a single.
        builder.position_at_end(rounded)
        code.go_unless(builder.and_(is_float, code.equal(sort, plan.SINGLE)), other)
        exact = code.field(value, VALUE, _DOUBLE)
        single = builder.fptrunc(exact, _FLOAT)
        survives = builder.fcmp_unordered("==", builder.fpext(single, _DOUBLE), exact)
        rounds = code.word(here, plan.HIGHEST)
        is_set = code.equal(code.word(float32, 0), 1)
        by_setting = builder.and_(code.equal(rounds, plan.ROUNDS_FOR_FLOATX), is_set)
        may_round = builder.or_(code.equal(rounds, plan.ROUNDS), by_setting)
        code.go_unless(builder.or_(survives, may_round), other)
        builder.store(single, scalar)
        hand_over(scalar)

        builder.position_at_end(done)
        axes = builder.mul(code.word(inner, plan.RANK), _INT64(16))
        step = code.add(axes, 8 * (plan.ARRAY + plan.AXES))
        builder.store(builder.add(code.read(record), step), record)
    builder.ret(_INT1(1))
    builder.position_at_end(other)
    builder.ret(_INT1(0))
    return code.function


def _emit_containers(module: ir.Module) -> ir.Function:
    """`int32 containers(desk, plan, lease)`: 1 where all are free for this call, 0 where one is not.

    A container that is only read may be in several calls. One whose array others hold may be an argument
    too: a call that updates it needs a copy then, which the Python path makes. The result is -1 then.
    """
    code = _Code(module, "containers", _INT32, {"desk": _POINTER, "plan": _POINTER, "lease": _POINTER})
    code.function.linkage = "internal"
    desk, words, lease = code.function.args
    builder = code.builder
    taken, overlapping = code.block("taken"), code.block("overlapping")
    records = code.place(words, code.word(words, plan.CONTAINERS_AT))
    extents = code.place(lease, code.word(words, plan.EXTENTS))
    with code.loop(code.word(words, plan.CONTAINERS)) as number:
        record = code.place(records, builder.mul(number, _INT64(plan.CONTAINER_RECORD)))
        container = code.word(record, plan.CONTAINER, _POINTER)
        code.go_unless(code.equal(code.word(container, HELD), 0), taken)
        updated = builder.not_(code.equal(code.word(record, plan.UPDATED), 0))
        busy = code.word(container, BUSY)
        free = builder.select(updated, code.equal(busy, 0), code.compare(">=", busy, 0))
        code.go_unless(free, taken)
        lent = builder.not_(code.equal(code.word(container, LENT), 0))
        with builder.if_then(builder.and_(updated, lent)):
            array = code.word(container, ARRAY_OBJECT, _POINTER)
            first = code.field(array, DATA, _INT64)
            size = code.variable(_INT64(0))
            builder.store(code.word(record, plan.ITEM_BYTES), size)
            lengths = code.field(array, LENGTHS, _POINTER)
            with code.loop(builder.sext(code.field(array, RANK, _INT32), _INT64)) as axis:
                builder.store(builder.mul(code.read(size), code.word(lengths, axis)), size)
            last = builder.add(first, code.read(size))
            with code.loop(code.word(desk, plan.ARGUMENTS)) as argument:
                extent = code.place(extents, builder.mul(argument, _INT64(2)))
                begins, ends = code.word(extent, 0), code.word(extent, 1)
                apart = builder.or_(code.compare("<=", ends, first), code.compare(">=", begins, last))
                code.go_unless(apart, overlapping)
    builder.ret(_INT32(1))
    builder.position_at_end(taken)
    builder.ret(_INT32(0))
    builder.position_at_end(overlapping)
    builder.ret(_INT32(-1))
    return code.function


def _emit_hold(module: ir.Module, name: str, release: bool) -> ir.Function:
    """`int1 hold(plan, updated)` marks the containers as in use, `release` as free again.

    Releasing counts a new version of those that were `updated`, and tells whether somebody waits for one.
    """
    code = _Code(module, name, _INT1, {"plan": _POINTER, "success": _INT1})
    code.function.linkage = "internal"
    words, success = code.function.args
    builder = code.builder
    awaited = code.variable(_INT1(0))
    records = code.place(words, code.word(words, plan.CONTAINERS_AT))
    with code.loop(code.word(words, plan.CONTAINERS)) as number:
        record = code.place(records, builder.mul(number, _INT64(plan.CONTAINER_RECORD)))
        container = code.word(record, plan.CONTAINER, _POINTER)
        updated = builder.not_(code.equal(code.word(record, plan.UPDATED), 0))
        busy = code.word(container, BUSY)
        if release:
            builder.store(builder.select(updated, _INT64(0), code.add(busy, -1)), code.place(container, BUSY))
            with builder.if_then(builder.and_(updated, success)):
                version = code.word(container, VERSION)
                builder.store(code.add(version, 1), code.place(container, VERSION))
            held = builder.not_(code.equal(code.word(container, HELD), 0))
            builder.store(builder.or_(code.read(awaited, _INT1), held), awaited)
        else:
            builder.store(builder.select(updated, _INT64(-1), code.add(busy, 1)), code.place(container, BUSY))
    builder.ret(code.read(awaited, _INT1))
    return code.function


def _emit_outputs(module: ir.Module) -> ir.Function:
    """`int1 outputs(desk, plan, lease)`: makes arrays for the results; 0, and an error, where it can't."""
    code = _Code(module, "outputs", _INT1, {"desk": _POINTER, "plan": _POINTER, "lease": _POINTER})
    code.function.linkage = "internal"
    desk, words, lease = code.function.args
    builder = code.builder
    code.runtime = code.word(desk, plan.RUNTIME, _POINTER)
    results = code.place(lease, code.word(words, plan.RESULTS))
    failed = code.block("failed")
    record = code.variable(code.as_word(code.place(words, code.word(words, plan.OUTPUTS_AT))))
    reached = code.variable(_INT64(0))
    lengths = builder.alloca(_INT64, plan.MOST_AXES)
    lengths.type = _POINTER
    with code.loop(code.word(words, plan.OUTPUTS)) as number:
        builder.store(number, reached)
        here = builder.inttoptr(code.read(record), _POINTER)
        dtype = code.word(here, plan.DTYPE_OBJECT, _POINTER)
        rank = code.word(here, plan.OUTPUT_RANK)
        axes = code.place(here, plan.OUTPUT_AXES)
        with code.loop(rank) as axis:
            length = code.word(axes, axis)
            word = builder.select(code.compare("<", length, 0), builder.sub(_INT64(-1), length), _INT64(0))
            found = builder.select(code.compare("<", length, 0), code.word(lease, word), length)
            builder.store(found, code.place(lengths, axis))
        kind = code.object("array")
        # The new array takes over a reference to its dtype.
        code.call("Py_IncRef", dtype)
        made = code.call(
            "PyArray_NewFromDescr",
            *(kind, dtype, builder.trunc(rank, _INT32), lengths, _NULL, _NULL, _INT32(0), _NULL),
        )
        code.go_unless(builder.not_(code.equal(made, _NULL)), failed)
        builder.store(code.as_word(made), code.place(results, number))
        data = code.field(made, DATA, _INT64)
        builder.store(data, code.place(lease, code.word(here, plan.OUTPUT_WORD)))
        step = builder.mul(code.add(rank, plan.OUTPUT_AXES), _INT64(8))
        builder.store(builder.add(code.read(record), step), record)
    builder.ret(_INT1(1))
    builder.position_at_end(failed)
    with code.loop(code.read(reached)) as number:
        code.call("Py_DecRef", code.word(results, number, _POINTER))
    builder.ret(_INT1(0))
    return code.function


def _emit_results(module: ir.Module) -> ir.Function:
    """`object results(desk, plan, array of results)`: one array, a list or a dict; null with an error set."""
    code = _Code(module, "dress", _POINTER, {"desk": _POINTER, "plan": _POINTER, "results": _POINTER})
    code.function.linkage = "internal"
    desk, words, results = code.function.args
    builder = code.builder
    code.runtime = code.word(desk, plan.RUNTIME, _POINTER)
    one, several = code.block("one"), code.block("several")
    as_list, as_dict, failed = code.block("as_list"), code.block("as_dict"), code.block("failed")
    count = code.word(words, plan.OUTPUTS)
    form = code.word(words, plan.FORM)
    first = code.variable(_INT64(0))
    builder.cbranch(code.equal(form, plan.ONE), one, several)
    builder.position_at_end(one)
    builder.ret(code.word(results, 0, _POINTER))
    builder.position_at_end(several)
    builder.cbranch(code.equal(form, plan.LIST), as_list, as_dict)

    builder.position_at_end(as_list)
    found = code.call("PyList_New", count)
    code.go_unless(builder.not_(code.equal(found, _NULL)), failed)
    with code.loop(count) as number:
        code.call("PyList_SetItem", found, number, code.word(results, number, _POINTER))
    builder.ret(found)

    builder.position_at_end(as_dict)
    found = code.call("PyDict_New")
    code.go_unless(builder.not_(code.equal(found, _NULL)), failed)
    keys = code.word(words, plan.KEYS, _POINTER)
    partly = code.block("partly")
    with code.loop(count) as number:
        builder.store(number, first)
        result = code.word(results, number, _POINTER)
        status = code.call("PyDict_SetItem", found, code.call("PyTuple_GetItem", keys, number), result)
        code.go_unless(code.equal(status, 0), partly)
        code.call("Py_DecRef", result)
    builder.ret(found)
    builder.position_at_end(partly)
    code.call("Py_DecRef", found)
    builder.branch(failed)

    builder.position_at_end(failed)
    with code.loop(count, code.read(first)) as number:
        code.call("Py_DecRef", code.word(results, number, _POINTER))
    builder.ret(_NULL)
    return code.function


# --- calls -----------------------------------------------------------------------------------------


def _emit_leases(module: ir.Module) -> ir.Function:
    """`lease take(leases)` and `give(leases, lease)`: of those not in use, a list linked through them."""
    code = _Code(module, "take", _POINTER, {"leases": _POINTER})
    (leases,) = code.function.args
    builder = code.builder
    none = code.block("none")
    lease = code.word(leases, 0, _POINTER)
    code.go_unless(builder.not_(code.equal(lease, _NULL)), none)
    builder.store(code.word(lease, plan.NEXT), leases)
    builder.branch(none)
    builder.position_at_end(none)
    builder.ret(lease)
    code = _Code(module, "give", ir.VoidType(), {"leases": _POINTER, "lease": _POINTER})
    leases, lease = code.function.args
    code.builder.store(code.word(leases, 0), code.place(lease, plan.NEXT))
    code.builder.store(lease, leases)
    code.builder.ret_void()
    return code.function


def _emit_repeat(module: ir.Module) -> None:
    """`int64 repeat(entry, lease, status, words, columns, count, runs)`: many runs; how many returned 0.

    Run number k finds at word `words[j]` of its table the pointer `columns[j][k]`, for j < count. The loop
    ends early where an entry does not return 0.
    """
    pointers = dict.fromkeys(("lease", "status", "words", "columns"), _POINTER)
    kinds = {"entry": _INT64, **pointers, "count": _INT64, "runs": _INT64}
    code = _Code(module, "repeat", _INT64, kinds)
    entry, lease, status, words, columns, count, runs = code.function.args
    builder = code.builder
    stopped = code.block("stopped")
    reached = code.variable(_INT64(0))
    with code.loop(runs) as number:
        builder.store(number, reached)
        with code.loop(count) as column:
            pointer = code.word(code.word(columns, column, _POINTER), number)
            builder.store(pointer, code.place(lease, code.word(words, column)))
        found = code.by_address(entry, _INT32, [_POINTER, _POINTER], [lease, status])
        code.go_unless(code.equal(found, 0), stopped)
    builder.ret(runs)
    builder.position_at_end(stopped)
    builder.ret(code.read(reached))


def _emit_call(module: ir.Module) -> None:
    """`object call(self, arguments, count, keywords)`: what a function's builtin does.

    From the check of the containers to their release no Python code runs, in this thread, so that what
    was found stays so: the interpreter's lock is only let go for the entry, while they are marked.
    """
    kinds = {"self": _POINTER, "given": _POINTER, "count": _INT64, "keywords": _POINTER}
    code = _Code(module, "call", _POINTER, kinds)
    this, given, count, keywords = code.function.args
    builder = code.builder
    desk = code.field(this, DATA, _POINTER)
    code.runtime = code.word(desk, plan.RUNTIME, _POINTER)
    array = _emit_array(module)
    arguments, containers = _emit_arguments(module, array), _emit_containers(module)
    outputs, dress = _emit_outputs(module), _emit_results(module)
    hold, release = _emit_hold(module, "hold", False), _emit_hold(module, "release", True)
    give = _emit_leases(module)
    slow, contended, failed = code.block("slow"), code.block("contended"), code.block("failed")

    code.go_unless(code.equal(keywords, _NULL), slow)
    code.go_unless(code.compare("<=", count, code.word(desk, plan.ARGUMENTS)), slow)
    with code.loop(code.word(desk, plan.PLANS)) as number:
        words = code.word(desk, code.add(number, plan.FIRST_PLAN), _POINTER)
        following = code.block("following")
        leases = code.word(words, plan.LEASES, _POINTER)
        lease = code.word(leases, 0, _POINTER)
        code.go_unless(builder.not_(code.equal(lease, _NULL)), contended)

        # Arguments and shared variables: a failing check leaves nothing to undo.
        code.go_unless(builder.call(arguments, [desk, words, lease, given, count]), following)
        record = code.variable(code.as_word(code.place(words, code.word(words, plan.SHARED_AT))))
        with code.loop(code.word(words, plan.SHARED)):
            here = builder.inttoptr(code.read(record), _POINTER)
            inner = code.place(here, 1)
            container = code.word(here, 0, _POINTER)
            size = builder.call(array, [code.word(container, ARRAY_OBJECT, _POINTER), inner, lease])
            code.go_unless(code.compare(">=", size, 0), following)
            step = builder.mul(code.word(inner, plan.RANK), _INT64(16))
            builder.store(builder.add(code.read(record), code.add(step, 8 + 8 * plan.AXES)), record)
        entry = code.word(words, plan.ENTRY)
        code.go_unless(builder.not_(code.equal(entry, 0)), slow)
        apart = builder.call(containers, [desk, words, lease])
        code.go_unless(code.equal(apart, 1), code.choice(code.equal(apart, 0), contended, slow))
        code.go_unless(builder.call(outputs, [desk, words, lease]), failed)

        # The lease is this call's alone from here on.
        builder.store(code.word(lease, plan.NEXT), leases)
        builder.call(hold, [words, _INT1(0)])
        status = code.place(lease, code.word(words, plan.STATUS))
        with builder.if_else(code.equal(code.word(words, plan.RELEASES), 0)) as (short, long):
            with short:
                at_once = code.by_address(entry, _INT32, [_POINTER, _POINTER], [lease, status])
                from_short = builder.block
            with long:
                thread = code.call("PyEval_SaveThread")
                meanwhile = code.by_address(entry, _INT32, [_POINTER, _POINTER], [lease, status])
                code.call("PyEval_RestoreThread", thread)
                from_long = builder.block
        result = builder.phi(_INT32)
        result.add_incoming(at_once, from_short)
        result.add_incoming(meanwhile, from_long)
        success = code.equal(result, 0)
        awaited = builder.call(release, [words, success])

        # What follows may run Python code, and with it other calls.
        amount = code.word(words, plan.OUTPUTS)
        results = code.place(lease, code.word(words, plan.RESULTS))
        with builder.if_then(awaited, likely=False):
            answer = code.call("PyObject_Vectorcall", code.object("wake"), _NULL, _INT64(0), _NULL)
            with builder.if_then(code.equal(answer, _NULL)):
                with code.loop(amount) as each:
                    code.call("Py_DecRef", code.word(results, each, _POINTER))
                builder.call(give, [leases, lease])
                builder.branch(failed)
            code.call("Py_DecRef", answer)
        with builder.if_then(success, likely=True):
            value = builder.call(dress, [desk, words, results])
            builder.call(give, [leases, lease])
            builder.ret(value)
        with code.loop(amount) as each:
            code.call("Py_DecRef", code.word(results, each, _POINTER))
        builder.call(give, [leases, lease])
        # A check that failed is told by the Python path; where a guard did, another plan may serve.
        code.go_unless(code.compare("!=", result, 1), slow)
        builder.branch(following)
        builder.position_at_end(following)
    builder.branch(slow)
    builder.position_at_end(slow)
    path = code.word(desk, plan.SLOW, _POINTER)
    builder.ret(code.call("PyObject_Vectorcall", path, given, count, keywords))
    builder.position_at_end(contended)
    path = code.word(desk, plan.CONTENDED, _POINTER)
    builder.ret(code.call("PyObject_Vectorcall", path, given, count, keywords))
    builder.position_at_end(failed)
    builder.ret(_NULL)


def launcher_module() -> ir.Module:
    """The module; its functions for others are `call`, `repeat`, `take` and `give`."""
    module = ir.Module("launcher")
    _emit_call(module)
    _emit_repeat(module)
    return module
