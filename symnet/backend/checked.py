"""Checks of values while compiled code runs: takes what a kernel stored, hands on an error at the user's line
when it is wrong.

A checked program stores no product where an epilogue would take it on, computes new values of shared
variables before it writes any, and calls back after each result that it stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.backend.reference import apply_op, describe_range, is_finite, refuse_new_nan
from symnet.compile.program import HostStep
from symnet.errors import DifferenceError, NanError
from symnet.graph.variable import Apply, Constant, Variable

#: How far a compiled value may be from NumPy's: this share of the largest entry.
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


class Checker:
    """Adds the steps that check a program's results.

    Parameters
    ----------
    kind
        "nan": an error where a result has a NaN or an infinity that what it is computed from lacks.
        "reference": an error where a result is not what NumPy computes.
    """

    def __init__(self, kind: str) -> None:
        self._look = {"nan": _look_for_nan, "reference": _compare}[kind]

    def add_steps(self, lowering: Any, variable: Variable) -> None:
        """Check a variable that was just stored, if it is not a view of what was checked before."""
        view = lowering.views.get(variable)
        node = variable.owner
        if view is None or node is None or view.buffer.kind in ("input", "constant"):
            return
        if any(view.buffer is each.views[0].buffer for each in lowering.program.host_steps):
            return
        leaves, order = _between(variable, lowering.views)
        views = (view, *(lowering.views[leaf] for leaf in leaves))

        def look(arrays: list[np.ndarray[Any, Any]]) -> None:
            self._look(variable, order, dict(zip(leaves, arrays[1:], strict=True)), arrays[0])

        lowering.add_host_step(HostStep(look, views, node))


def _between(variable: Variable, stored: Any) -> tuple[list[Variable], list[Apply]]:
    """The stored variables that a variable is computed from, and the nodes between, in order."""
    leaves: dict[Variable, None] = {}
    order: dict[Apply, None] = {}
    stack: list[tuple[Apply, bool]] = [(variable.owner, False)] if variable.owner is not None else []
    while stack:
        node, inputs_done = stack.pop()
        if inputs_done:
            order[node] = None
            continue
        if node in order:
            continue
        stack.append((node, True))
        for each in node.inputs:
            if isinstance(each, Constant):
                continue
            if each in stored:
                leaves[each] = None
            elif each.owner is not None and each.owner not in order:
                stack.append((each.owner, False))
    return list(leaves), list(order)


Known = dict[Variable, np.ndarray[Any, Any]]


def _meanings(order: Sequence[Apply], known: Known) -> Any:
    """Each node with its operands' and results' values by NumPy; `known` grows."""
    for node in order:
        operands = [each.data if isinstance(each, Constant) else known[each] for each in node.inputs]
        with np.errstate(all="ignore"):
            # What prints has printed already.
            results = [operands[0]] if node.op.has_effect else apply_op(node, operands)
        known.update(zip(node.outputs, results, strict=True))
        yield node, operands, results


def _look_for_nan(variable: Variable, order: list[Apply], known: Known, found: np.ndarray[Any, Any]) -> None:
    if is_finite(found) or not all(is_finite(each) for each in known.values()):
        return
    stored = dict(known)
    for each, operands, results in _meanings(order, known):
        refuse_new_nan(each, operands, results)
    # NumPy does not come upon it: then it is the kernel's own, of all that it is computed from.
    count = f"{int(np.isnan(found).sum())} NaN and {int(np.isinf(found).sum())} infinities"
    node = variable.owner
    assert node is not None
    raise NanError(
        f"{node.op}: the compiled result has {count} among {found.size} entries, NumPy's has none",
        [describe_range(*each) for each in stored.items()],
        node.source,
    )


def _compare(variable: Variable, order: list[Apply], known: Known, found: np.ndarray[Any, Any]) -> None:
    given = dict(known)
    node, wanted = variable.owner, found
    assert node is not None
    for each, _, results in _meanings(order, known):
        if variable in each.outputs:
            wanted = results[each.outputs.index(variable)]
    wrong = ~_agree(found, wanted)
    if not wrong.any():
        return
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    told = f"entry {place} is {found[place]!r}, NumPy computes {wanted[place]!r}"
    raise DifferenceError(
        f"{node.op}: {int(wrong.sum())} of {found.size} entries are not what NumPy computes: {told}",
        [describe_range(*each) for each in given.items()],
        node.source,
    )


def _agree(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    same: np.ndarray[Any, Any] = found == wanted
    if found.dtype.kind != "f":
        return same
    finite = wanted[np.isfinite(wanted)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(found - wanted) <= TOLERANCE[found.dtype.name] * largest
    return same | near | (np.isnan(found) & np.isnan(wanted))
