"""The reference: takes a graph and values, runs each op's NumPy meaning, hands on results.

It is the oracle that compiled code is held against. Before an op runs its shape rule is asked, so
that shapes are refused with the user's line, and afterwards its results are held against that rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.compile.locks import Locks
from symnet.compile.shared import SharedVariable
from symnet.errors import AssertError, IndexingError, NanError, ShapeError, SymnetError
from symnet.graph.dims import Unknown
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import HostValue, Mismatch, ShapeContext, mismatch_error
from symnet.graph.variable import Apply, Constant, Variable

_CONTEXT = ShapeContext()


def integer_content(array: np.ndarray[Any, Any]) -> HostValue:
    """The content of a small integer array, as shape rules read it."""
    if array.dtype.kind not in "biu" or array.ndim > 1 or array.size > 64:
        return None
    return int(array) if array.ndim == 0 else tuple(int(each) for each in array)


def apply_op(node: Apply, inputs: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """A node's results by its op's NumPy meaning.

    Raises
    ------
    ShapeError, IndexingError
        When the operands do not fit, with the node's line.
    """
    op = node.op
    values: list[HostValue] = [None] * len(inputs)
    for position in op.value_inputs:
        if position < len(inputs):
            values[position] = integer_content(inputs[position])
    try:
        shapes = op.shapes(node.inputs, [each.shape for each in inputs], values, _CONTEXT)
    except Mismatch as mismatch:
        raise mismatch_error(op, str(mismatch), _operands(node, inputs), node.source) from None
    try:
        found = op.numpy(node, *inputs)
    except AssertError as error:
        raise AssertError(error.asked, _operands(node, inputs), node.source) from None
    except SymnetError:
        raise
    except IndexError as error:
        raise IndexingError(f"{op}: {error}", _operands(node, inputs), node.source) from None
    except (ValueError, TypeError, ZeroDivisionError, AssertionError) as error:
        raise ShapeError(f"{op}: {error}", _operands(node, inputs), node.source) from error
    results = [np.asarray(each) for each in (found if isinstance(found, tuple) else (found,))]
    for output, result, shape in zip(node.outputs, results, shapes, strict=True):
        _check(node, output, result, shape)
    return results


def _operands(node: Apply, inputs: Sequence[np.ndarray[Any, Any]]) -> list[str]:
    from symnet.errors import describe

    return [
        f"operand {position}: {describe(variable)}"
        + (f", here of shape {array.shape}" if array.shape != variable.type.shape else "")
        for position, (variable, array) in enumerate(zip(node.inputs, inputs, strict=True))
    ]


def _check(node: Apply, output: Variable, result: np.ndarray[Any, Any], shape: Sequence[Any]) -> None:
    if result.dtype.name != output.dtype or result.ndim != output.ndim:
        raise SymnetError(
            f"{node.op}: its meaning gave {result.dtype} {result.shape}, its type says {output.type}",
            node.inputs,
            node.source,
        )
    for expected, have in zip(shape, result.shape, strict=True):
        if not isinstance(expected, Unknown) and expected != have:
            raise SymnetError(
                f"{node.op}: its meaning gave shape {result.shape}, its shape rule {tuple(shape)}",
                node.inputs,
                node.source,
            )


def refuse_new_nan(
    node: Apply, operands: Sequence[np.ndarray[Any, Any]], results: Sequence[np.ndarray[Any, Any]]
) -> None:
    """Raise where a node's results have a NaN or an infinity, and its operands have none.

    Raises
    ------
    NanError
        With the node's line, and its operands' ranges.
    """
    bad = next((each for each in results if not is_finite(each)), None)
    if bad is None or not all(is_finite(each) for each in operands):
        return
    count = f"{int(np.isnan(bad).sum())} NaN and {int(np.isinf(bad).sum())} infinities"
    told = f"{count} among {bad.size} entries"
    raise NanError(
        f"{node.op}: the result has {told}, and what it is computed from has none",
        [describe_range(*each) for each in zip(node.inputs, operands, strict=True)],
        node.source,
    )


def is_finite(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array has neither NaN nor infinity."""
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def describe_range(variable: Variable, value: np.ndarray[Any, Any]) -> str:
    """An operand for an error: what it is, its shape at this call, and the range of its entries."""
    from symnet.errors import describe

    text = f"{describe(variable)}, here of shape {value.shape}"
    if value.size == 0 or value.dtype.kind == "c":
        return text
    return f"{text}, from {value.min():.6g} to {value.max():.6g}"


class ReferenceExecutor:
    """Runs a graph by NumPy, one op after the other."""

    def __init__(
        self,
        graph: FunctionGraph,
        arguments: int,
        outputs: int,
        updates: list[SharedVariable],
        check: str | None = None,
    ) -> None:
        self.check = check
        self.arguments = graph.inputs[:arguments]
        self.shared = [each for each in graph.inputs[arguments:] if isinstance(each, SharedVariable)]
        self.outputs = graph.outputs[:outputs]
        self.update_values = graph.outputs[outputs:]
        self.updates = updates
        containers = {each.container for each in self.shared}
        self._locks = Locks([each.lock for each in sorted(containers, key=lambda each: each.order)])
        self.order = graph.toposort()
        self.kernels: list[Any] = []
        self.report: dict[str, Any] = {"mode": "reference", "nodes": len(self.order)}

    def run(self, values: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The outputs; shared variables are updated only after everything was computed."""
        with self._locks:
            known: dict[Variable, np.ndarray[Any, Any]] = dict(zip(self.arguments, values, strict=True))
            for variable in self.shared:
                known[variable] = variable.container.array

            def value(variable: Variable) -> np.ndarray[Any, Any]:
                return variable.data if isinstance(variable, Constant) else known[variable]

            for node in self.order:
                operands = [value(each) for each in node.inputs]
                results = apply_op(node, operands)
                if self.check == "nan":
                    refuse_new_nan(node, operands, results)
                known.update(zip(node.outputs, results, strict=True))
            outputs = [np.array(value(each)) for each in self.outputs]
            new_values = [np.array(value(each), order="C") for each in self.update_values]
            for variable, new in zip(self.updates, new_values, strict=True):
                variable.container.replace(variable.type.filter(new))
        return outputs
