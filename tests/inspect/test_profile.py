"""Profiles: times of the kernels that ran, which lie within the calls; no clocks where none are asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError


def training_step(**more):
    w = symnet.shared(np.ones((300, 200), dtype="float32"), name="w")
    x = T.fmatrix("x")
    cost = T.tanh(T.dot(x, w)).sum()
    return symnet.function([x], cost, updates=[(w, w - 0.001 * T.grad(cost, w))], name="step", **more), w


X = np.full((400, 300), 0.01, dtype="float32")


def test_a_profile_has_each_kernel_with_its_lines_and_counts():
    step, _ = training_step()
    found = step.profile(X, n=20)
    assert found.calls == 20 and found.name == "step"
    step(X)
    assert {each.name for each in found.kernels} == {each.name for each in step.kernels}
    assert all(each.seconds > 0 and each.runs == 1 and each.lines for each in found.kernels)
    # Two products of 400 x 300 x 200, or three where the gradient is not folded into the update.
    assert sum(each.flops for each in found.kernels) >= 2 * 2 * 400 * 300 * 200
    assert found.kernels == tuple(sorted(found.kernels, key=lambda each: -each.seconds))


def test_its_times_lie_within_the_calls():
    step, _ = training_step()
    found = step.profile(X, n=20)
    assert 0 < found.kernel_seconds <= found.seconds
    assert found.outside_seconds == pytest.approx(found.seconds - found.kernel_seconds)
    # Products of this size take hundreds of times what a call does.
    assert found.kernel_seconds > 0.5 * found.seconds


def test_it_prints_a_table():
    step, _ = training_step()
    lines = str(step.profile(X, n=5)).splitlines()
    assert lines[0].startswith("step: ") and lines[0].endswith(("thread", "threads"))
    assert lines[1].split() == ["us", "share", "runs", "GFLOP/s", "GB/s", "limit", "kernel"]
    assert "outside the kernels" in lines[-1]
    assert any("dot" in line and "test_profile.py:" in line for line in lines)


def test_its_calls_update_as_calls_do():
    step, w = training_step()
    other, v = training_step()
    step.profile(X, n=5)
    for _ in range(7):
        other(X)
    np.testing.assert_array_equal(w.get_value(), v.get_value())


def test_a_chrome_trace_has_every_kernel_of_every_call_in_order(tmp_path):
    step, _ = training_step()
    found = step.profile(X, n=4)
    found.save_chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    calls = [each for each in events if each["name"] == "step"]
    assert [each["args"]["call"] for each in calls] == [0, 1, 2, 3]
    for call in calls:
        inside = [e for e in events if e["name"] != "step" and e["args"]["call"] == call["args"]["call"]]
        assert len(inside) == len(found.kernels)
        assert inside[0]["ts"] == call["ts"]
        for one, following in zip(inside, inside[1:], strict=False):
            assert following["ts"] == pytest.approx(one["ts"] + one["dur"])


def test_a_function_may_add_up_all_its_calls():
    step, _ = training_step(profile=True)
    assert step.profiled is None
    for _ in range(30):
        step(X)
    assert step.profiled.calls == 30
    step.map(np.stack([X, X]))
    assert step.profiled.calls == 32
    assert step.profiled.kernel_seconds <= step.profiled.seconds


def test_a_function_that_was_not_asked_has_no_clocks():
    step, _ = training_step()
    step(X)
    step.profile(X, n=2)
    (made,) = step.specialisations
    assert made.table.clocks == 0 and made.clocks() == [] and step.profiled is None


def test_kernels_that_run_several_times_count_once():
    x = T.fmatrix("x")
    y = x
    for _ in range(4):
        y = T.tanh(T.dot(y, T.constant(np.eye(64, dtype="float32"))))
    found = symnet.function([x], y).profile(np.ones((64, 64), "float32"), n=3)
    assert max(each.runs for each in found.kernels) == 4


def test_what_can_not_be_profiled():
    x = T.fvector("x")
    with pytest.raises(ArgumentError, match="no kernels to look at"):
        symnet.function([x], x * 2, mode="reference").profile(np.ones(3, "float32"))
    with pytest.raises(ArgumentError, match="n=0 calls"):
        symnet.function([x], x * 2).profile(np.ones(3, "float32"), n=0)
