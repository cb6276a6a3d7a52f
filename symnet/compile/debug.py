"""The debug ladder: takes what the compiler did, hands it to whoever watches standard error.

`SYMNET_DEBUG=1` (or `config.debug = 1`) tells the passes' times and node counts, 2 each kernel and where
its code came from, 3 its source, 4 every application of a rewrite.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from symnet.config import config

if TYPE_CHECKING:
    from symnet.compile.kernel import Kernel


def tell(level: int, text: str) -> None:
    """Write lines to standard error when the setting is at least this high."""
    if config.debug >= level:
        sys.stderr.write("".join(f"symnet: {line}\n" for line in text.splitlines()))


def tell_rewriting(name: str | None, report: Any) -> None:
    """The passes of one function, and at level 4 what they did."""
    if config.debug >= 1 and report is not None:
        tell(1, f"rewriting {name or 'a function'}\n{report}")
        tell(4, report.log())


def tell_kernels(name: str | None, kernels: list[Kernel], report: dict[str, Any]) -> None:
    """The kernels of one specialisation, and at level 3 their source."""
    if config.debug >= 2:
        facts = ", ".join(f"{key} {value}" for key, value in report.items())
        tell(2, f"compiled {name or 'a function'}: {facts}")
        for kernel in kernels:
            covers = ", ".join(dict.fromkeys(node.op.name for node in kernel.nodes))
            tell(2, f"  {kernel.name}: {covers}")
            tell(3, kernel.source)
