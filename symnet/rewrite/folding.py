"""Constant folding: takes a node whose inputs are all constants, hands on its value as a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.source import inherit
from symnet.graph.types import TensorType
from symnet.graph.variable import Apply, Constant, Variable

#: A result of more entries is kept only where it is no larger than what it is computed from: a filled
#: or counted array costs a kernel less than it costs memory.
SMALL = 64
#: Nothing larger than this is computed while compiling.
LARGEST = 1 << 22


class ConstantFolding:
    """The rule that applies to any op: an op of constants is computed once, by its NumPy meaning.

    An op that refuses its operands stays, so that its error comes when the function runs, at the user's
    line.
    """

    name = "constant_folding"
    reason = "what depends on constants alone is computed once"
    depth = 1
    needs_constant = True
    needs_ops: frozenset[Op] = frozenset()
    needs_kinds: tuple[type[Op], ...] = ()
    root = Op

    def apply(self, node: Apply, graph: FunctionGraph) -> Sequence[Variable] | None:
        """Constants for the outputs; None when an input is not constant or the result is too large."""
        inputs = node.inputs
        if not inputs or node.op.has_effect:
            return None
        for variable in inputs:
            if not isinstance(variable, Constant):
                return None
        arrays = [each.data for each in inputs if isinstance(each, Constant)]
        entries = sum(array.size for array in arrays)
        limit = min(max(SMALL, entries), LARGEST)
        for output in node.outputs:
            if _known_entries(output.type) > limit:
                return None
        try:
            with np.errstate(all="ignore"):
                values = node.op.numpy(node, *arrays)
        except Exception:
            return None
        values = values if len(node.outputs) > 1 else (values,)
        constants: list[Variable] = []
        with inherit(node.source):
            for output, value in zip(node.outputs, values, strict=True):
                data = np.array(value, dtype=output.dtype, order="C")
                known = TensorType(output.dtype, shape=data.shape)
                if data.size > limit or known.broadcastable != output.type.broadcastable:
                    return None
                constants.append(Constant(known, data))
        return constants


def _known_entries(type: TensorType) -> int:
    """The product of the known lengths."""
    count = 1
    for length in type.shape:
        if length is not None:
            count *= length
    return count
