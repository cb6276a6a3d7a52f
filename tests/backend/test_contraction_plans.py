"""Plans of contractions: blocks, panels, turned tiles, units of work, code for other processors."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contraction_kernels import (
    CONVOLUTIONS,
    HOST,
    MACHINES,
    TRANSPOSITIONS,
    Kernel,
    Kernels,
    check,
    convolutions,
    product,
)
from llvmlite import ir

from symnet.backend.cpu import contraction as emitter
from symnet.backend.cpu import contraction_tile, llvm
from symnet.backend.cpu.contraction import (
    Contraction,
    Dimension,
    contraction_units,
    emit_contraction,
    plan_contraction,
)
from symnet.backend.cpu.contraction_loops import turning
from symnet.backend.cpu.machine import Machine
from symnet.backend.cpu.vectors import Vectors
from symnet.compile.contraction import normalise


def test_large_products_blocked_and_packed() -> None:
    small = replace(HOST, l1=4096, l2=16384)
    shapes = [(130, 70, 90), (9, 300, 150)]
    contractions = [
        product(m, k, n, a_transposed=ta, b_transposed=tb, accumulate=ta)
        for m, k, n in shapes
        for ta, tb in TRANSPOSITIONS
    ]
    plans = [plan_contraction(contraction, small) for contraction in contractions]
    assert any(plan.pack_level is not None for plan in plans)
    assert any(loop.role == "block" for plan in plans for loop in plan.loops)
    kernels = Kernels(contractions, small)
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


def test_packed_panels_fit_on_the_stack() -> None:
    small = replace(HOST, l1=4096, l2=16384)
    apart = Contraction(
        "float32",
        (
            Dimension("row", 40, 2000, 0, 33),
            Dimension("column", 33, 0, 2000, 1),
            Dimension("far", 3, 601, 601, 0),
            Dimension("near", 600, 1, 1, 0),
        ),
    )
    packed = product(130, 70, 90)
    for contraction in (apart, packed):
        module = ir.Module()
        emit_contraction(module, "kernel", contraction, small)
        panels = [int(count) for count in re.findall(r"alloca \[(\d+) x float\]", str(module))]
        assert all(count * 4 <= small.panel for count in panels)
        assert bool(panels) == (contraction is packed)
        check(contraction, Kernels([contraction], small).functions[0])


def split_cases() -> list[tuple[Contraction, dict[str, int]]]:
    """Contractions whose plans differ in the loop that is shared out and in what lies round it."""
    small: dict[str, int] = {}
    cases = [
        product(m, k, n, a_transposed=ta, b_transposed=tb, accumulate=m == 9)
        for m, k, n in [(10, 60, 100), (130, 70, 90), (9, 300, 150), (61, 5, 3)]
        for ta, tb in TRANSPOSITIONS
    ]
    cases += [form for shape in CONVOLUTIONS.values() for form in convolutions(*shape).values()]
    late = [product("m", "k", 100, pitch=130), product(40, "k", "n", b_transposed=True, pitch=130)]
    return [(case, small) for case in cases] + [(case, {"k": 70, "m": 23, "n": 37}) for case in late]


@pytest.mark.parametrize("name", ["64 bytes", "16 bytes", "tiny caches"])
def test_any_split_of_the_units_gives_the_bits_of_the_whole(name: str) -> None:
    machine, cases = MACHINES[name], split_cases()
    if name == "tiny caches":
        machine = replace(machine, l1=4096, l2=16384)
    kernels = Kernels([contraction for contraction, _ in cases], machine)
    random = np.random.default_rng(2)
    a, b = random.standard_normal((2, 60000)).astype("float32")
    start = random.standard_normal(40000).astype("float32")
    counts = []
    for (contraction, values), part in zip(cases, kernels.parts, strict=True):
        parameters = [values[name] for name in contraction.parameters]

        def run(
            *ranges: tuple[int, int], part: Kernel = part, parameters: list[int] = parameters
        ) -> np.ndarray:
            c = start.copy()
            for first, last in ranges:
                # Far enough in for indices that run backwards.
                middle = [each.ctypes.data + 4 * 10000 for each in (a, b)]
                part(*middle, c.ctypes.data, *parameters, first, last)
            return c

        units = contraction_units(contraction, machine)
        counts.append(units)
        if units is None:
            continue
        whole = run((0, units))
        assert not np.array_equal(whole, start)
        single = [(n, n + 1) for n in range(units)]
        half = units // 2
        for ranges in ([(0, half), (half, units)], [(half, units), (0, half)], single, single[::-1]):
            np.testing.assert_array_equal(run(*ranges), whole)
        np.testing.assert_array_equal(run((0, 0), (half, half), (units, units)), start)
        assert not np.array_equal(run((units - 1, units)), start)
    assert sum(units is not None and units >= 4 for units in counts) > len(counts) // 3
    # Rows of A, columns of B and blocks are shared out, in packed plans and in others.
    plans = [plan_contraction(contraction, machine) for contraction, _ in cases]
    shared = {plan.loops[plan.split].role for plan in plans if plan.split is not None}
    assert {"tile", "step"} <= shared
    if name == "tiny caches":
        assert any(
            plan.split is not None and any(loop.role == "block" for loop in plan.loops[: plan.split])
            for plan in plans
        )


@pytest.mark.parametrize("name", MACHINES)
def test_tiles_may_be_turned_before_they_are_stored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it pays: with gaps, edges and sums in blocks."""
    monkeypatch.setattr(contraction_tile, "turning", lambda *_: (True, 0.0))
    machine = replace(MACHINES[name], l1=4096, l2=16384)
    contractions = [
        product(m, k, n, a_transposed=ta, accumulate=accumulate)
        for m, k, n in [(70, 90, 33), (130, 5, 64), (16, 40, 16), (37, 64, 18)]
        for ta, accumulate in [(False, False), (True, True)]
    ]
    contractions += [convolutions(*shape)["forward"] for shape in CONVOLUTIONS.values()]
    kernels = Kernels(contractions, machine)
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


