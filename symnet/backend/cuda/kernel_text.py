"""Puts works together to kernels: takes works side by side, hands on the text of one function.

Each work gets blocks of its own; names of works side by side are kept apart. A kernel takes the buffers that
its works touch, then the slots and the words at `state`. The text says nothing of the user's lines, so that
kernels which do the same are the same text; what people read is that with comments above.
"""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symnet.backend.cuda.body import BLOCK, OWN, STATE, THREAD
from symnet.backend.cuda.emit import FLAGS, SKIPPED, SLOTS, STATUS, Work
from symnet.backend.cuda.print_body import text_name
from symnet.compile.program import Buffer
from symnet.compile.syntax import tree_of

#: The name under which every kernel is compiled.
NAME = "symnet_kernel"


@dataclass(frozen=True)
class Text:
    """A kernel's text.

    Attributes
    ----------
    source
        The definition of a function `symnet_kernel`.
    dtypes
        Those of its buffers; behind them come the slots and the words at `state`.
    blocks
        How many blocks it runs on.
    comments
        What its blocks do, for people.
    """

    source: str
    dtypes: tuple[str, ...]
    blocks: int
    comments: tuple[str, ...]

    def readable(self, name: str) -> str:
        """The text under another name, with the comments."""
        head, *rest = self.source.splitlines()
        comments = [f"    # {comment}" for comment in self.comments]
        return "\n".join([head.replace(NAME, name, 1), *comments, *rest]) + "\n"


def assemble(works: Sequence[Work], watched: Sequence[int | None]) -> tuple[Text, tuple[Buffer, ...]]:
    """One kernel of works side by side, and the buffers that it is given.

    `watched` says for each work which flag it looks at before it does anything, if any.
    """
    buffers = tuple(dict.fromkeys(buffer for work in works for buffer in work.buffers))
    names: dict[Buffer, str] = {}
    parts: list[list[str]] = []
    for number, (work, flag) in enumerate(zip(works, watched, strict=True)):
        suffix = f"__{number}" if len(works) > 1 else ""
        own = None if work.flag is None else FLAGS + work.flag
        parts.append([*_guard(flag, own), *_part(work, own, names, suffix)])
    head = f"def {NAME}({', '.join([*(names[buffer] for buffer in buffers), SLOTS, STATE])}):"
    lines = [f"{THREAD} = cuda.threadIdx.x", f"{BLOCK} = np.int64(cuda.blockIdx.x)"]
    comments: list[str] = []
    first = 0
    for number, (work, part) in enumerate(zip(works, parts, strict=True)):
        blocks = work.body.blocks
        if len(works) == 1:
            lines += part
            comments += work.body.comments
            break
        comments += [f"blocks {first} to {first + blocks - 1}: {each}" for each in work.body.comments]
        lines.append(f"{'el' if number else ''}if {BLOCK} < {first + blocks}:")
        lines.append(f"    {BLOCK}__{number} = {BLOCK}" + (f" - {first}" if first else ""))
        lines += [f"    {line}" for line in part]
        first += blocks
    source = "\n".join([head, *(f"    {line}".rstrip() for line in lines)]) + "\n"
    dtypes = tuple(buffer.dtype for buffer in buffers)
    return Text(source, dtypes, sum(work.body.blocks for work in works), tuple(comments)), buffers


def assemble_serial(work: Work) -> tuple[Text, tuple[Buffer, ...]]:
    """The kernel of a serial body, which looks at no flag and tells its failure in the status words."""
    names: dict[Buffer, str] = {}
    part = _part(work, STATUS, names, "")
    buffers = tuple(names)
    head = f"def {NAME}({', '.join([*names.values(), SLOTS, STATE])}):"
    lines = [f"{THREAD} = cuda.threadIdx.x", f"{BLOCK} = np.int64(cuda.blockIdx.x)", *part]
    source = "\n".join([head, *(f"    {line}".rstrip() for line in lines)]) + "\n"
    return Text(source, tuple(buffer.dtype for buffer in buffers), 1, work.body.comments), buffers


def _guard(flag: int | None, own: int | None) -> list[str]:
    """Leave where a work before failed, and say so."""
    if flag is None:
        return []
    lines = [f"if {STATE}[{FLAGS + flag}] != 0:"]
    if own is not None:
        lines += [
            f"    if {THREAD} == 0 and {STATE}[{own}] == 0:",
            f"        {STATE}[{own}] = {SKIPPED}",
        ]
    return [*lines, "    return"]


def _part(work: Work, own: int | None, names: dict[Buffer, str], suffix: str) -> list[str]:
    """A work's text with its own names made different from others'; `names` takes the buffers'."""
    body = work.body
    renamed = {}
    if suffix:
        renamed = {name: f"{name}{suffix}" for name in (*_assigned(body.lines), *body.sizes, BLOCK)}
    for parameter, buffer in zip(body.parameters, work.buffers, strict=True):
        printed = text_name(parameter.name)
        name = names.setdefault(buffer, f"{printed}{suffix}")
        if name != printed:
            renamed[printed] = name
    if own is not None:
        renamed[OWN] = str(own)
    lines = [
        f"{renamed.get(name, name)} = {SLOTS}[{slot}]"
        for name, slot in zip(body.sizes, work.sizes, strict=True)
    ]
    return [*lines, *(with_names(body.lines, renamed) if renamed else body.lines)]


@functools.lru_cache(maxsize=1024)
def _assigned(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The names that statements give values to."""
    # As a function's body, where `return` may stand.
    parsed = tree_of("\n".join(["def body():", *(f"    {line}" for line in lines)]))
    stored = (node for node in ast.walk(parsed) if isinstance(node, ast.Name))
    return tuple(dict.fromkeys(node.id for node in stored if isinstance(node.ctx, ast.Store)))


def with_names(lines: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Statements with other names; attributes and keywords stay."""
    tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(lines) + "\n").readline))
    changed = list(lines)
    depth = 0
    places: list[tuple[int, int, int, str]] = []
    for before, token, after in zip([tokens[0], *tokens], tokens, [*tokens[1:], tokens[-1]], strict=False):
        if token.type == tokenize.OP and token.string in "()[]{}":
            depth += 1 if token.string in "([{" else -1
        if token.type != tokenize.NAME or token.string not in renamed or before.string == ".":
            continue
        if depth and after.string == "=":
            continue
        (row, start), (_, stop) = token.start, token.end
        places.append((row - 1, start, stop, renamed[token.string]))
    for row, start, stop, name in reversed(places):
        changed[row] = changed[row][:start] + name + changed[row][stop:]
    return changed
