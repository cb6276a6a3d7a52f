"""Calls back into Python: takes a Program's host steps, hands on the address of one C function for them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.compile.program import HostStep, View

_CALL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64))


class HostCalls:
    """What compiled code calls for a program's host steps, on the thread of the function's caller.

    `address` is that of `int32 call(int64 number, int64* layout)`, 0 where there are no steps; it returns
    1 when the step raised, and `take_error` then hands on what.
    """

    def __init__(self, steps: Sequence[HostStep]) -> None:
        self._steps = tuple(steps)
        self._errors: dict[int, BaseException] = {}
        self._function = _CALL(self._run)
        self.address = (ctypes.cast(self._function, ctypes.c_void_p).value or 0) if steps else 0

    def take_error(self) -> BaseException:
        """What the step that ended this thread's run raised."""
        return self._errors.pop(threading.get_ident())

    def _run(self, number: int, layout: Any) -> int:
        try:
            step = self._steps[number]
            place, arrays = 0, []
            for view in step.views:
                count = 2 * len(view.shape)
                arrays.append(_array(view, layout[place], layout[place + 1 : place + 1 + count]))
                place += 1 + count
            step.action(arrays)
        except BaseException as error:
            self._errors[threading.get_ident()] = error
            return 1
        return 0


def _array(view: View, address: int, sizes: Sequence[int]) -> np.ndarray[Any, Any]:
    """The entries of a view, read where they lie."""
    dtype = np.dtype(view.buffer.dtype)
    shape, strides = tuple(sizes[: len(view.shape)]), sizes[len(view.shape) :]
    if 0 in shape:
        return np.zeros(shape, dtype)
    # An entry may lie before the first one: strides may be negative.
    reach = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    before = -sum(each for each in reach if each < 0)
    count = before + sum(each for each in reach if each > 0) + 1
    start = address - before * dtype.itemsize
    memory = memoryview((ctypes.c_char * (count * dtype.itemsize)).from_address(start))
    array: np.ndarray[Any, Any] = np.ndarray(
        shape, dtype, memory, before * dtype.itemsize, [stride * dtype.itemsize for stride in strides]
    )
    array.flags.writeable = False
    return array
