"""Common subexpressions: takes a FunctionGraph, hands on one in which equal nodes are the same node.

Nodes are equal when their ops are and their inputs are the same variables (in either order for a
commutative op); constants are equal when type and bits are. Kept up to date as the graph changes, so
that rules see merged graphs only. Two draws of one random state with equal inputs are the same draw.
"""

from __future__ import annotations

from typing import Any

from symnet.graph.function_graph import FunctionGraph
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.elementwise import Elementwise


class Merger:
    """The books of which node stands for which op on which inputs.

    Attributes
    ----------
    merged
        How many nodes were found to be equal to another one and dropped.
    """

    def __init__(self, graph: FunctionGraph) -> None:
        self.graph = graph
        self.merged = 0
        self._nodes: dict[tuple[Any, ...], Apply] = {}
        self._keys: dict[Apply, tuple[Any, ...]] = {}
        self._constants: dict[tuple[Any, ...], Constant] = {}

    @staticmethod
    def key(node: Apply) -> tuple[Any, ...]:
        """Equal for nodes that compute the same."""
        op, inputs = node.op, node.inputs
        if isinstance(op, Elementwise) and op.commutative and id(inputs[1]) < id(inputs[0]):
            return (op, id(inputs[1]), id(inputs[0]))
        return (op, *map(id, inputs))

    def constant(self, constant: Constant) -> Constant:
        """The one constant of this type and value.

        It is never a weak one: a number that the user wrote has met its operands by now, and must not
        take another dtype beside others.
        """
        known = self._constants.get(constant.signature)
        if known is None:
            known = constant
            if constant.weak:
                known = Constant(constant.type, constant.data, constant.name)
                known.source = constant.source
            self._constants[constant.signature] = known
        return known

    def forget(self, node: Apply) -> None:
        """The node has left the graph, or is about to change."""
        key = self._keys.pop(node, None)
        if key is not None and self._nodes.get(key) is node:
            del self._nodes[key]

    def equal_node(self, node: Apply) -> Apply | None:
        """The node in the graph that computes the same; None when there is none, and it is booked then."""
        key = self.key(node)
        known = self._nodes.get(key)
        if known is node:
            return None
        if known is not None and _share_types(known, node):
            return known
        self.forget(node)
        if known is None:
            self._nodes[key] = node
            self._keys[node] = key
        return None

    def adopt(self, variable: Variable) -> Variable:
        """The variable that stands for a new one: its new nodes joined to those of the graph.

        Goes through nodes that are not in the graph, inputs first; each is replaced by an equal one of
        the graph where there is one.
        """
        known: dict[Variable, Variable] = {}
        nodes, clients = self.graph.nodes, self.graph.clients
        # No recursion, and no walk back into the graph.
        stack: list[tuple[Variable, bool]] = [(variable, False)]
        fresh: dict[tuple[Any, ...], Apply] = {}
        while stack:
            current, ready = stack.pop()
            if current in known:
                continue
            if isinstance(current, Constant):
                known[current] = self.constant(current)
                continue
            node = current.owner
            if node is None or node in nodes or current in clients:
                known[current] = current
                continue
            if not ready:
                stack.append((current, True))
                stack.extend((each, False) for each in node.inputs if each not in known)
                continue
            inputs = tuple(known[each] for each in node.inputs)
            if any(new is not old for new, old in zip(inputs, node.inputs, strict=True)):
                # The rule made the node and nobody else has it, so it may be changed.
                node.inputs = inputs
            key = self.key(node)
            equal = self._nodes.get(key) or fresh.get(key)
            if equal is not None and equal is not node and _share_types(equal, node):
                for old, new in zip(node.outputs, equal.outputs, strict=True):
                    known[old] = new
            else:
                fresh[key] = node
                for output in node.outputs:
                    known[output] = output
        return known[variable]


def _share_types(kept: Apply, dropped: Apply) -> bool:
    """Let the kept node know what either node's types know; False when they broadcast differently."""
    for mine, its in zip(kept.outputs, dropped.outputs, strict=True):
        if mine.type != its.type and (
            mine.type.dtype != its.type.dtype or mine.type.broadcastable != its.type.broadcastable
        ):
            return False
    for mine, its in zip(kept.outputs, dropped.outputs, strict=True):
        if mine.type != its.type:
            mine.type = mine.type.meet(its.type)
    return True
