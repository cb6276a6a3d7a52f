"""Elementwise ops: takes a result to store and what it is made of, hands on one fused loop nest.

Where everything read lies at fixed strides, neighbouring axes are joined into one loop, so that the
inner loop is long and runs along memory.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import demands
from symnet.compile.lower import POINTWISE_RULES, Border, Lowering, find, pointwise_rule
from symnet.compile.nest import INDEX, Expression, Literal, Select
from symnet.compile.program import ContractionCall, View
from symnet.compile.scalar import parse_scalar
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.elementwise import Cast, Elementwise
from symnet.ops.shape import DimShuffle

#: Rows and columns of a tile in which something is read across memory.
TILE = 32
#: For each axis of a variable the axis of the root that runs along it; None where it is broadcast.
AxisMap = tuple[int | None, ...]


def used_operands(op: Elementwise) -> list[bool]:
    """Which operands the scalar body reads."""
    words = set(re.findall(r"[A-Za-z_]\w*", op.scalar))
    return [name in words for name in op.arguments]


@demands(Elementwise)
def _elementwise_demands(node: Apply) -> list[str]:
    assert isinstance(node.op, Elementwise)
    return ["value" if used else "shape" for used in used_operands(node.op)]


def scalar_value(node: Apply, operands: Sequence[Expression | None]) -> Expression:
    """An elementwise op's body on operands (None for one that the body does not read)."""
    op = node.op
    assert isinstance(op, Elementwise)
    output = node.outputs[0].dtype
    kinds = op.computed_dtypes([each.dtype for each in node.inputs], output)
    if isinstance(op, Cast):
        (operand,) = operands
        assert operand is not None
        return nest.cast(operand, op.dtype)
    arguments = {}
    for name, operand, kind in zip(op.arguments, operands, kinds, strict=True):
        if operand is not None:
            arguments[name] = nest.cast(operand, kind)
    text = op.scalar
    if op.bool_scalar is not None and set(kinds) == {nest.BOOL}:
        text = op.bool_scalar
    return nest.cast(parse_scalar(text, arguments, None if arguments else output), output)


def operand_indices(lowering: Lowering, operand: Variable, indices: Sequence[Expression]) -> list[Expression]:
    """An operand's indices from the result's: 0 along axes that its type broadcasts."""
    offset = len(indices) - operand.ndim
    return [
        Literal(INDEX, 0) if operand.type.shape[axis] == 1 else indices[axis + offset]
        for axis in range(operand.ndim)
    ]


@pointwise_rule(Elementwise)
def _elementwise(
    lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder
) -> Expression:
    assert isinstance(node.op, Elementwise)
    operands = [
        lowering.value(each, operand_indices(lowering, each, indices), builder) if used else None
        for each, used in zip(node.inputs, used_operands(node.op), strict=True)
    ]
    return scalar_value(node, operands)


# --- everything at fixed strides -------------------------------------------------------------------


@dataclass(frozen=True)
class _Leaf:
    """A view, and the stride with which it is read along each axis of the root."""

    view: View
    strides: tuple[Dimension, ...]


def _operand_map(operand: Variable, axis_map: AxisMap) -> AxisMap:
    offset = len(axis_map) - operand.ndim
    return tuple(
        None if operand.type.shape[axis] == 1 else axis_map[axis + offset] for axis in range(operand.ndim)
    )


def _shuffled_map(op: DimShuffle, axis_map: AxisMap) -> AxisMap:
    found: list[int | None] = [None] * op.input_ndim
    for position, axis in enumerate(op.pattern):
        if isinstance(axis, int):
            found[axis] = axis_map[position]
    return tuple(found)


def _leaf(view: View, axis_map: AxisMap, rank: int) -> _Leaf:
    strides: list[Dimension] = [0] * rank
    for axis, root in enumerate(axis_map):
        if root is not None:
            strides[root] = dims.add(strides[root], view.strides[axis])
    return _Leaf(view, tuple(strides))


