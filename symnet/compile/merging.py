"""Merging: takes a Program for many threads; kernels of which one needs the other's results become one.

Where every iteration of a kernel reads what the same iteration of an earlier one stored, and nothing that
another one did, both are done one after the other by the same threads: what is handed over stays in
registers, and there is one launch less to wait for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from symnet.compile import nest
from symnet.compile.nest import INDEX, Expression, For, Let, Literal, Load, Name, Nest, Statement, Store
from symnet.compile.program import Buffer, CheckStep, GuardStep, KernelCall, Program, SlotStep, Step
from symnet.compile.specialise import Computed, leaves_of
from symnet.compile.steps import Place, Steps, can_fail, used, written

#: The most nodes and arrays of a merged kernel.
MOST_NODES = 64
MOST_BUFFERS = 24
#: Iterations that a kernel may have inside the loops that both have, so that a block of threads does them.
MOST_INSIDE = 1024


def sizes_first(program: Program) -> None:
    """Move what is found and checked of sizes before the kernels, but for what waits for one of them."""
    early: list[Step] = []
    late: list[Step] = []
    for step in program.steps:
        is_early = isinstance(step, SlotStep | GuardStep | CheckStep) and not _waits(program, step)
        (early if is_early else late).append(step)
    program.steps = [*early, *late]


def tests_first(program: Program) -> None:
    """Move kernels that only test what they read to where that is known: others stand behind them.

    A kernel that waits for no more than the test does stays before it, if it is there: behind the test it
    would wait for that, too. What can fail keeps its order.
    """
    found: list[tuple[int, Step]] = []
    depths: dict[Buffer, int] = {}
    for step in program.steps:
        depth = 1 + max((depths.get(buffer, 0) for buffer in used(step)), default=0)
        depths.update(dict.fromkeys(written(step), depth))
        place = len(found)
        if isinstance(step, KernelCall) and can_fail(step) and not written(step):
            read = used(step)
            while place:
                before, passed = found[place - 1]
                if before <= depth or can_fail(passed) or written(passed) & read:
                    break
                place -= 1
        found.insert(place, (depth, step))
    program.steps = [step for _, step in found]


def _waits(program: Program, step: SlotStep | GuardStep | CheckStep) -> bool:
    """Whether a size is made of what a kernel computes."""
    if isinstance(step, SlotStep):
        parts = [step.slot.definition]
    elif isinstance(step, GuardStep):
        parts = [step.expression]
    else:
        parts = [step.condition, *step.shown]
    leaves = (leaf for part in parts for leaf in leaves_of(part, program.slots))
    return any(isinstance(leaf, Computed) for leaf in leaves)


def merge_kernels(program: Program) -> None:
    """Make kernels one with those that compute what they read, where order allows it."""
    steps = Steps(program)
    for place in steps.places():
        at: Place | None = place
        while at is not None:
            at = _merge_producer(steps, at)
    steps.finish()


def _merge_producer(steps: Steps, place: Place) -> Place | None:
    """The place of a kernel merged with one that computes what it reads; None where it stays alone."""
    step = steps[place]
    if not isinstance(step, KernelCall):
        return None
    changed = written(step)
    producers: dict[Place, None] = {}
    for buffer in step.buffers:
        if buffer not in changed and buffer.kind != "constant":
            before = steps.last_writer([buffer], Place(-1), place)
            if before is not None:
                producers[before] = None
    for producer in sorted(producers, reverse=True):
        merged = _try(steps, producer, place)
        if merged is not None:
            return merged
    return None


def _try(steps: Steps, first: Place, second: Place) -> Place | None:
    one, two = steps[first], steps[second]
    assert isinstance(two, KernelCall)
    if not isinstance(one, KernelCall) or can_fail(one) or can_fail(two):
        return None
    if len(one.nodes) + len(two.nodes) > MOST_NODES or len(used(one) | used(two)) > MOST_BUFFERS:
        return None
    earlier = steps.may_come_earlier(first, second)
    if not earlier and (written(one) & steps.sized or not steps.may_come_later(first, second)):
        # What sizes are made of is there before they are found.
        return None
    merged = _merged(one, two, steps.handed_over(first, second))
    return None if merged is None else steps.replace(first, second, merged, earlier)


# --- indices as sums -------------------------------------------------------------------------------

#: A sum of products of names, by its terms; what is no such product has a name made of its text.
Sum = Mapping[tuple[str, ...], int]


def _sum(index: Expression) -> Sum:
    match index:
        case Literal(value=value):
            return {(): int(value)} if value else {}
        case Name(name=name):
            return {(name,): 1}
        case nest.Call(function="add" | "sub" | "mul" as function, arguments=(left, right)):
            a, b = _sum(left), _sum(right)
            if function == "mul":
                terms = [((*x, *y), m * n) for x, m in a.items() for y, n in b.items()]
            else:
                terms = [*a.items(), *((y, n if function == "add" else -n) for y, n in b.items())]
            found: dict[tuple[str, ...], int] = {}
            for term, factor in terms:
                key = tuple(sorted(term))
                found[key] = found.get(key, 0) + factor
            return {term: factor for term, factor in found.items() if factor}
        case nest.Call(function=function, arguments=arguments):
            return {(f"{function}{[sorted(_sum(each).items()) for each in arguments]}",): 1}
    return {(repr(index),): 1}


def _names(total: Sum) -> set[str]:
    return {name for term in total for name in term}


def _expression(total: Sum) -> Expression:
    """A sum of names as an index, the largest steps first."""
    result: Expression = Literal(INDEX, 0)
    for term, factor in sorted(total.items(), key=lambda each: (not each[0], -abs(each[1]), each[0])):
        part: Expression = Literal(INDEX, factor)
        for name in term:
            part = nest.multiply(Name(INDEX, name), part)
        result = nest.add(result, part)
    return result


# --- the merged kernel -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """A kernel's parallel loops that stand one right in the other, and what is inside them."""

    loops: tuple[For, ...]
    core: tuple[Statement, ...]

    @property
    def adds_up(self) -> bool:
        """Whether threads share the work of one iteration."""
        return any(isinstance(each, nest.Accumulate) for each in nest.walk_statements(self.core))


