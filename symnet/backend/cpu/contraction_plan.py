"""Takes a generalised contraction of two strided arrays and a machine.
Hands on a `Plan`: which index runs along vector lanes, the register tile, and the loops round it.

The choice is by a short model of cost in cycles, which counts multiply-adds, loads and shuffles for
every candidate, ragged edges included.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from symnet.compile.contraction import Contraction, Dimension, element_bytes, normalise

from .contraction_inner import InnerPlans
from .contraction_loops import Loop, Plan
from .contraction_model import count
from .contraction_outer import OuterPlans
from .machine import Machine


@functools.lru_cache(maxsize=1024)
def plan_contraction(contraction: Contraction, machine: Machine) -> Plan:
    """The cheapest plan by the model of cost. Deterministic: the same arguments, the same plan."""
    dimensions, offsets = normalise(contraction)
    if any(d.extent == 0 and d.c != 0 for d in dimensions):
        return Plan("nothing")
    if any(d.extent == 0 for d in dimensions):
        if contraction.accumulate:
            return Plan("nothing")
        # A sum over nothing: one empty contracted dimension makes every element zero.
        empty = Dimension("empty", 0, 0, 0, 0, (0,) * contraction.others)
        dimensions = (*(d for d in dimensions if d.c != 0), empty)
    if any(isinstance(stride, str) for d in dimensions for stride in d.strides):
        return _plain(dimensions, offsets)
    element = element_bytes(contraction.dtype)
    candidates: list[Plan] = []
    # Sums of blocks are kept in C, unless the epilogue needs what C held.
    whole_sums = contraction.epilogue is not None and contraction.epilogue.reads_target
    cheapest = math.inf
    for swapped in (False, True):
        turned = tuple(replace(d, a=d.b, b=d.a) for d in dimensions) if swapped else dimensions
        for kind in (OuterPlans, InnerPlans):
            if kind is InnerPlans and swapped:
                continue
            reads_c = contraction.accumulate or whole_sums
            model = kind(turned, offsets, swapped, machine, element, reads_c, cheapest, whole_sums)
            candidates.extend(model.plans())
            cheapest = model.cheapest
    best = min(candidates, key=lambda plan: plan.cycles)
    return replace(best, split=_split(best))


def _split(plan: Plan) -> int | None:
    """The loop that keeps two to sixteen threads busiest; the outermost of those that do as well."""
    best, best_level = 0.0, None
    dimensions = {d.name: d for d in plan.dimensions}
    blocked = {loop.dimension for loop in plan.loops if loop.role == "block"}
    rows = math.prod(count(d) for d in plan.dimensions if d.a and d.c and not d.b)
    for level, loop in enumerate(plan.loops):
        extent, c = dimensions[loop.dimension].extent, dimensions[loop.dimension].c
        inside_block = loop.role != "block" and loop.dimension in blocked
        if c == 0 or inside_block or isinstance(extent, str) or extent <= loop.size:
            continue
        units = -(-extent // loop.size)
        packs_again = plan.pack_level is not None and level >= plan.pack_level
        score = 0.0
        for threads in (2, 4, 8, 16):
            longest = min(-(-units // threads) * loop.size, extent)
            # Packing columns that lie apart takes as long as twelve to seventeen multiply-adds with them.
            score += 1 / (longest / extent + (12 / rows if packs_again else 0)) / threads
        if score > best * 1.05:
            best, best_level = score, level
    return best_level


def _plain(dimensions: tuple[Dimension, ...], offsets: tuple[int, ...]) -> Plan:
    """One element at a time, for strides that are only known at run time."""
    return Plan(
        "outer",
        dimensions,
        offsets=offsets,
        loops=tuple(Loop(d.name, 1, "step") for d in dimensions if d.c != 0),
        contracted=tuple(d.name for d in dimensions if d.c == 0),
    )
