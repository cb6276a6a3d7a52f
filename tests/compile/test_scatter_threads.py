"""Assignments at many indices, lowered for many threads and run by the CPU: values to the bit, and work."""

from __future__ import annotations

import math

import numpy as np
import pytest
from counted_rounds import counted
from device_programs import FOR_A_DEVICE, FOR_A_DEVICE_AS_WRITTEN

import symnet
import symnet.tensor as T
from symnet.compile import lower_scatter_threads
from symnet.compile.lower_indexing_threads import LEAST_CHUNK
from symnet.errors import IndexingError

RANDOM = np.random.default_rng(5)


@pytest.fixture
def small(monkeypatch):
    """Chunks, merges and parts so small that a few indices make many of them."""
    monkeypatch.setattr(lower_scatter_threads, "CHUNK", 6)
    monkeypatch.setattr(lower_scatter_threads, "WAYS", 3)
    monkeypatch.setattr(lower_scatter_threads, "PART", 5)
    monkeypatch.setattr(lower_scatter_threads, "FEW_ENTRIES", 4)


def numbers(shape, dtype="float64"):
    return (RANDOM.standard_normal(shape) * 100).astype(dtype)


def one_after_another(x, key, y, set_):
    """What assignments mean: each index in its turn."""
    found = x.copy()
    if not set_:
        np.add.at(found, key, y)
        return found
    places = np.arange(x.size).reshape(x.shape)[key]
    for place, value in zip(places.reshape(-1), np.broadcast_to(y, places.shape).reshape(-1), strict=True):
        found.reshape(-1)[place] = value
    return found


def kernels(function):
    return [each.name.split("_k_")[1] for each in function.kernels]


# --- what comes out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "int16", "bool"])
@pytest.mark.parametrize("set_", [False, True])
@pytest.mark.parametrize(("places", "count"), [(40, 39), (600, 500)])
def test_rows_come_in_the_order_of_the_indices(small, places, count, set_, dtype):
    """Most indices mean a few places, but no more indices than there are places."""
    x, y, i = T.matrix(dtype=dtype), T.matrix(dtype=dtype), T.lvector()
    change = T.set_subtensor if set_ else T.inc_subtensor
    f = symnet.function([x, y, i], change(x[i], y), mode=FOR_A_DEVICE)
    indices = RANDOM.integers(-places, places, count)
    indices[RANDOM.random(count) < 0.7] %= 3
    table, rows = numbers((places, 3), dtype), numbers((count, 3), dtype)
    found = f(table, rows, indices)
    assert found.tobytes() == one_after_another(table, indices, rows, set_).tobytes()
    assert "sorted_chunks" in kernels(f) and "parts" not in kernels(f)


def test_many_indices_that_mean_few_places_are_added_up_in_parts(monkeypatch):
    """Fewer than PART add up in order, more by parts, each in order; negative zeros stay what they are."""
    monkeypatch.setattr(lower_scatter_threads, "FEW_ENTRIES", 0)
    part = lower_scatter_threads.PART
    x, y, i = T.dvector(), T.dvector(), T.lvector()
    f = symnet.function([x, y, i], T.inc_subtensor(x[i], y), mode=FOR_A_DEVICE)
    often = [part - 1, 1, 0, 5 * part + 3, 2 * part, part, 3, part + 1]
    indices = RANDOM.permutation(np.repeat(np.arange(len(often)), often))
    before, added = numbers(len(often)), numbers(len(indices))
    before[[2, 7]] = added[indices == 7] = -0.0
    found = f(before, added, indices)
    for place, total in enumerate(before):
        mine = added[indices == place]
        for start in range(0, len(mine) // part * part, part):
            inner = np.float64(-0.0)
            for value in mine[start : start + part]:
                inner += value
            total += inner
        for value in mine[len(mine) // part * part :]:
            total += value
        assert found[place].tobytes() == total.tobytes(), place
    assert "parts" in kernels(f)
    np.testing.assert_allclose(found, one_after_another(before, indices, added, False), rtol=1e-10)
    again = f(before, added, indices)
    assert again.tobytes() == found.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "int8", "bool"])
