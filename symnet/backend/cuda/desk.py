"""The desk: takes a plan, hands on the piece of memory over which host and device tell each other things.

It lies on both sides, the same bytes at the same places: arguments; lengths; the words at `state` (status and
flags); slots; results. A run copies the part up to the flags' end to the device and the part
from the `state` words on back, one copy each way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.backend.cuda.device import Array, Device, Memory, Pointer
from symnet.backend.cuda.emit import FLAGS, SKIPPED, STATUS
from symnet.backend.cuda.runtime import Plan
from symnet.compile.memory import ITEM_BYTES, bytes_of
from symnet.compile.plan import STATUS_WORDS
from symnet.compile.program import ALIGNMENT, Buffer

_WORD = np.dtype(np.int64)
#: Stands in the first status word, where a failure's site would.
UNTOLD = -1


class Desk:
    """Where everything lies, and the host's side of it.

    Attributes
    ----------
    host
        The host's bytes.
    memory
        The device's.
    inward, outward
        Which bytes a run copies to the device, and which back: (start, stop).
    known
        The bytes of `outward` before the results.
    """

    def __init__(self, plan: Plan, arguments: int, device: Device) -> None:
        program, emitted = plan.program, plan.emitted
        used = {buffer for place in plan.places for buffer in place.buffers}
        self.offsets: dict[Buffer, int] = {}
        self._end = 0
        #: The arguments that kernels read, by position.
        self.arguments = {
            buffer.source: buffer
            for buffer in program.buffers
            if buffer.kind == "input" and buffer.source < arguments and buffer in used
        }
        for buffer in self.arguments.values():
            self._place(buffer)
        lengths = emitted.lengths
        self._place(lengths)
        self.state = self._end
        self.flags = self.state + _WORD.itemsize * FLAGS
        # One flag more tells, of many calls in a row, that one before failed.
        flags_end = self.flags + _WORD.itemsize * (len(emitted.flags) + 1)
        self.slots = self._end = -(-flags_end // ALIGNMENT) * ALIGNMENT
        self._end += -(-_WORD.itemsize * max(1, len(emitted.slots)) // ALIGNMENT) * ALIGNMENT
        self.known = self.state, self._end
        for buffer, _ in program.outputs:
            self._place(buffer)
        self.inward = 0, flags_end
        self.outward = self.state, self._end
        self.memory: Memory = device.allocate(self._end)
        self.host = device.allocate_host(self._end)
        self.lengths = self._words(self.offsets[lengths], lengths.capacity)
        self.status_words = self._words(self.state + _WORD.itemsize * STATUS, STATUS_WORDS)
        self.state_words = self._words(self.state, FLAGS + len(emitted.flags) + 1)
        self.flag_words = self._words(self.flags, len(emitted.flags))
        self.slot_words = self._words(self.slots, len(emitted.slots))
        self._entries = {buffer: self._view(buffer) for buffer in self.offsets}
        self.slots_pointer = Pointer(self.memory, self.slots, "int64", max(1, len(emitted.slots)))
        self.state_pointer = Pointer(self.memory, self.state, "int64", FLAGS + len(emitted.flags) + 1)

    def _place(self, buffer: Buffer) -> None:
        self.offsets[buffer] = self._end
        self._end += bytes_of(buffer)

    def _words(self, start: int, count: int) -> Array:
        return self.host[start : start + count * _WORD.itemsize].view(_WORD)

    def _view(self, buffer: Buffer) -> Array:
        start = self.offsets[buffer]
        return self.host[start : start + buffer.capacity * ITEM_BYTES[buffer.dtype]].view(buffer.dtype)

    def pointer(self, buffer: Buffer) -> Pointer:
        """Where a buffer's entries are on the device."""
        return Pointer(self.memory, self.offsets[buffer], buffer.dtype, max(1, buffer.capacity))

    def write(self, values: Sequence[Array], lengths: Sequence[int]) -> None:
        """Write arguments and lengths on the host's side, and that nothing failed."""
        for position, buffer in self.arguments.items():
            value = values[position].reshape(-1)
            # What has no room is refused by the program, which looks at the lengths first.
            self._entries[buffer][: value.size] = value[: buffer.capacity]
        if lengths:
            self.lengths[: len(lengths)] = lengths
        self.state_words[:] = 0
        self.status_words[0] = UNTOLD

    def result(self, buffer: Buffer, shape: tuple[int, ...]) -> Array:
        """A result's entries, as an array of its own."""
        count = math.prod(shape)
        found: Array = self._entries[buffer][:count].reshape(shape).copy()
        return found

    def failed(self) -> tuple[int, int] | None:
        """The number of the flag of the first failure and its code; None where nothing failed."""
        if not self.flag_words.any():
            return None
        for number, code in enumerate(self.flag_words.tolist()):
            if code not in (0, SKIPPED):
                return number, code
        raise AssertionError(f"works did not run, and none failed: {self.flag_words.tolist()}")

    def status(self) -> list[int]:
        """The status words."""
        found: list[Any] = self.status_words.tolist()
        return found
