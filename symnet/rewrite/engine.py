"""The engine: takes a FunctionGraph and rules, hands on the same graph rewritten, and what was done to it.

It keeps a list of nodes to look at. A node is tried against the rules of its op; where one applies, the
new nodes and those that use them are looked at again, so the work grows with the nodes and the changes.
Rules only say what replaces what: the engine checks the replacement's type, hands the user's line and
name on, joins equal nodes, and stops a rule that does not come to an end.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from symnet.errors import RewriteError
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.source import SourceLine
from symnet.graph.variable import Apply, Constant, Variable
from symnet.rewrite.merge import Merger

#: A rule may apply this often for each node that the graph had, and this often in any graph.
APPLICATIONS_PER_NODE = 30
APPLICATIONS_AT_LEAST = 200
#: The graph may grow to this many times its size, and by this many nodes in any case.
GROWTH = 10
GROWTH_AT_LEAST = 2000
#: Of what a rule looked at, so many levels are remembered.
LEVELS_KEPT = 4


class RuleLike(Protocol):
    """What the engine asks of a rule."""

    name: str
    reason: str
    depth: int
    needs_constant: bool
    needs_ops: frozenset[Op]
    needs_kinds: tuple[type[Op], ...]

    @property
    def root(self) -> Op | type[Op]:
        """The op it is tried on, or the class of ops."""

    def apply(self, node: Apply, graph: FunctionGraph) -> Sequence[Variable] | None:
        """One replacement for each of the node's outputs, or None."""


#: Nodes with the inputs that they had at some moment: rewriting changes inputs later.
Snapshot = tuple[tuple[Apply, tuple[Variable, ...]], ...]


class Application(NamedTuple):
    """One use of one rule.

    `before` and `after` are the ops at the place that was rewritten (`after` None: a constant or an
    input); `added` and `removed` count nodes, joined ones not included. `replaced` holds the variables,
    old and new; `seen` is what the rule looked at, `made` what it put in place, `gone` the nodes that
    nobody needed then.
    """

    rule: str
    source: SourceLine | None
    before: Op
    after: Op | None
    added: int
    removed: int
    reason: str = ""
    replaced: tuple[tuple[Variable, Variable], ...] = ()
    seen: Snapshot = ()
    made: Snapshot = ()
    gone: tuple[Apply, ...] = ()

    def __str__(self) -> str:
        after = "a constant or input" if self.after is None else str(self.after)
        where = f"  [{self.source.file}:{self.source.line}]" if self.source is not None else ""
        return f"{self.rule}: {self.before} -> {after} (+{self.added} -{self.removed} nodes){where}"


class Joined(NamedTuple):
    """A node that was found to be equal to another one: its outputs, and those that stand for them now."""

    replaced: tuple[tuple[Variable, Variable], ...]


@dataclass
class PassReport:
    """What one pass did: its name and sentence, seconds, node counts, tries, and each application.

    `history` is all that happened to variables, in order; it is not pickled, and neither are the
    variables of the applications.
    """

    name: str
    sentence: str
    seconds: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
    merged: int = 0
    attempts: int = 0
    applications: list[Application] = field(default_factory=list)
    history: list[Application | Joined] = field(default_factory=list, repr=False)
    #: What trying and applying each rule took.
    rule_seconds: dict[str, float] = field(default_factory=partial(defaultdict, float), repr=False)

    def __getstate__(self) -> dict[str, Any]:
        bare = [each._replace(replaced=(), seen=(), made=(), gone=()) for each in self.applications]
        return {**self.__dict__, "applications": bare, "history": []}

    def counts(self) -> dict[str, int]:
        """How often each rule applied."""
        return dict(Counter(each.rule for each in self.applications))


class RuleIndex:
    """Rules by the op, or the class of ops, at their root, in the order of the list."""

    def __init__(self, rules: Sequence[RuleLike]) -> None:
        self.depth = max((rule.depth for rule in rules), default=0)
        self._of_op: dict[Op, list[tuple[int, RuleLike]]] = {}
        self._of_class: list[tuple[int, type[Op], RuleLike]] = []
        self._found: dict[Op, tuple[RuleLike, ...]] = {}
        for place, rule in enumerate(rules):
            if isinstance(rule.root, Op):
                self._of_op.setdefault(rule.root, []).append((place, rule))
            else:
                self._of_class.append((place, rule.root, rule))

    def of(self, op: Op) -> tuple[RuleLike, ...]:
        """The rules to try on a node of this op."""
        found = self._found.get(op)
        if found is None:
            numbered = self._of_op.get(op, []) + [
                (place, rule) for place, kind, rule in self._of_class if isinstance(op, kind)
            ]
            numbered.sort(key=lambda each: each[0])
            found = self._found[op] = tuple(rule for _, rule in numbered)
        return found


