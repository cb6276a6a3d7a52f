"""Deep graphs through the whole compiler: sizes made of sizes, and memory for thousands of buffers."""

from __future__ import annotations

import random

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.compile import specialise
from symnet.compile.memory import bytes_of, lifetimes, plan_memory
from symnet.compile.nest import Nest
from symnet.compile.program import Buffer, KernelCall, Program
from symnet.graph import dims
from symnet.graph.function_graph import FunctionGraph


def test_lengths_made_of_lengths_cost_a_step_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Fibonacci's numbers: written out in the input's length they would have millions of terms."""
    steps = 0
    evaluate = dims.evaluate

    def counting(*arguments: object) -> int:
        nonlocal steps
        steps += 1
        return evaluate(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(specialise.dims, "evaluate", counting)
    x = T.dvector("x")
    longer, shorter = x, x
    for _ in range(22):
        longer, shorter = T.concatenate([longer, shorter]), longer
    f = symnet.function([x], longer.sum())
    assert f(np.ones(1)) == 46368
    steps = 0
    # With a second length the lengths are found at run time, each a slot made of two others.
    assert f(np.ones(2)) == 2 * 46368
    assert steps < 22 * 40


def test_a_length_that_grows_by_thousands_of_steps() -> None:
    x = T.dvector("x")
    y = x
    for _ in range(3000):
        y = T.concatenate([y, x])
    graph = FunctionGraph([x], [y])
    dynamic = {("input", 0, 0)}
    found = specialise.Specialiser(graph, [np.ones(2)], dynamic, {}).run()
    assert len(found.slots) == 3001
    *_, last = found.slots.values()
    assert last.leaves == {specialise.Length(0, 0)}
    assert last.capacity == 8192
    # A later call asks for the values of slots that another one made.
    later = specialise.Specialiser(graph, [np.ones(5)], set(), {}, found.slots)
    assert later.concrete(last.size) == 15005


def test_many_buffers_share_memory_without_meeting() -> None:
    """Each buffer lies where the first gap is beside those that live with it, checked one by one."""
    draw = random.Random(3)
    program = Program("many")
    kernel = Nest("k", (), (), (), ())
    buffers = [
        Buffer(f"b{number}", "float32", draw.choice((1, 20, 400, draw.randrange(1, 3000))), "arena")
        for number in range(600)
    ]
    program.buffers = buffers
    for number, buffer in enumerate(buffers):
        earlier = buffers[max(0, number - draw.choice((2, 30, 600)))]
        program.steps.append(KernelCall(kernel, (buffer, earlier), ()))
    plan_memory(program)
    lives = lifetimes(program)
    placed: list[Buffer] = []
    for buffer in sorted(lives, key=lambda each: (-bytes_of(each), lives[each][0])):
        first, last = lives[buffer]
        beside = [each for each in placed if lives[each][0] <= last and first <= lives[each][1]]

        def free(offset: int, beside: list[Buffer] = beside, size: int = bytes_of(buffer)) -> bool:
            return all(
                offset + size <= (each.offset or 0) or (each.offset or 0) + bytes_of(each) <= offset
                for each in beside
            )

        candidates = [0, *((each.offset or 0) + bytes_of(each) for each in beside)]
        assert buffer.offset == min(filter(free, candidates))
        placed.append(buffer)
    assert program.arena_bytes == max((each.offset or 0) + bytes_of(each) for each in placed)
    assert program.arena_bytes < sum(map(bytes_of, placed)) / 2


def test_a_chain_of_thousands_of_nodes_is_compiled_with_its_gradient() -> None:
    """Its links are alike, so it is a handful of kernels however long it is."""
    x = T.dvector("x")
    kernels = []
    for length in (200, 400):
        y = x
        for _ in range(length):
            y = T.tanh(y) + x
        f = symnet.function([x], [y.sum(), T.grad(y.sum(), x)])
        value, gradient = f(np.array([0.25, -0.5]))
        kernels.append(len(f.kernels))
        expected, slope = np.array([0.25, -0.5]), np.ones(2)
        for _ in range(length):
            slope = (1 - np.tanh(expected) ** 2) * slope + 1
            expected = np.tanh(expected) + [0.25, -0.5]
        np.testing.assert_allclose(value, expected.sum(), rtol=1e-9)
        np.testing.assert_allclose(gradient, slope, rtol=1e-9)
    assert kernels[1] <= kernels[0] + 2 < 40


def test_more_layers_alike_are_no_more_kernels() -> None:
    """So the time to compile a deep network grows far slower than its depth."""
    kernels, calls = [], []
    for layers in (8, 24):
        draw = np.random.default_rng(1)
        x = T.dmatrix("x")
        weights = [symnet.shared(draw.normal(size=(6, 6)), name=f"w{number}") for number in range(layers)]
        y = x
        for w in weights:
            y = T.tanh(T.dot(y, w))
        cost = T.sqr(y).mean()
        updates = [(w, w - 0.1 * g) for w, g in zip(weights, T.grad(cost, weights), strict=True)]
        f = symnet.function([x], cost, updates=updates)
        f(np.ones((4, 6)))
        kernels.append(len(f.kernels))
        calls.append(len(f._executor._latest.program.calls))
    assert calls[1] - calls[0] >= 2 * 16
    assert kernels[1] <= kernels[0] + 2
