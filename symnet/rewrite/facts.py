"""What is known of variables without computing them: takes variables of a graph, hands on yes or no.

Rules must keep a program's refusals: an operand may be left out only where it surely fits the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.types import CONTINUOUS_DTYPES, DISCRETE_DTYPES
from symnet.graph.variable import Variable
from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import Elementwise
from symnet.ops.indexing import AdvancedIncSubtensor, IncSubtensor
from symnet.ops.nnet import RowOp
from symnet.ops.shape import DimShuffle

#: How many variables a search for a common shape may look at. Where the answer lies further off, a
#: fill stays that could have gone; nothing else depends on it.
_SEARCH_LIMIT = 48


def _fits_by_type(operand: Variable, model: Variable) -> bool:
    """Whether the types alone say that the operand broadcasts to the model's shape."""
    if operand.ndim > model.ndim:
        return False
    offset = model.ndim - operand.ndim
    return all(
        length == 1 or (length is not None and length == model.type.shape[axis + offset])
        for axis, length in enumerate(operand.type.shape)
    )


def keeps_shape(op: Op) -> bool:
    """Whether the op's result has the shape that its operands broadcast to."""
    return isinstance(op, Elementwise | RowOp)


def _surely_this_shape(variable: Variable) -> list[Variable]:
    """Those inputs of its node that have its shape, or the node refuses them when it runs."""
    node = variable.owner
    if node is None:
        return []
    if isinstance(node.op, Elementwise):
        return [each for each in node.inputs if each.broadcastable == variable.broadcastable]
    if isinstance(node.op, IncSubtensor | AdvancedIncSubtensor):
        return [node.inputs[0]]
    if isinstance(node.op, RowOp):
        return list(node.inputs)
    return []


def has_shape_of(variable: Variable, model: Variable) -> bool:
    """Whether the variable has the model's shape because it is computed from it entry by entry."""
    if variable is model:
        return True
    if variable.broadcastable != model.broadcastable:
        return False
    seen = {variable}
    level = [variable]
    while level and len(seen) < _SEARCH_LIMIT:
        following: list[Variable] = []
        for each in level:
            for found in _surely_this_shape(each):
                if found is model or _sources.get(found) is model:
                    return True
                if found not in seen:
                    seen.add(found)
                    following.append(found)
        level = following
    return False


#: Where `shape_source` ended. What a variable stands for never changes, so neither does this; the source
#: may have left its graph, though.
_sources: WeakKeyDictionary[Variable, Variable] = WeakKeyDictionary()


def shaping_operands(operands: Sequence[Variable]) -> Iterator[Variable]:
    """Each operand that refuses all that the others could, so that no refusal is lost with them."""
    for kept in operands:
        if kept.ndim and all(each is kept or is_dispensable(each, kept) for each in operands):
            yield kept


def shape_source(variable: Variable, graph: FunctionGraph) -> Variable:
    """What has the variable's shape and refuses all that it does: from operand to operand, to the end.

    The type of what is found knows all lengths that the variable's knows. A whole graph of such
    searches, each from the result of another, costs one walk.
    """
    passed: list[Variable] = []
    while True:
        known = _sources.get(variable)
        if known is None or known not in graph.clients:
            node = variable.owner
            if node is None or variable in graph.input_set or not keeps_shape(node.op):
                break
            known = next(
                (
                    kept
                    for kept in shaping_operands(node.inputs)
                    if kept.broadcastable == variable.broadcastable
                    and all(
                        want is None or want == have
                        for want, have in zip(variable.type.shape, kept.type.shape, strict=True)
                    )
                ),
                None,
            )
            if known is None:
                break
        passed.append(variable)
        variable = known
    for each in passed:
        _sources[each] = variable
    return variable


def _shape_source(variable: Variable) -> Variable:
    """What has the variable's shape and refuses no less: its operand, as long as there is only one."""
    for _ in range(_SEARCH_LIMIT):
        node = variable.owner
        if node is None or not keeps_shape(node.op):
            break
        shaping = [each for each in node.inputs if not all(each.broadcastable)]
        if len(shaping) != 1 or shaping[0].broadcastable != variable.broadcastable:
            break
        variable = shaping[0]
    return variable


def is_dispensable(operand: Variable, kept: Variable) -> bool:
    """Whether `kept` alone has the shape that both broadcast to, and refuses what both together refuse.

    True when the operand's type fits, or when `kept` is computed entry by entry from the operand, or
    from what the operand is computed from.
    """
    if _fits_by_type(operand, kept):
        return True
    return has_shape_of(kept, operand) or has_shape_of(kept, _shape_source(operand))


Axes = tuple[int | str, ...]


def _without_leading(axes: Axes) -> Axes:
    """Axes added in front say nothing: operands broadcast from the right."""
    while axes and axes[0] == "x":
        axes = axes[1:]
    return axes


def added_axes(variable: Variable) -> tuple[Variable, Axes]:
    """The variable without the axes that were added to it, and the arrangement that adds them."""
    node = variable.owner
    if node is not None and isinstance(node.op, DimShuffle):
        kept = [axis for axis in node.op.pattern if axis != "x"]
        if kept == list(range(node.op.input_ndim)):
            return node.inputs[0], node.op.pattern
    return variable, tuple(range(variable.ndim))


def broadcasts_back(axes: Axes, ndim: int, reduced: tuple[int, ...]) -> bool:
    """Whether a reduction's result in this arrangement lies along the axes that it came from."""
    kept = iter(range(ndim - len(reduced)))
    wanted: Axes = tuple("x" if axis in reduced else next(kept) for axis in range(ndim))
    return len(axes) <= ndim and _without_leading(axes) == _without_leading(wanted)


def may_stand_for(new: Variable, old: Variable) -> bool:
    """Whether the new variable's type says all that the old one's does, and broadcasts alike."""
    return old.type.accepts(new.type) and old.broadcastable == new.broadcastable


def is_float(variable: Variable) -> bool:
    """Whether the dtype is a real floating one."""
    return variable.dtype in ("float16", "float32", "float64")


def is_discrete(variable: Variable) -> bool:
    """Whether the dtype is bool or an integer."""
    return variable.dtype in DISCRETE_DTYPES


def holds_exactly(dtype: str, wider: str) -> bool:
    """Whether a cast from `dtype` to `wider` loses nothing.

    >>> holds_exactly("int32", "float64"), holds_exactly("int64", "float64")
    (True, False)
    """
    if dtype == wider or dtype == "bool":
        return True
    if wider == "bool":
        return False
    source, target = np.dtype(dtype), np.dtype(wider)
    if dtype in CONTINUOUS_DTYPES or wider in DISCRETE_DTYPES:
        return bool(np.can_cast(source, target, "safe"))
    digits = np.finfo(target).nmant + 1
    return source.itemsize * 8 - (source.kind == "i") <= digits


_NEVER_NEGATIVE: tuple[Op, ...] = (
    table.sqr,
    table.abs_,
    table.exp,
    table.exp2,
    table.sigmoid,
    table.softplus,
    table.cosh,
    table.erfc,
)


def is_never_negative(variable: Variable) -> bool:
    """Whether the op says that no entry is below 0 (or -0.0); NaN may be among them."""
    node = variable.owner
    return node is not None and node.op in _NEVER_NEGATIVE and is_float(variable)