@pytest.mark.parametrize("name", MACHINES)
def test_columns_that_lie_apart_are_turned_while_packed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    turned = []
    pack = emitter._Emitter._pack_turned

    def spy(self: emitter._Emitter, *arguments: Any) -> None:
        turned.append(self.plan)
        pack(self, *arguments)

    monkeypatch.setattr(emitter._Emitter, "_pack_turned", spy)
    machine = replace(MACHINES[name], l1=max(16384, MACHINES[name].l1), l2=1 << 18)
    # Whole vectors of contracted indices and what is left, columns left over, and blocks.
    shapes = [(96, 70, 64), (200, 37, 45), (300, 16, 33), (250, 700, 40)]
    contractions = [product(m, k, n, b_transposed=True) for m, k, n in shapes]
    contractions += [convolutions(20, 7, 9, 11, 33, (3, 2))["forward"]]
    kernels = Kernels(contractions, machine)
    assert turned
    for contraction, kernel in zip(contractions, kernels.functions, strict=True):
        check(contraction, kernel)


def test_rows_of_two_indices() -> None:
    machine = replace(HOST, lanes_bytes=64, registers=32, l1=48 << 10, l2=1 << 20)
    shape = 10, 6, 14, 14, 16, (5, 5)
    contractions = [form for name, form in convolutions(*shape).items() if name != "images"]
    for contraction in contractions:
        assert len(plan_contraction(contraction, machine).rows) == 2
    for contraction, kernel in zip(contractions, Kernels(contractions, machine).functions, strict=True):
        check(contraction, kernel)


def test_turning_pays_where_rows_lie_together() -> None:
    together, apart = range(16), range(0, 1600, 100)
    assert turning(together, 32, 32, 16)[0]
    assert not turning(together, 2, 32, 16)[0]
    assert not turning(apart, 32, 32, 16)[0]
    assert turning(apart, 2, 32, 16) == (False, 32)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_transposed_vectors(count: int) -> None:
    module = ir.Module()
    pointer = ir.PointerType()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer]), "transpose")
    builder = ir.IRBuilder(function.append_basic_block())
    vectors = Vectors(builder, ir.FloatType(), 4, False)
    source, target = function.args
    rows = [vectors.load(source, range(8 * n, 8 * n + 8), 8) for n in range(count)]
    for n, vector in enumerate(vectors.transpose(rows)):
        vectors.store(vector, target, range(count * n, count * n + count), False)
    builder.ret_void()
    loaded = llvm.load_object(llvm.emit_object(module, HOST))
    matrix = np.arange(8 * count, dtype="float32").reshape(count, 8)
    turned = np.zeros((8, count), "float32")
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("transpose"))
    run(matrix.ctypes.data, turned.ctypes.data)
    np.testing.assert_array_equal(turned, matrix.T)


