"""Takes a function lowered for many threads, and arguments; runs its nests in Python, and counts rounds.

For nests of integer arithmetic, and of sums; sizes must be literals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symnet.compile import nest
from symnet.compile.nest import Call, Cast, Expression, For, Literal, Load, Name, Select, Statement
from symnet.compile.program import KernelCall

_CALLS = {
    "add": "({} + {})", "sub": "({} - {})", "mul": "({} * {})", "floordiv": "({} // {})", "mod": "({} % {})",
    "minimum": "min({}, {})", "maximum": "max({}, {})", "shift_right": "({} >> {})",
    "bitwise_and": "({} & {})", "bitwise_or": "({} | {})", "bitwise_not": "(not {})",
    "eq": "({} == {})", "ne": "({} != {})", "lt": "({} < {})", "le": "({} <= {})", "ge": "({} >= {})",
}  # fmt: skip


@dataclass
class Rounds:
    """How many rounds all loops made together, and the most within one iteration of parallel loops."""

    all: int
    longest: int
    outputs: list[np.ndarray]


def counted(function: Any, *arguments: np.ndarray) -> Rounds:
    """Run the kernels of the function's last call on other arguments of its shapes."""
    arrays: dict[Any, list[Any]] = {}
    program = function._executor._latest.program
    state = {"everything": 0, "most": 0}
    for call in program.steps:
        if not isinstance(call, KernelCall):
            continue
        for buffer in call.buffers:
            if buffer not in arrays:
                content = np.zeros(buffer.capacity, buffer.dtype)
                if buffer.kind == "input":
                    content = arguments[buffer.source]
                elif buffer.kind == "constant":
                    content = buffer.source.data
                arrays[buffer] = content.reshape(-1).tolist()
        given = {
            parameter.name: arrays[buffer]
            for parameter, buffer in zip(call.kernel.buffers, call.buffers, strict=True)
        }
        exec("\n".join(["mine = 0", *_lines(call.kernel.body)]), {**given, "state": state})
    outputs = [np.array(arrays[buffer], buffer.dtype).reshape(shape) for buffer, shape in program.outputs]
    return Rounds(state["everything"], state["most"], outputs)


def _text(expression: Expression) -> str:
    match expression:
        case Literal(value=value):
            return repr(value)
        case Name(name=name):
            return name
        case Load(buffer=buffer, index=index):
            return f"{buffer}[{_text(index)}]"
        case Call(function=function, arguments=arguments):
            return _CALLS[function].format(*map(_text, arguments))
        case Cast(dtype=dtype, value=value):
            return f"{'float' if dtype in nest.FLOATS else 'int'}({_text(value)})"
        case Select(condition=condition, then=then, otherwise=otherwise):
            return f"({_text(then)} if {_text(condition)} else {_text(otherwise)})"
    raise TypeError(expression)


def _lines(body: Sequence[Statement]) -> list[str]:
    lines = []
    for statement in body:
        match statement:
            case nest.Let(name=name, value=value) | nest.Declare(name=name, value=value):
                lines.append(f"{name} = {_text(value)}")
            case nest.Assign(name=name, value=value):
                lines.append(f"{name} = {_text(value)}")
            case nest.Accumulate(name=name, function=function, value=value):
                lines.append(f"{name} = {_CALLS[function].format(name, _text(value))}")
            case nest.Store(buffer=buffer, index=index, value=value):
                lines.append(f"{buffer}[{_text(index)}] = {_text(value)}")
            case For(name=name, extent=extent, body=inner, parallel=parallel):
                round_ = ["state['everything'] += 1", "mine = 0" if parallel else "mine += 1", *_lines(inner)]
                if parallel:
                    round_.append("state['most'] = max(state['most'], mine)")
                lines += [f"for {name} in range({_text(extent)}):", *(f"    {line}" for line in round_)]
            case nest.If(condition=condition, then=then, otherwise=otherwise):
                lines += [f"if {_text(condition)}:", "    pass", *(f"    {line}" for line in _lines(then))]
                lines += ["else:", "    pass", *(f"    {line}" for line in _lines(otherwise))]
            case nest.Fail():
                lines.append("raise IndexError")
    return lines
