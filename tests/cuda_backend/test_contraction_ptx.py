"""What GPUs are given for contractions: registers, shared memory, instructions, results of the PTX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .ptxas import MOST_REGISTERS, MOST_SHARED_BYTES

_TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the process that compiles writes."""
    paths = os.pathsep.join([str(_TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "cuda_backend.contraction_ptx"],
        cwd=_TESTS,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_spills_and_shared_memory_is_enough(found: dict[str, Any]) -> None:
    assert len(found["taken"]) == 12
    for name, usage in found["taken"].items():
        assert usage["spill_stores"] == usage["spill_loads"] == usage["stack"] == 0, name
        assert 16 < usage["registers"] < MOST_REGISTERS, name
        assert 0 < usage["shared"] <= MOST_SHARED_BYTES, name
        # Small ones stand side by side in one kernel.
        assert usage["shared"] <= MOST_SHARED_BYTES // 2 or "book" not in name, name


def test_two_blocks_stand_in_a_multiprocessor(found: dict[str, Any]) -> None:
    for name, usage in found["taken"].items():
        assert usage["linked"]["spills"] == 0, name
        assert usage["linked"]["registers"] <= 128, name


def test_slices_are_added_up_from_vectors(found: dict[str, Any]) -> None:
    """A thread has 64 sums, a slice eight inner indices: 512 multiply-adds, 32 loads of four entries."""
    for name in ("product 4096 transposed", "AlexNet's second", "AlexNet's third by filters"):
        for compute in ("8.0", "9.0"):
            counts = found["taken"][f"{name}, {compute}"]["counts"]
            assert counts["fma.rn.f32"] == 512 and counts["ld.shared.v4.f32"] >= 32, (name, counts)
            assert counts["div."] == counts["rem."] == 0, (name, counts)
    assert found["taken"]["product 4096 transposed, 9.0"]["counts"]["ld.global.v4.f32"] == 2


def test_the_code_itself_computes_what_numpy_does(found: dict[str, Any]) -> None:
    assert found["errors"]["product in parts"]["bodies"] == 2
    for name, told in found["errors"].items():
        assert told["error"] <= told["tolerance"], name
