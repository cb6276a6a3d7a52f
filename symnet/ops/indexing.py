"""The ops of indexing: take a tensor and places, hand on the entries there, or the tensor changed there.

A basic subtensor takes integers and slices, a gather integer arrays; each has an op that writes. How
`x[...]` becomes these is in `symnet.ops.subscript`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph import dims
from symnet.graph.dims import UNKNOWN, Dimension, Shape
from symnet.graph.op import DISCONNECTED, ZERO, HostValue, Mismatch, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES
from symnet.graph.variable import Apply, Variable
from symnet.ops.basic import as_tensor_variable, constant
from symnet.ops.creation import zeros_like
from symnet.ops.elementwise import broadcast_shape, cast, unbroadcast

#: Stands in a template for an index that is the op's next input.
INPUT = "input"
Bound = int | str | None
#: One axis of a basic index: an integer (or INPUT), or ("slice", start, stop, step).
Entry = int | str | tuple[str, Bound, Bound, int]
Template = tuple[Entry, ...]


def bind_template(template: Template, values: Sequence[Any]) -> list[Any]:
    """The template's entries with INPUT replaced by the values, in order: numbers and (start, stop, step)."""
    supply = iter(values)

    def bound(part: Bound) -> Any:
        return next(supply) if part == INPUT else part

    return [
        (bound(entry[1]), bound(entry[2]), entry[3]) if isinstance(entry, tuple) else bound(entry)
        for entry in template
    ]


def numpy_index(template: Template, values: Sequence[Any]) -> tuple[Any, ...]:
    """The template as an index that NumPy takes."""
    return tuple(
        slice(*entry) if isinstance(entry, tuple) else entry
        for entry in bind_template(template, [int(each) for each in values])
    )


def _template_text(template: Template) -> str:
    def bound(part: Bound) -> str:
        return "" if part is None else str(part)

    parts = []
    for entry in template:
        if isinstance(entry, tuple):
            step = f":{entry[3]}" if entry[3] != 1 else ""
            parts.append(f"{bound(entry[1])}:{bound(entry[2])}{step}")
        else:
            parts.append(str(entry))
    return ", ".join(parts)


def subtensor_shape(
    template: Template, shape: Shape, values: Sequence[HostValue], context: ShapeContext
) -> Shape:
    """The shape of a basic index; refuses an integer that lies outside its axis."""
    numbers = [UNKNOWN if v is None or isinstance(v, tuple) else v for v in values]
    result: list[Dimension] = []
    for axis, entry in enumerate(bind_template(template, numbers)):
        length = shape[axis]
        if isinstance(entry, tuple):
            result.append(dims.slice_bounds(length, *entry)[1])
        else:
            inside = dims.multiply(
                dims.apply("ge", entry, dims.apply("neg", length)), dims.apply("lt", entry, length)
            )
            asked = f"an index is outside axis {axis}: index {{0}}, length {{1}}"
            context.require(inside, asked, (entry, length))
    return (*result, *shape[len(template) :])


class _Basic(Op):
    """What basic indexing and its assignment share: a template, and inputs for its symbolic parts."""

    properties: tuple[str, ...] = ("template",)
    can_fail = True
    first_index = 1

    def __init__(self, template: Template) -> None:
        self.template = template

    @property
    def value_inputs(self) -> tuple[int, ...]:  # type: ignore[override]
        """The symbolic parts of the index."""
        return tuple(range(self.first_index, 129))

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The tensor's dtype."""
        return [inputs[0].dtype]


