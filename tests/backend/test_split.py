"""How kernels are shared out among threads, and that nothing but time depends on it."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cpu.contraction import Contraction, Dimension, plan_contraction
from symnet.backend.cpu.machine import host_machine
from symnet.backend.cpu.split import split_contraction, split_nest
from symnet.compile import nest
from symnet.errors import IndexingError


def pointwise(extent, function="add", parallel=False):
    """`y[i] = function(x[i], x[i])` for i below an extent."""
    i = nest.Name(nest.INDEX, "i")
    value = nest.Load("float32", "x", i)
    body = (nest.Store("y", i, nest.Call("float32", function, (value, value))),)
    buffers = (nest.BufferParameter("x", "float32", False), nest.BufferParameter("y", "float32", True))
    sizes = (extent.name,) if isinstance(extent, nest.Name) else ()
    return nest.Nest("pointwise", buffers, sizes, (nest.For("i", extent, body, parallel, vector=True),))


def test_a_short_kernel_stays_whole():
    assert split_nest(pointwise(nest.index(1000)), {}) is None


def test_a_long_kernel_is_cut_where_vectors_begin_into_chunks_that_are_worth_it():
    split = split_nest(pointwise(nest.index(10**6)), {})
    assert split.units == nest.index(10**6)
    assert split.grain % 256 == 0
    assert 16 <= 10**6 / split.grain <= 256
    dear = split_nest(pointwise(nest.index(10**6), "pow"), {})
    assert dear.grain < split.grain


def test_a_length_known_at_run_time_counts_as_the_most_that_it_may_be():
    kernel = pointwise(nest.Name(nest.INDEX, "n"))
    assert split_nest(kernel, {"n": 1000}) is None
    assert split_nest(kernel, {"n": 10**6}).units == nest.Name(nest.INDEX, "n")


def test_iterations_that_depend_on_each_other_are_not_shared_out():
    body = pointwise(nest.index(10**6)).body[0].body
    chained = nest.Nest(
        "chained", pointwise(nest.index(1)).buffers, (), (nest.For("i", nest.index(10**6), body),)
    )
    assert split_nest(chained, {}) is None


@pytest.mark.parametrize("threads", [1, 4])
def test_of_several_bad_indices_the_first_is_told(threads):
    table, rows = T.fmatrix("table"), T.lvector("rows")
    lookup = symnet.function([table, rows], table[rows] * 2)
    where = np.arange(100_000) % 500
    where[[70_000, 90_000, 99_999]] = [777, 888, 999]
    with symnet.config.override(threads=threads):
        for _ in range(5):
            with pytest.raises(IndexingError, match="777"):
                lookup(np.ones((500, 16), dtype="float32"), where)


def test_results_do_not_depend_on_the_number_of_threads():
    random = np.random.default_rng(3)
    x, y = T.fmatrix(), T.fmatrix()
    function = symnet.function(
        [x, y], [T.dot(x, y), T.exp(x).sum(axis=0), (x * T.tanh(x)).sum(), T.nnet.softmax(x), x.T + 1]
    )
    given = [random.normal(size=(501, 777)).astype("float32") for _ in range(2)]
    given[1] = given[1].T.copy()
    wanted = None
    for threads in (1, 2, 3, 7):
        with symnet.config.override(threads=threads):
            found = [each.tobytes() for each in function(*given)]
        wanted = wanted or found
        assert found == wanted


@pytest.mark.parametrize("length", [1, 255, 4096, 99_999])
def test_lengths_that_change_are_shared_out_too(length):
    x = T.fvector()
    function = symnet.function([x], T.exp(-x * x))
    for each in (10, 11, length):
        given = np.linspace(-3, 3, each, dtype="float32")
        with symnet.config.override(threads=3):
            found = function(given)
        np.testing.assert_allclose(found, np.exp(-given * given), rtol=1e-6)


@pytest.mark.parametrize("operation", ["sum", "max", "argmax"])
def test_parts_of_one_long_reduction_are_shared_out(operation):
    x = T.fmatrix()
    function = symnet.function([x], getattr(x, operation)())
    function(np.ones((1000, 1000), dtype="float32"))
    assert any(split_nest(each.nest, {}) is not None for each in function.kernels)


def test_chunks_that_would_each_pack_the_same_panels_are_large():
    """The gradient by filters of a middle layer of AlexNet: the loop outside the panels is shared out, or
    chunks have many rows for each panel."""
    contraction = Contraction(
        "float32",
        (
            Dimension("out", 384, 169, 0, 2304),
            Dimension("channel", 256, 0, 225, 9),
            Dimension("y", 13, 13, 15, 0),
            Dimension("x", 13, 1, 1, 0),
            Dimension("ky", 3, 0, 15, -3),
            Dimension("kx", 3, 0, 1, -1),
        ),
        accumulate=True,
    )
    for machine in (host_machine(), host_machine().with_lanes_bytes(32), host_machine().with_lanes_bytes(16)):
        plan, split = plan_contraction(contraction, machine), split_contraction(contraction, machine, {})
        assert split is not None and plan.split is not None
        if plan.pack_level is not None and plan.split >= plan.pack_level:
            assert split.grain * plan.loops[plan.split].size >= 64
