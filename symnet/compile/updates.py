"""Updates: takes a lowering whose results are done, appends the kernels that write shared variables.

Nothing here can fail, and each shared variable is written after the last kernel that reads its old value:
in place where its new value is computed entry by entry from the old, through a buffer where not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from symnet.compile.lower import PREPARATIONS, Lowering, contiguous_strides, find
from symnet.compile.lower_elementwise import StridedTree, write_entries
from symnet.compile.program import Buffer, KernelCall, SlotStep, View
from symnet.graph.dims import Dimension
from symnet.graph.variable import Constant, Variable


@dataclass
class _Write:
    """One shared variable's new value: where it goes, and which shared variables computing it reads."""

    position: int
    value: Variable
    target: View
    reads: set[Buffer]
    in_place: bool
    #: What writes it, where it is not written entry by entry.
    deferred: Callable[[], None] | None = None


def emit_updates(lowering: Lowering) -> None:
    """Append the writes to shared variables, in an order in which each sees only old values."""
    graph = lowering.graph
    first_update = lowering._results
    positions = {variable: position for position, variable in enumerate(graph.inputs)}
    pending: list[_Write] = []
    for number, shared in enumerate(lowering.updates):
        value = graph.outputs[first_update + number]
        if value is shared:
            continue
        position = positions[shared]
        target = lowering.view(shared)
        shape = lowering.shape(value)
        if shape != target.shape:
            _replace_later(lowering, position, value, shape)
            continue
        deferred = lowering.deferred.get(value)
        if deferred is not None:
            pending.append(_Write(position, value, target, {target.buffer}, True, deferred))
            continue
        reads, in_place, can_fail = _reads(lowering, value, target)
        write = _Write(position, value, target, reads, in_place)
        if can_fail or lowering.checker is not None and value not in lowering.views:
            _compute_first(lowering, write)
        if lowering.checker is not None:
            lowering.checker.add_steps(lowering, value)
        pending.append(write)
    while pending:
        ready = next((w for w in pending if _is_ready(w, pending)), None)
        if ready is None:
            _compute_first(lowering, next(w for w in pending if _not_stored(lowering, w)))
            continue
        pending.remove(ready)
        if ready.deferred is not None:
            ready.deferred()
        else:
            write_entries(lowering, ready.value, ready.target)
    _find_sizes_first(lowering)


def _is_ready(write: _Write, pending: list[_Write]) -> bool:
    buffer = write.target.buffer
    if any(other is not write and buffer in other.reads for other in pending):
        return False
    return write.in_place or buffer not in write.reads


def _not_stored(lowering: Lowering, write: _Write) -> bool:
    view = lowering.views.get(write.value)
    return write.deferred is None and (view is None or view.buffer.kind == "input")


def _reads(lowering: Lowering, value: Variable, target: View) -> tuple[set[Buffer], bool, bool]:
    """The input buffers read while the value is computed; whether the target is only read in step with
    the writes; whether the kernel could fail."""
    found: set[Buffer] = set()
    can_fail = False
    stack, seen = [value], set()
    while stack:
        each = stack.pop()
        if each in seen or isinstance(each, Constant):
            continue
        seen.add(each)
        view = lowering.views.get(each)
        if view is not None:
            if view.buffer.kind == "input":
                found.add(view.buffer)
            continue
        if each.owner is not None:
            can_fail |= each.owner.op.can_fail and find(PREPARATIONS, each.owner.op) is None
            stack.extend(each.owner.inputs)
    in_place = False
    if target.buffer in found:
        tree = StridedTree(lowering, value)
        in_place = tree.leaves is not None and all(
            leaf.view.buffer is not target.buffer
            or leaf.view.offset == 0
            and _same_walk(leaf.strides, target)
            for leaf in tree.leaves
        )
    return found, in_place, can_fail


def _same_walk(strides: tuple[Dimension, ...], target: View) -> bool:
    return all(
        length == 1 or mine == its
        for length, mine, its in zip(target.shape, strides, target.strides, strict=True)
    )


def _compute_first(lowering: Lowering, write: _Write) -> None:
    """Compute the value into a buffer while everything is still old; the write becomes a copy."""
    copy = lowering.scratch("new_value", write.value.dtype, lowering.shape(write.value))
    lowering._phase = 1
    steps = lowering.program.steps
    write_entries(lowering, write.value, copy)
    lowering._phase = 2
    kernel = steps.pop()
    steps.insert(_find_sizes_first(lowering), kernel)
    lowering.views[write.value] = copy
    write.reads = set()
    write.in_place = True


def _find_sizes_first(lowering: Lowering) -> int:
    """Move the sizes found after the first write before it, as they may be made of what is written.

    Returns the first write's place among the steps.
    """
    steps = lowering.program.steps
    first = next(
        (i for i, step in enumerate(steps) if isinstance(step, KernelCall) and step.phase == 2), len(steps)
    )
    sizes = [step for step in steps[first:] if isinstance(step, SlotStep)]
    steps[first:] = [*sizes, *(step for step in steps[first:] if not isinstance(step, SlotStep))]
    return first + len(sizes)


def _replace_later(lowering: Lowering, position: int, value: Variable, shape: tuple[Dimension, ...]) -> None:
    """A value of another shape goes to an array of its own, which becomes the container's after the call."""
    program = lowering.program
    buffer = lowering.new_buffer(f"replacement{position}", value.dtype, shape, "output", len(program.outputs))
    lowering._phase = 1
    write_entries(lowering, value, View(buffer, 0, contiguous_strides(shape), shape))
    lowering._phase = 2
    program.replaced.append((position, len(program.outputs)))
    program.outputs.append((buffer, shape))
