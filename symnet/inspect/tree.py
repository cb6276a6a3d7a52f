"""Graphs as trees: takes variables, lists or functions, hands on text with one line for each part.

A part that was shown before is named by its id and not shown again. No recursion: graphs are deep.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from symnet.compile.function import Function
from symnet.compile.shared import SharedVariable
from symnet.errors import ArgumentError
from symnet.graph.traversal import toposort
from symnet.graph.variable import Apply, Constant, Variable
from symnet.inspect.subject import Places, ends_of, leaf_label, op_word, type_text, where, written_in

_IDS = ("CHAR", "int", "auto", "id", "")


def dprint(
    obj: Any,
    depth: int = -1,
    print_type: bool = True,
    file: Any = None,
    ids: str = "CHAR",
    stop_on_name: bool = False,
    done: dict[Any, Any] | None = None,
    print_storage: bool = False,
    print_clients: bool = False,
    used_ids: dict[Any, str] | None = None,
    lines: bool = False,
) -> Any:
    """Print a graph as a tree: each op with the operands below it, an id, dtype and shape.

    Parameters
    ----------
    obj
        A variable, a list or dict of variables, or a compiled function (its rewritten graph: outputs, then
        updates; after a call the lengths of that call, and in which kernel each op runs).
    depth
        How many levels; -1 for all.
    print_type
        Whether dtypes and shapes are shown.
    file
        Where the text goes: a file, None for standard output, or "str" to have it back.
    ids
        What tells parts apart: "CHAR" (A, B, …), "int" (0, 1, …), "auto" (the variable's number in
        Python), or "" for none.
    stop_on_name
        Whether what is below a named variable is left out.
    done, used_ids
        Dicts that several calls may share, so that ids go on and no part is shown twice.
    print_storage
        Whether the values of shared variables are shown.
    print_clients
        Whether the users of each result are shown.
    lines
        Whether the user's line that wrote each part is shown.

    Raises
    ------
    GraphError, ArgumentError
        For what is no graph; for unknown `ids`.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dmatrix("x")
    >>> y = T.exp(x)
    >>> symnet.dprint(T.sum(y / (1 + y)))
    sum{axis=(0, 1)} [A] float64 ()
    └─ true_div [B] float64 (?, ?)
       ├─ exp [C] float64 (?, ?)
       │  └─ x [D] float64 (?, ?)
       └─ add [E] float64 (?, ?)
          ├─ 1.0 [F] float64 ()
          └─ exp [C] float64 (?, ?), above
    """
    if ids not in _IDS:
        raise ArgumentError(f"dprint: ids={ids!r}: one of {', '.join(map(repr, _IDS))} is expected")
    printer = _Printer(
        obj,
        *(depth, print_type, ids, stop_on_name, print_storage, print_clients, lines),
        {} if done is None else done,
        {} if used_ids is None else used_ids,
    )
    text = "\n".join(printer.all()) + "\n"
    if isinstance(file, str):
        if file != "str":
            raise ArgumentError(f'dprint: file={file!r}: an open file, or "str" for the text, is expected')
        return text
    (sys.stdout if file is None else file).write(text)
    if isinstance(file, io.TextIOBase):
        file.flush()
    return file


class _Printer:
    def __init__(
        self,
        thing: Any,
        depth: int,
        types: bool,
        ids: str,
        stop_on_name: bool,
        storage: bool,
        clients: bool,
        lines: bool,
        done: dict[Any, Any],
        used: dict[Any, str],
    ) -> None:
        self.thing = thing
        self.ends = ends_of(thing)
        self.depth = depth
        self.types = types
        self.ids = ids
        self.stop_on_name = stop_on_name
        self.storage = storage
        self.lines = lines
        self.done = done
        self.used = used
        self.places = Places(thing)
        self.clients = _clients([end.variable for end in self.ends]) if clients else None

    def all(self) -> Iterator[str]:
        """The lines of every end."""
        heads = isinstance(self.thing, Function) and (
            len(self.ends) > 1 or any(end.target is not None for end in self.ends)
        )
        for end in self.ends:
            if heads:
                yield f"{end.role}:"
            yield from self._tree(end.variable)

    def _tree(self, root: Variable) -> Iterator[str]:
        stack: list[tuple[Variable, int, str, str]] = [(root, 0, "", "")]
        while stack:
            variable, level, before, below = stack.pop()
            node = variable.owner
            known = node is not None and node in self.done
            inner = [] if node is None or known else list(node.inputs)
            if self.depth >= 0 and level + 1 > self.depth:
                inner = []
            if self.stop_on_name and variable.name and level:
                inner = []
            yield before + self._line(variable, known)
            if node is not None:
                self.done[node] = ""
            for place in range(len(inner) - 1, -1, -1):
                last = place == len(inner) - 1
                branch, further = ("└─ ", "   ") if last else ("├─ ", "│  ")
                stack.append((inner[place], level + 1, below + branch, below + further))

    def _line(self, variable: Variable, known: bool) -> str:
        node = variable.owner
        if node is None:
            text = leaf_label(variable)
        else:
            text = str(node.op) + (f".{variable.index}" if len(node.outputs) > 1 else "")
        text = text.replace("\n", " ")
        if self.ids:
            text += f" [{self._id(variable)}]"
        if self.types:
            text += f" {type_text(variable.dtype, self.places.shape(variable))}"
        if node is not None and variable.name:
            text += f" {variable.name!r}"
        if known:
            return f"{text}, above"
        if self.storage and isinstance(variable, SharedVariable):
            value = np.array2string(variable.get_value(borrow=True), threshold=6, edgeitems=2, separator=", ")
            text += f" = {' '.join(value.split())}"
        if node is not None:
            names = self.places.kernel_names(node)
            if names:
                text += f"  in {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"
        if self.clients is not None and self.clients.get(variable):
            text += f"  for {', '.join(self.clients[variable])}"
        if self.lines and variable.source is not None and not isinstance(variable, Constant):
            line = written_in(variable.source)
            text += f"  # {where(line)}  {line.text if line else ''}".rstrip()
        return text

    def _id(self, variable: Variable) -> str:
        found = self.used.get(variable)
        if found is None:
            if self.ids == "CHAR":
                found = _letters(len(self.used))
            elif self.ids == "int":
                found = str(len(self.used))
            else:
                found = str(id(variable))
            self.used[variable] = found
        return found


def _letters(number: int) -> str:
    """A, B, … Z, BA, BB, …: the number with letters for digits."""
    text = ""
    while True:
        number, digit = divmod(number, 26)
        text = chr(ord("A") + digit) + text
        if number == 0:
            return text


def _clients(ends: list[Variable]) -> dict[Variable, list[str]]:
    found: dict[Variable, list[str]] = {}
    for node in toposort(ends):
        for position, each in enumerate(node.inputs):
            found.setdefault(each, []).append(f"{_short(node)}[{position}]")
    for number, end in enumerate(ends):
        found.setdefault(end, []).append(f"output[{number}]")
    return found


def _short(node: Apply) -> str:
    return op_word(node.op)
