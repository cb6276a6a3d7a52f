"""Takes a body, hands on the text of a kernel that does it alone, and what the kernel's parameters point at.

A kernel's parameters are pointers: the body's buffers, then `slots` (int64, the sizes found at run time) and
`state` (int64, the words of failures).
"""

from __future__ import annotations

from collections.abc import Mapping

from symnet.backend.cuda.body import BLOCK, OWN, STATE, THREAD, Body
from symnet.backend.cuda.print_body import text_name

SLOTS = "slots"


def signature(body: Body) -> tuple[str, ...]:
    """The dtypes that the parameters of a body's kernel point at; bools are uint8."""
    buffers = ("uint8" if each.dtype == "bool" else each.dtype for each in body.parameters)
    return (*buffers, "int64", "int64")


def kernel_source(name: str, body: Body, slots: Mapping[str, int] | None = None, own: int = 0) -> str:
    """The text of a kernel that does one body alone.

    Parameters
    ----------
    slots
        Where in `slots` each of the body's sizes lies; without it, in the body's order.
    own
        The body's word in `state`.
    """
    where = slots if slots is not None else {size: number for number, size in enumerate(body.sizes)}
    parameters = [*(text_name(each.name) for each in body.parameters), SLOTS, STATE]
    lines = [f"def {name}({', '.join(parameters)}):"]
    lines += [f"    # {comment}" for comment in body.comments]
    lines += [
        f"    {BLOCK} = np.int64(cuda.blockIdx.x)",
        f"    {THREAD} = np.int32(cuda.threadIdx.x)",
        f"    {OWN} = np.int64({own})",
    ]
    lines += [f"    {text_name(size)} = {SLOTS}[{where[size]}]" for size in body.sizes]
    lines += [f"    {line}" for line in body.lines]
    return "\n".join(lines) + "\n"
