"""Takes the environment of a run or of a system's process, hands on where the systems are to compute."""

import os

DEVICE_VARIABLE = "BENCHMARK_DEVICE"
# Where a system computes: a GPU; symnet's simulation of one, and its peers on the processor; the processor.
CUDA, SIMULATOR, CPU = DEVICES = ("cuda", "simulator", "cpu")


def device():
    """One of DEVICES."""
    return os.environ[DEVICE_VARIABLE]


def numba_variables():
    """What tells Numba, before it is imported, whether it is to simulate CUDA in a process."""
    return {"NUMBA_ENABLE_CUDASIM": "1" if device() == SIMULATOR else "0"}


def on_gpu():
    """Whether this process is to use a GPU."""
    return device() == CUDA
