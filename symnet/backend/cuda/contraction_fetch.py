"""Takes an operand and a tile; hands on the statements that bring its slices into shared memory.

A slice is loaded into registers while the one before is added up; so nothing waits for memory at once.
"""

from __future__ import annotations

from symnet.backend.cuda.contraction_plan import Operand, Plan
from symnet.backend.cuda.contraction_text import Text, masked, plus, shifted, walk


class Fetch:
    """How a block's threads bring a slice of A or B into shared memory, by way of registers."""

    def __init__(self, text: Text, plan: Plan, which: int, threads: int, pitch: int, start: int) -> None:
        self.text, self.plan, self.pitch, self.start = text, plan, pitch, start
        self.operand: Operand = plan.operands[which]
        self.first = ("first_row", "first_column")[which]
        operand, tile = self.operand, plan.tile
        size, depth, vector = (tile.height, tile.width)[which], tile.depth, operand.vector
        self.name = operand.buffer
        lanes = (depth if operand.along_inner else size) // vector
        self.lanes = min(lanes, threads)
        # Lanes beside each other, then how many further places each thread has along both ways.
        self.beside = lanes // self.lanes
        self.lines = threads // self.lanes
        across = size if operand.along_inner else depth
        self.rounds = -(-across // self.lines)
        self.idle = across < self.lines
        #: Where the list of steps begins, if there is one.
        listed = [each.buffer for each in plan.listed]
        self.listed = listed.index(self.name) * (plan.terms or 0) if self.name in listed else None
        self.across = across

    def place(self) -> None:
        """The thread's first entry of a slice, and where that goes."""
        text, name, vector = self.text, self.name, self.operand.vector
        text.line(f"{name}_fast = np.int32({masked('me', self.lanes)} * {vector})")
        text.line(f"{name}_slow = np.int32({shifted('me', self.lanes)})")
        inner, row = ("fast", "slow") if self.operand.along_inner else ("slow", "fast")
        text.line(
            f"{name}_put = np.int32({plus(self.start, f'{name}_{inner} * {self.pitch} + {name}_{row}')})"
        )

    def rows(self) -> None:
        """The offsets of the thread's rows, which stay the same for all slices."""
        space, operand = self.operand.space, self.operand
        count = self.rounds if operand.along_inner else self.beside
        step = self.lines if operand.along_inner else self.lanes * operand.vector
        last = f"{space.count} - {1 if operand.along_inner else operand.vector}"
        for number in range(count):
            place = f"{self.name}_{'slow' if operand.along_inner else 'fast'}"
            # What is beyond the last row is not stored; it is read where there is something.
            row = f"{self.name}_place_{number}"
            text = f"min({plus(self.first, place, number * step)}, {last})"
            self.text.line(f"{row} = np.{space.dtype}({text})")
            walk(self.text, space, row, {f"{self.name}_row_{number}": (operand.array, operand.dtype)})

    def load(self) -> None:
        """Load the slice that begins `ahead` inner indices behind `begin` into registers."""
        if self.idle:
            with self.text.block(f"if {self.name}_slow < {self.across}:"):
                self._load()
            with self.text.block("else:"):
                self._zeros(self._all())
        else:
            self._load()

    def _load(self) -> None:
        operand, name = self.operand, self.name
        place = f"{name}_{'fast' if operand.along_inner else 'slow'}"
        self.text.line(f"{name}_ahead = np.{self.plan.inner.dtype}(ahead + {place})")
        if operand.along_inner:
            self._of(0, [(n, self._names(n, 0)) for n in range(self.rounds)])
            return
        for turn in range(self.rounds):
            self._of(turn * self.lines, [(n, self._names(turn, n)) for n in range(self.beside)])

    def _of(self, further: int, loads: list[tuple[int, list[str]]]) -> None:
        """The loads that share an inner index: each is a row's number and the names to define."""
        text, plan = self.text, self.plan
        index = f"{self.name}_inner"
        if plan.ragged or self.listed is None:
            begin = "begin" if plan.splits > 1 else 0
            text.line(f"{index} = np.{plan.inner.dtype}({plus(begin, f'{self.name}_ahead', further)})")
        if plan.ragged:
            with text.block(f"if {index} < end:"):
                self._at(index, further, loads)
            with text.block("else:"):
                self._zeros([name for _, names in loads for name in names])
        else:
            self._at(index, further, loads)

    def _at(self, index: str, further: int, loads: list[tuple[int, list[str]]]) -> None:
        text, operand = self.text, self.operand
        step = f"{self.name}_step"
        if self.listed is None:
            walk(text, self.plan.inner, index, {step: (operand.array, operand.dtype)})
        else:
            place = f"np.uint32({self.name}_ahead)"
            text.line(f"({step},) = shared_load1(steps, {place}, {self.listed + further})")
        for row, names in loads:
            at = f"base_{self.name} + np.{operand.dtype}({self.name}_row_{row} + {step})"
            if len(names) == 1:
                text.line(f"{names[0]} = {self.name}[{at}]")
            else:
                text.line(f"{', '.join(names)} = load{len(names)}({self.name}, {at})")

    def _zeros(self, names: list[str]) -> None:
        for name in names:
            self.text.line(f"{name} = zero")

    def _names(self, turn: int, beside: int) -> list[str]:
        return [f"{self.name}_entry_{turn}_{beside}_{n}" for n in range(self.operand.vector)]

    def _all(self) -> list[str]:
        beside = 1 if self.operand.along_inner else self.beside
        return [name for turn in range(self.rounds) for n in range(beside) for name in self._names(turn, n)]

    def put(self, half: str) -> None:
        """Put what was loaded into a half of shared memory."""
        if self.idle:
            with self.text.block(f"if {self.name}_slow < {self.across}:"):
                self._put(half)
        else:
            self._put(half)

    def _put(self, half: str) -> None:
        vector, along = self.operand.vector, self.operand.along_inner
        place = f"{self.name}_to"
        self.text.line(f"{place} = np.uint32({plus(half, f'{self.name}_put')})")
        for turn in range(self.rounds):
            for beside in range(1 if along else self.beside):
                names = self._names(turn, beside)
                ahead = (
                    turn * self.lines
                    if along
                    else turn * self.lines * self.pitch + beside * self.lanes * vector
                )
                for n, name in enumerate(names):
                    at = ahead + n * (self.pitch if along else 1)
                    self.text.line(f"shared_store(shared, {place}, {at}, {name})")
