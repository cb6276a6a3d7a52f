"""Kernels for a GPU that is not here, in a process that does not simulate: PTX, and what they take of it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError, CompileError

PROGRAM = """
import json
import numpy as np, symnet, symnet.tensor as T
x, w = T.fmatrix("x"), symnet.shared(np.ones((7, 5), "float32"), name="w")
made = symnet.function(
    [x, symnet.In(T.fscalar("rate"), value=0.5)], T.tanh(T.dot(x, w)).sum(axis=1), name="forward",
    updates=[(w, w * 2)], on_unused_input="ignore",
)
before = w.container.version
codes = symnet.inspect.gpu_code(made, np.ones((6, 7), "float32"), compute=(8, 0))
ptx = symnet.inspect.ptx(made, x=np.ones((6, 7)).astype("float32"))
oldest = symnet.inspect.gpu_code(made, np.ones((6, 7), "float32"), compute=(7, 5))
untouched = w.container.version == before and w.container.transfers is None
print(json.dumps({
    "codes": [[c.name, c.source, c.ptx, len(c.binary), c.registers, c.threads] for c in codes],
    "ptx": ptx,
    "oldest": [[c.ptx, len(c.binary), c.spilled_bytes] for c in oldest],
    "untouched": [untouched, made.report["specialisations"]],
}))
"""


@pytest.fixture(scope="module")
def found():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_kernel_has_text_ptx_and_machine_code(found):
    assert found["codes"]
    for name, source, ptx, size, registers, threads in found["codes"]:
        assert f"def {name}(" in source and "cuda.threadIdx.x" in source
        assert ".target sm_80" in ptx and f".entry {name}(" in ptx
        assert size > 0 and 0 < registers <= 255 and threads == 256


def test_ptx_is_for_the_capability_that_is_asked_for(found):
    assert found["ptx"] and all(".target sm_90" in text for text in found["ptx"].values())


def test_the_oldest_gpus_that_are_promised_get_code(found):
    assert found["oldest"]
    for ptx, size, spilled in found["oldest"]:
        assert ".target sm_75" in ptx and size > 0 and spilled == 0


def test_nothing_ran_and_nothing_was_copied(found):
    assert found["untouched"] == [True, 0]


def function():
    x = T.fvector("x")
    return symnet.function([x], x * 2, name="f"), np.ones(3, "float32")


def test_numba_does_not_compile_where_it_simulates():
    f, x = function()
    assert ".target sm_90" in "".join(symnet.inspect.ptx(f, x).values())
    said = "simulated in this process"
    with symnet.config.override(backend="numba"), pytest.raises(CompileError, match=said):
        symnet.inspect.ptx(f, x)


def test_what_can_not_be_compiled_for():
    f, x = function()
    with pytest.raises(ArgumentError, match=r"compute=\(7, 0\): \(7, 5\) or above is expected"):
        symnet.inspect.ptx(f, x, compute=(7, 0))
    y = T.fvector("y")
    with pytest.raises(ArgumentError, match="has no kernels"):
        symnet.inspect.ptx(symnet.function([y], y, mode="reference"), x)
    with pytest.raises(symnet.errors.InputTypeError, match="takes 1 arguments, got 2"):
        symnet.inspect.ptx(f, x, x)
