"""Items that threads share: takes an item's statements, hands on lines in which lanes divide its loops.

A loop that accumulates goes round by lanes, each with partial results of its own, which are combined in a
fixed order; a loop whose iterations are independent goes round by lanes as well; all else each lane does for
itself, and the first one stores. The lanes of an item are neighbouring threads where its loops run along
memory, and a row of items apart where memory runs along the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from symnet.backend.cuda.accesses import LANES, accesses, affine, goes_by_neighbours, sums_of
from symnet.backend.cuda.body import BLOCK, THREAD
from symnet.backend.cuda.lockstep import LockstepPrinter, can_go_together
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.mapping import Grid, decoded, loads_of, most, names_of
from symnet.compile import nest
from symnet.compile.nest import BOOL, INDEX, Call, Expression, For, Literal, Name, Statement

#: Blocks of threads that a multiprocessor should have, if there is work for them.
BLOCKS_OF_A_MULTIPROCESSOR = 4


@dataclass(frozen=True)
class Sharing:
    """How many lanes an item has; `across` says that neighbouring threads are lanes of different items."""

    lanes: int
    across: bool = False


def plan(grid: Grid, items: int, machine: Machine, capacities: Mapping[str, int]) -> Sharing | None:
    """How an item's loops are shared; None where one thread does an item alone."""
    if not _may_share(grid):
        return None
    shared = [each for each in _shared_loops(grid.body) if _length(each, capacities) > 1]
    if not shared:
        return None
    length = max(_length(each, capacities) for each in shared)
    wanted = machine.multiprocessors * machine.threads * BLOCKS_OF_A_MULTIPROCESSOR
    if _runs_across(grid, shared):
        row = 1
        while row < min(items, machine.warp):
            row *= 2
        lanes = 1
        while lanes * row < machine.threads and lanes * items < wanted and lanes * 4 <= length:
            lanes *= 2
        return Sharing(lanes, across=True) if lanes > 1 else None
    if length >= machine.threads and items * machine.threads <= 2 * wanted:
        return Sharing(machine.threads)
    lanes = 1
    # Few items want a lane for each round, many only as many as memory is read in order by.
    rounds = 1 if items * machine.warp <= wanted else LANES
    while lanes < machine.warp and lanes * 2 * rounds <= length:
        lanes *= 2
    return Sharing(lanes) if lanes > 1 else None


# --- what can be shared ------------------------------------------------------------------------------


def _accumulates(loop: For) -> bool:
    """Whether rounds of a loop only accumulate into variables from before it."""
    own: set[str] = set()
    totals: dict[str, str] = {}
    read: set[str] = set()
    for statement in nest.walk_statements(loop.body):
        match statement:
            case nest.Store() | nest.Fail():
                return False
            case nest.Let(name=name) | nest.Declare(name=name) | For(name=name):
                own.add(name)
            case nest.Assign(name=name) if name not in own:
                return False
            case nest.Accumulate(name=name, function=function) if name not in own:
                if totals.setdefault(name, function) != function:
                    return False
        for expression in nest.expressions_of(statement):
            read |= names_of(expression)
    return bool(totals) and not read & set(totals)


def _divides(loop: For) -> bool:
    """Whether rounds of a loop are independent, so that lanes may take them."""
    if not (loop.parallel or loop.vector):
        return False
    own = {
        each.name
        for each in nest.walk_statements(loop.body)
        if isinstance(each, nest.Let | nest.Declare | For)
    }
    changed = {
        each.name
        for each in nest.walk_statements(loop.body)
        if isinstance(each, nest.Assign | nest.Accumulate)
    }
    return changed <= own


def _shared_loops(body: Sequence[Statement]) -> Iterator[For]:
    for statement in body:
        if isinstance(statement, For):
            if _accumulates(statement) or _divides(statement):
                yield statement
            elif _is_common(statement.extent):
                yield from _shared_loops(statement.body)


def _is_common(extent: Expression) -> bool:
    """Whether all items surely have the same number of rounds, so that their threads can wait for each
    other."""
    match extent:
        case Literal():
            return True
        case Call(arguments=arguments):
            return all(_is_common(each) for each in arguments)
    return False


