"""Compiling on several cores: takes kernels' texts, hands on their PTX and machine code.

One kernel at a time is compiled in a process, part of it in Python. Where that would take long and cores are
there, processes beside this one share the kernels out among them; each ends when there are none left.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any

from symnet.backend.cuda.linker import Linked
from symnet.errors import CompileError, SymnetError

#: Characters of text whose compiling takes about as long as a process takes to begin, by what compiles.
_WORTH_A_PROCESS = {"llvm": 40_000, "numba": 16_000}
_MOST_PROCESSES = 8
#: Folders that only this process finds modules in come last: a script's own `types.py` is not Python's.
_SERVE = (
    "import sys; sys.path += [each for each in sys.argv[1:] if each not in sys.path];"
    "from symnet.backend.cuda.workers import serve; serve()"
)


@dataclass(frozen=True)
class Job:
    """A kernel to compile: its text and name, the dtypes behind its pointers, what it is for, and by what
    (`config.backend`)."""

    source: str
    name: str
    signature: tuple[str, ...]
    compute: tuple[int, int]
    threads: int
    backend: str = "llvm"


Made = tuple[str, Linked]


def compile_all(jobs: Sequence[Job], processes: int | None = None) -> list[Made]:
    """PTX and machine code of kernels.

    Parameters
    ----------
    processes
        How many processes to start; as many as pay unless given, 0 for none.

    Raises
    ------
    CompileError
        When a text is refused, or a process ends before it has answered.
    CudaError
        When a package is missing.
    """
    count = processes if processes is not None else _processes(jobs)
    if count == 0:
        return [compile_one(job) for job in jobs]
    left: SimpleQueue[int] = SimpleQueue()
    # The longest first, so that none is begun when the others are done.
    for number in sorted(range(len(jobs)), key=lambda number: -len(jobs[number].source)):
        left.put(number)
    made: dict[int, Made] = {}
    with ThreadPoolExecutor(count) as threads:
        for each in [threads.submit(_have_made, jobs, left, made) for _ in range(count)]:
            each.result()
    return [made[number] for number in range(len(jobs))]


def compile_one(job: Job) -> Made:
    """PTX and machine code of a kernel, made in this process."""
    from symnet.backend.cuda import nvvm, toolkit
    from symnet.backend.cuda.linker import link_for

    compile = toolkit.compile if job.backend == "numba" else nvvm.compile
    ptx = compile(job.source, job.name, job.signature, job.compute, job.threads)
    return ptx, link_for(ptx, job.name, job.compute, job.threads)


def _processes(jobs: Sequence[Job]) -> int:
    """How many processes pay for themselves; they are no use with fewer than two, or without cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    work = sum(len(job.source) / _WORTH_A_PROCESS[job.backend] for job in jobs)
    count = min(cores - 1, len(jobs), int(work), _MOST_PROCESSES)
    return count if count >= 2 else 0


def _have_made(jobs: Sequence[Job], left: SimpleQueue[int], made: dict[int, Made]) -> None:
    """Start a process and give it jobs until there are none left."""
    # It is there to compile, whatever this process does.
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    command = [sys.executable, "-P", "-c", _SERVE, *(each for each in sys.path if each)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        while True:
            try:
                number = left.get_nowait()
            except Empty:
                return
            job = jobs[number]
            try:
                process.stdin.write(json.dumps(asdict(job)) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if not answer:
                raise CompileError(f"the process that compiles kernel {job.name} ended")
            found: dict[str, Any] = json.loads(answer)
            if "error" in found:
                raise CompileError(found["error"])
            binary = base64.b64decode(found["binary"])
            made[number] = found["ptx"], Linked(binary, *found["takes"])
    finally:
        # A process that ended has no use for what is still on its way to it.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


def serve() -> None:
    """Answer each job on standard input by a line on standard output, until there are no more."""
    answers = sys.stdout
    # What a library prints is no answer.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        given = json.loads(line)
        given["signature"], given["compute"] = tuple(given["signature"]), tuple(given["compute"])
        answer: dict[str, Any]
        try:
            ptx, linked = compile_one(Job(**given))
            takes = [linked.registers, linked.shared_bytes, linked.spilled_bytes]
            answer = {"ptx": ptx, "binary": base64.b64encode(linked.binary).decode(), "takes": takes}
        except SymnetError as error:
            answer = {"error": error.asked}
        except Exception as error:
            answer = {"error": f"kernel {given['name']} can't be compiled: {type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