class Engine:
    """Applies rules to one graph until none applies any more, keeping equal nodes joined meanwhile.

    Parameters
    ----------
    graph
        A graph that owns its nodes; it is rewritten in place. While an engine is at work on it nobody
        else may change it.
    """

    def __init__(self, graph: FunctionGraph) -> None:
        self.graph = graph
        self.merger = Merger(graph)
        self._changed: deque[Apply] = deque(graph.toposort())
        self._waiting: deque[Apply] = deque()
        self._fresh: deque[Apply] = deque()
        self._is_waiting: set[Apply] = set()
        self._is_fresh: set[Apply] = set()
        self._depth = 0
        self._added: list[tuple[Apply, tuple[Variable, ...]]] = []
        self._removed: list[Apply] = []

    # --- the graph's news ----------------------------------------------------------------------

    def _imported(self, node: Apply) -> None:
        self._added.append((node, node.inputs))
        self._changed.append(node)
        self._look_at(node)

    def _pruned(self, node: Apply) -> None:
        self._removed.append(node)
        self.merger.forget(node)

    def _rewired(self, node: Apply) -> None:
        self.merger.forget(node)
        self._changed.append(node)
        self._look_at(node)
        # A rule that looks deeper than one op may apply further down the graph now.
        level = [node]
        seen = {node}
        for _ in range(self._depth - 1):
            following: list[Apply] = []
            for each in level:
                for output in each.outputs:
                    for client, _position in self.graph.clients.get(output, ()):
                        if client is not None and client not in self._is_waiting and client not in seen:
                            seen.add(client)
                            self._look_at(client)
                            following.append(client)
            level = following

    def _released(self, variable: Variable) -> None:
        uses = self.graph.clients[variable]
        if len(uses) == 1:
            (client, _) = next(iter(uses))
            if client is not None:
                self._look_at(client)

    def _look_at(self, node: Apply) -> None:
        if node not in self._is_waiting and node not in self._is_fresh:
            self._is_fresh.add(node)
            self._fresh.append(node)

    # --- work ----------------------------------------------------------------------------------

    def merge(self, report: PassReport) -> None:
        """Join all equal nodes and equal constants."""
        report.nodes_before = len(self.graph.nodes)
        merged = self.merger.merged
        self._listen(True)
        try:
            self._join_constants()
            self._settle(report)
        finally:
            self._listen(False)
        report.merged = self.merger.merged - merged
        report.nodes_after = len(self.graph.nodes)

    def run(self, rules: RuleIndex, report: PassReport) -> None:
        """Apply the rules until none applies; the report gets counts and applications.

        Raises
        ------
        RewriteError
            When a replacement has another type, or a rule does not come to an end.
        """
        graph = self.graph
        report.nodes_before = len(graph.nodes)
        merged = self.merger.merged
        budget = _Budget(len(graph.nodes))
        self._depth = rules.depth
        self._waiting = deque(graph.toposort())
        self._is_waiting = set(self._waiting)
        self._fresh.clear()
        self._is_fresh.clear()
        self._listen(True)
        try:
            while True:
                self._settle(report)
                if self._fresh:
                    node = self._fresh.popleft()
                    self._is_fresh.discard(node)
                elif self._waiting:
                    node = self._waiting.popleft()
                    self._is_waiting.discard(node)
                else:
                    break
                if node in graph.nodes:
                    self._try(node, rules, report, budget)
        finally:
            self._listen(False)
        report.merged = self.merger.merged - merged
        report.nodes_after = len(graph.nodes)

    def _listen(self, listening: bool) -> None:
        graph = self.graph
        graph.on_import = self._imported if listening else None
        graph.on_prune = self._pruned if listening else None
        graph.on_rewire = self._rewired if listening else None
        graph.on_release = self._released if listening else None

    def _join_constants(self) -> None:
        for variable in list(self.graph.clients):
            if isinstance(variable, Constant):
                self.graph.replace(variable, self.merger.constant(variable))

    def _settle(self, report: PassReport) -> None:
        """Join the nodes that have become equal to another one, and those that this makes equal."""
        while self._changed:
            node = self._changed.popleft()
            if node not in self.graph.nodes:
                continue
            equal = self.merger.equal_node(node)
            if equal is None:
                continue
            self.merger.merged += 1
            report.history.append(Joined(tuple(zip(node.outputs, equal.outputs, strict=True))))
            for old, new in zip(node.outputs, equal.outputs, strict=True):
                if new.name is None:
                    new.name = old.name
                self.graph.replace(old, new)

    def _try(self, node: Apply, rules: RuleIndex, report: PassReport, budget: _Budget) -> None:
        constant = False
        ops: set[Op] = set()
        for each in node.inputs:
            if each.owner is not None:
                ops.add(each.owner.op)
            elif isinstance(each, Constant):
                constant = True
        spent = report.rule_seconds
        started = time.perf_counter()
        for rule in rules.of(node.op):
            if rule.needs_constant and not constant or not rule.needs_ops <= ops:
                continue
            if rule.needs_kinds and not _holds_each(ops, rule.needs_kinds):
                continue
            report.attempts += 1
            replacements = rule.apply(node, self.graph)
            if replacements is None:
                now = time.perf_counter()
                spent[rule.name] += now - started
                started = now
                continue
            self._added, self._removed = [], []
            after: Op | None = None
            replaced: list[tuple[Variable, Variable]] = []
            seen = _snapshot(node, rule.depth)
            for old, new in zip(node.outputs, replacements, strict=True):
                if new is old or not self.graph.clients.get(old):
                    continue
                adopted = self.merger.adopt(new)
                if adopted is old:
                    continue
                _check_type(rule, old, adopted)
                if old.name is not None and adopted.name is None:
                    adopted.name = old.name
                after = adopted.owner.op if adopted.owner is not None else None
                self.graph.replace(old, adopted)
                replaced.append((old, adopted))
            if not replaced:
                continue
            added, removed = len(self._added), len(self._removed)
            made = tuple(self._added) or _snapshot(replaced[-1][1].owner, 1)
            application = Application(
                *(rule.name, node.source, node.op, after, added, removed, rule.reason),
                *(tuple(replaced), seen, made, tuple(self._removed)),
            )
            spent[rule.name] += time.perf_counter() - started
            report.applications.append(application)
            report.history.append(application)
            budget.spend(rule, node, added, len(self.graph.nodes))
            if node in self.graph.nodes:
                self._look_at(node)
            return


