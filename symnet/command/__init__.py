"""The command line: takes arguments as the shell splits them, hands on an exit code.

Codes: 0, all went well; 1, the script failed (its traceback is on the standard error); 2, the command
was not understood or a file is not there. A script's own `sys.exit(code)` is handed on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

_DESCRIPTION = "Symbolic tensors, differentiated and compiled as a whole."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    run: Callable[[Any], int] = options.run
    try:
        return run(options)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    from symnet import __version__
    from symnet.command import information, scripts

    parser = argparse.ArgumentParser(prog="symnet", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"symnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    information.add_to(commands)
    scripts.add_to(commands)
    return parser
