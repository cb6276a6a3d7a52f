"""Many calls in one loop: takes a function's Python path and what all the calls are given, hands on results.

The loop is the launcher's, in pieces short enough for an interrupt to be seen between them. A call that
needs more than the loop does (another specialisation, an error to tell) takes the Python path, and the loop
goes on behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from symnet.compile.caller import Caller
from symnet.compile.shared import SharedVariable
from symnet.errors import ArgumentError, InputTypeError, ShapeError, SymnetError, at_index
from symnet.graph.types import TensorType
from symnet.graph.variable import Variable

#: How long the loop runs before Python may handle an interrupt, in seconds.
_PIECE = 0.02
#: Calls in a piece at most, in the first one, and how many times as many the next one may have.
_MOST_CALLS, _MOST_AT_FIRST, _GROWTH = 1 << 16, 256, 4


def call_many(caller: Caller, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `Function.map` does."""
    given = caller.ordered(args, kwargs)
    columns: list[_Column] = []
    for position, value in enumerate(given):
        if caller.is_missing(value):
            columns.append(_Default(caller, position))
        else:
            columns.append(_column(caller, position, value))
    lengths = {each.length for each in columns if each.length is not None}
    if len(lengths) != 1:
        raise ArgumentError(
            f"map of {caller!s}: nothing says how many calls there are"
            if not lengths
            else f"map of {caller!s}: the arguments are for different numbers of calls",
            [each.description() for each in columns],
        )
    (count,) = lengths
    results = _Results(caller, count)
    number, calls = 0, min(_MOST_AT_FIRST, _piece(caller.pace))
    while number < count:
        started = time.perf_counter()
        done = _run_piece(caller, columns, results, number, min(count, number + calls))
        if not done:
            try:
                results.put(number, caller.executor.run([each.value(number) for each in columns]))
            except SymnetError as error:
                raise at_index(error, number) from error.__cause__
            number += 1
            continue
        number += done
        caller.pace = (time.perf_counter() - started) / done
        calls = min(_GROWTH * calls, _piece(caller.pace))
    return caller.form.dress(results.arrays())


def _piece(pace: float) -> int:
    """So many calls of so many seconds make a piece."""
    return max(1, min(_MOST_CALLS, int(_PIECE / pace)))


def _run_piece(caller: Caller, columns: list[_Column], results: _Results, first: int, last: int) -> int:
    """Run calls in the launcher's loop; how many were done, 0 where the next one is for the Python path."""
    if not hasattr(caller.executor, "run_many"):
        return 0
    parts = []
    for each in columns:
        part = each.part(first, last)
        if part is None:
            return 0
        last = min(last, part.last)
        parts.append(part)
    if not results.stacks and caller.form.count:
        kinds = caller.executor.kinds_of_results([each.first for each in parts])
        if kinds is None:
            return 0
        results.expect(kinds)
    return int(
        caller.executor.run_many(
            parts,
            [memory for each in parts for memory in each.memory],
            results.stacks,
            first,
            last,
        )
    )


# --- what the calls are given ----------------------------------------------------------------------


class _Part:
    """Values of one shape for consecutive calls.

    Attributes
    ----------
    first
        The first call's.
    addresses
        Where each call's value is.
    memory
        The arrays that the values lie in.
    last
        The number of the first call whose value is not among them.
    """

    def __init__(
        self,
        first: np.ndarray[Any, Any],
        addresses: np.ndarray[Any, Any],
        memory: list[np.ndarray[Any, Any]],
        last: int,
        stack: Callable[[], np.ndarray[Any, Any]],
    ) -> None:
        self.first = first
        self.addresses = addresses
        self.memory = memory
        self.last = last
        self._stack = stack

    def stacked(self, count: int) -> np.ndarray[Any, Any]:
        """The first `count` values along a new first axis."""
        return self._stack()[:count]


class _Column:
    """What the calls are given for one input: a value for each, as `length` says, or one for all."""

    length: int | None

    def __init__(self, caller: Caller, position: int) -> None:
        self.caller = caller
        self.position = position

    def description(self) -> str:
        """Whom it is for, and for how many calls it is."""
        name = self.caller.label(self.position)
        return f"input {name}: " + ("left out" if self.length is None else f"{self.length} calls")

    def value(self, number: int) -> np.ndarray[Any, Any]:
        """A call's value, checked as a call checks it."""
        raise NotImplementedError

    def part(self, first: int, last: int) -> _Part | None:
        """Values of consecutive calls; None where the first one is for the Python path."""
        raise NotImplementedError


class _Stack(_Column):
    """An array of all the values, of the input's dtype."""

    def __init__(self, caller: Caller, position: int, array: np.ndarray[Any, Any]) -> None:
        super().__init__(caller, position)
        self.array = array
        self.length = len(array)
        self.start = array.__array_interface__["data"][0]
        self.step = array.nbytes // max(1, self.length)

    def value(self, number: int) -> np.ndarray[Any, Any]:
        return self.array[number : number + 1].reshape(self.array.shape[1:])

    def part(self, first: int, last: int) -> _Part:
        addresses = self.start + np.arange(first, last, dtype=np.int64) * self.step
        return _Part(self.value(first), addresses, [self.array], last, lambda: self.array[first:last])


