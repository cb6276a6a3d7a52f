"""Takes benchmarks/run.py as a user runs it, on symnet alone and little of everything, and holds it
to what it promises: a table, a file, and plain words where something can't be had."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_symnet_alone(tmp_path):
    kept = tmp_path / "results" / "kept.json"
    little = ["--repetitions", 2, "--seconds", 0.005, "--starts", 1]
    chosen = ["--only", "step/shallow/10", "--only", "compile/shallow", "--only", "import"]
    done = run("--peers", "none", *little, *chosen, "--json", kept)
    assert done.returncode == 0, done.stderr
    found = json.loads(kept.read_text())
    lines = found["workloads"]
    assert list(lines) == [
        "step/shallow/10",
        "compile/shallow/cold",
        "compile/shallow/warm",
        "import",
    ]
    for name, line in lines.items():
        assert name in done.stdout
        took = line["systems"]["symnet"]
        assert 0 < took["least"] <= took["median"] < 60
        assert "ratio" not in line
    assert len(lines["step/shallow/10"]["systems"]["symnet"]["rounds"]) == 2
    assert lines["step/shallow/10"]["systems"]["symnet"]["bytes"] > 2**20
    assert found["machine"]["cores"] >= 1 and found["machine"]["processor"]
    assert {"symnet", "numpy", "python"} <= set(found["systems"]["symnet"]["versions"])


def test_a_peer_that_is_not_installed(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    done = run("--peers", "theano", "--python", f"theano={bare}", "--only", "import")
    assert done.returncode == 2
    assert f"theano: {bare} has no package theano" in done.stderr
    assert "--python theano=PATH" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peers", "tensorflow"], "no peer is called 'tensorflow'"),
        (["--only", "nothing"], "no workload has nothing in its name"),
        (["--peers", "torch", "--python", "torch=/nowhere/python"], "/nowhere/python can't be run"),
    ],
)
def test_what_there_is_not(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
