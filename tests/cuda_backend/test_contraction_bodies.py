"""Takes contractions of every kind, holds what their bodies compute in the simulator to NumPy's answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symnet.backend.cuda.contraction import bodies_of, contraction_bodies
from symnet.backend.cuda.contraction_model import plan_contraction
from symnet.backend.cuda.contraction_plan import Plan, Tile
from symnet.backend.cuda.machine import SIMULATOR
from symnet.compile import nest
from symnet.compile.contraction import OLD, PRODUCT, Contraction, Dimension, Epilogue
from symnet.compile.nest import Call, Let, Literal, Name, Select

from .contraction_cases import convolution, dot, problem, simulate, within


def check(
    contraction: Contraction,
    sizes: Mapping[str, int] | None = None,
    capacities: Mapping[str, int] | None = None,
    change: Callable[[Plan], Plan] | None = None,
    result: Callable[..., tuple[np.ndarray, ...]] | None = None,
    late_offsets: bool = False,
) -> int:
    """Run a contraction's bodies, compare all memory of C and further arrays; the number of bodies.

    `result` takes the sums, what C held and the further arrays; it gives what C and the arrays that the
    epilogue stores to shall hold.
    """
    sizes = dict(sizes or {})
    given = problem(contraction, sizes)
    offsets: list[int | str] = list(given.offsets)
    if late_offsets:
        offsets = [f"offset{n}" for n in range(len(offsets))]
        sizes |= dict(zip(map(str, offsets), given.offsets, strict=True))
    known = {name: size for name, size in sizes.items() if not name.startswith("offset")}
    capacities = known if capacities is None else capacities
    if change is None:
        bodies = contraction_bodies("product", contraction, offsets, SIMULATOR, capacities)
    else:
        plan = plan_contraction(contraction, offsets, SIMULATOR, capacities)
        assert plan is not None
        names = sorted({*contraction.parameters, *(each for each in offsets if isinstance(each, str))})
        bodies = bodies_of("product", change(plan), SIMULATOR, names)
    expected, target = within(given.target, given.product)
    if result is None:
        kept = target if contraction.accumulate else 0
        target[...] = given.product + kept
        wanted = {"c": expected}
    else:
        inputs = [within(each, given.product)[1] for each in given.further]
        values = result(given.product, target.copy(), *inputs)
        target[...] = values[0]
        wanted = {"c": expected}
        assert contraction.epilogue is not None
        for (number, _), value in zip(contraction.epilogue.stores, values[1:], strict=True):
            memory, view = within(given.further[number], given.product)
            view[...] = value
            wanted[f"d{number}"] = memory
    before = {name: memory.copy() for name, memory in given.memory.items() if name not in wanted}
    simulate(bodies, given.memory, sizes)
    for name, memory in wanted.items():
        np.testing.assert_allclose(given.memory[name], memory, rtol=0, atol=given.tolerance)
    for name, memory in before.items():
        np.testing.assert_array_equal(given.memory[name], memory)
    return len(bodies)


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_every_layout(a_transposed: bool, b_transposed: bool, dtype: str) -> None:
    for rows, inner, columns in ((5, 7, 6), (1, 20, 3), (8, 12, 16), (13, 1, 9)):
        check(dot(rows, inner, columns, a_transposed=a_transposed, b_transposed=b_transposed, dtype=dtype))


TILES = {
    "wide": Tile(2, 4, 1, 4, 4, 8),
    "tall": Tile(8, 1, 1, 2, 4, 8),
    "one row": Tile(1, 8, 1, 1, 4, 8),
    "groups": Tile(2, 2, 2, 2, 4, 8),
    "all groups": Tile(1, 1, 8, 1, 1, 8),
    "pairs": Tile(4, 2, 1, 2, 2, 8),
    "large": Tile(4, 2, 1, 8, 8, 8),
}


@pytest.mark.parametrize("tile", TILES.values(), ids=TILES)
@pytest.mark.parametrize("splits", [1, 3])
def test_tiles_of_every_form(tile: Tile, splits: int) -> None:
    def change(plan: Plan) -> Plan:
        sizes = (tile.height, tile.width)
        whole = [tile.depth if p.along_inner else s for p, s in zip(plan.operands, sizes, strict=True)]
        a, b = (
            replace(each, vector=each.vector if size % each.vector == 0 else 1)
            for each, size in zip(plan.operands, whole, strict=True)
        )
        return replace(plan, tile=tile, splits=splits, operands=(a, b))

    # Some tiles in each direction, the last of them cut short, and a first that is whole.
    rows, columns = tile.height + max(1, tile.height // 2), tile.width + max(1, tile.width // 4)
    even = dot(4 * -(-rows // 4), 5 * tile.depth, 4 * -(-columns // 4))
    for contraction in (even, dot(rows, 45, columns, a_transposed=True, b_transposed=True, accumulate=True)):
        assert check(contraction, change=change) == (1 if splits == 1 else 2)


def test_few_long_sums_are_cut_into_parts() -> None:
    """The model's own choice, and the same bits each time."""
    assert check(dot(2, 6000, 1)) == 2