def _take_apart(kernel: Nest) -> _Parts | None:
    body = kernel.body
    loops: list[For] = []
    while len(body) == 1 and isinstance(body[0], For) and body[0].parallel:
        loops.append(body[0])
        body = body[0].body
    if not loops and any(isinstance(each, For) and each.parallel for each in nest.walk_statements(body)):
        return None
    return _Parts(tuple(loops), body)


@dataclass
class _Common:
    """Loops that two kernels have in common: their names and extents, and what is left of each kernel's.

    `indices` gives each kernel's own loop variables as sums of the common loops' and of those left.
    """

    loops: list[tuple[str, Expression]]
    left: tuple[list[For], list[For]]
    indices: tuple[dict[str, Expression], dict[str, Expression]]

    @property
    def inside(self) -> tuple[int | None, int | None]:
        """How many iterations each kernel has in one of the common ones; None where that is not known."""
        return tuple(_count(loops) for loops in self.left)  # type: ignore[return-value]


def _count(loops: Iterable[For]) -> int | None:
    extents = [loop.extent.value if isinstance(loop.extent, Literal) else None for loop in loops]
    return None if None in extents else math.prod(int(n) for n in extents if n is not None)


def _common(one: _Parts, two: _Parts, most: int) -> _Common:
    """The outermost loops that both kernels have, at most so many; a longer loop is cut into two."""
    left = list(one.loops), list(two.loops)
    indices: tuple[dict[str, Expression], dict[str, Expression]] = ({}, {})
    # What is still to be multiplied with a kernel's own loop that was cut.
    loops: list[tuple[str, Expression]] = []
    while left[0] and left[1] and len(loops) < most:
        heads = left[0][0], left[1][0]
        a, b = (head.extent for head in heads)
        name = f"j{len(loops)}"
        if a == b:
            extent = a
        elif isinstance(a, Literal) and isinstance(b, Literal):
            small, large = sorted((int(a.value), int(b.value)))
            if small < 1 or large % small:
                break
            extent = Literal(INDEX, small)
        else:
            break
        loops.append((name, extent))
        for head, rest, own in zip(heads, left, indices, strict=True):
            before = own.get(head.name, Literal(INDEX, 0))
            if head.extent == extent:
                own[head.name] = nest.add(before, Name(INDEX, name))
                rest.pop(0)
                continue
            assert isinstance(head.extent, Literal) and isinstance(extent, Literal)
            inner = int(head.extent.value) // int(extent.value)
            own[head.name] = nest.add(before, nest.multiply(Name(INDEX, name), inner))
            rest[0] = replace(head, extent=Literal(INDEX, inner))
    for rest, own in zip(left, indices, strict=True):
        for loop in rest:
            if loop.name in own:
                own[loop.name] = nest.add(own[loop.name], Name(INDEX, loop.name))
    return _Common(loops, left, indices)


