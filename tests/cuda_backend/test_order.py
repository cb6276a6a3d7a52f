"""The order of works: takes hand-written bodies, looks at what waits for what, what shares a kernel, where
buffers lie, and at the kernels' text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symnet.backend.cuda import toolkit
from symnet.backend.cuda.body import Body
from symnet.backend.cuda.emit import FLAGS, LEAVE, Emitted, Recipe, Work
from symnet.backend.cuda.first_sizes import find_sizes_beside
from symnet.backend.cuda.kernel_text import NAME, assemble
from symnet.backend.cuda.machine import SIMULATOR
from symnet.backend.cuda.order import (
    LAUNCH,
    MOST_POINTERS,
    MOST_WAVES,
    RESIDENT_BLOCKS,
    Group,
    Ordered,
    dependencies,
    duration,
    order,
    shared_bytes,
)
from symnet.backend.cuda.runtime import watched_flags
from symnet.compile.memory import bytes_of
from symnet.compile.nest import BufferParameter
from symnet.compile.program import Buffer, Program


class Sketch:
    """Works over buffers that are named in a few letters: upper case ones are shared variables."""

    def __init__(self) -> None:
        self.emitted = Emitted()
        self.buffers: dict[str, Buffer] = {}

    def buffer(self, name: str) -> Buffer:
        kind = "input" if name.isupper() else "arena"
        source = ord(name[0]) if name.isupper() else None
        return self.buffers.setdefault(name, Buffer(name, "float32", 64, kind, source))

    def add(self, reads: str, writes: str, fails: bool = False, lines: tuple[str, ...] = ("x = 1",)) -> int:
        names = dict.fromkeys(reads + writes)
        parameters = [BufferParameter(each, "float32", each in writes) for each in names]
        flag = None
        if fails:
            flag = len(self.emitted.flags)
            self.emitted.flags.append(len(self.emitted.works))
        number = len(self.emitted.works)
        body = Body(f"work{number}", tuple(parameters), (), lines, 1)
        buffers = tuple(self.buffer(each.name) for each in parameters)
        self.emitted.works.append(Work(number, number, body, buffers, flag=flag))
        return number

    def waits(self) -> list[set[int]]:
        return dependencies(self.emitted.works)

    def order(self, together: bool = True) -> Ordered:
        return order(Program("sketch"), self.emitted, SIMULATOR, together)

    def groups(self, together: bool = True) -> list[list[int]]:
        return [sorted(work.number for work in group.works) for group in self.order(together).groups]


LONG = (f"for i in range({2 * LAUNCH}):", "    x = i")
LONGER = (f"for i in range({8 * LAUNCH}):", "    x = i")


# --- what waits for what ---------------------------------------------------------------------------


def test_a_reader_waits_for_the_last_writer():
    sketch = Sketch()
    sketch.add("", "a")
    sketch.add("", "a")
    sketch.add("a", "b")
    assert sketch.waits() == [set(), {0}, {1}]


def test_a_writer_waits_for_those_that_read_the_old_entries():
    sketch = Sketch()
    sketch.add("W", "a")
    sketch.add("W", "b")
    sketch.add("ab", "W")
    sketch.add("W", "c")
    assert sketch.waits() == [set(), set(), {0, 1}, {2}]


def test_everything_waits_for_what_can_fail_before_it():
    sketch = Sketch()
    sketch.add("", "a")
    sketch.add("X", "", fails=True)
    sketch.add("", "b")
    sketch.add("Y", "", fails=True)
    sketch.add("", "c")
    assert sketch.waits() == [set(), set(), {1}, {1}, {3}]


def test_what_only_computes_waits_for_wrong_sizes_alone():
    """A failed test of indices forbids what follows indices and what writes shared variables, no more."""
    sketch = Sketch()
    sketch.add("", "", fails=True)
    sketch.emitted.works[0].tests_sizes = True
    sketch.add("Y", "", fails=True)
    for _ in range(2):
        sketch.add("X", "a")
    sketch.emitted.works[2].careful = False
    assert sketch.waits() == [set(), {0}, {0}, {1, 2}]
    assert watched_flags(sketch.emitted.works) == [2, 0, 0, 1]


def test_readers_of_a_slot_wait_for_who_finds_it():
    sketch = Sketch()
    sketch.add("", "a")
    sketch.add("", "b")
    sketch.emitted.works[0].finds = (3,)
    sketch.emitted.works[1].needs = (3,)
    assert sketch.waits() == [set(), {0}]


def test_flags_pass_on_that_nothing_ran():
    sketch = Sketch()
    for fails in (False, True, False, True, False):
        sketch.add("", "a", fails)
    assert watched_flags(sketch.emitted.works) == [2, 2, 0, 0, 1]


def test_without_anything_that_fails_no_flag_is_looked_at():
    sketch = Sketch()
    sketch.add("", "a")
    assert watched_flags(sketch.emitted.works) == [None]


@pytest.mark.parametrize("updated", [False, True])
def test_sizes_are_found_anew_unless_what_they_are_made_of_is_written(updated):
    sketch = Sketch()
    sketch.add("N", "")
    if updated:
        sketch.add("X", "N")
    sketch.add("X", "a")
    sketch.add("Y", "N")
    first, *_, second, last = sketch.emitted.works
    first.finds, second.needs, second.sizes = (0,), (0,), (0,)
    first.recipe = Recipe(("size0 = np.int64(N[0])", "if size0 > 4:", LEAVE), {0: "size0"})
    second.body = replace(second.body, sizes=("n0",), lines=("a[thread] = n0",))
    find_sizes_beside(sketch.emitted.works)
    assert second.finds_sizes_itself is not updated
    assert sketch.waits()[second.number] == ({0} if updated else set())
    # What sizes are made of is not written while they are found.
    assert (second.number in sketch.waits()[last.number]) is not updated
    text, buffers = assemble([second], [None])
    slots = np.array([3])
    for number, expected in ((2, 2), (5, 0)):
        arrays = {"X": np.zeros(64, np.float32), "a": np.zeros(64), "N": np.full(64, number)}
        run = toolkit.simulate(text.source, NAME)
        run(1, 2, *(arrays[each.name] for each in buffers), slots, np.zeros(8, np.int64))
        assert arrays["a"][:3].tolist() == ([3, 3, 0] if updated else [expected, expected, 0])


# --- what shares a kernel --------------------------------------------------------------------------


def test_independent_works_share_a_kernel():
    sketch = Sketch()
    for name in "abcd":
        sketch.add("X", name)
    sketch.add("abcd", "e")
    ordered = sketch.order()
    assert sketch.groups() == [[0, 1, 2, 3], [4]]
    assert [group.after for group in ordered.groups] == [(), (0,)]


def test_a_chain_has_a_kernel_for_each_link():
    sketch = Sketch()
    sketch.add("X", "a")
    sketch.add("a", "b")
    sketch.add("b", "c")
    assert sketch.groups() == [[0], [1], [2]]


def test_nothing_is_put_together_that_is_to_be_timed():
    sketch = Sketch()
    for name in "abc":
        sketch.add("X", name)
    assert sketch.groups(together=False) == [[0], [1], [2]]


def test_a_long_work_that_is_not_urgent_keeps_nobody_waiting():
    """It runs beside the chain; who needs it waits for it alone."""
    sketch = Sketch()
    sketch.add("X", "a")
    long = sketch.add("X", "b", lines=LONG)
    sketch.add("a", "c")
    sketch.add("c", "d")
    sketch.add("bd", "e")
    ordered = sketch.order()
    assert sketch.groups() == [[0], [long], [2], [3], [4]]
    chain = ordered.groups[2]
    assert chain.after == (0,), "the chain waits for the long work"
    assert ordered.groups[4].after == (1, 3)


def test_what_waits_for_a_long_work_does_not_join_the_chain_before_it_is_done():
    sketch = Sketch()
    sketch.add("X", "a")
    sketch.add("X", "b", lines=LONG)
    sketch.add("b", "f")
    sketch.add("a", "c")
    sketch.add("c", "d")
    sketch.add("df", "e")
    groups = sketch.groups()
    assert [1] in groups
    assert [0] in groups and [3] in groups, "a short work of the chain shares a kernel with one that waits"
    assert groups[-1] == [5]


def test_long_works_that_are_urgent_take_the_short_ones_along():
    sketch = Sketch()
    sketch.add("X", "a", lines=LONGER)
    sketch.add("X", "b", lines=LONG)
    sketch.add("a", "c")
    sketch.add("c", "d")
    sketch.add("bd", "e")
    assert sketch.groups()[0] == [0, 1]


def test_blocks_have_room_for_their_shared_memory():
    sketch = Sketch()
    tile = ("tile = cuda.shared.array((64, 96), np.float32)",)
    for name in "abc":
        sketch.add("X", name, lines=tile)
    assert shared_bytes(sketch.emitted.works[0].body) == 64 * 96 * 4
    assert sketch.groups() == [[0, 1], [2]]


def test_works_that_fill_the_device_have_kernels_of_their_own():
    sketch = Sketch()
    for name in "abc":
        sketch.add("X", name)
    whole = SIMULATOR.multiprocessors * RESIDENT_BLOCKS * MOST_WAVES
    for work, blocks in zip(sketch.emitted.works, (whole, whole + 1, 1), strict=True):
        work.body = replace(work.body, blocks=blocks)
    assert sorted(sketch.groups()) == [[0, 2], [1]]


def test_a_kernel_has_room_for_its_parameters():
    sketch = Sketch()
    for number in range(MOST_POINTERS + 10):
        sketch.add("", chr(0x4E00 + number))
    assert [len(each) for each in sketch.groups()] == [MOST_POINTERS, 10]


def test_host_steps_cut_the_kernels():
    sketch = Sketch()
    sketch.add("X", "a")
    sketch.add("X", "b")
    sketch.emitted.cuts = [1]
    ordered = sketch.order()
    assert [(group.segment, len(group.works)) for group in ordered.groups] == [(0, 1), (1, 1)]


def test_the_order_is_the_same_each_time():
    def make() -> list[list[int]]:
        sketch = Sketch()
        for number in range(40):
            reads = "".join("abcdefgh"[(number * k) % 8] for k in (3, 5))
            lines = LONG if number % 7 == 3 else ("x = 1",)
            sketch.add(reads, "abcdefgh"[number % 8], number % 9 == 4, lines)
        return sketch.groups()

    assert make() == make()


@pytest.mark.parametrize("seed", range(30))
def test_every_work_runs_behind_those_that_it_waits_for(seed):
    """Random programs: a work's group comes after those of all it waits for, and memory in use is not given
    to others: whoever overwrites bytes waits, perhaps through others, for all who use them before."""
    random = np.random.default_rng(seed)
    sketch = Sketch()
    names = "abcdefghijklmnop"
    for _ in range(25):
        reads = "".join(random.choice(list(names), size=random.integers(0, 3)))
        lines = [("x = 1",), LONG, LONGER][random.integers(0, 3)]
        sketch.add(reads, str(random.choice(list(names))), bool(random.random() < 0.1), lines)
    ordered = sketch.order()
    groups = ordered.groups
    of_work = {work.number: number for number, group in enumerate(groups) for work in group.works}
    reached: list[set[int]] = []
    for group in groups:
        before = set(group.after)
        assert all(each < len(reached) for each in before)
        reached.append(before.union(*(reached[each] for each in before)))
    for work, waits in zip(sketch.emitted.works, sketch.waits(), strict=True):
        for each in waits:
            assert of_work[each] in reached[of_work[work.number]]
    for later, group in enumerate(groups):
        for earlier in range(later):
            if earlier not in reached[later]:
                assert not _interfere(groups[earlier], group)
    assert all(
        buffer.offset + bytes_of(buffer) <= ordered.arena_bytes
        for buffer in sketch.buffers.values()
        if buffer.offset is not None
    )


def test_what_a_failing_work_looked_at_is_nobody_elses_memory():
    """It is looked at once more when it failed, after all that did not wait for it."""
    sketch = Sketch()
    sketch.add("X", "a")
    sketch.add("a", "", fails=True)
    sketch.add("X", "b")
    for read, written in zip("bcdefg", "cdefgh", strict=True):
        sketch.add(read, written)
    for work in sketch.emitted.works[2:]:
        work.careful = False
    sketch.order()
    a = sketch.buffers["a"]
    others = [each for name, each in sketch.buffers.items() if name.islower() and each is not a]
    assert len({each.offset for each in others}) < len(others), "memory is used anew"
    assert all(
        each.offset + bytes_of(each) <= a.offset or a.offset + bytes_of(a) <= each.offset for each in others
    )


def _interfere(one: Group, other: Group) -> bool:
    """Whether one of two groups stores to bytes that the other uses."""
    for mine, its in ((one, other), (other, one)):
        written = {buffer for work in mine.works for buffer in work.writes}
        for buffer in written:
            for each in its.buffers:
                apart = (
                    buffer.offset + bytes_of(buffer) <= each.offset
                    or each.offset + bytes_of(each) <= buffer.offset
                )
                if not apart:
                    return True
    return False


# --- what bodies take ------------------------------------------------------------------------------


def test_loops_count():
    def body(*lines: str, blocks: int = 1) -> int:
        return duration(Body("x", (), (), lines, blocks), SIMULATOR)

    short = body("x = 1")
    assert body("for i in range(10):", "    x = 1") == 1 + 10 * short
    assert body("for i in range(3, 9, 2):", "    x = 1") == 1 + 3 * short
    assert body("for i in range(thread, 100, 10):", "    x = 1") == 1 + 10 * short
    assert body("x = 1", blocks=1000) > 10 * short


# --- text ------------------------------------------------------------------------------------------


def _work(number: int, lines: tuple[str, ...], buffers: dict[str, Buffer], blocks: int = 1, **about) -> Work:
    parameters = tuple(BufferParameter(name, each.dtype, True) for name, each in buffers.items())
    sizes = about.pop("size_names", ())
    body = Body("work", parameters, sizes, lines, blocks, comments=(f"work {number}",))
    return Work(number, number, body, tuple(buffers.values()), **about)


def test_works_side_by_side_keep_their_names_apart():
    a, b = Buffer("a", "int64", 8, "arena"), Buffer("b", "int64", 8, "arena")
    first = _work(0, ("x = block * 2 + thread", "if x < 4:", "    out[x] = n0"), {"out": a}, 2)
    first.body = Body("w", first.body.parameters, ("n0",), first.body.lines, 2)
    first.sizes = (1,)
    lines = ("x = block", "if thread == 0:", "    out[x] = given[x] + 1000", "y = out")
    second = _work(1, lines, {"out": b, "given": a}, 3)
    text, buffers = assemble([first, second], [None, None])
    assert buffers == (a, b)
    assert text.blocks == 5 and text.dtypes == ("int64", "int64")
    one, two = np.full(8, 7), np.full(8, 7)
    toolkit.simulate(text.source, NAME)(5, 2, one, two, np.array([5, 6]), np.zeros(8, np.int64))
    assert one.tolist() == [6, 6, 6, 6, 7, 7, 7, 7]
    assert two.tolist() == [1006, 1006, 1006, 7, 7, 7, 7, 7]


def test_attributes_and_keywords_keep_their_names():
    a = Buffer("a", "float64", 8, "arena")
    lines = (
        "tile = cuda.shared.array(shape=4, dtype=np.float64)",
        "float64, dtype = 3.0, 1.0",
        "tile[thread] = np.float64(float64)",
        "a[thread] = tile[thread] + dtype",
    )
    works = [_work(number, lines, {"a": a}) for number in range(2)]
    text, _ = assemble(works, [None, None])
    found = np.zeros(8)
    toolkit.simulate(text.source, NAME)(2, 2, found, np.zeros(1, np.int64), np.zeros(8, np.int64))
    assert found.tolist() == [4, 4, 0, 0, 0, 0, 0, 0]


def test_a_kernel_does_nothing_behind_a_failure_and_passes_it_on():
    a = Buffer("a", "float64", 8, "arena")
    work = _work(3, ("a[thread] = 1.0", "state[own] = 1"), {"a": a}, flag=2)
    text, _ = assemble([work], [0])
    run = toolkit.simulate(text.source, NAME)
    found, state = np.zeros(8), np.zeros(FLAGS + 3, np.int64)
    state[FLAGS] = 1
    run(1, 4, found, np.zeros(1, np.int64), state)
    assert not found.any() and state[FLAGS:].tolist() == [1, 0, 9]
    state[FLAGS + 2] = 1
    run(1, 4, found, np.zeros(1, np.int64), state)
    assert state[FLAGS:].tolist() == [1, 0, 1], "what failed itself is not said to have been left out"
    state[:] = 0
    run(1, 4, found, np.zeros(1, np.int64), state)
    assert found[:4].all() and state[FLAGS:].tolist() == [0, 0, 1]


def test_text_is_the_same_for_works_that_do_the_same():
    """Comments, which name the user's lines, are what people read, and no part of what is compiled."""
    texts = []
    for number in (1, 2):
        buffer = Buffer(f"of_{number}", "float32", 8, "arena")
        text, _ = assemble([_work(number, ("a[thread] = 1.0",), {"a": buffer})], [None])
        texts.append(text)
    assert texts[0].source == texts[1].source
    assert "# work 1" in texts[0].readable("f") and "# work 2" in texts[1].readable("f")
    assert texts[0].readable("f").startswith("def f(a, slots, state):")
