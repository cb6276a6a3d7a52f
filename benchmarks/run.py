"""Measures symnet beside its peers, all in one run, and prints a table of their times.

    python benchmarks/run.py
    python benchmarks/run.py --only step --peers torch --python torch=/path/to/venv/bin/python
    python benchmarks/run.py --only /conv/,softmax --quick --threads 2 --json results.json --resume

It takes workloads (workloads/) and systems (peers/), each peer in an environment of its own if need be,
since some need an old Python: --python NAME=PATH names the Python that has it, which is this one
otherwise. With no --peers, every peer that its Python has is measured. How it measures, what each figure
is, and what each system may do: README.md, beside this file.

    step, map           a training step of the book's networks, by f(i), and by many in a call
    dot, conv, pool, chain, function, reduce, softmax, cross-entropy, embedding
                        single operations
    overhead            a call that has nothing to do
    compile             from the end of the import to the end of the first call, in a new process:
                        cold with nothing in the system's cache on disk, warm with what that left
    graph               building and rewriting large graphs
    import              the import

Theano and PyTensor take their flags from THEANO_FLAGS and PYTENSOR_FLAGS of the environment, such as
blas.ldflags=-lopenblas and blas__ldflags=-lopenblas. Measure on a quiet machine: libraries that spin
between their threads are slowed many times by whatever takes a core from them. The load is printed and
kept. Status 1: a system failed at a workload; 2: something asked for can't be had.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import machine
import table
from measure import QUICK, Kept, Settings, measured
from systems import OURS, PEERS, BenchmarkError, System, systems
from workloads import Workload, all_workloads


def named_python(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"expected NAME=PATH, got {text!r}")
    return name, path


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return number


def arguments(argv: list[str] | None) -> argparse.Namespace:
    usual, quick = Settings(), QUICK
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(name: str, **settings: Any) -> None:
        parser.add_argument(name, **settings)

    add(
        "--only",
        action="append",
        metavar="NAMES",
        help="workloads with one of these, with commas, in their names; may be given several times",
    )
    add("--peers", metavar="NAMES", help=f"of {', '.join(PEERS)}, with commas; or none")
    add("--python", action="append", default=[], type=named_python, metavar="NAME=PATH")
    add("--threads", type=positive, default=1, help="default: 1")
    add("--quick", action="store_true", help=f"little of everything: {quick}")
    add("--repetitions", type=positive, help=f"rounds (default: {usual.repetitions})")
    add("--seconds", type=float, help=f"of a turn (default: {usual.seconds})")
    add(
        "--starts",
        type=positive,
        help=f"new processes for compile, graph and import (default: {usual.starts})",
    )
    add(
        "--caches",
        type=Path,
        metavar="FOLDER",
        help="keep the systems' compiled code there for the next run, but for compile/",
    )
    add("--json", type=Path, metavar="FILE", help="keep all that was measured, line by line")
    add("--resume", action="store_true", help="keep the lines that FILE has, and measure the others")
    add("--list", action="store_true", help="print the workloads and end")
    given = parser.parse_args(argv)
    for name, value in (quick if given.quick else usual)._asdict().items():
        if getattr(given, name, None) is None:
            setattr(given, name, value)
    if given.resume and not given.json:
        parser.error("--resume needs --json FILE")
    return given


def chosen_workloads(only: list[str] | None) -> list[Workload]:
    everything = all_workloads()
    parts = [part for names in only or [""] for part in names.split(",")]
    found = [each for each in everything if any(part in f"/{each.name}/" for part in parts)]
    if not found:
        names = "\n  ".join(each.name for each in everything)
        raise BenchmarkError(f"no workload has {' or '.join(only or [])} in its name:\n  {names}")
    return found


def chosen_systems(given: argparse.Namespace) -> list[System]:
    peers = given.peers
    if peers is not None:
        peers = [] if peers == "none" else peers.split(",")
    return systems(peers, dict(given.python), given.threads)


class Report:
    """All that is measured, with the machine and the settings that it was measured by; kept in a file
    after each workload, so that a run that is cut off leaves what it has."""

    def __init__(self, given: argparse.Namespace, measuring: list[System]) -> None:
        self._path = given.json
        self._started = datetime.now(UTC)
        settings = Settings(given.repetitions, given.seconds, given.starts, given.compared)
        self.found: dict = {
            "date": self._started.isoformat(timespec="seconds"),
            "minutes": 0.0,
            "machine": machine.description(),
            "load average after": 0.0,
            "settings": {**settings._asdict(), "threads": given.threads},
            "systems": {system.name: system.described for system in measuring},
            "limits": None,
            "workloads": {},
        }
        if given.resume and given.json.exists():
            self._continue(json.loads(given.json.read_text()))

    def _continue(self, before: dict) -> None:
        for part in ("settings", "systems"):
            if before[part] != self.found[part]:
                raise BenchmarkError(
                    f"{self._path} was measured with other {part}: it can't be resumed\n"
                    f"  there: {before[part]}\n  now: {self.found[part]}"
                )
        self.found = before
        self._started -= timedelta(minutes=before["minutes"])

    @property
    def settings(self) -> Settings:
        """By which it is measured."""
        given = dict(self.found["settings"])
        del given["threads"]
        return Settings(**given)

    def has(self, workload: Workload) -> bool:
        """Whether the workload's lines are there already."""
        names = self.found["workloads"]
        return any(name == workload.name or name.startswith(workload.name + "/") for name in names)

    def add(self, workload: Workload, lines: dict[str, dict]) -> None:
        """Lines of a workload; the file is written."""
        for name, line in lines.items():
            if any(workload.counted.values()):
                line = {**line, "counted": workload.counted}
            self.found["workloads"][name] = table.summarised(line)
        self.keep()

    def note_limits(self, ours: System, folder: Path) -> None:
        """Measure the machine's limits; of several times the best are kept, each by itself."""
        with ours.start(folder / OURS) as process:
            now = process.ask("limits")
        before = self.found["limits"] or now
        now["flops"] = max(now["flops"], before["flops"])
        for name in ("reading", "writing"):
            pairs = zip(now[name], before[name], strict=True)
            now[name] = [[size, max(rate, other)] for (size, rate), (_, other) in pairs]
        self.found["limits"] = now

    def keep(self) -> None:
        """Write the file."""
        minutes = (datetime.now(UTC) - self._started).total_seconds() / 60
        self.found["minutes"] = round(minutes, 1)
        self.found["load average after"] = machine.description()["load average"]
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            written = self._path.with_name(self._path.name + ".part")
            written.write_text(json.dumps(self.found, indent=1) + "\n")
            written.replace(self._path)


