"""Fusion: takes a lowering's graph and sizes, hands on which results are stored, which computed in passing.

One walk from the results back. A result that only one kernel reads is computed inside that kernel; one
that several read is stored, unless computing it again costs less than storing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from symnet.compile.specialise import Computed, leaves_of
from symnet.graph.dims import Size
from symnet.graph.op import Op
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.elementwise import Elementwise

if TYPE_CHECKING:
    from symnet.compile.lower import Lowering

#: A kernel takes in at most this many nodes: larger ones compile slowly and spill registers.
MOST_NODES = 64
#: How many kernels may compute the same cheap value, and how deep a chain of such values may be.
MOST_COPIES = 3
MOST_DEPTH = 4

#: How a node uses an operand: its entries where it computes ("value"), its buffer ("buffer"), its
#: content as a size ("size"), or only its shape ("shape").
Demands = Callable[[Apply], Sequence[str]]
DEMANDS: dict[type[Op], Demands] = {}
#: The same for a target of many threads, where that differs.
DEMANDS_OF_THREADS: dict[type[Op], Demands] = {}
#: What computing a node once more costs, beside the 1 of an addition.
COSTS: dict[type[Op], int] = {}


def demands(*ops: type[Op], many_threads: bool = False) -> Callable[[Demands], Demands]:
    """Register how an op uses its operands; `many_threads`: how it does so for such a target alone."""
    rules = DEMANDS_OF_THREADS if many_threads else DEMANDS

    def register(rule: Demands) -> Demands:
        for op in ops:
            rules[op] = rule
        return rule

    return register


@dataclass
class _Demand:
    """What is asked of a variable: the kernels that read it, whether they need a buffer, how often."""

    kernels: set[Any] = field(default_factory=set)
    buffer: bool = False
    depth: int = 0
    entries: int = 0

    @property
    def live(self) -> bool:
        return self.buffer or bool(self.kernels)


class Fusion:
    """The plan: which results are materialised."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.demand: dict[Variable, _Demand] = {}
        self.materialised: set[Variable] = set()
        self._nodes_in: dict[Any, int] = {}

    def is_materialised(self, variable: Variable) -> bool:
        """Whether a result gets a buffer of its own."""
        return variable in self.materialised

    def is_live(self, node: Apply) -> bool:
        """Whether any kernel needs a result of the node."""
        return any(output in self.demand and self.demand[output].live for output in node.outputs)

    def of(self, variable: Variable) -> _Demand:
        """The demand for a variable."""
        return self.demand.setdefault(variable, _Demand())

    def plan(self) -> None:
        """Decide, from the results back."""
        lowering = self.lowering
        results = lowering._results
        for position, output in enumerate(lowering.graph.outputs):
            if position < results:
                self.of(output).buffer = True
            else:
                self.of(output).kernels.add(("update", position))
        for size in self._run_time_sizes():
            self._need_leaves(size)
        for node in reversed(lowering.order):
            if self.is_live(node):
                self._node(node)

    def _run_time_sizes(self) -> list[Any]:
        sizes = self.lowering.sizes
        found: list[Any] = [slot.definition for slot in sizes.slots.values()]
        found += [guard.expression for guard in sizes.guards]
        found += [check.condition for check in sizes.checks]
        return found

    def _need_leaves(self, size: Any) -> None:
        """Integers that kernels compute and sizes are made of must lie in a buffer."""
        if isinstance(size, Size):
            for leaf in leaves_of(size, self.lowering.program.slots):
                if isinstance(leaf, Computed) and not leaf.count:
                    self.of(leaf.variable).buffer = True
                elif isinstance(leaf, Computed):
                    self.of(leaf.variable).kernels.add("size")

    def _node(self, node: Apply) -> None:
        from symnet.compile.lower import BUFFER_OPERANDS, VIEW_RULES, find

        lowering = self.lowering
        if all(self._is_known(output) for output in node.outputs):
            for output in node.outputs:
                value = lowering.sizes.values[output]
                for each in value if isinstance(value, tuple) else (value,):
                    self._need_leaves(each)
                if self._wants_buffer(node, output):
                    self.materialised.add(output)
            return
        if lowering.kernel_rule(node) is not None and find(VIEW_RULES, node.op) is None:
            self.materialised.update(node.outputs)
            buffers = set(find(BUFFER_OPERANDS, node.op)(node))
            rule = self._demands_of(node.op)
            kinds = (
                rule(node)
                if rule is not None
                else ["buffer" if position in buffers else "value" for position in range(len(node.inputs))]
            )
            entries = self._entries(node.inputs[0] if node.inputs else node.outputs[0])
            self._pass_on(node, kinds, {node.outputs[0]}, 0, entries)
            return
        (output,) = node.outputs
        demand = self.of(output)
        if find(VIEW_RULES, node.op) is not None and self._looks_through(node, demand):
            return
        if self._wants_buffer(node, output):
            self.materialised.add(output)
            kernels: set[Any] = {output}
            depth, entries = 0, self._entries(output)
        else:
            kernels, depth, entries = demand.kernels, demand.depth, demand.entries
            if len(kernels) > 1:
                depth += 1
        for kernel in kernels:
            self._nodes_in[kernel] = self._nodes_in.get(kernel, 0) + 1
        rule = self._demands_of(node.op)
        kinds = rule(node) if rule is not None else ["value"] * len(node.inputs)
        self._pass_on(node, kinds, kernels, depth, entries)

    def _looks_through(self, node: Apply, demand: _Demand) -> bool:
        """A view asks its base for what is asked of it, except for a part alone of a computed base."""
        from symnet.ops.indexing import Subtensor
        from symnet.ops.shape import Reshape

        base = node.inputs[0]
        computed = base.owner is not None and not self._has_buffer_anyway(base)
        if isinstance(node.op, Subtensor) and computed and not self.of(base).buffer:
            return False
        below = self.of(base)
        below.buffer |= demand.buffer or isinstance(node.op, Reshape)
        below.kernels |= demand.kernels
        below.depth = max(below.depth, demand.depth)
        below.entries = max(below.entries, demand.entries)
        rule = self._demands_of(node.op)
        kinds = rule(node) if rule is not None else ["value"] * len(node.inputs)
        self._pass_on(node, ["shape", *kinds[1:]], demand.kernels, demand.depth, demand.entries)
        return True

    def _has_buffer_anyway(self, variable: Variable) -> bool:
        from symnet.compile.lower import VIEW_RULES, find

        node = variable.owner
        while node is not None and find(VIEW_RULES, node.op) is not None:
            variable = node.inputs[0]
            node = variable.owner
        return node is None or self.lowering.kernel_rule(node) is not None

    def _is_known(self, variable: Variable) -> bool:
        """Whether an integer result follows from sizes alone."""
        value = self.lowering.sizes.values.get(variable)
        if value is None:
            return False
        return isinstance(value, tuple) or not self.lowering._is_own(variable, value)

    def _entries(self, variable: Variable) -> int:
        return self.lowering.capacity(self.lowering.shape(variable))

    def _wants_buffer(self, node: Apply, output: Variable) -> bool:
        demand = self.of(output)
        if demand.buffer:
            return True
        if self._is_known(output) and output.ndim == 0:
            return False
        cheap = self._is_cheap(node)
        if len(demand.kernels) > 1 and (
            not cheap or len(demand.kernels) > MOST_COPIES or demand.depth >= MOST_DEPTH
        ):
            return True
        if not cheap and demand.entries >= 2 * max(1, self._entries(output)):
            return True
        return any(self._nodes_in.get(kernel, 0) >= MOST_NODES for kernel in demand.kernels)

    def _demands_of(self, op: Op) -> Demands | None:
        from symnet.compile.lower import find

        own = find(DEMANDS_OF_THREADS, op) if self.lowering.target.many_threads else None
        found: Demands | None = own or find(DEMANDS, op)
        return found

    @staticmethod
    def _is_cheap(node: Apply) -> bool:
        from symnet.compile.lower import find

        if isinstance(node.op, Elementwise):
            return node.op.cheap
        return (find(COSTS, node.op) or 1) <= 2

    def _pass_on(
        self, node: Apply, kinds: Sequence[str], kernels: set[Any], depth: int, entries: int
    ) -> None:
        for variable, kind in zip(node.inputs, kinds, strict=True):
            if isinstance(variable, Constant) or kind == "shape":
                continue
            known = self.lowering.sizes.values.get(variable)
            if kind == "size" or kind == "value" and variable.ndim == 0 and self._is_known(variable):
                for each in known if isinstance(known, tuple) else (known,):
                    self._need_leaves(each)
                if kind == "size":
                    continue
            demand = self.of(variable)
            demand.kernels |= kernels
            demand.depth = max(demand.depth, depth)
            demand.entries = max(demand.entries, entries)
            if kind == "buffer":
                demand.buffer = True
