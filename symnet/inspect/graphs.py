"""Graphs as data: takes variables or functions and a stage, hands on nodes and edges with plain attributes.

`to_networkx`, `to_dot` and pages are made of it. Node names are readable and unique; attributes that are not
known are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from symnet.compile.function import Function
from symnet.compile.memory import bytes_of
from symnet.compile.program import ContractionCall
from symnet.errors import ArgumentError
from symnet.graph.source import SourceLine
from symnet.graph.traversal import toposort
from symnet.graph.variable import Apply, Variable
from symnet.inspect.profile import Profile
from symnet.inspect.report import Report
from symnet.inspect.subject import (
    STAGES,
    Places,
    ends_of,
    givens_of,
    leaf_kind,
    leaf_label,
    op_word,
    require_program,
    where,
    written_in,
)

#: Times by kernel name, or a profile that has them.
Seconds = Mapping[str, float] | Profile | None


@dataclass
class Diagram:
    """Nodes by name, and edges (from, to, attributes); `graph` says what it is a picture of."""

    graph: dict[str, Any]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    #: The applications of ops, by the names of their nodes.
    applications: dict[str, Apply] = field(default_factory=dict, repr=False)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, stem: str, **attributes: Any) -> str:
        """Add a node; its name is the stem, or the stem and a number. Attributes of None are left out."""
        number = self._numbers.get(stem, 0)
        name = stem if number == 0 else f"{stem}_{number}"
        while name in self.nodes:
            number += 1
            name = f"{stem}_{number}"
        self._numbers[stem] = number + 1
        self.nodes[name] = {key: value for key, value in attributes.items() if value is not None}
        return name

    def connect(self, source: str, target: str, **attributes: Any) -> None:
        """Add an edge."""
        self.edges.append((source, target, {k: v for k, v in attributes.items() if v is not None}))


def diagram(thing: Any, stage: str | None = None, seconds: Seconds = None) -> Diagram:
    """The nodes and edges of a graph at a stage.

    Parameters
    ----------
    thing
        A variable, a list of variables, or a function.
    stage
        "user", "rewritten" (the default for a function) or "program"; variables have only "user".
    seconds
        Times by kernel name, as far as they were measured; or the profile of `f.profile(…)`.

    Raises
    ------
    ArgumentError
        For another stage, or one that the thing does not have (yet).
    GraphError
        For what is no graph.
    """
    if stage is None:
        stage = "rewritten" if isinstance(thing, Function) else "user"
    if stage not in STAGES:
        raise ArgumentError(f"stage={stage!r}: one of {', '.join(map(repr, STAGES))} is expected")
    times = _times(seconds)
    if stage == "program":
        return _program(thing, times)
    if stage == "rewritten" and not isinstance(thing, Function):
        raise ArgumentError("stage='rewritten' needs a function: variables by themselves are not rewritten")
    return _graph(thing, stage, times)


def _times(seconds: Seconds) -> Mapping[str, float]:
    if isinstance(seconds, Profile):
        return {kernel.name: kernel.seconds for kernel in seconds.kernels}
    return seconds or {}


def _line(source: SourceLine | None) -> dict[str, Any]:
    line = written_in(source)
    if line is None or source is None:
        return {}
    called = f"{source.file}:{source.line}" if source is not line else None
    return {"line": f"{line.file}:{line.line}", "text": line.text or None, "called_in": called}


def _graph(thing: Any, stage: str, seconds: Mapping[str, float]) -> Diagram:
    made = Diagram({"stage": stage, "name": getattr(thing, "name", None) or ""})
    places = Places(thing if stage == "rewritten" else None)
    ends = ends_of(thing, stage)
    givens = givens_of(thing) if stage == "user" else {}
    roots = [end.variable for end in ends]
    order = toposort([*roots, *givens.values()], stop=givens)
    names: dict[Variable, str] = {}
    of_node: dict[Apply, str] = {}

    def leaf(variable: Variable) -> str:
        if variable not in names:
            names[variable] = made.add(
                leaf_label(variable),
                kind=leaf_kind(variable),
                label=leaf_label(variable),
                dtype=variable.dtype,
                shape=places.shape(variable),
                **_line(variable.source),
            )
        return names[variable]

    def source_of(variable: Variable) -> tuple[str, int]:
        if variable.owner in of_node and variable not in givens:
            return of_node[variable.owner], variable.index or 0
        return leaf(variable), 0

    def connect(variable: Variable, target: str, position: int) -> None:
        name, index = source_of(variable)
        made.connect(
            name,
            target,
            input=position,
            output=index,
            dtype=variable.dtype,
            shape=places.shape(variable),
            name=variable.name,
        )

    for node in order:
        first = node.outputs[0]
        kernels = places.of_node.get(node, [])
        known = [seconds[kernel.name] for kernel in kernels if kernel.name in seconds]
        of_node[node] = made.add(
            op_word(node.op),
            kind="op",
            label=first.name or op_word(node.op),
            op=str(node.op),
            name=first.name,
            dtype=first.dtype,
            shape=places.shape(first),
            kernel=kernels[0].name if kernels else None,
            kernels=tuple(kernel.name for kernel in kernels) or None,
            buffer=places.buffer(first),
            seconds=sum(known) if known else None,
            **_line(node.source),
        )
        made.applications[of_node[node]] = node
    for node in order:
        for position, variable in enumerate(node.inputs):
            connect(variable, of_node[node], position)
    for old, new in givens.items():
        # What is given stands where the variable stood.
        connect(new, leaf(old), 0)
        made.nodes[leaf(old)]["kind"] = "given"
    for end in ends:
        name = made.add(
            end.role,
            kind="output" if end.target is None else "update",
            label=end.role,
            dtype=end.variable.dtype,
            shape=places.shape(end.variable),
        )
        connect(end.variable, name, 0)
    return made


def _program(thing: Any, seconds: Mapping[str, float]) -> Diagram:
    program = require_program(thing, "stage='program'")
    report = Report(thing)
    made = Diagram({"stage": "program", "name": thing.name or "", "arena_bytes": program.arena_bytes})
    by_name = {kernel.name: kernel for kernel in report.kernels}
    names: dict[Any, str] = {}
    for buffer in dict.fromkeys(b for call in program.calls for b in call.buffers):
        names[buffer] = made.add(
            buffer.name,
            kind=f"{buffer.kind} buffer",
            label=buffer.name,
            dtype=buffer.dtype,
            shape=(buffer.capacity,),
            bytes=bytes_of(buffer),
            offset=buffer.offset,
        )
    for step, call in enumerate(program.calls):
        nest = call.plain if isinstance(call, ContractionCall) else call.kernel
        kernel = by_name[nest.name]
        name = made.add(
            kernel.name,
            kind="kernel",
            label=kernel.name,
            op=", ".join(dict.fromkeys(kernel.ops)),
            dtype=call.buffers[-1].dtype if call.buffers else None,
            kernel=kernel.name,
            step=step,
            line="; ".join(dict.fromkeys(where(line) for line in kernel.lines)) or None,
            flops=kernel.flops // kernel.calls,
            bytes=kernel.bytes_moved // kernel.calls,
            shared_out=kernel.is_shared_out,
            seconds=seconds.get(kernel.name),
        )
        loaded = _loaded(nest)
        for position, (parameter, buffer) in enumerate(zip(nest.buffers, call.buffers, strict=False)):
            about = {"input": position, "dtype": buffer.dtype, "shape": (buffer.capacity,)}
            if not parameter.written or parameter.name in loaded:
                made.connect(names[buffer], name, **about)
            if parameter.written:
                made.connect(name, names[buffer], **about)
    return made


def _loaded(kernel: Any) -> set[str]:
    """The buffers that a nest reads."""
    from symnet.compile import nest

    return {
        part.buffer
        for statement in nest.walk_statements(kernel.body)
        for expression in nest.expressions_of(statement)
        for part in nest.walk_expression(expression)
        if isinstance(part, nest.Load)
    }


def to_networkx(thing: Any, stage: str | None = None, seconds: Seconds = None) -> Any:
    """A `networkx.MultiDiGraph` of a graph; edges go from what is computed to what uses it.

    Parameters
    ----------
    thing
        A variable, a list of variables, or a function.
    stage
        "user": as it was written. "rewritten" (the default for a function): after rewriting. "program":
        kernels and the buffers that they read and write.
    seconds
        Times by kernel name, as far as they were measured; or the profile of `f.profile(…)`.

    Node attributes, where they are known: `kind` ("op", "input", "shared", "constant", "given", "output",
    "update"; "kernel", and "arena buffer" or the like), `label`, `op`, `name`, `dtype`, `shape` (None for an
    unknown length), `line` ("file:line"), its `text` and where it was `called_in` (of `symnet.network3`),
    `kernel`, `kernels`, `buffer`, `seconds`; of kernels and buffers also `flops`, `bytes`, `offset`, `step`
    and `shared_out`. Edge attributes: `input` (which operand it is), `output` (which result), `dtype`,
    `shape` and `name`.

    Raises
    ------
    ArgumentError, GraphError
        For a stage that it does not have, and for what is no graph.

    >>> import symnet.tensor as T
    >>> x = T.dvector("x")
    >>> graph = to_networkx(T.sum(x * x))
    >>> sorted(graph.nodes)
    ['mul', 'output', 'sum', 'x']
    >>> graph.number_of_edges("x", "mul"), graph.nodes["sum"]["op"]
    (2, 'sum{axis=(0,)}')
    """
    import networkx

    found = diagram(thing, stage, seconds)
    graph = networkx.MultiDiGraph(**found.graph)
    graph.add_nodes_from(found.nodes.items())
    graph.add_edges_from(found.edges)
    return graph
