"""A program on a device: takes it lowered, hands on what runs it for arguments and shared variables' memory.

A run is one graph for each part of the program between its host steps: copy the desk in, kernels, copy it
back. Everything a kernel is given lies where it lay at the run before, so graphs are set up once; only when
a shared variable's memory is another are they made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.backend.cuda.desk import UNTOLD, Desk
from symnet.backend.cuda.device import (
    Array,
    Code,
    Copy,
    Device,
    DeviceArray,
    Graph,
    Launch,
    Memory,
    Node,
    Pointer,
    Transfers,
)
from symnet.backend.cuda.emit import Printer
from symnet.backend.cuda.kernel import CudaKernel
from symnet.backend.cuda.many import ManyCalls
from symnet.backend.cuda.runtime import Place, compiled, plan, serial_code
from symnet.compile.backend import DONE, FAILED, Column, Outcome, Pattern
from symnet.compile.host import HostCalls
from symnet.compile.kernel import Kernel
from symnet.compile.locks import FUNCTION, new_lock
from symnet.compile.memory import ITEM_BYTES, bytes_of
from symnet.compile.program import (
    ALIGNMENT,
    Buffer,
    ContractionCall,
    HostStep,
    KernelCall,
    Program,
    View,
    result_axes,
    result_shapes,
)
from symnet.compile.specialise import Argument, Length, SlotLeaf
from symnet.errors import CudaError
from symnet.graph import dims


class Specialisation:
    """A program for certain shapes, ready to run on a device (`symnet.compile.backend.Specialisation`).

    Several threads may be in one; they take turns.
    """

    def __init__(
        self,
        program: Program,
        device: Device,
        pattern: Pattern,
        arguments: int,
        profiled: bool = False,
        printer: Printer | None = None,
        require: Callable[[Program], None] | None = None,
    ) -> None:
        """`require` is told the program when its memory is planned, and refuses what has no room."""
        self.program = program
        self.device = device
        self.pattern = pattern
        self.profiled = profiled
        self.plan = plan(program, device.machine, profiled, printer)
        self.table = self.plan.table
        program.arena_bytes = self.plan.ordered.arena_bytes
        if require is not None:
            require(program)
        self.code = compiled(self.plan.texts, self.plan.names, device.machine)
        #: What host steps raise goes straight to the caller.
        self.host = HostCalls(())
        self.calls = 0
        self.told = False
        self.transfers = Transfers()
        self._lock = new_lock(FUNCTION)
        self._arguments = arguments
        self._result_axes = result_axes(program, self.table)
        self.can_be_quick = not (None in self._result_axes or program.replaced or program.host_steps)
        self._host_steps = program.host_steps
        self._constants = [
            buffer
            for buffer in dict.fromkeys(buffer for place in self.plan.places for buffer in place.buffers)
            if buffer.kind == "constant"
        ]
        self.functions = device.load(self.code.codes)
        self.desk = Desk(self.plan, arguments, device)
        self.arena = device.allocate(max(ALIGNMENT, program.arena_bytes))
        self._places = self._upload_constants()
        self._many: ManyCalls | None = None
        self._graphs: list[Graph] = []
        self._nodes: list[list[Node]] = []
        #: The shared variables' memory that the graphs were made for.
        self._made_for: list[Memory] | None = None
        self._clocks = [0] * (2 + len(program.calls))
        self._call_numbers = {
            number: place
            for place, number in enumerate(
                number
                for number, step in enumerate(program.steps)
                if isinstance(step, KernelCall | ContractionCall)
            )
        }

    # --- memory --------------------------------------------------------------------------------

    def _upload_constants(self) -> dict[Buffer, Pointer]:
        """Put constants in the device's memory: where each is."""
        found: dict[Buffer, Pointer] = {}
        end = sum(bytes_of(buffer) for buffer in self._constants)
        memory = self.device.allocate(max(ALIGNMENT, end))
        offset = 0
        for buffer in self._constants:
            data = np.ascontiguousarray(buffer.source.data)
            found[buffer] = Pointer(memory, offset, buffer.dtype, max(1, buffer.capacity))
            if data.nbytes:
                self.device.upload(memory, offset, data)
            offset += bytes_of(buffer)
        return found

    def _pointer(self, buffer: Buffer, shared: Sequence[Memory]) -> Pointer:
        if buffer.kind == "arena":
            assert buffer.offset is not None
            return Pointer(self.arena, buffer.offset, buffer.dtype, max(1, buffer.capacity))
        if buffer.kind == "constant":
            return self._places[buffer]
        if buffer.kind == "input" and buffer.source >= self._arguments:
            memory = shared[buffer.source - self._arguments]
            # An axis that changes may be shorter than it has room for.
            count = min(max(1, buffer.capacity), memory.bytes // ITEM_BYTES[buffer.dtype])
            return Pointer(memory, 0, buffer.dtype, count)
        return self.desk.pointer(buffer)

    # --- graphs --------------------------------------------------------------------------------

    def _launch(self, place: Place, shared: Sequence[Memory], after: Sequence[int]) -> Launch:
        pointers = [self._pointer(buffer, shared) for buffer in place.buffers]
        return Launch(
            self.functions[place.kernel],
            sum(work.body.blocks for work in place.group.works),
            (*pointers, self.desk.slots_pointer, self.desk.state_pointer),
            tuple(after),
        )

    def _launches(self, number: int, shared: Sequence[Memory], before: Sequence[Node]) -> list[Node]:
        """The kernels of one part, which wait for the nodes before them."""
        nodes: list[Node] = []
        roots = tuple(range(len(before)))
        node_of: dict[int, int] = {}
        for position, place in enumerate(self.plan.places):
            if place.group.segment == number:
                after = [node_of[each] for each in place.group.after] or roots
                node_of[position] = len(before) + len(nodes)
                nodes.append(self._launch(place, shared, after))
        return nodes

    def _segment(self, number: int, last: bool, shared: Sequence[Memory]) -> list[Node]:
        """The nodes of one part: those between two host steps."""
        desk = self.desk
        nodes: list[Node] = []
        if number == 0:
            nodes.append(Copy(True, desk.host, desk.memory, *desk.inward, ()))
        nodes += self._launches(number, shared, nodes)
        waited = {each for node in nodes for each in node.after}
        ends = tuple(each for each in range(len(nodes)) if each not in waited)
        nodes.append(Copy(False, desk.host, desk.memory, *(desk.outward if last else desk.known), ends))
        return nodes

    def _have_graphs(self, shared: Sequence[Memory]) -> None:
        """Set up the graphs, if they are not there for such memory."""
        made_for = self._made_for
        if made_for is not None and all(
            mine is given for mine, given in zip(made_for, shared, strict=True)
        ):
            return
        count = 1 + len(self._host_steps)
        # The old graphs go first: they hold memory.
        self._graphs, self._nodes, self._made_for = [], [], None
        nodes = [self._segment(number, number == count - 1, shared) for number in range(count)]
        if self.profiled:
            self._nodes = nodes
        else:
            self._graphs = [self.device.graph(each) for each in nodes]
        self._made_for = list(shared)

    def let_go(self) -> None:
        """Drop the graphs, which hold memory that shared variables may have left; the next run makes them
        anew. Nothing is done while a run is under way."""
        if self._lock.acquire(blocking=False):
            try:
                self._graphs, self._nodes, self._made_for = [], [], None
                if self._many is not None:
                    self._many.let_go()
            finally:
                self._lock.release()

    # --- running -------------------------------------------------------------------------------

    def run(self, values: Sequence[Array], shared: Sequence[DeviceArray]) -> Outcome:
        """Run it: the code, the status words, and the results when the code is 0."""
        with self._lock:
            memory = [each.memory for each in shared]
            self._have_graphs(memory)
            shapes = [*(each.shape for each in values), *(each.shape for each in shared)]
            self._write(values, shapes)
            for number in range(1 + len(self._host_steps)):
                self._run_segment(number)
                failure = self.desk.failed()
                if failure is not None:
                    return self._failure(*failure, memory)
                if number < len(self._host_steps):
                    self._call_back(self._host_steps[number], values, memory, shapes)
            return DONE, [], self._results(shapes)

    def _write(self, values: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> None:
        """Write a call's arguments and all inputs' lengths on the desk."""
        self.desk.write(values, [shapes[leaf.position][leaf.axis] for leaf in self.table.lengths])

    def _run_segment(self, number: int) -> None:
        """Run a part and wait for it."""
        desk, last = self.desk, number == len(self._host_steps)
        if number == 0:
            start, stop = desk.inward
            self.transfers.count_upload(stop - start)
        if self.profiled:
            self._add_times(number, self.device.time(self._nodes[number]))
        else:
            try:
                self._graphs[number].launch()
            finally:
                # After an interrupt, too: what runs writes to the desk, which the next run begins with.
                self.device.synchronize()
        start, stop = desk.outward if last else desk.known
        self.transfers.count_download(stop - start)

    def _add_times(self, segment: int, times: Sequence[int]) -> None:
        """Count each kernel call's time by the device's clock, copies as the whole's alone."""
        places = [place for place in self.plan.places if place.group.segment == segment]
        nodes = zip(self._nodes[segment], times, strict=True)
        launches = [took for node, took in nodes if isinstance(node, Launch)]
        for place, took in zip(places, launches, strict=True):
            number = self._call_numbers.get(place.group.works[0].step)
            if number is not None:
                self._clocks[2 + number] += took
        self._clocks[1] += sum(times)
        self._clocks[0] += segment == len(self._host_steps)

    def _results(self, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
        return [
            self.desk.result(buffer, tuple(self._size(length, shapes) for length in shape))
            for buffer, shape in self.program.outputs
        ]

    def _size(self, size: dims.Dimension, shapes: Sequence[tuple[int, ...]]) -> int:
        """A length as the run that is done found it."""

        def leaf(found: Any) -> int:
            if isinstance(found, Length):
                return shapes[found.position][found.axis]
            assert isinstance(found, SlotLeaf)
            return int(self.desk.slot_words[self.table.slots.index(found.name)])

        return size if isinstance(size, int) else dims.evaluate(size, leaf)

    # --- failures ------------------------------------------------------------------------------

    def _failure(self, flag: int, code: int, shared: Sequence[Memory]) -> Outcome:
        """What the first failure says of itself; a nest's is found by running that once more, in order."""
        step = self.plan.emitted.flags[flag]
        if not isinstance(self.program.steps[step], KernelCall):
            return code, self.desk.status(), []
        code_in_order, buffers = serial_code(self.plan, step)
        (function,) = self.device.load(code_in_order.codes)
        pointers = [self._pointer(buffer, shared) for buffer in buffers]
        desk = self.desk
        launch = Launch(function, 1, (*pointers, desk.slots_pointer, desk.state_pointer), ())
        copy = Copy(False, desk.host, desk.memory, *desk.known, (0,))
        self.device.graph([launch, copy]).launch()
        self.device.synchronize()
        start, stop = desk.known
        self.transfers.count_download(stop - start)
        if desk.status_words[0] == UNTOLD:
            name = code_in_order.codes[0].name
            raise CudaError(f"kernel {name} finds nothing wrong where the same on many threads does")
        return FAILED, desk.status(), []

    # --- calling back --------------------------------------------------------------------------

    def _call_back(
        self,
        step: HostStep,
        values: Sequence[Array],
        shared: Sequence[Memory],
        shapes: Sequence[tuple[int, ...]],
    ) -> None:
        """Fetch the entries of a host step's views and call it with them."""

        def leaf(found: Any) -> int:
            if isinstance(found, Length):
                return shapes[found.position][found.axis]
            if isinstance(found, SlotLeaf):
                return int(self.desk.slot_words[self.table.slots.index(found.name)])
            if isinstance(found, Argument) and found.position < self._arguments:
                return int(values[found.position].reshape(-1)[found.element or 0])
            if isinstance(found, Argument):
                buffer = next(
                    each
                    for each in self.program.buffers
                    if each.kind == "input" and each.source == found.position
                )
                return int(self._fetch(buffer, shared, found.element or 0, 1)[0])
            view = self.program.computed[found]
            return int(self._fetch(view.buffer, shared, dims.evaluate(view.offset, leaf), 1)[0])

        arrays = []
        for view in step.views:
            sizes = [[dims.evaluate(each, leaf) for each in part] for part in (view.shape, view.strides)]
            arrays.append(self._entries(view, shared, dims.evaluate(view.offset, leaf), *sizes))
        step.action(arrays)

    def _fetch(self, buffer: Buffer, shared: Sequence[Memory], start: int, count: int) -> Array:
        """Entries of a buffer, copied from the device; of an argument or result, too."""
        pointer = self._pointer(buffer, shared)
        array: Array = np.empty(count, dtype=buffer.dtype)
        self.device.download(pointer.memory, pointer.offset + start * array.itemsize, array)
        self.transfers.count_download(array.nbytes)
        return array

    def _entries(
        self,
        view: View,
        shared: Sequence[Memory],
        offset: int,
        shape: Sequence[int],
        strides: Sequence[int],
    ) -> Array:
        dtype = np.dtype(view.buffer.dtype)
        if 0 in shape:
            return np.zeros(shape, dtype)
        # An entry may lie before the first one: strides may be negative.
        reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
        before = -sum(each for each in reach if each < 0)
        count = before + sum(each for each in reach if each > 0) + 1
        memory = self._fetch(view.buffer, shared, offset - before, count)
        array: Array = np.ndarray(
            tuple(shape),
            dtype,
            memory,
            before * dtype.itemsize,
            tuple(stride * dtype.itemsize for stride in strides),
        )
        array.flags.writeable = False
        return array

    # --- what people look at -------------------------------------------------------------------

    @property
    def kernels(self) -> list[Kernel]:
        """The program's kernels, with the code that does their work."""
        codes: dict[str, dict[int, Code]] = {}
        blocks: dict[str, int] = {}
        for place in self.plan.places:
            for work in place.group.works:
                if work.step not in self._call_numbers:
                    continue
                step = self.program.steps[work.step]
                assert isinstance(step, KernelCall | ContractionCall)
                name = step.name if isinstance(step, ContractionCall) else step.kernel.name
                codes.setdefault(name, {})[place.kernel] = self.code.codes[place.kernel]
                blocks[name] = blocks.get(name, 0) + work.body.blocks
        found: list[Kernel] = []
        for calls in self.program.by_kernel:
            name = Kernel(calls).name
            found.append(CudaKernel(calls, list(codes.get(name, {}).values()), blocks.get(name, 0)))
        return found

    @property
    def report(self) -> dict[str, Any]:
        """How its code came about, how many kernels run, and what was copied."""
        return {
            "cache": self.code.how,
            "seconds": self.code.seconds,
            "launches": len(self.plan.places),
            "gpu": self.device.name,
            "transfers": self.transfers,
        }

    def result_shapes(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The shapes of the results for inputs of such shapes, where they can be quick."""
        return result_shapes(self._result_axes, shapes)

    def sizes(self) -> Callable[[str], int]:
        """The sizes that the last run found, by slot."""
        with self._lock:
            return dict(zip(self.plan.emitted.slots, self.desk.slot_words.tolist(), strict=True)).__getitem__

    def clocks(self) -> list[int]:
        """What a profiled one added up: its calls, its nanoseconds, and those of each kernel call."""
        return list(self._clocks) if self.profiled else []

    def have_lease(self) -> None:
        """Calls take turns: they find what they need."""

    def run_many(
        self,
        columns: Sequence[Column],
        shared: Sequence[DeviceArray],
        results: Sequence[Array],
        first: int,
        last: int,
    ) -> int:
        """Run calls `first` to `last`, or the first of them; how many were done before one that failed."""
        firsts = [each.first for each in columns]
        shapes = [*(each.shape for each in firsts), *(each.shape for each in shared)]
        made = self.result_shapes(shapes)
        if self.profiled or any(
            each.shape[1:] != shape for each, shape in zip(results, made, strict=True)
        ):
            return 0
        with self._lock:
            memory = [each.memory for each in shared]
            if self._many is None:
                used = list(self.desk.arguments.values())
                outputs = [buffer for buffer, _ in self.program.outputs]
                self._many = ManyCalls(self.plan, self.device, used, outputs)
            given = [columns[position] for position in self.desk.arguments]
            count = min(last - first, self._many.most([each.first for each in given], made))
            self._write(firsts, shapes)
            nodes = self._launches(0, memory, ())
            return self._many.run(
                count,
                [each.stacked(count) for each in given],
                made,
                [each[first : first + count] for each in results],
                *(self.desk, memory, nodes, self.transfers),
            )
