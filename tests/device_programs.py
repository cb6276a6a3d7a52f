"""Programs as they are lowered for many threads, run by the CPU's backend: what they mean needs no device."""

from __future__ import annotations

from typing import Any

from symnet.backend.cpu.specialisation import CpuBackend
from symnet.compile.call import CompiledExecutor
from symnet.compile.mode import Mode
from symnet.compile.target import CUDA


class _Backend(CpuBackend):
    target = CUDA


class DevicePrograms(Mode):
    """Programs for a CUDA device, run by the CPU."""

    def executor(
        self,
        graph: Any,
        arguments: int,
        outputs: int,
        updates: Any,
        name: str | None,
        profiled: bool = False,
        device: str = "cpu",
    ) -> Any:
        return CompiledExecutor(graph, arguments, outputs, updates, name, _Backend(), profiled)


FOR_A_DEVICE = DevicePrograms()
#: The graph as it is written; rewriting is left out.
FOR_A_DEVICE_AS_WRITTEN = DevicePrograms(optimizer=None)
