"""A stand-in for `cuda.bindings.driver`: takes the calls that the real module takes, over the host's memory.

Its structures and enumerations are the package's own, so that a field which does not exist, or a value of
the wrong type, is refused as it would be. It holds everybody to what the driver's documentation says: handles
that were made and not yet destroyed, memory that is allocated, copies within one allocation, a context before
all else. Kernels are not run; `launched` tells which were, with what they were given.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from cuda.bindings import driver as real

CUresult = real.CUresult
SUCCESS = CUresult.CUDA_SUCCESS
#: The functions that return something beside the code, and how much.
RESULTS = dict.fromkeys(
    (
        *("cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"),
        *("cuDevicePrimaryCtxRetain", "cuGetErrorString", "cuMemAlloc", "cuMemAllocHost"),
        *("cuModuleLoadData", "cuModuleGetFunction", "cuStreamCreate", "cuEventCreate"),
        *("cuEventElapsedTime", "cuGraphCreate", "cuGraphAddKernelNode", "cuGraphAddMemcpyNode"),
        "cuGraphInstantiate",
    ),
    1,
) | {"cuMemGetInfo": 2}


class Handle:
    """Something that the driver made."""

    def __init__(self, kind: str, **about: Any) -> None:
        self.kind, self.about, self.alive = kind, about, True


class FakeDriver:
    """The functions of the driver that are called. `fail` makes one of them return an error next time."""

    CUDA_KERNEL_NODE_PARAMS = real.CUDA_KERNEL_NODE_PARAMS
    CUDA_MEMCPY3D = real.CUDA_MEMCPY3D
    CUdeviceptr = real.CUdeviceptr
    CUmemorytype = real.CUmemorytype
    CUresult = real.CUresult
    CUdevice_attribute = real.CUdevice_attribute
    CUstream_flags = real.CUstream_flags

    def __init__(self, gpus: int = 1, compute: tuple[int, int] = (9, 0), total: int = 1 << 24) -> None:
        self.gpus, self.compute, self.total = gpus, compute, total
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.failures: dict[str, Any] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.launched: list[tuple[str, tuple[int, ...], tuple[int, ...], list[int]]] = []
        self.context: Any = None
        self.started = False
        self.pending: list[Any] = []
        self.clock = 0.0
        self.functions: dict[int, Handle] = {}
        #: How many parameters a kernel has, by name.
        self.parameters: dict[str, int] = {}

    def fail(self, name: str, code: str) -> None:
        """Let a function return an error when it is called next."""
        self.failures[name] = getattr(CUresult, code)

    def names(self) -> list[str]:
        """The functions that were called, in order, without those that only set the context."""
        return [name for name, _ in self.calls if name != "cuCtxSetCurrent"]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            raise AttributeError(name)
        assert hasattr(real, name), f"the driver has no function {name}"
        found = getattr(type(self), f"_{name}", None)
        if found is None:
            raise AssertionError(f"{name} was called")

        def call(*given: Any) -> Any:
            assert self.started or name in ("cuInit", "cuGetErrorString"), f"{name} before cuInit"
            self.calls.append((name, given))
            code = self.failures.pop(name, None)
            if code is not None:
                return (code, *[None] * RESULTS.get(name, 0))
            return found(self, *given)

        return call

    # --- the device ----------------------------------------------------------------------------

    def _cuInit(self, flags: int) -> Any:
        assert flags == 0
        self.started = True
        return (SUCCESS if self.gpus else CUresult.CUDA_ERROR_NO_DEVICE,)

    def _cuDeviceGetCount(self) -> Any:
        return SUCCESS, self.gpus

    def _cuDeviceGet(self, number: int) -> Any:
        assert 0 <= number < self.gpus
        return SUCCESS, real.CUdevice(number)

    def _cuDeviceGetName(self, length: int, device: Any) -> Any:
        assert isinstance(device, real.CUdevice)
        return SUCCESS, b"Fake GPU".ljust(length, b"\0")

    def _cuDeviceGetAttribute(self, attribute: Any, device: Any) -> Any:
        kinds = real.CUdevice_attribute
        return SUCCESS, {
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: self.compute[0],
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: self.compute[1],
            kinds.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: 132,
        }[attribute]

    def _cuDevicePrimaryCtxRetain(self, device: Any) -> Any:
        return SUCCESS, Handle("context")

    def _cuCtxSetCurrent(self, context: Any) -> Any:
        assert context.kind == "context"
        self.context = context
        return (SUCCESS,)

    def _cuGetErrorString(self, code: Any) -> Any:
        return SUCCESS, f"the text of {code.name}".encode()

    def _check(self, handle: Any, kind: str) -> None:
        assert self.context is not None, "no context is current"
        assert isinstance(handle, Handle) and handle.kind == kind and handle.alive, (handle, kind)

    # --- memory --------------------------------------------------------------------------------

    def _cuMemGetInfo(self) -> Any:
        used = sum(each.nbytes for each in self.memory.values())
        return SUCCESS, self.total - used, self.total

    def _cuMemAlloc(self, count: int) -> Any:
        assert count > 0
        if count > self.total - sum(each.nbytes for each in self.memory.values()):
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, real.CUdeviceptr(0)
        array = np.zeros(count, np.uint8)
        self.memory[array.ctypes.data] = array
        return SUCCESS, real.CUdeviceptr(array.ctypes.data)

    def _cuMemFree(self, pointer: Any) -> Any:
        assert isinstance(pointer, real.CUdeviceptr)
        del self.memory[int(pointer)]
        return (SUCCESS,)

    def _cuMemAllocHost(self, count: int) -> Any:
        array = np.full(count, 7, np.uint8)
        self.pinned[array.ctypes.data] = array
        return SUCCESS, array.ctypes.data

    def _cuMemFreeHost(self, pointer: Any) -> Any:
        assert type(pointer) is int
        del self.pinned[pointer]
        return (SUCCESS,)

    def _device_bytes(self, address: int, count: int) -> None:
        """Refuse bytes that do not all lie in one allocation."""
        for start, array in self.memory.items():
            if start <= address and address + count <= start + array.nbytes:
                return
        raise AssertionError(f"{count} bytes at {address} are not the device's")

    def _cuMemcpyHtoDAsync(self, target: Any, source: Any, count: int, stream: Any) -> Any:
        assert isinstance(target, real.CUdeviceptr) and type(source) is int
        self._check(stream, "stream")
        self._device_bytes(int(target), count)
        self.pending.append(lambda: ctypes.memmove(int(target), source, count))
        return (SUCCESS,)

    def _cuMemcpyDtoHAsync(self, target: Any, source: Any, count: int, stream: Any) -> Any:
        assert isinstance(source, real.CUdeviceptr) and type(target) is int
        self._check(stream, "stream")
        self._device_bytes(int(source), count)
        self.pending.append(lambda: ctypes.memmove(target, int(source), count))
        return (SUCCESS,)

    # --- code ----------------------------------------------------------------------------------

    def _cuModuleLoadData(self, image: Any) -> Any:
        assert isinstance(image, bytes) and image
        return SUCCESS, Handle("module", image=image)

    def _cuModuleUnload(self, module: Any) -> Any:
        self._check(module, "module")
        module.alive = False
        return (SUCCESS,)

    def _cuModuleGetFunction(self, module: Any, name: bytes) -> Any:
        self._check(module, "module")
        assert isinstance(name, bytes)
        if name not in module.about["image"]:
            return CUresult.CUDA_ERROR_NOT_FOUND, None
        # The real structures take handles as addresses.
        handle = real.CUfunction(len(self.functions) + 1)
        self.functions[int(handle)] = Handle("function", name=name.decode(), module=module)
        return SUCCESS, handle

    # --- streams, events, graphs ---------------------------------------------------------------

    def _cuStreamCreate(self, flags: int) -> Any:
        assert flags == int(real.CUstream_flags.CU_STREAM_NON_BLOCKING)
        return SUCCESS, Handle("stream")

    def _cuStreamSynchronize(self, stream: Any) -> Any:
        self._check(stream, "stream")
        pending, self.pending = self.pending, []
        for each in pending:
            each()
        return (SUCCESS,)

    def _cuEventCreate(self, flags: int) -> Any:
        assert flags == 0, "without timing an event has no time"
        return SUCCESS, Handle("event")

    def _cuEventRecord(self, event: Any, stream: Any) -> Any:
        self._check(event, "event")
        self._check(stream, "stream")

        def record() -> None:
            self.clock += 0.001
            event.about["time"] = self.clock

        self.pending.append(record)
        return (SUCCESS,)

    def _cuEventElapsedTime(self, before: Any, after: Any) -> Any:
        return SUCCESS, after.about["time"] - before.about["time"]

    def _cuEventDestroy(self, event: Any) -> Any:
        self._check(event, "event")
        event.alive = False
        return (SUCCESS,)

    def _cuLaunchKernel(self, function: Any, *given: Any) -> Any:
        *sizes, shared, stream, parameters, extra = given
        assert len(sizes) == 6 and shared == 0 and extra == 0
        self._check(stream, "stream")
        values = self._values(parameters)
        self.pending.append(lambda: self._launch(int(function), tuple(sizes[:3]), tuple(sizes[3:]), values))
        return (SUCCESS,)

    @staticmethod
    def _values(parameters: Any) -> list[int]:
        values, types = parameters
        assert len(values) == len(types) and all(each is ctypes.c_void_p for each in types)
        return list(values)

    def _launch(
        self, function: int, grid: tuple[int, ...], block: tuple[int, ...], values: list[int]
    ) -> None:
        handle = self.functions[function]
        assert handle.about["module"].alive, "the kernel's module is gone"
        for value in values:
            self._device_bytes(value, 1)
        self.launched.append((handle.about["name"], grid, block, values))

    def _cuGraphCreate(self, flags: int) -> Any:
        assert flags == 0
        return SUCCESS, Handle("graph", nodes=[])

    def _add(self, graph: Any, after: Any, count: int, run: Any) -> Any:
        self._check(graph, "graph")
        assert isinstance(after, list) and len(after) == count
        assert all(each in graph.about["nodes"] for each in after)
        assert len({id(each) for each in after}) == count, "a node waits for another twice"
        node = Handle("node", run=run, after=list(after))
        graph.about["nodes"].append(node)
        return SUCCESS, node

    def _cuGraphAddKernelNode(self, graph: Any, after: Any, count: int, given: Any) -> Any:
        assert isinstance(given, real.CUDA_KERNEL_NODE_PARAMS)
        function = int(given.func)
        handle = self.functions[function]
        grid = (given.gridDimX, given.gridDimY, given.gridDimZ)
        block = (given.blockDimX, given.blockDimY, given.blockDimZ)
        assert all(1 <= each < 1 << 31 for each in grid) and all(each >= 1 for each in block)
        # The driver reads the parameters here, through the pointers that the package packed.
        addresses = ctypes.cast(int(given.kernelParams), ctypes.POINTER(ctypes.c_void_p))
        taken = self.parameters[handle.about["name"]]
        words = [ctypes.c_uint64.from_address(addresses[number]).value for number in range(taken)]
        return self._add(graph, after, count, lambda: self._launch(function, grid, block, words))

    def _cuGraphAddMemcpyNode(self, graph: Any, after: Any, count: int, given: Any, context: Any) -> Any:
        assert isinstance(given, real.CUDA_MEMCPY3D)
        self._check(context, "context")
        kinds = real.CUmemorytype
        assert (given.Height, given.Depth) == (1, 1) and given.WidthInBytes > 0
        to_device = given.srcMemoryType == kinds.CU_MEMORYTYPE_HOST
        if to_device:
            assert given.dstMemoryType == kinds.CU_MEMORYTYPE_DEVICE
            target, source = int(given.dstDevice), int(given.srcHost)
        else:
            assert given.srcMemoryType == kinds.CU_MEMORYTYPE_DEVICE
            assert given.dstMemoryType == kinds.CU_MEMORYTYPE_HOST
            target, source = int(given.dstHost), int(given.srcDevice)
        width = given.WidthInBytes

        def run() -> None:
            self._device_bytes(target if to_device else source, width)
            host = source if to_device else target
            assert any(
                start <= host and host + width <= start + array.nbytes for start, array in self.pinned.items()
            ), "a graph's copy of memory that is not pinned"
            ctypes.memmove(target, source, width)

        return self._add(graph, after, count, run)

    def _cuGraphInstantiate(self, graph: Any, flags: int) -> Any:
        assert flags == 0
        self._check(graph, "graph")
        return SUCCESS, Handle("executable", nodes=list(graph.about["nodes"]))

    def _cuGraphDestroy(self, graph: Any) -> Any:
        self._check(graph, "graph")
        graph.alive = False
        return (SUCCESS,)

    def _cuGraphUpload(self, executable: Any, stream: Any) -> Any:
        self._check(executable, "executable")
        self._check(stream, "stream")
        return (SUCCESS,)

    def _cuGraphLaunch(self, executable: Any, stream: Any) -> Any:
        self._check(executable, "executable")
        self._check(stream, "stream")
        self.pending += [node.about["run"] for node in executable.about["nodes"]]
        return (SUCCESS,)

    def _cuGraphExecDestroy(self, executable: Any) -> Any:
        self._check(executable, "executable")
        executable.alive = False
        return (SUCCESS,)
