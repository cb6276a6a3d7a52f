"""Random draws as ops: takes a generator's state and a size, hands on draws that are a function of them.

A state is an int64 vector (seed, stream, call); `symnet.ops.philox` says which numbers belong to it.
Nothing is changed by drawing: `symnet.compile.random_streams` advances the call after each function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import ArgumentError, GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import COMPLEX_DTYPES, DISCRETE_DTYPES
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops import philox
from symnet.ops.basic import as_tensor_variable
from symnet.ops.elementwise import cast
from symnet.ops.shape import as_length, shape_vector

Array = np.ndarray[Any, Any]

#: The distributions, each with the names and dtypes of its parameters.
DISTRIBUTIONS: dict[str, dict[str, str]] = {
    "uniform": {},
    "normal": {},
    "binomial": {"n": "int64", "p": "float64"},
    "random_integers": {"low": "int64", "high": "int64"},
}


def _state(value: Any, name: str) -> Variable:
    state = as_tensor_variable(value)
    if state.ndim != 1 or state.dtype != "int64":
        raise GraphError(f"{name}: a state is an int64 vector (seed, stream, call)", [state])
    return state


def _check_state(shape: Shape, context: ShapeContext) -> None:
    context.equal(shape[0], 3, "a generator's state has three numbers (seed, stream, call)")


def _lengths(value: HostValue, ndim: int) -> tuple[Dimension, ...]:
    return value if isinstance(value, tuple) else (UNKNOWN,) * ndim


class RandomDraw(Op):
    """A tensor of independent draws; inputs are the state, the size (an int64 vector), and parameters.

    Uniform draws are from [0, 1), normal ones from N(0, 1). Binomial draws have parameters n and p,
    random_integers has low and high (both included); parameters broadcast to the size.

    Attributes
    ----------
    distribution
        A name in `DISTRIBUTIONS`.
    ndim
        The number of axes.
    dtype
        float32 or float64 for uniform and normal draws, any real dtype for the others.
    checked
        Whether parameters without meaning (p outside 0 … 1, n < 0, low > high) are refused when it
        runs; False where they are constants that were checked already.
    """

    properties = ("distribution", "ndim", "dtype", "checked")
    value_inputs = (1,)

    def __init__(self, distribution: str, ndim: int, dtype: str, checked: bool = False) -> None:
        if distribution not in DISTRIBUTIONS:
            raise ArgumentError(f"{distribution!r} is not one of {', '.join(DISTRIBUTIONS)}")
        fitting = dtype in ("float32", "float64")
        if DISTRIBUTIONS[distribution]:
            fitting = dtype not in COMPLEX_DTYPES
        if not fitting:
            raise GraphError(f"{distribution} draws of dtype {dtype}")
        self.distribution = distribution
        self.ndim = ndim
        self.dtype = dtype
        self.checked = checked
        self.can_fail = checked

    def __str__(self) -> str:
        return self.distribution

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The state, the size, and the parameters in their own dtypes."""
        state, size, *parameters = inputs
        kinds = DISTRIBUTIONS[self.distribution]
        if len(parameters) != len(kinds):
            raise GraphError(f"{self} takes the parameters {', '.join(kinds) or 'none'}")
        converted = []
        for (name, dtype), value in zip(kinds.items(), parameters, strict=True):
            parameter = as_tensor_variable(value)
            if dtype == "int64" and parameter.dtype not in DISCRETE_DTYPES:
                raise GraphError(f"{self}: {name} is an integer, got {parameter.dtype}", [parameter])
            if parameter.ndim > self.ndim:
                raise GraphError(
                    f"{self}: {name} has {parameter.ndim} axes, the size {self.ndim}", [parameter]
                )
            converted.append(cast(parameter, dtype))
        lengths = shape_vector(size, str(self))
        if lengths.type.shape[0] not in (None, self.ndim):
            raise GraphError(f"{self}: a size of {self.ndim} axes is expected", [lengths])
        return [_state(state, str(self)), lengths, *converted]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The dtype asked for."""
        return [self.dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The size, to which the parameters broadcast by their types."""
        _check_state(shapes[0], context)
        size = list(_lengths(values[1], self.ndim))
        for length in size:
            context.require(dims.apply("ge", length, 0), "a size is negative")
        for parameter, shape in zip(inputs[2:], shapes[2:], strict=True):
            for axis in range(-len(shape), 0):
                if parameter.type.shape[axis] != 1:
                    asked = f"a parameter's length of axis {axis + len(shape)} is not the size's"
                    size[axis] = context.equal(size[axis], shape[axis], asked)
        return [tuple(size)]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """The draws of `symnet.ops.philox` in C order."""
        shape = tuple(int(each) for each in inputs[1])
        count = int(np.prod(shape, dtype="int64"))
        seed, stream, call = (int(each) for each in inputs[0])
        state = seed, stream, call
        if self.distribution == "uniform":
            drawn = philox.uniform(state, count, self.dtype)
        elif self.distribution == "normal":
            drawn = philox.normal(state, count, self.dtype)
        else:
            if self.checked:
                check_parameters(self.distribution, node, inputs[2:])
            first, second = (np.broadcast_to(each, shape).reshape(-1) for each in inputs[2:])
            function = philox.binomial if self.distribution == "binomial" else philox.integers
            drawn = function(state, first, second)
        return drawn.reshape(shape).astype(self.dtype, copy=False)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """None flows: draws are counts or have no parameters here."""
        return [DISCONNECTED, DISCONNECTED, *[ZERO] * (len(node.inputs) - 2)]


