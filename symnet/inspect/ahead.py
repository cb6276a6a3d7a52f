"""PTX of a function: takes it with arguments, hands on its kernels for a GPU that need not be here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from symnet.compile.call import Input, program_for
from symnet.compile.function import Function
from symnet.compile.specialise import Specialiser
from symnet.compile.target import CUDA
from symnet.errors import ArgumentError


def ptx(
    function: Function, *arguments: Any, compute: tuple[int, int] = (9, 0), **named: Any
) -> dict[str, str]:
    """What a call with these arguments would run on a GPU: for the name of each kernel its PTX.

    Nothing is run, no shared variable is copied, and there need not be any GPU or driver; the package
    numba-cuda must be there (`pip install symnet[cuda]`). The function may be for any device. The programs
    are those of a first call: later ones may be for axes whose lengths are found at run time.

    Parameters
    ----------
    function
        What `symnet.function` made.
    arguments, named
        What it would be called with.
    compute
        The compute capability that the code is for, 8.0 or above.

    Raises
    ------
    ArgumentError
        For a compute capability below 8.0, or a function with mode="reference".
    CudaError
        Where the package is missing.
    CompileError
        In a process whose kernels are simulated (NUMBA_ENABLE_CUDASIM=1), or where an op can't be compiled.
    """
    from symnet.backend.cuda.availability import LEAST_COMPUTE
    from symnet.backend.cuda.machine import A100, H100
    from symnet.backend.cuda.runtime import compiled, plan

    if function.mode.linker == "reference":
        raise ArgumentError(f"ptx of {function!s}: it has no kernels", hint='compile it with mode="default"')
    if compute < LEAST_COMPUTE:
        raise ArgumentError(
            f"ptx of {function!s}: compute={compute!r}: {LEAST_COMPUTE} or above is expected"
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
    codes = compiled(planned.texts, planned.names, machine).codes
    return {code.name: code.ptx for code in codes if code.ptx is not None}
