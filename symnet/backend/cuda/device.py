"""What a device does, a GPU or a simulation: hands on the interface that both have, and `DeviceArray`.

`symnet.backend.cuda.driver` is a GPU by way of its driver, `symnet.backend.cuda.simulator` the same over
NumPy's memory. A graph is what runs: launches and copies in an order of their own, set up once, run often.

`symnet.backend.cuda.runtime.find_device` gives the one device of the process. A shared variable's container
keeps a `DeviceArray` beside its host array; versions say which is newer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from symnet.backend.cuda.machine import Machine

Array = np.ndarray[Any, Any]


class Memory(Protocol):
    """A piece of a device's memory, which is let go when nobody holds this object any more."""

    bytes: int

    @property
    def address(self) -> int:
        """Where it begins, for the device; aligned to 256 bytes."""


class Function(Protocol):
    """A kernel that is ready to be launched."""

    name: str


@dataclass(frozen=True)
class Pointer:
    """What a kernel is given for a buffer: `count` entries of `dtype`, `offset` bytes into memory."""

    memory: Memory
    offset: int
    dtype: str
    count: int


@dataclass(frozen=True)
class Launch:
    """A kernel on so many blocks. `after`: the numbers of the graph's earlier nodes that it waits for."""

    function: Function
    blocks: int
    pointers: tuple[Pointer, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Copy:
    """Bytes `start` to `stop` of memory from the same bytes of a host array, or to them.

    The host array is one of `Device.allocate_host`.
    """

    to_device: bool
    host: Array
    memory: Memory
    start: int
    stop: int
    after: tuple[int, ...]


Node = Launch | Copy


class Graph(Protocol):
    """Nodes that were set up to be run together. It keeps all memory and code alive that they use."""

    def launch(self) -> None:
        """Run all nodes, after those of the graphs launched before; does not wait for them."""


@dataclass(frozen=True)
class Code:
    """A kernel's code.

    Attributes
    ----------
    name, source
        Its name, and its text as `numba.cuda` takes it.
    threads
        Of each of its blocks.
    ptx, binary
        What it was compiled to, for people and for the GPU; nothing where it is simulated.
    registers, shared_bytes, spilled_bytes
        Of a thread, of a block, of a thread.
    """

    name: str
    source: str
    threads: int
    ptx: str = ""
    binary: bytes = b""
    registers: int = 0
    shared_bytes: int = 0
    spilled_bytes: int = 0


class Device(Protocol):
    """One GPU, or the simulation of one.

    Attributes
    ----------
    name
        As its maker calls it.
    machine
        What kernels are planned for.
    """

    name: str
    machine: Machine

    def allocate(self, count: int) -> Memory:
        """So many bytes, whatever is in them.

        Raises
        ------
        CudaError
            When there are not so many.
        """

    def allocate_host(self, count: int) -> Array:
        """So many zero bytes of the host's memory that a graph's copies can use (uint8)."""

    def free_bytes(self) -> int:
        """How many bytes nobody has."""

    def upload(self, memory: Memory, offset: int, array: Array) -> None:
        """Copy a contiguous array to `offset` bytes into memory, and wait for it."""

    def download(self, memory: Memory, offset: int, array: Array) -> None:
        """Fill a contiguous array from `offset` bytes into memory, when all that was launched is done."""

    def load(self, codes: Sequence[Code]) -> Sequence[Function]:
        """Make kernels ready.

        Raises
        ------
        CudaError
            When the driver refuses the code.
        """

    def graph(self, nodes: Sequence[Node]) -> Graph:
        """Set up nodes to be run together, again and again."""

    def time(self, nodes: Sequence[Node]) -> list[int]:
        """Run nodes one after another; the nanoseconds that each took by the device's clock."""

    def synchronize(self) -> None:
        """Wait until all that was launched is done.

        Raises
        ------
        CudaError
            When a kernel broke off, by reading memory that is not there for example.
        """


@dataclass
class Transfers:
    """Copies between host and device, counted: how many, and how many bytes, each way."""

    uploads: int = 0
    uploaded_bytes: int = 0
    downloads: int = 0
    downloaded_bytes: int = 0

    def count_upload(self, count: int) -> None:
        """One more copy to the device."""
        self.uploads += 1
        self.uploaded_bytes += count

    def count_download(self, count: int) -> None:
        """One more copy to the host."""
        self.downloads += 1
        self.downloaded_bytes += count


@dataclass(eq=False)
class DeviceArray:
    """An array in a device's memory, in C order.

    Attributes
    ----------
    device
        Whose memory it is.
    shape, dtype
        As NumPy has them.
    memory
        Where its entries are.
    version
        Free for its owner: which version of a value it holds.
    """

    device: Device
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    memory: Memory
    version: int = field(default=-1)

    @classmethod
    def empty(cls, device: Device, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """An array whose entries are whatever was in memory; CudaError where there is too little."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        return cls(device, tuple(shape), kind, device.allocate(max(1, count)))

    @property
    def nbytes(self) -> int:
        """The bytes of its entries."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def upload(self, array: Array, transfers: Transfers) -> None:
        """Take over the entries of an array of this shape and dtype."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError(
                f"an array of {array.dtype} and shape {array.shape} for one of {self.dtype} and shape "
                f"{self.shape} on the device"
            )
        if array.nbytes:
            self.device.upload(self.memory, 0, np.ascontiguousarray(array))
            transfers.count_upload(array.nbytes)

    def download(self, transfers: Transfers) -> Array:
        """The entries as an array of its own."""
        array: Array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            self.device.download(self.memory, 0, array)
            transfers.count_download(array.nbytes)
        return array


def amount(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
