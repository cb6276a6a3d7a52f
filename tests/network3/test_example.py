"""Takes examples/mnist_conv.py as a user runs it, on a part of MNIST, and reads what it gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from symnet.network3 import load_data

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "mnist_conv.py"


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    names = ("training", "validation", "test")
    arrays = {}
    for name, count, (x, y) in zip(names, (500, 100, 200), load_data(), strict=True):
        arrays |= {f"{name}_x": x[:count], f"{name}_y": y[:count]}
    np.savez(path, **arrays)
    return path


def run(*arguments):
    command = [sys.executable, str(EXAMPLE), *map(str, arguments)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_the_last_line_and_the_files(small_mnist, tmp_path):
    result = run(
        "--net", "shallow", "--epochs", 2, "--mini-batch-size", 20, "--eta", 0.5, "--lmbda", 0.01,
        "--seed", 7, "--data", small_mnist, "--save", tmp_path / "net.npz", "--json",
        tmp_path / "net.json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    last = re.fullmatch(r"test accuracy (\d+\.\d\d)%", result.stdout.splitlines()[-1])
    assert 40 < float(last[1]) <= 100
    summary = json.loads((tmp_path / "net.json").read_text())
    assert summary.pop("seconds") > 0
    assert round(100 * summary.pop("test_accuracy"), 2) == float(last[1])
    assert summary == {
        "net": "shallow",
        "epochs": 2,
        "eta": 0.5,
        "lmbda": 0.01,
        "mini_batch_size": 20,
        "seed": 7,
    }
    with np.load(tmp_path / "net.npz") as archive:
        assert archive["layer0.w"].shape == (784, 100)
        assert archive["layer0.w"].dtype == np.float32
    assert "epoch 2 of 2" in result.stderr and "\r" not in result.stderr


def test_one_seed_gives_one_result(small_mnist):
    first, again, other = (
        run("--net", "shallow", "--epochs", 1, "--data", small_mnist, "--seed", seed).stdout
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_missing_file_is_told(tmp_path):
    result = run("--data", tmp_path / "absent")
    assert result.returncode != 0
    assert "there is no file" in result.stderr
