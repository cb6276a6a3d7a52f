"""A graph's value by each op's NumPy meaning, unrewritten, and its gradients held against differences.

The tests of single op families use this, so that they depend on nothing but the ops and the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import symnet.ops.operators  # noqa: F401  (gives variables their operators)
from symnet.backend.reference import apply_op
from symnet.gradient import grad
from symnet.graph.traversal import toposort
from symnet.graph.types import TensorType
from symnet.graph.variable import Constant, Variable
from symnet.ops.reduction import sum as reduce_sum


def evaluate(outputs: Any, given: Mapping[Variable, Any]) -> Any:
    """The outputs' values (one or a list) for the given values of inputs."""
    several = isinstance(outputs, list | tuple)
    wanted = list(outputs) if several else [outputs]
    known: dict[Variable, Any] = {}
    for variable, value in given.items():
        known[variable] = np.asarray(value, dtype=variable.dtype)

    def value_of(variable: Variable) -> Any:
        return variable.data if isinstance(variable, Constant) else known[variable]

    for node in toposort(wanted, stop=known):
        results = apply_op(node, [value_of(each) for each in node.inputs])
        known.update(zip(node.outputs, results, strict=True))
    values = [np.array(value_of(each)) for each in wanted]
    return values if several else values[0]


def gradients(output: Variable, wrt: Sequence[Variable], weight: Any = None) -> list[Variable]:
    """The gradients of sum(output * weight)."""
    total = reduce_sum(output if weight is None else output * weight)
    return grad(total, list(wrt), disconnected_inputs="ignore")  # type: ignore[no-any-return]


def check_gradient(
    build: Callable[..., Variable], *values: Any, seed: int = 0, step: float = 1e-5, order: int = 2
) -> None:
    """Hold the gradient, then the gradient of the gradient and so on, against central differences."""
    generator = np.random.default_rng(seed)
    arrays = [np.asarray(value, "float64") for value in values]
    inputs = [TensorType("float64", shape=[None] * a.ndim)() for a in arrays]
    given = dict(zip(inputs, arrays, strict=True))
    function = build(*inputs)
    for _ in range(order):
        weighted = reduce_sum(function * generator.standard_normal(evaluate(function, given).shape))
        directions = [generator.standard_normal(a.shape) for a in arrays]
        parts = zip(gradients(weighted, inputs), directions, strict=True)
        # The derivative along a direction, which is also the next order's function.
        function = sum((reduce_sum(g * d) for g, d in parts), start=reduce_sum(inputs[0] * 0))

        def at(distance: float, weighted: Variable = weighted, directions: Any = directions) -> float:
            moved = [a + distance * d for a, d in zip(arrays, directions, strict=True)]
            return float(evaluate(weighted, dict(zip(inputs, moved, strict=True))))

        difference = (at(step) - at(-step)) / (2 * step)
        np.testing.assert_allclose(evaluate(function, given), difference, rtol=1e-5, atol=1e-6)
