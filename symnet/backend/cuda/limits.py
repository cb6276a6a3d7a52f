"""What a GPU can do at most by its maker's figures: takes what the driver tells of it, hands on rates.

Its clock and its units bound arithmetic, the memory's clock and its bus what can be moved; what fits in a
cache may be moved faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symnet.backend.cuda.availability import Gpu, availability

#: Multiply-adds that a multiprocessor begins in each cycle, of float32 and of float64, by compute capability
#: (CUDA C++ Programming Guide, "Arithmetic Instructions"); others are taken to be as the last.
_UNITS = {(7, 5): (64, 2), (8, 0): (64, 32), (9, 0): (128, 64), (10, 0): (128, 64)}
_OTHER_UNITS = (128, 2)


@dataclass(frozen=True)
class GpuLimits:
    """Floating-point operations a second by dtype (a multiply-add is two), and bytes a second."""

    flops: Mapping[str, float]
    bytes: float

    def seconds(self, flops: Mapping[str, int], read: int, written: int, touched: int) -> tuple[float, float]:
        """The least that so many operations of each dtype take, and that so many bytes take."""
        arithmetic = sum(count / self.flops[dtype] for dtype, count in flops.items())
        return arithmetic, (read + written) / self.bytes


def limits_of(gpu: Gpu) -> GpuLimits:
    """The limits of one GPU."""
    units = _UNITS.get(gpu.compute, _OTHER_UNITS)
    cycles = gpu.multiprocessors * gpu.clock
    flops = {name: 2.0 * count * cycles for name, count in zip(("float32", "float64"), units, strict=True)}
    # Memory moves at both edges of its clock.
    return GpuLimits(flops, 2.0 * gpu.memory_clock * gpu.bus_bits / 8)


def device_limits() -> GpuLimits:
    """The limits of the GPU that functions run on; a simulated one has none."""
    found = availability()
    if found.simulated or not found.gpus:
        return GpuLimits({"float32": float("inf"), "float64": float("inf")}, float("inf"))
    return limits_of(found.gpus[0])
