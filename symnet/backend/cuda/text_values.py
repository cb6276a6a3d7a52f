"""What the expressions of a kernel's text are, in LLVM: numbers with their dtypes, memory, and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from symnet.compile import nest

TYPES = {
    "bool": ir.IntType(1),
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    **{f"{sign}int{width}": ir.IntType(width) for sign in ("", "u") for width in (8, 16, 32, 64)},
}
FLOATS, INTEGERS = frozenset(nest.FLOATS), frozenset(nest.INTEGERS)
# llvmlite fills its table of characters when it first writes a name, while threads beside that may read it.
str(ir.MetaDataString(ir.Module(), ""))


@dataclass(frozen=True)
class Value:
    """A number of a dtype, or where one is kept."""

    dtype: str
    code: Any

    @property
    def stands(self) -> bool:
        """Whether it is an integer that stands in the text."""
        return self.dtype == "int64" and isinstance(self.code, ir.Constant)


@dataclass(frozen=True)
class Memory:
    """What is indexed: a parameter's entries, or a shared array's."""

    dtype: str
    first: Any

    @property
    def size(self) -> int:
        """Bytes of an entry."""
        return int(self.dtype.strip("uintfloa")) // 8


#: What an expression gives: several numbers are what `load4` and the like hand on.
Given = Value | tuple[Value, ...] | Memory


def told(given: Given) -> str:
    """What an expression gives, in words."""
    if isinstance(given, tuple):
        dtypes = " and ".join(dict.fromkeys(each.dtype for each in given))
        return f"{len(given)} numbers" + (f" of {dtypes}" if dtypes else "")
    return f"memory of {given.dtype}" if isinstance(given, Memory) else given.dtype


def wide(values: Sequence[Value]) -> str:
    """The dtype in which integers meet."""
    return "int64" if any(each.dtype.startswith("int") for each in values) else "uint64"


def natural(*values: Value) -> bool:
    """Whether those that could be negative stand in the text and are not."""
    return all(each.stands and each.code.constant >= 0 for each in values if each.dtype.startswith("int"))


def cast(builder: Any, value: Value, dtype: str) -> Value:
    """A number in another dtype, as NumPy casts it."""
    return value if value.dtype == dtype else Value(dtype, _cast(builder, value, dtype))


def _cast(builder: Any, value: Value, dtype: str) -> Any:
    given, wanted, code = value.dtype, TYPES[dtype], value.code
    if dtype == "bool":
        compare = builder.fcmp_unordered if given in FLOATS else builder.icmp_unsigned
        return compare("!=", code, code.type(0))
    if isinstance(code, ir.Constant) and given in INTEGERS and dtype in INTEGERS:
        return wanted(_wrapped(code.constant, dtype))
    if given in FLOATS and dtype in FLOATS:
        return (builder.fpext if dtype == "float64" else builder.fptrunc)(code, wanted)
    if given in FLOATS:
        return (builder.fptosi if dtype.startswith("int") else builder.fptoui)(code, wanted)
    if dtype in FLOATS:
        return (builder.sitofp if given.startswith("int") else builder.uitofp)(code, wanted)
    if code.type.width > wanted.width:
        return builder.trunc(code, wanted)
    if code.type.width == wanted.width:
        return code
    return (builder.sext if given.startswith("int") else builder.zext)(code, wanted)


def _wrapped(number: int, dtype: str) -> int:
    width = TYPES[dtype].width
    number &= (1 << width) - 1
    return number - (1 << width) if dtype.startswith("int") and number >> (width - 1) else number


@dataclass
class Sure:
    """Which names surely have a value at a place in a text.

    `when` has, by the name of a condition, those that have one if it holds.
    """

    names: set[str] = field(default_factory=set)
    when: dict[str, set[str]] = field(default_factory=dict)

    def give(self, name: str) -> None:
        """A name gets a value, from which something else follows than from the one before."""
        self.names.add(name)
        self.when.pop(name, None)

    def where(self, condition: str | None) -> Sure:
        """What is sure where the condition of a name holds."""
        names, when = set(self.names), dict(self.when)
        if condition is not None:
            names |= when.setdefault(condition, set())
        return Sure(names, when)

    def elsewhere(self, condition: str | None, there: Sure) -> Sure:
        """What is sure where it does not hold; `there` is what became of where it does."""
        names, when = set(self.names), dict(self.when)
        # Unless it got another value there.
        if condition is not None and condition in there.when:
            there.when[condition] = when[condition] = there.names
        return Sure(names, when)

    @staticmethod
    def met(ways: Sequence[Sure]) -> Sure:
        """What is sure where ways meet."""
        first, *others = ways
        names = first.names.intersection(*(each.names for each in others))
        when = {
            name: given.intersection(*(each.when[name] for each in others))
            for name, given in first.when.items()
            if all(name in each.when for each in others)
        }
        return Sure(names, when)
