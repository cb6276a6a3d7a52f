"""Takes a workload and the systems, hands on the seconds that each of them took, round by round.
The systems take turns in every round, so that whatever else the machine does hits all alike."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from systems import OURS, BenchmarkError, System
from workloads import Workload

# A library's idle threads may spin for some milliseconds; they are not to disturb the next turn.
PAUSE_SECONDS = 0.03
COMPARED_CALLS = 5
# Theano's and PyTorch's gradients of a max pooling differ where several entries attain the maximum:
# 0.8% of what the first convolution's weights move on these digits.
COMPARED_WITHIN = 0.03


class Settings(NamedTuple):
    """How much is measured.

    repetitions
        Rounds in each of which every system has a turn.
    seconds
        How long a turn is to take.
    starts
        New processes for each figure that only a new process gives.
    """

    repetitions: int = 15
    seconds: float = 0.1
    starts: int = 3


def measured(
    workload: Workload, systems: list[System], settings: Settings, folder: Path
) -> dict[str, dict]:
    """Lines of results by name, each {"systems": {system: what it took}, "errors": {system: why}}.

    What a system took is {"rounds": seconds of a call (or a start) in each round, "bytes": the most
    memory that the process held, where that is measured}. A workload that measures starts gives two
    lines, cold and warm. A system that fails is among the errors, and has no more turns.
    """
    by = {"calls": _calls, "start": _starts, "import": _imports}
    return by[workload.measure](workload, systems, settings, folder)


class _Line:
    """A line of results in the making."""

    def __init__(self, systems: list[System]) -> None:
        self.took: dict[str, dict] = {system.name: {"rounds": []} for system in systems}
        self.errors: dict[str, str] = {}

    def add(self, system: str, seconds: float) -> None:
        self.took[system]["rounds"].append(seconds)

    @contextlib.contextmanager
    def turn_of(self, system: str) -> Iterator[None]:
        """What fails inside is an error of the system, which has no more results then."""
        try:
            yield
        except BenchmarkError as error:
            self.errors[system] = str(error)
            del self.took[system]

    def done(self) -> dict:
        return {"systems": self.took, "errors": self.errors}


def _in_turn(systems: list[System], number: int) -> list[System]:
    """The systems in the order of that round: each begins one in turn."""
    first = number % len(systems)
    return systems[first:] + systems[:first]


def _calls(
    workload: Workload, systems: list[System], settings: Settings, folder: Path
) -> dict[str, dict]:
    line = _Line(systems)
    moved, counts, processes = {}, {}, {}
    with contextlib.ExitStack() as running:
        for system in systems:
            with line.turn_of(system.name):
                process = running.enter_context(system.start(folder / system.name))
                process.ask("prepare", kind=workload.kind, settings=workload.settings)
                moved[system.name] = process.ask("moved", calls=COMPARED_CALLS)["moved"]
                seconds = min(process.ask("call", before=2, count=3)["seconds"] for _ in range(3))
                counts[system.name] = max(3, round(settings.seconds / (seconds / 3)))
                processes[system.name] = process
        _compare(moved, line)
        for number in range(settings.repetitions):
            for system in _in_turn(systems, number):
                if system.name not in line.took:
                    continue
                with line.turn_of(system.name):
                    count = counts[system.name]
                    time.sleep(PAUSE_SECONDS)
                    reply = processes[system.name].ask("call", before=count // 10 + 2, count=count)
                    line.add(system.name, reply["seconds"] / count)
        for name in list(line.took):
            with line.turn_of(name):
                line.took[name]["bytes"] = processes[name].ask("memory")["bytes"]
    return {workload.name: line.done()}


def _compare(moved: dict[str, list[float] | None], line: _Line) -> None:
    """That every system does what symnet does: its results moved as far, each of them."""
    ours = moved.get(OURS)
    for name, theirs in moved.items():
        if ours is None or theirs is None:
            continue
        with line.turn_of(name):
            for index, (far, expected) in enumerate(zip(theirs, ours, strict=True)):
                if not abs(far - expected) <= COMPARED_WITHIN * expected:
                    raise BenchmarkError(
                        f"{name}: its result {index} moved by {far:.6g} in {COMPARED_CALLS} calls, "
                        f"{OURS}'s by {expected:.6g}: they do not compute the same"
                    )


def _starts(
    workload: Workload, systems: list[System], settings: Settings, folder: Path
) -> dict[str, dict]:
    lines = {"cold": _Line(systems), "warm": _Line(systems)}
    for number in range(settings.starts):
        for system in _in_turn(systems, number):
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                for line in lines.values():
                    if system.name not in line.took:
                        continue
                    with line.turn_of(system.name), system.start(Path(cache, "kept")) as process:
                        reply = process.ask(
                            "prepare", kind=workload.kind, settings=workload.settings
                        )
                        line.add(system.name, reply["seconds"])
    return {f"{workload.name}/{state}": line.done() for state, line in lines.items()}


def _imports(
    workload: Workload, systems: list[System], settings: Settings, folder: Path
) -> dict[str, dict]:
    line = _Line(systems)
    # One start more, not counted, in which Python compiles what it has not compiled yet.
    for number in range(settings.starts + 1):
        for system in _in_turn(systems, number):
            with (
                line.turn_of(system.name),
                system.start(folder / system.name) as process,
            ):
                if number:
                    line.add(system.name, process.hello["import_seconds"])
    return {workload.name: line.done()}
