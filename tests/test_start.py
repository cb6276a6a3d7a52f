"""What a process loads before it needs it: the start of every program that imports the package."""

import json
import subprocess
import sys

import pytest


def loaded(code):
    """The modules that a fresh process has after running the code."""
    code += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (
            "import symnet",
            "llvmlite numba symnet.compile.nest symnet.compile.lower symnet.compile.program "
            "symnet.compile.call symnet.rewrite.pipeline symnet.backend symnet.inspect symnet.network3",
        ),
        ("import symnet.network3", "llvmlite numba http.client ssl symnet.compile.lower symnet.backend"),
        (
            "import symnet, symnet.tensor as T\nx = T.dvector()\nsymnet.function([x], x * 2)([1.0])",
            "numba symnet.compile.print_numba importlib.metadata email",
        ),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(code, unwanted):
    assert loaded(code).isdisjoint(unwanted.split())
