"""Kernels for people: takes the calls of one kernel in a program, hands on its name, lines and source."""

from __future__ import annotations

from collections.abc import Sequence

from symnet.compile.program import ContractionCall, KernelCall


class Kernel:
    """One kernel of a compiled function, which may run several times at other places.

    Attributes
    ----------
    name
        Its name in the object code.
    nodes
        The applications of ops that it covers.
    lines
        The user's lines that wrote them.
    calls
        Where the program runs it.
    blocks
        The blocks of threads that do its work on a GPU; None on the CPU.
    resources
        What it takes of a GPU, in words; empty on the CPU.
    """

    blocks: int | None = None
    resources = ""

    def __init__(self, calls: Sequence[KernelCall | ContractionCall]) -> None:
        first = calls[0]
        self.calls = tuple(calls)
        self.nodes = tuple(dict.fromkeys(node for call in calls for node in call.nodes))
        self.nest = first.plain if isinstance(first, ContractionCall) else first.kernel
        #: The product or convolution that it is; None for a loop nest.
        self.contraction = first.contraction if isinstance(first, ContractionCall) else None
        self.name = self.nest.name
        self.lines = list(dict.fromkeys(node.source for node in self.nodes if node.source is not None))

    @property
    def source(self) -> str:
        """The kernel's text: Numba source, or of a function on a GPU the text that is compiled for it."""
        return self.plain_source

    @property
    def plain_source(self) -> str:
        """The loops that the kernel means, as Numba source."""
        from symnet.compile.print_numba import print_nest

        return print_nest(self.nest)

    def __repr__(self) -> str:
        return f"<kernel {self.name}: {len(self.nodes)} nodes>"
