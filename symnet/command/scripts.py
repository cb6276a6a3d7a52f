"""`symnet run`, `inspect` and `bench`: take a script and its arguments, run it as Python would, with
`import theano` meaning symnet, and tell what it compiled."""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from symnet.command.recording import Record, Recording
from symnet.compile.function import Function
from symnet.tracebacks import hide_insides


def add_to(commands: Any) -> None:
    """Add the commands to the parser's."""
    descriptions = {
        "run": (
            "run a Theano or symnet script, with `import theano` meaning symnet",
            "Run a script as `python SCRIPT` would, with `import theano` meaning symnet.",
            run_script,
        ),
        "inspect": (
            "list the functions that a script compiles: nodes, kernels, time",
            "Run a script, then list the functions that it compiled: nodes, kernels, seconds to compile.",
            inspect_script,
        ),
        "bench": (
            "time the functions that a script calls",
            "Run a script, then list the functions that it called: calls, and the time that they took.",
            bench_script,
        ),
    }
    for name, (short, long, run) in descriptions.items():
        command = commands.add_parser(name, help=short, description=long)
        if name == "run":
            command.add_argument(
                "--profile", action="store_true", help="then print where the time of each function went"
            )
            command.add_argument(
                "--html", metavar="DIR", help="then write a page to DIR for each function that was called"
            )
        else:
            help_text = "print JSON after what the script prints"
            command.add_argument("--json", action="store_true", help=help_text)
        command.add_argument("script", metavar="SCRIPT", help="a Python file")
        rest = argparse.REMAINDER
        command.add_argument("arguments", metavar="ARGS", nargs=rest, help="the script's arguments")
        command.set_defaults(run=run)


def run_script(options: argparse.Namespace) -> int:
    """Run a script; its exit code."""
    if not options.profile and options.html is None:
        return _execute(options.script, options.arguments)
    with Recording(profiled=True) as recording:
        code = _execute(options.script, options.arguments)
    called = [record.function for record in recording.records if record.calls and record.function.kernels]
    if options.profile:
        for function in called:
            print(f"\n{function.profiled}")
    if options.html is not None:
        _write_pages(called, Path(options.html))
    return code


def _write_pages(functions: Sequence[Function], folder: Path) -> None:
    """A page for each function, by its name and, where several have it, a number."""
    from symnet.inspect.page import html

    folder.mkdir(parents=True, exist_ok=True)
    used: dict[str, int] = {}
    for function in functions:
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in function.name or "function")
        used[stem] = used.get(stem, 0) + 1
        path = folder / (f"{stem}.html" if used[stem] == 1 else f"{stem}_{used[stem]}.html")
        html(function, path, profile=function.profiled)
        print(path)


def inspect_script(options: argparse.Namespace) -> int:
    """Run a script and list what it compiled."""
    with Recording() as recording:
        code = _execute(options.script, options.arguments)
    rows = [_compiled(record) for record in recording.records]
    _tell(rows, options.json, "the script compiled no function")
    return code


def bench_script(options: argparse.Namespace) -> int:
    """Run a script and list what its calls took."""
    with Recording() as recording:
        code = _execute(options.script, options.arguments)
    rows = [_called(record) for record in recording.records if record.calls]
    rows.sort(key=lambda row: -row["seconds"])
    _tell(rows, options.json, "the script called no function that symnet compiled")
    return code


def _execute(script: str, arguments: list[str]) -> int:
    import symnet.theano

    path = Path(script)
    if not path.is_file():
        print(f"symnet: there is no file {script}", file=sys.stderr)
        return 2
    symnet.theano.install()
    before = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [script, *arguments], str(path.resolve().parent)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as leave:
        return _code(leave.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BaseException as error:
        error.__traceback__ = _own_frames(error.__traceback__, script)
        hide_insides(error)
        traceback.print_exception(error)
        return 1
    finally:
        sys.argv, sys.path[0] = before
        sys.stdout.flush()
    return 0


def _own_frames(trace: TracebackType | None, script: str) -> TracebackType | None:
    """A traceback from the script's first frame on; all of it when the script was never reached."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename != script:
        found = found.tb_next
    return found or trace


def _code(code: Any) -> int:
    """The exit code that Python makes of `sys.exit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def _compiled(record: Record) -> dict[str, Any]:
    function, report = record.function, record.function.report
    return {
        "function": function.name or "unnamed",
        "line": record.line,
        "nodes": record.nodes,
        "rewritten": len(function.graph.toposort()),
        "kernels": len(function.kernels),
        "rewriting s": round(function.rewrite_seconds, 4),
        "first call s": round(record.first_seconds, 4),
        "cache": report.get("cache", "not called"),
    }


def _called(record: Record) -> dict[str, Any]:
    return {
        "function": record.function.name or "unnamed",
        "line": record.line,
        "calls": record.calls,
        "seconds": round(record.seconds, 4),
        "first s": round(record.first_seconds, 4),
        "least us": round(record.least * 1e6, 1),
        "median us": round(record.median * 1e6, 1),
    }


def _tell(rows: list[dict[str, Any]], as_json: bool, nothing: str) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print(nothing)
        return
    columns = list(rows[0])
    texts = [columns, *([str(row[column]) for column in columns] for row in rows)]
    widths = [max(len(text[place]) for text in texts) for place in range(len(columns))]
    left = [isinstance(rows[0][column], str) for column in columns]
    print()
    for text in texts:
        cells = (
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(text, widths, left, strict=True)
        )
        print("  ".join(cells).rstrip())
