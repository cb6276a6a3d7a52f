"""Takes contractions; hands on bodies: sums in registers, slices of A and B in shared memory, two at a time.

A sum over many terms for few results is cut into parts, which a second body adds up in order; so the same
sizes always give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symnet.backend.cuda.body import Body, Scratch
from symnet.backend.cuda.contraction_epilogue import Adding, Ending
from symnet.backend.cuda.contraction_model import plan_contraction
from symnet.backend.cuda.contraction_plan import Plan
from symnet.backend.cuda.contraction_tiles import Tiles
from symnet.backend.cuda.machine import Machine
from symnet.compile.contraction import Contraction
from symnet.compile.nest import BufferParameter


def contraction_bodies(
    name: str,
    contraction: Contraction,
    offsets: Sequence[int | str],
    machine: Machine,
    capacities: Mapping[str, int],
    comments: Sequence[str] = (),
) -> list[Body]:
    """The bodies of a contraction, to run one after the other; none where there is nothing to do.

    Their buffers are a, b, c, and d0, d1 … for the arrays of the epilogue.

    Parameters
    ----------
    offsets
        The first entries of A, B, C and the epilogue's arrays; numbers, or names of sizes.
    capacities
        The most that sizes known at run time can be; without a bound for those that are not in it.
    """
    plan = plan_contraction(contraction, offsets, machine, capacities)
    if plan is None:
        return []
    sizes = sorted({*contraction.parameters, *(each for each in offsets if isinstance(each, str))})
    return bodies_of(name, plan, machine, sizes, comments)


def bodies_of(
    name: str, plan: Plan, machine: Machine, sizes: Sequence[str], comments: Sequence[str] = ()
) -> list[Body]:
    """The bodies of a plan, which read these sizes."""
    ending = Ending(plan, [*sizes])
    whole = plan.splits == 1
    parts = f"{name}_parts"
    dtype = plan.contraction.dtype
    scratch: tuple[Scratch, ...] = ()
    if not whole:
        entries = plan.splits * plan.batch.most * plan.rows.most * plan.columns.most
        scratch = (Scratch(parts, dtype, entries),)
    kernel = Tiles(plan, machine, ending, None if whole else parts)
    kernel.print()
    read = (BufferParameter("a", dtype, False), BufferParameter("b", dtype, False))
    written = ending.parameters if whole else (BufferParameter(parts, dtype, True),)
    first = Body(
        name,
        (*read, *written),
        tuple(sizes),
        tuple(kernel.text.lines),
        kernel.blocks,
        scratch,
        tuple(comments),
    )
    if whole:
        return [first]
    adding = Adding(plan, machine, ending, parts)
    adding.print()
    second = Body(
        f"{name}_sum",
        (BufferParameter(parts, dtype, False), *ending.parameters),
        tuple(sizes),
        tuple(adding.text.lines),
        adding.blocks,
        scratch,
        tuple(comments),
    )
    return [first, second]
