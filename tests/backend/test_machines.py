"""A whole training step on processors of other vector widths: right on each, and code for those not here."""

from __future__ import annotations

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cpu import machine as machines
from symnet.backend.cpu import runtime
from symnet.backend.cpu.machine import Machine, host_machine

HOST = host_machine()
MACHINES = {
    "4 lanes": HOST.with_lanes_bytes(16),
    "8 lanes": HOST.with_lanes_bytes(32),
    "16 lanes": HOST.with_lanes_bytes(64),
    "no AVX-512": HOST.without("avx512"),
    "no AVX": HOST.without("avx").without("fma"),
}
OTHERS = {
    "aarch64": Machine(16, 32, name="cortex-a76", features="+neon", triple="aarch64-unknown-linux-gnu"),
    "haswell": Machine(32, 16, name="haswell", triple="x86_64-unknown-linux-gnu", masks=True),
    "plain x86-64": Machine(16, 16, name="x86-64", triple="x86_64-unknown-linux-gnu"),
}


def training_step(mode=None):
    """A convolution, pooling, a dense layer, softmax and their gradients, on odd sizes."""
    random = np.random.default_rng(5)

    def parameter(*shape):
        return symnet.shared((random.normal(size=shape) * 0.3).astype("float32"))

    x, y = T.ftensor4("x"), T.lvector("y")
    w, b, v, c = parameter(7, 3, 3, 3), parameter(7), parameter(7 * 5 * 6, 11), parameter(11)
    hidden = T.signal.pool.pool_2d(T.nnet.conv2d(x, w), (2, 2), ignore_border=True)
    hidden = T.nnet.relu(hidden + b.dimshuffle("x", 0, "x", "x"))
    p = T.nnet.softmax(T.dot(T.tanh(hidden.flatten(2)), v) + c)
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y]) + 0.01 * (v**2).sum()
    parameters = [w, b, v, c]
    updates = [(each, each - 0.1 * g) for each, g in zip(parameters, T.grad(cost, parameters), strict=True)]
    return symnet.function([x, y], [cost, p.argmax(axis=1)], updates=updates, mode=mode), parameters


def data():
    random = np.random.default_rng(6)
    return random.normal(size=(5, 3, 12, 14)).astype("float32"), random.integers(0, 11, 5)


@pytest.fixture(scope="module")
def wanted():
    with symnet.config.override(floatX="float32"):
        step, parameters = training_step("reference")
        costs = [step(*data())[0] for _ in range(3)]
    return costs, [each.get_value() for each in parameters]


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_training_step(name, threads, wanted, monkeypatch):
    monkeypatch.setattr(machines, "host_machine", lambda: MACHINES[name])
    with symnet.config.override(floatX="float32", cache=False, threads=threads):
        step, parameters = training_step()
        costs = [step(*data())[0] for _ in range(3)]
    np.testing.assert_allclose(costs, wanted[0], rtol=1e-5)
    for mine, its in zip(parameters, wanted[1], strict=True):
        np.testing.assert_allclose(mine.get_value(), its, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_code_for_a_processor_that_is_not_here(name, monkeypatch):
    """Object code comes out for it; that is all that can be seen from here."""
    import llvmlite.binding as binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    emitted = []

    def compile_for_it(program, table):
        monkeypatch.setattr(machines, "host_machine", lambda: OTHERS[name])
        emitted.append(runtime._compile(program, table)[0])
        monkeypatch.undo()
        return load(program, table)

    load = runtime.load_program
    monkeypatch.setattr(runtime, "load_program", compile_for_it)
    with symnet.config.override(floatX="float32"):
        training_step()[0](*data())
    kind = {"aarch64": 183}.get(name, 62)  # ELF's e_machine
    assert emitted[0][:4] == b"\x7fELF" and int.from_bytes(emitted[0][18:20], "little") == kind
