"""What GPUs are given for nests, run thread for thread, computes what NumPy computes."""

import json
import os
import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parent.parent


def test_the_code_itself_computes_what_numpy_does():
    paths = os.pathsep.join([str(_TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "cuda_backend.nest_ptx"],
        cwd=_TESTS,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    passed = json.loads(done.stdout)
    assert len(passed) == 11 and sum(passed.values()) == 34, passed
