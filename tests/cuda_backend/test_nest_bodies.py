"""Takes small nests, holds what their bodies compute in the simulator to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from symnet.backend.cuda.machine import SIMULATOR
from symnet.backend.cuda.nest_bodies import nest_bodies, serial_body
from symnet.compile import library, nest
from symnet.compile.nest import INDEX, BufferParameter, For, Literal, Load, Name, Nest, Store
from symnet.ops import philox

from .simulating import by_simulator, run_body


def index(name: str) -> Name:
    return Name(INDEX, name)


def at(*terms: tuple[str, int]) -> nest.Expression:
    """The sum of loop variables times strides."""
    place: nest.Expression = Literal(INDEX, 0)
    for name, stride in terms:
        place = nest.add(place, nest.multiply(index(name), stride))
    return place


def added_to_rows(rows: int | str, columns: int, parallel: bool = True) -> Nest:
    """out[i, j] = x[i, j] + b[j]."""
    inside = (("i", columns), ("j", 1))
    total = nest.call("add", Load("float32", "x", at(*inside)), Load("float32", "b", at(("j", 1))))
    columns_loop = For("j", Literal(INDEX, columns), (Store("out", at(*inside), total),), parallel=parallel)
    extent = index(rows) if isinstance(rows, str) else Literal(INDEX, rows)
    buffers = (
        BufferParameter("x", "float32", False),
        BufferParameter("b", "float32", False),
        BufferParameter("out", "float32", True),
    )
    sizes = (rows,) if isinstance(rows, str) else ()
    return Nest("add", buffers, sizes, (For("i", extent, (columns_loop,), parallel=parallel),))


@pytest.mark.parametrize("rows", [1, 3, "n"])
@pytest.mark.parametrize("columns", [1, 5, 8])
def test_independent_loops_are_the_grid(rows, columns):
    kernel = added_to_rows(rows, columns)
    generator = np.random.default_rng(1)
    count = rows if isinstance(rows, int) else 4
    x = generator.random((count, columns), np.float32)
    b = generator.random(columns, np.float32)
    out = np.zeros((count, columns), np.float32)
    sizes = () if isinstance(rows, int) else (count,)
    assert by_simulator([kernel])["add"](x, b, out, *sizes) == (0, [0, 0, 0, 0])
    np.testing.assert_array_equal(out, x + b)


def test_a_capacity_sets_the_grid_and_a_size_its_end():
    kernel = added_to_rows("n", 5)
    (body,) = nest_bodies(kernel, SIMULATOR, {"n": 7})
    assert body.blocks == -(-35 // SIMULATOR.threads) and body.sizes == ("n",)
    x, b, out = np.ones((7, 5), np.float32), np.ones(5, np.float32), np.zeros((7, 5), np.float32)
    run_body(body, {"x": x, "b": b, "out": out}, {"n": 2})
    assert out[:2].min() == 2 and out[2:].max() == 0


def two_steps() -> Nest:
    """y = 2 x, then z = y backwards: what the second reads, the first stores."""
    double = nest.call("add", Load("float64", "x", index("i")), Load("float64", "x", index("i")))
    back = nest.subtract(Literal(INDEX, 19), index("j"))
    body = (
        For("i", Literal(INDEX, 20), (Store("y", index("i"), double),), parallel=True),
        For("j", Literal(INDEX, 20), (Store("z", index("j"), Load("float64", "y", back)),), parallel=True),
    )
    names = [("x", False), ("y", True), ("z", True)]
    return Nest("two", tuple(BufferParameter(name, "float64", of) for name, of in names), (), body)


def test_loops_that_follow_each_other_are_bodies_of_their_own():
    first, second = nest_bodies(two_steps(), SIMULATOR, {})
    assert [each.name for each in second.parameters if not each.written] == ["y"]
    assert [each.name for each in first.parameters if each.written] == ["y"]
    x = np.arange(20.0)
    y, z = np.zeros(20), np.zeros(20)
    by_simulator([two_steps()])["two"](x, y, z)
    np.testing.assert_array_equal(z, 2 * x[::-1])


def checked() -> Nest:
    """out[i] = x[at[i]], for indices from 0 to 9."""
    place = Load(INDEX, "at", index("i"))
    outside = nest.call("ge", place, Literal(INDEX, 10))
    body = (
        nest.If(outside, (nest.Fail(3, (index("i"), place)),)),
        Store("out", index("i"), Load("float32", "x", place)),
    )
    buffers = (
        BufferParameter("at", INDEX, False),
        BufferParameter("x", "float32", False),
        BufferParameter("out", "float32", True),
    )
    return Nest("checked", buffers, (), (For("i", Literal(INDEX, 12), body, parallel=True),))


def test_the_first_failure_in_order_is_told():
    where = np.arange(12) % 10
    x, out = np.arange(10, dtype=np.float32), np.zeros(12, np.float32)
    kernel = by_simulator([checked()])["checked"]
    assert kernel(where, x, out) == (0, [0, 0, 0, 0])
    np.testing.assert_array_equal(out, x[where])
    where[[4, 9]] = 11, 12
    assert kernel(where, x, out) == (1, [3, 4, 11, 0])


def test_a_serial_body_is_one_thread():
    body = serial_body(added_to_rows(3, 4))
    x, b, out = np.ones((3, 4), np.float32), np.ones(4, np.float32), np.zeros((3, 4), np.float32)
    assert body.blocks == 1
    run_body(body, {"x": x, "b": b, "out": out}, {})
    assert out.min() == 2


def test_names_that_kernels_have_themselves_are_changed():
    buffers = (BufferParameter("block", "float32", False), BufferParameter("lambda", "float32", True))
    loop = For(
        "thread",
        Literal(INDEX, 9),
        (Store("lambda", index("thread"), Load("float32", "block", index("thread"))),),
        True,
    )
    x, out = np.arange(9, dtype=np.float32), np.zeros(9, np.float32)
    by_simulator([Nest("copy", buffers, (), (loop,))])["copy"](x, out)
    np.testing.assert_array_equal(out, x)


# --- several items for each thread -------------------------------------------------------------------


def mapped(dtype: str, extents: tuple[int, ...], strides: dict[str, tuple[int, ...]], value) -> Nest:
    """out[indices] = value(loads), where `strides` say where each buffer is read, and `out` written."""
    names = [f"i{axis}" for axis in range(len(extents))]
    places = {buffer: at(*zip(names, each, strict=True)) for buffer, each in strides.items()}
    loads = [Load(dtype, buffer, place) for buffer, place in places.items() if buffer != "out"]
    made = value(*loads)
    body: tuple[nest.Statement, ...] = (
        nest.Let("v", made),
        Store("out", places["out"], Name(made.dtype, "v")),
    )
    for name, extent in zip(reversed(names), reversed(extents), strict=True):
        body = (For(name, Literal(INDEX, extent), body, parallel=True),)
    buffers = [BufferParameter(buffer, dtype, False) for buffer in strides if buffer != "out"]
    return Nest("mapped", (*buffers, BufferParameter("out", made.dtype, True)), (), body)


def lines_of(kernel: Nest) -> str:
    (body,) = nest_bodies(kernel, SIMULATOR, {})
    return "\n".join(body.lines)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64"])
@pytest.mark.parametrize("count", [256, 301])
def test_neighbours_are_read_and_written_at_once(dtype, count):
    strides = {"x": (1,), "y": (1,), "out": (1,)}
    kernel = mapped(dtype, (count,), strides, lambda x, y: nest.call("mul", nest.call("add", x, y), x))
    assert lines_of(kernel).count("load4(") == 2 and lines_of(kernel).count("store4(") == 1
    generator = np.random.default_rng(1)
    x, y = (generator.integers(0, 100, count).astype(dtype) for _ in range(2))
    out = np.zeros(count, dtype)
    by_simulator([kernel])["mapped"](x, y, out)
    np.testing.assert_array_equal(out, (x + y) * x)


def test_bools_are_read_and_written_at_once():
    kernel = mapped("bool", (301,), {"x": (1,), "y": (1,), "out": (1,)}, lambda x, y: nest.call("lt", x, y))
    assert lines_of(kernel).count("load4(") == 2 and lines_of(kernel).count("store4(") == 1
    x, y = (np.random.default_rng(seed).random(301) < 0.5 for seed in range(2))
    out = np.zeros(301, bool)
    by_simulator([kernel])["mapped"](x, y, out)
    np.testing.assert_array_equal(out, ~x & y)


def test_what_is_the_same_for_neighbours_is_read_once():
    strides = {"x": (8, 1), "b": (1, 0), "out": (8, 1)}
    kernel = mapped("float32", (40, 8), strides, lambda x, b: nest.call("add", x, b))
    assert lines_of(kernel).count("load4(") == 1 and lines_of(kernel).count("b[") == 1
    x, b = np.random.default_rng(1).random((40, 8), np.float32), np.arange(40, dtype=np.float32)
    out = np.zeros((40, 8), np.float32)
    by_simulator([kernel])["mapped"](x, b, out)
    np.testing.assert_array_equal(out, x + b[:, None])


@pytest.mark.parametrize("columns, strides", [(7, (7, 1)), (8, (9, 1)), (8, (1, 40))])
def test_items_that_are_no_neighbours_are_a_block_apart(columns, strides):
    kernel = mapped("float32", (40, columns), {"x": strides, "out": strides}, lambda x: nest.call("neg", x))
    lines = lines_of(kernel)
    assert "load4" not in lines and lines.count("x[") == 5
    x = np.random.default_rng(1).random(400, np.float32)
    out = np.zeros(400, np.float32)
    by_simulator([kernel])["mapped"](x, out)
    places = (np.arange(40)[:, None] * strides[0] + np.arange(columns) * strides[1]).ravel()
    np.testing.assert_array_equal(out[places], -x[places])
    assert np.delete(out, places).max(initial=0) == 0


def draws(count: int, function: str) -> Nest:
    """out[i] = the i-th draw of a stream."""
    numbers = [Literal("uint64", value) for value in (12345678901, 7, 3)]
    value = library.call(function, *numbers, nest.cast(index("i"), "uint64"))
    loop = For("i", Literal(INDEX, count), (Store("out", index("i"), value),), parallel=True)
    return Nest("draws", (BufferParameter("out", value.dtype, True),), (), (loop,))


@pytest.mark.parametrize("function", ["uniform_float32", "uniform_float64"])
@pytest.mark.parametrize("count", [30, 258])
def test_draws_are_those_of_the_philox_generator(function, count):
    kernel = draws(count, function)
    out = np.zeros(count, function.removeprefix("uniform_"))
    by_simulator([kernel])["draws"](out)
    np.testing.assert_array_equal(out, philox.uniform((12345678901, 7, 3), count, out.dtype.name))


def test_four_draws_share_a_block():
    # The rounds of the generator stand once in what four draws do together, and once in what is left over.
    assert lines_of(draws(256, "uniform_float32")).count("range(10)") == 1
    assert lines_of(draws(258, "uniform_float32")).count("range(10)") == 2


def test_places_that_go_by_items_are_their_numbers():
    strides = {"x": (40, 8, 1), "b": (0, 8, 1), "out": (40, 8, 1)}
    lines = lines_of(mapped("float32", (3, 5, 8), strides, lambda x, b: nest.call("add", x, b)))
    assert "x[item]" in lines and "out[item]" in lines and "b[i1 * 8 + i2]" in lines
    lines = lines_of(mapped("float32", (10, 5, 8), strides, lambda x, b: nest.call("add", x, b)))
    assert "load4(x, flat)" in lines and "store4(out, flat, " in lines


@pytest.mark.parametrize("shape", [(3, 5, 7), (10, 5, 8), (9, 5, 7)])
def test_three_axes(shape):
    strides = {"x": (shape[1] * shape[2], shape[2], 1), "b": (0, shape[2], 1)}
    strides["out"] = strides["x"]
    kernel = mapped("float32", shape, strides, lambda x, b: nest.call("add", x, b))
    generator = np.random.default_rng(1)
    x, b = generator.random(shape, np.float32), generator.random(shape[1:], np.float32)
    out = np.zeros(shape, np.float32)
    by_simulator([kernel])["mapped"](x, b, out)
    np.testing.assert_array_equal(out, x + b)


def draws_by_fours(count: int) -> Nest:
    """out[4 i + word] for four words, which share a block of the generator."""
    numbers = [Literal("uint64", value) for value in (12345678901, 7, 3)]
    stores = []
    for word in range(4):
        four = nest.cast(nest.multiply(index("i"), 4), "uint64")
        element = nest.call("bitwise_or", four, Literal("uint64", word))
        value = library.call("uniform_float32", *numbers, element)
        stores.append(Store("out", nest.add(nest.multiply(index("i"), 4), word), value))
    loop = For("i", Literal(INDEX, count), tuple(stores), parallel=True)
    return Nest("draws", (BufferParameter("out", "float32", True),), (), (loop,))


def test_draws_that_are_written_by_fours_share_a_block():
    assert lines_of(draws_by_fours(20)).count("range(10)") == 1
    out = np.zeros(80, np.float32)
    by_simulator([draws_by_fours(20)])["draws"](out)
    np.testing.assert_array_equal(out, philox.uniform((12345678901, 7, 3), 80, "float32"))


def divided(count: int, shift: int, divisor: int) -> Nest:
    """quotients[i], rests[i] = divmod(i - shift, divisor)."""
    value = nest.subtract(index("i"), shift)
    stores = (
        Store("quotients", index("i"), nest.call("floordiv", value, Literal(INDEX, divisor))),
        Store("rests", index("i"), nest.call("mod", value, Literal(INDEX, divisor))),
    )
    buffers = (BufferParameter("quotients", INDEX, True), BufferParameter("rests", INDEX, True))
    return Nest("divided", buffers, (), (For("i", Literal(INDEX, count), stores, parallel=True),))


@pytest.mark.parametrize("shift", [0, 30])
@pytest.mark.parametrize("divisor", [1, 4, 7])
def test_indices_are_divided_by_numbers(shift, divisor):
    quotients, rests = np.zeros(70, np.int64), np.zeros(70, np.int64)
    by_simulator([divided(70, shift, divisor)])["divided"](quotients, rests)
    expected = np.divmod(np.arange(70) - shift, divisor)
    np.testing.assert_array_equal((quotients, rests), expected)


def test_divisions_are_short_where_no_value_is_long_or_negative():
    assert "np.uint32(i) // np.uint32(7)" in lines_of(divided(70, 0, 7))
    assert "(i - 30) // 7" in lines_of(divided(70, 30, 7))
    assert "i // 7" in lines_of(divided(2**32 + 1, 0, 7))
