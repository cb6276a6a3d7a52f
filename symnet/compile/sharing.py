"""Takes a lowered Program; where kernels are alike but for the names of their buffers, one serves all.

A network's equal layers, or the steps of a loop written out, are then compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from symnet.compile import nest
from symnet.compile.program import ContractionCall, KernelCall, Program

_names: dict[type[Any], tuple[str, ...]] = {}


def share_kernels(program: Program) -> None:
    """Make each call of a kernel like an earlier one a call of that."""
    kernels: dict[Any, nest.Nest] = {}
    contractions: dict[Any, ContractionCall] = {}
    for position, step in enumerate(program.steps):
        if isinstance(step, KernelCall):
            same = kernels.setdefault(_content(step.kernel), step.kernel)
            if same is not step.kernel:
                program.steps[position] = replace(step, kernel=same)
        elif isinstance(step, ContractionCall):
            # An epilogue's literals are told apart by their text, as below.
            key = step.contraction, repr(step.contraction.epilogue)
            first = contractions.setdefault(key, step)
            if first is not step:
                program.steps[position] = replace(step, name=first.name, plain=first.plain)


def _content(kernel: nest.Nest) -> Any:
    """What a kernel does: equal for kernels that differ in names of buffers alone."""
    places = {buffer.name: place for place, buffer in enumerate(kernel.buffers)}
    buffers = tuple((buffer.dtype, buffer.written) for buffer in kernel.buffers)
    return buffers, kernel.sizes, _statements(kernel.body, places)


def _statements(body: Sequence[nest.Statement], places: dict[str, int]) -> Any:
    return tuple(_part(statement, places) for statement in body)


def _part(part: Any, places: dict[str, int]) -> Any:
    """A statement or expression with its buffers by their places, as nested tuples."""
    if isinstance(part, tuple):
        return tuple(_part(each, places) for each in part)
    if isinstance(part, nest.Literal):
        # 0 == 0.0 == -0.0 == False, and no NaN equals itself: literals are told apart by their text.
        return type(part), part.dtype, repr(part.value)
    if isinstance(part, nest.Expression | nest.Statement):
        return (
            type(part),
            *(
                places[getattr(part, name)] if name == "buffer" else _part(getattr(part, name), places)
                for name in _field_names(type(part))
            ),
        )
    return part


def _field_names(kind: type[Any]) -> tuple[str, ...]:
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(field.name for field in fields(kind))
    return names
