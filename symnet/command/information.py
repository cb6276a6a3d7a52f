"""`symnet info` and `symnet cache`: take the machine as it is, print what symnet found on it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
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
    """What there is of CUDA, and what is missing for `device="cuda"`."""
    from symnet.backend.cuda.availability import PACKAGE, availability, version_text
    from symnet.config import config

    found = availability()
    values: dict[str, Any] = {
        PACKAGE: found.package or "not installed",
        "driver": "not found" if found.driver is None else f"for CUDA {version_text(found.driver)}",
        "config.device": config.device,
    }
    for number, gpu in enumerate(found.gpus):
        values[f"GPU {number}"] = str(gpu)
    if found.problem is None:
        values["device cuda"] = '"cuda" and "auto" run on GPU 0'
    else:
        values["device cuda"] = f"can't be used: {found.problem}"
        values["what to do"] = found.hint
    if found.simulated:
        values["simulation"] = "NUMBA_ENABLE_CUDASIM=1: kernels run in Numba's simulator"
    return values
