"""Compiled gathers and scatters: indices out of range, and shared variables changed where they lie."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
from symnet import tensor as T
from symnet.compile.nest import For, Load, expressions_of, walk_expression, walk_statements
from symnet.errors import IndexingError

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.integers(-4, 5, shape).astype("float32")


def copies(function, entries):
    """Buffers of the arena that are as large as a tensor of so many entries."""
    program = function._executor._latest.program
    return [each for each in program.buffers if each.kind in ("arena", "output") and each.capacity >= entries]


def loads_of(statement):
    found = [e for each in expressions_of(statement) for e in walk_expression(each)]
    return [each for each in found if isinstance(each, Load)]


@pytest.mark.parametrize("set_", [False, True])
@pytest.mark.parametrize("width", [3, 2048])
def test_rows_are_changed_where_they_lie(set_, width):
    table, at, rows = symnet.shared(draw(50, width)), T.lvector(), T.fmatrix()
    change = (T.set_subtensor if set_ else T.inc_subtensor)(table[at], rows)
    run = symnet.function([at, rows], table.sum(), updates=[(table, change)])
    expected = table.get_value()
    for _ in range(3):
        places, new = RNG.integers(-50, 50, 7), draw(7, width)
        assert run(places, new) == expected.sum()
        if set_:
            expected[places] = new
        else:
            np.add.at(expected, places, new)
        assert np.array_equal(table.get_value(), expected)
    assert not copies(run, 50 * width)


def test_a_slice_is_changed_where_it_lies():
    table, rows = symnet.shared(draw(50, 4)), T.fmatrix()
    run = symnet.function([rows], [], updates=[(table, T.inc_subtensor(table[10:40:3], rows))])
    expected, new = table.get_value(), draw(10, 4)
    run(new)
    expected[10:40:3] += new
    assert np.array_equal(table.get_value(), expected)
    assert not copies(run, 200)


def test_what_is_added_is_made_of_old_values():
    """Of the table itself, of another variable that changes, and into a variable that reads the table."""
    table, other = symnet.shared(draw(9, 4)), symnet.shared(draw(3, 4))
    reader, whole = symnet.shared(draw(9, 4)), symnet.shared(draw(4))
    at, there = T.lvector(), T.lvector()
    updates = [
        (table, T.inc_subtensor(table[at], 2 * table[there] + other + whole)),
        (other, other + table[there]),
        (reader, T.inc_subtensor(reader[there], table[at] * 2)),
        (whole, T.inc_subtensor(whole[1:3], other[0, :2])),
    ]
    run = symnet.function([at, there], [], updates=updates)
    expected = [each.get_value() for each in (table, other, reader, whole)]
    places, others = np.array([1, 8, 1]), np.array([-1, 0, 1])
    for _ in range(2):
        t, o, w = (expected[n].copy() for n in (0, 1, 3))
        np.add.at(expected[0], places, 2 * t[others] + o + w)
        expected[1] = o + t[others]
        np.add.at(expected[2], others, t[places] * 2)
        expected[3][1:3] += o[0, :2]
        run(places, others)
        for have, want in zip((table, other, reader, whole), expected, strict=True):
            assert np.array_equal(have.get_value(), want)


def test_what_else_is_done_with_the_new_table():
    table, at, rows = symnet.shared(draw(9, 4)), T.lvector(), T.fmatrix()
    new = T.inc_subtensor(table[at], rows)
    run = symnet.function([at, rows], [new, new.sum(), table * 1], updates=[(table, new)])
    before, places, added = table.get_value(), np.array([2, 2]), draw(2, 4)
    value, total, old = run(places, added)
    expected = before.copy()
    np.add.at(expected, places, added)
    assert np.array_equal(value, expected) and total == expected.sum() and np.array_equal(old, before)
    assert np.array_equal(table.get_value(), expected)


@pytest.mark.parametrize("bad", [9, -10])
def test_an_index_out_of_range_changes_nothing(bad):
    table, count = symnet.shared(draw(9, 4)), symnet.shared(np.float32(0))
    at, rows = T.lvector(), T.fmatrix()
    updates = [(count, count + 1), (table, T.inc_subtensor(table[at], rows))]
    run = symnet.function([at, rows], table[at].sum(), updates=updates)
    before = table.get_value()
    with pytest.raises(IndexingError, match=f"index {bad}, length 9"):
        run(np.array([0, bad]), draw(2, 4))
    assert np.array_equal(table.get_value(), before) and count.get_value() == 0
    run(np.array([0, -9]), draw(2, 4))
    assert count.get_value() == 1


def test_no_index_is_read_for_each_column():
    """The index is looked up outside the loop over the row, which then is a plain copy."""
    x, at = T.fmatrix("x"), T.lvector("at")
    run = symnet.function([x, at], x[at])
    values, places = draw(6, 5), np.array([5, -6, 0])
    assert np.array_equal(run(values, places), values[places])
    gather = run._executor._latest.program.kernels[-1].kernel
    loops = [each for each in walk_statements(gather.body) if isinstance(each, For)]
    assert loops[0].parallel
    loads = [[e.buffer for s in body for e in loads_of(s)] for body in (loops[0].body[:-1], loops[1].body)]
    assert loads == [["at"], ["x"]], loads


def test_no_rows_to_gather_from():
    x, at = T.fmatrix(), T.lvector()
    run = symnet.function([x, at], x[at])
    assert run(draw(3, 0), np.array([2, 0])).shape == (2, 0)
    assert run(draw(0, 3), np.array([], dtype="int64")).shape == (0, 3)
    with pytest.raises(IndexingError):
        run(draw(0, 3), np.array([0]))
