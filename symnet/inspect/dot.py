"""Graphs as DOT: takes variables or functions, hands on text that graphviz draws, and does not need it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from symnet.errors import ArgumentError, MissingProgramError
from symnet.inspect.graphs import Diagram, Seconds, diagram
from symnet.inspect.subject import type_text

#: Shape and fill by kind; a buffer's kind ends in "buffer".
_STYLES = {
    "op": ("box", "#ffffff"),
    "input": ("ellipse", "#cfe8cf"),
    "given": ("ellipse", "#cfe8cf"),
    "shared": ("cylinder", "#cfdcf2"),
    "constant": ("plaintext", "#ffffff"),
    "output": ("ellipse", "#f2d6cf"),
    "update": ("cylinder", "#f2d6cf"),
    "kernel": ("box", "#fff2c8"),
}
_BUFFER = ("note", "#eeeeee")
_LABEL = 70


def to_dot(
    thing: Any,
    stage: str | None = None,
    seconds: Seconds = None,
    max_label_size: int = _LABEL,
    types: bool = True,
) -> str:
    """A graph as text in the DOT language.

    Parameters
    ----------
    thing
        A variable, a list of variables, or a function.
    stage
        "user", "rewritten" or "program", as for `to_networkx`. At "rewritten", after a call, what one
        kernel computes has a frame.
    seconds
        Times by kernel name, as far as they were measured; or the profile of `f.profile(…)`.
    max_label_size
        Labels are cut to so many characters.
    types
        Whether dtypes and shapes are shown.

    Raises
    ------
    ArgumentError, GraphError
        For a stage that it does not have, and for what is no graph.

    >>> import symnet.tensor as T
    >>> print(to_dot(T.exp(T.dvector("x"))).splitlines()[0])
    digraph "graph" {
    """
    found = diagram(thing, stage, seconds)
    numbers = {name: f"n{number}" for number, name in enumerate(found.nodes)}
    lines = [
        f"digraph {_quoted(found.graph.get('name') or 'graph')} {{",
        '  charset="UTF-8"; rankdir=TB; node [fontname="sans-serif", fontsize=11, style=filled];',
    ]
    framed: dict[str, list[str]] = {}
    for name, attributes in found.nodes.items():
        text = f"{numbers[name]} [{_attributes(attributes, max_label_size, types)}];"
        kernel = attributes.get("kernel") if attributes["kind"] == "op" else None
        if kernel is None:
            lines.append(f"  {text}")
        else:
            framed.setdefault(kernel, []).append(text)
    for number, (kernel, inside) in enumerate(framed.items()):
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f'    label={_quoted(kernel)}; fontsize=10; color="#b0a060"; fontcolor="#807030";')
        lines += [f"    {each}" for each in inside]
        lines.append("  }")
    lines += _edges(found, numbers)
    lines.append("}")
    return "\n".join(lines)


def _attributes(attributes: Mapping[str, Any], longest: int, types: bool) -> str:
    kind = attributes["kind"]
    shape, fill = _BUFFER if kind.endswith("buffer") else _STYLES[kind]
    label = attributes["label"]
    op = attributes.get("op")
    if op is not None and kind == "op":
        label = op if label == op or attributes.get("name") is None else f"{label} = {op}"
    lines = [_cut(label, longest)]
    if kind == "kernel":
        lines += [_cut(str(op), longest)] if op else []
        if "seconds" in attributes:
            lines.append(f"{attributes['seconds'] * 1e6:.1f} µs")
    elif types and kind not in ("output", "update"):
        lines.append(type_text(attributes["dtype"], attributes["shape"]))
    text = f'label={_quoted(chr(10).join(lines))}, shape={shape}, fillcolor="{fill}"'
    if "line" in attributes:
        text += f", tooltip={_quoted(attributes['line'] + '  ' + attributes.get('text', ''))}"
    return text


def _edges(found: Diagram, numbers: Mapping[str, str]) -> list[str]:
    several: dict[str, int] = {}
    for _, target, attributes in found.edges:
        several[target] = max(several.get(target, 0), attributes.get("input", 0))
    lines = []
    for source, target, attributes in found.edges:
        label = ""
        if several[target] and found.nodes[target]["kind"] == "op":
            label = f' [label="{attributes["input"]}", fontsize=9]'
        lines.append(f"  {numbers[source]} -> {numbers[target]}{label};")
    return lines


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _quoted(text: str) -> str:
    """A string of the DOT language: quotes and backslashes kept, newlines as \\n, no control characters."""
    kept = "".join(each if each.isprintable() or each == "\n" else " " for each in text)
    escaped = kept.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def pydotprint(
    fct: Any,
    outfile: Any = None,
    compact: bool = True,
    format: str = "png",
    with_ids: bool = False,
    high_contrast: bool = True,
    cond_highlight: Any = None,
    colorCodes: Any = None,
    max_label_size: int = _LABEL,
    scan_graphs: bool = False,
    var_with_name_simple: bool = False,
    print_output_file: bool = True,
    return_image: bool = False,
) -> Any:
    """Draw a graph to a file, as Theano's programs ask for it.

    Parameters
    ----------
    fct
        A function, a variable, or a list of variables.
    outfile
        The file; "graph." and the format by default.
    format
        "dot" for the text (which needs no graphviz), or what graphviz writes: "png", "svg", "pdf".
    max_label_size
        Labels are cut to so many characters.
    var_with_name_simple
        Whether dtypes and shapes are left out.
    return_image
        Whether the picture is handed back as bytes instead of written.
    compact, with_ids, high_contrast, cond_highlight, colorCodes, scan_graphs, print_output_file
        Accepted for Theano's programs; nothing is printed.

    Raises
    ------
    MissingProgramError
        When graphviz is not installed.
    ArgumentError
        When graphviz can't write the format.
    """
    text = to_dot(fct, max_label_size=max_label_size, types=not var_with_name_simple)
    picture = text.encode() if format == "dot" else drawn(text, format)
    if return_image:
        return picture
    path = Path(f"graph.{format}" if outfile is None else outfile)
    path.write_bytes(picture)
    return None


def drawn(text: str, format: str) -> bytes:
    """DOT text as a picture, by graphviz's `dot`.

    Raises
    ------
    MissingProgramError
        When graphviz is not installed.
    ArgumentError
        When graphviz refuses.
    """
    program = shutil.which("dot")
    if program is None:
        raise MissingProgramError(
            "drawing a graph needs graphviz: there is no program named dot",
            hint='install graphviz (apt install graphviz), or write text alone: format="dot", or to_dot(f)',
        )
    run = subprocess.run([program, f"-T{format}"], input=text.encode(), capture_output=True, check=False)
    if run.returncode != 0:
        why = run.stderr.decode(errors="replace").strip().splitlines()
        raise ArgumentError(f"graphviz could not write {format!r}: {why[0] if why else 'no reason given'}")
    return run.stdout
