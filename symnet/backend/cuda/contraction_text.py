"""Takes indices with extents and strides, numbers or names of sizes; hands on statements that compute places.

Arithmetic is in 32 bits where every value that can come up fits, which follows from the sizes' capacities.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from symnet.compile.contraction import Dimension

#: Values below this are kept in 32 bits.
NARROW = 2**31
#: The largest capacity: that of a size of which nothing is known.
UNKNOWN = 2**63 - 1


class Text:
    """Lines of Python, and names that are not taken yet."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self._counts: dict[str, int] = {}

    def line(self, text: str) -> None:
        """One statement at the present depth."""
        self.lines.append("    " * self.depth + text)

    @contextlib.contextmanager
    def block(self, head: str) -> Iterator[None]:
        """The statements under `head`, which ends in a colon."""
        self.line(head)
        self.depth += 1
        yield
        self.depth -= 1

    def fresh(self, stem: str) -> str:
        """A new name that begins with `stem`."""
        number = self._counts[stem] = self._counts.get(stem, -1) + 1
        return f"{stem}_{number}"


def dtype_below(bound: int) -> str:
    """The dtype for whole numbers from 0 up to, without, `bound`."""
    return "int32" if bound < NARROW else "int64"


def quotient(dividend: str, divisor: int | str) -> str:
    """The whole quotient of numbers that are not negative, as an expression of the dividend's dtype."""
    return dividend if divisor == 1 else f"quotient({dividend}, {divisor})"


def shifted(number: str, power: int) -> str:
    """The whole quotient by a power of two, as an expression."""
    assert power & (power - 1) == 0
    return number if power == 1 else f"({number} >> {power.bit_length() - 1})"


def masked(number: str, power: int) -> str:
    """What a division by a power of two leaves, as an expression."""
    assert power & (power - 1) == 0
    return "0" if power == 1 else f"({number} & {power - 1})"


def plus(*terms: int | str) -> str:
    """A sum as an expression, without the zeros."""
    kept = [str(term) for term in terms if term not in (0, "0")]
    return " + ".join(kept) if kept else "0"


def times(left: int | str, right: int | str) -> int | str:
    """A product, as a number or an expression; each text binds as tightly as a name does."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if left == 0 or right == 0:
        return 0
    if left == 1:
        return right
    if right == 1:
        return left
    return f"{left} * {right}"


@dataclass(frozen=True)
class Space:
    """Several indices as one: outermost first, the last one fastest.

    `capacities` are the most that each extent can be.
    """

    dimensions: tuple[Dimension, ...]
    capacities: tuple[int, ...]

    @property
    def most(self) -> int:
        """The largest count that there can be."""
        return math.prod(self.capacities)

    @property
    def dtype(self) -> str:
        """The dtype of numbers in this space, the count itself and one tile more included."""
        return dtype_below(self.most + 4096)

    @property
    def known(self) -> int | None:
        """The count, where it is known."""
        extents = [each.extent for each in self.dimensions if isinstance(each.extent, int)]
        return math.prod(extents) if len(extents) == len(self.dimensions) else None

    @property
    def count(self) -> str:
        """The count as an expression."""
        if self.known is not None:
            return str(self.known)
        return f"np.{self.dtype}({' * '.join(str(each.extent) for each in self.dimensions)})"

    def strides(self, array: int) -> tuple[int | str, ...]:
        """The strides in A (0), B (1), C (2) or one of the epilogue's arrays."""
        return tuple(each.strides[array] for each in self.dimensions)

    def linear(self, array: int) -> int | str | None:
        """The one stride that all steps of the space have in an array; None where there is none."""
        strides = self.strides(array)
        if all(stride == 0 for stride in strides):
            return 0
        for outer, stride, inner in zip(strides[:-1], strides[1:], self.dimensions[1:], strict=True):
            if not (isinstance(stride, int) and isinstance(inner.extent, int)):
                return None
            if outer != stride * inner.extent:
                return None
        return strides[-1]

    def side_by_side(self, array: int, count: int) -> bool:
        """Whether groups of so many neighbours are apart by the last dimension's stride."""
        if not self.dimensions or self.linear(array) is not None:
            return True
        extent = self.dimensions[-1].extent
        return isinstance(extent, int) and extent % count == 0


def walk(
    text: Text,
    space: Space,
    number: str,
    targets: Mapping[str, tuple[int, str]],
    base: Mapping[str, str] | None = None,
) -> None:
    """Statements that make offsets of the index `number` of a space.

    Parameters
    ----------
    targets
        For each name to define the array whose strides count, and the dtype of the offset.
    base
        What to add, for some of the names.
    """
    base = base or {}
    terms: dict[str, list[int | str]] = {name: [base.get(name, 0)] for name in targets}
    linear = {name: space.linear(array) for name, (array, _) in targets.items()}
    for name, stride in linear.items():
        if stride is not None:
            terms[name].append(_step(number, stride, targets[name][1]))
    open_names = [name for name, stride in linear.items() if stride is None]
    if open_names:
        _decode(text, space, number, open_names, targets, terms)
    for name, (_, dtype) in targets.items():
        text.line(f"{name} = np.{dtype}({plus(*terms[name])})")


def _decode(
    text: Text,
    space: Space,
    number: str,
    names: Sequence[str],
    targets: Mapping[str, tuple[int, str]],
    terms: dict[str, list[int | str]],
) -> None:
    """Take the index apart, innermost first; outer indices that step nowhere are left out."""
    moving = [
        position
        for position in range(len(space.dimensions))
        if any(space.strides(targets[name][0])[position] != 0 for name in names)
    ]
    rest = number
    for position in range(len(space.dimensions) - 1, moving[0] - 1, -1):
        dimension = space.dimensions[position]
        if position == 0:
            index = rest
        else:
            above = text.fresh("above")
            text.line(f"{above} = {quotient(rest, dimension.extent)}")
            index = text.fresh("index")
            if position in moving:
                text.line(f"{index} = np.{space.dtype}({rest} - {above} * {dimension.extent})")
            rest = above
        for name in names:
            array, dtype = targets[name]
            stride = dimension.strides[array]
            if stride != 0:
                terms[name].append(_step(index, stride, dtype))


def _step(index: str, stride: int | str, dtype: str) -> int | str:
    """An index times a stride, in 64 bits where the offset is."""
    if stride == 0:
        return 0
    return times(f"np.int64({index})" if dtype == "int64" else index, stride)
