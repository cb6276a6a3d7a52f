"""Takes a device, runs the contract tests on it by pytest; hands on what passed, what failed and how."""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import gpu_contract_plugin as plugin
from gpu_peers.settings import CUDA, DEVICE_VARIABLE
from systems import HERE, BenchmarkError

TESTS = HERE.parent / "tests" / "contract" / "test_contract.py"
# Those that hold for any device; the others are of the CPU's threads and printers.
CHOSEN = "test_compiled_means_what_numpy_means or test_rewritten_means_the_same"
# The device waits for compiling, which takes cores; more processes than that would crowd it.
MOST_PROCESSES = 16
# Where it is but shown that the suite runs, one test of so many.
TINY_SHARE = 80
TOLD_FAILURES = 20


def outcomes(on: str, cores: int, deadline: float) -> dict:
    """{"passed", "failed", "not run", "seconds", "failures": {test: the end of what it said}}.

    Those that the deadline (by time.monotonic) cuts off are the ones not run. Raises BenchmarkError when
    pytest could not begin.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "outcomes")
        command = [sys.executable, "-m", "pytest", "-q", str(TESTS), "-k", CHOSEN]
        command += ["-p", plugin.__name__, "-p", "no:cacheprovider"]
        if find_spec("xdist") and on == CUDA:
            command += ["-n", str(min(MOST_PROCESSES, cores))]
        path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        # The run is its own, also where a test of this script started it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {"PYTHONPATH": path, plugin.KEPT: str(kept), DEVICE_VARIABLE: on}
        if on != CUDA:
            environment[plugin.SHARE] = str(TINY_SHARE)
        try:
            done = subprocess.run(
                command,
                cwd=HERE.parent,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=max(1.0, deadline - time.monotonic()),
                check=False,
            )
            said = done.stdout
        except subprocess.TimeoutExpired:
            said = "it ran out of time"
        lines = kept.read_text().splitlines() if kept.exists() else []
    found = summarised([json.loads(line) for line in lines])
    if found is None:
        raise BenchmarkError(f"pytest did not begin:\n{said[-3000:]}")
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def summarised(lines: list[dict]) -> dict | None:
    """What the plugin noted, in numbers; None where it noted nothing."""
    collected = next((line["collected"] for line in lines if "collected" in line), None)
    if collected is None:
        return None
    ended = {line["test"]: line for line in lines if "test" in line}
    failures = {test: line["said"] for test, line in ended.items() if line["outcome"] == "failed"}
    return {
        "passed": len(ended) - len(failures),
        "failed": len(failures),
        "not run": collected - len(ended),
        "failures": dict(list(failures.items())[:TOLD_FAILURES]),
    }
