"""What stands between the brackets: takes `x[item]` and a new part, hands on the ops that mean it.

`set_subtensor` and `inc_subtensor` find out from the part what it is a part of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symnet.errors import GraphError, IndexingError
from symnet.graph.types import INTEGER_DTYPES
from symnet.graph.variable import Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, constant, normalize_axis
from symnet.ops.indexing import (
    INPUT,
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    Bound,
    Entry,
    IncSubtensor,
    Nonzero,
    Subtensor,
    Template,
)
from symnet.ops.shape import DimShuffle, dimshuffle, flatten, length_of, shape_padleft


def take(x: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Variable:
    """Slices of a tensor along an axis (of the flattened tensor when None) by an integer array."""
    variable, where = as_tensor_variable(x), as_tensor_variable(indices)
    if mode != "raise":
        where = _moded(where, variable, axis, mode)
    if axis is None:
        variable, axis = flatten(variable), 0
    axis = normalize_axis(axis, variable.ndim, "take", [variable])
    return index(variable, (slice(None),) * axis + (where,))


def _moded(where: Variable, variable: Variable, axis: int | None, mode: str) -> Variable:
    if mode not in ("clip", "wrap"):
        raise GraphError(f'take with mode {mode!r}: "raise", "clip" or "wrap" are expected')
    length = length_of(flatten(variable), 0) if axis is None else length_of(variable, axis)
    if mode == "wrap":
        return table.mod(where, length)  # type: ignore[no-any-return]
    return table.clip(where, 0, length - 1)  # type: ignore[no-any-return, operator]


def _is_array_index(item: Any) -> bool:
    if isinstance(item, Variable):
        return item.ndim > 0
    return isinstance(item, list | tuple) or (isinstance(item, np.ndarray) and item.ndim > 0)


def _scalar_index(item: Any, x: Variable) -> Variable | int:
    if isinstance(item, bool | np.bool_):
        raise GraphError("a Python bool as an index", [x], hint="compare with a variable, or use an integer")
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, np.ndarray):
        item = constant(item)
    if isinstance(item, Variable):
        if item.ndim == 0 and item.dtype in INTEGER_DTYPES:
            return int(item.data) if isinstance(item, Constant) else item
        raise GraphError("an index or a slice's bound is an integer scalar", [x, item])
    raise GraphError(
        f"{item!r} as an index: integers, slices, None, ... and integer arrays are expected", [x]
    )


def index(x: Any, item: Any) -> Variable:
    """`x[item]` with NumPy's meaning.

    Parameters
    ----------
    x
        A tensor.
    item
        Integers and integer scalars, slices of them (the step is a number), None, Ellipsis, integer
        arrays, boolean masks; or a tuple of these.

    Raises
    ------
    IndexingError
        For more indices than axes, or an integer known to lie outside its axis.
    GraphError
        For anything else between the brackets.
    """
    variable = as_tensor_variable(x)
    items = list(item) if isinstance(item, tuple) else [item]
    items = _expand_masks(variable, items)
    used = sum(1 for each in items if each is not None and each is not Ellipsis)
    if used > variable.ndim:
        raise IndexingError(f"{used} indices for a tensor of {variable.ndim} axes", [variable])
    ellipses = [i for i, each in enumerate(items) if each is Ellipsis]
    if len(ellipses) > 1:
        raise IndexingError("more than one ... in an index", [variable])
    fill_in: list[Any] = [slice(None)] * (variable.ndim - used)
    if ellipses:
        items[ellipses[0] : ellipses[0] + 1] = fill_in
    else:
        items += fill_in
    if any(_is_array_index(each) for each in items):
        return _advanced(variable, items)
    part = _basic(variable, items)
    # x[...] is another variable than x, so that set_subtensor can tell what it is a part of.
    return table.identity(variable) if part is variable else part


def _expand_masks(x: Variable, items: list[Any]) -> list[Any]:
    """The items with each mask replaced by the places at which it is true."""
    arrays = [_as_array(each) if isinstance(each, list | tuple) else each for each in items]
    lengths = [_axes_taken(each) for each in arrays]
    free = max(x.ndim - sum(lengths), 0)
    expanded: list[Any] = []
    axis = 0
    for each, taken in zip(arrays, lengths, strict=True):
        if _is_mask(each):
            if axis + taken > x.ndim:
                raise IndexingError(
                    f"a mask of {taken} axes for a tensor of {x.ndim}, from axis {axis} on", [x]
                )
            expanded += _places(x, each, axis)
        else:
            expanded.append(each)
        axis += free if each is Ellipsis else taken
    return expanded


def _as_array(items: Any) -> Any:
    array = as_tensor_variable(items) if _has_variable(items) else np.asarray(items)
    return array.astype("int64") if isinstance(array, np.ndarray) and array.size == 0 else array


def _is_mask(item: Any) -> bool:
    return isinstance(item, np.ndarray | Variable) and item.dtype == "bool" and item.ndim > 0


def _axes_taken(item: Any) -> int:
    """How many of the tensor's axes an item stands for."""
    if item is None or item is Ellipsis:
        return 0
    return int(item.ndim) if _is_mask(item) else 1


def _places(x: Variable, mask: Any, axis: int) -> list[Any]:
    """The places of a mask's true entries, one array for each of its axes."""
    if isinstance(mask, np.ndarray) and mask.shape == x.type.shape[axis : axis + mask.ndim]:
        return list(np.nonzero(mask))
    return list(Nonzero(axis).make_node(as_tensor_variable(mask), x).outputs)


