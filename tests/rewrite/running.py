"""Graphs as text, values by NumPy's meaning, and rewriting of a copy: what the tests of rewrites share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symnet.backend.reference import apply_op
from symnet.gradient import grad
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.traversal import clone_graph, roots, toposort
from symnet.graph.types import TensorType
from symnet.graph.variable import Constant, Variable
from symnet.graph.verifier import verify
from symnet.ops.elementwise_table import sqr
from symnet.ops.reduction import sum as total
from symnet.rewrite.engine import RuleLike
from symnet.rewrite.pipeline import PASSES, Pass, RewriteReport, rewrite

_AXES = {"scalar": 0, "vector": 1, "matrix": 2, "tensor3": 3}
_SHAPES: dict[str, tuple[int | None, ...]] = {
    **{name: (None,) * ndim for name, ndim in _AXES.items()},
    "row": (1, None),
    "col": (None, 1),
}
_DTYPES = {
    "f": "float32",
    "d": "float64",
    "b": "int8",
    "i": "int32",
    "l": "int64",
    "z": "bool",
    "u": "uint8",
}
#: Values in which most mistakes about IEEE arithmetic show.
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -3.0, 1e-300, 700.0])


def declare(text: str) -> list[Variable]:
    """Inputs from "x:dmatrix y:lvector z:d(3,?)"."""
    found = []
    for part in text.split():
        name, kind = part.split(":")
        rest = kind[1:]
        if rest.startswith("("):
            shape = tuple(None if n == "?" else int(n) for n in rest.strip("()").split(",") if n)
        else:
            shape = _SHAPES[rest]
        found.append(TensorType(_DTYPES[kind[0]], shape=shape)(name))
    return found


def text(variable: Variable) -> str:
    """The expression, nested: `add(x, 1.0)`."""
    known: dict[Variable, str] = {}
    for node in toposort([variable]):
        arguments = ", ".join(known.get(each, str(each)) for each in node.inputs)
        for output in node.outputs:
            known[output] = f"{node.op}({arguments})"
    return known.get(variable, str(variable))


def rewritten(
    outputs: Variable | Sequence[Variable], rules: Sequence[RuleLike] | None = None
) -> tuple[FunctionGraph, RewriteReport]:
    """A rewritten copy of the expressions: by all passes, or by the rules alone."""
    several = [outputs] if isinstance(outputs, Variable) else list(outputs)
    copies, _ = clone_graph(several)
    graph = FunctionGraph(roots(several), copies)
    passes = PASSES if rules is None else [PASSES[0], Pass("rules", "The rules of a test.", rules)]
    report = rewrite(graph, passes)
    verify(graph, "the rewriting of a test")
    return graph, report


def values(outputs: Sequence[Variable], given: Mapping[Variable, Any]) -> list[np.ndarray[Any, Any]]:
    """The outputs' values by each op's NumPy meaning."""
    known: dict[Variable, Any] = {each: np.asarray(value, each.dtype) for each, value in given.items()}

    def value_of(variable: Variable) -> Any:
        return variable.data if isinstance(variable, Constant) else known[variable]

    for node in toposort(outputs, stop=known):
        for output, found in zip(
            node.outputs, apply_op(node, [value_of(i) for i in node.inputs]), strict=True
        ):
            known[output] = found
    return [value_of(each) for each in outputs]


def sample(variable: Variable, generator: np.random.Generator, low: float = -2.0, high: float = 2.0) -> Any:
    """Values of a variable's type; unknown axes get lengths 3, 4, 2 from the last one."""
    lengths = (2, 4, 3)[3 - variable.ndim :] if variable.ndim else ()
    shape = [n if known is None else known for n, known in zip(lengths, variable.type.shape, strict=True)]
    if variable.dtype == "bool":
        return generator.random(shape) < 0.5
    if variable.dtype in ("int8", "int32", "int64"):
        return generator.integers(-3, 4, shape).astype(variable.dtype)
    if variable.dtype == "uint8":
        return generator.integers(0, 7, shape).astype("uint8")
    return generator.uniform(low, high, shape).astype(variable.dtype)


def specials(variable: Variable, generator: np.random.Generator) -> Any:
    """As `sample`, with values drawn from `SPECIAL`."""
    shape = np.shape(sample(variable, generator))
    if not variable.dtype.startswith("float"):
        return sample(variable, generator)
    with np.errstate(over="ignore"):
        return generator.choice(SPECIAL, shape).astype(variable.dtype)


def gradient_of(output: Variable, inputs: Sequence[Variable]) -> list[Variable]:
    """The gradients of an output's sum of squares by the float inputs; none when it is not a float."""
    wrt = [each for each in inputs if each.dtype.startswith("float")]
    if not output.dtype.startswith("float") or not wrt:
        return []
    cost = total(sqr(output)) if output.ndim else sqr(output)
    return list(grad(cost, wrt, disconnected_inputs="ignore"))
