"""Epilogues: takes a lowered Program; what is computed of a contraction's result alone moves into its store.

Where the one reader of a product or convolution is an elementwise kernel (bias and activation, the mask of
a gradient, `w -= rate * gradient`), each sum goes through that kernel's expression while it is in a
register, and what is between is never stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from symnet.compile import nest
from symnet.compile.contraction import OLD, PRODUCT, Contraction, Epilogue, fits_epilogue
from symnet.compile.contraction import Dimension as Axis
from symnet.compile.lower_linalg import plain_nest
from symnet.compile.nest import Call, Cast, Expression, Let, Literal, Load, Name, Nest, Select
from symnet.compile.program import Buffer, ContractionCall, KernelCall, Program
from symnet.compile.specialise import SlotLeaf
from symnet.compile.steps import Place, Steps, used, written
from symnet.compile.target import CPU, Target
from symnet.graph import dims
from symnet.graph.dims import Dimension, Size

#: An epilogue that reads what it overwrites is given sums of at most so many terms: longer ones are taken in
#: parts, and the target has no room for them. (Many threads have room of their own for parts.)
MOST_TERMS = 1024


def fuse_epilogues(program: Program, target: Target = CPU) -> None:
    """Move elementwise kernels into the stores of the contractions whose results they alone read."""
    steps = Steps(program)
    sized = {view.buffer for view in program.computed.values()}
    taken = {_kernel(call).name for call in program.calls}
    depths = _depths(program) if target.many_threads else {}
    for place in reversed(steps.places()):
        at: Place | None = place
        while at is not None:
            at = _fuse(steps, at, sized, taken, depths, target)
    steps.finish()


def _depths(program: Program) -> dict[Buffer, int]:
    """How many kernels, one after the other, it takes until a buffer holds what it does first."""
    found: dict[Buffer, int] = {}
    for step in program.steps:
        if isinstance(step, KernelCall | ContractionCall):
            depth = 1 + max((found.get(buffer, 0) for buffer in used(step)), default=0)
            for buffer in written(step):
                if buffer.kind == "arena":
                    found.setdefault(buffer, depth)
    return found


def _fuse(
    steps: Steps,
    place: Place,
    sized: set[Buffer],
    taken: set[str],
    depths: Mapping[Buffer, int],
    target: Target,
) -> Place | None:
    """Move the kernel that alone reads a contraction's result into its store, if that can be."""
    call = steps[place]
    if not isinstance(call, ContractionCall):
        return None
    product = call.buffers[2]
    readers = steps.users(product, place)
    is_kept = product.kind != "arena" or product in sized or len(readers) > 1
    if is_kept and not target.many_threads:
        return None
    kernel = steps[readers[0]] if readers else None
    if not isinstance(kernel, KernelCall) or product in written(kernel):
        return None
    try:
        fused = _Fusion(steps.program, call, kernel, taken, target, is_kept).fused()
    except _Refused:
        return None
    behind = _behind(steps, place, readers[0], fused)
    if behind is None:
        return None
    if is_kept or len(written(call)) > 1:
        # Others read what is stored: not before it is there now, and not long after it could be.
        between = {user for buffer in written(call) for user in steps.users(buffer, place) if user <= behind}
        waits = max(
            (depths.get(buffer, 0) for buffer in used(kernel) - written(kernel) - {product}), default=0
        )
        if between or behind != place and written(call) & sized:
            return None
        if kernel.phase < 2 and waits > depths.get(product, 0):
            return None
    made = steps.put(fused, behind)
    steps.remove(place)
    steps.remove(readers[0])
    taken.add(fused.name)
    return made


def _behind(steps: Steps, place: Place, reader: Place, fused: ContractionCall) -> Place | None:
    """Behind which step the fused one goes: as early as may be, so that its operands are still near.

    Between the contraction's place and the kernel's, nothing may change what the contraction reads before
    it, and behind it nothing may touch what is written or change what the kernel reads. A write to a shared
    variable stays behind everything that can fail.
    """
    targets = written(fused)
    needed = {*fused.contraction.parameters}
    for offset in fused.offsets:
        needed |= {leaf.name for leaf in dims.leaves(offset) if isinstance(leaf, SlotLeaf)}
    found = [
        place,
        steps.last_user(targets, place, reader),
        steps.last_writer(fused.buffers[3:], place, reader),
        steps.last_slot(needed, place, reader),
    ]
    if any(target.kind == "input" for target in targets):
        found.append(steps.last_failing(place, reader))
    behind = max(each for each in found if each is not None)
    inputs = set(fused.buffers[:2])
    if behind > place and written(steps[behind]) & inputs:
        return None
    return behind if steps.last_writer(inputs, place, behind) is None else None


