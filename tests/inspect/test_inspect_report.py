"""The report of a function: its facts against the function itself, and that it prints."""

import pickle

import numpy as np
import pytest

import symnet
import symnet.tensor as T


@pytest.fixture
def step():
    x = T.dmatrix("x")
    w = symnet.shared(np.ones((40, 60)), name="w")
    hidden = T.tanh(T.dot(x, w) * 1)
    cost = T.sum(T.log(T.nnet.softmax(hidden)))
    return symnet.function([x], cost, updates=[(w, w - 0.1 * T.grad(cost, w))], name="step")


def test_before_a_call(step):
    report = step.report
    assert report.kernels == [] and report.memory is None and report.cache is None
    assert "before the first call" in report.cache_reason and "before the first call" in str(report)
    assert report.line.file == __file__


def test_passes_and_rules(step):
    report = step.report
    assert [each.name for each in report.passes] == ["merge", "canonicalise", "recognise", "stabilise"]
    assert all(each.sentence.endswith(".") and each.seconds >= 0 for each in report.passes)
    assert report.passes[-1].nodes_after == report.nodes == len(step.graph.nodes)
    assert sum(rule.hits for rule in report.rules.values()) == len(step.rewriting.applications)
    rule = report.rules["log_of_softmax"]
    assert rule.hits == 1 and rule.seconds > 0 and "underflow" in rule.reason


def test_kernels(step):
    step(np.ones((200, 40)))
    report = step.report
    assert [each.name for each in report.kernels] == [kernel.name for kernel in step.kernels]
    first = next(each for each in report.kernels if each.is_contraction)
    assert first.flops >= 2 * 200 * 40 * 60 and first.ops[0] == "dot" and first.calls == 1
    assert first.bytes_moved >= 8 * (200 * 40 + 40 * 60 + 200 * 60)
    assert "for i_inner in range(40)" in first.source and first.is_shared_out
    assert any("T.dot(x, w)" in line.text for line in first.lines)
    covered = {node for each in report.kernels for node in each.nodes}
    assert covered <= set(step.graph.nodes)


def test_memory(step):
    step(np.ones((20, 40)))
    memory = step.report.memory
    arena = [each for each in memory.buffers if each.kind == "arena"]
    assert memory.arena_bytes == max(each.offset + each.bytes for each in arena)
    assert memory.unshared_bytes == sum(each.bytes for each in arena) >= memory.arena_bytes
    for one in arena:
        for other in arena:
            if one is not other and one.first <= other.last and other.first <= one.last:
                assert one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset


def test_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYMNET_CACHE_DIR", str(tmp_path))
    x = T.dvector("x")

    def report():
        f = symnet.function([x], T.exp(x) + 4.25)
        f(np.ones(3))
        return f.report

    with symnet.config.override(cache=True, backend="llvm"):
        for expected, words in (("miss", "now it is"), ("hit", "was in")):
            found = report()
            assert found["cache"] == found.cache == expected
            assert words in found.cache_reason and str(tmp_path) in found.cache_reason
    with symnet.config.override(cache=False, backend="llvm"):
        found = report()
        assert found.cache == "off" and "config.cache" in found.cache_reason
    with symnet.config.override(cache=True, backend="numba"):
        found = report()
        assert found.cache == "off" and 'config.backend = "numba" keeps no code' in found.cache_reason


def test_it_is_plain_data_too(step):
    step(np.ones((2, 40)))
    report = step.report
    assert (report["name"], report["device"], report["specialisations"]) == ("step", "cpu", 1)
    assert "cache" in report
    assert dict(report)["arena_bytes"] == report.memory.arena_bytes and report.get("nothing") is None


def test_it_prints(step):
    step(np.ones((2, 40)))
    text = str(step.report)
    assert repr(step.report) == text
    for part in (
        "step, made in test_inspect_report.py:",
        "rewriting:",
        "log_of_softmax",
        "kernels:",
        "memory:",
        "cache",
    ):
        assert part in text
    assert all(kernel.name.removeprefix("step_k_") in text for kernel in step.kernels)
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_reference_mode():
    x = T.dvector("x")
    f = symnet.function([x], x + 1, mode="reference")
    f([1.0])
    assert f.report["mode"] == "reference" and f.report.kernels == [] and "NumPy" in str(f.report)


def test_a_pickled_function_reports(step):
    again = pickle.loads(pickle.dumps(step))
    assert set(again.report.rules) == set(step.report.rules)
    again(np.ones((2, 40)))
    assert again.report.kernels and "kernels:" in str(again.report)
