"""What kernels are written in: takes a kernel's text, hands on what simulates it, or PTX as Numba makes it.

The one module that imports `numba.cuda` and its `extending`, and only when something is simulated or Numba
compiles it. A text finds these names: `cuda` and `np` as in any kernel for Numba, `math` with the functions
of the nest dialect (`symnet.backend.cuda.scalar_code` as instructions, `symnet.backend.cuda.scalar_values`
for the simulator), and the functions of `symnet.backend.cuda.memory_code`.
"""

from __future__ import annotations

import builtins
import linecache
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from symnet.backend.cuda import memory_texts, scalar_values
from symnet.errors import CompileError, CudaError


@cache
def _numba_cuda() -> Any:
    try:
        from numba import cuda
    except ImportError as error:
        raise CudaError(
            f"device cuda needs the package numba-cuda, and importing it fails ({error}): "
            "pip install symnet[cuda]"
        ) from error
    return cuda


def simulated() -> bool:
    """Whether kernels are simulated in this process: NUMBA_ENABLE_CUDASIM is 1 when Numba is imported.

    Where it is not imported yet it stays so: a program whose kernels are all in the cache never needs it.
    """
    if "numba" not in sys.modules:
        return os.environ.get("NUMBA_ENABLE_CUDASIM", "") not in ("", "0")
    _numba_cuda()
    from numba.cuda.core import config

    return bool(config.ENABLE_CUDASIM)


# --- compiled -----------------------------------------------------------------------------------------------


def compile(
    source: str,
    name: str,
    signature: Sequence[str],
    compute: tuple[int, int],
    threads: int | None = None,
) -> str:
    """PTX of the kernel `name` in a text, by Numba; `nvvm.compile` takes the same, and is faster.

    Raises
    ------
    CompileError
        When Numba refuses the text, or kernels are simulated in this process.
    CudaError
        When the package numba-cuda is not there.
    """
    if simulated():
        raise CompileError(
            f"kernel {name} can't be compiled: kernels are simulated in this process (NUMBA_ENABLE_CUDASIM)"
        )
    from numba import types
    from numba.core.errors import NumbaError

    cuda = _numba_cuda()
    pointers = [types.CPointer(getattr(types, "uint8" if each == "bool" else each)) for each in signature]
    function = _define(source, name, dict(_compiled_names(compute)))
    try:
        text, _ = cuda.compile(
            function, types.void(*pointers), cc=compute, device=False, abi="numba", launch_bounds=threads
        )
    except NumbaError as error:
        raise CompileError(f"Numba can't compile kernel {name}: {error}") from error
    return _with_plain_name(text, name)


def _with_plain_name(text: str, name: str) -> str:
    """PTX with the kernel's own name for what Numba calls it, and without what Numba's runtime would need."""
    text = re.sub(r"^\.common \.global .*NumbaEnv.*\n", "", text, flags=re.MULTILINE)
    mangled = re.search(r"\.visible \.entry (\w+)\(", text)
    assert mangled is not None, text
    return re.sub(rf"\b{mangled[1]}", name, text)


def _define(source: str, name: str, namespace: dict[str, Any]) -> Any:
    filename = f"<symnet kernel {name}>"
    # Numba and tracebacks quote the text's lines from here.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(builtins.compile(source, filename, "exec"), namespace)
    return namespace[name]


@cache
def _compiled_names(compute: tuple[int, int]) -> dict[str, Any]:
    """What a text that is compiled finds."""
    from numba.cuda.extending import intrinsic

    from symnet.backend.cuda import numba_code

    math = ModuleType("math")
    for name, typed in numba_code.functions_of_math(compute).items():
        setattr(math, name, intrinsic(typed))
    for name in ("inf", "nan"):
        setattr(math, name, getattr(np, name))
    made = {"cuda": _numba_cuda(), "np": np, "math": math}
    return made | {name: intrinsic(typed) for name, typed in numba_code.functions_of_memory().items()}


