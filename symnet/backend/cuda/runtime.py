"""Makes a Program runnable on a device: takes it lowered, hands on its kernels' code and where each runs.

What is compiled comes from the cache where it can. None of it needs a device: `plan` and `compiled` serve
those who compile ahead or only want to look.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache as remembered
from typing import Any

from symnet.backend.cuda import toolkit
from symnet.backend.cuda.device import Code, Device
from symnet.backend.cuda.emit import Emitted, Printer, Work, emit
from symnet.backend.cuda.first_sizes import find_sizes_beside
from symnet.backend.cuda.kernel_text import NAME, Text, assemble, assemble_serial
from symnet.backend.cuda.linker import Linked
from symnet.backend.cuda.machine import SIMULATOR, Machine
from symnet.backend.cuda.order import Group, Ordered, order
from symnet.compile import cache
from symnet.compile.program import Buffer, KernelCall, Program, Table, table_of
from symnet.config import config

#: The modules that decide what becomes of a kernel's text.
COMPILERS = (
    "text_code",
    "text_expressions",
    "text_values",
    "scalar_code",
    "memory_code",
    "nvvm",
    "libraries",
    "numba_code",
    "toolkit",
    "linker",
)


@dataclass(frozen=True)
class Place:
    """A group as it is launched: which of the kernels, with which buffers."""

    kernel: int
    buffers: tuple[Buffer, ...]
    group: Group


@dataclass
class Plan:
    """A program's kernels as text, and the order in which they run.

    Attributes
    ----------
    texts, names
        Of each kernel; one may run several times.
    places
        What runs, in an order that dependencies allow.
    """

    program: Program
    table: Table
    machine: Machine
    emitted: Emitted
    ordered: Ordered
    texts: list[Text] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


def plan(program: Program, machine: Machine, profiled: bool = False, printer: Printer | None = None) -> Plan:
    """The kernels of a lowered program, and the order in which they run.

    Parameters
    ----------
    profiled
        Every body gets a kernel of its own, so that it can be timed.
    """
    table = table_of(program)
    emitted = emit(program, table, machine, printer)
    if not profiled:
        find_sizes_beside(emitted.works)
    ordered = order(program, emitted, machine, together=not profiled)
    made = Plan(program, table, machine, emitted, ordered)
    known: dict[tuple[str, tuple[str, ...]], int] = {}
    watched = watched_flags(emitted.works)
    for group in ordered.groups:
        text, buffers = assemble(group.works, [watched[work.number] for work in group.works])
        number = known.setdefault((text.source, text.dtypes), len(made.texts))
        if number == len(made.texts):
            made.texts.append(text)
            made.names.append(_kernel_name(group, made.names))
        # The same text may run on other numbers of blocks.
        made.places.append(Place(number, buffers, group))
    return made


def watched_flags(works: Sequence[Work]) -> list[int | None]:
    """For each work the flag that tells it not to run.

    It is that of the last one before it whose failure forbids it to run: who does not run passes that on.
    Where there is none it is the flag behind the program's own, which is set when the call before this one
    failed, of many in a row.
    """
    own = sum(work.flag is not None for work in works)
    stop = own if own else None
    found: list[int | None] = []
    failing: int | None = None
    test: int | None = None
    for work in works:
        watched = failing if work.careful else test
        if work.finds_sizes_itself and watched == works[0].flag:
            watched = None
        found.append(stop if watched is None else watched)
        if work.flag is not None:
            failing = work.flag
            test = work.flag if work.tests_sizes else test
    return found


def _kernel_name(group: Group, taken: Sequence[str]) -> str:
    stem = group.works[0].body.name
    if len(group.works) > 1:
        stem += f"_and_{len(group.works) - 1}_more"
    name, number = stem, 1
    while name in taken:
        name = f"{stem}_{number}"
        number += 1
    return name


# --- code ------------------------------------------------------------------------------------------


@dataclass
class Compiled:
    """Kernels' code, and how it came about: "hit", "miss" or "off", or "simulated"."""

    codes: list[Code]
    how: str
    seconds: float


