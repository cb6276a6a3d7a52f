"""Contractions with an epilogue against NumPy: forms, edges, blocks, run-time extents, odd machines."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest
from llvmlite import ir
from numpy.lib.stride_tricks import as_strided

from symnet.backend.cpu import llvm
from symnet.backend.cpu.contraction import (
    Contraction,
    Dimension,
    contraction_units,
    emit_contraction,
    plan_contraction,
)
from symnet.backend.cpu.machine import host_machine
from symnet.compile import nest
from symnet.compile.contraction import OLD, PRODUCT, Epilogue, fits_epilogue

HOST = host_machine()
MACHINES = {f"{width} bytes": HOST.with_lanes_bytes(width) for width in (16, 32, 64)}
MACHINES["no masks"] = replace(HOST.with_lanes_bytes(16), masks=False)
MACHINES["tiny caches"] = replace(HOST, l1=2048, l2=8192)
MARGIN = 40


def name(dtype, text):
    return nest.Name(dtype, text)


def literal(dtype, value):
    return nest.Literal(dtype, value)


class Form:
    """An epilogue, and what it means in NumPy: a function of the sum, what was there, and the arrays."""

    def __init__(self, dtypes, make, meaning):
        self.dtypes = dtypes
        self.make = make
        self.meaning = meaning

    def epilogue(self, dtype):
        dtypes = tuple(dtype if each is None else each for each in self.dtypes)
        statements, value, *beside = self.make(dtype)
        epilogue = Epilogue(dtypes, tuple(statements), value, tuple(enumerate(beside)))
        assert all(fits_epilogue(each) for each in (*(s.value for s in statements), *epilogue.values))
        return epilogue


def _descend(dtype):
    scaled = nest.call("mul", name(dtype, PRODUCT), literal(dtype, 0.25))
    kept = nest.call("mul", name(dtype, OLD), literal(dtype, 0.875))
    return [nest.Let("v0", scaled)], nest.call("sub", kept, name(dtype, "v0"))


def _bias_relu(dtype):
    moved = nest.call("add", name(dtype, PRODUCT), name(dtype, "x0"))
    return [nest.Let("v0", moved)], nest.call("maximum", name(dtype, "v0"), literal(dtype, 0.0))


def _masked(dtype):
    positive = nest.call("lt", literal(dtype, 0.0), name(dtype, "x1"))
    mask = nest.cast(nest.call("bitwise_and", name("bool", "x0"), positive), dtype)
    return [], nest.call("mul", name(dtype, PRODUCT), mask)


def _sigmoid(dtype):
    moved = nest.call("add", name(dtype, PRODUCT), nest.cast(name("int64", "x0"), dtype))
    return [], nest.call("sigmoid", moved)


def _chosen(dtype):
    size = nest.call("sqrt", nest.call("abs", name(dtype, PRODUCT)))
    small = nest.call("lt", size, nest.cast(name("float64", "x0"), dtype))
    return [], nest.Select(dtype, small, nest.call("sign", name(dtype, PRODUCT)), size)


def _momentum(dtype):
    """The new velocity, x0, is written beside C."""
    kept = nest.call("mul", name(dtype, "x0"), literal(dtype, 0.5))
    velocity = nest.call("sub", kept, name(dtype, PRODUCT))
    moved = nest.call("add", name(dtype, OLD), name(dtype, "v0"))
    return [nest.Let("v0", velocity)], moved, name(dtype, "v0")


def _sigmoid_and_rest(dtype):
    scaled = nest.call("sigmoid", nest.call("mul", name(dtype, PRODUCT), name(dtype, "x0")))
    return [], scaled, nest.call("sub", name(dtype, "x0"), scaled)


#: Those that write a further array, which steps as C does.
BESIDE = {
    "momentum": Form((None,), _momentum, lambda s, old, v: (old + 0.5 * v - s, 0.5 * v - s)),
    "sigmoid and rest": Form(
        (None,),
        _sigmoid_and_rest,
        lambda s, old, x: (1 / (1 + np.exp(-s * x)), x - 1 / (1 + np.exp(-s * x))),
    ),
}
FORMS = {
    "descend": Form((), _descend, lambda s, old: 0.875 * old - 0.25 * s),
    "bias and relu": Form((None,), _bias_relu, lambda s, old, b: np.maximum(s + b, 0)),
    "mask": Form(("bool", None), _masked, lambda s, old, m, h: s * (m & (h > 0))),
    "sigmoid": Form(("int64",), _sigmoid, lambda s, old, b: 1 / (1 + np.exp(-(s + b)))),
    "choice": Form(
        ("float64",),
        _chosen,
        lambda s, old, b: np.where(np.sqrt(np.abs(s)) < b, np.sign(s), np.sqrt(np.abs(s))),
    ),
}


def make_kernels(contractions, machine):
    module = ir.Module()
    for number, contraction in enumerate(contractions):
        emit_contraction(module, f"kernel_{number}", contraction, machine)
    loaded = llvm.load_object(llvm.emit_object(module, machine))
    made = []
    for number, contraction in enumerate(contractions):
        arrays, words = 3 + contraction.others, len(contraction.parameters) + 2
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arrays, *[ctypes.c_int64] * words)
        function = kind(loaded.address(f"kernel_{number}"))
        function.loaded = loaded
        made.append(function)
    return made


def array(shape, strides, dtype, fill):
    """A view with these element strides in memory that `fill` made, and that memory; a spot is the start."""
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
    memory = fill(high - low + 1 + 2 * MARGIN).astype(dtype)
    view = as_strided(memory[MARGIN - low :], shape, [s * memory.itemsize for s in strides])
    return memory, view


def check(contraction, meaning, function, machine, parameters=None, special=False):
    """Run on random arrays; C's entries, and nothing else of its memory, become what NumPy says."""
    parameters = parameters or {}
    rng = np.random.default_rng(3)

    def number(value):
        return parameters[value] if isinstance(value, str) else value

    dimensions = contraction.dimensions
    shape = [max(1, number(d.extent)) for d in dimensions]
    dtype = contraction.dtype
    kept = [n for n, d in enumerate(dimensions) if d.c != 0]
    summed = tuple(n for n, d in enumerate(dimensions) if d.c == 0)
    dtypes = (dtype, dtype, dtype, *contraction.epilogue.dtypes)
    memories, views = [], []
    for position, each in enumerate(dtypes):
        axes = range(len(dimensions)) if position < 2 else kept

        def fill(count, each=each, position=position):
            if each == "bool":
                return rng.integers(0, 2, count)
            if each == "int64":
                return rng.integers(-3, 4, count)
            values = rng.standard_normal(count)
            if special and position != 1:
                values[rng.integers(0, count, count // 8)] = np.nan
                values[rng.integers(0, count, count // 8)] = np.inf
            return values

        strides = [number(dimensions[n].strides[position]) for n in axes]
        memory, view = array([shape[n] for n in axes], strides, each, fill)
        memories.append(memory)
        views.append(view)
    a, b, c, *others = views
    inside = tuple(slice(number(d.extent)) for d in dimensions)
    with np.errstate(all="ignore"):
        products = (a.astype("float64") * b.astype("float64"))[inside]
        sums = products.sum(axis=summed)
        given = [each[tuple(inside[n] for n in kept)] for each in (c, *others)]
        result = meaning(sums, *(each if each.dtype == bool else each.astype("float64") for each in given))
    before = [memory.copy() for memory in memories]
    results = result if isinstance(result, tuple) else (result,)
    for view, memory, old, new in zip(views[2:], memories[2:], before[2:], results, strict=False):
        place = (view.ctypes.data - memory.ctypes.data) // view.itemsize
        target = as_strided(old[place:], view.shape, view.strides)
        target[tuple(inside[n] for n in kept)] = new
    units = contraction_units(contraction, machine)
    words = [parameters[each] for each in contraction.parameters]
    # In two halves where the work may be taken in parts.
    stretches = [(0, 1)] if units is None else [(0, units // 2), (units // 2, units)]
    for stretch in stretches:
        function(*(view.ctypes.data for view in views), *words, *stretch)
    scale = np.abs(np.nan_to_num(products, nan=0, posinf=0)).sum(axis=summed).max(initial=1.0)
    tolerance = (2e-5 if dtype == "float32" else 1e-12) * max(1.0, scale)
    for position, (memory, old) in enumerate(zip(memories, before, strict=True)):
        if 2 <= position < 2 + len(results):
            np.testing.assert_allclose(memory, old, rtol=0, atol=tolerance)
        else:
            np.testing.assert_array_equal(memory, old)


def product(
    form, rows, inner, columns, *, dtype="float32", turned=(False, False, False), along="both", pitch=0
):
    """A matrix product with a form; `turned`: A, B or C lies column by column; `along`: what arrays have."""
    wide = {"rows": pitch or rows, "inner": pitch or inner, "columns": pitch or columns}
    a = (1, wide["rows"]) if turned[0] else (wide["inner"], 1)
    b = (1, wide["inner"]) if turned[1] else (wide["columns"], 1)
    c = (1, wide["rows"]) if turned[2] else (wide["columns"], 1)
    other = {"both": c, "turned": (1, wide["rows"]), "rows": (1, 0), "columns": (0, 1), "none": (0, 0)}[along]
    epilogue = {**FORMS, **BESIDE}[form].epilogue(dtype)
    count = len(epilogue.dtypes)
    return Contraction(
        dtype,
        (
            Dimension("row", rows, a[0], 0, c[0], (other[0],) * count),
            Dimension("inner", inner, a[1], b[0], 0, (0,) * count),
            Dimension("column", columns, 0, b[1], c[1], (other[1],) * count),
        ),
        False,
        epilogue,
    )


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("form", FORMS)
def test_forms_at_every_kind_of_edge(machine, form):
    contractions = [
        product(form, m, k, n, dtype=dtype, turned=turned, along=along)
        for m, k, n, dtype, turned, along in (
            (1, 7, 1, "float32", (False, False, False), "both"),
            (3, 5, 17, "float32", (False, False, False), "columns"),
            (13, 20, 31, "float32", (True, False, False), "rows"),
            (5, 33, 9, "float32", (False, True, False), "turned"),
            (10, 40, 6, "float64", (False, True, True), "both"),
            (7, 4, 19, "float32", (True, True, True), "none"),
            (4, 0, 5, "float32", (False, False, False), "both"),
        )
    ]
    functions = make_kernels(contractions, MACHINES[machine])
    for contraction, function in zip(contractions, functions, strict=True):
        check(contraction, FORMS[form].meaning, function, MACHINES[machine])


@pytest.mark.parametrize("machine", ["64 bytes", "no masks"])
@pytest.mark.parametrize("form", FORMS)
def test_extents_known_at_run_time(machine, form):
    contractions = [
        product(form, "m", 6, 20, along="columns", pitch=70),
        product(form, 5, "k", 20, along="both", pitch=70),
        product(form, 5, 6, "n", along="rows", pitch=70),
        product(form, "m", "k", "n", along="turned", pitch=70),
        product(form, "m", "k", "n", along="none", pitch=70),
    ]
    functions = make_kernels(contractions, MACHINES[machine])
    for contraction, function in zip(contractions, functions, strict=True):
        for length in (1, 3, 8, 17, 31, 64):
            parameters = {"m": length, "k": 70 - length, "n": length}
            used = {name: parameters[name] for name in contraction.parameters}
            check(contraction, FORMS[form].meaning, function, MACHINES[machine], used)
    check(contractions[3], FORMS[form].meaning, functions[3], MACHINES[machine], {"m": 9, "k": 0, "n": 21})


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("form", BESIDE)
def test_further_arrays_are_written_beside_c(machine, form):
    contractions = [
        product(form, 3, 5, 17),
        product(form, 13, 20, 31, turned=(True, False, False)),
        product(form, 10, 40, 6, dtype="float64", turned=(False, True, True)),
        product(form, "m", "k", "n", pitch=70),
    ]
    functions = make_kernels(contractions, MACHINES[machine])
    for contraction, function in zip(contractions, functions, strict=True):
        parameters = {"m": 9, "k": 30, "n": 21} if contraction.parameters else None
        check(contraction, BESIDE[form].meaning, function, MACHINES[machine], parameters)


def is_blocked(contraction, machine):
    plan = plan_contraction(contraction, machine)
    return any(loop.role == "block" and loop.dimension == "inner" for loop in plan.loops)


def a_blocked_product(inner):
    """The settings of a product whose sums are taken in blocks, and the machine that takes them so."""
    for l1 in (2048, 4096):
        machine = replace(HOST, l1=l1, l2=4 * l1)
        for rows, columns in ((40, 200), (130, 90), (60, 50), (200, 64)):
            for turned in (False, True):
                settings = {
                    "turned": (False, turned, False),
                    "along": "columns",
                    "pitch": 210 if inner == "k" else 0,
                }
                if is_blocked(product("bias and relu", rows, inner, columns, **settings), machine):
                    return (rows, inner, columns), settings, machine
    raise AssertionError(f"nothing is taken in blocks of {inner}")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inner", [70, 71, "k"])
def test_sums_taken_in_blocks_meet_the_epilogue_once(form, inner):
    extents, settings, machine = a_blocked_product(inner)
    contraction = product(form, *extents, **settings)
    # What overwrites its own operand has nowhere to keep the sums of blocks.
    assert is_blocked(contraction, machine) == (form != "descend")
    (function,) = make_kernels([contraction], machine)
    for length in (0, 1, 16, 32, 48, 70) if inner == "k" else (inner,):
        check(contraction, FORMS[form].meaning, function, machine, {"k": length} if inner == "k" else None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_go_through_as_in_numpy(dtype):
    forms = ["descend", "bias and relu", "sigmoid"]
    contractions = [product(form, 9, 1, 21, dtype=dtype) for form in forms]
    for form, contraction, function in zip(
        forms, contractions, make_kernels(contractions, HOST), strict=True
    ):
        check(contraction, FORMS[form].meaning, function, HOST, special=True)


def test_an_index_that_runs_backwards_turns_every_array_round():
    """As the filters' gradient of a convolution is written."""
    epilogue = FORMS["descend"].epilogue("float32")
    contraction = Contraction(
        "float32",
        (
            Dimension("out", 4, 64, 0, 9),
            Dimension("tap", 3, 0, 1, -3),
            Dimension("inner", 50, 1, 1, 0),
            Dimension("kx", 3, 0, 8, -1),
        ),
        False,
        epilogue,
    )
    (function,) = make_kernels([contraction], HOST)
    check(contraction, FORMS["descend"].meaning, function, HOST)


def test_a_contraction_that_adds_has_no_epilogue():
    with pytest.raises(ValueError, match="adds to nothing"):
        Contraction("float32", (), True, FORMS["descend"].epilogue("float32"))
    with pytest.raises(ValueError, match="1 arrays"):
        Contraction(
            "float32", (Dimension("i", 3, 1, 1, 1),), False, FORMS["bias and relu"].epilogue("float32")
        )
