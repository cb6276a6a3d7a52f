"""Takes a workload and the systems, hands on the seconds that each of them took, round by round.
The systems take turns in every round, so that whatever else the machine does hits all alike."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from systems import OURS, BenchmarkError, Process, System
from workloads import Workload

# A library's idle threads may spin for a while; they are not to disturb the next turn.
PAUSE_SECONDS = 0.01
# A system that took so long over a start has no other of that workload.
PATIENCE_SECONDS = 8.0


class Settings(NamedTuple):
    """How much is measured.

    repetitions
        Rounds in each of which every system has a turn.
    seconds
        How long a turn is to take.
    starts
        New processes for each figure that only a new process gives.
    compared
        Calls, or training steps, after which results are compared.
    """

    repetitions: int = 9
    seconds: float = 0.03
    starts: int = 3
    compared: int = 5


QUICK = Settings(repetitions=3, seconds=0.02, starts=1)


def measured(
    workload: Workload, systems: list[System], settings: Settings, folder: Path, kept: "Kept"
) -> dict[str, dict]:
    """Lines of results by name, each {"systems": {system: what it took}, "errors": {system: why}}.

    What a system took is {"rounds": seconds of a call (or a start) in each round, "form": which of its
    ways it was, "bytes", "grown": the most memory that the process held, and how much of it above the
    import, where that is measured}. Some workloads give several lines, such as cold and warm. A system
    that fails is among the errors, and has no more turns; one that has no such thing is "absent".
    """
    by = {"calls": _calls, "start": _starts, "import": _imports, "once": _once}
    return by[workload.measure](workload, systems, settings, folder, kept)


class Kept:
    """The running processes of a group of workloads, one for each system, while they are of use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, Process] = {}
        self._group = ""

    def begin(self, workload: Workload) -> None:
        """End those of another group."""
        if workload.group != self._group:
            self.close()
        self._group = workload.group

    def process(self, system: System) -> Process:
        """The system's process, started if there is none."""
        if system.name not in self._processes:
            self._processes[system.name] = system.start(self._folder / system.name)
        return self._processes[system.name]

    def drop(self, name: str) -> None:
        """End the process of a system that failed; it may be beyond use."""
        if name in self._processes:
            self._processes.pop(name).close()

    def close(self) -> None:
        """End them all."""
        for name in list(self._processes):
            self.drop(name)

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Line:
    """A line of results in the making."""

    def __init__(self, systems: list[System]) -> None:
        self.took: dict[str, dict] = {system.name: {"rounds": []} for system in systems}
        self.errors: dict[str, str] = {}
        self.absent: dict[str, str] = {}

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

    def wants(self, system: str) -> bool:
        """Whether the system is to start once more: not if it failed, or takes long."""
        return system in self.took and sum(self.took[system]["rounds"]) < PATIENCE_SECONDS

    def is_absent(self, system: str, why: str) -> None:
        self.absent[system] = why
        del self.took[system]

    def done(self) -> dict:
        found = {"systems": self.took, "errors": self.errors}
        return {**found, "absent": self.absent} if self.absent else found


def _in_turn(systems: list[System], number: int) -> list[System]:
    """The systems in the order of that round: each begins one in turn."""
    first = number % len(systems)
    return systems[first:] + systems[:first]


