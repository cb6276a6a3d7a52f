"""Takes small nests, holds what their bodies compute in the simulator to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from symnet.backend.cuda.machine import SIMULATOR
from symnet.backend.cuda.nest_bodies import nest_bodies, serial_body
from symnet.compile import nest
from symnet.compile.nest import INDEX, BufferParameter, For, Literal, Load, Name, Nest, Store

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
