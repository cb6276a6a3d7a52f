"""Nests as bodies: takes a loop nest, hands on one `Body` for each of its groups of independent iterations.

Each iteration of the leading independent loops is an item. A thread does one; or, of many simple ones, four,
which are neighbours in memory where that is known, and a block's threads apart otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from symnet.backend.cuda.accesses import LANES, goes_by_neighbours, ranges_of
from symnet.backend.cuda.body import BLOCK, THREAD, Body
from symnet.backend.cuda.lockstep import LockstepPrinter, can_go_together
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.mapping import Grid, decoded, grids, items_of
from symnet.backend.cuda.sharing import plan, print_shared
from symnet.backend.cuda.written_out import written_out
from symnet.compile import nest
from symnet.compile.nest import INDEX, Expression, For, Literal, Nest
from symnet.errors import CompileError

#: A thread does several items from so many on for each thread that a multiprocessor's block has.
ENOUGH = 4


def nest_bodies(kernel: Nest, machine: Machine, capacities: Mapping[str, int]) -> list[Body]:
    """The bodies that do a nest, in the nest's order; one waits for another where their buffers say so.

    Buffers begin at multiples of 64 bytes.

    Parameters
    ----------
    capacities
        The largest value that each of the nest's sizes may have.

    Raises
    ------
    CompileError
        When the nest can't be printed: names the kernel, what it covers (its comments), and the cause.
    """
    with _printing(kernel):
        kernel = written_out(kernel)
        return [_body(kernel, grid, machine, capacities) for grid in grids(kernel)]


@contextlib.contextmanager
def _printing(kernel: Nest) -> Iterator[None]:
    try:
        yield
    except TypeError as error:
        covers = [f"in: {comment}" for comment in kernel.comments]
        raise CompileError(f"kernel {kernel.name} can't be printed: {error}", covers) from error


def serial_body(kernel: Nest) -> Body:
    """One thread that does a nest in order.

    On a failure it stores the failure's site in `state[own]`, its values in the words after that, and
    returns.

    Raises
    ------
    CompileError
        When the nest can't be printed.
    """
    with _printing(kernel):
        printer = LockstepPrinter(kernel.buffers, kernel.sizes, ordered=True)
        printer.line(f"if {BLOCK} == 0 and {THREAD} == 0:")
        printer.indent += 1
        printer.block(kernel.body)
        return _made(kernel, printer, kernel.body, 1)


def _body(kernel: Nest, grid: Grid, machine: Machine, capacities: Mapping[str, int]) -> Body:
    printer = LockstepPrinter(kernel.buffers, kernel.sizes)
    printer.ranges = ranges_of(kernel.body, {name: capacities.get(name, 2**62) for name in kernel.sizes})
    items = items_of(grid.loops, capacities)
    if items is not None:
        sharing = plan(grid, items, machine, capacities)
        if sharing is not None:
            printer.statements(grid.before)
            blocks = print_shared(printer, grid, sharing, items, machine, capacities)
            return _made(kernel, printer, grid.body, max(1, blocks))
    if items is None or not grid.loops:
        printer.line(f"if {BLOCK} == 0 and {THREAD} == 0:")
        printer.indent += 1
        printer.block((*grid.before, *_again(grid)))
        return _made(kernel, printer, grid.body, 1)
    printer.statements(grid.before)
    blocks = _Items(printer, grid, machine, items).print()
    return _made(kernel, printer, grid.body, max(1, blocks))


def _again(grid: Grid) -> tuple[nest.Statement, ...]:
    """A group's loops as they were."""
    body = grid.body
    for loop in reversed(grid.loops):
        body = (For(loop.name, loop.extent, body, loop.parallel, loop.vector),)
    return body


