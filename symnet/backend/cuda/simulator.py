"""A device that is simulated: takes what a GPU's driver takes, over NumPy's memory and Numba's simulator.

A kernel's threads are run by Python, block after block, so all sizes are small (`machine.SIMULATOR`).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from symnet.backend.cuda import toolkit
from symnet.backend.cuda.device import Array, Code, Copy, Graph, Launch, Memory, Node, Pointer
from symnet.backend.cuda.machine import SIMULATOR

#: As a GPU's memory begins at multiples of this.
_ALIGNMENT = 256
#: As much as the smallest GPU that could be meant.
_TOTAL_BYTES = 1 << 30


class SimulatedMemory:
    """Bytes that stand for a device's."""

    def __init__(self, count: int) -> None:
        self.bytes = count
        padded = np.empty(count + _ALIGNMENT, dtype=np.uint8)
        start = -padded.__array_interface__["data"][0] % _ALIGNMENT
        #: Poisoned, so that whoever reads what nobody wrote sees it: NaN as float, far off as an index.
        self.data: Array = padded[start : start + count]
        self.data[:] = 0xFF

    @property
    def address(self) -> int:
        """Where the bytes are on the host."""
        return int(self.data.__array_interface__["data"][0])

    def view(self, pointer: Pointer) -> Array:
        """Entries of a dtype; bools as uint8, as kernels see them."""
        dtype = np.dtype("uint8" if pointer.dtype == "bool" else pointer.dtype)
        stop = pointer.offset + pointer.count * dtype.itemsize
        if stop > self.bytes:
            raise ValueError(f"bytes {pointer.offset} to {stop} of memory of {self.bytes} bytes")
        return self.data[pointer.offset : stop].view(dtype)


class SimulatedFunction:
    """A kernel that can be run."""

    def __init__(self, code: Code) -> None:
        self.name = code.name
        self.threads = code.threads
        self.run: Callable[..., None] = toolkit.simulate(code.source, code.name)


class SimulatedGraph:
    """Nodes that are run in their order."""

    def __init__(self, nodes: Sequence[Node], lock: Any) -> None:
        self._lock = lock
        self._nodes = [_action(node) for node in nodes]
        for number, node in enumerate(nodes):
            if any(each >= number for each in node.after):
                raise ValueError(f"node {number} waits for {node.after}, which do not come before it")

    def launch(self) -> None:
        """Run the nodes."""
        with self._lock:
            for run in self._nodes:
                run()


class SimulatedDevice:
    """`symnet.backend.cuda.device.Device`, without one."""

    name = "numba.cuda's simulator"
    machine = SIMULATOR

    def __init__(self) -> None:
        #: The simulator runs one kernel at a time in a process.
        self._lock = threading.RLock()

    def allocate(self, count: int) -> Memory:
        """Bytes with a pattern that is no sensible number."""
        return SimulatedMemory(count)

    def allocate_host(self, count: int) -> Array:
        """Zero bytes."""
        return np.zeros(count, dtype=np.uint8)

    def free_bytes(self) -> int:
        """A number that tests can count on."""
        return _TOTAL_BYTES

    def upload(self, memory: Any, offset: int, array: Array) -> None:
        """Copy an array's bytes into memory."""
        memory.data[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)

    def download(self, memory: Any, offset: int, array: Array) -> None:
        """Copy bytes of memory into an array."""
        array.reshape(-1).view(np.uint8)[:] = memory.data[offset : offset + array.nbytes]

    def load(self, codes: Sequence[Code]) -> list[SimulatedFunction]:
        """Kernels from their text."""
        return [SimulatedFunction(code) for code in codes]

    def graph(self, nodes: Sequence[Node]) -> Graph:
        """Nodes to be run in their order, which is one of those that their dependencies allow."""
        return SimulatedGraph(nodes, self._lock)

    def time(self, nodes: Sequence[Node]) -> list[int]:
        """Run nodes; the host's nanoseconds for each."""
        found = []
        for node in nodes:
            started = time.perf_counter_ns()
            SimulatedGraph([_without_waits(node)], self._lock).launch()
            found.append(time.perf_counter_ns() - started)
        return found

    def synchronize(self) -> None:
        """Nothing is under way."""


def _without_waits(node: Node) -> Node:
    return replace(node, after=())


def _action(node: Node) -> Callable[[], None]:
    if isinstance(node, Launch):
        function: Any = node.function
        arrays = [pointer.memory.view(pointer) for pointer in node.pointers]  # type: ignore[attr-defined]
        return functools.partial(function.run, node.blocks, function.threads, *arrays)
    assert isinstance(node, Copy)
    memory: Any = node.memory
    host, device = node.host[node.start : node.stop], memory.data[node.start : node.stop]
    return functools.partial(np.copyto, device, host) if node.to_device else functools.partial(
        np.copyto, host, device
    )
