"""Takes benchmarks/gpu.py as a user runs it, at tiny sizes on the CUDA simulator and on the CPU, and holds it
to what it promises: every section, a file without a GPU's figures, and nothing lost when something fails."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


def run(*arguments, **variables):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)


def test_all_of_it_simulated(tmp_path):
    kept = tmp_path / "kept.json"
    before = sorted(RESULTS.iterdir())
    done = run("--simulate", "--json", kept)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(kept.read_text())
    assert found["device"] == {"name": "simulator"}
    assert found["errors"] == {}
    assert found["contract"]["passed"] > 5
    assert (found["contract"]["failed"], found["contract"]["not run"]) == (0, 0)
    assert found["compiling"]["step/shallow/2"] > 0
    assert list(found["networks"]) == ["shallow", "basic_conv", "dbl_conv_relu", "dropout"]
    for line in found["networks"].values():
        assert len(line["costs"]) == len(line["costs on the CPU"]) == 2
        assert line["costs"][0] != line["costs"][1]
        assert line["largest difference"] <= 1e-3 and line["map is equal"]
    families = {each.partition("/")[0] for each in found["workloads"]}
    assert families == {"step", "map", "alexnet", "elementwise", "reduction", "product", "epoch"}
    for workload, line in found["workloads"].items():
        assert line["errors"] == {} and "ratio" not in line
        assert ("symnet" in line["systems"]) != ("/tf32/" in workload)
    # No figure of it is anything's.
    assert {(target["reached"], target["met"]) for target in found["targets"]} == {(None, None)}
    assert "tiny sizes: no time below is a GPU's" in done.stdout
    assert sorted(RESULTS.iterdir()) == before


def test_only_a_gpu_writes_results():
    done = run("--device", "cpu", "--only", "products", "--json", RESULTS / "gpu-none.json")
    assert done.returncode == 2
    assert "benchmarks/results is for what a GPU measured" in done.stderr
    assert not (RESULTS / "gpu-none.json").exists()


def test_no_gpu():
    done = run("--only", "products", "--peers", "none", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stderr.startswith('device "cuda" can\'t be used')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "everything"], "--only has no 'everything'"),
        (["--peers", "tensorflow"], "--peers has no 'tensorflow'"),
        (["--python", "torch"], "expected NAME=PATH, got 'torch'"),
    ],
)
def test_what_there_is_not(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_how_long_compiling_takes():
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_compile.py"), "--rounds", "1", "--networks"]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [*command, "small-shallow"], capture_output=True, text=True, timeout=900, env=environment
    )
    assert done.returncode == 0, done.stderr
    *_, row = done.stdout.splitlines()
    kernels, llvm, numba, ratio = re.fullmatch(
        r"\| small-shallow \| (\d+) \| (\S+) s \| (\S+) s \| (\S+) \| \S+ to \S+ \|", row
    ).groups()
    assert int(kernels) >= 3 and float(llvm) > 0 and float(numba) > 0
    assert float(ratio) == pytest.approx(float(numba) / float(llvm), rel=0.1)
    done = subprocess.run([*command, "deep"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and "--networks has no 'deep'" in done.stderr


@pytest.fixture
def gpu(module, monkeypatch):
    gpu = module("gpu")
    monkeypatch.setenv(gpu.DEVICE_VARIABLE, "cpu")
    return gpu


def test_a_section_whose_time_is_over(gpu, monkeypatch, tmp_path):
    monkeypatch.setitem(gpu.BUDGETS, "memory", 0)
    kept = tmp_path / "kept.json"
    assert gpu.main(["--device", "cpu", "--only", "memory,products", "--json", str(kept)]) == 1
    lines = json.loads(kept.read_text())["workloads"]
    late = lines["elementwise/scaled/100"]
    assert late["systems"] == {} and "seconds of its section were over" in late["errors"]["symnet"]
    assert lines["product/float32/8x8x8"]["systems"]["symnet"]["least"] > 0


def test_a_system_that_does_not_answer(module, gpu, tmp_path):
    systems = module("systems")
    system = systems.System("symnet", sys.executable, 1, peers="gpu_peers")
    with system.start(tmp_path) as process:
        # What has stopped can't be quick enough to answer all the same.
        os.kill(process._process.pid, signal.SIGSTOP)
        system.deadline = 0
        with pytest.raises(systems.BenchmarkError, match="symnet: out of time at train"):
            process.ask("train", kind="product", settings={}, calls=1)


def test_a_section_that_fails(gpu, monkeypatch, tmp_path):
    def failing(*_):
        raise gpu.BenchmarkError("pytest did not begin")

    monkeypatch.setattr(gpu.gpu_contract, "outcomes", failing)
    kept = tmp_path / "kept.json"
    assert gpu.main(["--device", "cpu", "--only", "contract,products", "--json", str(kept)]) == 1
    found = json.loads(kept.read_text())
    assert found["errors"] == {"contract": "pytest did not begin"}
    assert "product/float32/8x8x8" in found["workloads"]


def test_costs_that_differ(module):
    compared = module("gpu_networks").compared
    assert compared([2.0, 1.0], [2.0, 1.0], [2.0, 1.0005])["errors"] == {}
    assert "apart from the CPU's" in compared([2.0, 1.0], [2.0, 1.0], [2.0, 1.01])["errors"]["costs"]
    assert "apart from the CPU's" in compared([2.0, float("nan")], [2.0, 1.0], [2.0, 1.0])["errors"]["costs"]
    assert "f.map" in compared([2.0, 1.0], [2.0, 1.0 + 2**-23], [2.0, 1.0])["errors"]["map"]


def test_contract_outcomes(module):
    summarised = module("gpu_contract").summarised
    assert summarised([]) is None
    lines = [
        {"collected": 4},
        {"test": "a", "outcome": "passed", "said": ""},
        {"test": "b", "outcome": "passed", "said": ""},
        {"test": "b", "outcome": "failed", "said": "in its teardown"},
        {"collected": 4},
        {"test": "c", "outcome": "passed", "said": ""},
    ]
    assert summarised(lines) == {
        "passed": 2,
        "failed": 1,
        "not run": 1,
        "failures": {"b": "in its teardown"},
    }


def test_the_contract_of_a_gpu_is_not_simulated(module, monkeypatch):
    """Other tests have kernels simulated; on what shows no GPU all that are to run there must fail."""
    contract = module("gpu_contract")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv(contract.plugin.SHARE, "500")
    found = contract.outcomes("cuda", 1, time.monotonic() + 900)
    assert (found["passed"], found["failed"], found["not run"]) == (0, 2, 0)
    assert all('device "cuda" can\'t be used' in said for said in found["failures"].values())


def measured(**seconds):
    return {"systems": {name: {"rounds": rounds} for name, rounds in seconds.items()}, "errors": {}}


def test_targets(module, tmp_path):
    table, report = module("table"), module("gpu_report")
    device = {
        "name": "A Device",
        "compute capability": "9.0",
        "multiprocessors": 2,
        "memory": 2**34,
        "CUDA of the driver": 13000,
        "flops": 1e12,
        "bandwidth": 1e12,
    }
    lines = {
        # The eager peer does not count, JAX is the faster of the others.
        "step/shallow/10": measured(
            symnet=[1.0, 2.0, 1.0], jax=[4.0, 6.0, 5.0], torch=[0.5] * 3, torch_graph=[9.0] * 3
        ),
        "step/dropout/10": measured(symnet=[1.0, 1.0], torch_graph=[2.0, 2.0]),
        "alexnet/float32/128x3x224x224": measured(symnet=[10.0], torch=[9.5], torch_graph=[9.1]),
        "epoch/dbl_conv_relu/5000-steps": measured(symnet=[0.4, 0.6, 0.45]),
    }
    for length in report.LENGTHS:
        took = 8 * length / 1e12 / (0.9 if length > 10**7 else 0.8)
        moved = {"flops": 0, "read": 4 * length, "written": 4 * length}
        lines[f"elementwise/scaled/{length}"] = {**measured(symnet=[took]), "counted": moved}
    found = {
        "device": device,
        "limits": report.limits(device),
        "workloads": {name: table.summarised(line) for name, line in lines.items()},
    }
    told = {target["what"].split(",")[0].split(":")[0]: target for target in report.targets(found)}
    reached = {what: (target["reached"], target["met"]) for what, target in told.items()}
    assert reached == {
        "shallow": ("4.00", True),
        "basic_conv": (None, None),
        "dbl_conv_relu": (None, None),
        "dropout": ("2.00", False),
        "elementwise": ("80%", False),
        "sums of all": (None, None),
        "AlexNet": ("0.91", True),
        "an epoch of the network of two convolutions": ("0.45 s", True),
    }
    found["targets"] = report.targets(found)
    kept, readme = tmp_path / "kept.json", tmp_path / "README.md"
    kept.write_text(json.dumps(found))
    readme.write_text(f"before\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nafter\n")
    assert report.main([str(kept), "--into", str(readme)]) == 0
    text = readme.read_text()
    assert "| A Device |" in text and "| under 0.5 s | 0.45 s |" in text and "old" not in text
    assert text.count("not measured yet") == 3
    found["device"] = {"name": "simulator"}
    kept.write_text(json.dumps(found))
    assert report.main([str(kept), "--into", str(readme)]) == 2
    assert readme.read_text() == text
    assert {target["reached"] for target in report.targets(found)} == {None}


def test_the_targets_that_readme_shows(module):
    """They are those of a file in results that holds that device's, or none."""
    report = module("gpu_report")
    found = [json.loads(path.read_text()) for path in RESULTS.glob("gpu-*.json")]
    tables = {report.markdown(each) for each in [report.NOTHING, *found]}
    _, _, rest = (ROOT / "README.md").read_text().partition(report.MARKS[0])
    shown, _, _ = rest.partition(report.MARKS[1])
    assert shown.strip() in tables
