"""A Program's steps while they are moved: takes the steps in order, hands on who touches what between which.

Every question and every change takes time by the steps that it is about, not by the length of the program.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from fractions import Fraction

from symnet.compile import nest
from symnet.compile.program import (
    Buffer,
    ContractionCall,
    HostStep,
    KernelCall,
    Program,
    SlotStep,
    Step,
)

#: A step's place: its number in the program as it was; that of one put between two lies between theirs.
Place = Fraction


def used(step: Step) -> set[Buffer]:
    """The buffers that a step reads or writes."""
    if isinstance(step, KernelCall | ContractionCall):
        return set(step.buffers)
    if isinstance(step, HostStep):
        return {view.buffer for view in step.views}
    return set()


def written(step: Step) -> set[Buffer]:
    """The buffers that a step writes."""
    if isinstance(step, ContractionCall):
        epilogue = step.contraction.epilogue
        stores = () if epilogue is None else epilogue.stores
        return {step.buffers[2], *(step.buffers[3 + number] for number, _ in stores)}
    if isinstance(step, KernelCall):
        pairs = zip(step.buffers, step.kernel.buffers, strict=True)
        return {buffer for buffer, parameter in pairs if parameter.written}
    return set()


def can_fail(step: Step) -> bool:
    """Whether a call may end at the step."""
    if isinstance(step, KernelCall):
        return any(isinstance(each, nest.Fail) for each in nest.walk_statements(step.kernel.body))
    return not isinstance(step, ContractionCall)


class Steps:
    """The steps of a program by their places."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._steps: dict[Place, Step] = {}
        self._order: list[Place] = []
        self._users: dict[Buffer, list[Place]] = {}
        self._writers: dict[Buffer, list[Place]] = {}
        self._failing: list[Place] = []
        self._slots: dict[str, Place] = {}
        for number, step in enumerate(program.steps):
            self._add(Place(number), step)

    def _add(self, place: Place, step: Step) -> None:
        self._steps[place] = step
        insort(self._order, place)
        for buffer in used(step):
            insort(self._users.setdefault(buffer, []), place)
        for buffer in written(step):
            insort(self._writers.setdefault(buffer, []), place)
        if can_fail(step):
            insort(self._failing, place)
        if isinstance(step, SlotStep):
            self._slots[step.slot.name] = place

    def __getitem__(self, place: Place) -> Step:
        return self._steps[place]

    def places(self) -> list[Place]:
        """The places of all steps, in order."""
        return list(self._order)

    def users(self, buffer: Buffer, after: Place) -> list[Place]:
        """The steps behind a place that touch a buffer."""
        found = self._users.get(buffer, [])
        return found[bisect_right(found, after) :]

    def places_of(self, buffer: Buffer) -> list[Place]:
        """The steps that touch a buffer, in order."""
        return list(self._users.get(buffer, []))

    def following(self, place: Place) -> Place | None:
        """The step right behind another."""
        number = bisect_right(self._order, place)
        return self._order[number] if number < len(self._order) else None

    def last_user(self, buffers: Iterable[Buffer], after: Place, before: Place) -> Place | None:
        """The last step between two that touches one of the buffers."""
        return _last((self._users.get(buffer, []) for buffer in buffers), after, before)

    def last_writer(self, buffers: Iterable[Buffer], after: Place, before: Place) -> Place | None:
        """The last step between two that writes one of the buffers."""
        return _last((self._writers.get(buffer, []) for buffer in buffers), after, before)

    def last_failing(self, after: Place, before: Place) -> Place | None:
        """The last step between two at which a call may end."""
        return _last([self._failing], after, before)

    def last_slot(self, names: Iterable[str], after: Place, before: Place) -> Place | None:
        """The last step between two that finds one of the slots."""
        return _last(([self._slots[name]] for name in names if name in self._slots), after, before)

    def put(self, step: Step, behind: Place) -> Place:
        """Put a step right behind another."""
        following = bisect_right(self._order, behind)
        after = self._order[following] if following < len(self._order) else behind + 2
        place = (behind + after) / 2
        self._add(place, step)
        return place

    def remove(self, place: Place) -> None:
        """Take a step out."""
        step = self._steps.pop(place)
        del self._order[bisect_left(self._order, place)]
        for buffer in used(step):
            self._users[buffer].remove(place)
        for buffer in written(step):
            self._writers[buffer].remove(place)
        if can_fail(step):
            self._failing.remove(place)

    def may_come_earlier(self, first: Place, second: Place) -> bool:
        """Whether the second of two kernels may run right behind the first."""
        two = self[second]
        assert isinstance(two, KernelCall)
        targets = written(two)
        if self.last_failing(first, second) is not None and (
            any(buffer.kind == "input" for buffer in targets)
            or two.kernel.sizes
            or not follows_from_loops(two.kernel)
        ):
            # What is tested there may be the very indices by which it reads.
            return False
        return (
            self.last_writer(used(two), first, second) is None
            and self.last_user(targets, first, second) is None
            and self.last_slot(two.kernel.sizes, first, second) is None
        )

    def may_come_later(self, first: Place, second: Place) -> bool:
        """Whether the first of two kernels may run right before the second."""
        one = self[first]
        return (
            self.last_writer(used(one), first, second) is None
            and self.last_user(written(one), first, second) is None
        )

    def handed_over(self, first: Place, second: Place) -> set[Buffer]:
        """The buffers that one kernel writes for another alone."""
        sized = self.sized
        return {
            buffer
            for buffer in written(self[first])
            if buffer.kind == "arena" and buffer not in sized and self.places_of(buffer) == [first, second]
        }

    @property
    def sized(self) -> set[Buffer]:
        """The buffers from which sizes are read."""
        return {view.buffer for view in self.program.computed.values()}

    def replace(self, first: Place, second: Place, made: Step, earlier: bool) -> Place:
        """Put a step in the place of two: of the first if `earlier`, else of the second."""
        place = self.put(made, first if earlier else second)
        self.remove(first)
        self.remove(second)
        return place

    def finish(self) -> None:
        """Hand the steps back to the program, without the buffers that no step touches any more."""
        program = self.program
        program.steps = [self._steps[place] for place in self._order]
        dropped = {buffer for buffer, users in self._users.items() if not users and buffer.kind == "arena"}
        if dropped:
            program.buffers = [buffer for buffer in program.buffers if buffer not in dropped]
            stored = program.views.items()
            program.views = {variable: view for variable, view in stored if view.buffer not in dropped}


