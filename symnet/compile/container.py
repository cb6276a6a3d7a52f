"""Containers: take a shared variable's value, hand it on as a host array or as an array on a device.

Copies are made when somebody asks for the value where it is not yet, once for each version of it. A
container is read and written under its lock, so no one ever sees a value half-written.
"""

from __future__ import annotations

import itertools
import math
from array import array as words_of
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from symnet.compile.locks import ARRAY_OBJECT, LENT, VERSION, ContainerLock

_order = itertools.count()
#: Stands for the array while the value is on a device alone: of a dtype that no quick call takes, so that
#: calls take their Python path, which asks the container.
_ELSEWHERE = np.zeros((), dtype="V1")


class DeviceArray(Protocol):
    """A value in a device's memory.

    Attributes
    ----------
    device
        Whose memory it is.
    shape, dtype
        As NumPy has them.
    version
        Which version of the container's value it is.
    """

    device: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    version: int

    def upload(self, array: np.ndarray[Any, Any], transfers: Any) -> None:
        """Take over an array's entries; `transfers` counts it."""

    def download(self, transfers: Any) -> np.ndarray[Any, Any]:
        """The entries as an array of its own; `transfers` counts it."""


class Container:
    """The owner of a shared variable's value.

    Attributes
    ----------
    array
        The value: C-contiguous, aligned, in the layout of the user's axes. It is brought to the host first
        where a device has a newer one, and must not be written to but by who then counts a new version.
    shape
        The lengths of the value's axes, wherever it is.
    layout
        The order in which the axes are stored: "C".
    lent
        Whether others may hold the array: then an argument of a function may be the value itself.
    version
        How often the value was replaced or updated.
    order
        A number by which locks of several containers are taken, always ascending.
    transfers
        What counts its copies from and to a device; None before the first.
    """

    __slots__ = ("_array", "_held", "layout", "lock", "order", "transfers", "words")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        #: What the launcher of quick calls reads and writes (`symnet.compile.locks` names the words).
        self.words = words_of("q", [0] * 5)
        self.transfers: Any = None
        self._held: DeviceArray | None = None
        self.array = np.require(array, requirements=["C", "A", "W"])
        self.layout = "C"
        self.lock = ContainerLock(self.words)
        self.order = next(_order)

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The value, on the host."""
        if self._array is _ELSEWHERE:
            with self.lock:
                if self._array is _ELSEWHERE:
                    assert self._held is not None
                    self.array = self._held.download(self.transfers)
        return self._array

    @array.setter
    def array(self, array: np.ndarray[Any, Any]) -> None:
        self.words[ARRAY_OBJECT] = id(array)
        self._array: np.ndarray[Any, Any] = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """The value for NumPy."""
        return np.array(self.array, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the value's axes."""
        held = self._held if self._array is _ELSEWHERE else None
        return self._array.shape if held is None else held.shape

    @property
    def nbytes(self) -> int:
        """The bytes of the value's entries, wherever it is."""
        held = self._held if self._array is _ELSEWHERE else None
        return self._array.nbytes if held is None else math.prod(held.shape) * held.dtype.itemsize

    @property
    def device(self) -> str:
        """Where the newest value is: "cpu", or "cuda" while it is there alone."""
        return "cuda" if self._array is _ELSEWHERE else "cpu"

    @property
    def lent(self) -> bool:
        """Whether others may hold the array."""
        return bool(self.words[LENT])

    @lent.setter
    def lent(self, lent: bool) -> None:
        self.words[LENT] = lent

    @property
    def version(self) -> int:
        """How often the value was replaced or updated."""
        return self.words[VERSION]

    @version.setter
    def version(self, version: int) -> None:
        self.words[VERSION] = version

    def read(self) -> np.ndarray[Any, Any]:
        """A copy of the value."""
        with self.lock:
            if self._array is _ELSEWHERE and self._held is not None:
                # What comes from the device is a copy already.
                return self._held.download(self.transfers)
            return self.array.copy()

    def borrow(self) -> np.ndarray[Any, Any]:
        """The value's own array where it is the host's alone; a copy where a device has it."""
        with self.lock:
            if self._is_on_device():
                return self.read()
            self.lent = True
            return self.array

    def replace(self, array: np.ndarray[Any, Any]) -> None:
        """Another array as the value, taken over as it is when it is contiguous and writable."""
        with self.lock:
            self.array = np.require(array, requirements=["C", "A", "W"])
            self.version += 1

    def zero(self) -> None:
        """Zeros as the value, in the array itself where it is on the host."""
        with self.lock:
            held = self._held
            if self._array is _ELSEWHERE and held is not None:
                self.array = np.zeros(held.shape, held.dtype)
            else:
                self.array[...] = 0
            self.version += 1

    # --- on a device ---------------------------------------------------------------------------

    def _is_on_device(self) -> bool:
        return self._held is not None and self._held.version == self.version

    def has_room_on(self, device: Any) -> bool:
        """Whether there is memory for the value on a device already."""
        held = self._held
        return held is not None and held.device is device and held.shape == self.shape

    def on(
        self, device: Any, make: Callable[[Sequence[int], Any], DeviceArray], transfers: Callable[[], Any]
    ) -> DeviceArray:
        """The value in a device's memory, brought there if it is not; the caller has the lock.

        The memory stays the same from call to call while the value's shape does. An array that others may
        hold stops being the value then: what they write to it would be seen here or there, as it happens.

        Parameters
        ----------
        make
            Makes an array of a shape and dtype on the device, with any entries.
        transfers
            Makes what counts copies.
        """
        held = self._held
        if held is not None and held.device is device and held.version == self.words[VERSION]:
            return held
        array = self.array
        if self.transfers is None:
            self.transfers = transfers()
        if held is None or held.device is not device or held.shape != array.shape:
            # The old memory is free before the new one is asked for.
            self._held = held = None
            held = make(array.shape, array.dtype)
        held.upload(array, self.transfers)
        held.version = self.version
        self._held = held
        if self.lent:
            self.lent = False
            self.leave_host()
        return held

    def leave_host(self) -> None:
        """Let the device's array be the value alone; the caller has the lock, and the value is there.

        It is called before the device's array is updated: an interrupt may come before anybody notes that it
        was.
        """
        self.array = _ELSEWHERE

    def count_updates_on_device(self, count: int) -> None:
        """Note that the device's array was updated so many times, since `leave_host`; the caller has the
        lock."""
        assert self._held is not None and self._array is _ELSEWHERE
        self.version += count
        self._held.version = self.version

    # --- pickling ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            return {"array": self.array, "version": self.version}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["array"])  # type: ignore[misc]
        self.version = state["version"]
