"""Takes numbers, and what is to become of each sum: what a contraction of two strided arrays is.
Hands on `Contraction`, the same in its shortest terms, and the offsets of indices set side by side.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from symnet.compile import library, nest

#: Names in an epilogue: the sum, and what C held before.
PRODUCT, OLD = "product", "old"

#: Bytes of one element of the dtypes that contractions work on.
_ELEMENT_BYTES = {"float32": 4, "float64": 8}


def element_bytes(dtype: str) -> int:
    """Bytes of one element; ValueError for anything but "float32" and "float64"."""
    if dtype not in _ELEMENT_BYTES:
        raise ValueError(f"contractions work on float32 and float64; asked for {dtype!r}")
    return _ELEMENT_BYTES[dtype]


@dataclass(frozen=True)
class Dimension:
    """One index of a contraction: how far it runs, and its stride in A, B and C, in elements.

    A stride is 0 where the index does not appear; c == 0 means that the index is summed over. `others`
    are the strides in the arrays that the epilogue reads. Extents and strides are numbers, or names of
    int64 parameters known at run time.
    """

    name: str
    extent: int | str
    a: int | str
    b: int | str
    c: int | str
    others: tuple[int | str, ...] = ()

    @property
    def strides(self) -> tuple[int | str, ...]:
        """The strides in A, B, C and the epilogue's arrays."""
        return (self.a, self.b, self.c, *self.others)


@dataclass(frozen=True)
class Epilogue:
    """What a contraction stores in place of each sum: elementwise, in the nest's scalar dialect.

    `value` is made of the names that `statements` give, of `PRODUCT` (the sum), of `OLD` (what C held),
    and of x0, x1 … (the element of each further array); `dtypes` are those arrays' dtypes. `stores` are
    values for further arrays, by their numbers; those arrays are of C's dtype, and step as C does or as
    parts of larger ones do.
    """

    dtypes: tuple[str, ...]
    statements: tuple[nest.Let, ...]
    value: nest.Expression
    stores: tuple[tuple[int, nest.Expression], ...] = ()

    @property
    def values(self) -> tuple[nest.Expression, ...]:
        """What is stored: in C, then in further arrays."""
        return (self.value, *(value for _, value in self.stores))

    @property
    def reads_target(self) -> bool:
        """Whether the value depends on what C held."""
        expressions = (*(each.value for each in self.statements), *self.values)
        return any(
            isinstance(part, nest.Name) and part.name == OLD
            for expression in expressions
            for part in nest.walk_expression(expression)
        )


@dataclass(frozen=True)
class Contraction:
    """C[sum i*c] = (or += with `accumulate`) the sum over indices with c == 0 of A[..] * B[..].

    With an `epilogue`, C becomes what that makes of the sum (which may be of what C was: there is no
    `accumulate` then).

    >>> product = Contraction("float32", (
    ...     Dimension("row", 10, 100, 0, 30),
    ...     Dimension("column", 30, 0, 1, 1),
    ...     Dimension("inner", 100, 1, 30, 0)))
    >>> product.multiply_adds({})
    30000
    """

    dtype: str
    dimensions: tuple[Dimension, ...]
    accumulate: bool = False
    epilogue: Epilogue | None = None

    def __post_init__(self) -> None:
        element_bytes(self.dtype)
        if self.accumulate and self.epilogue is not None:
            raise ValueError("a contraction with an epilogue adds to nothing")
        if any(len(dimension.others) != self.others for dimension in self.dimensions):
            raise ValueError(f"each dimension has a stride for each of the epilogue's {self.others} arrays")
        names = [dimension.name for dimension in self.dimensions]
        if len(set(names)) != len(names):
            raise ValueError(f"each dimension of a contraction has its own name; got {names}")
        for dimension in self.dimensions:
            if isinstance(dimension.extent, int) and dimension.extent < 0:
                raise ValueError(
                    f"dimension {dimension.name!r} of a contraction has extent {dimension.extent}"
                )

    @property
    def others(self) -> int:
        """How many arrays the epilogue reads beside C."""
        return 0 if self.epilogue is None else len(self.epilogue.dtypes)

    @property
    def parameters(self) -> list[str]:
        """Names of the run-time parameters, sorted: the order in which the kernel takes them."""
        values = (value for dimension in self.dimensions for value in (dimension.extent, *dimension.strides))
        return sorted({value for value in values if isinstance(value, str)})

    def multiply_adds(self, parameters: dict[str, int]) -> int:
        """Multiply-adds of one call, given the values of the run-time parameters."""
        return math.prod(
            parameters[d.extent] if isinstance(d.extent, str) else d.extent for d in self.dimensions
        )


