"""The GPU by its driver, against a stand-in for the driver's module (`fake_driver`)."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from symnet.backend.cuda.device import Code, Copy, DeviceArray, Launch, Pointer, Transfers
from symnet.backend.cuda.driver import DriverDevice
from symnet.errors import CudaError
from tests.cuda_backend.fake_driver import FakeDriver


def code(name: str, threads: int = 256) -> Code:
    return Code(name, "", threads, "", b"machine code of " + name.encode())


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def device(driver: FakeDriver) -> DriverDevice:
    return DriverDevice(driver=driver)


def test_a_device_says_what_it_is(device, driver):
    assert device.name == "Fake GPU"
    assert device.machine.compute == (9, 0)
    assert device.machine.multiprocessors == 132
    assert driver.names()[0] == "cuInit"
    assert device.free_bytes() == 1 << 24


# --- what can be missing ---------------------------------------------------------------------------


def test_no_gpu_is_told():
    with pytest.raises(CudaError, match="CUDA_ERROR_NO_DEVICE") as caught:
        DriverDevice(driver=FakeDriver(gpus=0))
    assert "CUDA_VISIBLE_DEVICES" in str(caught.value)


def test_no_driver_is_told(driver):
    class Absent(FakeDriver):
        def _cuInit(self, flags):
            raise RuntimeError("libcuda.so.1 is not there")

    with pytest.raises(CudaError, match="driver is not installed") as caught:
        DriverDevice(driver=Absent())
    assert "libcuda.so.1 is not there" in str(caught.value)


def test_the_package_itself_tells_of_a_missing_driver():
    """Where there is a driver this finds its GPU; else the package's own error is understood."""
    try:
        assert DriverDevice().machine.multiprocessors > 0
    except CudaError as error:
        assert "driver" in str(error) or "NO_DEVICE" in str(error)


def test_an_old_gpu_is_refused():
    with pytest.raises(CudaError, match=r"compute capability 6\.1"):
        DriverDevice(driver=FakeDriver(compute=(6, 1)))


def test_a_gpu_that_is_not_there_is_refused(driver):
    with pytest.raises(CudaError, match="GPU number 3 is asked for; the driver finds 1"):
        DriverDevice(3, driver)


# --- memory ----------------------------------------------------------------------------------------


def test_arrays_come_back_as_they_went(device):
    transfers = Transfers()
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = DeviceArray.empty(device, (3, 4), "float32")
    array.upload(values, transfers)
    found = array.download(transfers)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)
    assert transfers == Transfers(1, 48, 1, 48)


def test_parts_of_memory_are_copied_alone(device):
    memory = device.allocate(64)
    device.upload(memory, 0, np.zeros(8, np.int64))
    device.upload(memory, 16, np.array([5, 6], np.int64))
    found = np.empty(8, np.int64)
    device.download(memory, 0, found)
    assert found.tolist() == [0, 0, 5, 6, 0, 0, 0, 0]


def test_arrays_without_entries_copy_nothing(device, driver):
    array = DeviceArray.empty(device, (0, 4), "float32")
    before = len(driver.names())
    array.upload(np.zeros((0, 4), np.float32), Transfers())
    assert array.download(Transfers()).shape == (0, 4)
    assert driver.names()[before:] == []


def test_strided_arrays_are_refused(device):
    memory = device.allocate(64)
    with pytest.raises(ValueError, match="contiguous"):
        device.upload(memory, 0, np.zeros((4, 4))[:, :2])
    with pytest.raises(ValueError, match="contiguous"):
        device.download(memory, 0, np.zeros((4, 4)).T[:2])


def test_memory_is_freed_when_nobody_holds_it(device, driver):
    memory = device.allocate(1000)
    pinned = device.allocate_host(500)
    part = pinned[100:200].view(np.float32)
    assert not pinned.any(), "pinned memory begins with zeros"
    assert len(driver.memory) == 1 and len(driver.pinned) == 1
    del memory, pinned
    gc.collect()
    assert not driver.memory
    assert len(driver.pinned) == 1, "a view still shows it"
    del part
    gc.collect()
    assert not driver.pinned


def test_too_little_memory_is_told_with_amounts(device):
    device.allocate(1 << 23)
    with pytest.raises(CudaError) as caught:
        device.allocate(1 << 25)
    text = str(caught.value)
    assert "32.0 MiB of memory on Fake GPU" in text
    assert "16.0 MiB of 16.0 MiB are left" in text
    assert "CUDA_ERROR_OUT_OF_MEMORY" in text


