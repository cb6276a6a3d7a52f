"""Nests as bodies: takes a loop nest, hands on one `Body` for each of its groups of independent iterations.

Each iteration of the leading independent loops is an item; a thread does one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from symnet.backend.cuda.body import BLOCK, THREAD, Body
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.mapping import Grid, grids, items_of
from symnet.backend.cuda.print_body import BodyPrinter
from symnet.compile import nest
from symnet.compile.nest import INDEX, For, Literal, Nest
from symnet.errors import CompileError

#: Item numbers up to here are decoded in 32 bits.
MOST_SHORT = 2**31 - 1


def nest_bodies(kernel: Nest, machine: Machine, capacities: Mapping[str, int]) -> list[Body]:
    """The bodies that do a nest, in the nest's order; one waits for another where their buffers say so.

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
        printer = BodyPrinter(kernel.buffers, kernel.sizes, ordered=True)
        printer.line(f"if {BLOCK} == 0 and {THREAD} == 0:")
        printer.indent += 1
        printer.block(kernel.body)
        return _made(kernel, printer, kernel.body, 1)


def _body(kernel: Nest, grid: Grid, machine: Machine, capacities: Mapping[str, int]) -> Body:
    printer = BodyPrinter(kernel.buffers, kernel.sizes)
    items = items_of(grid.loops, capacities) if grid.loops else None
    if items is None:
        printer.line(f"if {BLOCK} == 0 and {THREAD} == 0:")
        printer.indent += 1
        printer.block((*grid.before, *_again(grid)))
        return _made(kernel, printer, grid.body, 1)
    printer.statements(grid.before)
    _print_items(printer, grid, machine, items)
    return _made(kernel, printer, grid.body, max(1, -(-items // machine.threads)))


def _again(grid: Grid) -> tuple[nest.Statement, ...]:
    """A group's loops as they were."""
    body = grid.body
    for loop in reversed(grid.loops):
        body = (For(loop.name, loop.extent, body, loop.parallel, loop.vector),)
    return body


def _print_items(printer: BodyPrinter, grid: Grid, machine: Machine, items: int) -> None:
    """One thread for each item: which it is, its loops' variables, the body."""
    printer.line(f"item = {BLOCK} * {machine.threads} + {THREAD}")
    extents = [loop.extent for loop in grid.loops]
    total: nest.Expression = Literal(INDEX, 1)
    for extent in extents:
        total = nest.multiply(total, extent)
    printer.line(f"if item < {printer.text(total)}:")
    printer.indent += 1
    short = items <= MOST_SHORT and all(isinstance(extent, Literal) for extent in extents)
    _decode(printer, grid.loops, short)
    printer.block(grid.body)
    printer.indent -= 1


def _decode(printer: BodyPrinter, loops: Sequence[For], short: bool) -> None:
    """Bind the loops' variables to their values for the item."""
    rest = "item"
    for position in range(len(loops) - 1, -1, -1):
        loop = loops[position]
        name = printer.bind_loop(loop.name, INDEX)
        if position == 0:
            printer.line(f"{name} = {rest}")
            return
        extent = printer.text(loop.extent, 99)
        if short:
            extent, word = f"np.uint32({extent})", f"np.uint32({rest})"
            printer.line(f"{name} = np.int64({word} % {extent})")
            quotient = f"np.int64({word} // {extent})"
        else:
            printer.line(f"{name} = {rest} % {extent}")
            quotient = f"{rest} // {extent}"
        rest = printer.fresh("rest", INDEX)
        printer.line(f"{rest} = {quotient}")


def _made(kernel: Nest, printer: BodyPrinter, body: Sequence[nest.Statement], blocks: int) -> Body:
    stored = {each.buffer for each in nest.walk_statements(tuple(body)) if isinstance(each, nest.Store)}
    parameters = tuple(
        nest.BufferParameter(each.name, each.dtype, each.name in stored)
        for each in kernel.buffers
        if each.name in printer.used_buffers
    )
    sizes = tuple(each for each in kernel.sizes if each in printer.used_sizes)
    return Body(kernel.name, parameters, sizes, tuple(printer.lines), blocks, (), kernel.comments)
