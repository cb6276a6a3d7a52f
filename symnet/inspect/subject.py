"""What is looked at: takes variables, lists or functions, hands on their ends and what is known of them.

Nothing here changes what it looks at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from symnet.compile.call import CompiledExecutor
from symnet.compile.function import Function
from symnet.compile.kernel import Kernel
from symnet.compile.program import Program
from symnet.compile.shared import SharedVariable
from symnet.errors import ArgumentError, GraphError
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.source import SourceLine
from symnet.graph.traversal import ancestors, toposort
from symnet.graph.variable import Apply, Constant, Variable

#: A graph as it was written, as it is after rewriting, and the kernels and buffers that it became.
STAGES = ("user", "rewritten", "program")


class End(NamedTuple):
    """A variable that a graph is for, and what it is there: an output, or an update's new value."""

    role: str
    variable: Variable
    target: SharedVariable | None = None


def ends_of(thing: Any, stage: str = "rewritten") -> list[End]:
    """The ends of a variable, a node, a list or dict of them, a FunctionGraph, or a function.

    Raises
    ------
    GraphError
        For anything else.
    """
    if isinstance(thing, Function):
        return _function_ends(thing, stage)
    if isinstance(thing, Variable):
        return [End("output", thing)]
    if isinstance(thing, Apply):
        return [End("output", each) for each in thing.outputs]
    if isinstance(thing, FunctionGraph):
        return [End(f"output {number}", each) for number, each in enumerate(thing.outputs)]
    if isinstance(thing, Mapping):
        return [
            End(f"output {key!r}", each.variable) for key, value in thing.items() for each in ends_of(value)
        ]
    if isinstance(thing, Iterable) and not isinstance(thing, str | bytes):
        found = [each for item in thing for each in ends_of(item, stage)]
        return [
            each._replace(role=f"output {number}") if each.role == "output" else each
            for number, each in enumerate(found)
        ]
    raise GraphError(
        f"{type(thing).__name__} {thing!r:.80} is neither a variable nor a function",
        hint="a variable, a list of variables, or what symnet.function gave can be looked at",
    )


def _function_ends(function: Function, stage: str) -> list[End]:
    outputs, updates, _ = function.asked
    found = list(outputs) + list(updates.values())
    if stage != "user":
        found = function.graph.outputs
    roles = [f"output {number}" if len(outputs) > 1 else "output" for number in range(len(outputs))]
    roles += [f"update of {_shared_name(each)}" for each in updates]
    targets: list[SharedVariable | None] = [None] * len(outputs) + list(updates)
    return [End(*each) for each in zip(roles, found, targets, strict=True)]


def _shared_name(shared: SharedVariable) -> str:
    return shared.name or str(shared)


def givens_of(thing: Any) -> Mapping[Variable, Variable]:
    """What stands in place of variables in the user's own graph of a function."""
    return thing.asked.givens if isinstance(thing, Function) else {}


def program_of(function: Any) -> Program | None:
    """The program that a function ran last; None before its first call, and where nothing is compiled."""
    executor = function._executor if isinstance(function, Function) else None
    latest = executor._latest if isinstance(executor, CompiledExecutor) else None
    return None if latest is None else latest.program


def require_program(function: Any, what: str) -> Program:
    """The program of a function that was called.

    Raises
    ------
    ArgumentError
        When there is none.
    """
    program = program_of(function)
    if program is None:
        compiled = isinstance(function, Function) and isinstance(function._executor, CompiledExecutor)
        raise ArgumentError(
            f"{what} needs a compiled function that was called",
            hint="kernels are made at the first call, when the shapes are known: call the function once"
            if compiled
            else 'mode="reference" has no kernels, and variables have none before they are in a function',
        )
    return program


