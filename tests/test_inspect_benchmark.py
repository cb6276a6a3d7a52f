"""Takes functions whose work is known, holds `symnet.benchmark` to it: counts exactly, times by what they
must be, the machine's limits by what no machine exceeds or falls below."""

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cpu.limits import PLACES, Limits, machine_limits
from symnet.inspect import count


@pytest.fixture(autouse=True)
def one_thread():
    before = symnet.config.threads
    symnet.config.threads = 1
    yield
    symnet.config.threads = before


def measured(inputs, outputs, *arguments, **settings):
    function = symnet.function(inputs, outputs, **settings)
    return symnet.benchmark(function, *arguments, seconds=0.005, rounds=5)


def ones(*shape):
    return np.ones(shape, "float32")


def test_a_product():
    a, b = T.fmatrix("a"), T.fmatrix("b")
    found = measured([a, b], T.dot(a, b), ones(30, 200), ones(200, 50), name="product")
    assert found.flops == 2 * 30 * 200 * 50
    assert found.bytes == 4 * (30 * 200 + 200 * 50 + 30 * 50)
    (kernel,) = found.kernels
    assert kernel.flops == {"float32": found.flops}
    assert (kernel.read, kernel.written) == (4 * (30 * 200 + 200 * 50), 4 * 30 * 50)
    assert found.name == "product"


def test_a_product_of_float64():
    a = T.dmatrix("a")
    found = measured([a], T.dot(a, a), np.ones((16, 16)))
    assert found.flops == 2 * 16**3
    # The one array is two operands.
    assert found.bytes == 8 * 3 * 16**2
    assert found.kernels[0].flops == {"float64": 2 * 16**3}


def test_an_elementwise_sum():
    x, y = T.fmatrix("x"), T.fmatrix("y")
    found = measured([x, y], x + y, ones(300, 70), ones(300, 70))
    assert found.flops == 300 * 70
    assert found.bytes == 3 * 4 * 300 * 70
    assert (found.kernels[0].read, found.kernels[0].written) == (2 * 4 * 300 * 70, 4 * 300 * 70)


def test_a_chain_is_one_kernel_and_a_row_is_read_once():
    x, row = T.fmatrix("x"), T.fvector("row")
    found = measured([x, row], T.exp(x * row) - 1, ones(40, 60), ones(60))
    assert len(found.kernels) == 1
    assert found.bytes == 4 * (2 * 40 * 60 + 60)


def test_a_size_that_the_run_found():
    x, n = T.fvector("x"), T.lscalar("n")
    function = symnet.function([x, n], x[:n] * 2)
    for length in (50, 30, 20):
        function(ones(100), length)
    found = symnet.benchmark(function, ones(100), 40, seconds=0.005, rounds=3)
    assert found.flops == 40
    assert sum(each.written for each in found.kernels) == 4 * 40


def test_the_longer_branch_and_the_data_dependent_loop():
    from symnet.compile import nest

    one = nest.Literal("float32", 1.0)
    index = nest.Name(nest.INDEX, "i")
    load = nest.Load("float32", "x", index)
    more = nest.Call("float32", "add", (nest.Call("float32", "fma", (load, one, one)), one))
    branch = nest.If(nest.Literal("bool", True), (nest.Store("y", index, more),), ())
    unknown = nest.For("j", nest.Cast(nest.INDEX, load), (nest.Store("y", index, one),))
    tally = count._Tally({"n": 7})
    tally.block((nest.For("i", nest.Name(nest.INDEX, "n"), (branch, unknown)),), 1)
    assert tally.flops == {"float32": 7 * 3}
    assert tally.stores == {"y": 7}


def test_times_and_what_follows_from_them():
    x = T.fvector("x")
    found = measured([x], x * 2, ones(1000))
    assert len(found.rounds) == 5
    assert 0 < found.least <= found.median <= max(found.rounds) < 1
    assert found.spread >= 0
    assert found.gflops == pytest.approx(1000 / found.least / 1e9)
    assert found.gigabytes == pytest.approx(8000 / found.least / 1e9)
    assert found.fraction == pytest.approx(found.limit_seconds / found.least)
    assert found.bound == "memory"


def test_it_prints():
    x = T.fmatrix("x")
    found = measured([x], T.dot(x, x), ones(256, 256), name="square")
    lines = str(found).split("\n")
    assert lines[0].startswith("square, ")
    words = ["time", "computes", "moves", "limit"]
    assert [line.split()[0] for line in lines[1:5]] == words
    assert "33.55 MFLOP" in lines[2]
    assert "786.4 kB" in lines[3]
    assert f"by {found.bound}" in lines[4]
    assert len(lines) == 5 + len(found.kernels)


def test_what_updates_is_updated():
    counter = symnet.shared(np.float32(0))
    function = symnet.function([], updates=[(counter, counter + 1)])
    symnet.benchmark(function, seconds=0.002, rounds=2)
    assert counter.get_value() > 2


def test_what_has_no_kernels():
    x = T.fvector("x")
    function = symnet.function([x], x + 1, mode="reference")
    with pytest.raises(symnet.errors.ArgumentError, match="no kernels to count"):
        symnet.benchmark(function, ones(3))


def test_one_round_has_no_spread():
    x = T.fvector("x")
    with pytest.raises(symnet.errors.ArgumentError, match="at least 2"):
        symnet.benchmark(symnet.function([x], x + 1), ones(3), rounds=1)


def test_limits_of_this_machine():
    found = machine_limits(1)
    assert found is machine_limits(1)
    # From a slow processor to one a hundred times today's.
    assert 1e8 < found.flops["float64"] <= found.flops["float32"] * 1.5 < 1e14
    assert [size for size, _ in found.reading] == list(PLACES)
    assert all(1e7 < rate < 1e14 for _, rate in found.reading + found.writing)
    assert found.flops["float32"] > 1.2 * found.flops["float64"]


def test_the_limit_that_is_taken():
    limits = Limits(
        1, {"float32": 100.0, "float64": 50.0}, ((10, 40.0), (100, 20.0)), ((10, 30.0), (100, 5.0))
    )
    assert limits.bandwidth(10, 0.0) == 40
    assert limits.bandwidth(11, 0.05) == 20
    assert limits.bandwidth(11, 0.5) == 5
    assert limits.bandwidth(1000, 0.5) == 5
    assert limits.seconds({"float32": 200, "float64": 50}, 30, 10, 50) == (3.0, 8.0)
    assert limits.seconds({}, 0, 0, 0) == (0, 0.0)
