"""A program that has no room on a GPU is told with its peak and its largest buffers.

`python -m tests.cuda_backend.test_room` writes the text anew; read the difference before you keep it.
"""

import dataclasses
import pathlib

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.backend.cuda.backend import require_memory
from symnet.compile.nest import Nest
from symnet.compile.program import Buffer, KernelCall, Program
from symnet.errors import CudaError
from symnet.graph.source import SourceLine

TEXT = pathlib.Path(__file__).parent / "golden" / "too_little_memory.txt"
MIB = 1 << 20


class Gpu:
    """Has so many bytes free."""

    name = "NVIDIA Example"

    def __init__(self, free):
        self.free = free

    def free_bytes(self):
        return self.free


def program():
    """Two convolutions of a mini-batch, as far as memory goes."""
    x = T.ftensor4("x")
    buffers = [
        Buffer("x", "float32", 8 * MIB, "input", 0),
        Buffer("w", "float32", MIB, "input", 1),
        Buffer("images", "float32", 64 * MIB, "arena", offset=0),
        Buffer("sums", "float64", MIB, "arena", offset=256 * MIB),
        Buffer("more", "float32", 4 * MIB, "arena", offset=264 * MIB),
        Buffer("cost", "float32", 1, "output", 0),
    ]
    steps = []
    for line, used in ((12, [0, 1, 2]), (13, [2, 3]), (14, [3, 4, 5])):
        node = T.exp(x).owner
        node.source = SourceLine("train.py", line, "step", "cost = T.exp(x)")
        nest = Nest(f"train_k_{line}", (), (), ())
        steps.append(KernelCall(nest, tuple(buffers[each] for each in used), (node,)))
    made = Program("train", steps=steps, buffers=buffers)
    made.arena_bytes = 280 * MIB
    return made


def variable():
    return symnet.shared(np.zeros(MIB, "float32"), name="w")


def needed():
    return (280 + 32 + 4) * MIB + 64


def message():
    try:
        require_memory(program(), 1, [variable()], Gpu(100 * MIB))
    except CudaError as error:
        return "\n".join(line for line in str(error).splitlines() if not line.startswith("  File ")) + "\n"
    raise AssertionError("it has room")


def without_source(text):
    """Without the line of this test that asks."""
    return "\n".join(line for line in text.splitlines() if "require_memory(" not in line) + "\n"


def test_the_message():
    assert without_source(message()) == TEXT.read_text()


def test_what_has_room_is_let_pass():
    require_memory(program(), 1, [variable()], Gpu(needed()))
    with pytest.raises(CudaError):
        require_memory(program(), 1, [variable()], Gpu(needed() - 1))


def test_a_shared_variable_counts_until_it_is_there():
    w, device = variable(), Gpu(needed() - 4 * MIB)
    with pytest.raises(CudaError):
        require_memory(program(), 1, [w], device)

    @dataclasses.dataclass
    class Array:
        device: Gpu
        shape: tuple
        dtype: np.dtype
        version: int = -1

        def upload(self, array, transfers):
            pass

    w.container.on(device, lambda shape, dtype: Array(device, shape, dtype), object)
    require_memory(program(), 1, [w, w.clone()], device)


if __name__ == "__main__":
    TEXT.write_text(without_source(message()))
