"""The call: takes argument arrays, finds or makes the specialisation for them, runs it, hands on results.

Specialisations are tried from the most specific: one made for exactly these shapes, then those whose
axes are found at run time. What runs them is a backend's (`symnet.compile.backend`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.compile.arrange import arrange
from symnet.compile.backend import (
    DONE,
    FAILED,
    GUARD_FAILED,
    HOST_FAILED,
    Backend,
    Column,
    Pattern,
    Specialisation,
)
from symnet.compile.container import Container
from symnet.compile.debug import tell_kernels
from symnet.compile.kernel import Kernel
from symnet.compile.locks import FUNCTION, Locks, new_lock
from symnet.compile.lower import Checker, lower
from symnet.compile.program import GuardStep, Program
from symnet.compile.shared import SharedVariable
from symnet.compile.specialise import AxisKey, Length, Sizes, Specialiser, leaves_of
from symnet.compile.target import Target
from symnet.errors import SymnetError
from symnet.graph import dims
from symnet.graph.function_graph import FunctionGraph

#: Shapes whose specialisations are remembered; beyond, they are looked up anew.
_MOST_SHAPES = 1024

#: An input: an argument's array, or the container of a shared variable.
Input = np.ndarray[Any, Any] | Container


class CompiledExecutor:
    """Runs a rewritten graph by compiled code; its programs are made and run by a backend."""

    def __init__(
        self,
        graph: FunctionGraph,
        arguments: int,
        outputs: int,
        updates: list[SharedVariable],
        name: str | None,
        backend: Backend,
        profiled: bool = False,
        checker: Checker | None = None,
    ) -> None:
        self.graph = graph
        self.backend = backend
        self.arguments = arguments
        self.outputs = outputs
        self.updates = updates
        self.name = name
        self.profiled = profiled
        self._checker = checker
        self.shared = [each for each in graph.inputs[arguments:] if isinstance(each, SharedVariable)]
        self._containers = [each.container for each in self.shared]
        self._locked = sorted(set(self._containers), key=lambda each: each.order)
        self._locks = Locks([each.lock for each in self._locked])
        self._updated = [each.container for each in updates]
        #: What is asked of the backend for each shared variable: its container, whether it is updated.
        self._holdings = [(each, each in self._updated) for each in self._containers]
        self._by_shapes: dict[tuple[tuple[int, ...], ...], list[Specialisation]] = {}
        self._kept: list[tuple[Any, Specialisation]] = []
        self._dynamic: set[AxisKey] = set()
        self._capacities: dict[AxisKey, int] = {}
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._latest: Specialisation | None = None
        self._compiling = new_lock(FUNCTION)
        self._count = 0
        #: Gives whom to tell that a specialisation is called again: all of them, and the launcher.
        self.on_second_call: Callable[[], Callable[[list[Any], Any], None] | None] = _nobody

    # --- what people look at -------------------------------------------------------------------

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels of the latest specialisation."""
        return [] if self._latest is None else self._latest.kernels

    @property
    def report(self) -> dict[str, Any]:
        """Specialisations, arena, cache."""
        found: dict[str, Any] = {"specialisations": self._count}
        if self._latest is not None:
            found["arena_bytes"] = self._latest.program.arena_bytes
            found["kernels"] = len(self._latest.program.by_kernel)
            found.update(self._latest.report)
            found.update(self.backend.facts(self.specialisations, self._locked))
        return found

    @property
    def specialisations(self) -> list[Specialisation]:
        """All that were made, the oldest first."""
        return [each for _, each in self._kept]

    # --- running -------------------------------------------------------------------------------

    def run(self, values: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The results for argument arrays; shared variables are updated."""
        with self._locks:
            values = self._apart(values)
            inputs: list[Input] = [*values, *self._containers]
            shapes = tuple(each.shape for each in inputs)
            tried: set[int] = set()
            while True:
                chosen = self._choose(shapes, inputs, tried)
                code, status, results = chosen.run(values, self._held())
                if code == DONE:
                    self._note_call(chosen)
                    return self._publish(chosen, results)
                if code == FAILED:
                    raise self._failure(chosen, status, inputs)
                if code == HOST_FAILED:
                    raise chosen.host.take_error()
                tried.add(id(chosen))
                if self._learn(chosen, code, status, inputs):
                    known = self._by_shapes.get(shapes, ())
                    self._by_shapes[shapes] = [each for each in known if each is not chosen]

    def _note_call(self, chosen: Specialisation) -> None:
        """The second call of a specialisation makes calls quick: for a single one that would not pay."""
        chosen.calls += 1
        if chosen.calls < 2 or chosen.told or not chosen.can_be_quick:
            return
        with self._compiling:
            chosen.told = True
            tell, launcher = self.on_second_call(), self.backend.launcher()
            if tell is not None and launcher is not None:
                tell([each for _, each in self._kept], launcher)

    def run_many(
        self,
        columns: Sequence[Column],
        memory: Sequence[np.ndarray[Any, Any]],
        results: Sequence[np.ndarray[Any, Any]],
        first: int,
        last: int,
    ) -> int:
        """Calls number `first` to `last`, of many, in one loop; how many of them were done.

        It stops early, with nothing done by that call, where a call needs more than the loop does.

        Parameters
        ----------
        columns
            What these calls are given for each argument: values of one shape.
        memory
            The arrays in which they lie.
        results
            For each result the array that takes it from each of the many calls, along its first axis.
        """
        with self._locks:
            written = [each.array for each in self._updated if each.lent]
            if any(np.may_share_memory(array, value) for array in written for value in memory):
                return 0
            chosen = self._known([each.first for each in columns])
            if chosen is None:
                return 0
            done = chosen.run_many(columns, self._held(), results, first, last)
            for container in self._updated:
                self.backend.count_updates(container, done)
            return done

    def kinds_of_results(
        self, values: Sequence[np.ndarray[Any, Any]]
    ) -> list[tuple[tuple[int, ...], str]] | None:
        """The shapes and dtypes that arguments of such shapes give, as far as earlier calls tell."""
        chosen = self._known(values)
        if chosen is None:
            return None
        dtypes = [buffer.dtype for buffer, _ in chosen.program.outputs]
        inputs: list[Input] = [*values, *self._containers]
        return list(zip(chosen.result_shapes([each.shape for each in inputs]), dtypes, strict=True))

    def _known(self, values: Sequence[np.ndarray[Any, Any]]) -> Specialisation | None:
        """The specialisation that comes first for such arguments; None unless it can be quick."""
        inputs: list[Input] = [*values, *self._containers]
        known = self._by_shapes.get(tuple(each.shape for each in inputs))
        return known[0] if known and known[0].can_be_quick else None

    def _held(self) -> list[Any]:
        """The shared variables' values, where the backend's runs find them."""
        return [self.backend.hold(*each) for each in self._holdings]

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
        inputs: Sequence[Input],
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
            made = self._specialise(inputs, shapes)
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

    def _specialise(self, inputs: Sequence[Input], shapes: tuple[tuple[int, ...], ...]) -> Specialisation:
        sizes = Specialiser(self.graph, inputs, set(self._dynamic), self._capacities).run()
        for slot in sizes.slots.values():
            # A shorter length comes later: what is made now is to serve it, too.
            if slot.key is not None:
                self._capacities[slot.key] = max(slot.capacity, self._capacities.get(slot.key, 0))
        dynamic: Pattern = tuple(
            tuple(-1 if ("input", p, a) in self._dynamic else n for a, n in enumerate(shape))
            for p, shape in enumerate(shapes)
        )
        capacities = tuple(sorted((s.name, s.capacity) for s in sizes.slots.values()))
        guards = tuple((guard.key, guard.literal) for guard in sizes.guards)
        for key, each in self._kept:
            if key == (dynamic, capacities, guards):
                return each
        program = program_for(
            *(self.graph, self.arguments, self.outputs, self.updates),
            *(sizes, self.name, self.backend.target, self._checker),
        )
        made = self.backend.make(program, dynamic, self.arguments, self.shared, self.profiled)
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
        inputs: Sequence[Input],
    ) -> bool:
        """From a guard that failed or a size above its capacity: which axes slots are for, and how large.

        Whether that follows from lengths alone, so that it will be so for these shapes always.
        """
        slots = chosen.program.slots
        found: list[dims.Dimension] = []
        with self._compiling:
            if code == GUARD_FAILED:
                # The entry left at the first guard that failed; the others that do cost nothing now.
                now = Specialiser(self.graph, inputs, set(), {}, slots)
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
        return any(all(isinstance(leaf, Length) for leaf in leaves_of(each, slots)) for each in found)

    def _publish(
        self, chosen: Specialisation, results: list[np.ndarray[Any, Any]]
    ) -> list[np.ndarray[Any, Any]]:
        for container in self._updated:
            self.backend.count_updates(container, 1)
        if chosen.program.replaced:
            for position, result in chosen.program.replaced:
                self.shared[position - self.arguments].container.replace(results[result])
        return results[: self.outputs]

    def _failure(self, chosen: Specialisation, status: list[int], inputs: Sequence[Input]) -> SymnetError:
        if chosen.program.slots:
            # Specialised to this call's shapes alone, a mismatch is found early and told with them.
            try:
                Specialiser(self.graph, inputs, set(), self._capacities).run()
            except SymnetError as error:
                return error
        site = chosen.program.sites[status[0]]
        return site.kind(site.message.format(*status[1:]), list(site.operands), site.node.source)


def program_for(
    graph: FunctionGraph,
    arguments: int,
    outputs: int,
    updates: list[SharedVariable],
    sizes: Sizes,
    name: str | None,
    target: Target,
    checker: Checker | None = None,
) -> Program:
    """The program of a rewritten graph for such sizes: its kernels, and where everything lies.

    The graph's first `arguments` inputs are a call's, the first `outputs` of its ends are results, the others
    the new values of the shared variables `updates`.
    """
    program = lower(graph, arguments, outputs, updates, sizes, _identifier(name), checker, target)
    arrange(program, target)
    return program


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
