"""The order of works: takes those of a program, hands on `Group`s, each one kernel, and what each waits for.

A work waits for the works before it whose entries it reads or overwrites, and for those before it whose
failure forbids it to run. So works have levels; those of one level need not wait for each other, and share a
kernel where none of them keeps the works of the next level waiting (list scheduling by levels: Hu, "Parallel
Sequencing and Assembly Line Problems", 1961). Arena memory is planned afterwards, by levels, so that it adds
as few dependencies as can be.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from symnet.backend.cuda.body import Body
from symnet.backend.cuda.emit import Emitted, Work
from symnet.backend.cuda.machine import Machine
from symnet.compile.memory import ITEM_BYTES, bytes_of, place
from symnet.compile.program import Buffer, HostStep, Program
from symnet.compile.syntax import tree_of

#: Blocks of a multiprocessor that run at the same time, as far as plans go.
RESIDENT_BLOCKS = 4
#: Statements of a thread that take about as long as starting a kernel.
LAUNCH = 500
#: Waves of blocks above which a body has a kernel to itself.
MOST_WAVES = 4
#: Pointers that a kernel is given at most: half of the 4 KiB that its parameters may take.
MOST_POINTERS = 256
#: Iterations that a loop is taken to have whose extent is not written as a number.
_UNKNOWN_ITERATIONS = 16
_RANGE = re.compile(r"\brange\((.*)\):")
_SHARED_ARRAY = "cuda.shared.array"


@dataclass(eq=False)
class Group:
    """Works that are one kernel, side by side.

    Attributes
    ----------
    level, until
        Groups of a lower level come before; up to when no other group need wait for this one.
    works
        In the order of their blocks.
    after
        The numbers of the groups that it waits for, without those that others among them wait for.
    segment
        How many host steps come before it.
    """

    level: int
    works: list[Work]
    until: int = 0
    segment: int = 0
    after: tuple[int, ...] = ()

    @property
    def buffers(self) -> list[Buffer]:
        """All that its works touch, each once."""
        return list(dict.fromkeys(buffer for work in self.works for buffer in work.buffers))


@dataclass
class Ordered:
    """Groups in an order in which they may run, and the bytes of the arena; its buffers have offsets now."""

    groups: list[Group] = field(default_factory=list)
    arena_bytes: int = 0


def order(program: Program, emitted: Emitted, machine: Machine, together: bool = True) -> Ordered:
    """The groups of a program's works; sets the offsets of its arena's buffers and of scratch.

    Unless `together`, every work is a group of its own.
    """
    works = emitted.works
    waits = dependencies(works)
    segments = _segments(works, emitted.cuts)
    groups: list[Group] = []
    level = 0
    for segment in sorted(set(segments)):
        own = [work for work in works if segments[work.number] == segment]
        made = _grouped(own, waits, machine, level, together)
        for group in made:
            group.segment = segment
        groups += made
        level = 1 + max(group.level for group in made)
    ordered = Ordered(groups, _plan_arena(program, emitted, groups))
    _find_waits(ordered, waits)
    return ordered


def dependencies(works: Sequence[Work]) -> list[set[int]]:
    """For each work the numbers of those before it that it waits for, directly."""
    found: list[set[int]] = []
    writer: dict[object, int] = {}
    readers: dict[object, list[int]] = {}
    # Those that can fail wait for each other, so that who waits for the last waits for all.
    last_failing: int | None = None
    last_test: int | None = None
    for work in works:
        tested = last_failing if work.careful else last_test
        waits = set() if tested is None or (tested == 0 and work.finds_sizes_itself) else {tested}
        written = set(work.writes)
        for buffer in work.buffers:
            if buffer in writer:
                waits.add(writer[buffer])
            if buffer in written:
                waits.update(readers.get(buffer, ()))
        waits.update(writer[slot] for slot in work.needs if slot in writer)
        for buffer in work.buffers:
            if buffer in written:
                writer[buffer], readers[buffer] = work.number, []
            else:
                readers.setdefault(buffer, []).append(work.number)
        writer.update(dict.fromkeys(work.finds, work.number))
        if work.flag is not None:
            last_failing = work.number
            last_test = work.number if work.tests_sizes else last_test
        found.append(waits)
    return found


def _segments(works: Sequence[Work], cuts: Sequence[int]) -> list[int]:
    """For each work how many host steps come before it."""
    return [sum(cut <= work.number for cut in cuts) for work in works]


# --- levels ----------------------------------------------------------------------------------------


def _grouped(
    works: Sequence[Work],
    waits: Sequence[set[int]],
    machine: Machine,
    first_level: int,
    together: bool,
) -> list[Group]:
    """Works of one segment in groups, level by level."""
    here = {work.number for work in works}
    latest = _latest(works, waits)
    #: The level behind which a work's results are there for others.
    done: dict[int, int] = {}
    followers: dict[int, list[Work]] = {}
    missing: dict[int, int] = {}
    for work in works:
        before = waits[work.number] & here
        missing[work.number] = len(before)
        for number in before:
            followers.setdefault(number, []).append(work)
    #: By level the works that can run there.
    waiting: dict[int, list[Work]] = {0: [work for work in works if not missing[work.number]]}
    groups: list[Group] = []
    level = 0
    while waiting:
        ready = waiting.pop(level, [])
        urgent = [work for work in ready if latest[work.number] <= level]
        patience = max([LAUNCH, *(duration(work.body, machine) for work in urgent)])
        # Blocks that come first start first.
        ready.sort(key=lambda work: (latest[work.number] > level, -duration(work.body, machine), work.number))
        shared: list[Group] = []
        for work in ready:
            until = latest[work.number]
            if until > level and (not together or duration(work.body, machine) > patience):
                # It would keep those waiting that wait for the urgent ones: a kernel of its own, beside them.
                groups.append(Group(first_level + level, [work], first_level + until))
                done[work.number] = until
                continue
            done[work.number] = level
            for group in shared:
                if together and _fits(group, work, machine):
                    group.works.append(work)
                    break
            else:
                shared.append(Group(first_level + level, [work], first_level + level))
        groups += shared
        for work in ready:
            for follower in followers.get(work.number, ()):
                missing[follower.number] -= 1
                if not missing[follower.number]:
                    behind = max(done[number] for number in waits[follower.number] & here)
                    waiting.setdefault(behind + 1, []).append(follower)
        level += 1
    groups.sort(key=lambda group: (group.level, group.until))
    return groups


def _latest(works: Sequence[Work], waits: Sequence[set[int]]) -> dict[int, int]:
    """For each work the last level at which it can run without making the whole take longer."""
    here = {work.number for work in works}
    earliest: dict[int, int] = {}
    for work in works:
        before = [earliest[number] for number in waits[work.number] if number in here]
        earliest[work.number] = 1 + max(before, default=-1)
    latest = dict.fromkeys(here, max(earliest.values()))
    for work in reversed(works):
        for number in waits[work.number] & here:
            latest[number] = min(latest[number], latest[work.number] - 1)
    return latest


def _fits(group: Group, work: Work, machine: Machine) -> bool:
    """Whether a work may share a kernel with others.

    One that keeps the device busy for several waves of blocks does not: it would have to do with the
    registers and the shared memory that the others leave it, and a launch costs nothing beside it.
    """
    if any(_waves(each.body, machine) > MOST_WAVES for each in (*group.works, work)):
        return False
    pointers = set(group.buffers) | set(work.buffers)
    shared = sum(shared_bytes(each.body) for each in group.works) + shared_bytes(work.body)
    return len(pointers) <= MOST_POINTERS and shared <= machine.shared_bytes


# --- what bodies take ------------------------------------------------------------------------------


def duration(body: Body, machine: Machine) -> int:
    """About how many statements a body's threads run in turn, loops and waves of blocks counted."""
    return _waves(body, machine) * _counts(body.lines)[0]