# --- the fused step --------------------------------------------------------------------------------


class _Refused(Exception):
    """The kernel is nothing that the contraction's store can do."""


@dataclass(frozen=True)
class _Walk:
    """An index that is linear in loop variables."""

    offset: Dimension
    strides: Mapping[str, Dimension] = field(default_factory=dict)


class _Fusion:
    """One contraction and the kernel that reads its result.

    Where the result is kept, as others read it as well, what the kernel stores is stored beside it: for many
    threads, which have it in a register, that is one kernel less.
    """

    def __init__(
        self,
        program: Program,
        call: ContractionCall,
        kernel: KernelCall,
        taken: set[str],
        target: Target,
        is_kept: bool,
    ) -> None:
        self.program = program
        self.is_kept = is_kept
        self.many = target.many_threads
        self.most_terms = math.inf if target.many_threads else MOST_TERMS
        self.taken = taken
        self.call = call
        self.kernel = kernel
        self.product = call.buffers[2]
        buffers = zip(kernel.kernel.buffers, kernel.buffers, strict=True)
        self.buffers = {parameter.name: buffer for parameter, buffer in buffers}
        self.loops: dict[str, Dimension] = {}
        self.lets, stores = self._take_apart(kernel.kernel)
        # The first array that is written takes the contraction's place, others are written beside it.
        self.target = self.product if is_kept else self.buffers[stores[0].buffer]
        self.target_place = self.store_place = self._place_of(stores[0].index)
        self.stores = [(self.buffers[each.buffer], each.value) for each in stores]
        if any(self._place_of(each.index) != self.store_place for each in stores):
            raise _Refused
        self.product_place: _Walk | None = None
        #: What the contraction reads already when it stores, in the order of its dimensions.
        self.given: list[tuple[Buffer, Dimension, tuple[int | str, ...]]] = []
        #: What the kernel reads beside, and where.
        self.arrays: list[tuple[Buffer, _Walk]] = []
        #: What the contraction stores beside its result already.
        self.given_stores: list[tuple[int, Expression]] = []
        self.names: dict[str, Expression] = {}

    def fused(self) -> ContractionCall:
        """The contraction with the kernel as its epilogue; `_Refused` where there is none."""
        call, contraction = self.call, self.call.contraction
        dtype = contraction.dtype
        targets = [buffer for buffer, _ in self.stores]
        taken = call.buffers[:3] if self.many else call.buffers
        if any(each.dtype != dtype or each in taken for each in targets):
            raise _Refused
        statements = self._begin(contraction)
        for let in self.lets:
            value = self._converted(let.value)
            if isinstance(value, Name):
                self.names[let.name] = value
                continue
            name = f"v{len(statements)}"
            statements.append(Let(name, value))
            self.names[let.name] = Name(value.dtype, name)
        beside = list(self.given_stores)
        values = [self._converted(each) for _, each in self.stores]
        value = self.sum if self.is_kept else values[0]
        first = 0 if self.is_kept else 1
        for (buffer, _), each in zip(self.stores[first:], values[first:], strict=True):
            beside.append((len(self.given) + self._array(buffer, self.store_place), each))
        if self.product_place is None or self.is_kept and contraction.accumulate:
            raise _Refused
        if self.is_kept:
            self.target_place = self.product_place
        if any(buffer in targets and place != self.store_place for buffer, place in self.arrays):
            raise _Refused
        if not all(
            map(fits_epilogue, (*(each.value for each in statements), value, *(e for _, e in beside)))
        ):
            raise _Refused
        further = (*(buffer for buffer, *_ in self.given), *(buffer for buffer, _ in self.arrays))
        dtypes = tuple(buffer.dtype for buffer in further)
        epilogue = Epilogue(dtypes, tuple(statements), value, tuple(beside))
        if epilogue.reads_target and self._terms() > self.most_terms:
            raise _Refused
        axes, offsets = self._axes()
        if self.many:
            epilogue, axes, offsets, further = self._without_twins(epilogue, axes, offsets, further)
        made = Contraction(dtype, axes, False, epilogue)
        name = self._name()
        comments = dict.fromkeys((*call.plain.comments, *self.kernel.kernel.comments))
        buffers = (*call.buffers[:2], self.target, *further)
        plain = plain_nest(made, name, tuple(comments))
        nodes = tuple(dict.fromkeys((*call.nodes, *self.kernel.nodes)))
        return ContractionCall(name, made, buffers, offsets, plain, nodes, self.kernel.phase)

    def _begin(self, contraction: Contraction) -> list[Let]:
        """What the contraction makes of its sums already: the statements; `sum` is their outcome."""
        dtype, dimensions = contraction.dtype, contraction.dimensions
        self.sum: Expression = Name(dtype, PRODUCT)
        if contraction.accumulate:
            # The last of several sums: what the earlier ones left is an array like others.
            steps = tuple(axis.c for axis in dimensions)
            self.given.append((self.product, self.call.offsets[2], steps))
            statements = [Let("v0", nest.call("add", Name(dtype, "x0"), self.sum))]
            self.sum = Name(dtype, "v0")
            return statements
        if contraction.epilogue is None:
            return []
        if contraction.epilogue.reads_target and not self.is_kept:
            raise _Refused
        if contraction.epilogue.stores and not self.many:
            raise _Refused
        self.given_stores = list(contraction.epilogue.stores)
        for n, buffer in enumerate(self.call.buffers[3:]):
            steps = tuple(axis.others[n] for axis in dimensions)
            self.given.append((buffer, self.call.offsets[3 + n], steps))
        statements = list(contraction.epilogue.statements)
        self.sum = contraction.epilogue.value
        if not isinstance(self.sum, Name):
            name = f"v{len(statements)}"
            statements.append(Let(name, self.sum))
            self.sum = Name(dtype, name)
        return statements

    def _without_twins(
        self,
        epilogue: Epilogue,
        axes: tuple[Axis, ...],
        offsets: tuple[Dimension, ...],
        further: tuple[Buffer, ...],
    ) -> tuple[Epilogue, tuple[Axis, ...], tuple[Dimension, ...], tuple[Buffer, ...]]:
        """The same with each array once: one that the contraction and the kernel both read, or that the one
        reads and the other overwrites."""
        stored = {further[number] for number, _ in epilogue.stores}
        kept: list[int] = []
        new: dict[int, int] = {}
        names: dict[str, str] = {}
        for number, buffer in enumerate(further):
            if buffer is self.target:
                if number in dict(epilogue.stores) or not self._alike(None, number, axes, offsets):
                    raise _Refused
                names[f"x{number}"] = OLD
                continue
            twin = next(
                (n for n in kept if further[n] is buffer and self._alike(n, number, axes, offsets)), None
            )
            if twin is None:
                if buffer in stored and any(further[n] is buffer for n in kept):
                    raise _Refused
                kept.append(number)
            new[number] = kept.index(number if twin is None else twin)
        names |= {f"x{old}": f"x{number}" for old, number in new.items()}

        def renamed(expression: Expression) -> Expression:
            match expression:
                case Name(name=name) if name in names:
                    return replace(expression, name=names[name])
                case Cast(value=value):
                    return replace(expression, value=renamed(value))
                case Select(condition=condition, then=then, otherwise=otherwise):
                    condition, then, otherwise = map(renamed, (condition, then, otherwise))
                    return replace(expression, condition=condition, then=then, otherwise=otherwise)
                case Call(arguments=arguments):
                    return replace(expression, arguments=tuple(map(renamed, arguments)))
            return expression

        made = Epilogue(
            tuple(epilogue.dtypes[n] for n in kept),
            tuple(replace(each, value=renamed(each.value)) for each in epilogue.statements),
            renamed(epilogue.value),
            tuple((new[number], renamed(value)) for number, value in epilogue.stores),
        )
        fewer = tuple(replace(axis, others=tuple(axis.others[n] for n in kept)) for axis in axes)
        places = (*offsets[:3], *(offsets[3 + n] for n in kept))
        return made, fewer, places, tuple(further[n] for n in kept)

    def _alike(
        self, one: int | None, other: int, axes: tuple[Axis, ...], offsets: tuple[Dimension, ...]
    ) -> bool:
        """Whether two of the further arrays are walked alike; None is the target."""
        return self._equal(offsets[2 if one is None else 3 + one], offsets[3 + other]) and all(
            (axis.c if one is None else axis.others[one]) == axis.others[other] or axis.extent == 1
            for axis in axes
        )

    def _name(self) -> str:
        stem = self.kernel.kernel.name.removeprefix(f"{self.program.name}_k_")
        name = f"{self.call.name}_{stem.rstrip('0123456789').rstrip('_')}"
        while name in self.taken:
            name += "_"
        return name

    def _terms(self) -> int:
        """The terms of each sum, as far as they are known."""
        terms = 1
        for axis in self.call.contraction.dimensions:
            if axis.c == 0 and isinstance(axis.extent, int):
                terms *= axis.extent
        return terms

    # --- the kernel's parts --------------------------------------------------------------------

    def _take_apart(self, kernel: Nest) -> tuple[list[Let], list[nest.Store]]:
        """The values and the stores of loops that stand one in the other."""
        body = kernel.body
        lets: list[Let] = []
        while True:
            stores = [each for each in body if isinstance(each, nest.Store)]
            before = body[: len(body) - max(1, len(stores))]
            last = body[-1]
            for statement in before:
                if not isinstance(statement, Let):
                    raise _Refused
                lets.append(statement)
            if stores:
                return lets, stores
            if not isinstance(last, nest.For):
                raise _Refused
            extent = self._linear(last.extent)
            if extent.strides:
                raise _Refused
            self.loops[last.name] = extent.offset
            body = last.body

    def _place_of(self, index: Expression) -> _Walk:
        place = self._linear(index)
        return _Walk(place.offset, {name: step for name, step in place.strides.items() if step != 0})

    def _linear(self, index: Expression) -> _Walk:
        if isinstance(index, Literal):
            return _Walk(int(index.value))
        if isinstance(index, Name):
            if index.name in self.loops:
                return _Walk(0, {index.name: 1})
            if index.name in self.kernel.kernel.sizes:
                return _Walk(self.program.slots[index.name].size)
        if isinstance(index, Call) and index.function in ("add", "mul"):
            left, right = (self._linear(each) for each in index.arguments)
            if index.function == "add":
                strides = dict(left.strides)
                for name, step in right.strides.items():
                    strides[name] = dims.add(strides.get(name, 0), step)
                return _Walk(dims.add(left.offset, right.offset), strides)
            if left.strides:
                left, right = right, left
            if not left.strides:
                scaled = {name: dims.multiply(left.offset, step) for name, step in right.strides.items()}
                return _Walk(dims.multiply(left.offset, right.offset), scaled)
        raise _Refused

    def _converted(self, expression: Expression) -> Expression:
        """An expression of the kernel as one of the epilogue."""
        match expression:
            case Load(buffer=buffer, index=index):
                return self._loaded(self.buffers[buffer], self._place_of(index))
            case Literal():
                return expression
            case Name(name=name) if name in self.names:
                return self.names[name]
            case Cast(value=value):
                return replace(expression, value=self._converted(value))
            case Select(condition=condition, then=then, otherwise=otherwise):
                condition, then, otherwise = map(self._converted, (condition, then, otherwise))
                return replace(expression, condition=condition, then=then, otherwise=otherwise)
            case Call(arguments=arguments):
                return replace(expression, arguments=tuple(map(self._converted, arguments)))
        raise _Refused

    def _loaded(self, buffer: Buffer, place: _Walk) -> Expression:
        if buffer is self.product:
            if self.product_place not in (None, place):
                raise _Refused
            self.product_place = place
            return self.sum
        if buffer is self.target:
            if place != self.target_place:
                raise _Refused
            return Name(buffer.dtype, OLD)
        return Name(buffer.dtype, f"x{len(self.given) + self._array(buffer, place)}")

    def _array(self, buffer: Buffer, place: _Walk) -> int:
        """The number of what the kernel reads or writes there."""
        if (buffer, place) not in self.arrays:
            self.arrays.append((buffer, place))
        return self.arrays.index((buffer, place))

    # --- the contraction's indices -------------------------------------------------------------

    def _axes(self) -> tuple[tuple[Axis, ...], tuple[Dimension, ...]]:
        """The contraction's dimensions with strides in the target and the epilogue's arrays; offsets."""
        assert self.product_place is not None
        matched = self._matched(self.product_place)
        start = self.product_place.offset
        axes = []
        shifts: list[Dimension] = [0] * (1 + len(self.arrays))
        places = [self.target_place, *(place for _, place in self.arrays)]
        for position, axis in enumerate(self.call.contraction.dimensions):
            given = tuple(steps[position] for *_, steps in self.given)
            if axis.c == 0:
                axes.append(replace(axis, others=(*given, *(0 for _ in self.arrays))))
                continue
            strides: list[int | str] = []
            for number, place in enumerate(places):
                if axis.name not in matched:
                    strides.append(axis.c)
                    continue
                loop, times = matched[axis.name]
                backwards = isinstance(axis.c, int) and axis.c < 0
                stride = place.strides.get(loop, 0)
                same = self._equal(stride, self.product_place.strides[loop])
                step = axis.c if same else self._axis_value(dims.multiply(stride, times))
                if backwards and not same:
                    assert isinstance(step, int)
                    step = -step
                if backwards:
                    assert isinstance(axis.extent, int) and isinstance(step, int)
                    shifts[number] = dims.add(shifts[number], -(axis.extent - 1) * step)
                if number == 0 and step == 0:
                    raise _Refused
                strides.append(step)
            axes.append(replace(axis, c=strides[0], others=(*given, *strides[1:])))
        first = self.call.offsets[2]
        for axis in self.call.contraction.dimensions:
            if axis.c != 0 and isinstance(axis.c, int) and axis.c < 0:
                assert isinstance(axis.extent, int)
                first = dims.add(first, (axis.extent - 1) * axis.c)
        if not self._equal(first, start):
            raise _Refused
        target, *others = (dims.add(place.offset, shift) for place, shift in zip(places, shifts, strict=True))
        given_offsets = (offset for _, offset, _ in self.given)
        return tuple(axes), (*self.call.offsets[:2], target, *given_offsets, *others)

    def _matched(self, place: _Walk) -> dict[str, tuple[str, Dimension]]:
        """For each index of the result its loop, and by how much that goes on when the index does.

        Each loop of the kernel is one or several indices of the contraction, the nearest in memory first.
        """
        left = [axis for axis in self.call.contraction.dimensions if axis.c != 0 and axis.extent != 1]
        found: dict[str, tuple[str, Dimension]] = {}
        for loop, extent in self.loops.items():
            if loop not in place.strides or extent == 0:
                raise _Refused
            times: Dimension = 1
            while not self._equal(times, extent):
                far = dims.multiply(place.strides[loop], times)
                axis = next((each for each in left if self._equal(self._magnitude(each), far)), None)
                if axis is None:
                    raise _Refused
                left.remove(axis)
                found[axis.name] = loop, times
                times = dims.multiply(times, self._size(axis.extent))
        if left:
            raise _Refused
        return found

    def _magnitude(self, axis: Axis) -> Dimension:
        return abs(axis.c) if isinstance(axis.c, int) else self._size(axis.c)

    def _size(self, value: int | str) -> Dimension:
        return value if isinstance(value, int) else self.program.slots[value].size

    def _axis_value(self, size: Dimension) -> int | str:
        if isinstance(size, int):
            return size
        if isinstance(size, Size) and size.function == "leaf" and isinstance(size.arguments[0], SlotLeaf):
            return size.arguments[0].name
        raise _Refused

    def _equal(self, left: Dimension, right: Dimension) -> bool:
        return self._product(left) == self._product(right)

    def _product(self, size: Dimension) -> tuple[int, tuple[str, ...]]:
        """A size as a number times what is not known, in one order."""
        if isinstance(size, int):
            return size, ()
        assert isinstance(size, Size)
        if size.function == "leaf" and isinstance(size.arguments[0], SlotLeaf):
            slot = self.program.slots[size.arguments[0].name]
            if slot.key is None:
                return self._product(slot.definition)
        if size.function == "mul":
            (a, x), (b, y) = map(self._product, size.arguments)
            return a * b, tuple(sorted((*x, *y)))
        return 1, (repr(size),)


def _kernel(call: KernelCall | ContractionCall) -> Nest:
    return call.plain if isinstance(call, ContractionCall) else call.kernel
