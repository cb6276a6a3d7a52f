"""Sizes found without waiting: takes a program's works, lets those that wait for the first sizes alone find
them on their own.

A training step begins with one thread that finds where its mini-batch lies. Every other kernel would wait for
a launch that does next to nothing; instead the first ones do the same few operations each, and start with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from symnet.backend.cuda.body import OWN, STATE, THREAD
from symnet.backend.cuda.emit import LEAVE, SKIPPED, Work
from symnet.backend.cuda.kernel_text import with_names
from symnet.backend.cuda.order import dependencies
from symnet.compile.nest import BufferParameter

#: More operations than these take longer than a launch.
MOST_LINES = 80


def find_sizes_beside(works: Sequence[Work]) -> None:
    """Change the works that wait for the first one alone, where it needs nothing but what a call is given."""
    if not works or works[0].recipe is None or len(works[0].recipe.lines) > MOST_LINES:
        return
    waits = dependencies(works)
    for work in works[1:]:
        if not set(works[0].buffers).isdisjoint(work.writes):
            # Who found sizes here, or later, could find others.
            return
        if waits[work.number] == {0}:
            _change(work, works[0])


def _change(work: Work, first: Work) -> None:
    """Put the recipe before a work's own text."""
    recipe = first.recipe
    assert recipe is not None
    stored = [line.partition(" = ")[0] for line in recipe.lines if not line.startswith(("if", LEAVE))]
    parameters = {each.name: f"{each.name}_given" for each in first.body.parameters}
    renamed = {**{name: f"{name}_found" for name in stored}, **parameters}
    leave = ["    return"]
    if work.flag is not None:
        leave = [
            f"    if {THREAD} == 0 and {STATE}[{OWN}] == 0:",
            f"        {STATE}[{OWN}] = {SKIPPED}",
            *leave,
        ]
    lines: list[str] = []
    for line in with_names([each.replace(LEAVE, "    pass") for each in recipe.lines], renamed):
        lines += leave if line == "    pass" else [line]
    for name, slot in zip(work.body.sizes, work.sizes, strict=True):
        lines.append(f"{name} = {renamed.get(recipe.values[slot], recipe.values[slot])}")
    given = [BufferParameter(parameters[each.name], each.dtype, False) for each in first.body.parameters]
    work.body = replace(
        work.body,
        parameters=(*work.body.parameters, *given),
        sizes=(),
        lines=(*lines, *work.body.lines),
    )
    work.buffers = (*work.buffers, *first.buffers)
    work.sizes = work.needs = ()
    work.finds_sizes_itself = True