class _Values(_Column):
    """Values that are converted one by one, as calls would."""

    #: A piece converts no more of them at a time.
    most = 256

    def __init__(self, caller: Caller, position: int, values: Sequence[Any]) -> None:
        super().__init__(caller, position)
        self.values = values
        self.length = len(values)

    def value(self, number: int) -> np.ndarray[Any, Any]:
        return self.caller.convert(self.position, self.values[number])

    def part(self, first: int, last: int) -> _Part | None:
        found: list[np.ndarray[Any, Any]] = []
        for number in range(first, min(last, first + self.most)):
            try:
                value = self.value(number)
            except InputTypeError:
                # Told when it is that call's turn.
                break
            if found and value.shape != found[0].shape:
                break
            found.append(value)
        if not found:
            return None
        addresses = np.array([each.__array_interface__["data"][0] for each in found], dtype=np.int64)
        return _Part(found[0], addresses, found, first + len(found), lambda: np.stack(found))


class _Default(_Column):
    """The default of an input that is left out, which calls may update."""

    length = None

    def __init__(self, caller: Caller, position: int) -> None:
        super().__init__(caller, position)
        self.fixed = None
        if not isinstance(caller.inputs[position].value, SharedVariable):
            self.fixed = caller.default(position)

    def value(self, number: int) -> np.ndarray[Any, Any]:
        return self.caller.default(self.position) if self.fixed is None else self.fixed

    def part(self, first: int, last: int) -> _Part | None:
        if self.fixed is None:
            return None
        fixed, shape = self.fixed, (last - first, *self.fixed.shape)
        addresses = np.full(last - first, fixed.__array_interface__["data"][0], dtype=np.int64)
        return _Part(fixed, addresses, [fixed], last, lambda: np.broadcast_to(fixed, shape))


def _column(caller: Caller, position: int, values: Any) -> _Column:
    if isinstance(values, Variable) or (isinstance(values, np.ndarray) and values.ndim == 0):
        iterable = False
    else:
        iterable = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    if not iterable:
        shown = f"{type(values).__name__} {values!r:.60}"
        raise ArgumentError(
            f"map of {caller!s}: input {caller.label(position)} needs a sequence of values, one for each "
            f"call, got {shown}",
            caller.described(),
            hint="f.map(range(3)) calls f(0), f(1) and f(2)",
        )
    if not isinstance(values, np.ndarray | range):
        values = list(values)
    array = _stacked(caller, position, values)
    return _Values(caller, position, values) if array is None else _Stack(caller, position, array)


def _stacked(caller: Caller, position: int, values: Any) -> np.ndarray[Any, Any] | None:
    """All values as one array, where converting them together is sure to mean what one by one does."""
    dtype, spec = caller.dtypes[position], caller.inputs[position]
    tensor_type: TensorType = spec.variable.type
    if type(values) is np.ndarray and values.ndim == tensor_type.ndim + 1:
        known = all(n in (None, m) for n, m in zip(tensor_type.shape, values.shape[1:], strict=True))
        if not known or (spec.strict and tensor_type.ndim == 0):
            return None
        if values.dtype == dtype:
            return np.require(values, dtype=dtype, requirements=["C", "A"])
        if tensor_type.ndim == 0 and values.dtype.isnative and np.can_cast(values.dtype, dtype, "safe"):
            return values.astype(dtype)
        return None
    if tensor_type.ndim or spec.strict or isinstance(values, np.ndarray):
        return None
    held = caller.ranges[position]
    if isinstance(values, range):
        # All of a range lies between its ends.
        whole = not values or (values[0] in held and values[-1] in held)
        stop = values.start + len(values) * values.step
        if not (held and whole) or max(abs(values.start), abs(stop)) >= 2**62:
            return None
        return np.arange(values.start, stop, values.step).astype(dtype)
    if held and all(type(each) is int and each in held for each in values):
        return np.array(values, dtype=dtype)
    if dtype == np.float64 and all(type(each) is float for each in values):
        return np.array(values, dtype=dtype)
    return None


# --- what they give --------------------------------------------------------------------------------


class _Results:
    """The results of all calls, stacked as they come."""

    def __init__(self, caller: Caller, count: int) -> None:
        self.caller = caller
        self.count = count
        self.stacks: list[np.ndarray[Any, Any]] = []

    def expect(self, kinds: Sequence[tuple[tuple[int, ...], Any]]) -> None:
        """Results of these shapes and dtypes."""
        self.stacks = [np.empty((self.count, *shape), dtype=dtype) for shape, dtype in kinds]

    def put(self, number: int, results: Sequence[np.ndarray[Any, Any]]) -> None:
        """A call's results."""
        if number == 0 or not self.stacks:
            # What was expected of the first call may have been wrong.
            self.expect([(each.shape, each.dtype) for each in results])
        for position, (stack, result) in enumerate(zip(self.stacks, results, strict=True)):
            if result.shape != stack.shape[1:]:
                error = ShapeError(
                    f"result {position} has shape {result.shape}, that of the calls before {stack.shape[1:]}",
                    [self.caller.form.variables[position]],
                    hint="results of different shapes can't be stacked; call the function in a loop",
                )
                raise at_index(error, number)
            stack[number] = result

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """All results; of no call, arrays without entries."""
        if self.count:
            return self.stacks
        return [
            np.empty((0, *(length or 0 for length in each.type.shape)), dtype=each.dtype)
            for each in self.caller.form.variables
        ]
