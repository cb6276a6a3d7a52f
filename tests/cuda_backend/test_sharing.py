"""Takes nests whose items threads share, holds what they compute in the simulator to NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from symnet.backend.cuda.body import Body
from symnet.backend.cuda.machine import SIMULATOR
from symnet.backend.cuda.nest_bodies import nest_bodies
from symnet.compile import nest
from symnet.compile.nest import (
    BOOL,
    INDEX,
    Accumulate,
    BufferParameter,
    Declare,
    For,
    Let,
    Literal,
    Load,
    Name,
    Nest,
    Store,
)

from .simulating import by_simulator
from .test_nest_bodies import at, index

FIRST = {"add": 0.0, "mul": 1.0, "maximum": -np.inf, "minimum": np.inf}
MEANING = {"add": np.sum, "mul": np.prod, "maximum": np.max, "minimum": np.min}


def reduced(
    kept: tuple[int, ...],
    over: tuple[int, ...],
    kept_strides: tuple[int, ...],
    over_strides: tuple[int, ...],
    function: str = "add",
    dtype: str = "float32",
    total: str = "float64",
) -> Nest:
    """out[kept] = x reduced over the loops `over`."""
    names = [f"i{axis}" for axis in range(len(kept))]
    inner = [f"k{axis}" for axis in range(len(over))]
    place = at(*zip((*names, *inner), (*kept_strides, *over_strides), strict=True))
    value = nest.cast(Load(dtype, "x", place), total)
    body: tuple[nest.Statement, ...] = (Let("v", value), Accumulate("t", function, Name(total, "v")))
    for name, extent in zip(reversed(inner), reversed(over), strict=True):
        body = (For(name, Literal(INDEX, extent), body),)
    strides = np.cumprod([1, *reversed(kept)])[:-1][::-1]
    where = at(*zip(names, (int(each) for each in strides), strict=True))
    first = FIRST[function] if total != BOOL else False
    body = (
        Declare("t", Literal(total, first)),
        *body,
        Store("out", where, nest.cast(Name(total, "t"), dtype)),
    )
    for name, extent in zip(reversed(names), reversed(kept), strict=True):
        body = (For(name, Literal(INDEX, extent), body, parallel=True),)
    buffers = (BufferParameter("x", dtype, False), BufferParameter("out", dtype, True))
    return Nest("reduced", buffers, (), body)


def only(kernel: Nest) -> tuple[Body, str]:
    (body,) = nest_bodies(kernel, SIMULATOR, {})
    return body, "\n".join(body.lines)


@pytest.mark.parametrize("function", FIRST)
@pytest.mark.parametrize("rows, columns", [(1, 7), (3, 8), (5, 64), (2, 67), (70, 9), (33, 40)])
def test_rows(function, rows, columns):
    x = np.random.default_rng(1).random((rows, columns)).astype(np.float32)
    kernel = reduced((rows,), (columns,), (columns,), (1,), function)
    out = np.zeros(rows, np.float32)
    by_simulator([kernel])["reduced"](x, out)
    np.testing.assert_allclose(out, MEANING[function](x.astype(float), axis=1), rtol=1e-6)


def test_long_rows_take_a_block_short_ones_a_part_of_a_warp():
    body, lines = only(reduced((3,), (64,), (64,), (1,)))
    assert body.blocks == 3 and "cuda.shared.array" in lines and "load4(" in lines
    body, lines = only(reduced((70,), (9,), (9,), (1,)))
    assert body.blocks < 70 and "lane_swap" in lines and "shared" not in lines


@pytest.mark.parametrize("function", ["add", "maximum"])
@pytest.mark.parametrize("rows, columns", [(16, 4), (50, 3), (40, 5), (64, 1), (9, 130)])
def test_columns(function, rows, columns):
    x = np.random.default_rng(1).random((rows, columns)).astype(np.float32)
    kernel = reduced((columns,), (rows,), (1,), (columns,), function)
    out = np.zeros(columns, np.float32)
    by_simulator([kernel])["reduced"](x, out)
    np.testing.assert_allclose(out, MEANING[function](x.astype(float), axis=0), rtol=1e-6)


def test_columns_are_read_by_rows_of_threads():
    _, lines = only(reduced((5,), (40,), (1,), (5,)))
    assert "thread & 3" in lines and "lane_swap" not in lines and "shared" in lines


@pytest.mark.parametrize("images, channels, places", [(3, 4, 5), (2, 3, 64), (10, 2, 3)])
def test_channels_are_summed_over_images_and_places(images, channels, places):
    x = np.random.default_rng(1).random((images, channels, places)).astype(np.float32)
    kernel = reduced((channels,), (images, places), (places,), (channels * places, 1))
    out = np.zeros(channels, np.float32)
    by_simulator([kernel])["reduced"](x, out)
    np.testing.assert_allclose(out, x.sum(axis=(0, 2), dtype=float), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 8, 31, 128, 257])
def test_everything_is_one_block(count):
    x = np.random.default_rng(1).random(count).astype(np.float32)
    kernel = reduced((), (count,), (), (1,))
    out = np.zeros(1, np.float32)
    assert only(kernel)[0].blocks == 1
    by_simulator([kernel])["reduced"](x, out)
    np.testing.assert_allclose(out, [x.sum(dtype=float)], rtol=1e-6)


@pytest.mark.parametrize("function", ["bitwise_or", "bitwise_and"])
@pytest.mark.parametrize("dtype", [BOOL, "uint8", "int64"])
def test_bits(function, dtype):
    body = (
        Declare(
            "t", Literal(dtype, False if dtype == BOOL else 0) if function == "bitwise_or" else _ones(dtype)
        ),
        For("k", Literal(INDEX, 40), (Accumulate("t", function, Load(dtype, "x", at(("i", 40), ("k", 1)))),)),
        Store("out", index("i"), Name(dtype, "t")),
    )
    buffers = (BufferParameter("x", dtype, False), BufferParameter("out", dtype, True))
    kernel = Nest("bits", buffers, (), (For("i", Literal(INDEX, 3), body, parallel=True),))
    generator = np.random.default_rng(1)
    x = (
        (generator.random((3, 40)) < 0.03)
        if dtype == BOOL
        else generator.integers(0, 100, (3, 40)).astype(dtype)
    )
    out = np.zeros(3, dtype)
    by_simulator([kernel])["bits"](x, out)
    meaning = np.bitwise_or if function == "bitwise_or" else np.bitwise_and
    np.testing.assert_array_equal(out, meaning.reduce(x, axis=1))


def _ones(dtype: str) -> Literal:
    return Literal(dtype, True if dtype == BOOL else -1 if dtype == "int64" else 255)


def softmax(rows: int, columns: int, source: str) -> Nest:
    """out = softmax of the rows of `source`, which may be `out` itself."""
    place = at(("i", columns), ("k", 1))
    x = Load("float32", source, place)
    most, total = Name("float32", "most"), Name("float32", "total")
    e = nest.call("exp", nest.call("sub", x, most))
    end = Literal(INDEX, columns)
    body = (
        Declare("most", Literal("float32", -np.inf)),
        For("k", end, (Accumulate("most", "maximum", x),)),
        Declare("total", Literal("float32", 0.0)),
        For("k", end, (Accumulate("total", "add", e),)),
        For("k", end, (Store("out", place, nest.call("div", e, total)),), vector=True),
    )
    buffers = [BufferParameter("out", "float32", True)]
    if source != "out":
        buffers.append(BufferParameter(source, "float32", False))
    return Nest("softmax", tuple(buffers), (), (For("i", Literal(INDEX, rows), body, parallel=True),))


@pytest.mark.parametrize("source", ["x", "out"])
@pytest.mark.parametrize("rows, columns", [(3, 10), (2, 40), (1, 5), (9, 4), (3, 71)])
def test_softmax_of_rows(source, rows, columns):
    x = np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)
    out = x.copy()
    kernel = softmax(rows, columns, source)
    arrays = (out,) if source == "out" else (out, x)
    by_simulator([kernel])["softmax"](*arrays)
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(out, e / e.sum(1, keepdims=True), rtol=2e-6)
    assert ("lane_swap" in only(kernel)[1]) and (("cuda.syncthreads" in only(kernel)[1]) or source == "x")


def test_rows_of_a_length_found_at_run_time():
    body = (
        Declare("t", Literal("float64", 0.0)),
        For(
            "k",
            index("m"),
            (Accumulate("t", "add", Load("float64", "x", nest.add(at(("i", 50)), index("k")))),),
        ),
        Store("out", index("i"), Name("float64", "t")),
    )
    buffers = (BufferParameter("x", "float64", False), BufferParameter("out", "float64", True))
    kernel = Nest("rows", buffers, ("n", "m"), (For("i", index("n"), body, parallel=True),))
    x = np.random.default_rng(1).random((6, 50))
    (made,) = nest_bodies(kernel, SIMULATOR, {"n": 6, "m": 50})
    assert made.sizes == ("n", "m")
    for n, m in [(6, 50), (3, 49), (1, 1), (5, 0), (0, 50)]:
        out = np.zeros(6)
        by_simulator([kernel])["rows"](x, out, n, m)
        np.testing.assert_allclose(out[:n], x[:n, :m].sum(1))
        assert not out[n:].any()


def test_a_body_that_may_fail_is_not_shared():
    check = nest.If(
        nest.call("lt", Load(INDEX, "x", index("k")), Literal(INDEX, 0)), (nest.Fail(2, (index("k"),)),)
    )
    total = (check, Accumulate("t", "add", Load(INDEX, "x", index("k"))))
    body = (
        Declare("t", Literal(INDEX, 0)),
        For("k", Literal(INDEX, 30), total),
        Store("out", Literal(INDEX, 0), Name(INDEX, "t")),
    )
    buffers = (BufferParameter("x", INDEX, False), BufferParameter("out", INDEX, True))
    kernel = by_simulator([Nest("checked", buffers, (), body)])["checked"]
    x, out = np.arange(30), np.zeros(1, np.int64)
    assert kernel(x, out)[0] == 0 and out[0] == x.sum()
    x[7] = -1
    assert kernel(x, out) == (1, [2, 7, 0, 0])
