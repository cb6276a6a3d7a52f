"""One page: takes a function, hands on an HTML file that shows its graphs, kernels and memory, and needs no
network.

The drawing is Cytoscape.js's and the layout dagre's (both in `vendored/`, with their licences); what the
page shows is data that Python wrote into it.
"""

from __future__ import annotations

import html as escaping
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from symnet.compile.function import Function
from symnet.graph.source import SourceLine
from symnet.graph.variable import Apply
from symnet.inspect.code import forms_of
from symnet.inspect.explanation import explained
from symnet.inspect.graphs import Diagram, diagram
from symnet.inspect.history import History, Step
from symnet.inspect.notebook import Page
from symnet.inspect.profile import Profile
from symnet.inspect.report import KernelReport, Report
from symnet.inspect.subject import written_in

#: What a search looks at.
_SEARCHED = ("label", "op", "name", "text", "line")
_HERE = Path(__file__).parent
#: What a box is drawn as, by the diagram's kinds.
_KINDS = {"op": "op", "constant": "constant", "shared": "shared"}


def html(function: Function, path: str | Path | None = None, *, profile: Profile | None = None) -> Page:
    """The page of a function, as text that a notebook shows inline; written to `path`, if there is one.

    Parameters
    ----------
    function
        A function that was called, so that there are kernels; before that the page has the graphs alone.
    path
        Where to write it.
    profile
        What `function.profile(...)` found, so that the page knows times.

    Raises
    ------
    ArgumentError
        For a function that is not compiled (mode="reference").

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> f = symnet.function([x], T.exp(x).sum(), name="total")
    >>> total = f([1.0, 2.0])
    >>> page = html(f)
    >>> page.splitlines()[0], "https://" in page.split("<script>")[0]
    ('<!DOCTYPE html>', False)
    """
    shown = _PageData(function, profile).data()
    # What ends a script element must not stand in one.
    text = json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c")
    parts = {
        "{title}": escaping.escape(shown["name"]),
        "{css}": _read("page.css"),
        "{data}": text,
        "{cytoscape}": _read("vendored/cytoscape.min.js"),
        "{dagre}": _read("vendored/dagre.min.js"),
        "{page}": _read("page.js"),
    }
    page = ""
    rest = _read("page.html")
    for name, value in parts.items():
        before, _, rest = rest.partition(name)
        page += before + value
    page += rest
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return Page(page)


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


