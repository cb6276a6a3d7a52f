"""The nodes of an expression: variables, constants, and the applications of ops that join them.

Takes types and ops, hands on an immutable graph: an `Apply` never changes its op, inputs or outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from symnet.graph.pickling import Ancestry, is_saved
from symnet.graph.source import SourceLine, user_line
from symnet.graph.types import TensorType

if TYPE_CHECKING:
    from symnet.graph.op import Op


class Variable:
    """A symbolic tensor.

    Attributes
    ----------
    type
        Its `TensorType`.
    owner
        The `Apply` it is an output of; None for an input, a constant, or a shared variable.
    index
        Which of the owner's outputs it is.
    name
        The user's name for it, or None; may be set.
    source
        The user's line that made it, or None.
    tag
        A namespace for whatever the user wants to keep beside it.
    """

    # NumPy arrays must leave `array * variable` to the variable's reflected operator.
    __array_priority__ = 1000.0
    __array_ufunc__ = None

    if TYPE_CHECKING:
        # `symnet.ops.operators` gives variables these, and the methods of tensors.
        T: Variable
        shape: Variable
        size: Variable

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, item: Any) -> Variable: ...
        def __add__(self, other: Any) -> Variable: ...
        def __radd__(self, other: Any) -> Variable: ...
        def __sub__(self, other: Any) -> Variable: ...
        def __rsub__(self, other: Any) -> Variable: ...
        def __mul__(self, other: Any) -> Variable: ...
        def __rmul__(self, other: Any) -> Variable: ...
        def __truediv__(self, other: Any) -> Variable: ...
        def __rtruediv__(self, other: Any) -> Variable: ...
        def __floordiv__(self, other: Any) -> Variable: ...
        def __rfloordiv__(self, other: Any) -> Variable: ...
        def __mod__(self, other: Any) -> Variable: ...
        def __rmod__(self, other: Any) -> Variable: ...
        def __pow__(self, other: Any) -> Variable: ...
        def __rpow__(self, other: Any) -> Variable: ...
        def __and__(self, other: Any) -> Variable: ...
        def __rand__(self, other: Any) -> Variable: ...
        def __or__(self, other: Any) -> Variable: ...
        def __ror__(self, other: Any) -> Variable: ...
        def __xor__(self, other: Any) -> Variable: ...
        def __rxor__(self, other: Any) -> Variable: ...
        def __matmul__(self, other: Any) -> Variable: ...
        def __rmatmul__(self, other: Any) -> Variable: ...
        def __lt__(self, other: Any) -> Variable: ...
        def __le__(self, other: Any) -> Variable: ...
        def __gt__(self, other: Any) -> Variable: ...
        def __ge__(self, other: Any) -> Variable: ...
        def __neg__(self) -> Variable: ...
        def __pos__(self) -> Variable: ...
        def __abs__(self) -> Variable: ...
        def __invert__(self) -> Variable: ...

    def __init__(
        self,
        type: TensorType,
        owner: Apply | None = None,
        index: int | None = None,
        name: str | None = None,
    ) -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.name = name
        self.source: SourceLine | None = owner.source if owner is not None else user_line()

    @property
    def tag(self) -> SimpleNamespace:
        """A namespace for the user's own attributes."""
        found = self.__dict__.get("_tag")
        if found is None:
            found = self.__dict__["_tag"] = SimpleNamespace()
        return found

    @tag.setter
    def tag(self, value: SimpleNamespace) -> None:
        self.__dict__["_tag"] = value

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.type.shape)

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """For each axis, whether its length is known to be 1."""
        return self.type.broadcastable

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from symnet.inspect.notebook import html_of_variable

        return html_of_variable(self)

    def _repr_svg_(self) -> str | None:
        from symnet.inspect.notebook import svg_of

        return svg_of(self)

    def clone(self, name: str | None = None) -> Variable:
        """A new input of the same type (and name)."""
        return self.type.make_variable(self.name if name is None else name)

    def __str__(self) -> str:
        if self.name:
            return self.name
        if self.owner is not None:
            suffix = f".{self.index}" if len(self.owner.outputs) > 1 else ""
            return f"{self.owner.op}{suffix}"
        return f"<{self.type!r}>"

    __repr__ = __str__

    def __getstate__(self) -> Any:
        state = dict(self.__dict__)
        return state if is_saved(self.owner) else (Ancestry(self.owner), state)

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state[1] if isinstance(state, tuple) else state)


TensorType.variable_class = Variable


class Constant(Variable):
    """A variable whose value is in the graph.

    `data` is a read-only NumPy array (0-d for a scalar); its type's shape is the array's.
    `weak` marks a number written by the user as a Python literal, which never widens a dtype.
    """

    def __init__(
        self, type: TensorType, data: np.ndarray[Any, Any], name: str | None = None, weak: bool = False
    ) -> None:
        super().__init__(type, name=name)
        if data.flags.writeable:
            data = data.view()
            data.flags.writeable = False
        self.data = data
        self.weak = weak
        self._signature: tuple[Any, ...] | None = None

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The array (Theano's other name for `data`)."""
        return self.data

    @property
    def signature(self) -> tuple[Any, ...]:
        """Equal for constants of the same type and the same bits."""
        if self._signature is None:
            data = self.data
            if data.size <= 16:
                content: bytes = data.tobytes()
            else:
                content = hashlib.sha256(np.ascontiguousarray(data).tobytes()).digest()
            self._signature = (self.type, content)
        return self._signature

    @property
    def short_value(self) -> str:
        """The value as a person would write it, shortened."""
        if self.data.ndim == 0:
            return str(self.data[()])
        return np.array2string(self.data, threshold=6, edgeitems=2, separator=", ").replace("\n", "")

    def clone(self, name: str | None = None) -> Constant:
        """The same constant again."""
        return Constant(self.type, self.data, self.name if name is None else name, self.weak)

    def __str__(self) -> str:
        return self.name or self.short_value

    __repr__ = __str__


class Apply:
    """An op applied to inputs, with the outputs that makes and the user's line that wrote it."""

    __slots__ = ("__weakref__", "inputs", "op", "outputs", "source")

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Variable],
        output_types: Sequence[TensorType],
        source: SourceLine | None = None,
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.source = source if source is not None else user_line()
        variable_class = TensorType.variable_class
        self.outputs = tuple(variable_class(type, self, index) for index, type in enumerate(output_types))

    @property
    def out(self) -> Variable:
        """The only output."""
        (output,) = self.outputs
        return output

    def clone_with_new_inputs(self, inputs: Sequence[Variable], strict: bool = True) -> Apply:
        """The same op on other inputs, at the same user line; types are inferred anew if they differ."""
        same = all(new.type == old.type for new, old in zip(inputs, self.inputs, strict=True))
        if same:
            return Apply(self.op, inputs, [output.type for output in self.outputs], self.source)
        from symnet.graph.source import inherit

        with inherit(self.source):
            return self.op.make_node(*inputs)

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.inputs))})"

    __repr__ = __str__

    def __getstate__(self) -> tuple[Any, ...]:
        before = None if is_saved(self) else Ancestry(self)
        return (before, self.op, self.inputs, self.outputs, self.source)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.op, self.inputs, self.outputs, self.source = state
