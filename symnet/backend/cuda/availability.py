"""What there is of CUDA on this machine: hands on the package, the driver and the GPUs, and what is missing.

Asked of the driver itself through ctypes, so that it can be told without any package.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import os
import sys
from dataclasses import dataclass
from typing import Any

from symnet.errors import CudaError

PACKAGE, BINDINGS = "numba-cuda", "cuda-bindings"
#: The least version of CUDA that a driver must be for, as `cuDriverGetVersion` tells it; the first such one.
LEAST_VERSION, LEAST_DRIVER = 13000, "580"
#: The least compute capability that CUDA 13 makes code for.
LEAST_COMPUTE = (7, 5)
_NO_GPU = 100
#: The driver's numbers of what it tells of a GPU; its clocks are in kHz.
_CLOCK, _MULTIPROCESSORS, _MEMORY_CLOCK, _BUS, _MAJOR, _MINOR = 13, 16, 36, 37, 75, 76


@dataclass(frozen=True)
class Gpu:
    """A GPU that the driver tells of.

    Attributes
    ----------
    name
        As its maker calls it.
    compute
        Its compute capability.
    bytes
        Its memory.
    multiprocessors
        How many it has.
    clock, memory_clock
        The highest rates of its multiprocessors and of its memory, in Hz.
    bus_bits
        How wide the way to its memory is.
    """

    name: str
    compute: tuple[int, int]
    bytes: int
    multiprocessors: int
    clock: int
    memory_clock: int
    bus_bits: int

    def __str__(self) -> str:
        major, minor = self.compute
        return f"{self.name}, compute capability {major}.{minor}, {self.bytes / 2**30:.1f} GiB"


@dataclass(frozen=True)
class Availability:
    """What there is.

    Attributes
    ----------
    package
        The version of numba-cuda, None where it is not installed.
    driver
        The CUDA version of NVIDIA's driver, such as 13000; None where there is no driver.
    gpus
        The GPUs that it shows; the first is used.
    problem, hint
        Why it can't be used, in words that follow on "as", and what to do; None where it can.
    simulated
        Whether Numba simulates kernels in this process, for which no GPU is needed.
    """

    package: str | None
    driver: int | None
    gpus: tuple[Gpu, ...]
    problem: str | None
    hint: str | None
    simulated: bool

    def require(self) -> None:
        """See to it that a GPU, or its simulation, can be used.

        Raises
        ------
        CudaError
            Where it can't; it says what is missing and what to do.
        """
        if self.problem is not None and not (self.simulated and self.package is not None):
            raise CudaError(f'device "cuda" can\'t be used: {self.problem}', hint=self.hint)


def version_text(version: int) -> str:
    """A CUDA version as people write it."""
    return f"{version // 1000}.{version % 1000 // 10}"


@functools.cache
def availability() -> Availability:
    """What there is in this process; it is looked for once."""
    package, bindings = _version(PACKAGE), _version(BINDINGS)
    driver, gpus, problem, hint = _driver()
    for name, version in ((BINDINGS, bindings), (PACKAGE, package)):
        if version is None:
            problem, hint = f"the package {name} is not installed", "pip install symnet[cuda]"
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM", "") not in ("", "0")
    return Availability(package, driver, gpus, problem, hint, simulated)


def _version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _load() -> Any:
    """The driver's library; None where there is none."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _driver() -> tuple[int | None, tuple[Gpu, ...], str | None, str | None]:
    """The driver's version, its GPUs, and what is wrong."""
    library = _load()
    elsewhere = 'device="auto" runs on the CPU where there is none'
    if library is None:
        return (
            *(None, (), "there is no NVIDIA driver (libcuda.so.1 can't be loaded)"),
            f"install the driver, {LEAST_DRIVER} or above; {elsewhere}",
        )
    number = ctypes.c_int()
    code = library.cuDriverGetVersion(ctypes.byref(number))
    version = number.value
    if code == 0 and version < LEAST_VERSION:
        return (
            *(version, (), f"the NVIDIA driver is for CUDA {version_text(version)}"),
            f"CUDA {version_text(LEAST_VERSION)} is needed: install driver {LEAST_DRIVER} or above",
        )
    code = code or library.cuInit(0)
    code = code or library.cuDeviceGetCount(ctypes.byref(number))
    if code not in (0, _NO_GPU):
        return version, (), f"the NVIDIA driver fails ({_error(library, code)})", "nvidia-smi says more"
    gpus = tuple(_gpu(library, each) for each in range(0 if code else number.value))
    if not gpus:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = f"nvidia-smi lists those of this machine; {elsewhere}"
        if hidden is not None:
            hint = f"CUDA_VISIBLE_DEVICES={hidden} in the environment may hide it; {hint}"
        return version, (), "the NVIDIA driver shows no GPU", hint
    (major, minor), (least, below) = gpus[0].compute, LEAST_COMPUTE
    if (major, minor) < LEAST_COMPUTE:
        return (
            *(version, gpus, f"{gpus[0].name} has compute capability {major}.{minor}"),
            f"{least}.{below} or above is needed; of several GPUs the first one shown is used, and "
            "CUDA_VISIBLE_DEVICES in the environment says which that is",
        )
    return version, gpus, None, None


def _error(library: Any, code: int) -> str:
    text = ctypes.c_char_p()
    if library.cuGetErrorString(code, ctypes.byref(text)) or text.value is None:
        return f"error {code}"
    return f"error {code}: {text.value.decode()}"


def _gpu(library: Any, number: int) -> Gpu:
    handle, size = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(handle), number)
    library.cuDeviceGetName(name, len(name), handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), handle)

    def told(attribute: int) -> int:
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        return value.value

    return Gpu(
        *(name.value.decode(), (told(_MAJOR), told(_MINOR)), size.value, told(_MULTIPROCESSORS)),
        *(1000 * told(_CLOCK), 1000 * told(_MEMORY_CLOCK), told(_BUS)),
    )