def _has_variable(items: Any) -> bool:
    return any(_has_variable(i) if isinstance(i, list | tuple) else isinstance(i, Variable) for i in items)


def _basic(x: Variable, items: list[Any]) -> Variable:
    template: list[Entry] = []
    inputs: list[Variable] = []
    pattern: list[int | str] = []
    axis = kept = 0

    def bound(value: Any) -> Bound:
        if value is None:
            return None
        found = _scalar_index(value, x)
        if isinstance(found, Variable):
            inputs.append(found)
            return INPUT
        return found

    for each in items:
        if each is None:
            pattern.append("x")
            continue
        if isinstance(each, slice):
            step = 1 if each.step is None else _scalar_index(each.step, x)
            if isinstance(step, Variable):
                raise GraphError("a symbolic step in a slice", [x, step], hint="steps are numbers")
            if step == 0:
                raise GraphError("a slice with step 0", [x])
            template.append(("slice", bound(each.start), bound(each.stop), step))
            pattern.append(kept)
            kept += 1
        else:
            template.append(bound(each))  # type: ignore[arg-type]
        axis += 1
    while template and template[-1] == ("slice", None, None, 1):
        template.pop()
    if template:
        try:
            x = Subtensor(tuple(template))(x, *inputs)
        except ValueError as error:
            if "is outside axis" in str(error):
                raise IndexingError(str(error).split("\n")[0], [x]) from None
            raise
    return dimshuffle(x, pattern)


def _advanced(x: Variable, items: list[Any]) -> Variable:
    """Slices first, then the gather on what they leave; integers beside arrays are arrays themselves."""
    before: list[Any] = []
    arrays: list[Variable] = []
    axes: list[int] = []
    axis = 0
    for each in items:
        if each is None or isinstance(each, slice):
            before.append(each)
        else:
            before.append(slice(None))
            array = each if isinstance(each, Variable) else constant(np.asarray(each))
            if array.dtype not in INTEGER_DTYPES:
                raise GraphError("an index array has integers, or bools for a mask", [x, array])
            arrays.append(array)
            axes.append(axis)
        axis += 1
    return AdvancedSubtensor(tuple(axes))(_basic(x, before), *arrays)  # type: ignore[no-any-return]


def _assign(x: Any, y: Any, set_: bool, what: str) -> Variable:
    value = as_tensor_variable(y)
    node = x.owner if isinstance(x, Variable) else None
    if node is None:
        raise GraphError(
            f"{what} changes an indexed part, such as x[2:4]", [x] if isinstance(x, Variable) else [repr(x)]
        )
    op = node.op
    if op == table.identity:
        whole = node.inputs[0]
        template: Template = (("slice", None, None, 1),) * min(whole.ndim, 1)
        return IncSubtensor(template, set_)(whole, value)  # type: ignore[no-any-return]
    if value.ndim > x.ndim:
        raise GraphError(f"{what}: a value of {value.ndim} axes for a part of {x.ndim}", [x, value])
    if isinstance(op, Subtensor):
        return IncSubtensor(op.template, set_)(node.inputs[0], value, *node.inputs[1:])  # type: ignore[no-any-return]
    if isinstance(op, AdvancedSubtensor):
        base = node.inputs[0]
        changed = AdvancedIncSubtensor(op.axes, set_)(base, value, *node.inputs[1:])
        inner = base.owner.op if base.owner is not None else None
        if isinstance(inner, Subtensor) or (isinstance(inner, DimShuffle) and "x" in inner.pattern):
            return _assign(base, changed, True, what)
        return changed  # type: ignore[no-any-return]
    if isinstance(op, DimShuffle):
        inverse: list[int | str] = ["x"] * op.input_ndim
        for position, axis in enumerate(op.pattern):
            if isinstance(axis, int):
                inverse[axis] = position
        moved = dimshuffle(shape_padleft(value, x.ndim - value.ndim), inverse) if x.ndim else value
        return _assign(node.inputs[0], moved, set_, what)
    raise GraphError(f"{what} changes an indexed part, such as x[2:4]", [x])


def set_subtensor(x: Any, y: Any, inplace: bool = False, tolerate_inplace_aliasing: bool = False) -> Variable:
    """The tensor that `x` is a part of, with that part replaced: `set_subtensor(v[2:4], y)` has v's shape.

    Parameters
    ----------
    x
        An indexed tensor.
    y
        The new entries: of `x`'s shape or broadcasting to it, converted to its dtype.

    Raises
    ------
    GraphError
        When `x` is not an indexed tensor, or `y` has more axes.

    >>> import symnet.tensor as T
    >>> v = T.constant([1, 2, 3, 4])
    >>> T.set_subtensor(v[1:3], 0).eval().tolist()
    [1, 0, 0, 4]
    """
    return _assign(x, y, True, "set_subtensor")


def inc_subtensor(
    x: Any,
    y: Any,
    inplace: bool = False,
    set_instead_of_inc: bool = False,
    tolerate_inplace_aliasing: bool = False,
) -> Variable:
    """The tensor that `x` is a part of, with `y` added to that part; repeated indices add each time."""
    return _assign(x, y, set_instead_of_inc, "inc_subtensor")
