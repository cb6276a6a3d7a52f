"""Four iterations of a body at once: takes statements, hands on lines in which each is done for all four.

What is the same for the four is computed once; neighbouring entries, where their place is known to be a
multiple of four, are read and written in one access.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from symnet.backend.cuda.accesses import LANES, Affine, affine, sums_of
from symnet.backend.cuda.print_body import BodyPrinter
from symnet.compile import nest
from symnet.compile.nest import BOOL, Call, Cast, Expression, For, Literal, Load, Name, Statement
from symnet.compile.print_numba import _ATOM, _COMPARE

#: Bodies of more operations than that fill a thread's registers by themselves.
MOST_OPERATIONS = 120


def can_go_together(body: Sequence[Statement]) -> bool:
    """Whether iterations of a body can be done in lockstep: no branches, loops of known length without
    stores."""
    operations = 0
    for statement in nest.walk_statements(tuple(body)):
        if isinstance(statement, nest.If | nest.Fail):
            return False
        if isinstance(statement, For):
            inside = list(nest.walk_statements(statement.body))
            if not isinstance(statement.extent, Literal) or any(
                isinstance(each, nest.Store) for each in inside
            ):
                return False
        for expression in nest.expressions_of(statement):
            operations += sum(isinstance(each, Call) for each in nest.walk_expression(expression))
    return operations <= MOST_OPERATIONS


class LockstepPrinter(BodyPrinter):
    """Prints statements for `LANES` iterations at once, where `lockstep` is asked for it."""

    varying: dict[str, tuple[str, ...]]

    def __init__(
        self, buffers: Sequence[nest.BufferParameter], sizes: Sequence[str], ordered: bool = False
    ) -> None:
        super().__init__(buffers, sizes, ordered)
        self.varying = {}
        self.lane: int | None = None
        self.along: str | None = None
        self.sums: dict[str, Affine] = {}
        self.consecutive: set[str] = set()
        self.loaded: dict[Load, tuple[str, ...]] = {}
        self.together = False

    @contextlib.contextmanager
    def lockstep(
        self, body: Sequence[Statement], lanes: Mapping[str, tuple[str, ...]], along: str | None
    ) -> Iterator[None]:
        """Inside, the statements of `body` are printed for all lanes.

        Parameters
        ----------
        lanes
            For each name that differs from lane to lane its names in the text.
        along
            The name, if any, that grows by one from lane to lane, from a multiple of `LANES` on.
        """
        outer = dict(self.names)
        self.varying = dict(lanes)
        self.along = along
        self.sums = sums_of([each for each in body if isinstance(each, nest.Let)])
        self.consecutive = {along} if along is not None else set()
        self.unset = self._names_that_vary(body)
        self.together = True
        yield
        self.together = False
        self.varying, self.along = {}, None
        self.names = outer

    def _names_that_vary(self, body: Sequence[Statement]) -> set[str]:
        found = set(self.varying)
        while True:
            before = len(found)
            for statement in nest.walk_statements(tuple(body)):
                match statement:
                    case (
                        nest.Let(name=name, value=value)
                        | nest.Declare(name=name, value=value)
                        | nest.Assign(name=name, value=value)
                        | nest.Accumulate(name=name, value=value)
                    ) if self._varies(value, found):
                        found.add(name)
                        if isinstance(statement, nest.Let) and self._is_consecutive(value):
                            self.consecutive.add(name)
            if len(found) == before:
                return found

    # --- what differs ----------------------------------------------------------------------------

    def _varies(self, expression: Expression, varying: set[str]) -> bool:
        match expression:
            case Name(name=name):
                return name in varying
            case Load(index=index):
                return self._varies(index, varying)
            case Cast(value=value):
                return self._varies(value, varying)
            case nest.Select(condition=condition, then=then, otherwise=otherwise):
                return any(self._varies(each, varying) for each in (condition, then, otherwise))
            case Call(arguments=arguments):
                return not self._drops_lanes(expression) and any(
                    self._varies(each, varying) for each in arguments
                )
        return False

    def _is_consecutive(self, expression: Expression) -> bool:
        """Whether an integer grows by one from lane to lane, from a multiple of `LANES` on."""
        if isinstance(expression, Name) and expression.name in self.consecutive:
            return True
        if isinstance(expression, Cast) and expression.dtype in ("int64", "uint64"):
            return self._is_consecutive(expression.value)
        return self._place(expression) is not None

    def _place(self, index: Expression) -> Affine | None:
        """An index as a sum, where entries of the lanes are neighbours and the first is aligned."""
        if self.along is None:
            return None
        found = affine(index, self.sums)
        if found is None or found.factor(self.along) != 1 or not found.is_aligned(self.along):
            return None
        return found

    def _drops_lanes(self, expression: Call) -> bool:
        """Whether it is a shift that leaves nothing of what differs."""
        match expression:
            case Call(function="shift_right", arguments=(value, Literal(value=count))):
                return count >= LANES.bit_length() - 1 and self._is_consecutive(value)
        return False

    # --- statements ----------------------------------------------------------------------------

    def _statement(self, statement: Statement) -> bool:
        if not self.together or self.lane is not None:
            return super()._statement(statement)
        match statement:
            case nest.Let(name=name, value=value) | nest.Declare(name=name, value=value):
                if name not in self.unset:
                    return super()._statement(statement)
                self._load_together(value)
                printed = tuple(self.fresh(name, value.dtype) for _ in range(LANES))
                for lane in range(LANES):
                    with self._in_lane(lane):
                        literal = isinstance(value, Literal)
                        text = self.typed_literal(value) if literal else self.text(value)  # type: ignore[arg-type]
                        self._line(f"{printed[lane]} = {text}")
                self.varying[name] = printed
            case nest.Assign(name=name, value=value) | nest.Accumulate(name=name, value=value):
                self._load_together(value)
                for lane in range(LANES if name in self.varying else 1):
                    with self._in_lane(lane):
                        super()._statement(statement)
            case nest.Store():
                self._store(statement)
            case For():
                super()._statement(statement)
            case _:
                raise TypeError(f"{type(statement).__name__} in lockstep")
        self.loaded = {}
        return True

    def _store(self, statement: nest.Store) -> None:
        buffer, index, value = statement.buffer, statement.index, statement.value
        self._load_together(value)
        if self._place(index) is None:
            for lane in range(LANES):
                with self._in_lane(lane):
                    super()._statement(statement)
            return
        of = self._buffer_dtype(buffer)
        if of != value.dtype:
            raise TypeError(f"a {value.dtype} stored in buffer {buffer} of {of}")
        stored = [self.fresh("stored", value.dtype) for _ in range(LANES)]
        for lane, name in enumerate(stored):
            with self._in_lane(lane):
                literal = isinstance(value, Literal)
                text = self.typed_literal(value) if literal else self.text(value)  # type: ignore[arg-type]
                self._line(f"{name} = np.uint8({text})" if of == BOOL else f"{name} = {text}")
        with self._in_lane(0):
            where = self.text(index)
        self._line(f"store{LANES}({self._name(buffer)}, {where}, {', '.join(stored)})")

    def _load_together(self, expression: Expression) -> None:
        """Read what the lanes need of neighbouring entries, and what all of them need."""
        for each in nest.walk_expression(expression):
            if not isinstance(each, Load) or each in self.loaded:
                continue
            together = self._place(each.index) is not None
            if not together and self._varies(each.index, self.unset):
                continue
            of = self._buffer_dtype(each.buffer)
            if of != each.dtype:
                raise TypeError(f"a {each.dtype} loaded from buffer {each.buffer} of {of}")
            count = LANES if together else 1
            names = tuple(self.fresh("read", f"{of} read") for _ in range(count))
            with self._in_lane(0):
                where = self.text(each.index)
            buffer = self._name(each.buffer)
            read = f"load{LANES}({buffer}, {where})" if together else f"{buffer}[{where}]"
            self._line(f"{', '.join(names)} = {read}")
            self.loaded[each] = names * (LANES // count)

    @contextlib.contextmanager
    def _in_lane(self, lane: int) -> Iterator[None]:
        outer, before = dict(self.names), self.lane
        self.names.update({name: printed[lane] for name, printed in self.varying.items()})
        self.lane = lane
        yield
        self.lane, self.names = before, outer

    # --- expressions ---------------------------------------------------------------------------

    def item_name(self) -> str:
        """The name of the item's number, in the lane that is printed."""
        return self.items[self.lane if self.lane is not None and len(self.items) > 1 else 0]

    def _expression(self, expression: Expression) -> tuple[str, int]:
        if self.together:
            if isinstance(expression, Load) and expression in self.loaded and self.lane is not None:
                text = self.loaded[expression][self.lane]
                return (f"{text} != 0", _COMPARE) if expression.dtype == BOOL else (text, _ATOM)
            if isinstance(expression, Call) and self._drops_lanes(expression) and self.lane != 0:
                with self._in_lane(0):
                    return super()._expression(expression)
            if self.lane is not None and isinstance(expression, Call):
                match expression:
                    case Call(dtype=dtype, function="bitwise_and", arguments=(value, Literal(value=mask))):
                        if mask < LANES and self._is_consecutive(value):
                            return super()._expression(Literal(dtype, self.lane & int(mask)))
        return super()._expression(expression)