def _may_share(grid: Grid) -> bool:
    """Whether lanes can do an item: none fails, and who waits for whom is the same for all threads."""
    both = _stored(grid.body) & loads_of(grid.body)

    def inside(body: Sequence[Statement], common: bool) -> bool:
        for statement in body:
            match statement:
                case nest.Fail():
                    return False
                case nest.Store(buffer=buffer) if buffer in both and not common:
                    return False
                case nest.If(then=then, otherwise=otherwise):
                    if not inside(then, False) or not inside(otherwise, False):
                        return False
                case For() if _accumulates(statement) or (common and _divides(statement)):
                    if any(isinstance(each, nest.Fail) for each in nest.walk_statements(statement.body)):
                        return False
                case For(extent=extent, body=inner):
                    if not inside(inner, common and _is_common(extent)):
                        return False
        return True

    return inside(grid.body, True)


def _stored(body: Sequence[Statement]) -> set[str]:
    return {each.buffer for each in nest.walk_statements(tuple(body)) if isinstance(each, nest.Store)}


def _length(loop: For, capacities: Mapping[str, int]) -> int:
    """How many rounds a loop has together with the loops that make up its body; a guess where that is not
    known."""
    count = most(loop.extent, capacities)
    return (64 if count is None else count) * max(
        (_length(each, capacities) for each in loop.body if isinstance(each, For)), default=1
    )


def _runs_across(grid: Grid, loops: Sequence[For]) -> bool:
    """Whether neighbouring items read neighbouring entries, and neighbouring rounds of the loops do not."""
    if not grid.loops:
        return False
    item = grid.loops[-1].name
    lets = [each for each in nest.walk_statements(grid.body) if isinstance(each, nest.Let)]
    sums = sums_of(lets)
    along = across = 0
    for loop in loops:
        inner = loop.name
        for each in nest.walk_statements(loop.body):
            if isinstance(each, For):
                inner = each.name
        for _, index, _ in accesses(loop.body):
            place = affine(index, sums)
            if place is not None:
                along += place.factor(inner) == 1
                across += place.factor(item) == 1 and place.factor(inner) != 1 and bool(place.factor(inner))
    return across > along


# --- printing ----------------------------------------------------------------------------------------


def print_shared(
    printer: LockstepPrinter,
    grid: Grid,
    sharing: Sharing,
    items: int,
    machine: Machine,
    capacities: Mapping[str, int],
) -> int:
    """The lines of items that lanes share; how many blocks they are for."""
    shared = _Shared(printer, grid, sharing, machine, capacities)
    return shared.print(items)