def test_few_places_look_through_chunks_of_the_indices(dtype):
    """As when one chunk comes after the other; what no index means stays as it is, a negative zero too."""
    x, y, i = T.matrix(dtype=dtype), T.matrix(dtype=dtype), T.lvector()
    outs = [T.inc_subtensor(x[i], y), T.set_subtensor(x[i], y), T.inc_subtensor(x[i, i % 2], y[:, 0])]
    f = symnet.function([x, y, i], outs, mode=FOR_A_DEVICE_AS_WRITTEN)
    for count in (1000, 700, 0):
        table, rows = numbers((9, 4), dtype), numbers((count, 4), dtype)
        indices = RANDOM.integers(-9, 9, count)
        indices[indices % 9 == 3] = 5
        if dtype == "float64":
            table[[3, 8]] = rows[indices % 9 == 8] = -0.0
        added, set_, pairs = f(table, rows, indices)
        assert set_.tobytes() == one_after_another(table, indices, rows, True).tobytes()
        expected = one_after_another(table, indices, rows, False)
        np.testing.assert_allclose(added, expected, rtol=1e-11)
        assert added[[3, 8]].tobytes() == expected[[3, 8]].tobytes()
        expected = one_after_another(table, (indices, indices % 2), rows[:, 0], False)
        np.testing.assert_allclose(pairs, expected, rtol=1e-11)
    names = kernels(f)
    assert sum("sums_of_chunks" in name for name in names) == 2
    assert not any("sorted" in name for name in names)


@pytest.mark.parametrize("set_", [False, True])
def test_indices_of_any_shape(small, set_):
    """Several arrays, broadcast against each other, axes kept before and behind, and what is broadcast."""
    change = T.set_subtensor if set_ else T.inc_subtensor
    x, m, v = T.tensor3(dtype="int64"), T.lmatrix(), T.lvector()
    column = T.TensorType("int64", (None, 1))("column")
    rows, wide = T.tensor3(dtype="int64"), T.matrix(dtype="int64")
    selected = [x[v], x[v, v * 2], x[:, v, v], x[v, :, v], x[column, v], x[m, :, column]]
    outs = [change(each, 7) for each in selected] + [change(x[:, v], wide), change(x[:, m], rows[0, 0, 0])]
    f = symnet.function([x, m, v, column, rows, wide], outs, mode=FOR_A_DEVICE_AS_WRITTEN)
    g = symnet.function([x, m, v, column, rows, wide], outs, mode="reference")
    for length in (9, 13, 0):
        call = (
            RANDOM.integers(0, 99, (4, 6, 5)),
            RANDOM.integers(-4, 4, (5, 3)),
            RANDOM.integers(-2, 3, length),
            RANDOM.integers(-4, 4, (5, 1)),
            RANDOM.integers(0, 99, (2, 2, 2)),
            RANDOM.integers(0, 99, (length, 5)),
        )
        for number, (mine, its) in enumerate(zip(f(*call), g(*call), strict=True)):
            np.testing.assert_array_equal(mine, its, err_msg=f"{number} at length {length}")
    assert any("merged" in name for name in kernels(f))


def test_lengths_of_nothing(small):
    x, y, i = T.dmatrix(), T.dmatrix(), T.lvector()
    outs = [T.inc_subtensor(x[i], y), T.set_subtensor(x[i], y)]
    f = symnet.function([x, y, i], outs, mode=FOR_A_DEVICE)
    for places, count, width in ((9, 20, 2), (9, 0, 2), (9, 20, 0), (0, 0, 2), (3, 7, 2)):
        table, rows = numbers((places, width)), numbers((count, width))
        indices = RANDOM.integers(0, max(places, 1), count)
        added, set_ = f(table, rows, indices)
        np.testing.assert_allclose(added, one_after_another(table, indices, rows, False), rtol=1e-12)
        np.testing.assert_array_equal(set_, one_after_another(table, indices, rows, True))


@pytest.mark.parametrize("set_", [False, True])
def test_a_shared_variable_changes_at_its_indices_alone(small, set_):
    table, i, y = symnet.shared(numbers((90, 3))), T.lvector(), T.dmatrix()
    change = (T.set_subtensor if set_ else T.inc_subtensor)(table[i], y + table[i])
    f = symnet.function([i, y], [], updates=[(table, change)], mode=FOR_A_DEVICE)
    for _ in range(3):
        before, rows, indices = table.get_value(), numbers((25, 3)), RANDOM.integers(-9, 90, 25)
        f(indices, rows)
        expected = one_after_another(before, indices, rows + before[indices], set_)
        assert table.get_value().tobytes() == expected.tobytes()
    before, indices[17] = table.get_value(), 90
    with pytest.raises(IndexingError, match="index 90, length 90"):
        f(indices, rows)
    assert table.get_value().tobytes() == before.tobytes()
    assert "copy" not in kernels(f) and "sorted_chunks" in kernels(f)


