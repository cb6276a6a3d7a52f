"""Walks over a graph, none of them recursive: takes variables, hands on nodes in an order.

Graphs are as deep as the user's loops, so every walk keeps its own stack.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from symnet.graph.variable import Apply, Constant, Variable


def _container(variables: Iterable[Variable]) -> Collection[Variable]:
    """The variables as they are where membership is cheap: a whole graph's books may be handed in."""
    return variables if isinstance(variables, set | frozenset | dict) else set(variables)


def toposort(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Apply]:
    """The nodes that the outputs need, each after the nodes it needs; none behind a variable in `stop`."""
    order: list[Apply] = []
    state: dict[Apply, bool] = {}
    stopped = _container(stop)
    stack: list[tuple[Apply, bool]] = []
    for output in outputs:
        if output.owner is None or output in stopped:
            continue
        stack.append((output.owner, False))
        while stack:
            node, expanded = stack.pop()
            if expanded:
                if not state[node]:
                    state[node] = True
                    order.append(node)
                continue
            if node in state:
                continue
            state[node] = False
            stack.append((node, True))
            for variable in reversed(node.inputs):
                owner = variable.owner
                if owner is not None and owner not in state and variable not in stopped:
                    stack.append((owner, False))
    return order


def ancestors(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Variable]:
    """Every variable the outputs depend on, themselves included, each once."""
    found: dict[Variable, None] = {}
    stopped = _container(stop)
    stack = list(outputs)[::-1]
    while stack:
        variable = stack.pop()
        if variable in found:
            continue
        found[variable] = None
        if variable.owner is not None and variable not in stopped:
            stack.extend(reversed(variable.owner.inputs))
    return list(found)


def roots(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Variable]:
    """The variables without an owner (and those in `stop`) that the outputs depend on; no constants."""
    stopped = _container(stop)
    return [
        variable
        for variable in ancestors(outputs, stopped)
        if (variable.owner is None or variable in stopped) and not isinstance(variable, Constant)
    ]


def clone_graph(
    outputs: Sequence[Variable], replace: Mapping[Variable, Variable] | None = None
) -> tuple[list[Variable], dict[Variable, Variable]]:
    """Copies of the outputs in which each variable in `replace` is its replacement.

    Hands back the copies and the map from old variables to new. Nodes that depend on no replacement
    are copied too, so the copy may be rewritten freely. Replacements are taken as they are.
    """
    memo: dict[Variable, Variable] = dict(replace or {})
    for node in toposort(outputs, stop=memo):
        if all(output in memo for output in node.outputs):
            continue
        copy = node.clone_with_new_inputs([memo.get(each, each) for each in node.inputs])
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            if old in memo:
                continue
            new.name = old.name
            if "_tag" in old.__dict__:
                new.tag = old.tag
            memo[old] = new
    return [memo.get(output, output) for output in outputs], memo
