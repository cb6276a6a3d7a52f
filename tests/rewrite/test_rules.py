"""Every rule: the exact graph it makes, equal values and gradients, and a graph that it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from symnet.graph.variable import Variable
from symnet.rewrite.engine import RuleLike
from symnet.rewrite.pipeline import PASSES

from . import cases_algebra, cases_shape, cases_stabilise
from .case import Case
from .running import declare, gradient_of, rewritten, sample, specials, text, values

CASES = cases_algebra.CASES + cases_shape.CASES + cases_stabilise.CASES
RULES: dict[str, RuleLike] = {rule.name: rule for each in PASSES for rule in each.rules}


def _name(case: Case) -> str:
    return f"{case.rule}-{case.after[:30]}"


def _values(variable: Variable, case: Case, generator: np.random.Generator) -> Any:
    """Values in the case's domain; indices inside every axis."""
    if variable.name == "i" and variable.ndim:
        return np.array([0, 1, 1])
    return sample(variable, generator, *case.domain)


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(RULES)


def test_names_of_rules_are_unique_and_reasons_given() -> None:
    rules = {id(rule): rule for each in PASSES for rule in each.rules}.values()
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(len(rule.reason.split()) > 2 for rule in rules)


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_rule_makes_this_graph(case: Case) -> None:
    inputs = declare(case.inputs)
    graph, report = rewritten(case.before(*inputs), [RULES[case.rule]])
    assert text(graph.outputs[0]) == case.after
    assert set(report.counts()) == {case.rule}


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_rule_leaves_this_graph_alone(case: Case) -> None:
    inputs = declare(case.inputs)
    before = case.alone(*inputs)
    graph, report = rewritten(before, [RULES[case.rule]])
    assert report.counts() == {}
    merged, _ = rewritten(before, [])
    assert text(graph.outputs[0]) == text(merged.outputs[0])


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_values_and_gradients_stay(case: Case) -> None:
    generator = np.random.default_rng(7)
    inputs = declare(case.inputs)
    before = case.before(*inputs)
    alone, _ = rewritten(before, [RULES[case.rule]])
    after = alone.outputs[0]
    gradients = gradient_of(before, inputs) if case.gradient else []
    full, _ = rewritten([before, *gradients])
    new_gradients = gradient_of(after, inputs) if case.gradient else []
    given = {each: _values(each, case, generator) for each in inputs}
    tolerance = 2e-5 if any(each.dtype == "float32" for each in [*inputs, before]) else 1e-9
    expected = values([before, *gradients], given)
    for found in (values([after, *new_gradients], given), values(full.outputs, given)):
        for old, new in zip(expected, found, strict=True):
            assert old.dtype == new.dtype and old.shape == new.shape
            np.testing.assert_allclose(new, old, rtol=tolerance, atol=tolerance)
    if case.exact:
        for _ in range(8):
            given = {
                each: specials(each, generator)
                if each.dtype.startswith("float")
                else _values(each, case, generator)
                for each in inputs
            }
            np.testing.assert_array_equal(*values([before, after], given))