def test_indices_that_never_meet_are_not_sorted(small):
    x, i = T.matrix(dtype="float64"), T.lvector()
    count = i.shape[0]
    outs = [T.inc_subtensor(x[T.nonzero(x > 0)], 2.0), T.set_subtensor(x[i, T.arange(count)], 0.5)]
    f = symnet.function([x, i], outs, mode=FOR_A_DEVICE)
    table, indices = numbers((50, 40)), RANDOM.integers(0, 50, 30)
    added, set_ = f(table, indices)
    np.testing.assert_array_equal(added, np.where(table > 0, table + 2, table))
    table[indices, np.arange(30)] = 0.5
    np.testing.assert_array_equal(set_, table)
    assert sum("scatter" in name for name in kernels(f)) == 2
    assert not any("sorted" in name for name in kernels(f))


# --- what it takes ----------------------------------------------------------------------------------


def rounds(places, indices, width, change=T.inc_subtensor):
    """What the loops make for doubles at indices into rows of a width."""
    x, y, i = T.dmatrix(), T.dmatrix(), T.lvector()
    f = symnet.function([x, y, i], change(x[i], y), mode=FOR_A_DEVICE)
    call = numbers((places, width)), numbers((len(indices), width)), indices
    expected = f(*call)
    found = counted(f, *call)
    assert found.outputs[0].tobytes() == expected.tobytes()
    return found


@pytest.mark.parametrize("change", [T.inc_subtensor, T.set_subtensor])
def test_work_grows_with_indices_and_with_rows_but_not_with_their_squares(monkeypatch, change):
    """Next to its row an index takes CHUNK rounds, and for each merge a search in each of WAYS runs."""
    chunk, ways, places = 32, 4, 2000
    monkeypatch.setattr(lower_scatter_threads, "CHUNK", chunk)
    monkeypatch.setattr(lower_scatter_threads, "WAYS", ways)
    for count in (chunk + 1, 3 * chunk, 30 * chunk):
        indices = RANDOM.integers(0, places, count)
        narrow, wide = rounds(places, indices, 1, change), rounds(places, indices, 9, change)
        merges = math.ceil(math.log(count / chunk, ways))
        bits = count.bit_length()
        most = count * (chunk + merges * ways * (bits + 2) + bits + 8)
        # The tensor is copied, too.
        assert narrow.all <= most + places
        assert wide.all - narrow.all <= 9 * (2 * count + places)
        assert narrow.longest == wide.longest <= max(chunk, ways * (bits + 2))


def test_indices_of_one_place_are_shared_out():
    part = lower_scatter_threads.PART
    for count in (8 * part, 24 * part):
        found = rounds(700, np.full(count, 1), 2)
        assert found.longest <= max(lower_scatter_threads.CHUNK, count // part + part)


@pytest.mark.parametrize("change", [T.inc_subtensor, T.set_subtensor])
def test_few_places_share_out_the_indices(change):
    """Each place or entry goes through all of them, but nobody through many."""
    for count in (1000, 4000):
        found = rounds(5, np.arange(count) % 5, 3, change)
        # Indices are tested and numbered, too.
        assert found.all <= 2 * count + 5 * 3 * (count + 4 * count // LEAST_CHUNK)
        assert found.longest <= LEAST_CHUNK + count // LEAST_CHUNK


def test_few_indices_are_one_kernel():
    x, y, i = T.dmatrix(), T.dmatrix(), T.lvector()
    f = symnet.function([x, y, i], T.inc_subtensor(x[i], y), mode=FOR_A_DEVICE)
    chunk = lower_scatter_threads.CHUNK
    for places, names in (
        (500, ["check_indices", "copy", "scatter_add"]),
        (50, ["check_indices", "scatter_add"]),
    ):
        table, rows, indices = numbers((places, 2)), numbers((chunk, 2)), RANDOM.integers(0, places, chunk)
        f = symnet.function([x, y, i], T.inc_subtensor(x[i], y), mode=FOR_A_DEVICE)
        assert f(table, rows, indices).tobytes() == one_after_another(table, indices, rows, False).tobytes()
        assert kernels(f) == names
