"""Takes benchmarks/run.py as a user runs it, on symnet alone and little of everything, and holds it
to what it promises: a table, a file, and plain words where something can't be had."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def run(*arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


LITTLE = ["--peers", "none", "--repetitions", 2, "--seconds", 0.001, "--starts", 1]


def test_symnet_alone(tmp_path):
    kept = tmp_path / "results" / "kept.json"
    chosen = ["--only", "step/shallow/10", "--only", "compile/shallow,/import/"]
    done = run(*LITTLE, *chosen, "--json", kept)
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
    memory = lines["compile/shallow/cold"]["systems"]["symnet"]
    assert 2**20 < memory["grown"] < memory["bytes"]
    assert found["machine"]["cores"] >= 1 and found["machine"]["processor"]
    assert {"symnet", "numpy", "python"} <= set(found["systems"]["symnet"]["versions"])
    assert found["limits"]["flops"] > 1e8
    # Forward and by the weights in both layers, by the inputs in the second; multiply-adds are two.
    assert lines["step/shallow/10"]["counted"]["flops"] == 2 * 10 * (2 * 784 * 100 + 3 * 100 * 10)
    assert f"{memory['bytes'] / 2**20:.0f}, +{memory['grown'] / 2**20:.0f} MiB" in done.stdout
    assert "GFLOP/s" in done.stdout and "(flops)" in done.stdout


def test_a_workload_of_each_kind_and_resuming(tmp_path):
    kept = tmp_path / "kept.json"
    names = [
        "dot/nn/64x64x64",
        "conv/by_filters/lenet5-2",
        "conv/by_images/lenet5-2",
        "pool/both/network3-2",
        "chain/5/1000",
        "reduce/argmax/axis-0",
        "cross-entropy/10x10",
        "embedding/gather",
        "overhead/twenty-arrays",
        "graph/100",
    ]
    done = run(*LITTLE, "--only", ",".join(f"/{name}/" for name in names[:-2]), "--json", kept)
    assert done.returncode == 0, done.stderr
    before = json.loads(kept.read_text())["workloads"]
    assert list(before) == names[:-2]
    everything = ",".join(f"/{name}/" for name in names)
    done = run(*LITTLE, "--only", everything, "--json", kept, "--resume")
    assert done.returncode == 0, done.stderr
    after = json.loads(kept.read_text())["workloads"]
    assert list(after) == [*names[:-1], "graph/100/build", "graph/100/rewrite"]
    assert {name: after[name] for name in before} == before
    assert after["dot/nn/64x64x64"]["counted"] == {
        "flops": 2 * 64**3,
        "read": 4 * 2 * 64**2,
        "written": 4 * 64**2,
    }
    done = run(*LITTLE, "--only", everything, "--json", kept, "--resume", "--threads", 2)
    assert done.returncode == 2
    assert "was measured with other settings" in done.stderr


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


def took(*rounds):
    return {"rounds": list(rounds)}


def test_ratios_and_shares_of_the_limit(module):
    table = module("table")
    line = {
        "systems": {"symnet": took(1.0, 2.0, 1.0), "jax": took(9.0, 9.0, 9.0), "torch": took(3.0, 8.0, 2.5)},
        "errors": {},
        "counted": {"flops": 50, "read": 30, "written": 30},
    }
    found = table.summarised(line)
    assert found["fastest_peer"] == "torch"
    assert found["ratio"] == {"median": 3.0, "least": 2.5, "most": 4.0, "of least": 2.5}
    limits = {
        "flops": 100.0,
        "threads": 2,
        "reading": [[50, 1000.0], [100, 500.0]],
        "writing": [[50, 1000.0], [100, 100.0]],
    }
    assert table.share_of_limit(found, limits) == (0.6, "bytes")
    found["counted"] = {"flops": 80, "read": 60, "written": 0}
    assert table.share_of_limit(found, limits) == (0.8, "flops")
    assert table.share_of_limit(found, None) is None


def test_a_table_within_a_file(module, tmp_path):
    table = module("table")
    systems = {
        "symnet": {**took(1e-3, 2e-3), "form": ""},
        "torch": {**took(4e-3, 5e-3), "form": "torch.compile"},
    }
    line = table.summarised({"systems": systems, "errors": {}, "absent": {"theano": "has none"}})
    described = {"threads": 2, "versions": {"python": "3"}}
    found = {
        "machine": {"processor": "a processor", "cores": 2, "load average": 0.1},
        "load average after": 0.2,
        "systems": dict.fromkeys(("symnet", "torch", "theano"), described),
        "workloads": {"step/shallow/10": line},
    }
    kept, readme = tmp_path / "kept.json", tmp_path / "README.md"
    kept.write_text(json.dumps(found))
    readme.write_text(f"before\n{table.MARKS[0]}\nold\n{table.MARKS[1]}\nafter\n")
    assert table.main([str(kept), "--into", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    row = (
        "| step/shallow/10 | 1 / 1.5 ms | 4 / 4.5 ms (torch.compile) | – | torch 3.25 | 2.50 to 4.00 | 4.00 |"
    )
    assert row in text.split("\n")
    readme.write_text("no marks")
    assert table.main([str(kept), "--into", str(readme)]) == 2
    assert readme.read_text() == "no marks"


def test_a_peer_that_computes_something_else(module):
    measure, systems = module("measure"), module("systems")
    line = measure._Line([systems.System(name, sys.executable, 1) for name in ("symnet", "torch", "jax")])
    measure._compare({"symnet": [[2.0, 1.0]], "torch": [[2.0, 1.001]], "jax": [[2.0, -1.0]]}, line, 1e-3)
    assert list(line.took) == ["symnet", "torch"]
    assert "they do not compute the same" in line.errors["jax"]