class _PageData:
    """The data of one page, with lines and kernels by number."""

    def __init__(self, function: Function, profile: Profile | None) -> None:
        self.function = function
        self.report = Report(function)
        self.seconds = {each.name: each.seconds for each in profile.kernels} if profile else {}
        self.profile = profile
        self.kernels: Sequence[KernelReport] = self.report.kernels
        self.numbers = {kernel.name: number for number, kernel in enumerate(self.kernels)}
        self.history = History(function)
        self.lines: dict[tuple[str, int], int] = {}
        self.texts: list[dict[str, Any]] = []

    def data(self) -> dict[str, Any]:
        """All that the page shows."""
        user, rewritten = diagram(self.function, "user"), diagram(self.function, "rewritten")
        graphs = {"user": self._graph(user, self._fates(user)), "rewritten": self._graph(rewritten, {})}
        kernels = [self._kernel(kernel) for kernel in self.kernels]
        self._explain_lines()
        return {
            "name": self.function.name or "function",
            "summary": self._summary(graphs),
            "lines": self.texts,
            "graphs": graphs,
            "kernels": kernels,
            "memory": self._memory(),
            "passes": self._passes(),
        }

    def _summary(self, graphs: dict[str, Any]) -> str:
        counts = [f"{len(graphs[key]['nodes'])} nodes {words}" for key, words in _STAGES]
        text = ", ".join([*counts, f"{len(self.kernels)} kernels"])
        if self.profile is not None:
            where = self.profile.gpu or f"{self.profile.threads} threads at most"
            text += f", {self.profile.seconds * 1e6:.1f} µs a call, {where}"
        return text

    def _line(self, source: SourceLine | None) -> int | None:
        """The number of a line; the innermost that is not symnet's own workings."""
        line = written_in(source)
        if line is None:
            return None
        key = (line.file, line.line)
        if key not in self.lines:
            self.lines[key] = len(self.texts)
            self.texts.append({"file": line.file, "line": line.line, "text": line.text, "explanation": ""})
        return self.lines[key]

    def _explain_lines(self) -> None:
        """What became of the lines that wrote an expression; others only named an input or a constant."""
        own = {
            f"{line.file}:{line.line}"
            for each in self.history.variables
            if each.owner is not None and (line := written_in(each.source)) is not None
        }
        for text in self.texts:
            place = f"{text['file']}:{text['line']}"
            text["explanation"] = str(explained(self.history, place)) if place in own else ""

    def _graph(self, found: Diagram, fates: dict[str, dict[str, Any]]) -> dict[str, Any]:
        nodes = []
        for name, about in found.nodes.items():
            node = found.applications.get(name)
            fate = fates.get(name, {})
            kernels = fate.get("kernels") or [self.numbers[k] for k in about.get("kernels", ())]
            line = self._line(node.source) if node is not None else None
            label = str(about["label"])
            nodes.append(
                {
                    "id": name,
                    "label": label if len(label) < 40 else label[:38] + "…",
                    "kind": _KINDS.get(about["kind"], "input"),
                    "op": about.get("op"),
                    "type": about.get("dtype"),
                    "shape": _shape(about.get("shape")),
                    "line": line,
                    "kernels": kernels,
                    # Boxes are collapsed by the first kernel and by the line.
                    "kernel": kernels[0] if kernels else None,
                    "rules": fate.get("rules", []),
                    "fate": fate.get("text"),
                    "search": " ".join(str(about[key]).lower() for key in _SEARCHED if about.get(key)),
                }
            )
        return {"nodes": nodes, "edges": list(dict.fromkeys((source, to) for source, to, _ in found.edges))}

    def _fates(self, user: Diagram) -> dict[str, dict[str, Any]]:
        """For each node as written what became of it."""
        return {name: self._fate(node) for name, node in user.applications.items()}

    def _fate(self, node: Apply) -> dict[str, Any]:
        way = self.history.way(node.outputs[0])
        rules = [
            {"name": step.application.rule, "reason": step.application.reason}
            for step in way.steps
            if step.application is not None
        ]
        end = f"; at the end {way.end}" if way.end is not None else ""
        text = "; ".join([*(_step(step) for step in way.steps), way.fate]) + end
        return {"kernels": [self.numbers[each.name] for each in way.kernels], "rules": rules, "text": text}

    def _kernel(self, kernel: KernelReport) -> dict[str, Any]:
        lines = (self._line(line) for line in kernel.lines)
        ops = list(dict.fromkeys(kernel.ops))
        return {
            "name": kernel.name,
            "label": ", ".join(ops[:3]) + (" …" if len(ops) > 3 else ""),
            "ops": ops,
            "lines": list(dict.fromkeys(line for line in lines if line is not None)),
            "calls": kernel.calls,
            "flops": kernel.flops,
            "bytes": kernel.bytes_moved,
            "threads": kernel.threads,
            "seconds": self.seconds.get(kernel.name),
            "texts": [list(each) for each in forms_of(kernel.kernel)],
        }

    def _memory(self) -> dict[str, Any]:
        memory = self.report.memory
        buffers = [
            {
                "name": buffer.name,
                "bytes": buffer.bytes,
                "offset": buffer.offset,
                "first": buffer.first,
                "last": buffer.last,
            }
            for buffer in (memory.buffers if memory is not None else ())
            if buffer.offset is not None and buffer.first is not None
        ]
        arena = memory.arena_bytes if memory is not None else 0
        return {"arena": arena, "steps": self._steps(), "buffers": buffers}

    def _steps(self) -> list[str]:
        """A name for each step of the program."""
        made = self.function.specialisations
        return [_step_name(step) for step in made[-1].program.steps] if made else []

    def _passes(self) -> list[dict[str, Any]]:
        rewriting = self.function.rewriting
        return [
            {
                "name": each.name,
                "sentence": each.sentence,
                "seconds": each.seconds,
                "before": each.nodes_before,
                "after": each.nodes_after,
                "rules": list(each.counts().items()),
            }
            for each in (rewriting.passes if rewriting is not None else ())
        ]


_STAGES = (("user", "as written"), ("rewritten", "rewritten"))


def _shape(shape: Any) -> str | None:
    if shape is None:
        return None
    lengths = ", ".join("?" if each is None else str(each) for each in shape)
    return f"({lengths},)" if len(shape) == 1 else f"({lengths})"


def _step(step: Step) -> str:
    rule = f" by {step.application.rule}" if step.application is not None else ""
    return f"{step.kind}{rule} ({step.pass_name})"


def _step_name(step: Any) -> str:
    kernel = getattr(step, "kernel", None)
    return kernel.name if kernel is not None else getattr(step, "name", type(step).__name__)
