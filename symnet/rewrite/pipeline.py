"""The list of passes: takes a FunctionGraph, hands on the same graph rewritten and a report of what was done.

The order is that of the list. Each pass ends when none of its rules applies any more; equal nodes are
joined all the time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import NamedTuple

from symnet.config import config
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.verifier import verify
from symnet.rewrite import (
    rules_algebra,
    rules_recognise,
    rules_shape,
    rules_softmax,
    rules_stabilise,
)
from symnet.rewrite.engine import Application, Engine, PassReport, RuleIndex, RuleLike
from symnet.rewrite.folding import ConstantFolding
from symnet.rewrite.pattern import Rule


def rules_in(*modules: ModuleType) -> list[RuleLike]:
    """The rules that the modules define, in the order in which they stand there."""
    return [each for module in modules for each in vars(module).values() if isinstance(each, Rule)]


class Pass(NamedTuple):
    """A name, what it does in one sentence, and its rules; without rules it only joins equal nodes."""

    name: str
    sentence: str
    rules: Sequence[RuleLike]


CANONICAL: list[RuleLike] = [ConstantFolding(), *rules_in(rules_algebra, rules_shape)]
STABILISING: list[RuleLike] = rules_in(rules_softmax, rules_stabilise)

#: What happens to every graph, in this order.
PASSES: list[Pass] = [
    Pass("merge", "Equal expressions become one.", []),
    Pass(
        "canonicalise",
        "Constants are folded, and what gradients and people write in many ways gets its plainest form.",
        CANONICAL,
    ),
    Pass(
        "recognise",
        "Sigmoid and softmax that are written out, and their gradients, become the ops that they mean.",
        rules_in(rules_recognise),
    ),
    Pass(
        "stabilise",
        "Forms that overflow, underflow or cancel are computed in another way, and the result made plain.",
        [*STABILISING, *CANONICAL],
    ),
]


@dataclass(repr=False)
class RewriteReport:
    """What each pass did; `str(report)` is a table, `report.log()` every application of every rule."""

    passes: list[PassReport] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The time all passes took."""
        return sum(each.seconds for each in self.passes)

    @property
    def applications(self) -> list[Application]:
        """All applications of rules, in order."""
        return [application for each in self.passes for application in each.applications]

    def counts(self) -> dict[str, int]:
        """How often each rule applied, the most frequent first."""
        found: dict[str, int] = {}
        for each in self.passes:
            for rule, count in each.counts().items():
                found[rule] = found.get(rule, 0) + count
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def log(self) -> str:
        """One line for each application: rule, ops before and after, nodes, the user's line."""
        lines = []
        for each in self.passes:
            lines.append(f"{each.name}: {each.sentence}")
            lines.extend(f"  {application}" for application in each.applications)
        return "\n".join(lines)

    def __repr__(self) -> str:
        before, after = (self.passes[0].nodes_before, self.passes[-1].nodes_after) if self.passes else (0, 0)
        applied = len(self.applications)
        spent = f"{self.seconds * 1e3:.1f} ms"
        return f"<rewriting: {before} nodes to {after} by {applied} applications, {spent}>"

    def __str__(self) -> str:
        lines = [
            f"{'pass':<14}{'ms':>9}{'nodes before':>14}{'after':>8}{'joined':>8}{'tries':>8}{'applied':>9}"
        ]
        for each in self.passes:
            lines.append(
                f"{each.name:<14}{each.seconds * 1e3:>9.1f}{each.nodes_before:>14}{each.nodes_after:>8}"
                f"{each.merged:>8}{each.attempts:>8}{len(each.applications):>9}"
            )
        return "\n".join(lines)


_INDICES = {each.name: RuleIndex(each.rules) for each in PASSES}


def rewrite(graph: FunctionGraph, passes: Sequence[Pass] = PASSES) -> RewriteReport:
    """Rewrite a graph in place.

    Parameters
    ----------
    graph
        A graph that owns its nodes (`clone_graph`); inputs and the outputs' order stay.
    passes
        The passes; all by default.

    Raises
    ------
    RewriteError
        When a rule breaks a type, does not come to an end, or (with `config.debug` of 1 or more) leaves
        an inconsistent graph; it names the rule or the pass.
    """
    report = RewriteReport()
    engine = Engine(graph)
    for each in passes:
        done = PassReport(each.name, each.sentence)
        started = time.perf_counter()
        if each.rules:
            known = _INDICES[each.name] if each in PASSES else RuleIndex(each.rules)
            engine.run(known, done)
        else:
            engine.merge(done)
        done.seconds = time.perf_counter() - started
        report.passes.append(done)
        if config.debug >= 1:
            verify(graph, f"the pass {each.name}")
    return report