class Places:
    """Where in a function's program each node and variable is: its kernels, shape and buffer."""

    def __init__(self, thing: Any) -> None:
        self.program = program_of(thing)
        self.kernels: list[Kernel] = [] if self.program is None else thing.kernels
        self.of_node: dict[Apply, list[Kernel]] = {}
        for kernel in self.kernels:
            for node in kernel.nodes:
                self.of_node.setdefault(node, []).append(kernel)

    def shape(self, variable: Variable) -> tuple[int | None, ...]:
        """The lengths of the axes: of the latest call's program where there is one, else by the type."""
        found = None if self.program is None else self.program.shapes.get(variable)
        if found is None:
            return variable.type.shape
        return tuple(length if isinstance(length, int) else None for length in found)

    def short(self, name: str) -> str:
        """A kernel's name without the function's in front of it."""
        return name if self.program is None else name.removeprefix(f"{self.program.name}_k_")

    def kernel_names(self, node: Apply | None) -> list[str]:
        """The short names of the kernels that compute a node."""
        return [] if node is None else [self.short(kernel.name) for kernel in self.of_node.get(node, ())]

    def buffer(self, variable: Variable) -> str | None:
        """The name of the buffer in which a variable lies, if it lies in one."""
        view = None if self.program is None else self.program.views.get(variable)
        return None if view is None else view.buffer.name


def type_text(dtype: str, shape: Iterable[int | None]) -> str:
    """A dtype and a shape, as in `float32 (10, ?)`."""
    lengths = ["?" if length is None else str(length) for length in shape]
    return f"{dtype} ({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def op_word(op: Op) -> str:
    """An op in one word, without its settings."""
    return re.split(r"[{\[]", str(op), maxsplit=1)[0] or op.name


def op_text(op: Op, longest: int = 60) -> str:
    """An op with its settings, where they are short."""
    text = str(op)
    return text if len(text) <= longest else op_word(op)


def leaf_label(variable: Variable) -> str:
    """An input, shared variable or constant in a few words."""
    if isinstance(variable, Constant):
        return variable.name or variable.short_value
    return variable.name or ("shared" if isinstance(variable, SharedVariable) else "input")


def leaf_kind(variable: Variable) -> str:
    """ "constant", "shared" or "input"."""
    if isinstance(variable, Constant):
        return "constant"
    return "shared" if isinstance(variable, SharedVariable) else "input"


class Limits(Protocol):
    """What a function's machine can do at most."""

    def seconds(self, flops: dict[str, int], read: int, written: int, touched: int) -> tuple[float, float]:
        """The least that so many operations of each dtype take, and that so many bytes take."""


def limits_of(function: Function) -> Limits:
    """The limits of what a function runs on: of the CPU measured, of a GPU by its maker's figures."""
    if function.device == "cuda":
        from symnet.backend.cuda.limits import device_limits

        return device_limits()
    from symnet.backend.cpu.limits import machine_limits
    from symnet.config import config

    return machine_limits(config.threads)


def written_in(source: SourceLine | None) -> SourceLine | None:
    """The line that wrote an expression: the user's, or that of `symnet.network3` which the user's called."""
    return source if source is None or source.library is None else source.library


def where(source: SourceLine | None) -> str:
    """The line that wrote an expression as `file.py:12`, by the file's last part."""
    line = written_in(source)
    return "" if line is None else f"{line.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{line.line}"


def own_variables(function: Function) -> list[Variable]:
    """The user's own variables that the function is made of: leaves, then results in an order to compute."""
    asked = function.asked
    ends = [*asked.givens.values(), *asked.outputs, *asked.updates.values()]
    results = [output for node in toposort(ends) for output in node.outputs]
    return [*(each for each in ancestors(ends) if each.owner is None), *results]


__all__ = [
    "STAGES",
    "End",
    "Places",
    "ends_of",
    "givens_of",
    "leaf_kind",
    "leaf_label",
    "op_text",
    "op_word",
    "own_variables",
    "program_of",
    "require_program",
    "type_text",
    "where",
    "written_in",
]