@pytest.mark.parametrize("kind", ["forward", "filters", "images"])
@pytest.mark.parametrize("step", [1, 2])
def test_convolutions_and_their_gradients(kind: str, step: int) -> None:
    if kind == "images" and step == 2:
        step = 1
    check(convolution(2, 3, 7, 8, 4, (3, 2), step)[kind])


def test_batches_and_broadcasts() -> None:
    batched = Contraction(
        "float32",
        (
            Dimension("batch", 3, 20, 30, 24),
            Dimension("row", 4, 5, 0, 6),
            Dimension("inner", 5, 1, 6, 0),
            Dimension("column", 6, 0, 1, 1),
        ),
    )
    check(batched)
    # An index of C alone, one of A alone that is summed, one that runs backwards.
    odd = Contraction(
        "float32",
        (
            Dimension("again", 2, 0, 0, 30),
            Dimension("row", 3, -4, 0, 8),
            Dimension("column", 4, 0, 2, 2),
            Dimension("of a", 3, 16, 0, 0),
            Dimension("inner", 4, -1, -9, 0),
        ),
    )
    check(odd)


def test_lengths_and_strides_found_at_run_time() -> None:
    late = dot("n0", "n1", "n2", pitch=20)
    for sizes in ({"n0": 5, "n1": 9, "n2": 7}, {"n0": 1, "n1": 0, "n2": 3}, {"n0": 0, "n1": 4, "n2": 3}):
        check(late, sizes, {"n0": 20, "n1": 20, "n2": 20})
    check(late, {"n0": 20, "n1": 19, "n2": 20}, {}, late_offsets=True)
    strided = Contraction(
        "float32",
        (
            Dimension("row", "n0", "n1", 0, "n2"),
            Dimension("column", 5, 0, 1, 1),
            Dimension("inner", 6, 1, "n2", 0),
        ),
    )
    check(strided, {"n0": 7, "n1": 9, "n2": 11}, {"n0": 2**63 - 1})
    check(convolution("n0", 2, 5, 6, 3, (2, 3))["forward"], {"n0": 3}, {"n0": 4}, late_offsets=True)
    check(convolution("n0", 2, 5, 6, 3, (2, 3))["filters"], {"n0": 3}, {"n0": 4})


def test_parts_of_a_length_found_at_run_time() -> None:
    def change(plan: Plan) -> Plan:
        return replace(plan, splits=4)

    for inner in (0, 5, 33, 64):
        assert check(dot(3, "n0", 5, pitch=70), {"n0": inner}, {"n0": 64}, change) == 2


def test_parts_take_no_memory_without_bound() -> None:
    """Few rows by a run-time number of columns of which nothing is known, and a long sum."""
    contraction = dot(2, 100000, "n0", pitch=100000)
    bodies = contraction_bodies("product", contraction, [0, 0, 0], SIMULATOR, {"n0": 2**63 - 1})
    assert [len(body.scratch) for body in bodies] == [0]
    parts, adding = contraction_bodies("product", contraction, [0, 0, 0], SIMULATOR, {"n0": 3})
    assert parts.scratch == adding.scratch and 12 <= parts.scratch[0].count <= 1 << 26