class Subtensor(_Basic):
    """Integers and slices: inputs are the tensor and the index's symbolic parts (integer scalars)."""

    def __str__(self) -> str:
        return f"subtensor[{_template_text(self.template)}]"

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """Axes with an integer go; slices are clipped."""
        return [subtensor_shape(self.template, shapes[0], values[1:], context)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """NumPy's basic indexing."""
        return np.asarray(inputs[0][numpy_index(self.template, inputs[1:])])

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Zeros with the gradient added at the index."""
        x, *rest = node.inputs
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, *[DISCONNECTED] * len(rest)]
        scattered = IncSubtensor(self.template, False)(zeros_like(x), output_gradients[0], *rest)
        return [scattered, *[DISCONNECTED] * len(rest)]

    def host_values(self, node: Apply, shapes: Sequence[Shape], values: Sequence[HostValue]) -> HostValue:
        """An entry or a slice of a known vector."""
        content = values[0]
        if not isinstance(content, tuple):
            return None
        found = bind_template(self.template, values[1:])
        if not found:
            return content
        parts = found[0] if isinstance(found[0], tuple) else (found[0],)
        if not all(part is None or isinstance(part, int) for part in parts):
            return None
        if isinstance(found[0], tuple):
            return content[slice(*found[0])]
        return content[found[0]] if -len(content) <= found[0] < len(content) else None


class IncSubtensor(_Basic):
    """A tensor whose entries at a basic index are increased by, or (`set_`) replaced with, another's."""

    properties: tuple[str, ...] = ("template", "set_")
    first_index = 2

    def __init__(self, template: Template, set_: bool) -> None:
        super().__init__(template)
        self.set_ = set_

    def __str__(self) -> str:
        return f"{'set' if self.set_ else 'inc'}_subtensor[{_template_text(self.template)}]"

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The value in the tensor's dtype."""
        x, y, *rest = (as_tensor_variable(each) for each in inputs)
        return [x, cast(y, x.dtype), *rest]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The tensor's shape; the value must fit the index, or broadcast to it."""
        target = subtensor_shape(self.template, shapes[0], values[2:], context)
        check_value_fits(inputs[1], shapes[1], target, context)
        return [shapes[0]]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """A copy with the part assigned."""
        result = inputs[0].copy()
        where = numpy_index(self.template, inputs[2:])
        result[where] = inputs[1] if self.set_ else result[where] + inputs[1]
        return result

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The value gets the gradient at the index; the tensor all of it, or none there when replaced."""
        x, y, *rest = node.inputs
        lost = [DISCONNECTED] * len(rest)
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, ZERO, *lost]
        g = output_gradients[0]
        at_index = Subtensor(self.template)(g, *rest)
        nothing = constant(np.asarray(0, dtype=g.dtype))
        through = IncSubtensor(self.template, True)(g, nothing, *rest) if self.set_ else g
        return [through, unbroadcast(at_index, y), *lost]


def check_value_fits(value: Variable, value_shape: Shape, target: Shape, context: ShapeContext) -> None:
    """Refuse a value that neither has the target's shape nor broadcasts to it by its type."""
    if len(value_shape) > len(target):
        raise Mismatch(f"a value of {len(value_shape)} axes for an index of {len(target)}")
    for axis in range(1, len(value_shape) + 1):
        if value.type.shape[-axis] != 1:
            asked = f"the value's length of axis {len(value_shape) - axis} does not fit the index"
            context.equal(value_shape[-axis], target[-axis], asked)


class _Advanced(Op):
    """What gathering and scattering by integer arrays share: the axes that the arrays index."""

    properties: tuple[str, ...] = ("axes",)
    can_fail = True

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The tensor's dtype."""
        return [inputs[0].dtype]

    @property
    def adjacent(self) -> bool:
        """Whether the indexed axes are neighbours: then the arrays' axes take their place, else the front."""
        return self.axes == tuple(range(self.axes[0], self.axes[0] + len(self.axes)))

    @property
    def place(self) -> int:
        """The first axis of the result that comes from the index arrays."""
        return self.axes[0] if self.adjacent else 0

    def gathered_shape(
        self, shape: Shape, indices: Sequence[Variable], index_shapes: Sequence[Shape], context: ShapeContext
    ) -> Shape:
        """The shape of `x[arrays]`."""
        common = broadcast_shape(indices, index_shapes, context)
        kept = [n for axis, n in enumerate(shape) if axis not in self.axes]
        return (*kept[: self.place], *common, *kept[self.place :])

    def numpy_where(self, shape: tuple[int, ...], indices: Sequence[np.ndarray[Any, Any]]) -> tuple[Any, ...]:
        """The index for NumPy, each place of which lies inside its axis."""
        outside = [
            (i < -shape[axis]) | (i >= shape[axis]) for axis, i in zip(self.axes, indices, strict=True)
        ]
        if any(np.any(each) for each in outside):
            places = np.broadcast_arrays(*outside, *indices)
            first = np.unravel_index(np.argmax(np.any(places[: len(outside)], axis=0)), places[0].shape)
            which = next(number for number in range(len(outside)) if places[number][first])
            axis, found = self.axes[which], places[len(outside) + which][first]
            raise IndexError(f"an index is outside axis {axis}: index {found}, length {shape[axis]}")
        where: list[Any] = [slice(None)] * len(shape)
        for axis, index in zip(self.axes, indices, strict=True):
            where[axis] = index
        return tuple(where)


class AdvancedSubtensor(_Advanced):
    """Entries gathered by integer arrays (broadcast together) along some axes: `x[:, rows, columns]`."""

    def __str__(self) -> str:
        return f"gather{{axes={self.axes}}}"

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The arrays' common shape in the place of the indexed axes."""
        return [self.gathered_shape(shapes[0], inputs[1:], shapes[1:], context)]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """NumPy's advanced indexing."""
        return inputs[0][self.numpy_where(inputs[0].shape, inputs[1:])]

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Zeros with the gradient added at the indices, as often as each comes."""
        x, *indices = node.inputs
        lost = [DISCONNECTED] * len(indices)
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, *lost]
        scatter = AdvancedIncSubtensor(self.axes, False)
        return [scatter(zeros_like(x), output_gradients[0], *indices), *lost]


class AdvancedIncSubtensor(_Advanced):
    """A tensor with values added (an index as often as it comes) or set (the last wins) at integer arrays."""

    properties: tuple[str, ...] = ("axes", "set_")

    def __init__(self, axes: tuple[int, ...], set_: bool) -> None:
        super().__init__(axes)
        self.set_ = set_

    def __str__(self) -> str:
        return f"{'set' if self.set_ else 'inc'}_gathered{{axes={self.axes}}}"

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """The value in the tensor's dtype."""
        x, y, *rest = (as_tensor_variable(each) for each in inputs)
        return [x, cast(y, x.dtype), *rest]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The tensor's shape; the value must fit what the arrays gather."""
        target = self.gathered_shape(shapes[0], inputs[2:], shapes[2:], context)
        check_value_fits(inputs[1], shapes[1], target, context)
        return [shapes[0]]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """A copy, with `numpy.add.at` or an assignment."""
        result = inputs[0].copy()
        where = self.numpy_where(result.shape, inputs[2:])
        if self.set_:
            result[where] = inputs[1]
        else:
            np.add.at(result, where, inputs[1])
        return result

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """The value gets what lies at the indices; the tensor all, or none there when replaced."""
        x, y, *indices = node.inputs
        lost = [DISCONNECTED] * len(indices)
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, ZERO, *lost]
        g = output_gradients[0]
        at_index = AdvancedSubtensor(self.axes)(g, *indices)
        nothing = constant(np.asarray(0, dtype=g.dtype))
        through = AdvancedIncSubtensor(self.axes, True)(g, nothing, *indices) if self.set_ else g
        return [through, unbroadcast(at_index, y), *lost]


