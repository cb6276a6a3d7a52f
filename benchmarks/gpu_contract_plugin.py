"""A plugin for pytest: runs tests with symnet's device set, and notes each outcome in a file as it comes, a
line of JSON each, so that a run that is cut off leaves what it has.

Takes from the environment: BENCHMARK_DEVICE, and the two variables below.
"""

import json
import os

import pytest
from gpu_peers.settings import CPU, SIMULATOR, device, numba_variables

# The file; and that only one of so many tests is run.
KEPT, SHARE = "BENCHMARK_OUTCOMES", "BENCHMARK_SHARE"
SAID_CHARACTERS = 1500


def noted(line):
    """Add a line to the file; whole, also when several processes do."""
    with open(os.environ[KEPT], "a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_configure():
    # The tests' own conftest.py, loaded before, has kernels simulated.
    os.environ.update(numba_variables())


@pytest.fixture(autouse=True)
def on_the_device(default_settings):
    """After the tests' own settings: `device`, and no simulation in its place."""
    from symnet.backend.cuda.toolkit import simulated
    from symnet.config import config

    config.device = "cpu" if device() == CPU else "cuda"
    assert simulated() == (device() == SIMULATOR)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items[:] = items[:: int(os.environ.get(SHARE, "1"))]


def pytest_collection_finish(session):
    # Where processes share the tests out, each of them collects them all, and says so.
    noted({"collected": len(session.items)})


def pytest_runtest_logreport(report):
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # the process that handed it out is told, too
    if report.when == "call" or report.failed:
        outcome = "failed" if report.failed else "passed"
        noted({"test": report.nodeid, "outcome": outcome, "said": report.longreprtext[-SAID_CHARACTERS:]})
