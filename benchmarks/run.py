"""Measures symnet beside its peers, all in one run, and prints a table of their times.

    python benchmarks/run.py
    python benchmarks/run.py --only step --peers torch --python torch=/path/to/venv/bin/python
    python benchmarks/run.py --only dbl_conv --threads 1 --json benchmarks/results/one-thread.json

It takes workloads (workloads.py) and systems (peers/), each peer in an environment of its own if
need be, since some need an old Python: --python NAME=PATH names the Python that has it, which is
this one otherwise. With no --peers, every peer that its Python has is measured.

Each system runs in its own processes. Those of a workload stay alive together and take turns, in
rounds, so that whatever else the machine does hits all alike; the first five steps of all must move
the same parameters as far. Reported are, for each system, the least and the median time of a call
over the rounds and the most memory that its process held; and how many times as long as symnet the
fastest peer took: the median of the rounds' ratios, the least and the most of them, and the ratio
of the least times.

    step/NETWORK/SIZE   one training step of the book's networks, called as f(i) in a Python loop
    compile/NETWORK     from the end of the import to the end of the first call, in a new process:
                        cold with nothing in the system's cache on disk, warm with what that left
    import              the import

--threads is what every system is told to use; symnet's compiled functions use one thread so far,
which the table's head says. Theano takes its flags from THEANO_FLAGS of the environment, such as
blas.ldflags=-lopenblas. Measure on a quiet machine: libraries that spin between their threads are
slowed many times by whatever takes a core from them. The load is printed and kept.
Status 1: a system failed at a workload; 2: something asked for can't be had.
"""

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import machine
import table
from measure import Settings, measured
from systems import PEERS, BenchmarkError, System, systems
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
    usual = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="workloads with this in their name; may be given several times",
    )
    parser.add_argument(
        "--peers", metavar="NAMES", help=f"of {', '.join(PEERS)}, with commas; or none"
    )
    parser.add_argument(
        "--python", action="append", default=[], type=named_python, metavar="NAME=PATH"
    )
    parser.add_argument("--threads", type=positive, default=1, help="default: 1")
    parser.add_argument(
        "--repetitions",
        type=positive,
        default=usual.repetitions,
        help=f"rounds (default: {usual.repetitions})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=usual.seconds,
        help=f"of a turn (default: {usual.seconds})",
    )
    parser.add_argument(
        "--starts",
        type=positive,
        default=usual.starts,
        help=f"new processes for compile and import (default: {usual.starts})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all that was measured")
    parser.add_argument("--list", action="store_true", help="print the workloads and end")
    return parser.parse_args(argv)


def chosen_workloads(only: list[str] | None) -> list[Workload]:
    everything = all_workloads()
    found = [each for each in everything if not only or any(part in each.name for part in only)]
    if not found:
        names = "\n  ".join(each.name for each in everything)
        raise BenchmarkError(f"no workload has {' or '.join(only or [])} in its name:\n  {names}")
    return found


def chosen_systems(given: argparse.Namespace) -> list[System]:
    peers = given.peers
    if peers is not None:
        peers = [] if peers == "none" else peers.split(",")
    return systems(peers, dict(given.python), given.threads)


def report(given: argparse.Namespace, workloads: list[Workload]) -> dict:
    """All that is measured, with the machine and the settings that it was measured by."""
    settings = Settings(given.repetitions, given.seconds, given.starts)
    before, started = machine.description(), datetime.now(UTC)
    measuring = chosen_systems(given)
    lines: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, workload in enumerate(workloads):
            note = f"[{number + 1}/{len(workloads)}] {workload.name}"
            print(note, file=sys.stderr, flush=True)
            try:
                found = measured(workload, measuring, settings, Path(folder))
            except KeyboardInterrupt:
                print("interrupted: what was measured till then follows", file=sys.stderr)
                break
            lines |= {name: table.summarised(line) for name, line in found.items()}
    return {
        "date": started.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - started).total_seconds() / 60, 1),
        "machine": before,
        "load average after": machine.description()["load average"],
        "settings": {**settings._asdict(), "threads": given.threads},
        "systems": {system.name: system.described for system in measuring},
        "workloads": lines,
    }


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    try:
        workloads = chosen_workloads(given.only)
        if given.list:
            print("\n".join(each.name for each in workloads))
            return 0
        found = report(given, workloads)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    shown = found["machine"]
    load = f"load {shown['load average']} before, {found['load average after']} after"
    print(f"{shown['processor']}, {shown['cores']} cores, {load}")
    for name, system in found["systems"].items():
        versions = ", ".join(f"{what} {version}" for what, version in system["versions"].items())
        print(f"{name}: {versions}")
    print("\n" + table.table(workloads, found["workloads"], found["systems"]))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    failures = [
        f"\n{name}, {error}"
        for name, line in found["workloads"].items()
        for error in line["errors"].values()
    ]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