# --- simulated ----------------------------------------------------------------------------------------------

def simulate(source: str, name: str) -> Callable[..., None]:
    """The kernel `name` of a text as a function: `kernel(blocks, threads, *arrays)` runs block after block.

    The arrays are one-dimensional, and changed in place; those of bools are of uint8. What a thread raises is
    raised here.

    Raises
    ------
    CompileError
        When kernels are not simulated in this process.
    """
    if not simulated():
        raise CompileError(
            f"kernel {name} can't be simulated: set NUMBA_ENABLE_CUDASIM=1 before Numba is imported"
        )
    namespace: dict[str, Any] = {
        "cuda": _numba_cuda(),
        "math": scalar_values.MATH,
        "np": scalar_values.NUMPY,
    }
    exec(memory_texts.SIMULATED, namespace)
    function = _define(source, name, namespace)

    waits = any(word in source for word in ("syncthreads", "lane_swap"))

    def run(blocks: int, threads: int, *arrays: Any) -> None:
        from numba.cuda.simulator.kernelapi import FakeCUDAModule, swapped_cuda_module

        for number in range(blocks):
            # Shared memory is a block's own.
            fake = FakeCUDAModule((blocks, 1, 1), (threads, 1, 1), 0)
            fake._shared = _SharedMemory()
            block = _Block(function, number, threads)
            with swapped_cuda_module(function, fake):
                if waits:
                    block.run_together(arrays)
                else:
                    block.run_in_turn(arrays)

    return run


class _SharedMemory:
    """Shared arrays of a block, one for each line that makes one; their alignment is nothing to simulate."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[Any, int], Any] = {}

    def array(self, shape: int, dtype: Any, alignment: int | None = None) -> Any:
        """The array of the line that calls."""
        caller = sys._getframe(1)
        return self.arrays.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype))


class _Block:
    """One block's threads and their barrier.

    The simulator's `cuda` asks the thread of Python's that runs. Numba's own loop over the threads of a block
    asks again and again whether each waits; here they wake each other, and without a barrier one thread is
    all of them.
    """

    def __init__(self, function: Any, number: int, threads: int) -> None:
        self.function, self.number, self.count = function, number, threads
        self.condition = threading.Condition()
        self.live = threads
        self.waiting = 0
        self.round = 0
        self.error: BaseException | None = None

    def run_in_turn(self, arrays: Sequence[Any]) -> None:
        """Run the threads of a kernel that has no barrier."""
        with np.errstate(all="ignore"):
            for each in range(self.count):
                self._name_thread(each)
                self.function(*arrays)

    def run_together(self, arrays: Sequence[Any]) -> None:
        """Run the threads to their ends."""
        threads = [threading.Thread(target=self._thread, args=(each, arrays)) for each in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.error is not None:
            raise self.error

    def _name_thread(self, number: int) -> None:
        from numba.cuda.simulator.kernelapi import Dim3

        here: Any = threading.current_thread()
        here.threadIdx, here.blockIdx = Dim3(number, 0, 0), Dim3(self.number, 0, 0)
        here.thread_id, here.syncthreads = number, self._wait

    def _thread(self, number: int, arrays: Sequence[Any]) -> None:
        self._name_thread(number)
        try:
            with np.errstate(all="ignore"):
                self.function(*arrays)
        except BaseException as error:
            with self.condition:
                self.error = self.error or error
        finally:
            with self.condition:
                self.live -= 1
                self._open()

    def _wait(self) -> None:
        with self.condition:
            self.waiting += 1
            here = self.round
            self._open()
            while self.round == here:
                self.condition.wait()
            if self.error is not None:
                raise RuntimeError("another thread of the block failed")

    def _open(self) -> None:
        if self.waiting and self.waiting == self.live:
            self.waiting = 0
            self.round += 1
            self.condition.notify_all()
