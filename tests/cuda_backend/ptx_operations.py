"""Takes an instruction of PTX, hands on what it does to lanes: arithmetic, moves, memory, branches.

Arithmetic is NumPy's on whole arrays; where PTX rounds once (fma), so does this.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ptx_text import Function, Instruction, width

Jumps = list[tuple[int, np.ndarray]] | None
Act = Callable[[Any, Any, np.ndarray], Jumps]

_BOOL = np.dtype(bool)
_STORED = {1: _BOOL, 8: np.dtype("u1"), 16: np.dtype("u2"), 32: np.dtype("u4"), 64: np.dtype("u8")}
_SPACES = ("global", "shared", "local", "param", "const")


@dataclass(frozen=True)
class Operation:
    """What an instruction does: `act(run, frame, lanes)` gives where lanes go on; None: to the next."""

    instruction: Instruction
    act: Act


def dtype_of(kind: str) -> np.dtype:
    """NumPy's type for one of PTX's."""
    if kind == "pred":
        return _BOOL
    letter = {"b": "u", "u": "u", "s": "i", "f": "f"}[kind[0]]
    return np.dtype(f"{letter}{width(kind) // 8}")


def operation(instruction: Instruction, place: int, function: Function, machine: Any) -> Operation:
    """What an instruction does."""
    act = _Maker(instruction, place, function, machine).make()
    if instruction.predicate is None:
        return Operation(instruction, act)
    name, negated = instruction.predicate, instruction.negated

    def guarded(run: Any, frame: Any, lanes: np.ndarray) -> Jumps:
        holds = frame.registers[name][lanes] ^ negated
        jumps = act(run, frame, lanes[holds]) if holds.any() else None
        if jumps is None:
            return None
        return [*jumps, (place + 1, lanes[~holds])]

    return Operation(instruction, guarded)


class _Maker:
    def __init__(self, instruction: Instruction, place: int, function: Function, machine: Any) -> None:
        self.instruction, self.place, self.function, self.machine = instruction, place, function, machine
        self.kinds = [
            each for each in instruction.modifiers if re.fullmatch(r"[bsuf](8|16|32|64)|pred", each)
        ]
        self.kind = dtype_of(self.kinds[-1]) if self.kinds else None

    def make(self) -> Act:
        if "cc" in self.instruction.modifiers or self.instruction.opcode in ("addc", "subc", "madc"):
            return self._with_carry()
        special = getattr(self, f"_{self.instruction.opcode}", None)
        if special is not None:
            return special()
        found = _PLAIN.get(self.instruction.opcode)
        if found is None:
            self._unknown()
        return self._compute(lambda *values: found(self.instruction.modifiers, *values))

    def _unknown(self) -> None:
        raise NotImplementedError(f"line {self.instruction.number}: {self.instruction}")

    # --- operands ------------------------------------------------------------------------------

    def get(self, operand: str, kind: np.dtype) -> Callable[[Any, Any, np.ndarray], np.ndarray]:
        """Reads an operand as numbers of a type, one for each lane."""
        negated = operand.startswith("!")
        operand = operand.removeprefix("!")
        if operand in self.function.registers:

            def register(run: Any, frame: Any, lanes: np.ndarray) -> np.ndarray:
                try:
                    values = frame.registers[operand]
                except KeyError:
                    values = frame.registers[operand] = np.zeros(
                        frame.lanes, _STORED[self.function.registers[operand]]
                    )
                if len(lanes) != len(values):
                    values = values[lanes]
                if kind is _BOOL:
                    return ~values if negated else values
                if values.dtype.itemsize != kind.itemsize:
                    values = values.astype(f"u{kind.itemsize}")
                return values.view(kind)

            return register
        if operand.startswith("%"):
            return functools.partial(_special, operand, kind)
        value = self._constant(operand, kind)
        return lambda run, frame, lanes: value

    def _constant(self, operand: str, kind: np.dtype) -> np.ndarray:
        if operand in self.machine.symbols:
            return np.array([self.machine.symbols[operand]], np.uint64).astype(f"u{kind.itemsize}").view(kind)
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", operand):
            return np.array([int(operand[2:], 16)], np.uint32).view(np.float32).astype(kind)
        if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", operand):
            return np.array([int(operand[2:], 16)], np.uint64).view(np.float64).astype(kind)
        try:
            number = int(operand.rstrip("U"), 0)
        except ValueError:
            raise NotImplementedError(f"operand {operand} of {self.instruction}") from None
        if kind is _BOOL:
            return np.array([bool(number)])
        return np.array([number % (1 << 8 * kind.itemsize)], np.uint64).astype(f"u{kind.itemsize}").view(kind)

    def put(self, operand: str) -> Callable[[Any, np.ndarray, np.ndarray], None]:
        """Writes numbers to a register, widened to it by their sign."""
        if operand == "_":
            return lambda frame, lanes, values: None
        stored = _STORED[self.function.registers[operand]]

        def write(frame: Any, lanes: np.ndarray, values: np.ndarray) -> None:
            if stored is not _BOOL:
                if values.dtype.itemsize < stored.itemsize:
                    values = values.astype(f"{values.dtype.kind}{stored.itemsize}")
                values = values.view(stored)
            register = frame.registers.get(operand)
            if len(lanes) == frame.lanes and (len(values) == frame.lanes):
                frame.registers[operand] = values
                return
            if register is None:
                register = np.zeros(frame.lanes, stored)
            else:
                register = register.copy()
            register[lanes] = values
            frame.registers[operand] = register

        return write

    def _compute(self, function: Callable[..., np.ndarray], kinds: list[np.dtype] | None = None) -> Act:
        """A result from operands that all have the instruction's type, or those given."""
        target, *operands = self.instruction.operands
        kinds = kinds or [self.kind] * len(operands)
        reads = [self.get(operand, kind) for operand, kind in zip(operands, kinds, strict=True)]
        write = self.put(target)

        def act(run: Any, frame: Any, lanes: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                write(frame, lanes, function(*(read(run, frame, lanes) for read in reads)))

        return act

    # --- moves ---------------------------------------------------------------------------------

    def _mov(self) -> Act:
        target, source = self.instruction.operands
        if source.startswith("{"):
            names = [each.strip() for each in source.strip("{}").split(",")]
            part = np.dtype(f"u{self.kind.itemsize // len(names)}")
            reads = [self.get(name, part) for name in names]
            write = self.put(target)

            def pack(run: Any, frame: Any, lanes: np.ndarray) -> None:
                parts = [np.broadcast_to(read(run, frame, lanes), len(lanes)) for read in reads]
                write(frame, lanes, np.ascontiguousarray(np.stack(parts, 1)).view(self.kind).ravel())

            return pack
        if target.startswith("{"):
            names = [each.strip() for each in target.strip("{}").split(",")]
            part = np.dtype(f"u{self.kind.itemsize // len(names)}")
            read = self.get(source, self.kind)
            writes = [self.put(name) for name in names]

            def unpack(run: Any, frame: Any, lanes: np.ndarray) -> None:
                whole = np.ascontiguousarray(np.broadcast_to(read(run, frame, lanes), len(lanes)))
                parts = whole.view(part).reshape(len(lanes), -1)
                for number, write in enumerate(writes):
                    write(frame, lanes, np.ascontiguousarray(parts[:, number]))

            return unpack
        return self._compute(lambda value: value)

    def _cvta(self) -> Act:
        modifiers = self.instruction.modifiers
        space = next(each for each in modifiers if each in _SPACES)
        base = np.uint64({"shared": 1 << 60, "local": 1 << 61}.get(space, 0))
        if "to" in modifiers:
            return self._compute(lambda value: value - base)
        return self._compute(lambda value: value + base)

    def _selp(self) -> Act:
        return self._compute(lambda a, b, p: np.where(p, a, b), [self.kind, self.kind, _BOOL])

    def _cvt(self) -> Act:
        to, of = (dtype_of(each) for each in self.kinds)
        modifiers = self.instruction.modifiers
        if to.kind == "f" and of.kind == "f":
            if set(modifiers) & {"rz", "rm", "rp"}:
                self._unknown()
            whole = next((_WHOLE[each] for each in modifiers if each in _WHOLE), lambda value: value)

            def convert(value: np.ndarray) -> np.ndarray:
                value = whole(value).astype(to)
                if "sat" in modifiers:
                    value = np.clip(np.nan_to_num(value, nan=0.0), 0, 1).astype(to)
                return value

        elif to.kind != "f" and of.kind == "f":
            whole = next(_WHOLE[each] for each in modifiers if each in _WHOLE)
            convert = functools.partial(_to_integer, whole, to)
        elif "sat" in modifiers:
            self._unknown()
        else:
            if to.kind == "f" and "rn" not in modifiers:
                self._unknown()
            convert = lambda value: value.astype(to)  # noqa: E731
        return self._compute(convert, [of])

    def _setp(self) -> Act:
        modifiers = self.instruction.modifiers
        compare = _COMPARE[modifiers[0]]
        join = next((_JOIN[each] for each in modifiers[1:] if each in _JOIN), None)
        targets = self.instruction.operands[0].split("|")
        operands = self.instruction.operands[1:]
        reads = [self.get(each, self.kind) for each in operands[:2]]
        third = self.get(operands[2], _BOOL) if len(operands) > 2 else None
        writes = [self.put(each) for each in targets]

        def act(run: Any, frame: Any, lanes: np.ndarray) -> None:
            with np.errstate(all="ignore"):
                holds = compare(*(read(run, frame, lanes) for read in reads))
            holds = np.broadcast_to(holds, len(lanes))
            for write, value in zip(writes, (holds, ~holds), strict=False):
                if third is not None:
                    value = join(value, third(run, frame, lanes))
                write(frame, lanes, value)

        return act

    # --- memory --------------------------------------------------------------------------------

    def _address(self, operand: str) -> Callable[[Any, Any, np.ndarray], np.ndarray]:
        found = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        if found is None:
            raise NotImplementedError(f"address {operand} of {self.instruction}")
        offset = np.uint64(int(found[2] or "0", 0) % (1 << 64))
        name = found[1]
        wide = self.function.registers.get(name, 64) == 64
        base = self.get(name, np.dtype("u8" if wide else "u4"))

        def address(run: Any, frame: Any, lanes: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore"):
                return np.broadcast_to(base(run, frame, lanes).astype(np.uint64) + offset, len(lanes))

        return address

    def _parameter(self, operand: str) -> tuple[str, int]:
        found = re.fullmatch(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]", operand)
        assert found is not None, operand
        return found[1], int(found[2] or 0)

    def _targets(self, operand: str) -> list[str]:
        return [each.strip() for each in operand.strip("{}").split(",")]

    def _ld(self) -> Act:
        target, source = self.instruction.operands
        modifiers = self.instruction.modifiers
        kind, writes = self.kind, [self.put(each) for each in self._targets(target)]
        if "param" in modifiers:
            name, offset = self._parameter(source)

            def of_parameter(run: Any, frame: Any, lanes: np.ndarray) -> None:
                data = frame.arguments[name]
                for number, write in enumerate(writes):
                    first = offset + number * kind.itemsize
                    some = data[..., first : first + kind.itemsize]
                    some = some if some.ndim == 1 else some[lanes]
                    write(frame, lanes, np.ascontiguousarray(some).view(kind).ravel())

            return of_parameter
        space = next((each for each in modifiers if each in _SPACES), "generic")
        address = self._address(source)
        whole = np.uint64(kind.itemsize * len(writes) - 1)

        def load(run: Any, frame: Any, lanes: np.ndarray) -> None:
            places = address(run, frame, lanes)
            if np.any(places & whole):
                run.fail(f"an address is no multiple of {whole + 1} bytes")
            for number, write in enumerate(writes):
                values = run.load(space, places + np.uint64(number * kind.itemsize), kind, lanes)
                write(frame, lanes, values)

        return load

    def _st(self) -> Act:
        target, source = self.instruction.operands
        modifiers = self.instruction.modifiers
        kind, reads = self.kind, [self.get(each, self.kind) for each in self._targets(source)]
        if "param" in modifiers:
            name, offset = self._parameter(target)

            def to_parameter(run: Any, frame: Any, lanes: np.ndarray) -> None:
                data = frame.arguments.setdefault(name, np.zeros((run.count, 64), np.uint8))
                for number, read in enumerate(reads):
                    first = offset + number * kind.itemsize
                    values = np.ascontiguousarray(np.broadcast_to(read(run, frame, lanes), len(lanes)))
                    data[lanes, first : first + kind.itemsize] = values.view(np.uint8).reshape(len(lanes), -1)

            return to_parameter
        space = next((each for each in modifiers if each in _SPACES), "generic")
        address = self._address(target)
        whole = np.uint64(kind.itemsize * len(reads) - 1)

        def store(run: Any, frame: Any, lanes: np.ndarray) -> None:
            places = address(run, frame, lanes)
            if np.any(places & whole):
                run.fail(f"an address is no multiple of {whole + 1} bytes")
            for number, read in enumerate(reads):
                values = np.broadcast_to(read(run, frame, lanes), len(lanes))
                run.store(space, places + np.uint64(number * kind.itemsize), values, lanes)

        return store

    # --- where to go on ------------------------------------------------------------------------

    def _bra(self) -> Act:
        target = self.function.labels[self.instruction.operands[0]]
        return lambda run, frame, lanes: [(target, lanes)]

    def _ret(self) -> Act:
        return lambda run, frame, lanes: []

    _exit = _ret

    def _call(self) -> Act:
        operands = list(self.instruction.operands)
        results = self._targets(operands.pop(0).strip("()")) if operands[0].startswith("(") else []
        called = self.machine.module.functions[operands[0]]
        given = [each.strip() for each in operands[1].strip("()").split(",")] if len(operands) > 1 else []

        def act(run: Any, frame: Any, lanes: np.ndarray) -> None:
            arguments = {
                name: frame.arguments[mine] for (name, _), mine in zip(called.parameters, given, strict=True)
            }
            inner = run.run(called, arguments, lanes)
            for (name, _), mine in zip(called.results, results, strict=True):
                frame.arguments[mine] = inner.arguments[name].copy()

        return act

    def _bar(self) -> Act:
        if "warp" in self.instruction.modifiers:
            return lambda run, frame, lanes: run.meet(self.place, lanes, run.warp)
        if self.instruction.operands != ("0",):
            self._unknown()
        return lambda run, frame, lanes: run.barrier(self.place, lanes)

    _barrier = _bar

    def _membar(self) -> Act:
        return lambda run, frame, lanes: None

    _fence = _membar

    def _shfl(self) -> Act:
        how = next(each for each in self.instruction.modifiers if each in ("bfly", "down", "up", "idx"))
        target, source, distance, clamp, mask = self.instruction.operands
        name, _, holds = target.partition("|")
        write, unsigned = self.put(name), np.dtype("u4")
        told = self.put(holds) if holds else None
        read, far, clamped, members = (self.get(each, unsigned) for each in (source, distance, clamp, mask))

        def act(run: Any, frame: Any, lanes: np.ndarray) -> Jumps:
            if np.any(members(run, frame, lanes) != np.uint32(0xFFFFFFFF)):
                self._unknown()
            (jump,) = run.meet(self.place, lanes, run.warp)
            lanes = jump[1]
            if not len(lanes):
                return [jump]
            lane = (run.thread[lanes] % 32).astype(np.int64)
            step = far(run, frame, lanes).astype(np.int64)
            limits = clamped(run, frame, lanes).astype(np.int64)
            segment = (limits >> 8) & 31
            most = (lane & segment) | (limits & 31 & ~segment)
            if how == "idx":
                asked = (lane & segment) | (step & 31 & ~segment)
            else:
                asked = {"bfly": lane ^ step, "down": lane + step, "up": lane - step}[how]
            inside = asked >= most if how == "up" else asked <= most
            origin = np.where(inside, asked, lane)
            values = np.zeros(run.count, np.uint32)
            values[lanes] = read(run, frame, lanes)
            write(frame, lanes, values[lanes - lane + origin])
            if told is not None:
                told(frame, lanes, inside)
            return [jump]

        return act

    # --- integers of several widths -----------------------------------------------------------

    def _mul(self) -> Act:
        return self._product(None)

    def _mad(self) -> Act:
        if self.kind.kind == "f":
            return self._fma()
        return self._product("add")

    def _product(self, then: str | None) -> Act:
        modifiers, kind = self.instruction.modifiers, self.kind
        if kind.kind == "f":
            return self._compute(lambda a, b: a * b)
        kinds = [kind, kind]
        if "wide" in modifiers:
            wide = np.dtype(f"{kind.kind}{2 * kind.itemsize}")
            product = lambda a, b: a.astype(wide) * b.astype(wide)  # noqa: E731
            kinds += [wide] if then else []
        else:
            product = _high if "hi" in modifiers else (lambda a, b: a * b)
            kinds += [kind] if then else []
        if then:
            return self._compute(lambda a, b, c: product(a, b) + c, kinds)
        return self._compute(product, kinds)

    def _with_carry(self) -> Act:
        """Sums of more bits than a register has, of 32 bits at a time: with the carry of the one before."""
        opcode, modifiers = self.instruction.opcode, self.instruction.modifiers
        if self.kind.itemsize != 4:
            self._unknown()
        target, *operands = self.instruction.operands
        reads = [self.get(each, np.dtype("u4")) for each in operands]
        write = self.put(target)

        def act(run: Any, frame: Any, lanes: np.ndarray) -> None:
            first, second, *rest = (read(run, frame, lanes).astype(np.uint64) for read in reads)
            carry = frame.carry[lanes] if opcode.endswith("c") else np.uint64(0)
            if rest:
                product = (first * second) >> np.uint64(32 if "hi" in modifiers else 0)
                first, second = product & np.uint64(0xFFFFFFFF), rest[0]
            if opcode.startswith("sub"):
                found = first - second - carry
            else:
                found = first + second + carry
            if "cc" in modifiers:
                frame.carry[lanes] = (found >> np.uint64(32)) & np.uint64(1)
            write(frame, lanes, np.broadcast_to(found, len(lanes)).astype(np.uint32))

        return act

    def _fma(self) -> Act:
        way = self._way()
        if way is not None:
            if self.kind.itemsize != 4:
                self._unknown()
            return self._compute(lambda a, b, c: _directed(way, a, b, c))
        return self._compute(lambda a, b, c: fma(a, b, c))

    def _add(self) -> Act:
        way = self._way()
        if way is not None:
            return self._compute(lambda a, b: _directed(way, a, np.ones_like(a), b))
        return self._compute(lambda a, b: a + b)

    def _way(self) -> str | None:
        """Where a float's result is rounded to, unless to the nearest."""
        way = next((each for each in self.instruction.modifiers if each in ("rz", "rm", "rp")), None)
        return way if self.kind.kind == "f" else None

    def _shl(self) -> Act:
        return self._shift(
            lambda a, n, bits: np.where(n < bits, a << (n % bits).astype(a.dtype), a.dtype.type(0))
        )

    def _shr(self) -> Act:
        def right(a: np.ndarray, n: np.ndarray, bits: int) -> np.ndarray:
            if a.dtype.kind == "i":
                return a >> np.minimum(n, bits - 1).astype(a.dtype)
            return np.where(n < bits, a >> (n % bits).astype(a.dtype), a.dtype.type(0))

        return self._shift(right)

    def _shift(self, function: Callable[..., np.ndarray]) -> Act:
        bits = 8 * self.kind.itemsize
        return self._compute(lambda a, n: function(a, n, bits), [self.kind, np.dtype("u4")])

    def _shf(self) -> Act:
        left, wraps = "l" in self.instruction.modifiers, "wrap" in self.instruction.modifiers

        def funnel(low: np.ndarray, high: np.ndarray, count: np.ndarray) -> np.ndarray:
            whole = (high.astype(np.uint64) << np.uint64(32)) | low
            count = (count & np.uint32(31) if wraps else np.minimum(count, np.uint32(32))).astype(np.uint64)
            if left:
                return ((whole << count) >> np.uint64(32)).astype(np.uint32)
            return (whole >> count).astype(np.uint32)

        return self._compute(funnel, [np.dtype("u4")] * 3)

    def _bfe(self) -> Act:
        def extract(value: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
            bits = 8 * value.dtype.itemsize
            first, count = (
                np.broadcast_to(each, len(value)).astype(np.int64) & 255 for each in (first, count)
            )
            found = np.array(
                [
                    _extract(int(v), int(f), int(n), bits, value.dtype.kind == "i")
                    for v, f, n in zip(value, first, count, strict=True)
                ]
            )
            return found.astype(value.dtype)

        return self._compute(extract, [self.kind, np.dtype("u4"), np.dtype("u4")])

    def _bfi(self) -> Act:
        def insert(a: np.ndarray, b: np.ndarray, first: np.ndarray, count: np.ndarray) -> np.ndarray:
            one = a.dtype.type(1)
            bits = 8 * a.dtype.itemsize
            first, count = first & np.uint32(255), np.minimum(count & np.uint32(255), np.uint32(bits))
            full = a.dtype.type((1 << bits) - 1)
            mask = np.where(count >= bits, full, (one << (count % bits).astype(a.dtype)) - one)
            mask = np.where(first < bits, mask << (first % bits).astype(a.dtype), a.dtype.type(0))
            return (b & ~mask) | ((a << (first % bits).astype(a.dtype)) & mask)

        return self._compute(insert, [self.kind, self.kind, np.dtype("u4"), np.dtype("u4")])

    def _lop3(self) -> Act:
        table = int(self.instruction.operands[-1], 0)

        def logic(a: np.ndarray, b: np.ndarray, c: np.ndarray, _: np.ndarray) -> np.ndarray:
            found = np.zeros(1, np.uint32)
            for number in range(8):
                if table >> number & 1:
                    x, y, z = (each if number >> bit & 1 else ~each for each, bit in ((a, 2), (b, 1), (c, 0)))
                    found = found | (x & y & z)
            return found

        return self._compute(logic)

    def _dp2a(self) -> Act:
        """The sum of two products of halves of a word with bytes of another, and a third."""
        if self.kinds != ["u32", "u32"]:
            self._unknown()
        first = 16 if "hi" in self.instruction.modifiers else 0

        def dot(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
            for number in range(2):
                half = (a >> np.uint32(16 * number)) & np.uint32(0xFFFF)
                c = c + half * ((b >> np.uint32(first + 8 * number)) & np.uint32(0xFF))
            return c

        return self._compute(dot)

    def _prmt(self) -> Act:
        def permute(a: np.ndarray, b: np.ndarray, selector: np.ndarray) -> np.ndarray:
            whole = (b.astype(np.uint64) << np.uint64(32)) | a
            found = np.zeros(1, np.uint32)
            for number in range(4):
                digit = (selector >> np.uint32(4 * number)) & np.uint32(15)
                byte = (whole >> (np.uint64(8) * (digit & np.uint32(7)))).astype(np.uint32) & np.uint32(255)
                sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
                byte = np.where(digit & np.uint32(8), sign, byte)
                found = found | (byte << np.uint32(8 * number))
            return found

        return self._compute(permute)


def _special(name: str, kind: np.dtype, run: Any, frame: Any, lanes: np.ndarray) -> np.ndarray:
    """A special register."""
    if name == "%tid.x":
        found = run.thread[lanes]
    elif name == "%ctaid.x":
        found = run.block[lanes]
    elif name == "%laneid":
        found = run.thread[lanes] % np.uint32(32)
    else:
        known = {"%ntid.x": run.threads, "%nctaid.x": run.grid, "%SP": 0}
        known |= dict.fromkeys(("%tid.y", "%tid.z", "%ctaid.y", "%ctaid.z"), 0)
        known |= dict.fromkeys(("%ntid.y", "%ntid.z", "%nctaid.y", "%nctaid.z"), 1)
        if name not in known:
            raise NotImplementedError(f"special register {name}")
        found = np.array([known[name]], np.uint32)
    return found.astype(f"u{kind.itemsize}").view(kind)


@functools.cache
def _fused() -> Any:
    """a * b + c, rounded once."""
    import numba

    from symnet.backend.cpu.numba_functions import fma as once

    kinds = ["float32(float32,float32,float32)", "float64(float64,float64,float64)"]
    return numba.vectorize(kinds)(lambda a, b, c: once(a, b, c))


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded once."""
    found: np.ndarray = _fused()(a, b, c)
    return found


def _directed(way: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded toward zero, down or up; `b` is 1 unless they are float32."""
    nearest = fma(a, b, c)
    # The product is exact in float64; what its sum with c loses is known exactly, too.
    product, other = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + other
    back = total - product
    lost = (product - (total - back)) + (other - back)
    beyond = (total - nearest) + lost
    if way == "rz":
        steps = np.where(nearest > 0, beyond < 0, beyond > 0)
        toward: Any = nearest.dtype.type(0)
    else:
        steps = beyond < 0 if way == "rm" else beyond > 0
        toward = nearest.dtype.type(-np.inf if way == "rm" else np.inf)
    return np.where(steps & np.isfinite(nearest), np.nextafter(nearest, toward), nearest)


def _to_integer(whole: Callable[..., np.ndarray], to: np.dtype, value: np.ndarray) -> np.ndarray:
    """Floats to integers: those beyond go to the nearest, NaN to 0."""
    least, most = (np.array(each, to) for each in (np.iinfo(to).min, np.iinfo(to).max))
    value = whole(value).astype(np.float64)
    value = np.where(np.isnan(value), 0.0, value)
    # As floats the limits may be rounded up: what reaches them is beyond, or is them.
    inside = (value > float(least)) & (value < float(most))
    return np.where(inside, np.where(inside, value, 0).astype(to), np.where(value > 0, most, least))


def _high(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The upper half of a product."""
    if a.dtype.itemsize < 8:
        wide = np.dtype(f"{a.dtype.kind}{2 * a.dtype.itemsize}")
        bits = wide.type(8 * a.dtype.itemsize)
        return ((a.astype(wide) * b.astype(wide)) >> bits).astype(a.dtype)
    signed = a.dtype.kind == "i"
    x, y = a.astype(np.uint64), b.astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    low = (x & mask) * (y & mask)
    first = (x >> half) * (y & mask) + (low >> half)
    second = (x & mask) * (y >> half) + (first & mask)
    found = (x >> half) * (y >> half) + (first >> half) + (second >> half)
    if signed:
        found = found - np.where(a < 0, y, np.uint64(0)) - np.where(b < 0, x, np.uint64(0))
    return found.view(a.dtype) if found.shape else found.astype(a.dtype)


def _extract(value: int, first: int, count: int, bits: int, signed: bool) -> int:
    """Bits `first` to `first + count`, and the sign above them."""
    if count == 0:
        return 0
    last = min(first + count - 1, bits - 1)
    value %= 1 << bits
    found = (value >> first) & ((1 << count) - 1) if first < bits else 0
    if signed and value >> last & 1:
        found |= -1 << min(count, max(0, bits - first))
    return found


def _quotient(_: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Division; that of integers goes towards zero."""
    if a.dtype.kind == "f":
        return a / b
    safe = np.where(b == 0, b.dtype.type(1), b)
    found = a // safe
    found = found + ((a % safe != 0) & ((a < 0) ^ (safe < 0))).astype(a.dtype)
    return np.where(b == 0, ~np.zeros(1, a.dtype), found)


def _remainder(_: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(b == 0, a, a - _quotient(None, a, b) * b)


def _least(modifiers: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.minimum(a, b) if a.dtype.kind != "f" or "NaN" in modifiers else np.fmin(a, b)


def _most(modifiers: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(a, b) if a.dtype.kind != "f" or "NaN" in modifiers else np.fmax(a, b)


def _leading(_: Any, value: np.ndarray) -> np.ndarray:
    bits = 8 * value.dtype.itemsize
    return np.array([bits - int(each).bit_length() for each in value], np.uint32)


def _reversed(_: Any, value: np.ndarray) -> np.ndarray:
    bits = 8 * value.dtype.itemsize
    return np.array([int(f"{int(each):0{bits}b}"[::-1], 2) for each in value], value.dtype)


def _ordered(compare: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda a, b: compare(a, b) & ~(np.isnan(a) | np.isnan(b))


def _unordered(compare: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b)


_BASIC = {
    "eq": np.equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_COMPARE: dict[str, Callable[..., np.ndarray]] = {
    **_BASIC,
    "ne": lambda a, b: _ordered(np.not_equal)(a, b) if a.dtype.kind == "f" else a != b,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
    **{f"{name}u": _unordered(function) for name, function in _BASIC.items()},
    "neu": _unordered(np.not_equal),
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
}
_JOIN = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
_PLAIN: dict[str, Callable[..., np.ndarray]] = {
    "sub": lambda _, a, b: a - b,
    "div": _quotient,
    "rem": _remainder,
    "neg": lambda _, a: -a,
    "abs": lambda _, a: np.abs(a),
    "min": _least,
    "max": _most,
    "and": lambda _, a, b: a & b,
    "or": lambda _, a, b: a | b,
    "xor": lambda _, a, b: a ^ b,
    "not": lambda _, a: ~a,
    "sqrt": lambda _, a: np.sqrt(a),
    "rsqrt": lambda _, a: (1 / np.sqrt(a.astype(np.float64))).astype(a.dtype),
    "rcp": lambda _, a: (1 / a.astype(np.float64)).astype(a.dtype),
    "ex2": lambda _, a: np.exp2(a.astype(np.float64)).astype(a.dtype),
    "lg2": lambda _, a: np.log2(a.astype(np.float64)).astype(a.dtype),
    "sin": lambda _, a: np.sin(a.astype(np.float64)).astype(a.dtype),
    "cos": lambda _, a: np.cos(a.astype(np.float64)).astype(a.dtype),
    "tanh": lambda _, a: np.tanh(a.astype(np.float64)).astype(a.dtype),
    "copysign": lambda _, a, b: np.copysign(b, a),
    "popc": lambda _, a: np.bitwise_count(a).astype(np.uint32),
    "clz": _leading,
    "brev": _reversed,
}
