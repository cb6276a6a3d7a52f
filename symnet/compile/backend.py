"""What the call asks of a backend: takes a planned program, hands on a specialisation that runs it.

The executor (`symnet.compile.call`) chooses and makes specialisations, locks and publishes; where arrays
lie, what is copied and how code is called is the backend's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from symnet.compile.container import Container
from symnet.compile.host import HostCalls
from symnet.compile.kernel import Kernel
from symnet.compile.program import Program, Table
from symnet.compile.shared import SharedVariable
from symnet.compile.target import Target

#: How a run ends: well; a check failed (the status words are its site and values); a guard failed, so that
#: another specialisation serves; a size is above its capacity; Python raised when it was called back.
DONE, FAILED, GUARD_FAILED, TOO_LARGE, HOST_FAILED = range(5)

#: For each input the lengths that a specialisation is made for; -1 stands for any.
Pattern = tuple[tuple[int, ...], ...]
Array = np.ndarray[Any, Any]
Outcome = tuple[int, list[int], list[Array]]


class Column(Protocol):
    """What consecutive calls of many are given for one argument: values of one shape.

    Attributes
    ----------
    first
        The first call's.
    addresses
        Where each call's value is.
    """

    first: Array
    addresses: Array

    def stacked(self, count: int) -> Array:
        """Those of the first `count` calls, along a new first axis."""


class Specialisation(Protocol):
    """A program for certain shapes, ready to run.

    Attributes
    ----------
    program
        What it runs.
    pattern
        The shapes that it is made for.
    can_be_quick
        Whether what a call gives and replaces is known before it runs, and no Python is in it.
    table
        The words that slots have in a failed run's status.
    host
        What calls Python; it has the error of a run that ended with `HOST_FAILED`.
    calls, told
        How often it was called by the Python path; whether quick calls were told of it.
    """

    program: Program
    table: Table
    host: HostCalls
    pattern: Pattern
    can_be_quick: bool
    calls: int
    told: bool

    @property
    def kernels(self) -> list[Kernel]:
        """Its kernels, in the order in which they first run."""

    @property
    def report(self) -> dict[str, Any]:
        """How its code came about: "cache" is "hit", "miss" or "off"."""

    def run(self, values: Sequence[Array], shared: Sequence[Any]) -> Outcome:
        """Run it for arguments and what `Backend.hold` made of its shared variables' containers.

        Gives a code, four status words, and the results where the code is `DONE`. New values of shared
        variables are in place then; where it is another code, no shared variable was touched.
        """

    def run_many(
        self,
        columns: Sequence[Column],
        shared: Sequence[Any],
        results: Sequence[Array],
        first: int,
        last: int,
    ) -> int:
        """Run calls number `first` to `last`; how many were `DONE` before one that was not.

        `results` have rows for all calls, of which it writes its own.
        """

    def result_shapes(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The shapes of the results for inputs of such shapes, where it can be quick."""

    def sizes(self) -> Any:
        """A function from a slot's name to the value that the latest run found."""

    def clocks(self) -> list[int]:
        """What a profiled one added up: its calls, its nanoseconds, and those of each kernel call."""

    def have_lease(self) -> None:
        """See to it that quick calls find what they need to run it."""


class Backend(Protocol):
    """A kind of machine that programs run on.

    Attributes
    ----------
    target
        What programs are lowered for.
    """

    target: Target

    def make(
        self,
        program: Program,
        pattern: Pattern,
        arguments: int,
        shared: Sequence[SharedVariable],
        profiled: bool,
    ) -> Specialisation:
        """A specialisation that runs a program that was planned; its inputs are so many arguments, then
        shared variables. `profiled`: with clocks."""

    def launcher(self) -> Any:
        """What makes calls quick (`symnet.backend.cpu.launcher`); None where nothing does."""

    def facts(
        self, specialisations: Sequence[Specialisation], containers: Sequence[Container]
    ) -> dict[str, Any]:
        """What else a function's report tells of its specialisations and shared variables."""

    def hold(self, container: Container, updated: bool) -> Any:
        """A container's value as runs take it; its lock is held from here to the end of the run.

        `updated`: the run puts a new value in its place, whether or not an interrupt lets anyone note that.
        """

    def count_updates(self, container: Container, count: int) -> None:
        """Note that runs have put a container's new value in place, so many times."""
