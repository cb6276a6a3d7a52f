"""Runs a module of this folder in a process that simulates nothing; hands on the JSON that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parent.parent


def written_by(module: str, *arguments: str, timeout: float = 600) -> Any:
    """What `python -m cuda_backend.MODULE ARGUMENTS` writes.

    Kernels are compiled there as in a user's process, where Numba's simulator takes nothing's place.
    """
    paths = os.pathsep.join([str(_TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", f"cuda_backend.{module}", *arguments],
        cwd=_TESTS,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
