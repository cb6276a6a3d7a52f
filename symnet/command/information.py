"""`symnet info` and `symnet cache`: take the machine as it is, print what symnet found on it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from typing import Any

_NAMES = {"x86_64": "x86-64", "AMD64": "x86-64"}


def add_to(commands: Any) -> None:
    """Add the commands to the parser's."""
    info = commands.add_parser(
        "info",
        help="versions, processor, threads, cache, what is missing for CUDA",
        description="Print versions, the processor, threads, the cache, and what is missing for CUDA.",
    )
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=show_information)
    cache = commands.add_parser(
        "cache",
        help="the cache of compiled code: its folder and size",
        description="Print the folder, files and bytes of the cache of compiled code.",
    )
    cache.add_argument("--clear", action="store_true", help="remove all files of the cache")
    cache.add_argument("--json", action="store_true", help="print JSON")
    cache.set_defaults(run=show_cache)


def information() -> dict[str, dict[str, Any]]:
    """What `symnet info` prints: sections of named values."""
    from symnet import __version__
    from symnet.backend.cpu.machine import host_machine
    from symnet.config import config, usable_threads

    machine = host_machine()
    versions = {"symnet": __version__, "python": platform.python_version()}
    for package in ("numpy", "numba", "llvmlite", "scipy", "networkx"):
        versions[package] = _version(package)
    return {
        "versions": versions,
        "processor": {
            "kind": _NAMES.get(platform.machine(), platform.machine()),
            "name": machine.name,
            "vectors": f"{machine.lanes_bytes * 8} bits, {machine.registers} registers",
            "float32 lanes": machine.lanes("float32"),
            "L1 data cache": f"{machine.l1 // 1024} KiB",
            "L2 cache": f"{machine.l2 // 1024} KiB",
        },
        "threads": {
            "usable": usable_threads(),
            "config.threads": config.threads,
            "kind": "POSIX threads, one pool of symnet's own" if os.name == "posix" else "none: the caller",
        },
        "cuda": _cuda(),
        "cache": _cache(),
    }


def show_information(options: argparse.Namespace) -> int:
    """Print `information()`."""
    found = information()
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for number, (section, values) in enumerate(found.items()):
        if number:
            print()
        print(section)
        _print_values(values)
    return 0


def show_cache(options: argparse.Namespace) -> int:
    """Print the cache's folder and size, or empty it."""
    from symnet.compile import cache

    removed = cache.clear() if options.clear else None
    found = _cache() if removed is None else {**_cache(), "removed": removed}
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _print_values(found)
    return 0


def _print_values(values: dict[str, Any]) -> None:
    for name, value in values.items():
        print(f"  {name:<16}{value}".rstrip())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cache() -> dict[str, Any]:
    from symnet.compile import cache

    return {
        "folder": str(cache.folder()),
        "files": cache.count(),
        "bytes": cache.size(),
        "limit": cache.limit(),
    }


def _cuda() -> dict[str, Any]:
    """What there is of CUDA. symnet compiles for the CPU; this says what the machine has."""
    found: dict[str, Any] = {"symnet": "compiles for the CPU only"}
    found["numba-cuda"] = _version("numba-cuda")
    found["driver"] = "found" if _driver() else "not found"
    return found


def _driver() -> bool:
    import ctypes

    names = {"win32": "nvcuda.dll"}
    try:
        ctypes.CDLL(names.get(sys.platform, "libcuda.so.1"))
    except OSError:
        return False
    return True
