"""What became of a user's variable: takes a function, hands on, for each variable of the user's own, its way.

A way is a list of steps (joined with an equal one; replaced by a rule; taken into something larger by a
rule), the variable of the rewritten graph at its end, and the kernels that compute that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from symnet.compile.function import Function
from symnet.compile.kernel import Kernel
from symnet.compile.program import ContractionCall, KernelCall
from symnet.graph.variable import Apply, Constant, Variable
from symnet.inspect.subject import Places, op_text, own_variables
from symnet.rewrite.engine import Application, Joined, Snapshot


class Step(NamedTuple):
    """One thing that happened to a variable.

    `kind` is "joined" (an equal expression stands for it), "replaced" (by a rule), or "taken in" (a rule
    put something else in place of what it was a part of). `application` is the rule's, `pass_name` the
    pass it happened in.
    """

    kind: str
    pass_name: str
    old: Variable
    new: Variable
    application: Application | None


@dataclass
class Way:
    """What became of one variable of the user's.

    Attributes
    ----------
    variable
        The user's.
    steps
        What happened to it, in order.
    end
        What stands for it in the rewritten graph; None where nobody needs it any more.
    fate
        "computed" (by `kernels`), "view" (it lies where something else lies, and costs nothing), "size"
        (no kernel computes it: it follows from lengths and integers, or only its shape is wanted),
        "constant", "input", "inside" (computed, where no kernels are known), or "dropped".
    kernels
        The kernels that compute it.
    buffer
        The name of the buffer where it lies, if it lies in one.
    """

    variable: Variable
    steps: list[Step] = field(default_factory=list)
    end: Variable | None = None
    fate: str = "dropped"
    kernels: list[Kernel] = field(default_factory=list)
    buffer: str | None = None


class History:
    """The ways of a function's variables; making it goes once through what rewriting did."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.places = Places(function)
        self.variables = [each for each in own_variables(function) if each in function._trace]
        self._replaced: dict[Variable, list[tuple[int, str, Variable, Application | None]]] = {}
        self._gone: dict[Apply, list[tuple[int, str, Application]]] = {}
        moment = 0
        for each in function.rewriting.passes if function.rewriting is not None else ():
            for event in each.history:
                application = None if isinstance(event, Joined) else event
                for old, new in event.replaced:
                    self._replaced.setdefault(old, []).append((moment, each.name, new, application))
                if application is not None:
                    for node in application.gone:
                        self._gone.setdefault(node, []).append((moment, each.name, application))
                moment += 1
        self.is_known = moment > 0 or function.rewriting is None or not _has_applications(function)

    def way(self, variable: Variable) -> Way:
        """What became of a variable of the user's (or of the function's own copy of it)."""
        way = Way(variable)
        current = self.function._trace.get(variable, variable)
        moment = -1
        while True:
            step = self._next(current, moment)
            if step is None:
                break
            moment, found = step
            way.steps.append(found)
            current = found.new
        self._settle(way, current)
        return way

    def _next(self, current: Variable, moment: int) -> tuple[int, Step] | None:
        for when, name, new, application in self._replaced.get(current, ()):
            if when > moment:
                kind = "joined" if application is None else "replaced"
                return when, Step(kind, name, current, new, application)
        if current in self.function.graph.clients or current.owner is None:
            return None
        for when, name, taken in self._gone.get(current.owner, ()):
            if when > moment:
                return when, Step("taken in", name, current, taken.replaced[0][1], taken)
        return None

    def _settle(self, way: Way, current: Variable) -> None:
        places, graph = self.places, self.function.graph
        if isinstance(current, Constant):
            way.end, way.fate = current, "constant"
            return
        if current not in graph.clients:
            return
        way.end = current
        way.buffer = places.buffer(current)
        if current.owner is None:
            way.fate = "input"
        elif places.program is None:
            way.fate = "inside"
        else:
            way.kernels = list(places.of_node.get(current.owner, ()))
            way.fate = "computed" if way.kernels else "view" if way.buffer is not None else "size"

    def matching(self, text: str | int) -> list[Variable]:
        """The user's variables written in a line: by its number, a part of its text, or `file.py:12`."""
        return [each for each in self.variables if each.owner is not None and _is_in(each, text)]


def _is_in(variable: Variable, text: str | int) -> bool:
    source = variable.source
    if source is None:
        return False
    if isinstance(text, int):
        # A number is of the user's own file; lines of a library go by their text.
        return source.line == text
    return any(
        text in line.text or f"{line.file}:{line.line}".endswith(text)
        for line in (source, source.library)
        if line is not None
    )


def _has_applications(function: Function) -> bool:
    return any(each.applications or each.merged for each in function.rewriting.passes)


def origins(function: Function) -> dict[Variable, list[Variable]]:
    """For each variable of the rewritten graph the user's variables that became it, in order."""
    history = History(function)
    found: dict[Variable, list[Variable]] = {}
    for each in history.variables:
        end = history.way(each).end
        if end is not None:
            found.setdefault(end, []).append(each)
    return found


def kernel_lines(kernel: Kernel, node: Apply) -> list[int]:
    """The numbers (from 1) of the lines of a kernel's plain source that belong to a node."""
    lines = kernel.plain_source.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"def {kernel.name}(")) + 1
    body = [
        (number, line.strip())
        for number, line in enumerate(lines[start:], start + 1)
        if line.strip() and not line.strip().startswith(("#", "return"))
    ]
    if len(kernel.nodes) == 1:
        return [number for number, _ in body]
    if any(isinstance(call, ContractionCall) for call in kernel.calls):
        # The sum comes first, then what is made of it in the store.
        sums = [number for number, line in body if " += " in line]
        is_sum = any(node is call.nodes[0] for call in kernel.calls)
        return [number for number, _ in body if (number <= max(sums, default=0)) == is_sum]
    origins: dict[str, set[Apply]] = {}
    for call in kernel.calls:
        if isinstance(call, KernelCall):
            for name, owner in call.origins.items():
                origins.setdefault(name, set()).add(owner)
    return [number for number, line in body if node in origins.get(_first_name(line), ())]


def _first_name(statement: str) -> str:
    """The name that a statement gives a value to, or writes to, or counts with."""
    words = statement.removeprefix("for ")
    end = 0
    while end < len(words) and (words[end].isalnum() or words[end] == "_"):
        end += 1
    return words[:end]


def written(variable: Variable, snapshot: Snapshot, depth: int = 3) -> str:
    """An expression as it was at a moment: what is in the snapshot is written out, all else by its name."""
    inputs = dict(snapshot)

    def text(each: Variable, level: int) -> str:
        node = each.owner
        if node is None:
            return each.short_value if isinstance(each, Constant) and not each.name else _name(each)
        if node not in inputs or level == 0:
            return each.name or f"{op_text(node.op, 32)}(…)"
        operands = ", ".join(text(operand, level - 1) for operand in inputs[node])
        return f"{op_text(node.op, 32)}({operands})"

    return text(variable, depth)


def _name(variable: Variable) -> str:
    return variable.name or f"<{variable.type}>"


def all_steps(function: Function) -> Iterator[tuple[str, Application]]:
    """Every application of a rule, with the pass it happened in."""
    for each in function.rewriting.passes if function.rewriting is not None else ():
        for application in each.applications:
            yield each.name, application