class StridedTree:
    """A value made of elementwise ops over views, all of them read at fixed strides.

    `leaves` is None where something else is in between, such as a gather.
    """

    def __init__(self, lowering: Lowering, variable: Variable) -> None:
        self.lowering = lowering
        self.root = variable
        self.rank = variable.ndim
        self.leaves: list[_Leaf] | None = []
        self.nodes: dict[Apply, None] = {}
        seen: set[tuple[Variable, AxisMap]] = set()
        stack: list[tuple[Variable, AxisMap]] = [(variable, tuple(range(variable.ndim)))]
        while stack:
            each = stack.pop()
            if each in seen:
                continue
            seen.add(each)
            parts = self._parts(*each)
            if parts is None:
                self.leaves = None
                return
            stack += parts

    def _is_plain(self, variable: Variable) -> bool:
        """Whether the value is a literal or a size: nothing to read."""
        lowering = self.lowering
        if lowering._literal(variable) is not None:
            return True
        return variable.ndim == 0 and lowering.fusion._is_known(variable)

    def _parts(self, variable: Variable, axis_map: AxisMap) -> list[tuple[Variable, AxisMap]] | None:
        lowering = self.lowering
        if self._is_plain(variable):
            return []
        if variable in lowering.views or isinstance(variable, Constant):
            assert self.leaves is not None
            self.leaves.append(_leaf(lowering.view(variable), axis_map, self.rank))
            return []
        node = variable.owner
        assert node is not None
        self.nodes[node] = None
        if lowering.fusion._is_known(variable):
            return None
        if isinstance(node.op, Elementwise):
            return [
                (each, _operand_map(each, axis_map))
                for each, used in zip(node.inputs, used_operands(node.op), strict=True)
                if used
            ]
        if isinstance(node.op, DimShuffle):
            return [(node.inputs[0], _shuffled_map(node.op, axis_map))]
        return None

    def value(
        self,
        variable: Variable,
        axis_map: AxisMap,
        groups: Sequence[Sequence[int]],
        indices: Sequence[Expression],
        builder: NestBuilder,
    ) -> Expression:
        """The value at one index for each group of joined axes."""
        lowering = self.lowering
        if self._is_plain(variable):
            return lowering.value(variable, (), builder)
        if variable in lowering.views or isinstance(variable, Constant):
            leaf = _leaf(lowering.view(variable), axis_map, self.rank)
            strides = tuple(leaf.strides[group[-1]] for group in groups)
            flat = View(leaf.view.buffer, leaf.view.offset, strides, ())
            return builder.load(flat, indices)
        node = variable.owner
        assert node is not None

        def make() -> Expression:
            if isinstance(node.op, DimShuffle):
                inner = _shuffled_map(node.op, axis_map)
                return self.value(node.inputs[0], inner, groups, indices, builder)
            assert isinstance(node.op, Elementwise)
            operands = [
                self.value(each, _operand_map(each, axis_map), groups, indices, builder) if used else None
                for each, used in zip(node.inputs, used_operands(node.op), strict=True)
            ]
            return builder.compute(node, lambda: scalar_value(node, operands))

        return builder.remember((variable, axis_map, tuple(indices)), make)


def join_axes(
    shape: Sequence[Dimension], strides: Sequence[Sequence[Dimension]], classes: Sequence[int] | None = None
) -> list[list[int]]:
    """Neighbouring axes that all operands step through as one; axes of length 1 go.

    `classes` keeps axes of different classes apart.
    """
    groups: list[list[int]] = []
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        if groups:
            last = groups[-1][-1]
            same = classes is None or classes[last] == classes[axis]
            if same and all(each[last] == dims.multiply(length, each[axis]) for each in strides):
                groups[-1].append(axis)
                continue
        groups.append([axis])
    return groups


def kernel_nodes(lowering: Lowering, variable: Variable, stores: bool = False) -> list[Apply]:
    """The nodes that a kernel reading a variable computes; `stores`: it is the one that writes it."""
    found: dict[Apply, None] = {}
    stack = [variable]
    first = stores
    while stack:
        each = stack.pop()
        if isinstance(each, Constant) or each.owner is None or (each in lowering.views and not first):
            continue
        first = False
        if each.owner in found or lowering._literal(each) is not None:
            continue
        if lowering.fusion._is_known(each) and each is not variable:
            continue
        found[each.owner] = None
        if find(POINTWISE_RULES, each.owner.op) is not None:
            stack.extend(each.owner.inputs)
    return list(found)


