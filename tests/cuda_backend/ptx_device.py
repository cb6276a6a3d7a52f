"""A device that runs PTX in NumPy: takes what a GPU's driver takes, with a GPU's threads, warps and grids.

`install()` makes it the device of the process, which must not simulate kernels: what functions on "cuda" run
then is the code that a GPU would get. Slow, so for small sizes; and strict (`ptx_machine`), also about
graphs: two nodes that need not wait for each other may not touch the same word, one of them writing.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.backend.cuda.device import Code, Copy, Launch, Node
from symnet.backend.cuda.machine import H100, Machine

from . import ptx_machine
from .ptx_text import Module, read


class PtxMemory:
    """Bytes of the device's memory."""

    def __init__(self, memory: ptx_machine.Memory, count: int) -> None:
        self.bytes = count
        self.address = memory.allocate(count)
        weakref.finalize(self, memory.free, self.address, count)


class PtxFunction:
    """A kernel that can be run."""

    def __init__(self, code: Code, memory: ptx_machine.Memory, known: dict[str, Module]) -> None:
        assert code.ptx is not None, "kernels are simulated in this process"
        self.name, self.threads = code.name, code.threads
        if code.ptx not in known:
            known[code.ptx] = read(code.ptx)
        self.machine = ptx_machine.Machine(known[code.ptx], memory)
        self.source = code.source

    def launch(self, node: Launch) -> None:
        """Run it on its grid."""
        pieces = []
        for pointer in node.pointers:
            size = pointer.count * np.dtype(pointer.dtype).itemsize
            assert pointer.offset + size <= pointer.memory.bytes, (self.name, pointer)
            pieces.append((pointer.memory.address + pointer.offset, size))
        assert 0 < node.blocks < 2**31, (self.name, node.blocks)
        try:
            self.machine.launch(self.name, node.blocks, self.threads, pieces)
        except Exception as error:
            error.add_note(self.source)
            raise


class PtxGraph:
    """Nodes in an order that their dependencies allow: not the one given, where there are others."""

    def __init__(self, nodes: Sequence[Node], device: PtxDevice) -> None:
        self.nodes, self.device = list(nodes), device
        self.before: list[set[int]] = []
        for node in nodes:
            known = set(node.after)
            for each in node.after:
                known |= self.before[each]
            self.before.append(known)
        ranks = [max((0, *(1 + self._rank(each) for each in node.after))) for node in nodes]
        self.order = sorted(range(len(nodes)), key=lambda number: (ranks[number], -number))

    def _rank(self, number: int) -> int:
        return max((0, *(1 + self._rank(each) for each in self.nodes[number].after)))

    def launch(self) -> None:
        """Run all nodes."""
        touched: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for number in self.order:
            node = self.nodes[number]
            touched[number] = self._run(node)
            reads, writes = touched[number]
            for other, (read_there, written_there) in touched.items():
                if other == number or other in self.before[number] or number in self.before[other]:
                    continue
                for mine, its in ((writes, written_there), (writes, read_there), (reads, written_there)):
                    if np.intersect1d(mine, its, assume_unique=True).size:
                        raise ptx_machine.DeviceError(
                            f"{_named(node)} and {_named(self.nodes[other])} touch the same memory, and "
                            "neither waits for the other"
                        )

    def _run(self, node: Node) -> tuple[np.ndarray, np.ndarray]:
        memory = self.device.memory
        if isinstance(node, Launch):
            function: Any = node.function
            function.launch(node)
            self.device.launches += 1
            return memory.touched()
        assert isinstance(node, Copy)
        start = node.memory.address - memory.base
        there = memory.bytes[start + node.start : start + node.stop]
        here = node.host[node.start : node.stop]
        words = np.arange((start + node.start) // 4, -(-(start + node.stop) // 4))
        none = np.empty(0, np.int64)
        if node.to_device:
            there[:] = here
            return none, words
        here[:] = there
        return words, none


def _named(node: Node) -> str:
    return node.function.name if isinstance(node, Launch) else f"a copy of bytes {node.start} to {node.stop}"


class PtxDevice:
    """`symnet.backend.cuda.device.Device`, in NumPy."""

    name = "PTX in NumPy"

    def __init__(self, machine: Machine = H100) -> None:
        self.machine = machine
        self.memory = ptx_machine.Memory()
        #: How many kernels ran.
        self.launches = 0
        self._modules: dict[str, Module] = {}

    def allocate(self, count: int) -> PtxMemory:
        return PtxMemory(self.memory, count)

    def allocate_host(self, count: int) -> np.ndarray:
        return np.zeros(count, np.uint8)

    def free_bytes(self) -> int:
        return 1 << 32

    def upload(self, memory: Any, offset: int, array: np.ndarray) -> None:
        self.memory.write(memory.address + offset, array)

    def download(self, memory: Any, offset: int, array: np.ndarray) -> None:
        array[...] = self.memory.array(memory.address + offset, array)

    def load(self, codes: Sequence[Code]) -> list[PtxFunction]:
        return [PtxFunction(code, self.memory, self._modules) for code in codes]

    def graph(self, nodes: Sequence[Node]) -> PtxGraph:
        return PtxGraph(nodes, self)

    def time(self, nodes: Sequence[Node]) -> list[int]:
        found = []
        for node in nodes:
            started = time.perf_counter_ns()
            PtxGraph([node], self)._run(node)
            found.append(time.perf_counter_ns() - started)
        return found

    def synchronize(self) -> None:
        """Nothing is under way."""


def install(machine: Machine = H100) -> PtxDevice:
    """Make a new one the device of this process."""
    from symnet.backend.cuda import backend, runtime

    class Available:
        simulated = False

        @staticmethod
        def require() -> None:
            """It is there."""

    device = PtxDevice(machine)
    runtime._devices[:] = [device]
    backend.availability = Available
    return device
