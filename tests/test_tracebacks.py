"""What a program that ends in an error of symnet's prints: its own lines, and the message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import symnet

ROOT = Path(symnet.__file__).parents[1]
FAILING = {
    "graph": ("T.constant([1.0, 2.0, 3.0]) + T.constant([1.0, 2.0])", "ShapeError"),
    "call": ("symnet.function([x], x + 1)('text')", "InputValueError"),
    "run": ("symnet.function([x], x[T.constant([5])])([1.0])", "IndexingError"),
}


def printed(tmp_path, text, **environment):
    script = tmp_path / "script.py"
    script.write_text(f"import symnet\nimport symnet.tensor as T\nx = T.dvector('x')\n{text}\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("when", FAILING)
def test_no_frame_of_symnet_is_shown(tmp_path, when):
    text, kind = FAILING[when]
    told = printed(tmp_path, f"def mine():\n    return {text}\nmine()")
    trace = told.split(kind)[0]
    frames = [line for line in trace.splitlines() if line.startswith('  File "')]
    assert kind in told and str(ROOT / "symnet") not in trace
    assert len(frames) == 2 and "in <module>" in frames[0] and "in mine" in frames[1]


@pytest.mark.parametrize("when", FAILING)
def test_all_frames_are_shown_to_who_asks(tmp_path, when):
    text, kind = FAILING[when]
    told = printed(tmp_path, text, SYMNET_DEBUG="1")
    assert str(ROOT / "symnet") in told.split(kind)[0]


def test_a_callbacks_own_frames_stay(tmp_path):
    text = (
        "from symnet.errors import ArgumentError\n"
        "import symnet.theano\n"
        "def show(op, value):\n    raise ArgumentError('seen enough')\n"
        "f = symnet.function([x], symnet.theano.printing.Print('x', global_fn=show)(x) + 1)\n"
        "f([1.0])"
    )
    told = printed(tmp_path, text)
    assert "in show" in told and "seen enough" in told and "host.py" not in told


def test_other_errors_are_shown_as_they_are(tmp_path):
    told = printed(tmp_path, "symnet.function([x], x, mode=1 / 0)")
    assert told.rstrip().endswith("ZeroDivisionError: division by zero")


def test_a_hook_of_the_programs_own_is_still_called(tmp_path):
    text = (
        "import sys, symnet.tracebacks as t\n"
        "sys.excepthook = lambda kind, error, trace: print('mine:', kind.__name__, file=sys.stderr)\n"
        "t.install()\n"
        "T.constant([1.0, 2.0, 3.0]) + T.constant([1.0, 2.0])"
    )
    assert printed(tmp_path, text) == "mine: ShapeError\n"
