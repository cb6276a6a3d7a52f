"""Measures symnet on a GPU, beside PyTorch and JAX: one command, no network, under eight minutes on an H100.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --python torch=/path/to/venv/bin/python jax=/path/to/venv/bin/python
    python benchmarks/gpu.py --simulate

It runs, one after the other,

    compile     what symnet compiles for the sections of training, several functions at a time
    networks    the book's four networks trained some steps, by f(i) and by f.map; costs against the CPU's
    steps       their training steps at mini-batch 10 and 128, by f(i) and by f.map
    epoch       5,000 steps of the network of two convolutions in one call
    alexnet     AlexNet's training step at 128 x 3 x 224 x 224, in float32, and in TF32 where a peer has it
    memory      elementwise operations and sums of 10^7, 10^8 and 10^9 entries
    products    products of square matrices, of sides 256 to 8192
    contract    tests/contract with the device as symnet's: every op on every sample against NumPy

and prints a table and whether the targets were met; all of it is kept in a file named by the device, in
benchmarks/results, or where --json says. PyTorch is measured eagerly and as a CUDA graph. How the systems
take turns is in README.md, beside this file. Each section has seconds of its own; what does not fit in them,
or fails, is recorded as that, and the others are measured all the same.

--simulate does the same at tiny sizes on Numba's CUDA simulator, to show that the script runs: its times say
nothing of a GPU, and are kept only where --json says. --device cpu does it at those sizes on the CPU.

Status 1: something failed, or was left out for want of time; 2: something asked for can't be had.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_contract
import gpu_networks
import gpu_report
import machine
import table
from gpu_peers.settings import CPU, CUDA, DEVICE_VARIABLE, SIMULATOR
from measure import Kept, Settings, measured
from run import named_python
from systems import HERE, OURS, BenchmarkError, MissingLibraryError, System
from workloads import Workload
from workloads.device import sections

RESULTS = HERE / "results"
# The program of each peer, and whose Python it takes.
PEERS = {"torch": "torch", "torch_graph": "torch", "jax": "jax"}
# What each section may take, in seconds.
BUDGETS = {
    "compile": 75,
    "networks": 40,
    "steps": 110,
    "epoch": 30,
    "alexnet": 50,
    "memory": 45,
    "products": 35,
    "contract": 170,
}
# What finding out the systems may take, and all of it together.
START_SECONDS, ALL_SECONDS = 60, 465
# Where it is but shown that the script runs, whatever else the machine does, all may take so many times that.
SMALL_TIMES = 20
COMPILED_SECTIONS = ("steps", "epoch", "alexnet")
# A program's kernels are compiled on several threads already.
CORES_FOR_COMPILING = 4
REAL = Settings(repetitions=7, seconds=0.03)
TINY = Settings(repetitions=1, seconds=0.001, compared=1)
# Of each section no more than so many workloads where it is but shown that they run.
TINY_WORKLOADS = 3
# Arrays of all systems together, beside what a workload reads and writes once.
COPIES = 5


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    python = {"nargs": "+", "action": "extend", "default": [], "type": named_python}
    parser.add_argument("--python", **python, metavar="NAME=PATH")
    parser.add_argument("--peers", metavar="NAMES", help=f"of {', '.join(PEERS)}, with commas; or none")
    parser.add_argument("--only", metavar="SECTIONS", help=f"of {', '.join(BUDGETS)}, with commas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep there all that was measured")
    parser.add_argument("--simulate", action="store_true", help="tiny, on the CUDA simulator")
    parser.add_argument("--device", choices=(CUDA, CPU), default=CUDA, help="cpu: tiny, on the CPU")
    given = parser.parse_args(argv)
    given.on = SIMULATOR if given.simulate else given.device
    given.python = dict(given.python)
    for option, allowed in (("peers", PEERS), ("only", BUDGETS)):
        names = getattr(given, option)
        names = None if names is None else [] if names == "none" else names.split(",")
        for name in [*(names or []), *(given.python if option == "peers" else [])]:
            if name not in (allowed if option == "only" else {*PEERS, OURS}):
                parser.error(f"--{option} has no {name!r}; there are {', '.join(allowed)}")
        setattr(given, option, names)
    if given.on != CUDA and given.json and RESULTS in given.json.resolve().parents:
        parser.error(f"{given.json}: benchmarks/results is for what a GPU measured; this is the {given.on}")
    return given


class Findings:
    """All that is found, kept in a file whenever something is added, so that a run that is cut off leaves
    what it has.

    errors
        What failed as a whole, by section; failures of one workload stand with it.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        self._started = datetime.now(UTC)
        self.path: Path | None = given.json
        self.found: dict[str, Any] = {
            "date": self._started.isoformat(timespec="seconds"),
            "minutes": 0.0,
            "device": {"name": given.on},
            "machine": machine.description(),
            "settings": {},
            "systems": {},
            "left out": {},
            "limits": None,
            "contract": None,
            "compiling": {},
            "networks": {},
            "workloads": {},
            "targets": [],
            "errors": {},
        }

    def keep(self) -> None:
        """Write the file."""
        self.found["minutes"] = round((datetime.now(UTC) - self._started).total_seconds() / 60, 2)
        self.found["load average after"] = machine.description()["load average"]
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            written = self.path.with_name(self.path.name + ".part")
            written.write_text(json.dumps(self.found, indent=1) + "\n")
            written.replace(self.path)

    @property
    def failed(self) -> bool:
        """Whether anything failed, or was left out for want of time."""
        found = self.found
        lines = [*found["workloads"].values(), *found["networks"].values()]
        contract = found["contract"] or {"failed": 0, "not run": 0}
        return bool(
            found["errors"]
            or any(line.get("errors") for line in lines)
            or contract["failed"]
            or contract["not run"]
        )