@dataclass
class _Items:
    """Prints the items of a grid, one or several for each thread."""

    printer: LockstepPrinter
    grid: Grid
    machine: Machine
    items: int

    def print(self) -> int:
        """The lines; how many blocks they are for."""
        threads = self.machine.threads
        total: Expression = Literal(INDEX, 1)
        for loop in self.grid.loops:
            total = nest.multiply(total, loop.extent)
        many = self.items >= ENOUGH * LANES * threads * self.machine.multiprocessors
        if many and can_go_together(self.grid.body):
            if self._neighbours():
                return self._print_neighbours(total)
            return self._print_apart(total)
        printer = self.printer
        printer.line(f"item = {BLOCK} * {threads} + {THREAD}")
        self._guarded("if", f"item < {printer.text(total)}", "item")
        return -(-self.items // threads)

    def _guarded(self, keyword: str, condition: str, item: str) -> None:
        """One item where a condition holds."""
        printer = self.printer
        printer.line(f"{keyword} {condition}:")
        printer.indent += 1
        outer = dict(printer.names)
        for loop, text in zip(self.grid.loops, self._decoded(item), strict=True):
            printer.line(f"{printer.bind_loop(loop.name, INDEX)} = {text}")
        printer.count_items(self.grid.loops, self.grid.body, item)
        printer.block(self.grid.body)
        printer.names = outer
        printer.indent -= 1

    def _decoded(self, item: str, last: str | None = None) -> list[str]:
        return decoded(self.printer, self.grid.loops, item, self.items, last)

    # --- several items -----------------------------------------------------------------------------

    def _neighbours(self) -> bool:
        """Whether four items that follow each other are best done by one thread."""
        inner = self.grid.loops[-1]
        whole = isinstance(inner.extent, Literal) and int(inner.extent.value) % LANES == 0
        if len(self.grid.loops) > 1 and not whole:
            return False
        return goes_by_neighbours(self.grid.body, self.grid.body, inner.name)

    def _print_neighbours(self, total: Expression) -> int:
        printer, loops = self.printer, self.grid.loops
        inner = loops[-1]
        printer.line(f"item = {BLOCK} * {self.machine.threads} + {THREAD}")
        fours = printer.fresh("fours", INDEX)
        printer.line(f"{fours} = {_quotient(printer, total)}")
        printer.line(f"if item < {fours}:")
        printer.indent += 1
        outer = dict(printer.names)
        last = None if len(loops) == 1 else str(int(inner.extent.value) // LANES)  # type: ignore[attr-defined]
        decoded = self._decoded("item", last)
        for loop, text in zip(loops[:-1], decoded[:-1], strict=True):
            printer.line(f"{printer.bind_loop(loop.name, INDEX)} = {text}")
        names = tuple(printer.fresh(inner.name, INDEX) for _ in range(LANES))
        printer.line(f"{names[0]} = {decoded[-1]} * {LANES}")
        for lane in range(1, LANES):
            # The first is a multiple of four.
            printer.line(f"{names[lane]} = {names[0]} | {lane}")
        if len(loops) > 1:
            flat = tuple(printer.fresh("flat", INDEX) for _ in range(LANES))
            printer.line(f"{flat[0]} = item * {LANES}")
            for lane in range(1, LANES):
                printer.line(f"{flat[lane]} = {flat[0]} | {lane}")
            printer.count_items(loops, self.grid.body, *flat)
        with printer.lockstep(self.grid.body, {inner.name: names}, inner.name):
            printer.statements(self.grid.body)
        printer.names = outer
        printer.indent -= 1
        whole = len(loops) > 1 or (isinstance(total, Literal) and int(total.value) % LANES == 0)
        if not whole:
            left = printer.fresh("left", INDEX)
            printer.line(f"elif item == {fours}:")
            printer.indent += 1
            printer.line(f"for {left} in range({fours} * {LANES}, {printer.text(total)}):")
            printer.indent += 1
            printer.line(f"{printer.bind_loop(inner.name, INDEX)} = {left}")
            printer.block(self.grid.body)
            printer.indent -= 2
        printer.names = outer
        return -(-(self.items // LANES + (not whole)) // self.machine.threads)

    def _print_apart(self, total: Expression) -> int:
        printer, threads = self.printer, self.machine.threads
        first, end = printer.fresh("first", INDEX), printer.text(total)
        printer.line(f"{first} = {BLOCK} * {LANES * threads} + {THREAD}")
        printer.line(f"if {first} + {(LANES - 1) * threads} < {end}:")
        printer.indent += 1
        outer = dict(printer.names)
        numbers: list[str] = []
        lanes: dict[str, list[str]] = {loop.name: [] for loop in self.grid.loops}
        for lane in range(LANES):
            item = printer.fresh("item", INDEX)
            printer.line(f"{item} = {first} + {lane * threads}")
            for loop, text in zip(self.grid.loops, self._decoded(item), strict=True):
                name = printer.fresh(loop.name, INDEX)
                printer.line(f"{name} = {text}")
                lanes[loop.name].append(name)
            numbers.append(item)
        printer.count_items(self.grid.loops, self.grid.body, *numbers)
        with printer.lockstep(self.grid.body, {name: tuple(each) for name, each in lanes.items()}, None):
            printer.statements(self.grid.body)
        printer.names = outer
        printer.indent -= 1
        printer.line("else:")
        printer.indent += 1
        item = printer.fresh("item", INDEX)
        printer.line(f"for {item} in range({first}, {end}, {threads}):")
        printer.indent += 1
        for loop, text in zip(self.grid.loops, self._decoded(item), strict=True):
            printer.line(f"{printer.bind_loop(loop.name, INDEX)} = {text}")
        printer.count_items(self.grid.loops, self.grid.body, item)
        printer.block(self.grid.body)
        printer.indent -= 2
        printer.names = outer
        return -(-self.items // (LANES * threads))


def _quotient(printer: LockstepPrinter, total: Expression) -> str:
    if isinstance(total, Literal):
        return str(int(total.value) // LANES)
    return f"({printer.text(total)}) // {LANES}"


def _made(kernel: Nest, printer: LockstepPrinter, body: Sequence[nest.Statement], blocks: int) -> Body:
    stored = {each.buffer for each in nest.walk_statements(tuple(body)) if isinstance(each, nest.Store)}
    parameters = tuple(
        nest.BufferParameter(each.name, each.dtype, each.name in stored)
        for each in kernel.buffers
        if each.name in printer.used_buffers
    )
    sizes = tuple(each for each in kernel.sizes if each in printer.used_sizes)
    return Body(kernel.name, parameters, sizes, tuple(printer.lines), blocks, (), kernel.comments)
