"""A function's Python path: takes what a call was given, runs checked arrays, hands on results in their form.

Every call can take it, and it alone tells errors, converts and copies; quick calls
(`symnet.compile.quick`) are those that have nothing of that to do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symnet.compile.request import In, OutputForm
from symnet.compile.shared import SharedVariable
from symnet.errors import InputTypeError
from symnet.graph.source import SourceLine
from symnet.graph.variable import Variable

_MISSING = object()


class Caller:
    """Calls a function's executor with checked arguments.

    Attributes
    ----------
    inputs
        The function's inputs.
    form
        How its results are handed back.
    executor
        What runs its graph.
    pace
        The seconds of a call in the latest loop of many (`symnet.compile.many`), the loop's start included.
    """

    def __init__(
        self,
        inputs: list[In],
        form: OutputForm,
        name: str | None,
        source: SourceLine | None,
        allow_downcast: bool | None,
        executor: Any,
    ) -> None:
        self.inputs = inputs
        self.form = form
        self.executor = executor
        self.pace = 1.0
        self._name = name
        self._source = source
        self._allow_downcast = allow_downcast
        self._positions = {each.name: i for i, each in enumerate(inputs) if each.name}
        self.dtypes = [each.variable.type.numpy_dtype for each in inputs]
        #: Where a Python int is the usual argument, such as a mini-batch's number: which ones are held.
        self.ranges = [
            range(np.iinfo(dtype).min, int(np.iinfo(dtype).max) + 1)
            if dtype.kind in "iu" and each.variable.ndim == 0 and not each.strict
            else range(0)
            for dtype, each in zip(self.dtypes, inputs, strict=True)
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, run, hand back the results."""
        values = [
            self.default(position) if value is _MISSING else self.convert(position, value)
            for position, value in enumerate(self.ordered(args, kwargs))
        ]
        return self.form.dress(self.executor.run(values))

    def ordered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """What was given for each input; `is_missing` tells where nothing was."""
        inputs = self.inputs
        if len(args) > len(inputs):
            raise InputTypeError(f"{self!s} takes {len(inputs)} arguments, got {len(args)}", self.described())
        given: list[Any] = list(args) + [_MISSING] * (len(inputs) - len(args))
        for key, value in kwargs.items():
            position = self._positions.get(key)
            if position is None:
                raise InputTypeError(f"{self!s} has no input named {key!r}", self.described())
            if given[position] is not _MISSING:
                raise InputTypeError(f"{self!s} got input {key!r} twice", self.described())
            given[position] = value
        return given

    @staticmethod
    def is_missing(value: Any) -> bool:
        """Whether nothing was given."""
        return value is _MISSING

    def convert(self, position: int, value: Any) -> np.ndarray[Any, Any]:
        """A value given for an input, as a contiguous array of the input's type."""
        spec = self.inputs[position]
        tensor_type = spec.variable.type
        if (
            type(value) is np.ndarray
            # Another byte order is another dtype.
            and value.dtype == self.dtypes[position]
            and value.ndim == len(tensor_type.shape)
            and value.flags.c_contiguous
            and value.flags.aligned
            and _fits(tensor_type.shape, value.shape)
        ):
            return value
        if type(value) is int and value in self.ranges[position]:
            return np.array(value, self.dtypes[position])
        try:
            array = tensor_type.filter(value, strict=spec.strict, allow_downcast=self.allows(position))
        except InputTypeError as error:
            raise type(error)(
                f"input {self.label(position)} of {self!s}: {error.asked}",
                [spec.variable, self._made()],
                hint=error.hint,
            ) from None
        return np.require(array, requirements=["C", "A"])

    def allows(self, position: int) -> bool | None:
        """Which conversions an input allows: `In`'s `allow_downcast`, or the function's."""
        spec = self.inputs[position]
        return spec.allow_downcast if spec.allow_downcast is not None else self._allow_downcast

    def default(self, position: int) -> np.ndarray[Any, Any]:
        """The value of an input that a call leaves out."""
        default = self.inputs[position].value
        if default is None:
            raise InputTypeError(f"{self!s} needs a value for input {self.label(position)}", self.described())
        value = default.container.read() if isinstance(default, SharedVariable) else default
        return self.convert(position, value)

    def label(self, position: int) -> str:
        """How errors call an input."""
        return self.inputs[position].name or f"number {position}"

    def described(self) -> list[Variable | str]:
        """The inputs, for an error that belongs to the line of the call."""
        return [*(spec.variable for spec in self.inputs), self._made()]

    def _made(self) -> str:
        source = self._source
        where = f"{source.file}:{source.line}" if source is not None else "a prompt"
        return f"{self!s} was made in {where}"

    def __str__(self) -> str:
        return f"function {self._name}" if self._name else "the function"


def _fits(expected: tuple[int | None, ...], given: tuple[int, ...]) -> bool:
    return all(length is None or have == length for length, have in zip(expected, given, strict=True))
