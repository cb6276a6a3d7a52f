"""Takes what llvmlite and the operating system say of this computer's processor.
Hands on a `Machine`: vector width, register count and cache sizes, from which tiles are chosen.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path

from symnet.compile.contraction import element_bytes

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# Threads have as little as 512 KiB on some systems.
_MOST_STACK = 256 * 1024
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True)
class Machine:
    """A processor, as far as code generation cares.

    `lanes_bytes` is the width of the vectors to use, in bytes (64, 32 or 16), `registers` how many
    of them there are, `l1` and `l2` the data cache sizes of one core in bytes. `name`, `features`
    and `triple` are LLVM's words for the target. `masks` says whether a masked vector load or store
    is one instruction, which decides how ragged edges are read.

    >>> Machine(lanes_bytes=32).lanes("float32")
    8
    """

    lanes_bytes: int = 16
    registers: int = 16
    l1: int = 32 * 1024
    l2: int = 512 * 1024
    name: str = ""
    features: str = ""
    triple: str = ""
    masks: bool = False

    @property
    def panel(self) -> int:
        """Bytes that a packed panel may take: a part of the second cache, and little of any stack."""
        return min(self.l2 // 4, _MOST_STACK)

    def lanes(self, dtype: str) -> int:
        """How many elements of `dtype` ("float32" or "float64") one vector holds."""
        return self.lanes_bytes // element_bytes(dtype)

    def with_lanes_bytes(self, lanes_bytes: int) -> Machine:
        """The same processor, made to use vectors of another width."""
        if lanes_bytes not in (16, 32, 64):
            raise ValueError(f"a vector has 16, 32 or 64 bytes; asked for {lanes_bytes}")
        return replace(self, lanes_bytes=lanes_bytes)

    def without(self, prefix: str) -> Machine:
        """The same processor without the features whose names start with `prefix`.

        `without("avx512")` is how code for a processor with AVX2 only is made, and run, on a newer
        one.
        """
        named = [item for item in self.features.split(",") if len(item) > 1]
        kept = {item[1:]: item[0] == "+" and not item[1:].startswith(prefix) for item in named}
        # The processor's own name implies features; only an explicit minus takes one away.
        described = _describe(self.triple, self.name, kept)
        return replace(described, l1=self.l1, l2=self.l2)


@functools.lru_cache(maxsize=1)
def host_machine() -> Machine:
    """This computer's processor, read once from LLVM's host detection and the kernel's cache table.

    Cache sizes that can't be read (other systems than Linux, sandboxes) keep the modest defaults of
    `Machine`.
    """
    import llvmlite.binding as llvm

    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM can't name this host's features: the triple's baseline is left
        features = {}
    machine = _describe(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)
    sizes = _cache_sizes(_CACHES)
    return replace(machine, l1=sizes.get(1, machine.l1), l2=sizes.get(2, machine.l2))


def _describe(triple: str, name: str, features: dict[str, bool]) -> Machine:
    arm = triple.startswith(("aarch64", "arm64"))
    wide = bool(features.get("avx512f") and features.get("avx512vl"))
    if wide:
        lanes_bytes, registers = 64, 32
    elif features.get("avx") and features.get("fma"):
        lanes_bytes, registers = 32, 16
    else:
        lanes_bytes, registers = 16, 32 if arm else 16
    return Machine(
        lanes_bytes=lanes_bytes,
        registers=registers,
        name=name,
        features=",".join(("+" if on else "-") + key for key, on in sorted(features.items())),
        triple=triple,
        masks=wide or bool(features.get("avx")),
    )


def _cache_sizes(folder: Path) -> dict[int, int]:
    """Data cache sizes in bytes by level, from Linux's table of one processor's caches."""
    sizes: dict[int, int] = {}
    for entry in sorted(folder.glob("index*")):
        try:
            kind, level, size = ((entry / part).read_text().strip() for part in ("type", "level", "size"))
        except OSError:
            continue
        matched = re.fullmatch(r"(\d+)([KMG]?)", size)
        if matched and level.isdigit() and kind in ("Data", "Unified"):
            sizes[int(level)] = int(matched[1]) * _UNITS[matched[2]]
    return sizes