def _stem(nodes: Sequence[Apply]) -> str:
    names = [re.sub(r"\W", "_", node.op.name) for node in nodes[:3]]
    return "_".join(reversed(names)) or "copy"


def write_entries(lowering: Lowering, variable: Variable, destination: View) -> None:
    """A kernel that stores every entry of a variable at a destination of its shape."""
    builder = lowering.builder()
    builder.node = variable.owner or lowering.node
    is_given = variable in lowering.views and variable.owner is None
    own_view = lowering.views.get(variable)
    known_nodes = [] if is_given else kernel_nodes(lowering, variable, own_view is destination)
    if own_view is destination:
        del lowering.views[variable]
    try:
        tree = StridedTree(lowering, variable)
        if own_view is destination and variable in lowering.bordered and variable not in lowering.zeroed:
            write_each(
                lowering, variable, builder, lambda indices: lowering.value(variable, indices, builder)
            )
        elif tree.leaves is not None:
            _write_strided(lowering, tree, destination, builder)
        else:
            _write_indexed(lowering, variable, destination, builder)
    finally:
        if own_view is destination:
            lowering.views[variable] = destination
    nodes = known_nodes or ([variable.owner] if variable.owner is not None else [])
    computes = variable not in lowering.views or own_view is destination
    lowering.add_kernel(builder, nodes, _stem(nodes) if computes else "copy")


def write_each(
    lowering: Lowering,
    variable: Variable,
    builder: NestBuilder,
    value: Callable[[Sequence[Expression]], Expression],
) -> None:
    """Loops that store a value at every entry of a variable where it was allocated, border included."""
    whole = lowering.bordered.get(variable)
    if whole is not None:
        write_bordered(builder, whole, lowering.borders[variable], lowering.shape(variable), value)
        return
    view = lowering.views[variable]
    with builder.loops(view.shape, vector=False) as indices:
        builder.store(view, indices, value(indices))


def write_bordered(
    builder: NestBuilder,
    whole: View,
    border: Border,
    shape: Sequence[Dimension],
    value: Callable[[Sequence[Expression]], Expression],
) -> None:
    """Loops over a view that hold entries of a shape with zeros around their last two axes."""
    with builder.loops(whole.shape, vector=False) as places:
        indices = list(places)
        conditions = []
        for axis, (before, after) in zip((-2, -1), border, strict=True):
            indices[axis] = builder.let(nest.subtract(places[axis], builder.size(before)), "at")
            if before != 0:
                conditions.append(nest.call("ge", indices[axis], Literal(INDEX, 0)))
            if after != 0:
                conditions.append(nest.call("lt", indices[axis], builder.size(shape[axis])))
        total = builder.declare(zero_of(whole.buffer.dtype), "entry")
        with builder.when(all_of(conditions)):
            builder.assign(total, value(indices))
        builder.store(whole, places, total)


def write_zeros(builder: NestBuilder, whole: View, border: Border, inner: Sequence[Dimension]) -> None:
    """Loops that store zeros around the last two axes of a contiguous view, whose inner part is so large."""
    (top, bottom), (left, right) = border
    height, width = inner
    *outer, _, row = whole.shape
    plane = whole.strides[-3] if outer else dims.multiply(*whole.shape)
    # In memory: what is before the first row, what is between two rows, what is behind the last.
    first = dims.add(dims.multiply(top, row), left)
    gap = dims.add(right, left)
    between = dims.multiply(dims.subtract(height, 1), gap)
    count = dims.add(first, between, right, dims.multiply(bottom, row))
    some = isinstance(height, int) and height > 0
    flat = replace(whole, strides=(*whole.strides[:-2], 1))
    with builder.loops([*outer, count if some else plane], vector=False) as (*indices, number):
        place = number
        if some:
            behind = nest.subtract(number, builder.size(first))
            steps = nest.multiply(nest.call("floordiv", behind, builder.size(gap)), builder.size(row))
            inside = nest.add(
                nest.call("mod", behind, builder.size(gap)), builder.size(dims.add(first, width))
            )
            last = nest.add(number, builder.size(dims.subtract(plane, count)))
            is_between = nest.call("lt", number, builder.size(dims.add(first, between)))
            place = Select(INDEX, is_between, nest.add(inside, steps), last)
            place = Select(INDEX, nest.call("lt", number, builder.size(first)), number, place)
        builder.store(flat, [*indices, builder.let(place, "at")], zero_of(whole.buffer.dtype))


