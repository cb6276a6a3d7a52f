"""A check of a graph's books: takes a FunctionGraph, hands on nothing, or refuses it with what is wrong.

Costs as much as building the graph again, so it runs between passes only with `config.debug` of 1 or
more, and in tests.
"""

from __future__ import annotations

from symnet.errors import RewriteError
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.source import inherit
from symnet.graph.variable import Apply


def verify(graph: FunctionGraph, after: str) -> None:
    """Check that the graph has no cycle, that users and nodes are booked, and that types fit ops.

    Raises
    ------
    RewriteError
        Naming what came before (`after`) and the node that is wrong.
    """
    order = graph.toposort()
    place = {node: number for number, node in enumerate(order)}
    if set(order) != set(graph.nodes):
        stray = next(iter(set(order) ^ set(graph.nodes)))
        raise _wrong(after, stray, "its node is in the graph and not in the books, or the reverse")
    uses = 0
    for node in order:
        for position, variable in enumerate(node.inputs):
            owner = variable.owner
            if owner is not None and variable not in graph.inputs and place[owner] >= place[node]:
                raise _wrong(after, node, "it depends on itself")
            if (node, position) not in graph.clients.get(variable, ()):
                raise _wrong(after, node, f"it is not booked as a user of its input {position}")
            uses += 1
        _verify_types(after, node)
    for position, output in enumerate(graph.outputs):
        if (None, position) not in graph.clients.get(output, ()):
            raise RewriteError(f"after {after}: output {position} is not booked", [output], output.source)
        uses += 1
    booked = sum(len(clients) for clients in graph.clients.values())
    if booked != uses:
        raise RewriteError(f"after {after}: {booked} uses are booked, and there are {uses}")


def _verify_types(after: str, node: Apply) -> None:
    """What the op infers must not contradict what the outputs' types say."""
    with inherit(node.source):
        anew = node.op.make_node(*node.inputs)
    if len(anew.inputs) != len(node.inputs) or any(
        new is not old for new, old in zip(anew.inputs, node.inputs, strict=True)
    ):
        raise _wrong(after, node, "its op would convert its inputs")
    for have, inferred in zip(node.outputs, anew.outputs, strict=True):
        same = have.dtype == inferred.dtype and have.broadcastable == inferred.broadcastable
        if not same or any(
            None not in (mine, its) and mine != its
            for mine, its in zip(have.type.shape, inferred.type.shape, strict=True)
        ):
            raise _wrong(after, node, f"its output is {have.type}, and its op makes {inferred.type}")


def _wrong(after: str, node: Apply, what: str) -> RewriteError:
    return RewriteError(f"after {after}: {node.op}: {what}", node.inputs, node.source)
