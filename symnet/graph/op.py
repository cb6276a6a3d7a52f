"""What an op is: its shape rule, its NumPy meaning, its gradient; takes variables, hands on an `Apply`.

A subclass says each once. The shape rule serves both the types while the user writes and the exact
shapes when a function is specialised, because it is arithmetic on `symnet.graph.dims`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import CompileError, IndexingError, NullTypeGradError, ShapeError, SymnetError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.source import SourceLine
from symnet.graph.types import TensorType
from symnet.graph.variable import Apply, Constant, Variable

#: What is known of an integer variable's content: nothing (None), a number, or a tuple of numbers.
HostValue = None | Dimension | tuple[Dimension, ...]


#: What is told of each node that is made, while `config.test_values` asks for it.
_on_new_node: Callable[[Apply], None] | None = None


def _compute_test_values(node: Apply) -> None:
    from symnet.backend.test_values import compute_test_values

    compute_test_values(node)


def _follow_setting(test_values: Any) -> None:
    global _on_new_node
    _on_new_node = _compute_test_values if test_values else None


config.on_change("test_values", _follow_setting)
_follow_setting(config.test_values)


class _Marker:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


#: A gradient rule's word for an input on which the output does not depend differentiably at all.
DISCONNECTED: Any = _Marker("DISCONNECTED")
#: A gradient rule's word for an input whose gradient is zero everywhere (an index, a condition).
ZERO: Any = _Marker("ZERO")


class Mismatch(Exception):
    """Two lengths that had to be equal and are not; becomes a `ShapeError` with operands and line."""


def mismatch_error(
    op: Op, text: str, operands: Sequence[Variable | str], source: SourceLine | None = None
) -> SymnetError:
    """The user's error for lengths (or an index) that do not fit: its class follows from what is said."""
    kind: type[SymnetError] = IndexingError if "outside axis" in text else ShapeError
    hint = None
    if "operands' lengths" in text and (text.endswith(" and 1") or ": 1 and " in text):
        hint = (
            "an axis broadcasts where its type says that it is 1: T.row, T.col, broadcastable= of "
            "shared, or T.addbroadcast(x, axis)"
        )
    return kind(f"{op}: {text}", operands, source, hint)


class ShapeContext:
    """What a shape rule may ask while it works; this one serves while the user writes."""

    def equal(self, left: Dimension, right: Dimension, asked: str) -> Dimension:
        """The common length of two axes that must agree; `asked` says why, for the error.

        Raises
        ------
        Mismatch
            When both are known and differ.
        """
        if isinstance(left, int) and isinstance(right, int) and left != right:
            raise Mismatch(f"{asked}: {left} and {right}")
        return right if left is UNKNOWN else left

    def data_dependent(self, node_key: object, bound: Dimension) -> Dimension:
        """A length that only the kernel itself finds out, never above `bound`."""
        return UNKNOWN

    def require(self, condition: Dimension, asked: str, shown: tuple[Dimension, ...] = ()) -> None:
        """Refuse when the condition (a truth value) is known to be 0; {0}, {1} in `asked` are `shown`."""
        if isinstance(condition, int) and not condition:
            raise Mismatch(asked.format(*shown))


BUILDING = ShapeContext()


