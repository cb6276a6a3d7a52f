"""Devices: takes what a setting or an argument calls one, hands on the backend that runs programs there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from symnet.compile.debug import tell
from symnet.config import config
from symnet.errors import CudaError

if TYPE_CHECKING:
    from symnet.compile.backend import Backend


def resolve_device(asked: str | None) -> str:
    """The device of a function: "cpu" or "cuda". `asked` is what it was asked for, None for the setting.

    Raises
    ------
    ArgumentError
        For a name that is no device's.
    """
    name: str = config.device if asked is None else config.checked("device", asked)
    return _chosen() if name == "auto" else name


@functools.cache
def _chosen() -> str:
    """What "auto" means in this process; told in one line, once."""
    from symnet.backend.cuda.availability import availability

    found = availability()
    reason = "kernels for CUDA would be simulated here" if found.simulated else found.problem
    if reason is None:
        try:
            backend_of("cuda")
        except CudaError as error:
            reason = error.asked
        else:
            tell(0, f'device "auto": {found.gpus[0]}')
            return "cuda"
    tell(0, f'device "auto": the CPU, as {reason}')
    return "cpu"


def backend_of(device: str) -> Backend:
    """What makes and runs programs on a device.

    Raises
    ------
    CudaError
        Where it is a GPU and can't be used; it says what is missing and what to do.
    """
    if device == "cpu":
        from symnet.backend.cpu.specialisation import CpuBackend

        return CpuBackend()
    from symnet.backend.cuda.backend import CudaBackend

    return CudaBackend()
