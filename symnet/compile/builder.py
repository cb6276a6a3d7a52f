"""Builds one nest: takes views and values from a lowering rule, hands on the finished `Nest`.

It collects the buffers and sizes that the kernel touches, keeps loops as context managers, and names
each value once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from symnet.compile import nest
from symnet.compile.near import look_at_arguments
from symnet.compile.nest import INDEX, Expression, Literal, Name, Statement
from symnet.compile.program import Buffer, View
from symnet.graph.dims import Dimension, Size
from symnet.graph.variable import Apply

if TYPE_CHECKING:
    from symnet.compile.lower import Lowering


class NestBuilder:
    """A nest under construction.

    Use `loop` for loops, `load` and `store` for views, `let` to name a value; statements go to the
    innermost open block.
    """

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.body: list[Statement] = []
        self._blocks: list[list[Statement]] = [self.body]
        #: For each open block what was computed in it, so that it is computed once.
        self._memo: list[dict[Any, Expression]] = [{}]
        #: For each open block the loop variable that it is the body of; None for a branch.
        self._loops: list[str | None] = [None]
        self._buffers: dict[Buffer, str] = {}
        self._written: set[Buffer] = set()
        self._sizes: dict[str, None] = {}
        self._counter = 0
        self.can_fail = False
        #: The node that is being computed, and for each name (buffers written included) the node it is of.
        self.node: Apply | None = lowering.node
        self.origins: dict[str, Apply] = {}

    # --- names and sizes -----------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A name that the nest does not have yet."""
        self._counter += 1
        name = f"{stem}{self._counter}"
        if self.node is not None:
            self.origins[name] = self.node
        return name

    def size(self, dimension: Dimension) -> Expression:
        """A size as an int64 expression; what is not a literal becomes a parameter of the kernel."""
        if isinstance(dimension, int):
            return Literal(INDEX, dimension)
        assert isinstance(dimension, Size)
        name = self.lowering.slot_name(dimension)
        self._sizes[name] = None
        return Name(INDEX, name)

    def buffer(self, buffer: Buffer, written: bool = False) -> str:
        """The parameter's name for a buffer."""
        if buffer not in self._buffers:
            name = buffer.name
            # A user's x1 or n0 must not be taken for a value or a size of the nest.
            if name.rstrip("0123456789") != name and "_" not in name:
                name += "_"
            while name in self._buffers.values():
                name += "_"
            self._buffers[buffer] = name
        if written:
            self._written.add(buffer)
        return self._buffers[buffer]

    # --- values --------------------------------------------------------------------------------

    def let(self, value: Expression, stem: str = "v") -> Expression:
        """A name for a value; literals and names stay as they are."""
        if isinstance(value, Literal | Name):
            return value
        name = self.fresh(stem)
        self.add(nest.Let(name, value))
        return Name(value.dtype, name)

    def compute(self, node: Apply, make: Callable[[], Expression]) -> Expression:
        """A name for the value of a node; what making it names is the node's, too."""
        before, self.node = self.node, node
        value = self.let(make())
        self.node = before
        return value

    def remember(self, key: Any, make: Callable[[], Expression]) -> Expression:
        """The value of a key, computed once for each open block and those inside it."""
        for known in reversed(self._memo):
            if key in known:
                found: Expression = known[key]
                return found
        value = make()
        self._memo[-1][key] = value
        return value

    @staticmethod
    def chosen(values: Sequence[Expression], where: Expression, dtype: str) -> Expression:
        """The value whose position is `where`."""
        if not values:
            return Literal(dtype, 0)
        if isinstance(where, Literal):
            return values[int(where.value)]
        result = values[-1]
        for position in range(len(values) - 2, -1, -1):
            condition = nest.call("eq", where, Literal(INDEX, position))
            result = nest.Select(dtype, condition, values[position], result)
        return result

    def place(self, view: View, indices: Sequence[Expression]) -> Expression:
        """The element offset of an entry of a view."""
        offset = self.size(view.offset)
        for where, stride in zip(indices, view.strides, strict=True):
            offset = nest.add(offset, nest.multiply(where, self.size(stride)))
        return offset

    def load(self, view: View, indices: Sequence[Expression]) -> Expression:
        """An entry of a view, named."""
        place = self.place(view, indices)
        name = self.buffer(view.buffer)
        if view.buffer in self._written:
            return self.let(nest.Load(view.buffer.dtype, name, place), "x")
        return self.remember((name, place), lambda: self.let(nest.Load(view.buffer.dtype, name, place), "x"))

    def store(self, view: View, indices: Sequence[Expression], value: Expression) -> None:
        """Store an entry of a view."""
        name = self.buffer(view.buffer, written=True)
        if self.node is not None:
            self.origins.setdefault(name, self.node)
        self.add(nest.Store(name, self.place(view, indices), value))

    # --- statements ----------------------------------------------------------------------------

    def add(self, statement: Statement) -> None:
        """Append to the innermost open block."""
        self._blocks[-1].append(statement)

    @contextlib.contextmanager
    def _block(self, loop: str | None = None) -> Iterator[list[Statement]]:
        block: list[Statement] = []
        self._blocks.append(block)
        self._memo.append({})
        self._loops.append(loop)
        try:
            yield block
        finally:
            self._blocks.pop()
            self._memo.pop()
            self._loops.pop()

    @contextlib.contextmanager
    def outside(self, indices: Sequence[Expression]) -> Iterator[None]:
        """Statements go before the loops, further in than those of the indices, that are open now.

        What is stated must follow from the indices alone, and must not fail: the loops may be empty.
        """
        if self.lowering.target.many_threads:
            # Loops that stand one right in the other are threads; what is loaded again lies in a cache.
            yield
            return
        walked = (each for index in indices for each in nest.walk_expression(index))
        names = {each.name for each in walked if isinstance(each, Name)}
        depth = len(self._blocks)
        if names <= {loop for loop in self._loops if loop is not None}:
            while depth > 1 and self._loops[depth - 1] is not None and self._loops[depth - 1] not in names:
                depth -= 1
        open_now = self._blocks, self._memo, self._loops
        self._blocks, self._memo, self._loops = self._blocks[:depth], self._memo[:depth], self._loops[:depth]
        try:
            yield
        finally:
            self._blocks, self._memo, self._loops = open_now

    @contextlib.contextmanager
    def loop(
        self,
        extent: Dimension | Expression,
        stem: str = "i",
        parallel: bool = False,
        vector: bool = False,
    ) -> Iterator[Expression]:
        """`for i in range(extent)`; a literal extent of 1 is no loop and i is 0."""
        if isinstance(extent, int) and extent == 1:
            yield Literal(INDEX, 0)
            return
        bound = extent if isinstance(extent, Expression) else self.size(extent)
        name = self.fresh(stem)
        with self._block(name) as body:
            yield Name(INDEX, name)
        self.add(nest.For(name, bound, tuple(body), parallel, vector))

    @contextlib.contextmanager
    def loops(
        self, extents: Sequence[Dimension], parallel: bool = True, vector: bool = True, stem: str = "i"
    ) -> Iterator[list[Expression]]:
        """Loops one in the other: the outermost of more than one round `parallel`, the last `vector`.

        For a target of many threads all loops are parallel where one is.
        """
        outermost = next((i for i, extent in enumerate(extents) if extent != 1), 0)
        every = self.lowering.target.many_threads
        with contextlib.ExitStack() as stack:
            indices = []
            for position, extent in enumerate(extents):
                last = position == len(extents) - 1
                shared = parallel and (every or position == outermost)
                indices.append(stack.enter_context(self.loop(extent, stem, shared, vector and last)))
            yield indices

    @contextlib.contextmanager
    def when(self, condition: Expression) -> Iterator[None]:
        """Statements that only run where the condition holds."""
        with self._block() as body:
            yield
        self.add(nest.If(condition, tuple(body)))

    def declare(self, value: Expression, stem: str = "total") -> Name:
        """A variable that may be assigned."""
        name = self.fresh(stem)
        self.add(nest.Declare(name, value))
        return Name(value.dtype, name)

    def assign(self, variable: Name, value: Expression) -> None:
        """A new value for a variable."""
        self.add(nest.Assign(variable.name, value))

    def accumulate(self, variable: Name, function: str, value: Expression) -> None:
        """`variable = function(variable, value)`, in any order of lanes."""
        self.add(nest.Accumulate(variable.name, function, value))

    def fail(self, site: int, *values: Expression) -> None:
        """Report a failure."""
        self.can_fail = True
        self.add(nest.Fail(site, values))

    # --- the result ----------------------------------------------------------------------------

    def finish(self, name: str, comments: Sequence[str]) -> tuple[nest.Nest, tuple[Buffer, ...]]:
        """The nest, and the buffers for its parameters in order."""
        buffers = tuple(self._buffers)
        parameters = tuple(
            nest.BufferParameter(self._buffers[each], each.dtype, each in self._written) for each in buffers
        )
        body = tuple(self.body) if self.lowering.target.many_threads else look_at_arguments(self.body)
        made = nest.Nest(name, parameters, tuple(self._sizes), body, tuple(comments))
        return made, buffers
