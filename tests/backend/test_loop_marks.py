"""What LLVM is told of loops: which ones it may unroll, since unrolling all of them doubles its time."""

import numpy as np
import pytest
from llvmlite import ir

import symnet
import symnet.tensor as T
from symnet.backend.cpu.print_llvm import print_nest


def marks(output, matrix, shape):
    """How many loops the first kernel has, and how many of them LLVM may unroll."""
    f = symnet.function([matrix], output)
    f(np.ones(shape, dtype="float32"))
    module = ir.Module("marks")
    print_nest(module, f.kernels[0].nest)
    loops = str(module).count("!llvm.loop ")
    kept = sum("llvm.loop.unroll.disable" in [str(text) for text in _words(each)] for each in _loops(module))
    return loops, loops - kept


def _loops(module):
    return [each for each in module.metadata if each.operands and each.operands[0] is each]


def _words(loop):
    for part in loop.operands[1:]:
        for word in getattr(part, "operands", ()):
            yield getattr(word, "string", word)


@pytest.mark.parametrize(
    ("expression", "unrolled"),
    [
        (lambda x: T.exp(x) + 1, 0),
        (lambda x: x.sum(axis=1), 0),
        (lambda x: x.sum(axis=0), 1),
        (lambda x: x.T * 2, 0),
    ],
)
def test_only_sums_by_column_are_unrolled(expression, unrolled):
    x = T.fmatrix()
    loops, free = marks(expression(x), x, (300, 100))
    assert loops >= 1
    assert free == unrolled
