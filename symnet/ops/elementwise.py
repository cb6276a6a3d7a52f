"""What an elementwise op is: one row says its scalar body, its NumPy meaning and its gradient.

Takes rows (`symnet.ops.elementwise_table`), hands on ops. Operands broadcast from the right over axes
known to be 1, and over those alone, as in Theano.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph import dims
from symnet.graph.dims import Dimension, Shape
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import CONTINUOUS_DTYPES, DISCRETE_DTYPES, checked_dtype
from symnet.graph.variable import Apply, Variable
from symnet.ops.basic import as_tensor_variable, float_of, settle_literals, upcast

ROWS: dict[str, Elementwise] = {}


def common(*dtypes: str) -> str:
    """The dtype rule of arithmetic: the common dtype."""
    return upcast(*dtypes)


def floating(*dtypes: str) -> str:
    """The dtype rule of functions of the reals: floats keep theirs, integers become floats."""
    return upcast(*(float_of(dtype) for dtype in dtypes))


def boolean(*dtypes: str) -> str:
    """The dtype rule of comparisons."""
    return "bool"


class Elementwise(Op):
    """An op that computes each entry from the operands' entries at the same place.

    Attributes
    ----------
    name
        The op's name; ops are equal when their names are.
    arguments
        Names of the operands in the scalar body.
    scalar
        The scalar body: an expression in the dialect of `symnet.compile.scalar`.
    result
        The dtype rule of the result.
    computed
        "result": operands are converted to the result's dtype before the body; "common": to their
        common dtype; "floating": to the common float dtype; "condition": the first to bool, the
        others to the result's dtype.
    bool_scalar
        The scalar body on bools, where it differs (True + True is True).
    commutative
        Whether the two operands may be exchanged, NaN and signed zero included.
    meaning
        The NumPy function, of operands so converted.
    cheap
        Whether computing it twice costs less than storing it.
    """

    properties: tuple[str, ...] = ("name",)

    def __init__(
        self,
        name: str,
        arguments: str,
        scalar: str,
        meaning: Callable[..., Any],
        derivative: Callable[..., Sequence[Any]] | None,
        result: Callable[..., str] = common,
        computed: str = "result",
        host: str | None = None,
        cheap: bool = True,
        domain: tuple[float, float] = (-3.0, 3.0),
        commutative: bool = False,
        bool_scalar: str | None = None,
    ) -> None:
        self._name = name
        self.arguments = tuple(arguments.split())
        self.scalar = scalar
        self.meaning = meaning
        self.derivative = derivative
        self.result = result
        self.computed = computed
        self.host = host
        self.cheap = cheap
        self.domain = domain
        self.commutative = commutative
        self.bool_scalar = bool_scalar

    @property
    def name(self) -> str:
        """The op's name."""
        return self._name

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return (row, (self.name,))

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Variables of the operands, Python numbers settled by the others."""
        if len(inputs) != len(self.arguments):
            raise GraphError(
                f"{self.name} takes {len(self.arguments)} operands ({', '.join(self.arguments)}), "
                f"got {len(inputs)}"
            )
        return settle_literals([as_tensor_variable(each) for each in inputs])

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The result's dtype by the row's rule."""
        try:
            return [self.result(*(each.dtype for each in inputs))]
        except GraphError as error:
            raise GraphError(f"{self.name}: {error.asked}", inputs, hint=error.hint) from None

    def computed_dtypes(self, inputs: Sequence[str], output: str) -> list[str]:
        """The dtype that each operand has in the scalar body."""
        if self.computed == "result":
            return [output] * len(inputs)
        if self.computed == "common":
            return [upcast(*inputs)] * len(inputs)
        if self.computed == "floating":
            return [floating(*inputs)] * len(inputs)
        return ["bool"] + [output] * (len(inputs) - 1)

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The common shape; an axis broadcasts where its operand's type says 1."""
        return [broadcast_shape(inputs, shapes, context)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The row's NumPy function, on operands converted as the row says."""
        output = node.outputs[0].dtype
        kinds = self.computed_dtypes([str(each.dtype) for each in inputs], output)
        converted = [
            each.astype(kind) if each.dtype != kind else each
            for each, kind in zip(inputs, kinds, strict=True)
        ]
        with np.errstate(all="ignore"):
            return np.asarray(self.meaning(*converted)).astype(output, copy=False)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The row's derivative, summed over broadcast axes and in the operand's dtype."""
        output = node.outputs[0]
        if output.dtype in DISCRETE_DTYPES:
            return [ZERO] * len(node.inputs)
        if self.derivative is None:
            return super().gradient(node, output_gradients)
        found = self.derivative(*node.inputs, output, output_gradients[0])
        gradients: list[Any] = []
        for operand, gradient in zip(node.inputs, found, strict=True):
            if gradient is ZERO or gradient is DISCONNECTED:
                gradients.append(gradient)
            elif operand.dtype in DISCRETE_DTYPES:
                gradients.append(ZERO)
            else:
                gradients.append(cast(unbroadcast(gradient, operand), operand.dtype))
        return gradients

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """Integer arithmetic on known integers, in the result's dtype."""
        dtype = node.outputs[0].dtype
        if self.host is None or dtype not in DISCRETE_DTYPES:
            return None
        if any(each.dtype not in DISCRETE_DTYPES for each in node.inputs):
            return None
        lengths = {len(value) for value in values if isinstance(value, tuple)}
        if any(value is None for value in values) or len(lengths) > 1:
            return None
        if any(
            each.dtype == "uint64" and not isinstance(value, int)
            for each, value in zip(node.inputs, values, strict=True)
        ):
            # Sizes are int64, where half of its values would be negative.
            return None
        if not lengths:
            return dims.as_dtype(dims.apply(self.host, *values), dtype)  # type: ignore[arg-type]
        (length,) = lengths
        rows = [value if isinstance(value, tuple) else (value,) * length for value in values]
        return _all_in_dtype(
            [dims.apply(self.host, *items) for items in zip(*rows, strict=True)],  # type: ignore[arg-type]
            dtype,
        )


def _all_in_dtype(values: Sequence[Dimension], dtype: str) -> HostValue:
    converted = [dims.as_dtype(each, dtype) for each in values]
    return None if None in converted else tuple(converted)  # type: ignore[arg-type]


def broadcast_shape(inputs: Sequence[Variable], shapes: Sequence[Shape], context: ShapeContext) -> Shape:
    """The shape that operands broadcast to, by their types' broadcastable axes."""
    ndim = max(len(shape) for shape in shapes)
    result: list[Dimension] = []
    for axis in range(-ndim, 0):
        length: Dimension | None = None
        for variable, shape in zip(inputs, shapes, strict=True):
            if -axis > len(shape) or variable.type.shape[axis] == 1:
                continue
            asked = f"operands' lengths of axis {axis + ndim} differ"
            length = shape[axis] if length is None else context.equal(length, shape[axis], asked)
        result.append(1 if length is None else length)
    return tuple(result)


def unbroadcast(gradient: Variable, like: Variable) -> Variable:
    """A gradient of a broadcast operand: summed over the axes along which it was broadcast."""
    gradient = as_tensor_variable(gradient)
    if gradient.ndim == like.ndim and gradient.broadcastable == like.broadcastable:
        return gradient
    from symnet.ops.creation import fill
    from symnet.ops.reduction import sum as reduce_sum
    from symnet.ops.shape import dimshuffle

    if gradient.ndim < like.ndim or any(
        mine and not its
        for mine, its in zip(
            gradient.broadcastable[gradient.ndim - like.ndim :], like.broadcastable, strict=True
        )
    ):
        # The rule gave a value that is the same along some axis of the operand.
        gradient = fill(like, gradient)
    extra = gradient.ndim - like.ndim
    axes = list(range(extra)) + [
        extra + axis
        for axis in range(like.ndim)
        if like.broadcastable[axis] and not gradient.broadcastable[extra + axis]
    ]
    if not axes:
        return gradient
    total = reduce_sum(gradient, axis=axes, keepdims=True, dtype=gradient.dtype)
    if extra:
        total = dimshuffle(total, list(range(extra, gradient.ndim)))
    return total


class Cast(Elementwise):
    """Conversion to a dtype."""

    properties = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        super().__init__(
            f"cast_{dtype}",
            "x",
            "x",
            lambda x: x,
            lambda x, out, g: [g],
            result=lambda x: dtype,
            computed="common",
        )

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Any tensor, a Python number in the dtype that is asked for."""
        return [as_tensor_variable(each) for each in inputs]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`astype`."""
        with np.errstate(all="ignore"):
            return inputs[0].astype(self.dtype)

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """What is left of an integer in the dtype."""
        if self.dtype not in DISCRETE_DTYPES or node.inputs[0].dtype not in DISCRETE_DTYPES:
            return None
        if values[0] is None:
            return None
        if isinstance(values[0], tuple):
            return _all_in_dtype(values[0], self.dtype)
        return dims.as_dtype(values[0], self.dtype)

    def __reduce__(self) -> Any:
        return (Cast, (self.dtype,))


def cast(x: Any, dtype: Any) -> Variable:
    """`x` in another dtype ("floatX" is `config.floatX`); `x` itself where it has it already.

    Raises
    ------
    GraphError
        For a complex tensor and a real dtype: take `real` or `abs` of it.
    """
    target = checked_dtype(dtype)
    variable = as_tensor_variable(x)
    if variable.dtype == target:
        return variable
    if variable.dtype.startswith("complex") and target not in CONTINUOUS_DTYPES[3:]:
        raise GraphError(f"a cast from {variable.dtype} to {target} loses the imaginary part", [variable])
    return Cast(target)(variable)  # type: ignore[no-any-return]


def row(name: str) -> Elementwise:
    """The elementwise op of a name."""
    from symnet.ops import elementwise_table  # noqa: F401  (filling ROWS)

    return ROWS[name]


def elementwise(
    name: str,
    arguments: str,
    *,
    scalar: str,
    numpy: Callable[..., Any],
    gradient: Callable[..., Sequence[Any]] | None,
    **settings: Any,
) -> Elementwise:
    """Make an elementwise op: a row of the table.

    Parameters
    ----------
    name
        The op's name, unique.
    arguments
        The operands' names, separated by blanks.
    scalar
        The body in the scalar dialect, in the operands' names; printed into every target's kernels.
    numpy
        The meaning: a function of arrays.
    gradient
        A function of the operands, the result and the incoming gradient, that gives for each operand an
        expression, `ZERO` or `DISCONNECTED`. Broadcasting is undone for it. None: no gradient.
    settings
        Further attributes of `Elementwise`.
    """
    if name in ROWS:
        raise ValueError(f"an elementwise op {name} exists already")
    ROWS[name] = op = Elementwise(name, arguments, scalar, numpy, gradient, **settings)
    return op
