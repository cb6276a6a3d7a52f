"""Code ahead of a GPU: takes a function with arguments, hands on kernels for one that need not be here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from symnet.backend.cuda.device import Code
from symnet.compile.call import Input, program_for
from symnet.compile.function import Function
from symnet.compile.specialise import Specialiser
from symnet.compile.target import CUDA
from symnet.errors import ArgumentError


def ptx(
    function: Function, *arguments: Any, compute: tuple[int, int] = (9, 0), **named: Any
) -> dict[str, str]:
    """The PTX of each kernel, by name, that a call with these arguments would run on a GPU.

    As `gpu_code`, which tells more.
    """
    return {each.name: each.ptx for each in gpu_code(function, *arguments, compute=compute, **named)}


def gpu_code(
    function: Function, *arguments: Any, compute: tuple[int, int] = (9, 0), **named: Any
) -> list[Code]:
    """The kernels that a call with these arguments would run on a GPU: text, PTX, machine code, registers.

    Nothing is run, no shared variable is copied, and there need not be any GPU or driver; the packages of
    `pip install symnet[cuda]` must be there. The function may be for any device. The kernels are those of a
    first call: later ones may be for axes whose lengths are found at run time. They are kept in the cache,
    where a call on such a GPU finds them (for another number of multiprocessors they may differ).

    Parameters
    ----------
    function
        What `symnet.function` made.
    arguments, named
        What it would be called with.
    compute
        The compute capability that the code is for, 7.5 or above.

    Raises
    ------
    ArgumentError
        For a compute capability below 7.5, or a function with mode="reference".
    CudaError
        Where the package is missing.
    CompileError
        Where an op can't be compiled; by Numba (`config.backend`), also in a process whose kernels are
        simulated (NUMBA_ENABLE_CUDASIM=1).
    """
    from symnet.backend.cuda.availability import LEAST_COMPUTE
    from symnet.backend.cuda.machine import A100, H100
    from symnet.backend.cuda.runtime import compiled, plan

    if function.mode.linker == "reference":
        raise ArgumentError(f"{function!s} has no kernels", hint='compile it with mode="default"')
    if compute < LEAST_COMPUTE:
        raise ArgumentError(
            f"kernels of {function!s}: compute={compute!r}: {LEAST_COMPUTE} or above is expected"
        )
    machines = {each.compute: each for each in (A100, H100)}
    machine = machines.get(compute, replace(H100, compute=compute))
    caller = function._caller
    inputs: list[Input] = [
        caller.default(position) if caller.is_missing(value) else caller.convert(position, value)
        for position, value in enumerate(caller.ordered(arguments, named))
    ]
    inputs += [each.container for each in function.get_shared()]
    program = program_for(
        *(function.graph, len(function.inputs), function._form.count, function.updates),
        *(Specialiser(function.graph, inputs, set(), {}).run(), function.name, CUDA),
    )
    planned = plan(program, machine)
    return compiled(planned.texts, planned.names, machine).codes