def _last(lists: Iterable[list[Place]], after: Place, before: Place) -> Place | None:
    """The greatest place of any list between two."""
    found: Place | None = None
    for places in lists:
        end = bisect_left(places, before)
        if end and places[end - 1] > after and (found is None or places[end - 1] > found):
            found = places[end - 1]
    return found


def follows_from_loops(kernel: nest.Nest) -> bool:
    """Whether where a nest loads and stores follows from its loops and sizes alone, not from what it loads.

    Where it has no sizes it may run before anything is tested.
    """
    statements = list(nest.walk_statements(kernel.body))
    of_data: set[str] = set()
    before = -1
    while before != len(of_data):
        before = len(of_data)
        for each in statements:
            if isinstance(each, nest.Let | nest.Declare | nest.Assign | nest.Accumulate) and _of_data(
                each.value, of_data
            ):
                of_data.add(each.name)
    for each in statements:
        places = [each.extent] if isinstance(each, nest.For) else []
        places += [each.index] if isinstance(each, nest.Store) else []
        places += [
            part.index
            for expression in nest.expressions_of(each)
            for part in nest.walk_expression(expression)
            if isinstance(part, nest.Load)
        ]
        if any(_of_data(place, of_data) for place in places):
            return False
    return True


def _of_data(expression: nest.Expression, names: set[str]) -> bool:
    return any(
        isinstance(part, nest.Load) or (isinstance(part, nest.Name) and part.name in names)
        for part in nest.walk_expression(expression)
    )
