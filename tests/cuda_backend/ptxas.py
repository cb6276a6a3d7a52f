"""Takes kernels as PTX, hands on what each takes of a device, as `ptxas -v` says (package nvidia-cuda-nvcc).

Needs no device and no driver.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: What a thread, or a block, may have on devices of compute capability 8.0 and 9.0.
MOST_REGISTERS = 255
REGISTERS_OF_A_MULTIPROCESSOR = 65536
#: Shared memory that a kernel may have without asking for more than the usual.
MOST_SHARED_BYTES = 48 * 1024
#: Parameters of a kernel (4 KiB up to CUDA 12.0, and where PTX is older).
MOST_PARAMETER_BYTES = 4096


@dataclass(frozen=True)
class Usage:
    """What one kernel takes: registers of a thread; bytes of shared memory of a block; bytes of the stack
    of a thread, and those of it that are spilt registers, stored and loaded."""

    registers: int
    shared: int
    stack: int
    spill_stores: int
    spill_loads: int

    @property
    def spills(self) -> int:
        """Bytes of registers kept in memory."""
        return self.spill_stores + self.spill_loads


@functools.cache
def program() -> str:
    """Where ptxas is."""
    from cuda.pathfinder import find_nvidia_binary_utility

    found = find_nvidia_binary_utility("ptxas")
    assert found is not None, "ptxas is not there: pip install nvidia-cuda-nvcc"
    return str(found)


def usages(ptx: str, compute: tuple[int, int]) -> dict[str, Usage]:
    """For each kernel of a module what it takes on devices of a compute capability.

    Raises
    ------
    ValueError
        When ptxas refuses the module; with its words and the line.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.ptx"
        path.write_text(ptx)
        machine = f"-arch=sm_{compute[0]}{compute[1]}"
        # As the linker has it done: as a part of a program, in which others could follow.
        command = [program(), "-v", "-c", machine, str(path), "-o", str(path.with_suffix(".cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise ValueError(f"ptxas {machine} refuses a module:\n{done.stderr}{_lines_named(done.stderr, ptx)}")
    return read(done.stderr)


def usages_of_all(modules: Sequence[str], compute: tuple[int, int]) -> list[dict[str, Usage]]:
    """The same for each of many modules, which are assembled as one: most of the time goes to beginning."""
    header = "".join(line for line in modules[0].splitlines(keepends=True) if _HEADER.match(line))
    parts = []
    for number, ptx in enumerate(modules):
        assert set(_HEADER.findall(ptx)) == set(_HEADER.findall(header))
        # Each module's own names are made different from the others'.
        names = "|".join(name for found in _OWN_NAME.findall(ptx) for name in found if name)
        parts.append(re.sub(rf"\b({names})\b", rf"\1__{number}", _HEADER.sub("", ptx)))
    found: list[dict[str, Usage]] = [{} for _ in modules]
    for name, usage in usages(header + "\n".join(parts), compute).items():
        name, _, number = name.rpartition("__")
        found[int(number)][name] = usage
    assert all(found)
    return found


_HEADER = re.compile(r"^\.(?:version|target|address_size) .*\n", re.MULTILINE)
#: Of kernels, functions, and tables of constants.
_OWN_NAME = re.compile(
    r"^\.visible \.entry (\w+)|^\.func +\([^()]*\) *(\w+)|^\.global [^={]*?(\w+)(?:\[\d+\])+ =", re.MULTILINE
)
_KERNEL = re.compile(r"Compiling entry function '(\S+)' for")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers(.*)")
_SHARED = re.compile(r"(\d+) bytes smem")


def read(text: str) -> dict[str, Usage]:
    """What `ptxas -v` wrote, by kernel.

    Raises
    ------
    ValueError
        When it is not written as is known, so that nothing passes for nothing used.
    """
    found: dict[str, Usage] = {}
    name, stack = None, None
    for line in text.splitlines():
        if match := _KERNEL.search(line):
            name, stack = match[1], None
        elif match := _STACK.search(line):
            stack = tuple(map(int, match.groups()))
        elif match := _USED.search(line):
            if name is None or stack is None:
                raise ValueError(f"ptxas wrote of registers before the kernel and its stack:\n{text}")
            shared = _SHARED.search(match[2])
            found[name] = Usage(int(match[1]), int(shared[1]) if shared else 0, *stack)
            name = None
    if not found or name is not None:
        raise ValueError(f"ptxas wrote nothing of what a kernel takes:\n{text}")
    return found


def _lines_named(message: str, ptx: str) -> str:
    """The lines of a module that a message names by number."""
    lines = ptx.splitlines()
    numbers = dict.fromkeys(int(each) for each in re.findall(r"line (\d+)", message))
    return "".join(f"{n}: {lines[n - 1]}\n" for n in list(numbers)[:5] if n <= len(lines))