# --- graphs ----------------------------------------------------------------------------------------


def test_a_graph_copies_and_launches_in_its_order(device, driver):
    add, scale = device.load([code("add"), code("scale", 64)])
    driver.parameters = {"add": 2, "scale": 1}
    memory, host = device.allocate(128), device.allocate_host(128)
    first, second = Pointer(memory, 0, "float32", 4), Pointer(memory, 64, "int64", 8)
    nodes = [
        Copy(True, host, memory, 0, 64, ()),
        Launch(add, 12, (first, second), (0,)),
        Launch(scale, 3, (second,), (0,)),
        Copy(False, host, memory, 64, 128, (1, 2)),
    ]
    graph = device.graph(nodes)
    assert driver.launched == [], "setting a graph up runs nothing"
    host[:] = 9
    graph.launch()
    host_before = host.copy()
    device.synchronize()
    assert [each[:3] for each in driver.launched] == [
        ("add", (12, 1, 1), (256, 1, 1)),
        ("scale", (3, 1, 1), (64, 1, 1)),
    ]
    assert driver.launched[0][3] == [memory.address, memory.address + 64]
    assert driver.launched[1][3] == [memory.address + 64]
    # Bytes 0 to 64 went to the device; 64 to 128 came from there, where nobody had written.
    assert (host_before == 9).all()
    assert (host[:64] == 9).all() and not host[64:].any()
    graph.launch()
    device.synchronize()
    assert len(driver.launched) == 4


def test_a_graph_keeps_what_it_uses(device, driver):
    functions = device.load([code("add")])
    driver.parameters = {"add": 1}
    memory, host = device.allocate(64), device.allocate_host(64)
    pointer = Pointer(memory, 0, "float32", 4)
    graph = device.graph([Copy(True, host, memory, 0, 64, ()), Launch(functions[0], 1, (pointer,), (0,))])
    del functions, memory, host, pointer
    gc.collect()
    graph.launch()
    device.synchronize()
    assert len(driver.launched) == 1
    del graph
    gc.collect()
    assert not driver.memory and not driver.pinned
    names = driver.names()
    assert names.count("cuGraphExecDestroy") == 1
    assert names.count("cuModuleUnload") == 1
    assert names.count("cuGraphDestroy") == 1


def test_nothing_is_left_of_a_graph_that_is_refused(device, driver):
    (add,) = device.load([code("add")])
    driver.fail("cuGraphAddKernelNode", "CUDA_ERROR_INVALID_VALUE")
    with pytest.raises(CudaError, match="kernel add on 5 blocks in a graph on Fake GPU: the text of CUDA_"):
        device.graph([Launch(add, 5, (), ())])
    assert driver.names()[-1] == "cuGraphDestroy"


def test_nodes_are_timed_by_events(device, driver):
    (add,) = device.load([code("add")])
    memory, host = device.allocate(64), device.allocate_host(64)
    launch = Launch(add, 5, (Pointer(memory, 8, "int64", 1),), (0,))
    times = device.time([Copy(True, host, memory, 0, 64, ()), launch, Copy(False, host, memory, 0, 64, (1,))])
    assert times == [1000, 1000, 1000]
    assert driver.launched == [("add", (5, 1, 1), (256, 1, 1), [memory.address + 8])]
    assert driver.names().count("cuEventDestroy") == 4


# --- failures --------------------------------------------------------------------------------------


def test_a_kernel_that_broke_off_ends_the_gpus_use(device, driver):
    driver.fail("cuStreamSynchronize", "CUDA_ERROR_ILLEGAL_ADDRESS")
    with pytest.raises(CudaError, match="a kernel broke off"):
        device.synchronize()


def test_code_that_the_driver_refuses_is_told_with_its_kernel(device, driver):
    driver.fail("cuModuleLoadData", "CUDA_ERROR_NO_BINARY_FOR_GPU")
    with pytest.raises(CudaError, match="kernel add on Fake GPU") as caught:
        device.load([code("add")])
    assert "a newer driver" in str(caught.value)


def test_a_forked_process_is_refused(device, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(CudaError, match="fork"):
        device.allocate(8)


def test_each_call_sets_the_context(device, driver):
    """A thread that is new has none, and others may have set theirs."""
    driver.calls.clear()
    device.free_bytes()
    device.synchronize()
    assert [name for name, _ in driver.calls] == [
        "cuCtxSetCurrent",
        "cuMemGetInfo",
        "cuCtxSetCurrent",
        "cuStreamSynchronize",
    ]
