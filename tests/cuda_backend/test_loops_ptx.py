"""Loops of kernels as PTX: those of few counts are none, and those of many count on beyond 32 bits."""

from __future__ import annotations

import re

import numpy as np
import pytest

from symnet.backend.cuda import nvvm
from symnet.backend.cuda.text_code import module_of

from .ptx_machine import Machine
from .ptx_text import read


def kernel(numbers: str, first: int = 0) -> str:
    """One whose threads each store what they count of a range, from `first` on, into `x`."""
    return (
        "def kernel(x, slots, state):\n"
        "    thread = cuda.threadIdx.x\n"
        f"    for number in range({numbers}):\n"
        f"        x[number - {first}] = number\n"
    )


SIGNATURE = ["int64"] * 3


def has_loop(ptx: str) -> bool:
    """Whether a branch leads back."""
    labels = {found[1]: found.start() for found in re.finditer(r"^(\$\w+):", ptx, re.M)}
    return any(labels[found[1]] < found.start() for found in re.finditer(r"\bbra(?:\.uni)?\s+(\$\w+)", ptx))


@pytest.mark.parametrize("end, looped", [(200, False), (256, False), (100000, True)])
def test_threads_that_take_one_item_at_most_do_not_loop(end: int, looped: bool) -> None:
    """A thread's number is known to be natural, and below that of the threads."""
    source = kernel(f"thread, {end}, 256")
    assert has_loop(nvvm.compile(source, "kernel", SIGNATURE, (9, 0), 256)) == looped
    # With more threads than that, as where nothing is said of them, the same holds.
    assert has_loop(nvvm.compile(source, "kernel", SIGNATURE, (9, 0))) == looped


def test_as_many_threads_as_there_may_be_count() -> None:
    """What is left out for a block of 256 is needed by one of 128."""
    for threads in (128, 256):
        ptx = nvvm.compile(kernel("thread, 256, 128"), "kernel", SIGNATURE, (9, 0), threads)
        arrays = [np.full(256, -1), *np.zeros((2, 8), "int64")]
        machine = Machine(read(ptx))
        pieces = [(machine.memory.place(each), each.nbytes) for each in arrays]
        machine.launch("kernel", 1, threads, pieces)
        np.testing.assert_array_equal(machine.memory.array(pieces[0][0], arrays[0]), np.arange(256))


@pytest.mark.parametrize(
    "bounds",
    [
        range(2**30 - 3, 2**30 - 1),
        range(2**31 - 3, 2**31 + 5, 3),
        range(2**32 - 1, 2**32 + 4),
        range(0, 2**33, 2**31 - 1),
        range(5, -1, -1),
    ],
)
def test_counts_are_as_wide_as_they_must_be(bounds: range) -> None:
    first = min(bounds)
    source = kernel(f"{bounds.start}, {bounds.stop}, {bounds.step}", first)
    if bounds.step > 2**16:
        source = source.replace(f"x[number - {first}]", f"x[number // {bounds.step}]")
    counter = re.findall(r"alloca (i\d+)\n", str(module_of(source, "kernel", SIGNATURE, (9, 0), 1)))
    assert ("i32" in counter[1:]) == (bounds.stop < 2**30)
    machine = Machine(read(nvvm.compile(source, "kernel", SIGNATURE, (9, 0), 1)))
    arrays = [np.full(16, -1), *np.zeros((2, 8), "int64")]
    pieces = [(machine.memory.place(each), each.nbytes) for each in arrays]
    machine.launch("kernel", 1, 1, pieces)
    found = machine.memory.array(pieces[0][0], arrays[0])
    assert sorted(found[found >= 0]) == sorted(bounds)
