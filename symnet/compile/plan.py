"""Plans of quick calls: takes a specialisation and how its function is called, hands on words to call by.

The launcher (`symnet.backend.cpu.launcher`) is one piece of machine code for all functions. What it checks
and what it fills in for one of them is written here, as int64 words; whatever it does not find as a plan
says, it leaves to the function's Python path, which tells errors, converts, copies and compiles.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from symnet.compile import nest
from symnet.compile.program import ContractionCall, KernelCall, Program

#: Words of a desk: what all the plans of one function have in common; the plans' addresses follow.
#: `SLOW` is what calls go to that fit no plan, `CONTENDED` those that must wait for others; `DEFAULTS` is
#: where the addresses of what stands for missing arguments are, 0 for those without a constant default.
RUNTIME, SLOW, CONTENDED, DEFAULTS, ARGUMENTS, PLANS, FIRST_PLAN = range(7)
MOST_PLANS = 32

#: Words of a plan; the names that end in _AT say at which word of it a list of records begins.
(
    ENTRY,
    LEASES,
    STATUS,
    SCALARS,
    EXTENTS,
    RESULTS,
    RELEASES,
    FORM,
    KEYS,
    ARGUMENTS_AT,
    CONTAINERS,
    CONTAINERS_AT,
    SHARED,
    SHARED_AT,
    OUTPUTS,
    OUTPUTS_AT,
    PLAN_WORDS,
) = range(17)

#: An array's record: its dtype, its word in the table or -1, its rank, its item's size; then for each axis
#: the length it must have or -1, and the length's word in the table or -1.
DTYPE, WORD, RANK, ITEM, AXES = range(5)
#: An argument's record begins with these, an array's record follows. A scalar may also come as its
#: dtype's NumPy scalar (`SCALAR_TYPE`, or 0) and as a Python number: an int from `LOWEST` to `HIGHEST`, or
#: a float (one that is rounded where `HIGHEST` is `ROUNDS`, or `ROUNDS_FOR_FLOATX` and the setting says so).
KIND, SCALAR_TYPE, LOWEST, HIGHEST, ARRAY = range(5)
ARRAYS_ALONE, INTEGER, DOUBLE, SINGLE = range(4)
EXACT, ROUNDS, ROUNDS_FOR_FLOATX = range(3)
#: A container's record: its words, whether the function updates it, its item's size.
CONTAINER, UPDATED, ITEM_BYTES, CONTAINER_RECORD = range(4)
#: An output's record: its dtype object, its word in the table, its rank, its axes: for each its length, or -1
#: less the word of the table that holds the length.
MOST_AXES = 64
DTYPE_OBJECT, OUTPUT_WORD, OUTPUT_RANK, OUTPUT_AXES = range(4)

#: How results are handed back.
ONE, LIST, DICT = range(3)

#: The word of a lease that links it to the next free one; its table begins behind.
NEXT = -1

STATUS_WORDS = 4

#: Work, in executed statements, above which a call lets other Python threads run meanwhile.
SHORT = 1000


class Words(np.ndarray[Any, np.dtype[np.int64]]):
    """int64 words and, as `kept`, the objects whose addresses stand in them."""

    kept: list[Any]

    @classmethod
    def of(cls, numbers: Sequence[int], kept: Sequence[Any]) -> Words:
        """Words of their own."""
        words = np.array(numbers, dtype=np.int64).view(cls)
        words.kept = list(kept)
        return words

    @property
    def address(self) -> int:
        """Where they are."""
        return int(self.ctypes.data)


def dtype_word(dtype: np.dtype[Any]) -> int:
    """What the launcher compares dtypes by: byte order and type number, as they stand in a dtype object."""
    return ctypes.c_int64.from_address(id(dtype) + 24).value & DTYPE_MASK


#: Kind, type character, byte order, (flags,) and type number: bytes 24 to 31 of a dtype object.
DTYPE_MASK = -(1 << 32) | 0x00FFFFFF


def is_short(program: Program) -> bool:
    """Whether a program is done so soon that handing the interpreter to another thread would cost more."""
    work = 0
    for call in program.calls:
        if isinstance(call, ContractionCall):
            return False
        assert isinstance(call, KernelCall)
        iterations = _iterations(call.kernel.body)
        if iterations is None:
            return False
        work += iterations
    return work <= SHORT


def _iterations(body: tuple[nest.Statement, ...]) -> int | None:
    """How many statements a body executes; None where that is not known."""
    total = 0
    for statement in body:
        repeated = 1
        if isinstance(statement, nest.For):
            if not isinstance(statement.extent, nest.Literal):
                return None
            repeated = int(statement.extent.value)
        total += 1
        for block in nest.blocks_of(statement):
            inner = _iterations(block)
            if inner is None:
                return None
            total += repeated * inner
    return total


# --- leases ----------------------------------------------------------------------------------------


def lease_words(table: int, arguments: int, outputs: int) -> int:
    """How many words a lease has, the link before its table included."""
    return results_word(table, arguments) + outputs + 1


def scalars_word(table: int) -> int:
    """The first word for the values of arguments that are Python numbers; behind the status words."""
    return table + STATUS_WORDS


def extents_word(table: int, arguments: int) -> int:
    """The first word for where arguments' arrays begin and end."""
    return scalars_word(table) + arguments


def results_word(table: int, arguments: int) -> int:
    """The first word for the results' addresses."""
    return extents_word(table, arguments) + 2 * arguments


class FreeLeases(Protocol):
    """The leases that no call uses, by address."""

    def take(self) -> int:
        """One of them; 0 when there is none."""

    def give(self, address: int) -> None:
        """Add one."""

    def is_empty(self) -> bool:
        """Whether there is none."""


class ListedLeases:
    """Free leases in a list."""

    def __init__(self) -> None:
        self._free: list[int] = []

    def take(self) -> int:
        """One of them; 0 when there is none."""
        try:
            return self._free.pop()
        except IndexError:
            return 0

    def give(self, address: int) -> None:
        """Add one."""
        self._free.append(address)

    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._free


class LinkedLeases:
    """Free leases in a chain of words, which the launcher takes them from and gives them back to."""

    def __init__(self, launcher: Any) -> None:
        self._launcher = launcher
        self._head = ctypes.c_int64(0)
        self.address = ctypes.addressof(self._head)

    def take(self) -> int:
        """One of them; 0 when there is none."""
        return int(self._launcher.take(self.address))

    def give(self, address: int) -> None:
        """Add one."""
        self._launcher.give(self.address, address)

    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._head.value
