"""Recording: takes the functions that are compiled while it is open, hands on what each one's calls took."""

from __future__ import annotations

import statistics
import time
from collections import deque
from types import TracebackType
from typing import Any

from symnet.compile.function import Function, watchers
from symnet.graph.source import SourceLine

#: Of how many of the latest calls the times are kept.
_KEPT = 10_000


class Record:
    """What is known of one function.

    Attributes
    ----------
    function
        The function.
    nodes
        How many nodes its graph had before it was rewritten.
    calls
        How often it was called.
    seconds
        What all calls but the first took together.
    first_seconds
        What the first call took, in which it was compiled; 0 before it.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        passes = function.rewriting.passes if function.rewriting is not None else []
        self.nodes = passes[0].nodes_before if passes else len(function.graph.toposort())
        self.calls = 0
        self.seconds = 0.0
        self.first_seconds = 0.0
        self._latest: deque[float] = deque(maxlen=_KEPT)

    def add(self, seconds: float) -> None:
        """Count a call."""
        self.calls += 1
        if self.calls == 1:
            self.first_seconds = seconds
            return
        self.seconds += seconds
        self._latest.append(seconds)

    @property
    def least(self) -> float:
        """The seconds of the quickest call; of the first where there is no other."""
        return min(self._latest, default=self.first_seconds)

    @property
    def median(self) -> float:
        """The median of the seconds of calls; of the first where there is no other."""
        return statistics.median(self._latest) if self._latest else self.first_seconds

    @property
    def line(self) -> str:
        """The user's line that made the function, as file:line."""
        source: SourceLine | None = self.function.source
        return f"{source.file}:{source.line}" if source is not None else "a prompt"


class Recording:
    """Notes the functions that any thread compiles while it is open, and times their calls.

    `profiled`: and their kernels, inside the generated code (`Record.function.profiled`).

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> with Recording() as recording:
    ...     f = symnet.function([x], x.sum(), name="total")
    ...     results = [float(f([1.0, 2.0])) for _ in range(3)]
    >>> [(each.function.name, each.calls) for each in recording.records]
    [('total', 3)]
    """

    def __init__(self, profiled: bool = False) -> None:
        self.records: list[Record] = []
        self._profiled = profiled

    def __enter__(self) -> Recording:
        watchers.append(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watchers.remove(self._note)

    def _note(self, function: Function) -> None:
        record = Record(function)
        self.records.append(record)
        if self._profiled:
            function.add_clocks()
        function.__class__ = _TimedFunction
        function.__dict__["_record"] = record


class _TimedFunction(Function):
    """A function whose calls are timed."""

    _record: Record

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self._record.add(time.perf_counter() - started)
