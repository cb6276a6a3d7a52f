"""The CUDA backend for calls: takes planned programs and containers, hands on what runs them on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast
from weakref import WeakSet

from symnet.backend.cuda.availability import availability
from symnet.backend.cuda.device import Device, DeviceArray, Transfers, amount
from symnet.compile.backend import Pattern, Specialisation
from symnet.compile.container import Container
from symnet.compile.memory import bytes_of, lifetimes
from symnet.compile.program import Buffer, Program, table_of
from symnet.compile.shared import SharedVariable
from symnet.compile.target import CUDA
from symnet.errors import CudaError

#: Of how many buffers an error tells.
_TOLD = 5
#: All specialisations that somebody holds.
_made: WeakSet[Any] = WeakSet()
_COUNTED = tuple(each.name for each in fields(Transfers))


class CudaBackend:
    """The process's GPU, or its simulation (`symnet.compile.backend.Backend`)."""

    target = CUDA

    def __init__(self) -> None:
        availability().require()
        from symnet.backend.cuda.runtime import find_device

        self.device: Device = find_device()

    def make(
        self,
        program: Program,
        pattern: Pattern,
        arguments: int,
        shared: Sequence[SharedVariable],
        profiled: bool,
    ) -> Specialisation:
        """A specialisation with its code loaded and its memory taken."""
        from symnet.backend.cuda.specialisation import Specialisation as CudaSpecialisation

        def require(planned: Program) -> None:
            require_memory(planned, arguments, shared, self.device)

        made = CudaSpecialisation(program, self.device, pattern, arguments, profiled, require=require)
        _made.add(made)
        return made

    def launcher(self) -> None:
        """Nothing: a call is a graph's launch, whatever calls it."""

    def facts(
        self, specialisations: Sequence[Specialisation], containers: Sequence[Container]
    ) -> dict[str, Any]:
        """How often and how much was copied: by calls, and of shared variables' values.

        A shared variable's copies are all that were made of it, whoever asked for them.
        """
        calls = [each.report["transfers"] for each in specialisations]
        shared = [each.transfers for each in containers if each.transfers is not None]
        found = {name: sum(getattr(each, name) for each in calls) for name in _COUNTED}
        found |= {f"shared_{name}": sum(getattr(each, name) for each in shared) for name in _COUNTED}
        return {"transfers": found}

    def hold(self, container: Container, updated: bool) -> DeviceArray:
        """A container's value on the device."""
        found = cast(DeviceArray, container.on(self.device, self._empty, Transfers))
        if updated:
            container.leave_host()
        return found

    def _empty(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        try:
            return DeviceArray.empty(self.device, shape, dtype)
        except CudaError:
            _let_go()
            return DeviceArray.empty(self.device, shape, dtype)

    def count_updates(self, container: Container, count: int) -> None:
        """Note that runs have put new values in place."""
        container.count_updates_on_device(count)


def require_memory(
    program: Program, arguments: int, shared: Sequence[SharedVariable], device: Device
) -> None:
    """See to it that a program's buffers, and the shared variables that are not there yet, find room.

    Raises
    ------
    CudaError
        Where they do not: it names what is needed, what is free, and the largest buffers.
    """
    parts = {
        "intermediate results, at their peak": program.arena_bytes,
        "arguments, results and constants": sum(
            bytes_of(each)
            for each in table_of(program).pointers
            if each.kind in ("output", "constant") or (each.kind == "input" and each.source < arguments)
        ),
        "shared variables that are not on it yet": sum(
            container.nbytes
            for container in {each.container for each in shared}
            if not container.has_room_on(device)
        ),
    }
    needed = sum(parts.values())
    if needed > device.free_bytes():
        _let_go()
    free = device.free_bytes()
    if needed <= free:
        return
    lines = [f"{name}: {amount(count)}" for name, count in parts.items() if count]
    largest = sorted(lifetimes(program), key=lambda each: -bytes_of(each))[:_TOLD]
    lines += [f"the largest: {_described(each, program)}" for each in largest]
    raise CudaError(
        f'device "cuda": {program.name} needs {amount(needed)} of {device.name}\'s memory, and '
        f"{amount(free)} are free",
        lines,
        hint="smaller arguments (a mini-batch of fewer images) need less; what other functions and shared "
        'variables have is free when nobody holds them; device="cpu" runs it in the main memory',
    )


def _let_go() -> None:
    """Have all specialisations drop what they can make anew, where memory is short."""
    for each in list(_made):
        each.let_go()


def _described(buffer: Buffer, program: Program) -> str:
    """A buffer in one line: its size, and the line that makes it."""
    found = f"{buffer.name}, {buffer.capacity} entries of {buffer.dtype}, {amount(bytes_of(buffer))}"
    for call in program.calls:
        if buffer in call.buffers:
            lines = [node.source for node in call.nodes if node.source is not None]
            return f"{found}, {lines[-1].file}:{lines[-1].line}" if lines else found
    return found