def _waves(body: Body, machine: Machine) -> int:
    """How often a body's blocks fill the device."""
    return -(-body.blocks // (machine.multiprocessors * RESIDENT_BLOCKS))


def shared_bytes(body: Body) -> int:
    """The shared memory that a body's text asks for."""
    return _counts(body.lines)[1]


@functools.lru_cache(maxsize=4096)
def _counts(lines: tuple[str, ...]) -> tuple[int, int]:
    """The statements that run, as far as loops over numbers say, and the bytes of shared arrays."""
    total = shared = 0
    #: The loops around a line: how far they are indented, and how often what is in them runs.
    around: list[tuple[int, int]] = []
    for line in lines:
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        indent = len(line) - len(text)
        while around and around[-1][0] >= indent:
            around.pop()
        repeated = around[-1][1] if around else 1
        total += repeated
        if text.startswith(("for ", "while ")):
            around.append((indent, repeated * _iterations(text)))
        if _SHARED_ARRAY in text:
            shared += _shared_array(text)
    return total, shared


def _iterations(loop: str) -> int:
    """How often a loop over a range of numbers runs; of another, what it is taken to."""
    found = _RANGE.search(loop)
    if found is None:
        return _UNKNOWN_ITERATIONS
    parts = [each.strip() for each in found[1].split(",")]
    numbers = [int(each) if each.lstrip("-").isdigit() else None for each in parts]
    known = [each for each in numbers if each is not None]
    if len(known) == len(numbers):
        return len(range(*known))
    if len(numbers) == 3 and len(known) == 2 and numbers[0] is None and known[1] > 0:
        # From a lane's number on: as far as the first lane goes.
        return max(1, -(-known[0] // known[1]))
    return _UNKNOWN_ITERATIONS


def _shared_array(text: str) -> int:
    """The bytes of the array that a line makes."""
    call = next(
        each
        for each in ast.walk(tree_of(text))
        if isinstance(each, ast.Call) and ast.unparse(each.func) == _SHARED_ARRAY
    )
    given = dict(zip(("shape", "dtype"), call.args, strict=False))
    given.update({each.arg: each.value for each in call.keywords if each.arg})
    shape = ast.literal_eval(given["shape"])
    dtype = ast.unparse(given["dtype"]).rpartition(".")[2].strip("'\"_")
    return math.prod(shape if isinstance(shape, tuple) else (shape,)) * ITEM_BYTES[dtype]


# --- memory and edges ------------------------------------------------------------------------------


def _plan_arena(program: Program, emitted: Emitted, groups: Sequence[Group]) -> int:
    """Give arena buffers places by the levels at which they are in use; the bytes that takes."""
    lives: dict[Buffer, tuple[int, int]] = {}

    def touch(buffer: Buffer, level: int) -> None:
        if buffer.kind == "arena":
            first, last = lives.get(buffer, (level, level))
            lives[buffer] = min(first, level), max(last, level)

    end = 1 + max((group.until for group in groups), default=0)
    for group in groups:
        for buffer in group.buffers:
            touch(buffer, group.level)
            touch(buffer, group.until)
    for work in emitted.works:
        if work.flag is not None:
            # When it fails it is done again in order, after all that did not wait for it.
            for buffer in work.buffers:
                touch(buffer, end)
    host_steps = [step for step in program.steps if isinstance(step, HostStep)]
    for number, step in enumerate(host_steps):
        # It runs behind the last group of its segment or of one before.
        behind = max((group.until for group in groups if group.segment <= number), default=0)
        for view in step.views:
            touch(view.buffer, behind)
    # What sizes are read from stays: host steps may ask for it anywhere.
    for view in program.computed.values():
        if view.buffer in lives:
            touch(view.buffer, end)
    return place(lives)


def _find_waits(ordered: Ordered, waits: Sequence[set[int]]) -> None:
    """Set what each group waits for: works' dependencies, and memory that is used anew."""
    of_work = {work.number: number for number, group in enumerate(ordered.groups) for work in group.works}
    users: list[tuple[int, int, int, bool]] = []
    #: For each group those that it waits for, also through others, as bits of a number.
    reached: list[int] = []
    for number, group in enumerate(ordered.groups):
        before = {of_work[each] for work in group.works for each in waits[work.number]} - {number}
        mine = []
        written = {buffer for work in group.works for buffer in work.writes}
        for buffer in group.buffers:
            if buffer.kind == "arena":
                assert buffer.offset is not None
                mine.append((buffer.offset, buffer.offset + bytes_of(buffer), number, buffer in written))
        for start, stop, _, writes in mine:
            before.update(
                other
                for begin, end, other, wrote in users
                if begin < stop and start < end and (writes or wrote)
            )
        # Whoever comes later and waits for who writes here waits for those before, too.
        users = [
            user
            for user in users
            if not any(start <= user[0] and user[1] <= stop for start, stop, _, writes in mine if writes)
        ]
        users += mine
        # Only groups of one segment are nodes of one graph.
        before = {each for each in before if ordered.groups[each].segment == group.segment}
        further = functools.reduce(operator.or_, (reached[each] for each in before), 0)
        group.after = tuple(each for each in sorted(before) if not further >> each & 1)
        reached.append(functools.reduce(operator.or_, (1 << each for each in before), further))