def test_emission_is_deterministic() -> None:
    texts = []
    for _ in range(2):
        plan_contraction.cache_clear()
        module = ir.Module()
        emit_contraction(module, "kernel", product(20, 30, 40), HOST)
        texts.append(str(module))
    assert texts[0] == texts[1]


def test_dimensions_are_dropped_turned_round_and_joined() -> None:
    def shortest(*dimensions: Dimension) -> tuple[tuple[Dimension, ...], tuple[int, int, int]]:
        return normalise(Contraction("float32", dimensions))

    assert shortest(Dimension("i", 1, 5, 6, 7)) == ((), (0, 0, 0))
    backwards = Dimension("i", 4, -3, 0, -1)
    assert shortest(backwards) == ((Dimension("i", 4, 3, 0, 1),), (-9, 0, -3))
    late = Dimension("i", "n", -3, 0, -1)
    assert shortest(late) == ((late,), (0, 0, 0))
    y, x = Dimension("y", 5, 0, 7, 7), Dimension("x", 7, 0, 1, 1)
    assert shortest(x, y) == ((Dimension("y.x", 35, 0, 1, 1),), (0, 0, 0))
    # Five rows of seven, but five apart: not one row of thirty-five.
    assert shortest(Dimension("y", 5, 0, 5, 5), x)[0] == (Dimension("y", 5, 0, 5, 5), x)
    assert shortest(Dimension("y", 5, 0, 7, 8), x)[0] == (Dimension("y", 5, 0, 7, 8), x)


def test_plans_suit_the_shapes() -> None:
    wide = replace(HOST, lanes_bytes=64, registers=32, masks=True, l1=48 << 10, l2=1 << 20)
    convolution = convolutions(10, 20, 12, 12, 40, (5, 5))
    assert plan_contraction(convolution["forward"], wide).kind == "outer"
    assert plan_contraction(convolution["filters"], wide).kind == "inner"
    assert plan_contraction(product(1000, 1000, 1), wide).kind == "inner"
    assert plan_contraction(product(1, 1000, 1000), wide).kind == "outer"
    assert "tile" in plan_contraction(product(64, 64, 64), wide).describe()
    assert plan_contraction(product(4, 0, 4, accumulate=True), wide).kind == "nothing"


def test_arm_gets_vector_instructions() -> None:
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    arm = Machine(
        lanes_bytes=16,
        registers=32,
        name="neoverse-n1",
        features="+neon",
        triple="aarch64-unknown-linux-gnu",
    )
    for contraction in convolutions(2, 4, 12, 12, 8, (5, 5)).values():
        module = ir.Module()
        emit_contraction(module, "kernel", contraction, arm)
        text = llvm.emit_assembly(module, arm)
        assert text.count("fmla") >= 12
        assert "fmadd" not in text


OTHERS = {
    "avx2": Machine(32, 16, name="haswell", triple="x86_64-unknown-linux-gnu", masks=True),
    "arm": Machine(16, 32, name="neoverse-n1", triple="aarch64-unknown-linux-gnu"),
}


@pytest.mark.parametrize(("name", "used"), [("avx2", "ymm"), ("arm", "fmla")])
def test_code_for_other_processors(name: str, used: str) -> None:
    """Products of every transposition, packed and turned ones among them, for processors other than ours."""
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    forms = [product(300, 120, 96, a_transposed=ta, b_transposed=tb) for ta, tb in TRANSPOSITIONS]
    forms += [product(1, 300, 40), product("m", "k", 24, pitch=64)]
    forms += list(convolutions(10, 6, 14, 14, 16, (5, 5)).values())
    module = ir.Module()
    for number, form in enumerate(forms):
        emit_contraction(module, f"kernel_{number}", form, OTHERS[name])
    text = llvm.emit_assembly(module, OTHERS[name])
    assert text.count(used) > 20 * len(forms)
    assert "zmm" not in text
