"""Pickles and deep copies of graphs of any depth: takes a node, hands on the nodes before it, inputs first.

Pickle saves what an object refers to before it goes on, and so would go as deep as the graph. The state of a
variable or node therefore begins with all that it is computed from, in an order in which each node's inputs
are saved before it: whatever refers to them later finds them saved.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symnet.graph.variable import Apply


class _Session(threading.local):
    """The nodes that the pickle under way has saved, or is at; there may be pickles in pickles."""

    def __init__(self) -> None:
        self.saved: set[Apply] = set()
        self.depth = 0


_session = _Session()


def is_saved(node: Apply | None) -> bool:
    """Whether a pickle under way has saved the node; there is nothing to save before no node."""
    return node is None or node in _session.saved


class Ancestry(list[Any]):
    """A node and all that it is computed from, as pickle wants it: a list whose items come one by one."""

    def __init__(self, node: Apply | None = None) -> None:
        super().__init__()
        self.node = node

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (Ancestry, (), None, self._in_order())

    def _in_order(self) -> Iterator[Apply]:
        session = _session
        session.depth += 1
        try:
            stack: list[tuple[Apply, bool]] = [] if self.node is None else [(self.node, False)]
            while stack:
                node, ready = stack.pop()
                if node in session.saved:
                    continue
                if ready:
                    session.saved.add(node)
                    yield node
                    continue
                stack.append((node, True))
                stack.extend((each.owner, False) for each in node.inputs if each.owner is not None)
        finally:
            session.depth -= 1
            if session.depth == 0:
                session.saved.clear()
