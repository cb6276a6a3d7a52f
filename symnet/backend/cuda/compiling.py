"""Compiling on several cores: takes kernels' texts, hands on their PTX and machine code.

Two thirds of the time go to libNVVM and the linker, which serve several threads at once; meanwhile texts are
read on the caller's thread. Numba does not serve several, nor would it gain by it: what it does is Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from symnet.backend.cuda import nvvm, toolkit
from symnet.backend.cuda.libraries import library
from symnet.backend.cuda.linker import Linked, link_for
from symnet.config import config
from symnet.errors import SymnetError


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


def compile_all(jobs: Sequence[Job]) -> list[Made]:
    """PTX and machine code of kernels, made on at most `config.threads` threads.

    Raises
    ------
    CompileError
        When a text is refused.
    CudaError
        When a package is missing.
    """
    together = [job for job in jobs if job.backend == "llvm"] if config.threads > 1 else []
    made: dict[Job, Future[Made]] = {}
    if len(together) > 1:
        # What is missing is told here, on the caller's thread.
        library("nvvm"), nvvm.libdevice(), library("nvjitlink")
        with ThreadPoolExecutor(min(config.threads, len(together))) as pool:
            # The longest first, so that none is begun when the others are done.
            for job in sorted(together, key=lambda job: -len(job.source)):
                made[job] = pool.submit(_finished, job, _read(job))
    return [_result(job, made.get(job)) for job in jobs]


def _result(job: Job, made: Future[Made] | None) -> Made:
    # What a thread refuses is refused once more on the caller's, where the user's line is found.
    if made is None or isinstance(made.exception(), SymnetError):
        return compile_one(job)
    return made.result()


def _read(job: Job) -> bytes:
    return nvvm.ir_of(job.source, job.name, job.signature, job.compute, job.threads)


def _finished(job: Job, text: bytes) -> Made:
    ptx = nvvm.ptx_of(text, job.name, job.compute)
    return ptx, link_for(ptx, job.name, job.compute, job.threads)


def compile_one(job: Job) -> Made:
    """PTX and machine code of a kernel."""
    if job.backend == "llvm":
        return _finished(job, _read(job))
    ptx = toolkit.compile(job.source, job.name, job.signature, job.compute, job.threads)
    return ptx, link_for(ptx, job.name, job.compute, job.threads)