def zero_of(dtype: str) -> Literal:
    """The zero of a dtype."""
    return Literal(dtype, False if dtype == nest.BOOL else 0.0 if dtype in nest.FLOATS else 0)


def follows_product(lowering: Lowering, variable: Variable) -> bool:
    """Whether a variable is made entry by entry of what a contraction has just stored, so that it may do so
    in its place."""
    leaves = StridedTree(lowering, variable).leaves or ()
    buffers = {leaf.view.buffer for leaf in leaves}
    return any(
        isinstance(step, ContractionCall) and step.buffers[2] in buffers for step in lowering.program.steps
    )


def all_of(conditions: Sequence[Expression]) -> Expression:
    """Whether all conditions hold."""
    if not conditions:
        return Literal(nest.BOOL, True)
    found = conditions[0]
    for each in conditions[1:]:
        found = nest.call("bitwise_and", found, each)
    return found


def _write_strided(lowering: Lowering, tree: StridedTree, destination: View, builder: NestBuilder) -> None:
    assert tree.leaves is not None
    shape = lowering.shape(tree.root)
    groups = join_axes(shape, [destination.strides, *(leaf.strides for leaf in tree.leaves)])
    extents = [dims.multiply(*(shape[axis] for axis in group)) for group in groups]
    target = View(
        destination.buffer, destination.offset, tuple(destination.strides[g[-1]] for g in groups), ()
    )
    tiled = not lowering.target.many_threads and _is_turned(tree, groups, extents)
    with _tiled(builder, extents) if tiled else builder.loops(extents) as indices:
        value = tree.value(tree.root, tuple(range(tree.rank)), groups, indices, builder)
        builder.store(target, indices, value)


def _is_turned(tree: StridedTree, groups: Sequence[Sequence[int]], extents: Sequence[Dimension]) -> bool:
    """Whether something is read along the last axis but one: in tiles, its cache lines are read once."""
    if len(groups) < 2 or not all(isinstance(n, int) and n >= 2 * TILE for n in extents[-2:]):
        return False
    outer, inner = groups[-2][-1], groups[-1][-1]
    assert tree.leaves is not None
    return any(leaf.strides[outer] == 1 and leaf.strides[inner] not in (0, 1) for leaf in tree.leaves)


@contextlib.contextmanager
def _tiled(builder: NestBuilder, extents: Sequence[Dimension]) -> Iterator[list[Expression]]:
    """Loops of which the innermost two run over tiles."""
    *outer, rows, columns = extents
    assert isinstance(rows, int) and isinstance(columns, int)
    with contextlib.ExitStack() as stack:
        indices = stack.enter_context(builder.loops(outer, vector=False))
        starts = []
        for position, (length, stem) in enumerate(((rows, "rows"), (columns, "columns"))):
            count = -(-length // TILE)
            number = stack.enter_context(builder.loop(count, stem, parallel=not outer and not position))
            starts.append(builder.let(nest.multiply(number, TILE), "start"))
        for start, length, last in zip(starts, (rows, columns), (False, True), strict=True):
            extent: Dimension | Expression = TILE
            if length % TILE:
                left = nest.subtract(Literal(INDEX, length), start)
                extent = nest.call("minimum", left, Literal(INDEX, TILE))
            index = stack.enter_context(builder.loop(extent, "i", vector=last))
            indices.append(nest.add(start, index))
        yield indices


def _write_indexed(lowering: Lowering, variable: Variable, destination: View, builder: NestBuilder) -> None:
    with contextlib.ExitStack() as stack:
        indices = stack.enter_context(builder.loops(lowering.shape(variable), vector=False))
        value = lowering.value(variable, indices, builder)
        builder.store(destination, indices, value)