def check_parameters(distribution: str, node: Apply | None, parameters: Sequence[Array]) -> None:
    """Refuse parameters that have no meaning.

    Raises
    ------
    ArgumentError
        When p is outside 0 … 1 or NaN, n is negative, or low is above high.
    """
    first, second = parameters
    if distribution == "binomial":
        wrong = [f"n={n}" for n in first.reshape(-1) if n < 0]
        wrong += [f"p={p}" for p in second.reshape(-1) if not 0 <= p <= 1]
        expected = "n is at least 0 and p from 0 to 1"
    else:
        pairs = np.broadcast(first, second)
        wrong = [f"low={low}, high={high}" for low, high in pairs if low > high]
        expected = "low is at most high"
    if wrong:
        raise ArgumentError(
            f"{distribution} with {wrong[0]}: {expected}",
            node.inputs if node is not None else (),
            node.source if node is not None else None,
        )


def draw(distribution: str, state: Any, size: Any, ndim: int, dtype: str, *parameters: Any) -> Variable:
    """A `RandomDraw`; constant parameters are checked at once, others when it runs."""
    variables = [as_tensor_variable(each) for each in parameters]
    fixed = [each.data for each in variables if isinstance(each, Constant)]
    all_fixed = len(fixed) == len(variables)
    if variables and all_fixed:
        check_parameters(distribution, None, fixed)
    return RandomDraw(distribution, ndim, dtype, not all_fixed)(state, size, *variables)  # type: ignore[no-any-return]


class Permutation(Op):
    """Random permutations of range(n) along a new last axis; inputs are the state, the size and n.

    Attributes
    ----------
    ndim
        The size's number of axes; the result has one more.
    """

    properties = ("ndim",)
    value_inputs = (1, 2)

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim

    def __str__(self) -> str:
        return "permutation"

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The state, the size, and n as int64."""
        state, size, n = inputs
        lengths = shape_vector(size, "permutation")
        if lengths.type.shape[0] not in (None, self.ndim):
            raise GraphError(f"permutation: a size of {self.ndim} axes is expected", [lengths])
        return [_state(state, "permutation"), lengths, cast(as_length(n, "permutation"), "int64")]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """int64."""
        return ["int64"]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """(*size, n)."""
        _check_state(shapes[0], context)
        n = UNKNOWN if values[2] is None or isinstance(values[2], tuple) else values[2]
        found = (*_lengths(values[1], self.ndim), n)
        for length in found:
            context.require(dims.apply("ge", length, 0), "a size is negative")
        return [found]

    def numpy(self, node: Apply, *inputs: Array) -> Array:
        """The permutations of `symnet.ops.philox`, row by row in C order."""
        shape, n = tuple(int(each) for each in inputs[1]), int(inputs[2])
        seed, stream, call = (int(each) for each in inputs[0])
        rows = int(np.prod(shape, dtype="int64"))
        return philox.permutations((seed, stream, call), rows, n).reshape(*shape, n)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Places have no gradient."""
        return [DISCONNECTED] * 3
