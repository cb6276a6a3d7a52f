"""A graph with its ends: takes inputs and outputs, hands on who uses what, and lets nodes be replaced.

A FunctionGraph owns its nodes: whoever makes one hands in copies (`clone_graph`). That is why it may
rewire their inputs when a variable is replaced, which keeps a rewrite's cost to the nodes it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from symnet.graph.traversal import toposort
from symnet.graph.variable import Apply, Variable

#: One use of a variable: the node and the position among its inputs; node None is the graph's output.
Client = tuple[Apply | None, int]


class FunctionGraph:
    """Inputs, outputs, and for each variable the nodes that use it.

    Attributes
    ----------
    inputs, outputs
        Lists of variables. An output may stand there twice.
    clients
        For each variable in the graph the (node, position) pairs that use it, in the order in which
        they came; node None is an output.
    input_set
        The inputs, to be looked up.
    nodes
        The nodes in the graph, in the order in which they came; use `toposort` for an order to run in.
    """

    def __init__(self, inputs: Sequence[Variable], outputs: Sequence[Variable]) -> None:
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.clients: dict[Variable, dict[Client, None]] = {}
        self.nodes: dict[Apply, None] = {}
        #: Called with each node that enters the graph after construction.
        self.on_import: Callable[[Apply], None] | None = None
        #: Called with each node that leaves the graph.
        self.on_prune: Callable[[Apply], None] | None = None
        #: Called with each node one of whose inputs was just replaced.
        self.on_rewire: Callable[[Apply], None] | None = None
        #: Called with each variable that lost a use and keeps others.
        self.on_release: Callable[[Variable], None] | None = None
        self.input_set = set(self.inputs)
        for variable in self.inputs:
            self.clients.setdefault(variable, {})
        for position, output in enumerate(self.outputs):
            self._import(output)
            self.clients[output][None, position] = None

    def _import(self, variable: Variable) -> None:
        if variable in self.clients:
            return
        clients = self.clients
        for node in toposort([variable], stop=clients):
            self.nodes[node] = None
            for position, each in enumerate(node.inputs):
                uses = clients.get(each)
                if uses is None:
                    uses = clients[each] = {}
                uses[node, position] = None
            for output in node.outputs:
                if output not in clients:
                    clients[output] = {}
            if self.on_import is not None:
                self.on_import(node)
        clients.setdefault(variable, {})

    def _drop_client(self, variable: Variable, client: Client) -> None:
        """Take one use out of the books, and with it every node that nobody uses any more."""
        stack = [(variable, client)]
        while stack:
            current, user = stack.pop()
            uses = self.clients[current]
            uses.pop(user, None)
            if uses:
                if self.on_release is not None:
                    self.on_release(current)
                continue
            node = current.owner
            if node is None or node not in self.nodes:
                if current not in self.input_set:
                    del self.clients[current]
                continue
            if current in self.input_set or any(self.clients[output] for output in node.outputs):
                continue
            del self.nodes[node]
            for output in node.outputs:
                if output not in self.input_set:
                    del self.clients[output]
            if self.on_prune is not None:
                self.on_prune(node)
            for position, each in enumerate(node.inputs):
                stack.append((each, (node, position)))

    def replace(self, old: Variable, new: Variable) -> None:
        """Make every present user of `old` use `new`, and drop what nobody uses then.

        `new` may itself be computed from `old`; that use stays. Types are the caller's business.
        """
        if old is new or old not in self.clients:
            return
        # Taken before `new` comes in, so that its own uses of `old` are not among them.
        users = list(self.clients[old])
        if not users:
            return
        self._import(new)
        new_uses = self.clients[new]
        rewired: dict[Apply, None] = {}
        for user, position in users:
            if user is None:
                self.outputs[position] = new
            else:
                inputs = list(user.inputs)
                inputs[position] = new
                user.inputs = tuple(inputs)
                rewired[user] = None
            new_uses[user, position] = None
        if self.on_rewire is not None:
            for user in rewired:
                self.on_rewire(user)
        for client in users:
            self._drop_client(old, client)

    def replace_all(self, pairs: Iterable[tuple[Variable, Variable]]) -> None:
        """Several replacements, in order."""
        for old, new in pairs:
            self.replace(old, new)

    def toposort(self) -> list[Apply]:
        """The nodes, each after those it needs."""
        return toposort(self.outputs, stop=self.input_set)
