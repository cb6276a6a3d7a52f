"""A program on the CPU: takes it planned, hands on what runs it for arguments and shared variables' arrays.

A run leases an arena, so several threads may be in one specialisation.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.backend.cpu import runtime
from symnet.compile.backend import Column, Outcome, Pattern
from symnet.compile.container import Container
from symnet.compile.host import HostCalls
from symnet.compile.kernel import Kernel
from symnet.compile.plan import STATUS_WORDS, FreeLeases, ListedLeases, lease_words
from symnet.compile.program import ALIGNMENT, Buffer, Program, result_axes, result_shapes, table_of
from symnet.compile.shared import SharedVariable
from symnet.compile.specialise import SlotLeaf
from symnet.compile.target import CPU
from symnet.graph import dims

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)

Arrays = Sequence[np.ndarray[Any, Any]]


class Lease:
    """What one call in flight needs: words (`symnet.compile.plan` says which) and an arena."""

    def __init__(self, specialisation: Specialisation) -> None:
        table = specialisation.table
        self.words = (ctypes.c_int64 * specialisation.lease_words)()
        #: Where the table begins: behind the link to the next free lease.
        self.address = ctypes.addressof(self.words) + 8
        self.table = (ctypes.c_int64 * max(1, table.words)).from_address(self.address)
        self.status = (ctypes.c_int64 * STATUS_WORDS).from_address(self.address + 8 * table.words)
        size = specialisation.program.arena_bytes + ALIGNMENT
        self.memory = np.empty(size, dtype=np.uint8)
        start = self.memory.__array_interface__["data"][0]
        self.table[table.arena] = -(-start // ALIGNMENT) * ALIGNMENT
        self.table[table.pool] = specialisation.loaded.pool
        self.table[table.host] = specialisation.host.address
        for position, buffer in enumerate(table.pointers):
            if buffer.kind == "constant":
                array = specialisation.constants[buffer]
                self.table[position] = array.__array_interface__["data"][0]


class Specialisation:
    """A program for certain shapes, ready to run (`symnet.compile.backend.Specialisation`)."""

    def __init__(self, program: Program, pattern: Pattern, arguments: int, profiled: bool) -> None:
        self.program = program
        self.table = table = table_of(program, profiled)
        self.pattern = pattern
        self.constants = {
            buffer: np.require(buffer.source.data, requirements=["C", "A"])
            for buffer in table.pointers
            if buffer.kind == "constant"
        }
        self.loaded = runtime.load_program(program, table)
        self.entry = _ENTRY(self.loaded.address)
        self.host = HostCalls(program.host_steps)
        self.inputs = [
            (word, buffer.source) for word, buffer in enumerate(table.pointers) if buffer.kind == "input"
        ]
        self.lengths = [(table.length(leaf), leaf) for leaf in table.lengths]
        self.output_words = {
            buffer.source: word for word, buffer in enumerate(table.pointers) if buffer.kind == "output"
        }
        #: For each result its axes: lengths, or whose length each is; None where one is found otherwise.
        self.result_axes = result_axes(program, table)
        #: Whether what a call gives and replaces is known before it runs, and no Python is in it.
        self.can_be_quick = not (None in self.result_axes or program.replaced or program.host_steps)
        self.lease_words = lease_words(table.words, arguments, len(program.outputs))
        self._leases: dict[int, Lease] = {}
        self.free: FreeLeases = ListedLeases()
        self.calls = 0
        self.told = False

    @property
    def kernels(self) -> list[Kernel]:
        """The program's kernels."""
        return [Kernel(calls) for calls in self.program.by_kernel]

    @property
    def report(self) -> dict[str, Any]:
        """How its code came about."""
        return self.loaded.report

    def result_shapes(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The shapes of the results for inputs of such shapes, where they can be quick."""
        return result_shapes(self.result_axes, shapes)

    def lease(self) -> Lease:
        """An arena that no other call uses."""
        address = self.free.take()
        if address:
            return self._leases[address]
        return self._new_lease()

    def _new_lease(self) -> Lease:
        lease = Lease(self)
        self._leases[lease.address] = lease
        return lease

    def lend_to(self, free: FreeLeases) -> None:
        """Keep free leases elsewhere from now on."""
        old, self.free = self.free, free
        while address := old.take():
            free.give(address)

    def have_lease(self) -> None:
        """See to it that quick calls find a lease."""
        if self.calls > 1 and self.free.is_empty():
            self.give_back(self._new_lease())

    def sizes(self) -> Callable[[str], int]:
        """The sizes that the last run found, by slot."""
        lease = self.lease()
        found = {name: int(lease.table[self.table.slot(name)]) for name in self.table.slots}
        self.give_back(lease)
        return found.__getitem__

    def clocks(self) -> list[int]:
        """What a profiled entry added up: its calls, its nanoseconds, and those of each kernel call."""
        table = self.table
        leases = list(self._leases.values())
        return [sum(lease.table[table.clock + n] for lease in leases) for n in range(table.clocks)]

    def give_back(self, lease: Lease) -> None:
        """Let the next call have the arena."""
        self.free.give(lease.address)

    def run(self, values: Arrays, shared: Arrays) -> Outcome:
        """Run the entry: its code, the status words, and the results when the code is 0."""
        arrays = [*values, *shared]
        lease = self.lease()
        try:
            words = lease.table
            self.fill(words, arrays)
            results = []
            for position, (buffer, shape) in enumerate(self.program.outputs):
                array = self._output(buffer, shape)
                words[self.output_words[position]] = array.__array_interface__["data"][0]
                results.append(array)
            code = self.entry(lease.address, ctypes.addressof(lease.status))
            if code:
                return code, list(lease.status), []
            return (
                0,
                [],
                [
                    self._fitted(array, shape, words)
                    for array, (_, shape) in zip(results, self.program.outputs, strict=True)
                ],
            )
        finally:
            self.give_back(lease)

    def run_many(
        self,
        columns: Sequence[Column],
        shared: Arrays,
        results: Arrays,
        first: int,
        last: int,
    ) -> int:
        """Run the entry for calls `first` to `last`; how many returned 0 before one that did not."""
        launcher = runtime.launcher()
        arrays = [*(each.first for each in columns), *shared]
        shapes = self.result_shapes([each.shape for each in arrays])
        if launcher is None or any(
            each.shape[1:] != shape for each, shape in zip(results, shapes, strict=True)
        ):
            return 0
        moved = [
            (word, columns[position].addresses) for word, position in self.inputs if position < len(columns)
        ]
        numbers = np.arange(first, last, dtype=np.int64)
        for position, each in enumerate(results):
            addresses = each.__array_interface__["data"][0] + numbers * (each.nbytes // len(each))
            moved.append((self.output_words[position], addresses))
        words = (ctypes.c_int64 * len(moved))(*(word for word, _ in moved))
        sources = (ctypes.c_int64 * len(moved))(*(c.__array_interface__["data"][0] for _, c in moved))
        lease = self.lease()
        try:
            self.fill(lease.table, arrays)
            reached = launcher.repeat(
                self.loaded.address,
                lease.address,
                ctypes.addressof(lease.status),
                ctypes.addressof(words),
                ctypes.addressof(sources),
                len(moved),
                last - first,
            )
            return int(reached)
        finally:
            self.give_back(lease)

    def fill(self, words: Any, arrays: Arrays) -> None:
        """Write inputs' pointers and lengths into a table."""
        for word, position in self.inputs:
            words[word] = arrays[position].__array_interface__["data"][0]
        for word, leaf in self.lengths:
            words[word] = arrays[leaf.position].shape[leaf.axis]

    @staticmethod
    def _output(buffer: Buffer, shape: Sequence[dims.Dimension]) -> np.ndarray[Any, Any]:
        if all(isinstance(length, int) for length in shape):
            return np.empty(shape, dtype=buffer.dtype)
        return np.empty(max(1, buffer.capacity), dtype=buffer.dtype)

    def _fitted(
        self, array: np.ndarray[Any, Any], shape: Sequence[dims.Dimension], words: Any
    ) -> np.ndarray[Any, Any]:
        """The array in the shape that the run found."""
        if all(isinstance(length, int) for length in shape):
            return array

        def leaf(found: Any) -> int:
            assert isinstance(found, SlotLeaf)
            return int(words[self.table.slot(found.name)])

        exact = tuple(dims.evaluate(length, leaf) for length in shape)
        return array[: int(np.prod(exact, dtype=np.int64))].reshape(exact).copy()


class CpuBackend:
    """The CPU of this machine (`symnet.compile.backend.Backend`)."""

    target = CPU

    def make(
        self,
        program: Program,
        pattern: Pattern,
        arguments: int,
        shared: Sequence[SharedVariable],
        profiled: bool,
    ) -> Specialisation:
        """A specialisation with its code loaded."""
        return Specialisation(program, pattern, arguments, profiled)

    def launcher(self) -> Any:
        """The launcher of this process; None where this Python can't have one."""
        return runtime.launcher()

    def facts(
        self, specialisations: Sequence[Any], containers: Sequence[Container]
    ) -> dict[str, Any]:
        """Nothing else: what there is stands in each specialisation's report."""
        return {}

    def hold(self, container: Container, updated: bool) -> np.ndarray[Any, Any]:
        """A container's array."""
        return container.array

    def count_updates(self, container: Container, count: int) -> None:
        """Note that runs have put new values in place."""
        container.version += count