def measure_all(given: argparse.Namespace, workloads: list[Workload]) -> dict:
    """What `Report` holds of these workloads."""
    measuring = chosen_systems(given)
    report = Report(given, measuring)
    with contextlib.ExitStack() as running:
        folder = given.caches or Path(running.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        kept = running.enter_context(Kept(folder))
        counted = any(any(each.counted.values()) for each in workloads)
        if counted:
            report.note_limits(measuring[0], folder)
        for number, workload in enumerate(workloads):
            if report.has(workload):
                continue
            try:
                lines = measured(workload, measuring, report.settings, folder, kept)
            except KeyboardInterrupt:
                print("interrupted: what was measured till then follows", file=sys.stderr)
                break
            report.add(workload, lines)
            added = {name: report.found["workloads"][name] for name in lines}
            told(f"[{number + 1}/{len(workloads)}]", added)
        if counted:
            report.note_limits(measuring[0], folder)
    report.keep()
    return report.found


def told(place: str, lines: dict[str, dict]) -> None:
    """A word on each line, while the others are measured."""
    for name, line in lines.items():
        ratio = line.get("ratio")
        told = f"{line['fastest_peer']} / {OURS} {ratio['of least']:.2f}" if ratio else ""
        failed = f"  failed: {', '.join(line['errors'])}" if line["errors"] else ""
        print(f"{place} {name}  {told}{failed}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    try:
        workloads = chosen_workloads(given.only)
        if given.list:
            print("\n".join(each.name for each in workloads))
            return 0
        found = measure_all(given, workloads)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    print(table.described(found) + "\n\n" + table.table(found))
    failures = [(name, line["errors"]) for name, line in found["workloads"].items() if line["errors"]]
    for name, errors in failures:
        for error in errors.values():
            print(f"\n{name}\n{error}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