def _calls(
    workload: Workload, systems: list[System], settings: Settings, folder: Path, kept: Kept
) -> dict[str, dict]:
    line = _Line(systems)
    digests, counts, processes = {}, {}, {}
    kept.begin(workload)

    def prepared(system: System) -> dict:
        try:
            processes[system.name] = kept.process(system)
            asked = {"kind": workload.kind, "settings": workload.settings}
            return processes[system.name].ask("prepare", **asked, compared=settings.compared)
        except BenchmarkError as error:
            return {"failed": error}

    # Compiling is not timed here, so all do it at once; nothing else is done at once.
    with ThreadPoolExecutor(len(systems)) as pool:
        replies = list(pool.map(prepared, systems))
    for system, reply in zip(systems, replies, strict=True):
        with line.turn_of(system.name):
            if "failed" in reply:
                raise reply["failed"]
            if "absent" in reply:
                line.is_absent(system.name, reply["absent"])
                continue
            reply = processes[system.name].ask("choose")
            digests[system.name] = reply["digest"]
            counts[system.name] = max(1, round(settings.seconds / reply["seconds"]))
            line.took[system.name]["form"] = reply["form"]
    _compare(digests, line, workload.tolerance)
    for number in range(settings.repetitions):
        for system in _in_turn(systems, number):
            if system.name not in line.took:
                continue
            with line.turn_of(system.name):
                count = counts[system.name]
                time.sleep(PAUSE_SECONDS)
                reply = processes[system.name].ask("call", before=count // 10 + 1, count=count)
                line.add(system.name, reply["seconds"] / workload.per_call)
    for name in line.errors:
        kept.drop(name)
    return {workload.name: line.done()}


def _compare(digests: dict[str, list | None], line: _Line, tolerance: float) -> None:
    """That every system does what symnet does: its results are symnet's, each of them."""
    ours = digests.get(OURS)
    for name, theirs in digests.items():
        if ours is None or theirs is None:
            continue
        with line.turn_of(name):
            for index, (numbers, expected) in enumerate(zip(theirs, ours, strict=True)):
                far = max(abs(a - b) for a, b in zip(numbers, expected, strict=True))
                if not far <= tolerance * expected[0]:
                    raise BenchmarkError(
                        f"{name}: its result {index} measures {numbers}, {OURS}'s {expected}: "
                        "they do not compute the same"
                    )


def _starts(
    workload: Workload, systems: list[System], settings: Settings, folder: Path, kept: Kept
) -> dict[str, dict]:
    kept.close()
    lines = {"cold": _Line(systems), "warm": _Line(systems)}
    asked = {"kind": workload.kind, "settings": workload.settings}
    for number in range(settings.starts):
        for system in _in_turn(systems, number):
            if not lines["cold"].wants(system.name):
                continue
            with tempfile.TemporaryDirectory(dir=folder) as cache:
                for line in lines.values():
                    if system.name not in line.took:
                        continue
                    with line.turn_of(system.name), system.start(Path(cache, "kept")) as process:
                        reply = process.ask("first", **asked)
                        if "absent" in reply:
                            line.is_absent(system.name, reply["absent"])
                        else:
                            line.add(system.name, reply["seconds"])
                            line.took[system.name] |= {part: reply[part] for part in ("bytes", "grown")}
    return {f"{workload.name}/{state}": line.done() for state, line in lines.items()}


def _imports(
    workload: Workload, systems: list[System], settings: Settings, folder: Path, kept: Kept
) -> dict[str, dict]:
    kept.close()
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


def _once(
    workload: Workload, systems: list[System], settings: Settings, folder: Path, kept: Kept
) -> dict[str, dict]:
    kept.close()
    lines: dict[str, _Line] = {part: _Line(systems) for part in workload.parts}
    asked = {"kind": workload.kind, "settings": workload.settings}
    for number in range(settings.starts):
        for system in _in_turn(systems, number):
            if not all(line.wants(system.name) for line in lines.values() if system.name in line.took):
                continue
            if not any(system.name in line.took for line in lines.values()):
                continue
            try:
                with system.start(folder / system.name) as process:
                    reply = process.ask("once", **asked)
            except BenchmarkError as error:
                reply = {"error": str(error)}
            for part, line in lines.items():
                if system.name not in line.took:
                    continue
                if "error" in reply:
                    line.errors[system.name] = reply["error"]
                    del line.took[system.name]
                elif "absent" in reply or part not in reply["seconds"]:
                    line.is_absent(system.name, reply.get("absent", "no such part"))
                else:
                    line.add(system.name, reply["seconds"][part])
                    line.took[system.name]["grown"] = reply["bytes"]
    return {f"{workload.name}/{part}": line.done() for part, line in lines.items()}