def _merged(one: KernelCall, two: KernelCall, unread: set[Buffer]) -> KernelCall | None:
    """Both kernels in one; None where an iteration would need what another one stores."""
    first, second = _take_apart(one.kernel), _take_apart(two.kernel)
    if first is None or second is None:
        return None
    for most in range(max(len(first.loops), len(second.loops)), -1, -1):
        common = _common(first, second, most)
        if len(common.loops) < most:
            continue
        if _suits(first, second, common):
            try:
                return _Merger(one, two, first, second, common).merged(unread)
            except _Refused:
                continue
    return None


def _suits(first: _Parts, second: _Parts, common: _Common) -> bool:
    """Whether the common iterations are enough for threads to share."""
    if not common.left[0] and not common.left[1]:
        return True
    if not common.loops or not first.adds_up:
        return False
    return all(count is not None and count <= MOST_INSIDE for count in common.inside)


class _Refused(Exception):
    """The second kernel reads what another iteration of the first stores, or overwrites what it reads."""


class _Merger:
    """Two kernels on their way to be one."""

    def __init__(
        self, one: KernelCall, two: KernelCall, first: _Parts, second: _Parts, common: _Common
    ) -> None:
        self.calls = one, two
        self.parts = first, second
        self.common = common
        #: The parameter's name for each buffer, and for each kernel the new names of its parameters.
        self.names: dict[Buffer, str] = {}
        self.buffers: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for call, given in zip(self.calls, self.buffers, strict=True):
            for buffer, parameter in zip(call.buffers, call.kernel.buffers, strict=True):
                if buffer not in self.names:
                    name = parameter.name
                    while name in self.names.values():
                        name += "_"
                    self.names[buffer] = name
                given[parameter.name] = self.names[buffer]
        loops = [name for name, _ in common.loops]
        self.taken = {*self.names.values(), *loops, *one.kernel.sizes, *two.kernel.sizes}
        #: By buffer and place what the first kernel stored there.
        self.stored: dict[tuple[str, tuple[object, ...]], Expression] = {}
        self.dropped: set[str] = set()

    def merged(self, unread: set[Buffer]) -> KernelCall:
        """The kernel of both."""
        one, two = self.calls
        self.common_names = {name for name, _ in self.common.loops}
        self.handed = {self.names[each] for each in written(one) & used(two)}
        if written(one) & written(two):
            raise _Refused
        self.changed = {self.names[each] for each in written(two) & used(one)}
        read = {buffer for each in _expressions_in(self.parts[0].core) for buffer in _loaded(each)}
        self.dropped = {self.names[each] for each in unread} - {self.buffers[0][name] for name in read}
        origins: dict[str, object] = {}
        body: list[Statement] = []
        for number, (call, parts) in enumerate(zip(self.calls, self.parts, strict=True)):
            renaming = _Renaming(self, number, dict(self.common.indices[number]))
            core: tuple[Statement, ...] = tuple(
                renaming.block(parts.core, outermost=not self.common.left[number])
            )
            for loop in reversed(self.common.left[number]):
                core = (For(renaming.loops[loop.name], loop.extent, core, True, loop.vector),)
            body += core
            for name, node in call.origins.items():
                origins.setdefault(renaming.renamed.get(name, self.buffers[number].get(name, name)), node)
        if any(buffer not in {key[0] for key in self.stored} for buffer in self.handed):
            raise _Refused
        self._check_overwritten(body)
        statements = tuple(body)
        inner = not any(isinstance(each, For) for each in nest.walk_statements(statements))
        for position, (name, extent) in enumerate(reversed(self.common.loops)):
            vector = inner and position == 0 and all(p.loops[-1].vector for p in self.parts)
            statements = (For(name, extent, statements, True, vector),)
        return self._call(statements, origins)

    def _check_overwritten(self, body: Sequence[Statement]) -> None:
        """See that what the second kernel overwrites is read in the same iteration alone."""
        places: dict[str, set[tuple[object, ...]]] = {name: set() for name in self.changed}
        for index, buffer in _accesses(body):
            if buffer in places:
                total = _sum(index)
                if not _names(total) <= self.common_names | set(self._sizes()):
                    raise _Refused
                places[buffer].add(tuple(sorted(total.items())))
        if any(len(each) > 1 for each in places.values()):
            raise _Refused

    def _sizes(self) -> tuple[str, ...]:
        one, two = self.calls
        return tuple(dict.fromkeys((*one.kernel.sizes, *two.kernel.sizes)))

    def _call(self, body: tuple[Statement, ...], origins: dict[str, object]) -> KernelCall:
        one, two = self.calls
        touched = {buffer for _, buffer in _accesses(body)}
        changed = {each.buffer for each in nest.walk_statements(body) if isinstance(each, Store)}
        buffers = tuple(buffer for buffer, name in self.names.items() if name in touched)
        parameters = tuple(
            nest.BufferParameter(self.names[each], each.dtype, self.names[each] in changed)
            for each in buffers
        )
        comments = tuple(dict.fromkeys((*one.kernel.comments, *two.kernel.comments)))
        kernel = Nest(two.kernel.name, parameters, self._sizes(), body, comments)
        nodes = tuple(dict.fromkeys((*one.nodes, *two.nodes)))
        return KernelCall(kernel, buffers, nodes, max(one.phase, two.phase), origins)  # type: ignore[arg-type]


