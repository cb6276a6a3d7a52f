"""`verify_grad`: takes what builds an expression, and a point, hands on an error where a gradient is wrong.

The expression is projected to a scalar by random weights, and the symbolic gradient of that is held
against central finite differences, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.compile.function import function
from symnet.compile.shared import shared
from symnet.errors import GraphError, VerifyGradError
from symnet.gradient import grad
from symnet.graph.types import FLOAT_DTYPES, TensorType
from symnet.graph.variable import Variable
from symnet.ops.elementwise_table import mul
from symnet.ops.reduction import sum as reduce_sum

Array = np.ndarray[Any, Any]

# A central difference errs by eps² (its series) and by the rounding error over eps; these balance them.
_EPS = {"float16": 5e-2, "float32": 3e-3, "float64": 1e-5}
_TOLERANCE = {"float16": 5e-2, "float32": 1e-2, "float64": 1e-4}


def verify_grad(
    fun: Callable[..., Variable],
    pt: Sequence[Any],
    n_tests: int = 2,
    rng: Any = None,
    eps: float | None = None,
    out_type: str | None = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
    mode: Any = None,
    cast_to_output_type: bool = False,
    no_debug_ref: bool = True,
) -> None:
    """Hold an expression's gradient against finite differences.

    Parameters
    ----------
    fun
        Takes a symbolic variable for each array of `pt`, gives one expression of float dtype.
    pt
        The point: float arrays, or what becomes one.
    n_tests
        How many random projections are tried.
    rng
        A `numpy.random.RandomState` or `Generator`; by default one that is the same each time.
    eps
        The step of the difference; by default one that fits the narrowest dtype.
    out_type
        A dtype that is narrower than the output's, when the expression is computed in it; it sets the
        tolerances.
    abs_tol, rel_tol
        An entry is wrong when it differs by more than both: the absolute difference, and that divided
        by the sum of both magnitudes.
    mode
        How the functions are compiled, as for `function`.
    cast_to_output_type, no_debug_ref
        Accepted for Theano's programs; the projection always has the output's dtype.

    Raises
    ------
    VerifyGradError
        For the entry that differs most: its place, both values, and the tolerances.
    GraphError
        When a point or the expression is not of float dtype, or `fun` gives several expressions.

    >>> import numpy as np, symnet, symnet.tensor as T
    >>> symnet.verify_grad(lambda x: T.tanh(x) * 3, [np.array([0.1, -2.0])])
    """
    arrays = [_float_array(each, number) for number, each in enumerate(pt)]
    generator = np.random.RandomState(0) if rng is None else rng
    inputs = [
        TensorType(each.dtype, shape=[1 if n == 1 else None for n in each.shape])(f"input {number}")
        for number, each in enumerate(arrays)
    ]
    output = fun(*inputs)
    if not isinstance(output, Variable):
        raise GraphError(f"verify_grad: fun gives one expression, got {type(output).__name__}")
    if output.dtype not in FLOAT_DTYPES:
        raise GraphError("verify_grad of an expression that is not of float dtype", [output])
    narrowest = min((*(a.dtype.name for a in arrays), output.dtype, out_type or output.dtype), key=_width)
    step = _EPS[narrowest] if eps is None else eps
    allowed = (
        _TOLERANCE[narrowest] if abs_tol is None else abs_tol,
        _TOLERANCE[narrowest] if rel_tol is None else rel_tol,
    )
    shape = function(inputs, output, mode=mode, on_unused_input="ignore")(*arrays).shape
    weights = shared(np.zeros(shape, output.dtype), shape=[1 if n == 1 else None for n in shape])
    cost = reduce_sum(mul(output, weights))
    value = function(inputs, cost, mode=mode, on_unused_input="ignore")
    gradients = grad(cost, inputs, disconnected_inputs="ignore")
    differentiated = function(inputs, gradients, mode=mode, on_unused_input="ignore")
    for test in range(n_tests):
        weights.set_value(np.asarray(_uniform(generator, shape) + 0.5, dtype=output.dtype))
        _compare(arrays, differentiated(*arrays), _differences(value, arrays, step), allowed, test, output)


def _width(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def _float_array(value: Any, number: int) -> Array:
    array = np.array(value, order="C")
    if array.dtype.name not in FLOAT_DTYPES:
        raise GraphError(
            f"verify_grad: pt[{number}] is of dtype {array.dtype}: floats are expected",
            hint="a difference quotient needs steps smaller than 1",
        )
    return array


def _uniform(generator: Any, shape: tuple[int, ...]) -> Any:
    draw = generator.random if isinstance(generator, np.random.Generator) else generator.random_sample
    return draw(shape)


def _differences(value: Callable[..., Any], arrays: Sequence[Array], step: float) -> list[Array]:
    """The central difference quotient by each entry of each array."""
    found = []
    for array in arrays:
        quotients = np.zeros(array.shape, "float64")
        flat, entries = quotients.reshape(-1), array.reshape(-1)
        for place, kept in enumerate(entries):
            entries[place] = kept + step
            above, high = float(value(*arrays)), float(entries[place])
            entries[place] = kept - step
            below, low = float(value(*arrays)), float(entries[place])
            entries[place] = kept
            # The steps as they came out, which rounding may have changed.
            flat[place] = (above - below) / (high - low)
        found.append(quotients)
    return found


def _compare(
    arrays: Sequence[Array],
    symbolic: Sequence[Array],
    numeric: Sequence[Array],
    allowed: tuple[float, float],
    test: int,
    output: Variable,
) -> None:
    worst: tuple[float, int, tuple[int, ...]] = (0.0, 0, ())
    for number, (ours, theirs) in enumerate(zip(symbolic, numeric, strict=True)):
        if ours.shape != theirs.shape:
            raise VerifyGradError(
                f"verify_grad: the gradient by input {number} has shape {ours.shape}, "
                f"the input {theirs.shape}",
                [output],
            )
        if ours.size == 0:
            continue
        absolute = np.abs(ours - theirs)
        relative = absolute / np.maximum(np.abs(ours) + np.abs(theirs), 1e-8)
        excess = np.minimum(absolute / allowed[0], relative / allowed[1])
        excess = np.where(np.isnan(excess), np.inf, excess)
        place = tuple(int(each) for each in np.unravel_index(int(np.argmax(excess)), excess.shape))
        if excess[place] > worst[0]:
            worst = (float(excess[place]), number, place)
    excess_found, number, place = worst
    if excess_found > 1:
        ours, theirs = symbolic[number][place], numeric[number][place]
        where = f" at {place}" if place else ""
        raise VerifyGradError(
            f"verify_grad: the gradient by input {number}{where} is wrong, in projection {test}",
            [
                output,
                f"symbolic gradient: {float(ours):.8g}",
                f"finite difference: {float(theirs):.8g}",
                f"allowed difference: {allowed[0]:g}, or {allowed[1]:g} relative to both magnitudes",
                f"input there: {float(arrays[number][place]):.8g}",
            ],
        )
