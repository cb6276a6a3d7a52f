"""Joining: takes a lowered Program; elementwise kernels that walk the same loops over an array become one.

An optimiser's state and its weights are then read and written once. Entry by entry the joined kernel does
what its parts did one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from symnet.compile import nest
from symnet.compile.fusion import MOST_NODES
from symnet.compile.nest import Call, Cast, Expression, For, Let, Load, Name, Nest, Select, Store
from symnet.compile.program import Buffer, KernelCall, Program
from symnet.compile.steps import Place, Steps, used, written

#: How many of the last kernels with the same loops are looked at, and the most arrays of a joined kernel.
MOST_CANDIDATES = 4
MOST_BUFFERS = 12


def join_kernels(program: Program) -> None:
    """Make elementwise kernels with the same loops and a common array one kernel, where order allows it."""
    steps = Steps(program)
    recent: dict[str, list[Place]] = {}
    for place in steps.places():
        step = steps[place]
        if not isinstance(step, KernelCall):
            continue
        parts = _take_apart(step.kernel)
        if parts is None:
            continue
        known = recent.setdefault(parts.shape, [])
        for earlier in reversed(known[-MOST_CANDIDATES:]):
            joined = _try(steps, earlier, place)
            if joined is not None:
                known.remove(earlier)
                place = joined
                break
        known.append(place)
    steps.finish()


def _try(steps: Steps, first: Place, second: Place) -> Place | None:
    """The place of two kernels joined; None where they stay apart."""
    one, two = steps[first], steps[second]
    assert isinstance(one, KernelCall) and isinstance(two, KernelCall)
    buffers = used(one) | used(two)
    if len(buffers) > MOST_BUFFERS or not any(each.capacity > 1 for each in used(one) & used(two)):
        return None
    if len(one.nodes) + len(two.nodes) > MOST_NODES:
        return None
    # What either writes to the arena takes room for no longer than before.
    near = steps.following(first) == second or not _writes_arena(two)
    earlier = near and steps.may_come_earlier(first, second)
    if not earlier and (_writes_arena(one) or not steps.may_come_later(first, second)):
        return None
    joined = _joined(one, two, steps.handed_over(first, second))
    return None if joined is None else steps.replace(first, second, joined, earlier)


def _writes_arena(call: KernelCall) -> bool:
    return any(buffer.kind == "arena" for buffer in written(call))


# --- the joined kernel -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """A kernel of loops one in the other: the loops, the values, the stores."""

    loops: tuple[For, ...]
    lets: tuple[Let, ...]
    stores: tuple[Store, ...]

    @property
    def shape(self) -> str:
        """The same for kernels whose loops are alike."""
        return repr([(loop.extent, loop.parallel, loop.vector) for loop in self.loops])


def _take_apart(kernel: Nest) -> _Parts | None:
    body = kernel.body
    loops: list[For] = []
    while len(body) == 1 and isinstance(body[0], For):
        loops.append(body[0])
        body = body[0].body
    lets = tuple(each for each in body if isinstance(each, Let))
    stores = tuple(each for each in body if isinstance(each, Store))
    in_order = (*lets, *stores) == body
    return _Parts(tuple(loops), lets, stores) if loops and stores and in_order else None


def _joined(one: KernelCall, two: KernelCall, unread: set[Buffer]) -> KernelCall | None:
    """Both kernels' values, then both kernels' stores but those to the buffers that nobody else reads."""
    first, second = _take_apart(one.kernel), _take_apart(two.kernel)
    assert first is not None and second is not None
    names: dict[Buffer, str] = {}
    for call in (one, two):
        for buffer, parameter in zip(call.buffers, call.kernel.buffers, strict=True):
            if buffer not in names:
                name = parameter.name
                while name in names.values():
                    name += "_"
                names[buffer] = name
    values: dict[str, Expression] = {}
    lets: list[Let] = []
    origins = dict(one.origins)
    stored: dict[str, tuple[Expression, Expression]] = {}

    def named(name: str, value: Expression) -> Expression:
        """A name for a value, the one that it has already if it has one."""
        if isinstance(value, Name | nest.Literal):
            return value
        text = repr(value)
        if text not in values:
            lets.append(Let(name, value))
            values[text] = Name(value.dtype, name)
        return values[text]

    own = _Renaming({}, {b.name: b.name for b in one.kernel.buffers}, {})
    for let in first.lets:
        own.values[let.name] = named(let.name, own.of(let.value))
    for store in first.stores:
        value = named(f"{store.buffer}_value", own.of(store.value))
        stored[store.buffer] = own.of(store.index), value
    given = {
        parameter.name: names[buffer]
        for buffer, parameter in zip(two.buffers, two.kernel.buffers, strict=True)
    }
    loops: dict[str, Expression] = {
        theirs.name: Name(nest.INDEX, ours.name)
        for theirs, ours in zip(second.loops, first.loops, strict=True)
    }
    other = _Renaming(loops, given, stored)
    taken = {let.name for let in (*first.lets, *lets)} | {loop.name for loop in first.loops}
    taken |= set(names.values())
    try:
        for let in second.lets:
            name = let.name
            while name in taken:
                name += "_"
            taken.add(name)
            other.values[let.name] = named(name, other.of(let.value))
            if let.name in two.origins:
                origins[name] = two.origins[let.name]
        more = [
            Store(given[store.buffer], other.of(store.index), other.of(store.value))
            for store in second.stores
        ]
    except _Refused:
        return None
    if any(store.buffer in stored for store in more):
        return None
    # What the second kernel overwrites the first may have read at the same place only.
    targets = {store.buffer: store.index for store in more}
    for let in lets:
        for part in nest.walk_expression(let.value):
            if isinstance(part, Load) and part.buffer in targets and part.index != targets[part.buffer]:
                return None
    dropped = {names[buffer] for buffer in unread}
    kept = [Store(name, index, value) for name, (index, value) in stored.items() if name not in dropped]
    body: tuple[nest.Statement, ...] = (*lets, *kept, *more)
    for loop in reversed(first.loops):
        body = (replace(loop, body=body),)
    touched = {
        part.buffer for let in lets for part in nest.walk_expression(let.value) if isinstance(part, Load)
    } | {store.buffer for store in (*kept, *more)}
    changed = {store.buffer for store in (*kept, *more)}
    buffers = tuple(buffer for buffer, name in names.items() if name in touched)
    parameters = tuple(
        nest.BufferParameter(names[buffer], buffer.dtype, names[buffer] in changed) for buffer in buffers
    )
    sizes = tuple(dict.fromkeys((*one.kernel.sizes, *two.kernel.sizes)))
    comments = tuple(dict.fromkeys((*one.kernel.comments, *two.kernel.comments)))
    kernel = Nest(one.kernel.name, parameters, sizes, body, comments)
    nodes = tuple(dict.fromkeys((*one.nodes, *two.nodes)))
    return KernelCall(kernel, buffers, nodes, max(one.phase, two.phase), origins)


class _Refused(Exception):
    """The second kernel reads elsewhere what the first wrote."""


class _Renaming:
    """A kernel's expressions in another kernel's names.

    `stored` holds what was stored before, by buffer: the index and the value.
    """

    def __init__(
        self,
        values: dict[str, Expression],
        buffers: dict[str, str],
        stored: dict[str, tuple[Expression, Expression]],
    ) -> None:
        self.values = values
        self.buffers = buffers
        self.stored = stored

    def of(self, expression: Expression) -> Expression:
        """The expression, renamed."""
        match expression:
            case Name(name=name):
                return self.values.get(name, expression)
            case Load(buffer=buffer, index=index):
                where, name = self.of(index), self.buffers[buffer]
                if name not in self.stored:
                    return replace(expression, buffer=name, index=where)
                place, value = self.stored[name]
                if where != place:
                    raise _Refused
                return value
            case Cast(value=value):
                return replace(expression, value=self.of(value))
            case Select(condition=condition, then=then, otherwise=otherwise):
                condition, then, otherwise = map(self.of, (condition, then, otherwise))
                return replace(expression, condition=condition, then=then, otherwise=otherwise)
            case Call(arguments=arguments):
                return replace(expression, arguments=tuple(map(self.of, arguments)))
        return expression