class Op:
    """The base of every op.

    Two ops are equal when they are of one class and their `properties` are equal; equal ops on equal
    inputs are one node after merging. An op is immutable.

    Class attributes
    ----------------
    properties
        Names of the attributes that tell two ops of one class apart.
    value_inputs
        Positions of integer inputs whose content the shape rule reads.
    can_fail
        Whether the op checks its operands' content when it runs (indices, asserts).
    has_effect
        Whether the op does more than compute (prints), so that it is not computed while compiling.
    """

    properties: tuple[str, ...] = ()
    value_inputs: tuple[int, ...] = ()
    can_fail: bool = False
    has_effect: bool = False

    # --- to be said by each op -----------------------------------------------------------------

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The inputs as variables of the kind the op takes; refuses what it can't take."""
        return inputs

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The dtype of each output."""
        raise NotImplementedError(f"{type(self).__name__}.dtypes")

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The shape of each output from the inputs' shapes and what is known of their content."""
        raise NotImplementedError(f"{type(self).__name__}.shapes")

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """The meaning: the output array (or a tuple of them) from the input arrays, which do not change."""
        raise NotImplementedError(f"{type(self).__name__}.numpy")

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """For each input its gradient, `ZERO`, or `DISCONNECTED`.

        `output_gradients` holds a variable for every output (zeros where the cost does not use it).
        """
        raise NullTypeGradError(f"{self} has no gradient", node.inputs, node.source)

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """The content of the (only, integer, at most 1-d) output where it follows from what is known."""
        return None

    # --- the same for all ----------------------------------------------------------------------

    def make_node(self, *inputs: Any) -> Apply:
        """Apply the op: convert the inputs, infer the output types, remember the user's line.

        Raises
        ------
        ShapeError
            When lengths that are known already do not fit.
        """
        variables = self.convert(*inputs)
        shapes = [static_shape(variable) for variable in variables]
        values: list[HostValue] = [None] * len(variables)
        for position in self.value_inputs:
            if position < len(variables):
                values[position] = host_value(variables[position])
        try:
            output_shapes = self.shapes(variables, shapes, values, BUILDING)
        except Mismatch as mismatch:
            raise mismatch_error(self, str(mismatch), variables) from None
        dtypes = self.dtypes(*variables)
        types = [
            TensorType(dtype, shape=[length if isinstance(length, int) else None for length in shape])
            for dtype, shape in zip(dtypes, output_shapes, strict=True)
        ]
        node = Apply(self, variables, types)
        if _on_new_node is not None:
            _on_new_node(node)
        return node

    def __call__(self, *inputs: Any) -> Any:
        for value in inputs:
            # A rewrite's pattern is written with the same calls as a user's expression.
            if hasattr(value, "apply_in_pattern"):
                return value.apply_in_pattern(self, inputs)
        outputs = self.make_node(*inputs).outputs
        return outputs[0] if len(outputs) == 1 else list(outputs)

    def _key(self) -> tuple[Any, ...]:
        return (type(self), *(getattr(self, name) for name in self.properties))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or self.__hash__() != other.__hash__():
            return False
        return self._key() == other._key()

    def __hash__(self) -> int:
        # Merging hashes every node's op, so the hash is kept; an op is immutable.
        found = self.__dict__.get("_hash")
        if found is None:
            found = self.__dict__["_hash"] = hash(self._key())
        return found

    def __getstate__(self) -> dict[str, Any]:
        # Strings hash differently in every process.
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    @property
    def name(self) -> str:
        """The op's name in prints and errors."""
        return type(self).__name__

    def __str__(self) -> str:
        if not self.properties:
            return self.name
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.properties)
        return f"{self.name}{{{values}}}"

    __repr__ = __str__

    def refuse(self, node: Apply, why: str) -> CompileError:
        """The error for a backend that can't compile this op."""
        return CompileError(
            f"{self} can't be compiled: {why}",
            node.inputs,
            node.source,
            hint='mode="reference" runs every op by NumPy',
        )


def static_shape(variable: Variable) -> Shape:
    """The shape as the type knows it, `UNKNOWN` where it does not."""
    return tuple(UNKNOWN if length is None else length for length in variable.type.shape)


def constant_host_value(constant: Constant) -> HostValue:
    """A small integer constant's content."""
    data = constant.data
    if data.dtype.kind not in "biu" or data.ndim > 1 or data.size > 64:
        return None
    return int(data) if data.ndim == 0 else tuple(int(item) for item in data)


# How far a shape is traced back through integer arithmetic while the user writes. Deeper than any
# shape computation written by hand; the exact shapes at specialisation know no such limit.
_TRACE_DEPTH = 24


def host_value(variable: Variable) -> HostValue:
    """What is known of an integer variable's content while the user writes."""
    return _traced(variable, _TRACE_DEPTH, {})


def _traced(variable: Variable, depth: int, known: dict[Variable, HostValue]) -> HostValue:
    if isinstance(variable, Constant):
        return constant_host_value(variable)
    if variable.dtype not in INTEGER_OR_BOOL or variable.ndim > 1:
        return None
    node = variable.owner
    if node is None or depth == 0:
        return UNKNOWN if variable.ndim == 0 else None
    if variable not in known:
        values = [_traced(each, depth - 1, known) for each in node.inputs]
        found = node.op.host_values(node, [static_shape(each) for each in node.inputs], values)
        known[variable] = UNKNOWN if found is None and variable.ndim == 0 else found
    return known[variable]


INTEGER_OR_BOOL = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64".split())


__all__ = [
    "BUILDING",
    "DISCONNECTED",
    "ZERO",
    "HostValue",
    "Mismatch",
    "Op",
    "ShapeContext",
    "constant_host_value",
    "dims",
    "host_value",
    "mismatch_error",
    "static_shape",
]