class _Shared:
    def __init__(
        self,
        printer: LockstepPrinter,
        grid: Grid,
        sharing: Sharing,
        machine: Machine,
        capacities: Mapping[str, int],
    ) -> None:
        self.printer, self.grid, self.machine, self.capacities = printer, grid, machine, capacities
        self.lanes, self.across = sharing.lanes, sharing.across
        self.row = machine.threads // sharing.lanes
        self.both = _stored(grid.body) & loads_of(grid.body)
        self.lane, self.inside = THREAD, ""

    def print(self, items: int) -> int:
        """The lines; how many blocks they are for."""
        printer, threads = self.printer, self.machine.threads
        total: Expression = Literal(INDEX, 1)
        for loop in self.grid.loops:
            total = nest.multiply(total, loop.extent)
        end = printer.text(total)
        if not isinstance(total, Literal) or total.value == 0:
            printer.line(f"if {BLOCK} * {self.row} >= {end}:")
            printer.line("    return")
        if self.lanes == threads:
            printer.line(f"item = {BLOCK}")
        else:
            self.lane = printer.fresh("lane_", "lane")
            by = self.row if self.across else self.lanes
            high, low = f"({THREAD} >> {by.bit_length() - 1})", f"({THREAD} & {by - 1})"
            printer.line(f"{self.lane} = {high if self.across else low}")
            printer.line(f"item = {BLOCK} * {self.row} + {low if self.across else high}")
            if not (isinstance(total, Literal) and int(total.value) % self.row == 0):
                # All threads reach every barrier; those beyond the last item do it too, and store nothing.
                self.inside = printer.fresh("inside", BOOL)
                printer.line(f"{self.inside} = item < {end}")
                printer.line(f"item = min(item, np.int64({end} - 1))")
        for loop, text in zip(self.grid.loops, decoded(printer, self.grid.loops, "item", items), strict=True):
            printer.line(f"{printer.bind_loop(loop.name, INDEX)} = {text}")
        printer.count_items(self.grid.loops, self.grid.body, "item")
        self._sequence(self.grid.body, True)
        return -(-items // self.row)

    # --- statements --------------------------------------------------------------------------------

    def _sequence(self, body: Sequence[Statement], common: bool) -> None:
        printer = self.printer
        for statement in body:
            match statement:
                case nest.Store(buffer=buffer):
                    self._wait(buffer in self.both)
                    inside = f" and {self.inside}" if self.inside else ""
                    printer.line(f"if {self.lane} == 0{inside}:")
                    self._further((statement,))
                    self._wait(buffer in self.both)
                case For() if common and _accumulates(statement):
                    self._accumulate(statement)
                case For() if common and _divides(statement):
                    both = bool((_stored(statement.body) | loads_of(statement.body)) & self.both)
                    self._wait(both)
                    self._divide(statement)
                    self._wait(both)
                case For(name=name, extent=extent, body=inner) if not _accumulates(statement):
                    end = printer.text(extent)
                    outer = dict(printer.names)
                    printer.line(f"for {printer.bind_loop(name, INDEX)} in range({end}):")
                    self._block(inner, common and _is_common(extent))
                    printer.names = outer
                case nest.If(condition=condition, then=then, otherwise=otherwise):
                    printer.line(f"if {printer.text(condition)}:")
                    self._block(then, False)
                    if otherwise:
                        printer.line("else:")
                        self._block(otherwise, False)
                case _:
                    printer.statements((statement,))

    def _block(self, body: Sequence[Statement], common: bool) -> None:
        printer = self.printer
        printer.indent += 1
        outer, before = dict(printer.names), len(printer.lines)
        self._sequence(body, common)
        if len(printer.lines) == before:
            printer.line("pass")
        printer.names = outer
        printer.indent -= 1

    def _further(self, body: Sequence[Statement]) -> None:
        self.printer.indent += 1
        self.printer.statements(body)
        self.printer.indent -= 1

    def _wait(self, needed: bool) -> None:
        if needed:
            self.printer.line("cuda.syncthreads()")

    # --- loops -------------------------------------------------------------------------------------

    def _divide(self, loop: For) -> None:
        """Each lane takes rounds of an independent loop."""
        printer = self.printer
        if self.inside:
            printer.line(f"if {self.inside}:")
            printer.indent += 1
        self._rounds(loop, {})
        if self.inside:
            printer.indent -= 1

    def _accumulate(self, loop: For) -> None:
        """Each lane accumulates rounds into partial results, which are then combined."""
        printer = self.printer
        own = {
            each.name
            for each in nest.walk_statements(loop.body)
            if isinstance(each, nest.Let | nest.Declare | For)
        }
        totals: dict[str, tuple[str, str]] = {}
        for statement in nest.walk_statements(loop.body):
            if isinstance(statement, nest.Accumulate) and statement.name not in own:
                totals[statement.name] = (statement.function, statement.value.dtype)
        partial: dict[str, tuple[str, ...]] = {}
        for name, (function, dtype) in totals.items():
            printed = tuple(printer.fresh("partial", dtype) for _ in range(LANES))
            first = printer.typed_literal(_identity(function, dtype))
            printer.line(f"{' = '.join(printed)} = {first}")
            partial[name] = printed
        # Of a few rounds each warp makes the whole sum for itself, and waits for nobody.
        lanes, lane = self.lanes, self.lane
        if (
            not self.across
            and lanes > self.machine.warp
            and _length(loop, self.capacities) <= 4 * self.machine.warp
        ):
            self.lanes, self.lane = self.machine.warp, f"({THREAD} & {self.machine.warp - 1})"
        self._rounds(loop, partial)
        for name, (function, dtype) in totals.items():
            parts = list(partial[name])
            halves = [self._combined(function, dtype, *parts[i : i + 2]) for i in (0, 2)]
            printer.line(f"{parts[0]} = {self._combined(function, dtype, *halves)}")
            self._combine_lanes(function, dtype, parts[0])
            known = printer.names[name]
            printer.line(f"{known} = {self._combined(function, dtype, known, parts[0])}")
        self.lanes, self.lane = lanes, lane

    def _rounds(self, loop: For, partial: Mapping[str, tuple[str, ...]]) -> None:
        """The rounds of a loop, and of loops that are its body, by lanes."""
        printer = self.printer
        levels = [loop]
        while len(levels[-1].body) == 1 and isinstance(levels[-1].body[0], For):
            inner = levels[-1].body[0]
            assert isinstance(inner, For)
            if bool(partial) != _accumulates(inner) or (not partial and not _divides(inner)):
                break
            levels.append(inner)
        outer = dict(printer.names)
        names = {level.name for level in levels}
        if len(levels) > 1 and any(names_of(level.extent) & names for level in levels):
            levels = levels[:1]
        inner = levels[-1]
        count = most(inner.extent, self.capacities)
        if len(levels) > 1 and count is not None and count < LANES * self.lanes:
            total: Expression = Literal(INDEX, 1)
            for level in levels:
                total = nest.multiply(total, level.extent)
            self._strided(levels, total, partial)
        else:
            for level in levels[:-1]:
                end = printer.text(level.extent)
                printer.line(f"for {printer.bind_loop(level.name, INDEX)} in range({end}):")
                printer.indent += 1
            self._strided([inner], inner.extent, partial)
            printer.indent -= len(levels) - 1
        printer.names = outer

    def _strided(
        self, loops: Sequence[For], total: Expression, partial: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Rounds by lanes: several at once where there are many, and what is left one by one."""
        printer, body, lanes = self.printer, loops[-1].body, self.lanes
        end = printer.text(total)
        count = most(total, self.capacities)
        start = printer.fresh("start", INDEX)
        if count is not None and count >= LANES * lanes and can_go_together(body):
            if len(loops) == 1 and self._neighbours(loops[0], body):
                fours = printer.fresh("fours", INDEX)
                step = printer.fresh("step", INDEX)
                printer.line(f"{fours} = ({end}) // {LANES}")
                printer.line(f"for {step} in range(np.int64({self.lane}), {fours}, {lanes}):")
                names = tuple(printer.fresh(loops[0].name, INDEX) for _ in range(LANES))
                printer.indent += 1
                printer.line(f"{names[0]} = {step} * {LANES}")
                for each in range(1, LANES):
                    printer.line(f"{names[each]} = {names[0]} | {each}")
                self._together(body, {loops[0].name: names}, loops[0].name, partial)
                printer.indent -= 1
                if isinstance(total, Literal) and int(total.value) % LANES == 0:
                    return
                printer.line(f"{start} = {fours} * {LANES} + {self.lane}")
            else:
                printer.line(f"{start} = np.int64({self.lane})")
                printer.line(f"while {start} + {(LANES - 1) * lanes} < {end}:")
                printer.indent += 1
                given: dict[str, list[str]] = {loop.name: [] for loop in loops}
                for each in range(LANES):
                    flat = printer.fresh("round", INDEX)
                    printer.line(f"{flat} = {start} + {each * lanes}")
                    for loop, text in zip(loops, self._decoded(loops, flat, count), strict=True):
                        name = printer.fresh(loop.name, INDEX)
                        printer.line(f"{name} = {text}")
                        given[loop.name].append(name)
                self._together(body, {name: tuple(each) for name, each in given.items()}, None, partial)
                printer.line(f"{start} += {LANES * lanes}")
                printer.indent -= 1
        else:
            printer.line(f"{start} = np.int64({self.lane})")
        flat = printer.fresh("round", INDEX)
        printer.line(f"for {flat} in range({start}, {end}, {lanes}):")
        printer.indent += 1
        for loop, text in zip(loops, self._decoded(loops, flat, count), strict=True):
            printer.line(f"{printer.bind_loop(loop.name, INDEX)} = {text}")
        for name, printed in partial.items():
            printer.names[name] = printed[0]
        printer.statements(body)
        printer.indent -= 1

    def _decoded(self, loops: Sequence[For], flat: str, count: int | None) -> list[str]:
        return decoded(self.printer, loops, flat, count)

    def _together(
        self,
        body: Sequence[Statement],
        names: Mapping[str, tuple[str, ...]],
        along: str | None,
        partial: Mapping[str, tuple[str, ...]],
    ) -> None:
        with self.printer.lockstep(body, {**names, **partial}, along):
            self.printer.statements(body)

    def _neighbours(self, loop: For, body: Sequence[Statement]) -> bool:
        """Whether four rounds that follow each other are best done by one lane."""
        return goes_by_neighbours((*self.grid.body, *body), body, loop.name)

    # --- combining ---------------------------------------------------------------------------------

    def _combined(self, function: str, dtype: str, left: str, right: str) -> str:
        """The text of a function of two texts, each a name or in parentheses."""
        printer = self.printer
        printer.names |= {"left operand": left, "right operand": right}
        text = printer.text(
            Call(dtype, function, (Name(dtype, "left operand"), Name(dtype, "right operand")))
        )
        del printer.names["left operand"], printer.names["right operand"]
        return f"({text})"

    def _combine_lanes(self, function: str, dtype: str, part: str) -> None:
        """Every lane gets the results of all combined, in the same order."""
        printer, warp = self.printer, self.machine.warp
        stored = f"np.uint8({part})" if dtype == BOOL else part
        kind = "uint8" if dtype == BOOL else dtype

        def entry(where: str) -> str:
            # An index that can't be negative needs no look at its sign.
            return (
                f"({shared}[np.uint32({where})] != 0)" if dtype == BOOL else f"{shared}[np.uint32({where})]"
            )

        if self.across:
            shared = printer.fresh("shared", f"{dtype} shared")
            column = f"({THREAD} & {self.row - 1})"
            printer.line(f"{shared} = cuda.shared.array({self.machine.threads}, np.{kind})")
            self._wait(True)
            printer.line(f"{shared}[np.uint32({THREAD})] = {stored}")
            self._wait(True)
            printer.line(f"{part} = {entry(column)}")
            for lane in range(1, self.lanes):
                other = entry(f"{column} + {lane * self.row}")
                printer.line(f"{part} = {self._combined(function, dtype, part, other)}")
            return
        mask = min(self.lanes, warp) // 2
        other = printer.fresh("other", dtype)
        while mask:
            # On a line of its own: every lane hands its value over, whatever it has found itself.
            printer.line(f"{other} = lane_swap({part}, {mask})")
            printer.line(f"{part} = {self._combined(function, dtype, part, other)}")
            mask //= 2
        if self.lanes > warp:
            shared = printer.fresh("shared", f"{dtype} shared")
            printer.line(f"{shared} = cuda.shared.array({self.lanes // warp}, np.{kind})")
            self._wait(True)
            printer.line(f"if {self.lane} & {warp - 1} == 0:")
            printer.line(f"    {shared}[np.uint32({self.lane} >> {warp.bit_length() - 1})] = {stored}")
            self._wait(True)
            printer.line(f"{part} = {entry('0')}")
            for number in range(1, self.lanes // warp):
                printer.line(f"{part} = {self._combined(function, dtype, part, entry(str(number)))}")


def _identity(function: str, dtype: str) -> Literal:
    """The value that changes nothing."""
    if dtype == BOOL:
        return Literal(BOOL, function in ("mul", "minimum", "bitwise_and"))
    if dtype in nest.FLOATS:
        values = {"add": 0.0, "mul": 1.0, "minimum": float("inf"), "maximum": float("-inf")}
        return Literal(dtype, values[function])
    limits = np.iinfo(dtype)
    whole = {
        "add": 0,
        "mul": 1,
        "minimum": int(limits.max),
        "maximum": int(limits.min),
        "bitwise_or": 0,
        "bitwise_and": -1 if limits.min < 0 else int(limits.max),
    }
    return Literal(dtype, whole[function])