def normalise(contraction: Contraction) -> tuple[tuple[Dimension, ...], tuple[int, ...]]:
    """Drop dimensions of extent 1, turn round those that run backwards, join those that can be one.

    Returns the dimensions left and what to add to the pointers A, B, C and the epilogue's first.
    """
    offsets = [0] * (3 + contraction.others)
    kept: list[Dimension] = []
    for dimension in contraction.dimensions:
        a, b, c, extent = dimension.a, dimension.b, dimension.c, dimension.extent
        if extent == 1:
            continue
        if all(isinstance(value, int) for value in (*dimension.strides, extent)):
            backwards = c < 0 or (c == 0 and a <= 0 and b <= 0)  # type: ignore[operator]
            if backwards and extent:
                for position, stride in enumerate(dimension.strides):
                    offsets[position] += (extent - 1) * stride  # type: ignore[operator]
                a, b, c, *others = (-stride for stride in dimension.strides)  # type: ignore[operator]
                dimension = replace(dimension, a=a, b=b, c=c, others=tuple(others))
        kept.append(dimension)
    joined = True
    while joined:
        joined = False
        for outer, inner in itertools.permutations(kept, 2):
            if _are_one(outer, inner):
                place = kept.index(outer)
                kept[place] = replace(
                    inner,
                    name=f"{outer.name}.{inner.name}",
                    extent=outer.extent * inner.extent,  # type: ignore[operator]
                )
                kept.remove(inner)
                joined = True
                break
    return tuple(kept), tuple(offsets)


def _are_one(outer: Dimension, inner: Dimension) -> bool:
    """Whether the indices (outer, inner) walk memory as one index of the product extent would."""
    if not isinstance(outer.extent, int) or not isinstance(inner.extent, int):
        return False
    return all(
        isinstance(far, int) and isinstance(near, int) and far == near * inner.extent
        for far, near in zip(outer.strides, inner.strides, strict=True)
    )


def lane_offsets(blocks: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, ...]]:
    """Offsets of every index combination of nested blocks, the first block fastest.

    Each block is (how many indices, strides in the arrays asked about).
    """
    lanes: list[tuple[int, ...]] = [()]
    for position, (size, strides) in enumerate(blocks):
        if position == 0:
            lanes = [tuple(i * stride for stride in strides) for i in range(size)]
        else:
            lanes = [
                tuple(near + i * stride for near, stride in zip(lane, strides, strict=True))
                for i in range(size)
                for lane in lanes
            ]
    return lanes


def runs(offsets: Sequence[int]) -> list[tuple[int, int, int]]:
    """Lanes that lie side by side in memory, as (first lane, its offset, how many).

    >>> runs([0, 1, 2, 8, 9, 20])
    [(0, 0, 3), (3, 8, 2), (5, 20, 1)]
    """
    found: list[tuple[int, int, int]] = []
    for lane, offset in enumerate(offsets):
        if found and offset == found[-1][1] + found[-1][2]:
            first, start, length = found[-1]
            found[-1] = (first, start, length + 1)
        else:
            found.append((lane, offset, 1))
    return found


# --- what an epilogue may be made of -----------------------------------------------------------------

_COMPARISONS = frozenset("eq ne lt le gt ge".split())
_BITWISE = frozenset("bitwise_and bitwise_or bitwise_xor".split())
_OF_FLOATS = _COMPARISONS | frozenset(
    "add sub mul div neg abs sign minimum maximum fma sqrt floor ceil trunc rint round_half_away "
    "copysign isnan bits_of".split()
)
_OF_INTEGERS = _COMPARISONS | _BITWISE | frozenset("add sub mul shift_left shift_right from_bits".split())
_OF_BOOLS = _COMPARISONS | _BITWISE | {"bitwise_not"}


def fits_epilogue(expression: nest.Expression) -> bool:
    """Whether every part of an expression is what a contraction can compute in its store."""
    match expression:
        case nest.Load():
            return False
        case nest.Cast(dtype=dtype, value=value):
            to_integer = dtype in nest.INTEGERS and value.dtype in nest.FLOATS
            return not to_integer and fits_epilogue(value)
        case nest.Select(condition=condition, then=then, otherwise=otherwise):
            return all(map(fits_epilogue, (condition, then, otherwise)))
        case nest.Call(function=function, arguments=arguments):
            return all(map(fits_epilogue, arguments)) and _has_function(function, arguments)
    return True


def _has_function(function: str, arguments: Sequence[nest.Expression]) -> bool:
    dtype = arguments[0].dtype
    made = library.find(function, dtype)
    if made is not None:
        return all(
            isinstance(statement, nest.Let | nest.Declare | nest.Assign) and fits_epilogue(statement.value)
            for statement in made.body
        ) and fits_epilogue(made.result)
    if function in ("shift_left", "shift_right"):
        count = arguments[1]
        bits = int(dtype.removeprefix("u")[3:])
        if not isinstance(count, nest.Literal) or not 0 <= count.value < bits:
            return False
    kinds = _OF_FLOATS if dtype in nest.FLOATS else _OF_BOOLS if dtype == nest.BOOL else _OF_INTEGERS
    return function in kinds