class Nonzero(Op):
    """The places of a tensor's nonzero entries: one int64 vector for each axis, in C order.

    As a mask (`axis` is not None) it has a second input, the tensor that the places are of: the mask's
    lengths must be that tensor's from `axis` on.
    """

    properties = ("axis",)
    can_fail = True

    def __init__(self, axis: int | None = None) -> None:
        self.axis = axis

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """int64 for each axis."""
        return ["int64"] * inputs[0].ndim

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """As many entries as the data says, at most all."""
        if self.axis is not None:
            for axis, length in enumerate(shapes[0], start=self.axis):
                asked = f"a mask of another length: a place is outside axis {axis}, or left out"
                context.equal(length, shapes[1][axis], asked)
        length = context.data_dependent(inputs[0], dims.multiply(*shapes[0]))
        return [(length,)] * len(shapes[0])

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.nonzero`."""
        return tuple(each.astype("int64") for each in np.nonzero(inputs[0]))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Places have no gradient."""
        return [ZERO, *[DISCONNECTED] * (len(node.inputs) - 1)]

    def __str__(self) -> str:
        return "nonzero"


def nonzero(x: Any, return_matrix: bool = False) -> Any:
    """The places of the nonzero entries: a tuple of int64 vectors, or one matrix of them.

    Raises
    ------
    GraphError
        For a scalar.
    """
    variable = as_tensor_variable(x)
    if variable.ndim == 0:
        raise GraphError("nonzero of a scalar", [variable])
    places = tuple(Nonzero().make_node(variable).outputs)
    if return_matrix:
        from symnet.ops.joining import stack

        return stack(list(places))
    return places