def test_sums_of_nothing() -> None:
    check(dot(3, 0, 4))
    assert check(dot(3, 0, 4, accumulate=True)) == 0
    assert check(dot(3, 4, 0)) == 0


class Far:
    """Memory of which only the entries that matter are there, wherever they lie."""

    def __init__(self, entries: dict[int, np.floating]) -> None:
        self.entries = entries

    def __getitem__(self, place: int) -> np.floating:
        return self.entries[int(place)]

    def __setitem__(self, place: int, value: np.floating) -> None:
        assert int(place) in self.entries
        self.entries[int(place)] = value


@pytest.mark.parametrize("splits", [1, 2])
def test_places_beyond_32_bits(splits: int) -> None:
    """Offsets and strides of more than 2³¹ entries are added up in 64 bits; near ones in 32."""
    row, inner, start = 2**31 + 5, 2**29 + 1, 2**33
    contraction = Contraction(
        "float32",
        (
            Dimension("row", 3, row, 0, row),
            Dimension("column", 4, 0, 1, 1),
            Dimension("inner", 20, inner, 4, 0),
        ),
    )
    random = np.random.default_rng(0)
    a, b = (
        random.standard_normal((3, 20)).astype("float32"),
        random.standard_normal((20, 4)).astype("float32"),
    )
    plan = plan_contraction(contraction, [start, 0, start], SIMULATOR, {})
    assert plan is not None and plan.dtypes == ("int64", "int32", "int64")
    memory: dict[str, object] = {
        "a": Far({start + i * row + k * inner: a[i, k] for i in range(3) for k in range(20)}),
        "b": b.reshape(-1),
        "c": Far({start + i * row + j: np.float32(0) for i in range(3) for j in range(4)}),
    }
    simulate(bodies_of("product", replace(plan, splits=splits), SIMULATOR, []), memory, {})  # type: ignore[arg-type]
    found = np.array([*memory["c"].entries.values()]).reshape(3, 4)  # type: ignore[attr-defined]
    np.testing.assert_allclose(found, a @ b, atol=1e-5)


def test_counts_beyond_32_bits() -> None:
    """Numbers of rows, tiles' first ones and offsets are of 64 bits where they may be large."""
    plan = plan_contraction(dot("n0", 8, 8), [0, 0, 0], SIMULATOR, {"n0": 2**40})
    assert plan is not None
    assert (plan.rows.dtype, plan.columns.dtype, plan.dtypes) == (
        "int64",
        "int32",
        ("int64", "int32", "int64"),
    )
    text = "\n".join(bodies_of("product", plan, SIMULATOR, ["n0"])[0].lines)
    assert "first_row = np.int64(row_tile" in text and "number = np.int64(each)" in text


def test_accumulation() -> None:
    check(dot(5, 6, 7, accumulate=True))


@st.composite
def any_contraction(draw: st.DrawFn) -> tuple[Contraction, dict[str, int]]:
    """Any roles, orders, gaps, directions and overlaps, some of it known at run time only."""
    roles = draw(st.lists(st.sampled_from(["ac", "bc", "ab", "ab", "abc", "a", "b", "c"]), max_size=5))
    long = draw(st.integers(0, max(len(roles) - 1, 0)))
    extents = [draw(st.integers(0, 20) if n == long else st.integers(1, 4)) for n in range(len(roles))]
    strides: dict[str, list[int]] = {}
    for name in "abc":
        step = draw(st.sampled_from([1, 1, 1, 2, 4]))
        strides[name] = [0] * len(roles)
        for n in draw(st.permutations(range(len(roles)))):
            if name in roles[n]:
                strides[name][n] = step * draw(st.sampled_from([1, 1, 1, -1]))
                # What is read may overlap itself, as images under a filter do.
                overlapping = name != "c" and draw(st.integers(0, 4)) == 0
                step *= 1 if overlapping else max(extents[n], 1)
                step += draw(st.sampled_from([0, 0, 0, 4]))
    sizes: dict[str, int] = {}

    def perhaps_late(name: str, value: int, chance: int) -> int | str:
        if value >= 0 and draw(st.integers(0, 99)) < chance:
            sizes[name] = value
            return name
        return value

    dimensions = tuple(
        Dimension(
            f"i{n}",
            perhaps_late(f"extent{n}", extents[n], 15),
            *(perhaps_late(f"{name}{n}", strides[name][n], 5) if strides[name][n] else 0 for name in "abc"),
        )
        for n in range(len(roles))
    )
    dtype = draw(st.sampled_from(["float32", "float32", "float64"]))
    return Contraction(dtype, dimensions, draw(st.booleans())), sizes