def _holds_each(ops: set[Op], kinds: Sequence[type[Op]]) -> bool:
    """Whether there is an op of each class."""
    return all(any(isinstance(op, kind) for op in ops) for kind in kinds)


def _snapshot(node: Apply | None, depth: int) -> Snapshot:
    """A node and those below it, so many levels deep (but few), with their inputs of this moment."""
    if node is None:
        return ()
    found: dict[Apply, tuple[Variable, ...]] = {node: node.inputs}
    level = [node]
    for _ in range(min(depth, LEVELS_KEPT) - 1):
        below: list[Apply] = []
        for each in level:
            for variable in each.inputs:
                owner = variable.owner
                if owner is not None and owner not in found:
                    found[owner] = owner.inputs
                    below.append(owner)
        level = below
    return tuple(found.items())


class _Budget:
    """How often rules may apply, and how far the graph may grow."""

    def __init__(self, nodes: int) -> None:
        self.applications = APPLICATIONS_AT_LEAST + APPLICATIONS_PER_NODE * nodes
        self.nodes = GROWTH_AT_LEAST + GROWTH * nodes
        self._applied: Counter[str] = Counter()
        self._added: Counter[str] = Counter()

    def spend(self, rule: RuleLike, node: Apply, added: int, nodes: int) -> None:
        """Book one application; refuse when the rule has had its share."""
        self._applied[rule.name] += 1
        self._added[rule.name] += added
        if self._applied[rule.name] > self.applications:
            raise RewriteError(
                f"the rewrite {rule.name} ({rule.reason}) applied {self._applied[rule.name]} times and does "
                "not come to an end",
                node.inputs,
                node.source,
                hint="a rule must not apply to what it makes, nor undo what another rule makes",
            )
        if nodes > self.nodes:
            name, count = self._added.most_common(1)[0]
            raise RewriteError(
                f"rewriting makes the graph grow to {nodes} nodes; the rewrite {name} added {count} of them",
                node.inputs,
                node.source,
                hint="a rule must not make more nodes than it replaces, again and again",
            )


def _check_type(rule: RuleLike, old: Variable, new: Variable) -> None:
    """Refuse a replacement of another dtype, rank or broadcast pattern, or whose shape is less known."""
    want, have = old.type, new.type
    if want == have:
        return
    if want.dtype != have.dtype:
        wrong = f"dtype {have.dtype} where {want.dtype} was"
    elif len(want.shape) != len(have.shape):
        wrong = f"{len(have.shape)} axes where {len(want.shape)} were"
    elif want.broadcastable != have.broadcastable:
        wrong = f"broadcastable axes {have.broadcastable} where {want.broadcastable} were"
    elif not want.accepts(have):
        wrong = f"shape {have.shape} where {want.shape} was known"
    else:
        return
    raise RewriteError(
        f"the rewrite {rule.name} ({rule.reason}) changes a type: {wrong}",
        [old, new],
        old.source,
    )
