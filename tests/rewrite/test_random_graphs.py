"""Random expressions and their gradients: the passes change no value, no NaN, no infinity and no refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symnet.ops.operators  # noqa: F401  (gives variables their operators)
from symnet.errors import SymnetError
from symnet.gradient import grad
from symnet.graph.types import FLOAT_DTYPES
from symnet.graph.variable import Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import constant
from symnet.ops.creation import ones_like, zeros_like
from symnet.ops.elementwise import cast
from symnet.ops.nnet import softmax
from symnet.ops.reduction import max as highest
from symnet.ops.reduction import sum as total
from symnet.ops.shape import dimshuffle
from symnet.rewrite.pipeline import PASSES, rewrite

from .running import declare, rewritten, sample, specials, values

UNARY = [
    table.neg,
    table.abs_,
    table.sqr,
    table.exp,
    table.tanh,
    table.sigmoid,
    lambda v: v * 1,
    lambda v: v + 0,
    lambda v: 0 - v,
    lambda v: v * 2 * 0.3,
    lambda v: v**2,
    lambda v: v**1,
    lambda v: v - -1.5,
    lambda v: table.fill(v, 0.5),
    lambda v: cast(cast(v, "float64"), v.dtype),
    lambda v: zeros_like(v) + v,
    lambda v: ones_like(v) * v,
    lambda v: v[:2] if v.ndim else v,
    lambda v: v[::-1] if v.ndim else v,
    lambda v: v[1] if v.ndim else v,
    lambda v: v.T,
    lambda v: dimshuffle(v, 0, "x") if v.ndim == 1 else v,
    lambda v: v.reshape(v.shape, ndim=v.ndim) if v.ndim else v,
    lambda v: total(v, axis=0) if v.ndim else v,
    lambda v: highest(v, axis=0, keepdims=True) if v.ndim else v,
    lambda v: softmax(v) if v.ndim == 2 else v,
    lambda v: cast(v.shape[0], v.dtype) * v if v.ndim else v,
]
BINARY = [
    table.add,
    table.sub,
    table.mul,
    table.true_div,
    table.maximum,
    table.fill,
    lambda v, w: table.switch(table.lt(v, w), v, w),
    lambda v, w: table.switch(constant(np.bool_(True)), v, w),
    lambda v, w: v + -w,
]


def _expression(generator: np.random.Generator, steps: int) -> tuple[list[Variable], list[Variable]]:
    """Inputs, and some expressions of them; refusals while it is written are passed over."""
    inputs = declare("a:dmatrix b:dmatrix c:dvector d:drow e:dcol f:dscalar g:fmatrix h:lvector")
    made = list(inputs)
    for _ in range(steps):
        recent = made[-8:] if generator.random() < 0.7 else made
        v, w = (recent[i] for i in generator.integers(0, len(recent), 2))
        try:
            if generator.random() < 0.5:
                made.append(UNARY[generator.integers(len(UNARY))](v))
            else:
                made.append(BINARY[generator.integers(len(BINARY))](v, w))
        except SymnetError:
            continue
    return inputs, made[-4:]


def _attempt(outputs: Any, given: Any) -> Any:
    try:
        return values(outputs, given)
    except SymnetError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(60))
def test_canonical_forms_mean_the_same(seed: int) -> None:
    """Special values included. A refusal stays one."""
    generator = np.random.default_rng(seed)
    inputs, outputs = _expression(generator, 14)
    graph, _ = rewritten(outputs, PASSES[1].rules)
    given = {each: specials(each, generator) for each in inputs}
    expected, found = _attempt(outputs, given), _attempt(graph.outputs, given)
    if isinstance(expected, type) or isinstance(found, type):
        assert expected == found
        return
    for old, new in zip(expected, found, strict=True):
        assert old.dtype == new.dtype and old.shape == new.shape
        np.testing.assert_allclose(new, old, rtol=1e-5 if old.dtype == "float32" else 1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_all_passes_keep_values_and_gradients(seed: int) -> None:
    generator = np.random.default_rng(1000 + seed)
    inputs, outputs = _expression(generator, 10)
    wrt = [each for each in inputs if each.dtype in FLOAT_DTYPES]
    cost = total(inputs[0])
    for each in outputs:
        if each.dtype in FLOAT_DTYPES:
            cost = cost + total(table.tanh(each))
    outputs = [*outputs, *grad(cost, wrt, disconnected_inputs="ignore")]
    graph, _ = rewritten(outputs)
    given = {each: sample(each, generator) for each in inputs}
    expected, found = _attempt(outputs, given), _attempt(graph.outputs, given)
    if isinstance(expected, type) or isinstance(found, type):
        assert expected == found
        return
    for old, new in zip(expected, found, strict=True):
        assert old.dtype == new.dtype and old.shape == new.shape
        tolerance = 1e-4 if old.dtype == "float32" else 1e-5
        np.testing.assert_allclose(new, old, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(20))
def test_rewriting_again_changes_nothing(seed: int) -> None:
    generator = np.random.default_rng(2000 + seed)
    _, outputs = _expression(generator, 14)
    graph, _ = rewritten(outputs)
    assert rewrite(graph).applications == []