@given(any_contraction(), st.sampled_from([None, None, 2, 3]), st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_any_contraction(made: tuple[Contraction, dict[str, int]], splits: int | None, late: bool) -> None:
    contraction, sizes = made

    def change(plan: Plan) -> Plan:
        return replace(plan, splits=splits or 1)

    empty = plan_contraction(contraction, [0, 0, 0], SIMULATOR, sizes) is None
    check(contraction, sizes, change=None if splits is None or empty else change, late_offsets=late)


def _of_bias(dtype: str = "float32") -> Contraction:
    """A rectified product with a bias by columns, its mask, and a share of what C held."""
    product, old = Name(dtype, PRODUCT), Name(dtype, OLD)
    bias, sign = Name(dtype, "x0"), Name("bool", "x1")
    zero = Literal(dtype, 0.0)
    statements = (Let("v0", nest.call("add", product, bias)),)
    value = Name(dtype, "v0")
    shared = Select(
        dtype, sign, nest.call("maximum", zero, value), nest.call("mul", old, Literal(dtype, 0.5))
    )
    epilogue = Epilogue(
        (dtype, "bool", dtype), statements, shared, ((2, nest.call("sub", value, Literal(dtype, 1.0))),)
    )
    rows, columns = 6, 9
    return Contraction(
        dtype,
        (
            Dimension("row", rows, 1, 0, columns, (0, columns, columns)),
            Dimension("column", columns, 0, 5, 1, (1, 1, 1)),
            Dimension("inner", 5, rows, 1, 0, (0, 0, 0)),
        ),
        False,
        epilogue,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("splits", [1, 2])
def test_epilogues_that_read_and_store_beside(dtype: str, splits: int) -> None:
    def result(total: np.ndarray, old: np.ndarray, bias: np.ndarray, sign: np.ndarray, _: np.ndarray):
        value = total + bias
        return np.where(sign, np.maximum(0, value), old * 0.5), value - 1

    contraction = _of_bias(dtype)
    check(contraction, result=result)
    check(contraction, change=lambda plan: replace(plan, splits=splits), result=result)


def test_neighbours_of_several_indices() -> None:
    """Columns that are one run of C, and not of what is added: four at a time only where both allow."""

    def contraction(width: int) -> Contraction:
        total = nest.call("add", Name("float32", PRODUCT), Name("float32", "x0"))
        return Contraction(
            "float32",
            (
                Dimension("row", 5, 1, 0, 8 * width, (1,)),
                Dimension("y", 8, 0, 7 * width, width, (3,)),
                Dimension("x", width, 0, 1, 1, (40,)),
                Dimension("inner", 6, 5, width, 0, (0,)),
            ),
            False,
            Epilogue(("float32",), (), total),
        )

    for width, lanes in ((4, 4), (6, 2), (5, 1)):
        plan = plan_contraction(contraction(width), [24, 24, 24, 24], SIMULATOR, {})
        assert plan is not None and plan.columns.linear(2) == 1 and plan.columns.linear(3) is None
        assert plan.lanes == lanes or plan.tile.width < lanes
        check(contraction(width), result=lambda total, old, added: (total + added,))
    gradient = convolution(2, 4, 6, 6, 3, (3, 3))["filters"]
    plan = plan_contraction(gradient, [0, 0, 0], SIMULATOR, {})
    assert plan is not None and plan.columns.linear(2) == 1


def test_epilogue_with_a_function_of_the_library() -> None:
    product = Name("float32", PRODUCT)
    epilogue = Epilogue((), (Let("v0", Call("float32", "sigmoid", (product,))),), Name("float32", "v0"))
    contraction = replace(dot(4, 5, 6), epilogue=epilogue)
    check(contraction, result=lambda total, old: (1 / (1 + np.exp(-total)),))
