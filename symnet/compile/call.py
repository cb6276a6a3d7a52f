"""The call: takes argument arrays, finds or makes the specialisation for them, runs it, hands on results.

Specialisations are tried from the most specific: one made for exactly these shapes, then those whose
axes are found at run time. A call leases an arena, so several threads may be in one function.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.compile.arrange import arrange
from symnet.compile.debug import tell_kernels
from symnet.compile.host import HostCalls
from symnet.compile.locks import FUNCTION, Locks, new_lock
from symnet.compile.lower import Checker, lower
from symnet.compile.plan import STATUS_WORDS, FreeLeases, ListedLeases, lease_words
from symnet.compile.program import (
    ALIGNMENT,
    Buffer,
    ContractionCall,
    GuardStep,
    KernelCall,
    Program,
    Table,
    table_of,
)
from symnet.compile.shared import SharedVariable
from symnet.compile.specialise import AxisKey, Length, SlotLeaf, Specialiser, leaves_of
from symnet.compile.target import CPU, Target
from symnet.errors import SymnetError
from symnet.graph import dims
from symnet.graph.function_graph import FunctionGraph

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
#: Shapes whose specialisations are remembered; beyond, they are looked up anew.
_MOST_SHAPES = 1024

#: What a backend gives the call: it makes a program's entry, with `address`, `pool` and `report`.
Load = Callable[[Program, Table], Any]


class Kernel:
    """One kernel of a compiled function, which may run several times at other places.

    Attributes
    ----------
    name
        Its name in the object code.
    nodes
        The applications of ops that it covers.
    lines
        The user's lines that wrote them.
    calls
        Where the program runs it.
    """

    def __init__(self, calls: Sequence[KernelCall | ContractionCall]) -> None:
        first = calls[0]
        self.calls = tuple(calls)
        self.nodes = tuple(dict.fromkeys(node for call in calls for node in call.nodes))
        self.nest = first.plain if isinstance(first, ContractionCall) else first.kernel
        #: The product or convolution that it is; None for a loop nest.
        self.contraction = first.contraction if isinstance(first, ContractionCall) else None
        self.name = self.nest.name
        self.lines = list(dict.fromkeys(node.source for node in self.nodes if node.source is not None))

    @property
    def source(self) -> str:
        """The kernel as Numba source."""
        from symnet.compile.print_numba import print_nest

        return print_nest(self.nest)

    def __repr__(self) -> str:
        return f"<kernel {self.name}: {len(self.nodes)} nodes>"


class _Lease:
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
    """A program for certain shapes, ready to run.

    Attributes
    ----------
    pattern
        For each input the lengths that it is made for; -1 stands for any.
    """

    def __init__(
        self,
        program: Program,
        table: Table,
        load: Load,
        pattern: tuple[tuple[int, ...], ...],
        arguments: int,
    ) -> None:
        self.program = program
        self.table = table
        self.pattern = pattern
        self.constants = {
            buffer: np.require(buffer.source.data, requirements=["C", "A"])
            for buffer in table.pointers
            if buffer.kind == "constant"
        }
        self.loaded = load(program, table)
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
        self.result_axes = [self._axes(shape) for _, shape in program.outputs]
        #: Whether what a call gives and replaces is known before it runs, and no Python is in it.
        self.can_be_quick = not (None in self.result_axes or program.replaced or program.host_steps)
        self.lease_words = lease_words(table.words, arguments, len(program.outputs))
        self._leases: dict[int, _Lease] = {}
        self.free: FreeLeases = ListedLeases()
        self.calls = 0
        self.told = False

    def _axes(self, shape: Sequence[dims.Dimension]) -> tuple[int | Length, ...] | None:
        axes: list[int | Length] = []
        for length in shape:
            found = _leaf(length)
            if isinstance(found, SlotLeaf):
                found = _leaf(self.program.slots[found.name].definition)
            if not isinstance(found, int) and found not in self.table.lengths:
                return None
            axes.append(found)
        return tuple(axes)

    def result_shapes(self, arrays: Sequence[np.ndarray[Any, Any]]) -> list[tuple[int, ...]]:
        """The shapes of the results for such inputs, where they can be quick."""
        return [
            tuple(n if isinstance(n, int) else arrays[n.position].shape[n.axis] for n in axes or ())
            for axes in self.result_axes
        ]

    def lease(self) -> _Lease:
        """An arena that no other call uses."""
        address = self.free.take()
        if address:
            return self._leases[address]
        return self._new_lease()

    def _new_lease(self) -> _Lease:
        lease = _Lease(self)
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

    def give_back(self, lease: _Lease) -> None:
        """Let the next call have the arena."""
        self.free.give(lease.address)

    def run(
        self, arrays: Sequence[np.ndarray[Any, Any]]
    ) -> tuple[int, list[int], list[np.ndarray[Any, Any]]]:
        """Run the entry: its code, the status words, and the results when the code is 0."""
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
            return 0, [], [
                self._fitted(array, shape, words)
                for array, (_, shape) in zip(results, self.program.outputs, strict=True)
            ]
        finally:
            self.give_back(lease)

    def run_many(
        self,
        launcher: Any,
        arrays: Sequence[np.ndarray[Any, Any]],
        columns: Sequence[np.ndarray[Any, Any]],
        results: Sequence[np.ndarray[Any, Any]],
        first: int,
        last: int,
    ) -> int:
        """Run the entry for calls `first` to `last`; how many returned 0 before one that did not."""
        shapes = self.result_shapes(arrays)
        if any(each.shape[1:] != shape for each, shape in zip(results, shapes, strict=True)):
            return 0
        moved = [(word, columns[position]) for word, position in self.inputs if position < len(columns)]
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

    def fill(self, words: Any, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
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


class CompiledExecutor:
    """Runs a rewritten graph by compiled code; its programs are lowered for a target."""

    def __init__(
        self,
        graph: FunctionGraph,
        arguments: int,
        outputs: int,
        updates: list[SharedVariable],
        name: str | None,
        load: Load,
        find_launcher: Callable[[], Any],
        profiled: bool = False,
        checker: Checker | None = None,
        target: Target = CPU,
    ) -> None:
        self.graph = graph
        self._load = load
        self._find_launcher = find_launcher
        self.arguments = arguments
        self.outputs = outputs
        self.updates = updates
        self.name = name
        self.profiled = profiled
        self._checker = checker
        self._target = target
        self.shared = [each for each in graph.inputs[arguments:] if isinstance(each, SharedVariable)]
        containers = {each.container for each in self.shared}
        self._locked = sorted(containers, key=lambda each: each.order)
        self._locks = Locks([each.lock for each in self._locked])
        self._updated = [each.container for each in updates]
        self._by_shapes: dict[tuple[tuple[int, ...], ...], list[Specialisation]] = {}
        self._kept: list[tuple[Any, Specialisation]] = []
        self._dynamic: set[AxisKey] = set()
        self._capacities: dict[AxisKey, int] = {}
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._latest: Specialisation | None = None
        self._compiling = new_lock(FUNCTION)
        self._count = 0
        #: Gives whom to tell that a specialisation is called again: all of them, and the launcher.
        self.on_second_call: Callable[[], Callable[[list[Specialisation], Any], None] | None] = _nobody

    # --- what people look at -------------------------------------------------------------------

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels of the latest specialisation."""
        return [] if self._latest is None else [Kernel(c) for c in self._latest.program.by_kernel]

    @property
    def report(self) -> dict[str, Any]:
        """Specialisations, arena, cache."""
        found: dict[str, Any] = {"specialisations": self._count}
        if self._latest is not None:
            found["arena_bytes"] = self._latest.program.arena_bytes
            found["kernels"] = len(self._latest.program.by_kernel)
            found.update(self._latest.loaded.report)
        return found

    @property
    def specialisations(self) -> list[Specialisation]:
        """All that were made, the oldest first."""
        return [each for _, each in self._kept]

    # --- running -------------------------------------------------------------------------------

    def run(self, values: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The results for argument arrays; shared variables are updated."""
        with self._locks:
            arrays = [*self._apart(values), *(each.container.array for each in self.shared)]
            shapes = tuple(array.shape for array in arrays)
            tried: set[int] = set()
            while True:
                chosen = self._choose(shapes, arrays, tried)
                code, status, results = chosen.run(arrays)
                if code == 0:
                    self._note_call(chosen)
                    return self._publish(chosen, results)
                if code == 1:
                    raise self._failure(chosen, status, arrays)
                if code == 4:
                    raise chosen.host.take_error()
                tried.add(id(chosen))
                if self._learn(chosen, code, status, arrays):
                    known = self._by_shapes.get(shapes, ())
                    self._by_shapes[shapes] = [each for each in known if each is not chosen]

    def _note_call(self, chosen: Specialisation) -> None:
        """The second call of a specialisation makes calls quick: for a single one that would not pay."""
        chosen.calls += 1
        if chosen.calls < 2 or chosen.told or not chosen.can_be_quick:
            return
        with self._compiling:
            chosen.told = True
            tell, launcher = self.on_second_call(), self._find_launcher()
            if tell is not None and launcher is not None:
                tell([each for _, each in self._kept], launcher)

    def run_many(
        self,
        values: Sequence[np.ndarray[Any, Any]],
        columns: Sequence[np.ndarray[Any, Any]],
        memory: Sequence[np.ndarray[Any, Any]],
        results: Sequence[np.ndarray[Any, Any]],
        first: int,
        last: int,
    ) -> int:
        """Calls number `first` to `last`, of many, in one loop; how many of them were done.

        It stops early, with nothing done by that call, where a call needs more than the loop does.

        Parameters
        ----------
        values
            The arguments of the first call. Those of the others have the same shapes.
        columns
            For each argument the addresses of its values in these calls.
        memory
            The arrays in which those values lie.
        results
            For each result the array that takes it from each of the many calls, along its first axis.
        """
        launcher = self._find_launcher()
        if launcher is None:
            return 0
        with self._locks:
            written = [each.array for each in self._updated if each.lent]
            if any(np.may_share_memory(array, value) for array in written for value in memory):
                return 0
            chosen = self._known(values)
            if chosen is None:
                return 0
            arrays = [*values, *(each.container.array for each in self.shared)]
            done = chosen.run_many(launcher, arrays, columns, results, first, last)
            for container in self._updated:
                container.version += done
            return done

    def kinds_of_results(
        self, values: Sequence[np.ndarray[Any, Any]]
    ) -> list[tuple[tuple[int, ...], str]] | None:
        """The shapes and dtypes that arguments of such shapes give, as far as earlier calls tell."""
        chosen = self._known(values)
        if chosen is None:
            return None
        arrays = [*values, *(each.container.array for each in self.shared)]
        dtypes = [buffer.dtype for buffer, _ in chosen.program.outputs]
        return list(zip(chosen.result_shapes(arrays), dtypes, strict=True))

    def _known(self, values: Sequence[np.ndarray[Any, Any]]) -> Specialisation | None:
        """The specialisation that comes first for such arguments; None unless it can be quick."""
        arrays = [*values, *(each.container.array for each in self.shared)]
        known = self._by_shapes.get(tuple(array.shape for array in arrays))
        return known[0] if known and known[0].can_be_quick else None

    def make_way(self) -> None:
        """Wait until nobody is in the way of a quick call that found somebody there."""
        if self.updates:
            for container in self._locked:
                with container.lock:
                    pass
            return
        # Calls that update nothing run at once, each with a lease.
        for _, each in self._kept:
            each.have_lease()
        for container in self._locked:
            container.lock.wait_for_updates()

    def _apart(self, values: Sequence[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
        """The arguments, copied where one is a shared variable's own array that this call writes to."""
        written = [each.array for each in self._updated if each.lent]
        if not written:
            return values
        return [
            value.copy() if any(np.may_share_memory(value, array) for array in written) else value
            for value in values
        ]

    def _choose(
        self,
        shapes: tuple[tuple[int, ...], ...],
        arrays: Sequence[np.ndarray[Any, Any]],
        tried: set[int],
    ) -> Specialisation:
        for each in self._by_shapes.get(shapes, ()):
            if id(each) not in tried:
                return each
        with self._compiling:
            known = self._by_shapes.get(shapes)
            if known is None:
                self._note_lengths(shapes)
                known = self._fitting(shapes)
            for each in known:
                if id(each) not in tried:
                    return each
            made = self._specialise(arrays, shapes)
            # It may serve other shapes, too: what is known of them is found anew, in the order of making.
            self._by_shapes.clear()
            self._fitting(shapes)
            return made

    def _fitting(self, shapes: tuple[tuple[int, ...], ...]) -> list[Specialisation]:
        """The specialisations for shapes, in the order in which they were made; remembered."""
        known = [each for (pattern, *_), each in self._kept if _fits(shapes, pattern)]
        if len(self._by_shapes) >= _MOST_SHAPES:
            self._by_shapes.clear()
        self._by_shapes[shapes] = known
        return known

    def _note_lengths(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """An axis that comes with a second length is found at run time from now on."""
        if self._seen is not None:
            for position, (old, new) in enumerate(zip(self._seen, shapes, strict=True)):
                for axis, (before, now) in enumerate(zip(old, new, strict=True)):
                    if before != now:
                        self._dynamic.add(("input", position, axis))
        self._seen = shapes

    def _specialise(
        self, arrays: Sequence[np.ndarray[Any, Any]], shapes: tuple[tuple[int, ...], ...]
    ) -> Specialisation:
        sizes = Specialiser(self.graph, arrays, set(self._dynamic), self._capacities).run()
        for slot in sizes.slots.values():
            # A shorter length comes later: what is made now is to serve it, too.
            if slot.key is not None:
                self._capacities[slot.key] = max(slot.capacity, self._capacities.get(slot.key, 0))
        dynamic = tuple(
            tuple(-1 if ("input", p, a) in self._dynamic else n for a, n in enumerate(shape))
            for p, shape in enumerate(shapes)
        )
        capacities = tuple(sorted((s.name, s.capacity) for s in sizes.slots.values()))
        guards = tuple((guard.key, guard.literal) for guard in sizes.guards)
        for key, each in self._kept:
            if key == (dynamic, capacities, guards):
                return each
        name = _identifier(self.name)
        program = lower(
            self.graph, self.arguments, self.outputs, self.updates, sizes, name, self._checker, self._target
        )
        arrange(program, self._target)
        made = Specialisation(program, table_of(program, self.profiled), self._load, dynamic, self.arguments)
        self._kept.append(((dynamic, capacities, guards), made))
        self._count += 1
        self._latest = made
        tell_kernels(self.name, self.kernels, self.report)
        return made

    def _learn(
        self,
        chosen: Specialisation,
        code: int,
        status: list[int],
        arrays: Sequence[np.ndarray[Any, Any]],
    ) -> bool:
        """From a guard that failed or a size above its capacity: which axes slots are for, and how large.

        Whether that follows from lengths alone, so that it will be so for these shapes always.
        """
        slots = chosen.program.slots
        found: list[dims.Dimension] = []
        with self._compiling:
            if code == 2:
                # The entry left at the first guard that failed; the others that do cost nothing now.
                now = Specialiser(self.graph, arrays, set(), {}, slots)
                for step in chosen.program.steps:
                    if isinstance(step, GuardStep) and now.concrete(step.expression) != step.literal:
                        found.append(step.expression)
                        self._dynamic.add(step.key)
                        self._capacities[step.key] = max(step.literal, self._capacities.get(step.key, 1))
            else:
                first = chosen.table.slot(chosen.table.slots[0])
                slot = slots[chosen.table.slots[status[0] - first]]
                assert slot.key is not None
                found.append(slot.definition)
                needed = 1 << max(0, int(status[1]) - 1).bit_length()
                self._capacities[slot.key] = max(needed, self._capacities.get(slot.key, 0))
        return any(
            all(isinstance(leaf, Length) for leaf in leaves_of(each, slots)) for each in found
        )

    def _publish(
        self, chosen: Specialisation, results: list[np.ndarray[Any, Any]]
    ) -> list[np.ndarray[Any, Any]]:
        for container in self._updated:
            container.version += 1
        if chosen.program.replaced:
            for position, result in chosen.program.replaced:
                self.shared[position - self.arguments].container.replace(results[result])
        return results[: self.outputs]

    def _failure(
        self, chosen: Specialisation, status: list[int], arrays: Sequence[np.ndarray[Any, Any]]
    ) -> SymnetError:
        if chosen.program.slots:
            # Specialised to this call's shapes alone, a mismatch is found early and told with them.
            try:
                Specialiser(self.graph, arrays, set(), self._capacities).run()
            except SymnetError as error:
                return error
        site = chosen.program.sites[status[0]]
        return site.kind(site.message.format(*status[1:]), list(site.operands), site.node.source)


def _leaf(size: dims.Dimension) -> Any:
    """The length or the leaf that a size is; None where it is computed."""
    if isinstance(size, dims.Size):
        return size.arguments[0] if size.function == "leaf" else None
    return size


def _nobody() -> None:
    return None


def _fits(shapes: tuple[tuple[int, ...], ...], pattern: tuple[tuple[int, ...], ...]) -> bool:
    """Whether shapes are those that a specialisation was made for; -1 stands for any length."""
    return all(
        want in (-1, have)
        for lengths, wanted in zip(shapes, pattern, strict=True)
        for have, want in zip(lengths, wanted, strict=True)
    )


def _identifier(name: str | None) -> str:
    cleaned = "".join(c if c.isalnum() and c.isascii() else "_" for c in name or "function")
    return cleaned if cleaned[:1].isalpha() else f"f_{cleaned}"


