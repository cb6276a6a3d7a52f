"""The command line, as a shell runs it: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import symnet

ROOT = Path(symnet.__file__).parents[1]
SCRIPT = """
import sys
import numpy
import theano
import theano.tensor as T

x = T.dmatrix("x")
w = theano.shared(numpy.ones((3, 2)), name="w")
f = theano.function([x], T.tanh(T.dot(x, w)).sum(), updates=[(w, w * 0.5)], name="step")
theano.function([x], x * 2, name="never_called")
for _ in range(4):
    print(round(float(f(numpy.ones((5, 3)))), 6))
print(sys.argv[1:], __name__)
"""


@pytest.fixture
def symnet_command(tmp_path):
    """`symnet_command(*arguments)`: the finished process."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SYMNET_CACHE_DIR": str(tmp_path / "cache"),
    }

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "symnet", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
            env={**environment, **more},
        )

    return run


@pytest.fixture
def script(tmp_path):
    def write(text=SCRIPT):
        path = tmp_path / "script.py"
        path.write_text(text)
        return path

    return write


def test_run_runs_a_theano_script_as_python_would(symnet_command, script):
    done = symnet_command("run", script(), "--epochs", "3")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [float(line) for line in lines[:2]] == [9.950548, 9.051483]
    assert lines[-1] == "['--epochs', '3'] __main__"


def test_run_tells_profiles_and_writes_pages(symnet_command, script, tmp_path):
    done = symnet_command("run", "--profile", "--html", tmp_path / "pages", script())
    assert done.returncode == 0, done.stderr
    assert "step: " in done.stdout and "outside the kernels" in done.stdout
    assert "never_called" not in done.stdout
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["step.html"]
    page = (tmp_path / "pages" / "step.html").read_text()
    assert "f = theano.function([x], T.tanh(T.dot(x, w))" in page and '"seconds": null' not in page


def test_inspect_lists_functions(symnet_command, script):
    path = script()
    done = symnet_command("inspect", path)
    assert done.returncode == 0, done.stderr
    header, step, other = done.stdout.splitlines()[-3:]
    assert header.split("  ")[0] == "function"
    assert step.startswith("step") and f"{path}:9" in step and step.endswith("miss")
    assert other.startswith("never_called") and other.endswith("not called")
    found = symnet_command("inspect", "--json", path).stdout
    rows = json.loads(found[found.index("[\n") :])
    assert [row["function"] for row in rows] == ["step", "never_called"]
    assert rows[0]["kernels"] >= 1 and rows[0]["cache"] == "hit"


def test_bench_tells_what_calls_took(symnet_command, script):
    found = symnet_command("bench", "--json", script()).stdout
    (row,) = json.loads(found[found.index("[\n") :])
    assert row["function"] == "step" and row["calls"] == 4
    assert 0 < row["least us"] <= row["median us"]
    assert row["first s"] > row["least us"] * 1e-6


def test_a_script_that_fails_shows_its_own_lines_alone(symnet_command, script):
    text = "import theano.tensor as T\nx = T.dmatrix('x')\nx.reshape(3, 4, 5)\n1 / 0\n"
    done = symnet_command("run", script(text))
    assert done.returncode == 1
    assert "runpy" not in done.stderr and "symnet/command" not in done.stderr
    assert "script.py" in done.stderr


@pytest.mark.parametrize(
    ("leave", "code"), [("sys.exit(7)", 7), ("sys.exit()", 0), ("sys.exit('no')", 1), ("pass", 0)]
)
def test_a_scripts_own_exit_code_is_handed_on(symnet_command, script, leave, code):
    done = symnet_command("run", script(f"import sys\n{leave}\n"))
    assert done.returncode == code
    assert done.stderr == ("no\n" if "'no'" in leave else "")


def test_what_is_not_understood(symnet_command):
    missing = symnet_command("run", "nowhere.py")
    assert missing.returncode == 2 and missing.stderr == "symnet: there is no file nowhere.py\n"
    assert symnet_command("walk").returncode == 2
    assert symnet_command().returncode == 2


@pytest.mark.parametrize("command", [[], ["info"], ["run"], ["inspect"], ["bench"], ["cache"]])
def test_help_everywhere(symnet_command, command):
    done = symnet_command(*command, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: symnet")


def test_info(symnet_command):
    done = symnet_command("info")
    assert done.returncode == 0, done.stderr
    sections = [line for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert sections == ["versions", "processor", "threads", "cuda", "cache"]
    found = json.loads(symnet_command("info", "--json", SYMNET_THREADS="3").stdout)
    assert found["versions"]["symnet"] == symnet.__version__
    assert found["threads"]["config.threads"] == 3
    assert found["cache"]["bytes"] == 0
    assert {"numba-cuda", "driver", "config.device", "device cuda"} <= set(found["cuda"])
    assert ("what to do" in found["cuda"]) == ("can't be used" in found["cuda"]["device cuda"])


def test_cache_is_told_and_cleared(symnet_command, script):
    symnet_command("run", script())
    before = json.loads(symnet_command("cache", "--json").stdout)
    assert before["files"] >= 1 and before["bytes"] > 0
    cleared = json.loads(symnet_command("cache", "--clear", "--json").stdout)
    assert cleared["removed"] == before["files"] and cleared["files"] == 0


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m symnet info | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout == "versions\n" and done.stderr == ""
