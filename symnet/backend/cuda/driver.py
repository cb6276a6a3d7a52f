"""A GPU by way of NVIDIA's driver: takes memory to copy, code and graphs, through the package cuda-bindings.

Whatever the driver refuses becomes a `CudaError` that says what was asked and what to do. All work goes to
one stream, so it is done in the order in which it was given.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.backend.cuda.availability import LEAST_COMPUTE
from symnet.backend.cuda.device import Array, Code, Copy, Launch, Node, amount
from symnet.backend.cuda.machine import Machine
from symnet.errors import CudaError

_INSTALL = "pip install symnet[cuda] installs it"
#: What to do about what the driver says, by its name of it.
_HINTS = {
    "CUDA_ERROR_NO_DEVICE": "nvidia-smi lists the GPUs; CUDA_VISIBLE_DEVICES may hide them",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "the driver and its kernel module have different versions: restart",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process has the GPU for itself alone",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": "a newer driver reads it",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "a newer driver loads it",
    "CUDA_ERROR_INVALID_IMAGE": "a newer driver loads it",
    "CUDA_ERROR_OUT_OF_MEMORY": 'smaller mini-batches take less; device="cpu" uses the host\'s memory',
    "CUDA_ERROR_NOT_INITIALIZED": "a process that uses the GPU can't be forked: start others by spawning",
}
#: After these the driver refuses everything else that the process asks.
_FATAL = (
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_LAUNCH_TIMEOUT",
    "CUDA_ERROR_ASSERT",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_ECC_UNCORRECTABLE",
)


def _bindings() -> Any:
    """The module of the driver's functions."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise CudaError(
            f"the GPU's driver is called by the package cuda-bindings, which can't be imported: {error}",
            hint=_INSTALL,
        ) from None
    return driver


class DriverMemory:
    """Bytes of a GPU's memory (`symnet.backend.cuda.device.Memory`)."""

    def __init__(self, device: DriverDevice, count: int) -> None:
        self.bytes = count
        self.handle = device.call(f"{amount(count)} of memory", "cuMemAlloc", count)
        self.address = int(self.handle)
        # The process's end frees all memory anyhow, when the driver may be gone already.
        weakref.finalize(self, device.let_go, "cuMemFree", self.handle).atexit = False


class _PinnedMemory:
    """Bytes of the host's memory that the GPU copies by itself, for NumPy."""

    def __init__(self, device: DriverDevice, count: int) -> None:
        self.address = int(device.call(f"{amount(count)} of pinned memory", "cuMemAllocHost", count))
        self.__array_interface__ = {
            "version": 3,
            "shape": (count,),
            "typestr": "|u1",
            "data": (self.address, False),
        }
        weakref.finalize(self, device.let_go, "cuMemFreeHost", self.address).atexit = False


class DriverFunction:
    """A kernel in a GPU's memory (`symnet.backend.cuda.device.Function`)."""

    def __init__(self, device: DriverDevice, code: Code) -> None:
        self.name, self.threads = code.name, code.threads
        asked = f"kernel {code.name}"
        self._module = device.call(asked, "cuModuleLoadData", code.binary)
        weakref.finalize(self, device.let_go, "cuModuleUnload", self._module).atexit = False
        self.handle = device.call(asked, "cuModuleGetFunction", self._module, code.name.encode())


class DriverGraph:
    """Nodes that the GPU runs by itself once they are launched (`symnet.backend.cuda.device.Graph`)."""

    def __init__(self, device: DriverDevice, nodes: Sequence[Node]) -> None:
        self._device = device
        #: Memory, pinned memory and code that the graph's nodes point at.
        self._kept = list(nodes)
        graph = device.call("a graph", "cuGraphCreate", 0)
        try:
            made: list[Any] = []
            for node in nodes:
                after = [made[each] for each in node.after]
                made.append(self._add(graph, node, after))
            self._executable = device.call("a graph", "cuGraphInstantiate", graph, 0)
        finally:
            device.call("a graph", "cuGraphDestroy", graph)
        weakref.finalize(self, device.let_go, "cuGraphExecDestroy", self._executable).atexit = False
        device.call("a graph", "cuGraphUpload", self._executable, device.stream)

    def _add(self, graph: Any, node: Node, after: list[Any]) -> Any:
        device, driver = self._device, self._device.driver
        if isinstance(node, Launch):
            function: Any = node.function
            given = driver.CUDA_KERNEL_NODE_PARAMS()
            given.func = function.handle
            given.gridDimX, given.gridDimY, given.gridDimZ = node.blocks, 1, 1
            given.blockDimX, given.blockDimY, given.blockDimZ = function.threads, 1, 1
            given.sharedMemBytes = 0
            given.kernelParams = _parameters(node)
            asked = f"kernel {function.name} on {node.blocks} blocks in a graph"
            return device.call(asked, "cuGraphAddKernelNode", graph, after, len(after), given)
        given = driver.CUDA_MEMCPY3D()
        host, memory = driver.CUmemorytype.CU_MEMORYTYPE_HOST, driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        host_address, address = _ends(node)
        if node.to_device:
            given.srcMemoryType, given.srcHost = host, host_address
            given.dstMemoryType, given.dstDevice = memory, driver.CUdeviceptr(address)
        else:
            given.srcMemoryType, given.srcDevice = memory, driver.CUdeviceptr(address)
            given.dstMemoryType, given.dstHost = host, host_address
        given.WidthInBytes, given.Height, given.Depth = node.stop - node.start, 1, 1
        asked = f"a copy of {amount(node.stop - node.start)} in a graph"
        return device.call(
            asked, "cuGraphAddMemcpyNode", graph, after, len(after), given, device.context
        )

    def launch(self) -> None:
        """Give the graph to the GPU."""
        self._device.call("a graph's launch", "cuGraphLaunch", self._executable, self._device.stream)


