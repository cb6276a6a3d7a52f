"""Takes nothing, hands on a description of this machine, to be kept beside what was measured on it."""

import os
import platform
from pathlib import Path


def description() -> dict:
    """The processor, the cores that may be used, the memory, the system, and the load just now."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return {
        "processor": _processor(),
        "features": _features(),
        "cores": len(cores),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load average": round(os.getloadavg()[0], 2),
    }


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo, where there is one."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _processor() -> str:
    found = _cpuinfo()
    name = found.get("model name", platform.processor() or platform.machine())
    if "cpu family" in found:
        name += f" (family {found['cpu family']}, model {found.get('model')})"
    return name


def _features() -> list[str]:
    """What of vector instructions it has."""
    flags = _cpuinfo().get("flags", "").split()
    return [flag for flag in flags if flag.startswith(("avx", "fma", "amx", "sse4_2"))]