def compiled(texts: Sequence[Text], names: Sequence[str], machine: Machine) -> Compiled:
    """Code of kernels for a machine; for the simulator, their text alone.

    Raises
    ------
    CompileError
        When a text is refused.
    CudaError
        When a package is missing.
    """
    started = time.perf_counter()
    if machine == SIMULATOR:
        codes = [
            Code(name, text.readable(name), machine.threads) for text, name in zip(texts, names, strict=True)
        ]
        return Compiled(codes, "simulated", time.perf_counter() - started)
    named = list(zip(texts, names, strict=True))
    keys = [_key(text, name, machine) if config.cache else None for text, name in named]
    made = [_cached(key) for key in keys]
    missing = [number for number, found in enumerate(made) if found is None]
    compiled_now = _compiled_now([named[number] for number in missing], machine) if missing else []
    for number, (ptx, linked) in zip(missing, compiled_now, strict=True):
        made[number] = ptx, linked
        key = keys[number]
        if key is not None:
            takes = [linked.registers, linked.shared_bytes, linked.spilled_bytes]
            cache.store(key, linked.binary, {"name": names[number], "ptx": ptx, "takes": takes})
    codes = []
    for (text, name), found in zip(named, made, strict=True):
        assert found is not None
        ptx, linked = found
        takes = [linked.registers, linked.shared_bytes, linked.spilled_bytes]
        codes.append(Code(name, text.readable(name), machine.threads, ptx, linked.binary, *takes))
    how = "off" if not config.cache else "miss" if missing else "hit"
    return Compiled(codes, how, time.perf_counter() - started)


def _compiled_now(named: Sequence[tuple[Text, str]], machine: Machine) -> list[tuple[str, Linked]]:
    """PTX and machine code of kernels that are nowhere yet."""
    # What finds all in the cache has no use for LLVM.
    from symnet.backend.cuda.compiling import Job, compile_all

    jobs = [
        Job(
            text.source.replace(NAME, name, 1),
            name,
            (*text.dtypes, "int64", "int64"),
            machine.compute,
            machine.threads,
            config.backend,
        )
        for text, name in named
    ]
    return compile_all(jobs)


def _cached(key: str | None) -> tuple[str, Linked] | None:
    """What the cache has of a kernel: PTX and machine code."""
    found = None if key is None else cache.load(key)
    if found is None:
        return None
    binary, about = found
    return about["ptx"], Linked(binary, *about["takes"])


def _key(text: Text, name: str, machine: Machine) -> str:
    return cache.key(
        [
            *("cuda", config.backend, _fingerprint()),
            f"compute {machine.compute} threads {machine.threads}",
            *(name, " ".join(text.dtypes), text.source),
        ]
    )


@remembered
def _fingerprint() -> str:
    """Everything besides a kernel's text that decides what PTX and what machine code come out."""
    return cache.fingerprint(
        tuple(f"symnet.backend.cuda.{module}" for module in COMPILERS),
        ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "llvmlite"),
    )


def serial_code(plan: Plan, step: int) -> tuple[Compiled, tuple[Buffer, ...]]:
    """The kernel that does a step's nest in order, to tell its first failure; and its buffers."""
    from symnet.backend.cuda.nest_bodies import serial_body

    call = plan.program.steps[step]
    assert isinstance(call, KernelCall)
    body = serial_body(call.kernel)
    slots = {name: number for number, name in enumerate(plan.emitted.slots)}
    sizes = tuple(slots[name] for name in body.sizes)
    text, buffers = assemble_serial(Work(0, step, body, call.buffers, sizes, sizes))
    return compiled([text], [f"{body.name}_in_order"], plan.machine), buffers


# --- the device ------------------------------------------------------------------------------------

_finding = threading.Lock()
_devices: list[Any] = []


def find_device() -> Device:
    """The device that this process uses: the first GPU, or a simulation of one.

    Raises
    ------
    CudaError
        When a package, the driver or a GPU is missing; it says which, and what to do.
    """
    with _finding:
        if not _devices:
            if toolkit.simulated():
                from symnet.backend.cuda.simulator import SimulatedDevice

                _devices.append(SimulatedDevice())
            else:
                from symnet.backend.cuda.driver import DriverDevice

                _devices.append(DriverDevice())
        device: Device = _devices[0]
        return device