class DriverDevice:
    """One GPU (`symnet.backend.cuda.device.Device`).

    Parameters
    ----------
    number
        Which of those that the driver lists.
    driver
        The module of the driver's functions; that of cuda-bindings unless given.

    Raises
    ------
    CudaError
        When the package, the driver or a GPU is missing, or the GPU is too old.
    """

    def __init__(self, number: int = 0, driver: Any = None) -> None:
        self.driver = driver or _bindings()
        self._process = os.getpid()
        self.context: Any = None
        try:
            self.call("the driver's start", "cuInit", 0)
        except RuntimeError as error:
            if isinstance(error, CudaError):
                raise
            # What cuda-bindings raises where the driver's library can't be loaded.
            raise CudaError(
                f"NVIDIA's driver is not installed or can't be loaded: {error}",
                hint='nvidia-smi runs where it is; device="cpu" needs none',
            ) from None
        count = int(self.call("the number of GPUs", "cuDeviceGetCount"))
        if number >= count:
            raise CudaError(
                f"GPU number {number} is asked for; the driver finds {count}",
                hint=_HINTS["CUDA_ERROR_NO_DEVICE"],
            )
        handle = self.call(f"GPU number {number}", "cuDeviceGet", number)
        name: bytes = self.call("the GPU's name", "cuDeviceGetName", 256, handle)
        self.name = name.partition(b"\0")[0].decode()
        kinds = self.driver.CUdevice_attribute

        def attribute(name: str) -> int:
            kind = getattr(kinds, f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(self.call("what the GPU is like", "cuDeviceGetAttribute", kind, handle))

        compute = attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")
        if compute < LEAST_COMPUTE:
            raise CudaError(
                f"{self.name} has compute capability {compute[0]}.{compute[1]}; code is made for "
                f"{LEAST_COMPUTE[0]}.{LEAST_COMPUTE[1]} and above"
            )
        self.machine = Machine(compute, attribute("MULTIPROCESSOR_COUNT"))
        self.context = self.call(f"{self.name}'s context", "cuDevicePrimaryCtxRetain", handle)
        # Not the stream that everybody shares: others' work there would wait for ours, and ours for theirs.
        self.stream = self.call(
            "a stream", "cuStreamCreate", int(self.driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        )

    # --- calling -------------------------------------------------------------------------------

    def call(self, asked: str, name: str, *given: Any) -> Any:
        """Call a function of the driver with this device's context: its result, or `CudaError`.

        `asked` is what for, as errors say it.
        """
        if os.getpid() != self._process:
            raise CudaError(
                f"{asked}: the GPU was set up by another process, of which this one is a fork",
                hint=_HINTS["CUDA_ERROR_NOT_INITIALIZED"],
            )
        driver = self.driver
        if self.context is not None:
            # This thread may be new, or somebody else may have set another context.
            (code,) = driver.cuCtxSetCurrent(self.context)
            if code != driver.CUresult.CUDA_SUCCESS:
                raise self._error(asked, "cuCtxSetCurrent", code)
        code, *results = getattr(driver, name)(*given)
        if code != driver.CUresult.CUDA_SUCCESS:
            raise self._error(asked, name, code)
        return results[0] if len(results) == 1 else results

    def let_go(self, name: str, handle: Any) -> None:
        """Free something that nobody holds any more; what the driver says to that changes nothing."""
        if os.getpid() == self._process:
            self.driver.cuCtxSetCurrent(self.context)
            getattr(self.driver, name)(handle)

    def _error(self, asked: str, name: str, code: Any) -> CudaError:
        driver = self.driver
        kind = getattr(code, "name", str(code))
        _, text = driver.cuGetErrorString(code)
        said = text.decode() if isinstance(text, bytes) else kind
        where = getattr(self, "name", "the GPU")
        if kind in _FATAL:
            return CudaError(
                f"{asked} on {where}: a kernel broke off ({said}, {kind}); this process can't use the GPU "
                "any more"
            )
        more = ""
        if kind == "CUDA_ERROR_OUT_OF_MEMORY" and self.context is not None:
            result, free, total = driver.cuMemGetInfo()
            if result == driver.CUresult.CUDA_SUCCESS:
                more = f"; {amount(int(free))} of {amount(int(total))} are left"
        return CudaError(f"{asked} on {where}: {said} ({kind} of {name}){more}", hint=_HINTS.get(kind))

    # --- memory --------------------------------------------------------------------------------

    def allocate(self, count: int) -> DriverMemory:
        """So many bytes, whatever is in them."""
        return DriverMemory(self, count)

    def allocate_host(self, count: int) -> Array:
        """So many zero bytes of pinned memory, which goes with the last array that shows it."""
        array: Array = np.asarray(_PinnedMemory(self, count))
        array[:] = 0
        return array

    def free_bytes(self) -> int:
        """How many bytes nobody has."""
        free, _ = self.call("the free memory", "cuMemGetInfo")
        return int(free)

    def upload(self, memory: Any, offset: int, array: Array) -> None:
        """Copy a contiguous array to `offset` bytes into memory, and wait for it."""
        if not array.flags.c_contiguous:
            raise ValueError("only contiguous arrays can be copied to a GPU")
        if array.nbytes == 0:
            return
        source = array.__array_interface__["data"][0]
        target = self.driver.CUdeviceptr(memory.address + offset)
        asked = f"a copy of {amount(array.nbytes)} to the GPU"
        self.call(asked, "cuMemcpyHtoDAsync", target, source, array.nbytes, self.stream)
        self.call(asked, "cuStreamSynchronize", self.stream)

    def download(self, memory: Any, offset: int, array: Array) -> None:
        """Fill a contiguous array from `offset` bytes into memory, when all that was launched is done."""
        if not array.flags.c_contiguous:
            raise ValueError("only contiguous arrays can be filled from a GPU")
        if array.nbytes == 0:
            return
        target = array.__array_interface__["data"][0]
        source = self.driver.CUdeviceptr(memory.address + offset)
        asked = f"a copy of {amount(array.nbytes)} from the GPU"
        self.call(asked, "cuMemcpyDtoHAsync", target, source, array.nbytes, self.stream)
        self.call(asked, "cuStreamSynchronize", self.stream)

    # --- running -------------------------------------------------------------------------------

    def load(self, codes: Sequence[Code]) -> list[DriverFunction]:
        """Kernels from their machine code."""
        return [DriverFunction(self, code) for code in codes]

    def graph(self, nodes: Sequence[Node]) -> DriverGraph:
        """Nodes set up to be run together."""
        return DriverGraph(self, nodes)

    def time(self, nodes: Sequence[Node]) -> list[int]:
        """Run nodes one after another; the nanoseconds that each took, by events around it."""
        events: list[Any] = []
        try:
            for _ in range(len(nodes) + 1):
                events.append(self.call("an event", "cuEventCreate", 0))
            self.call("an event", "cuEventRecord", events[0], self.stream)
            for node, event in zip(nodes, events[1:], strict=True):
                self._run(node)
                self.call("an event", "cuEventRecord", event, self.stream)
            self.synchronize()
            return [
                round(1e6 * self.call("a time", "cuEventElapsedTime", before, after))
                for before, after in zip(events, events[1:], strict=False)
            ]
        finally:
            for event in events:
                self.let_go("cuEventDestroy", event)

    def _run(self, node: Node) -> None:
        """Give one node to the stream."""
        if isinstance(node, Launch):
            function: Any = node.function
            self.call(
                *(f"kernel {function.name} on {node.blocks} blocks", "cuLaunchKernel", function.handle),
                *(node.blocks, 1, 1, function.threads, 1, 1, 0),
                *(self.stream, _parameters(node), 0),
            )
            return
        host, address = _ends(node)
        memory, count = self.driver.CUdeviceptr(address), node.stop - node.start
        asked = f"a copy of {amount(count)}"
        if node.to_device:
            self.call(asked, "cuMemcpyHtoDAsync", memory, host, count, self.stream)
        else:
            self.call(asked, "cuMemcpyDtoHAsync", host, memory, count, self.stream)

    def synchronize(self) -> None:
        """Wait until all that was launched is done; other Python threads run meanwhile."""
        self.call("what was launched", "cuStreamSynchronize", self.stream)


def _parameters(node: Launch) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """A kernel's parameters as cuda-bindings takes them: addresses, and what they are."""
    addresses = tuple(pointer.memory.address + pointer.offset for pointer in node.pointers)
    return addresses, (ctypes.c_void_p,) * len(addresses)


def _ends(copy: Copy) -> tuple[int, int]:
    """Where a copy begins on the host and on the device."""
    host = copy.host.__array_interface__["data"][0]
    return host + copy.start, copy.memory.address + copy.start