def _expressions_in(body: Sequence[Statement]) -> Iterator[Expression]:
    """The expressions that stand in statements and in those inside them."""
    for statement in nest.walk_statements(tuple(body)):
        yield from nest.expressions_of(statement)


def _loaded(expression: Expression) -> set[str]:
    """The buffers that an expression reads."""
    return {part.buffer for part in nest.walk_expression(expression) if isinstance(part, Load)}


def _accesses(body: Sequence[Statement]) -> Iterator[tuple[Expression, str]]:
    """Where buffers are read and written: index and buffer."""
    for statement in nest.walk_statements(tuple(body)):
        if isinstance(statement, Store):
            yield statement.index, statement.buffer
        for expression in nest.expressions_of(statement):
            for part in nest.walk_expression(expression):
                if isinstance(part, Load):
                    yield part.index, part.buffer


class _Renaming:
    """One kernel's statements in the names of the merged one."""

    def __init__(self, merger: _Merger, number: int, indices: dict[str, Expression]) -> None:
        self.merger = merger
        self.number = number
        self.values = indices
        #: New names of the loops that are left, and of all else.
        self.loops: dict[str, str] = {}
        self.renamed: dict[str, str] = {}
        for loop in merger.common.left[number]:
            self.loops[loop.name] = self._fresh(loop.name)
        for loop in merger.common.left[number]:
            given = Name(INDEX, self.loops[loop.name])
            known = self.values.get(loop.name)
            self.values[loop.name] = given if known is None else _replaced(known, {loop.name: given})

    def _fresh(self, name: str) -> str:
        if name in self.merger.taken:
            stem = name.rstrip("0123456789")
            number = next(n for n in itertools.count(1) if f"{stem}{n}" not in self.merger.taken)
            name = f"{stem}{number}"
        self.merger.taken.add(name)
        return name

    def _named(self, name: str, dtype: str) -> str:
        new = self._fresh(name)
        self.renamed[name] = new
        self.values[name] = Name(dtype, new)
        return new

    def block(self, body: Sequence[Statement], outermost: bool = False) -> list[Statement]:
        """Statements renamed; those of the first kernel's outermost block may hand values over."""
        found: list[Statement] = []
        for each in body:
            match each:
                case Let(name=name, value=value):
                    new = self.of(value)
                    found.append(Let(self._named(name, value.dtype), new))
                case nest.Declare(name=name, value=value):
                    new = self.of(value)
                    found.append(nest.Declare(self._named(name, value.dtype), new))
                case nest.Assign(name=name, value=value):
                    found.append(nest.Assign(self.renamed[name], self.of(value)))
                case nest.Accumulate(name=name, function=function, value=value):
                    found.append(nest.Accumulate(self.renamed[name], function, self.of(value)))
                case For(name=name, extent=extent, body=inner, parallel=parallel, vector=vector):
                    bound = self.of(extent)
                    new_name = self._named(name, INDEX)
                    found.append(For(new_name, bound, tuple(self.block(inner)), parallel, vector))
                case nest.If(condition=condition, then=then, otherwise=otherwise):
                    test = self.of(condition)
                    found.append(nest.If(test, tuple(self.block(then)), tuple(self.block(otherwise))))
                case Store():
                    found += self._store(each, outermost)
                case _:
                    raise _Refused
        return found

    def _store(self, store: Store, outermost: bool) -> list[Statement]:
        merger = self.merger
        name = merger.buffers[self.number][store.buffer]
        index, value = self.of(store.index), self.of(store.value)
        if self.number == 1 or name not in merger.handed:
            return [Store(name, index, value)]
        total = _sum(index)
        if not outermost or not _names(total) <= merger.common_names | set(merger._sizes()):
            raise _Refused
        found: list[Statement] = []
        if not isinstance(value, Literal):
            # What a variable holds now, whatever becomes of it.
            kept = self._fresh(f"{name}_value")
            found.append(Let(kept, value))
            value = Name(value.dtype, kept)
        merger.stored[name, tuple(sorted(total.items()))] = value
        return found if name in merger.dropped else [*found, Store(name, index, value)]

    def of(self, expression: Expression) -> Expression:
        """An expression renamed, with what the first kernel stored in place of what the second reads."""
        match expression:
            case Name(name=name):
                return self.values.get(name, expression)
            case Load(buffer=buffer, index=index):
                merger = self.merger
                where, name = self.of(index), merger.buffers[self.number][buffer]
                if self.number == 1 and name in merger.handed:
                    handed = merger.stored.get((name, tuple(sorted(_sum(where).items()))))
                    if handed is None:
                        raise _Refused
                    return handed
                return replace(expression, buffer=name, index=where)
            case nest.Cast(value=value):
                return replace(expression, value=self.of(value))
            case nest.Select(condition=condition, then=then, otherwise=otherwise):
                condition, then, otherwise = map(self.of, (condition, then, otherwise))
                return replace(expression, condition=condition, then=then, otherwise=otherwise)
            case nest.Call(arguments=arguments):
                made = replace(expression, arguments=tuple(map(self.of, arguments)))
                return _tidy(made) if made.dtype == INDEX else made
        return expression


def _tidy(index: Expression) -> Expression:
    """An index that is a sum of products of names, written as such."""
    assert isinstance(index, nest.Call)
    if index.function not in ("add", "sub", "mul"):
        return index
    if not all(
        isinstance(part, Name | Literal)
        or isinstance(part, nest.Call)
        and part.function in ("add", "sub", "mul")
        and part.dtype == INDEX
        for part in nest.walk_expression(index)
    ):
        return index
    return _expression(_sum(index))


def _replaced(expression: Expression, names: Mapping[str, Expression]) -> Expression:
    match expression:
        case Name(name=name):
            return names.get(name, expression)
        case nest.Call(arguments=arguments):
            return replace(expression, arguments=tuple(_replaced(each, names) for each in arguments))
    return expression
