"""Many calls without the host in between: takes columns of arguments, hands on rows of results.

The arguments of all calls are on the device before the first one runs. Between two calls one kernel puts the
results of the one into their rows and the arguments of the next where every call finds them; a graph runs
several calls, and graphs are launched without waiting. When a call fails, all that comes behind it does
nothing, since each kernel looks at the flags first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from symnet.backend.cuda.body import BLOCK, THREAD, Body
from symnet.backend.cuda.device import Array, Device, Function, Graph, Launch, Memory, Node, Pointer
from symnet.backend.cuda.emit import Work
from symnet.backend.cuda.kernel_text import Text, assemble
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.runtime import Compiled, Plan, compiled
from symnet.compile.memory import ITEM_BYTES
from symnet.compile.nest import INDEX, BufferParameter
from symnet.compile.program import Buffer

#: Calls of one graph.
CALLS = 8
#: The most bytes of arguments and results that are on the device at once, one call's excepted.
_MOST_BYTES = 1 << 28
#: Words: the number of a graph's first call, how many calls were done; then the entries of each column.
_BASE, _DONE, _ENTRIES = range(3)


class ManyCalls:
    """What a specialisation needs to run many calls.

    Parameters
    ----------
    arguments, results
        The buffers of the desk that calls are given and give.
    """

    def __init__(
        self, plan: Plan, device: Device, arguments: Sequence[Buffer], results: Sequence[Buffer]
    ) -> None:
        self.device = device
        self.arguments, self.results = tuple(arguments), tuple(results)
        self._words_buffer = Buffer("words", INDEX, 0, "words")
        self._number_buffer = Buffer("number", INDEX, 1, "number")
        #: Where all calls' values lie, for each argument and result.
        self._rows = {
            each: Buffer(f"all_{each.name}", each.dtype, 0, "rows") for each in (*arguments, *results)
        }
        self.code, texts = self._compile(plan)
        self._kernels = list(zip(device.load(self.code.codes), texts, strict=True))
        numbers = range(-1, CALLS)
        self._first_number = _ENTRIES + len(arguments) + len(results)
        self._words = np.zeros(self._first_number + len(numbers), dtype=np.int64)
        self._words[self._first_number :] = numbers
        self._memory = device.allocate(self._words.nbytes)
        #: Where the values of all calls are.
        self._row_memory: dict[Buffer, Memory] = {}
        self._graphs: dict[int, Graph] = {}
        self._made_for: list[Memory] | None = None

    # --- kernels -------------------------------------------------------------------------------

    def _compile(self, plan: Plan) -> tuple[Compiled, list[tuple[Text, tuple[Buffer, ...]]]]:
        """The kernels before the first call, between two, after the last one, and at a graph's end."""
        machine = plan.machine
        bring = [self._bring(number, each, machine) for number, each in enumerate(self.arguments)]
        keep = [self._keep(number, each, machine) for number, each in enumerate(self.results)]
        count, advance = self._mark(f"words[{_DONE}] = words[{_BASE}] + number[0] + 1"), self._mark(
            f"words[{_BASE}] += number[0] + 1"
        )
        # The last of a call's flags tells that any was set; whoever sees that tells the calls behind.
        flag = len(plan.emitted.flags) - 1 if plan.emitted.flags else None
        count.flag = None if flag is None else flag + 1
        texts = []
        for works in ([*bring, count], [*keep, *bring, count], [*keep, count], [advance]):
            texts.append(assemble(works, [flag] * len(works)))
        name = plan.program.name
        names = [f"{name}_{each}" for each in ("bring", "keep_and_bring", "keep", "advance")]
        return compiled([text for text, _ in texts], names, machine), texts

    def _bring(self, number: int, argument: Buffer, machine: Machine) -> Work:
        """Put the next call's argument where calls find it."""
        word = _ENTRIES + number
        line = f"to[item] = rows[(words[{_BASE}] + number[0] + 1) * words[{word}] + item]"
        return self._copy(self._rows[argument], argument, word, line, machine)

    def _keep(self, number: int, result: Buffer, machine: Machine) -> Work:
        """Put a call's result into its row."""
        word = _ENTRIES + len(self.arguments) + number
        line = f"to[(words[{_BASE}] + number[0]) * words[{word}] + item] = rows[item]"
        return self._copy(result, self._rows[result], word, line, machine)

    def _copy(self, source: Buffer, target: Buffer, word: int, line: str, machine: Machine) -> Work:
        entries = max(source.capacity, target.capacity, 1)
        body = Body(
            "copy",
            (
                BufferParameter("rows", source.dtype, False),
                BufferParameter("to", target.dtype, True),
                BufferParameter("words", INDEX, False),
                BufferParameter("number", INDEX, False),
            ),
            (),
            (
                f"item = {BLOCK} * {machine.threads} + {THREAD}",
                f"if item < words[{word}]:",
                f"    {line}",
            ),
            -(-entries // machine.threads),
        )
        return Work(0, 0, body, (source, target, self._words_buffer, self._number_buffer))

    def _mark(self, line: str) -> Work:
        parameters = (BufferParameter("words", INDEX, True), BufferParameter("number", INDEX, False))
        body = Body("mark", parameters, (), (f"if {THREAD} == 0:", f"    {line}"), 1)
        return Work(0, 0, body, (self._words_buffer, self._number_buffer))

    # --- graphs --------------------------------------------------------------------------------

    def _launch(self, kernel: int, number: int, desk: Any, after: tuple[int, ...]) -> Launch:
        function: Function
        function, (text, buffers) = self._kernels[kernel]
        pointers = []
        for buffer in buffers:
            if buffer is self._words_buffer:
                pointers.append(Pointer(self._memory, 0, INDEX, len(self._words)))
            elif buffer is self._number_buffer:
                place = (self._first_number + 1 + number) * self._words.itemsize
                pointers.append(Pointer(self._memory, place, INDEX, 1))
            elif buffer.kind == "rows":
                memory = self._row_memory[buffer]
                count = memory.bytes // ITEM_BYTES[buffer.dtype]
                pointers.append(Pointer(memory, 0, buffer.dtype, count))
            else:
                pointers.append(desk.pointer(buffer))
        return Launch(function, text.blocks, (*pointers, desk.slots_pointer, desk.state_pointer), after)

    def _graph(self, calls: int, desk: Any, nodes_of_a_call: Sequence[Node]) -> Graph:
        """A graph of so many calls."""
        bring, between, keep, advance = range(4)
        nodes: list[Node] = [self._launch(bring, -1, desk, ())]
        for call in range(calls):
            first = len(nodes)
            nodes += [_moved(node, first) for node in nodes_of_a_call]
            waited = {each for node in nodes[first:] for each in node.after}
            ends = tuple(each for each in range(first, len(nodes)) if each not in waited) or (first - 1,)
            nodes.append(self._launch(keep if call == calls - 1 else between, call, desk, ends))
        nodes.append(self._launch(advance, calls - 1, desk, (len(nodes) - 1,)))
        return self.device.graph(nodes)

    def let_go(self) -> None:
        """Drop graphs and the memory of arguments and results; the next run makes them anew."""
        self._graphs, self._made_for = {}, None
        self._row_memory = {}

    def run(
        self,
        calls: int,
        columns: Sequence[Array],
        shapes: Sequence[tuple[int, ...]],
        results: Sequence[Array],
        desk: Any,
        shared: Sequence[Memory],
        nodes_of_a_call: Sequence[Node],
        transfers: Any,
    ) -> int:
        """Run so many calls; how many were done before one that failed.

        Parameters
        ----------
        columns
            For each argument the values of all calls.
        shapes
            Those of the results.
        results
            For each result the rows that it goes to.
        desk
            The specialisation's, on whose host side the first call is written already.
        shared
            The memory that the nodes of a call were made for.
        """
        entries = [*(each[0].size for each in columns)] + [
            int(np.prod(shape, dtype=np.int64)) for shape in shapes
        ]
        self._have_room(calls, entries)
        if self._made_for is None or any(
            mine is not given for mine, given in zip(self._made_for, shared, strict=True)
        ):
            self._graphs = {}
            self._made_for = list(shared)
        for each, column in zip(self.arguments, columns, strict=True):
            self._upload(self._row_memory[self._rows[each]], column, transfers)
        self._words[: self._first_number] = [0, 0, *entries]
        self._upload(self._memory, self._words, transfers)
        self._upload(desk.memory, desk.host[: desk.inward[1]], transfers)
        for size in [CALLS] * (calls // CALLS) + [1] * (calls % CALLS):
            if size not in self._graphs:
                self._graphs[size] = self._graph(size, desk, nodes_of_a_call)
            self._graphs[size].launch()
        self.device.synchronize()
        words: Array = np.empty(2, dtype=np.int64)
        self.device.download(self._memory, 0, words)
        transfers.count_download(words.nbytes)
        done = int(words[_DONE])
        for each, rows in zip(self.results, results, strict=True):
            if rows[:done].nbytes:
                self.device.download(self._row_memory[self._rows[each]], 0, rows[:done])
                transfers.count_download(rows[:done].nbytes)
        return done

    def _upload(self, memory: Memory, array: Array, transfers: Any) -> None:
        if array.nbytes:
            self.device.upload(memory, 0, np.ascontiguousarray(array))
            transfers.count_upload(array.nbytes)

    def most(self, columns: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> int:
        """How many calls of such first arguments and such results are run at once."""
        row = sum(each.nbytes for each in columns) + sum(
            int(np.prod(shape, dtype=np.int64)) * ITEM_BYTES[result.dtype]
            for shape, result in zip(shapes, self.results, strict=True)
        )
        return max(1, _MOST_BYTES // max(1, row))

    def _have_room(self, calls: int, entries: Sequence[int]) -> None:
        """See to it that so many calls' values find room; graphs that knew other memory go."""
        needed = {
            self._rows[each]: max(1, calls * count) * ITEM_BYTES[each.dtype]
            for each, count in zip((*self.arguments, *self.results), entries, strict=True)
        }
        for buffer, count in needed.items():
            known = self._row_memory.get(buffer)
            if known is None or known.bytes < count:
                self._graphs = {}
                self._row_memory.pop(buffer, None)
                # A power of two, so that pieces that grow cost few graphs.
                self._row_memory[buffer] = self.device.allocate(1 << (count - 1).bit_length())


def _moved(node: Node, first: int) -> Node:
    """A node of a call, behind the nodes before its first one: it waits for the last of those at least."""
    after = tuple(each + first for each in node.after) or (first - 1,)
    return replace(node, after=after)