class Run:
    """One run of the script: what is measured by what."""

    def __init__(self, given: argparse.Namespace, findings: Findings, folder: Path, kept: Kept) -> None:
        self.given, self.findings, self.folder, self.kept = given, findings, folder, kept
        self.small = given.on != CUDA
        self.settings = TINY if self.small else REAL
        self.found = findings.found
        self.found["settings"] = self.settings._asdict()
        self.cores = self.found["machine"]["cores"]
        self.times = SMALL_TIMES if self.small else 1
        self.ends = time.monotonic() + self.times * ALL_SECONDS
        self.systems: list[System] = []

    def start(self) -> None:
        """Find out which systems there are, and what the device is.

        Raises BenchmarkError where symnet has no device.
        """
        asked = self.given.peers
        if asked is None and self.small:  # only those that were named, and no graphs of CUDA
            asked = [name for name in self.given.python if name in PEERS]
        elif asked is None:
            asked = list(PEERS)
        pythons = {**dict.fromkeys((OURS, *PEERS.values()), sys.executable), **self.given.python}
        wanted = [self._system(name, pythons[PEERS.get(name, name)]) for name in (OURS, *asked)]
        with ThreadPoolExecutor(len(wanted)) as pool:
            hellos = list(pool.map(self._hello, wanted))
        for system, hello in zip(wanted, hellos, strict=True):
            if isinstance(hello, dict):
                self.systems.append(system)
                self.found["systems"][system.name] = system.described
            elif system.name == OURS:
                raise hello
            elif isinstance(hello, MissingLibraryError) and system.name not in (self.given.peers or ()):
                self.found["left out"][system.name] = str(hello)
            else:
                self.found["errors"][system.name] = str(hello)
        device = hellos[0]["device"]
        if "missing" in device:
            raise BenchmarkError(device["missing"])
        self.found["device"] = device
        self.found["limits"] = gpu_report.limits(self.found["device"])

    def _system(self, name: str, python: str) -> System:
        system = System(name, python, self.cores, peers="gpu_peers")
        system.deadline = time.monotonic() + self.times * START_SECONDS
        return system

    def _hello(self, system: System) -> dict | BenchmarkError:
        try:
            with system.start(self.folder / system.name) as process:
                return process.hello
        except BenchmarkError as error:
            return error

    def section(self, name: str) -> None:
        """Run one section within its seconds; what fails as a whole is noted."""
        deadline = min(self.ends, time.monotonic() + self.times * BUDGETS[name])
        told(name)
        for system in self.systems:
            system.deadline = deadline
        try:
            if name == "contract":
                self.found["contract"] = gpu_contract.outcomes(self.given.on, self.cores, deadline)
            elif name == "compile":
                self._compile()
            elif name == "networks":
                self._networks(deadline)
            else:
                self._workloads(name, deadline)
        except (BenchmarkError, OSError) as error:
            self.found["errors"][name] = str(error)
        self.findings.keep()

    def _compile(self) -> None:
        chosen = [each for name in COMPILED_SECTIONS for each in self._chosen(name)]
        chosen = chosen[:1] if self.small else chosen
        # Many steps in a call have the kernels of one, which are in the cache by then.
        chosen.sort(key=lambda workload: workload.kind in ("training_steps", "training_epoch"))
        with ThreadPoolExecutor(max(1, self.cores // CORES_FOR_COMPILING)) as pool:
            for workload, seconds in zip(chosen, pool.map(self._compiled, chosen), strict=True):
                if seconds is not None:
                    self.found["compiling"][workload.name] = seconds

    def _compiled(self, workload: Workload) -> float | None:
        """Seconds until the end of the first call, others at work beside it; None where there is nothing."""
        with self.systems[0].start(self.folder / OURS) as process:
            return process.ask("first", kind=workload.kind, settings=workload.settings).get("seconds")

    def _chosen(self, section: str) -> list[Workload]:
        found = sections(self.small)[section]
        return found[:TINY_WORKLOADS] if self.small else found

    def _networks(self, deadline: float) -> None:
        variables = {DEVICE_VARIABLE: CPU}
        python = self.systems[0].python
        reference = System("cpu", python, self.cores, "gpu_peers", program=OURS, variables=variables)
        reference.deadline = deadline
        for name, line in gpu_networks.trained(self.systems[0], reference, self.kept, self.small):
            self.found["networks"][name] = line
            told(name, line["errors"])
            self.findings.keep()

    def _workloads(self, section: str, deadline: float) -> None:
        for workload in self._chosen(section):
            why = self._why_not(workload, deadline)
            if why:
                lines = {workload.name: {"systems": {}, "errors": {OURS: why}}}
            else:
                lines = measured(workload, self.systems, self.settings, self.folder, self.kept)
            for name, line in lines.items():
                line = table.summarised({**line, "counted": workload.counted})
                if self.small:  # how fast a simulation is beside a processor says nothing
                    line = {part: value for part, value in line.items() if part != "ratio"}
                self.found["workloads"][name] = line
                told(name, line["errors"])
            self.findings.keep()

    def _why_not(self, workload: Workload, deadline: float) -> str:
        """Why the workload is left out; empty, where it is not."""
        if time.monotonic() > deadline:
            return "the seconds of its section were over"
        moved = COPIES * (workload.counted["read"] + workload.counted["written"])
        memory = self.found["device"].get("memory", float("inf"))
        if moved > memory:
            return f"the device's memory of {memory / 2**30:.0f} GiB is too small"
        return ""


def told(name: str, errors: dict | None = None) -> None:
    """A word on what comes next, or what failed of it."""
    failed = f"  failed: {', '.join(errors)}" if errors else ""
    print(f"{name}{failed}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    os.environ[DEVICE_VARIABLE] = given.on
    findings = Findings(given)
    with contextlib.ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        run = Run(given, findings, folder, running.enter_context(Kept(folder)))
        try:
            run.start()
        except BenchmarkError as error:
            print(error, file=sys.stderr)
            return 2
        if given.on == CUDA and findings.path is None:
            named = re.sub(r"[^a-z0-9]+", "-", findings.found["device"]["name"].lower()).strip("-")
            findings.path = RESULTS / f"gpu-{named}.json"
        for name in given.only or BUDGETS:
            run.section(name)
    findings.found["targets"] = gpu_report.targets(findings.found)
    findings.keep()
    print(gpu_report.text(findings.found))
    if findings.path:
        print(f"\nkept in {findings.path}")
    return 1 if findings.failed else 0


if __name__ == "__main__":
    sys.exit(main())
