"""Reverse-mode differentiation: takes a cost and variables, hands on expressions for its gradient by them.

One walk against the direction of the data; each op's rule builds more graph, so gradients have
gradients. What a rule builds belongs to the user's line of the node it differentiates.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import ArgumentError, DisconnectedInputError, GraphError
from symnet.graph.op import DISCONNECTED, ZERO
from symnet.graph.source import inherit
from symnet.graph.traversal import toposort
from symnet.graph.types import DISCRETE_DTYPES
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, constant
from symnet.ops.creation import zeros_like
from symnet.ops.elementwise import cast
from symnet.ops.reduction import sum as total


def grad(
    cost: Variable | None,
    wrt: Any,
    consider_constant: Sequence[Variable] | None = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Variable, Variable] | Sequence[tuple[Variable, Variable]] | None = None,
    return_disconnected: str = "zero",
    null_gradients: str = "raise",
) -> Any:
    """The gradient of a scalar by one variable or several.

    Parameters
    ----------
    cost
        A scalar expression; None when `known_grads` says where the walk begins.
    wrt
        A variable, or a list or tuple of them; the result has the same form.
    consider_constant
        Variables through which no gradient passes.
    disconnected_inputs
        What happens for a variable that the cost does not depend on: "raise", "warn", or "ignore" (the
        gradient is zero then).
    add_names
        Whether a gradient of named variables is named `(dcost/dx)`.
    known_grads
        Gradients by inner variables that are known already: a mapping, or pairs. They replace what the
        cost would contribute there.
    return_disconnected
        "zero", or "None" for None in place of a disconnected gradient.
    null_gradients
        Accepted for Theano's programs; an op without a gradient always raises.

    Returns
    -------
    Expressions of the variables' shapes and dtypes.

    Raises
    ------
    GraphError
        When the cost is not a scalar, or `wrt` holds something that is not a variable.
    DisconnectedInputError
        When the cost does not depend on a variable.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dscalar("x")
    >>> print(float(symnet.grad(x**3, x).eval({x: 2.0})))
    12.0
    """
    if disconnected_inputs not in ("raise", "warn", "ignore"):
        raise ArgumentError(
            f'grad with disconnected_inputs={disconnected_inputs!r}: "raise", "warn" or "ignore" are expected'
        )
    several = isinstance(wrt, list | tuple)
    targets = list(wrt) if several else [wrt]
    for target in targets:
        if not isinstance(target, Variable):
            raise GraphError(f"grad by {type(target).__name__} {target!r:.80}: variables are expected")
    start = _seeds(cost, known_grads)
    stopped = set(consider_constant or ())
    found = _walk(start, targets, stopped, frozenset(_known(known_grads)))
    results: list[Any] = []
    for target in targets:
        gradient = found.get(target)
        if gradient is None:
            gradient = _disconnected(target, cost, disconnected_inputs, return_disconnected)
        if (
            add_names
            and gradient is not None
            and gradient.owner is not None
            and gradient.name is None
            and target.name
            and cost is not None
            and cost.name
        ):
            gradient.name = f"(d{cost.name}/d{target.name})"
        results.append(gradient)
    if not several:
        return results[0]
    return tuple(results) if isinstance(wrt, tuple) else results


def _known(known_grads: Any) -> dict[Variable, Any]:
    return dict(known_grads or {})


def _seeds(cost: Variable | None, known_grads: Any) -> dict[Variable, Variable]:
    start: dict[Variable, Variable] = {}
    if cost is not None:
        if not isinstance(cost, Variable):
            raise GraphError(f"grad of {type(cost).__name__} {cost!r:.80}: a symbolic scalar is expected")
        if cost.ndim:
            raise GraphError(
                f"grad of a tensor of {cost.ndim} axes: the cost must be a scalar",
                [cost],
                hint="T.sum or T.mean makes it one",
            )
        dtype = config.floatX if cost.dtype in DISCRETE_DTYPES else cost.dtype
        start[cost] = constant(np.asarray(1, dtype=dtype))
    elif known_grads is None:
        raise GraphError("grad of None: a cost or known_grads is needed")
    for variable, gradient in _known(known_grads).items():
        known = as_tensor_variable(gradient)
        if known.dtype in DISCRETE_DTYPES:
            raise GraphError("a known gradient of integer dtype", [variable, known])
        if known.ndim != variable.ndim:
            raise GraphError("a known gradient of another rank than its variable", [variable, known])
        start[variable] = known
    return start


def _dependents(nodes: Sequence[Apply], targets: Sequence[Variable], stopped: set[Variable]) -> set[Variable]:
    """The variables that depend on a target, targets included."""
    reached = set(targets)
    for node in nodes:
        if any(each in reached and (each not in stopped or each in targets) for each in node.inputs):
            reached.update(node.outputs)
    return reached


def _walk(
    start: dict[Variable, Variable],
    targets: Sequence[Variable],
    stopped: set[Variable],
    known: frozenset[Variable],
) -> dict[Variable, Variable]:
    nodes = toposort(start)
    reached = _dependents(nodes, targets, stopped)
    wanted = set(targets)
    parts: dict[Variable, list[Any]] = {variable: [gradient] for variable, gradient in start.items()}
    done: dict[Variable, Variable] = {}

    def settled(variable: Variable) -> Variable | None:
        """The sum of what reached a variable; zeros when only zeros did; None when nothing did."""
        if variable in done:
            return done[variable]
        arrived = parts.get(variable)
        if not arrived:
            return None
        terms = [each for each in arrived if each is not ZERO]
        if not terms:
            result = zeros_like(variable, dtype=_gradient_dtype(variable))
        else:
            result = terms[0]
            for term in terms[1:]:
                result = table.add(result, term)
        done[variable] = result
        return result

    for node in reversed(nodes):
        if not any(output in reached for output in node.outputs):
            continue
        if not any(output in parts and output not in stopped for output in node.outputs):
            continue
        if all(each not in reached for each in node.inputs):
            continue
        with inherit(node.source):
            incoming = [
                zeros_like(output, dtype=_gradient_dtype(output)) if (g := settled(output)) is None else g
                for output in node.outputs
            ]
            incoming = [
                cast(g, output.dtype) if output.dtype not in DISCRETE_DTYPES else g
                for g, output in zip(incoming, node.outputs, strict=True)
            ]
            gradients = node.op.gradient(node, incoming)
        if len(gradients) != len(node.inputs):
            raise GraphError(
                f"the gradient rule of {node.op} gave {len(gradients)} gradients "
                f"for {len(node.inputs)} inputs",
                source=node.source,
            )
        for variable, gradient in zip(node.inputs, gradients, strict=True):
            if gradient is DISCONNECTED or (isinstance(variable, Constant) and variable not in wanted):
                continue
            if variable in known or variable not in reached:
                continue
            if variable in stopped and variable not in wanted:
                continue
            parts.setdefault(variable, []).append(gradient)
    result = {}
    for target in targets:
        gradient = settled(target)
        if gradient is not None:
            result[target] = gradient
    return result


def _gradient_dtype(variable: Variable) -> str:
    return str(config.floatX) if variable.dtype in DISCRETE_DTYPES else variable.dtype


def _disconnected(
    target: Variable, cost: Variable | None, disconnected_inputs: str, return_disconnected: str
) -> Variable | None:
    what = "the cost does not depend on this variable (or only through shapes and constants)"
    if disconnected_inputs == "raise":
        operands: list[Variable | str] = [target] if cost is None else [target, cost]
        raise DisconnectedInputError(
            f"grad: {what}",
            operands,
            hint='disconnected_inputs="ignore" gives zeros in its place',
        )
    if disconnected_inputs == "warn":
        warnings.warn(f"grad by {target}: {what}", stacklevel=4)
    if return_disconnected.lower() == "none":
        return None
    return zeros_like(target, dtype=_gradient_dtype(target))


def Lop(
    f: Any, wrt: Any, eval_points: Any, consider_constant: Any = None, disconnected_inputs: str = "raise"
) -> Any:
    """The vector-Jacobian product: `eval_points` (of `f`'s shapes) times the Jacobian of `f` by `wrt`."""
    outputs = list(f) if isinstance(f, list | tuple) else [f]
    points = list(eval_points) if isinstance(eval_points, list | tuple) else [eval_points]
    if len(outputs) != len(points):
        raise GraphError(f"Lop of {len(outputs)} outputs with {len(points)} points")
    return grad(
        None,
        wrt,
        consider_constant=consider_constant,
        disconnected_inputs=disconnected_inputs,
        known_grads=list(zip(outputs, points, strict=True)),
    )


def Rop(f: Any, wrt: Any, eval_points: Any, disconnected_outputs: str = "raise") -> Any:
    """The Jacobian of `f` by `wrt` times a vector (`eval_points`, of `wrt`'s shapes).

    The Jacobian-vector product is the vector-Jacobian product of the vector-Jacobian product, by the
    vector in which that is linear.
    """
    outputs = list(f) if isinstance(f, list | tuple) else [f]
    targets = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    points = [
        as_tensor_variable(each)
        for each in (eval_points if isinstance(eval_points, list | tuple) else [eval_points])
    ]
    if len(targets) != len(points):
        raise GraphError(f"Rop by {len(targets)} variables with {len(points)} points")
    results = []
    for output in outputs:
        dual = zeros_like(output)
        backward = grad(None, targets, known_grads={output: dual}, disconnected_inputs="ignore")
        inner = [total(g * point) for g, point in zip(backward, points, strict=True)]
        cost = inner[0]
        for term in inner[1:]:
            cost = cost + term
        results.append(
            grad(cost, dual, disconnected_inputs="raise" if disconnected_outputs == "raise" else "ignore")
        )
    return results if isinstance(f, list | tuple) else results[0]


def disconnected_grad(x: Any) -> Variable:
    """`x` itself, through which no gradient passes: to `grad` it is disconnected."""
    return table.disconnected_grad(x)  # type: ignore[no-any-return]


def zero_grad(x: Any) -> Variable:
    """`x` itself, with a gradient of zero."""
    return table.zero_grad(x)  # type: ignore[no-any-return]


consider_constant = zero_grad
