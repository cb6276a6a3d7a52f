"""Takes PTX, hands on its kernels as lists of instructions: what `ptx_machine` runs.

The language is that of NVIDIA's "Parallel Thread Execution ISA"; of it what NVVM writes for our kernels.
Anything else is an error, never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Instruction:
    """`@predicate opcode.modifiers operands`; `number` is its line in the text."""

    predicate: str | None
    negated: bool
    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[str, ...]
    number: int

    def __str__(self) -> str:
        guard = f"@{'!' if self.negated else ''}{self.predicate} " if self.predicate else ""
        return f"{guard}{'.'.join((self.opcode, *self.modifiers))} {', '.join(self.operands)}"


@dataclass(frozen=True)
class Space:
    """A variable of a state space: bytes, alignment, first contents."""

    name: str
    kind: str
    bytes: int
    alignment: int
    contents: bytes = b""


@dataclass
class Function:
    """A kernel, or a function that kernels call.

    `registers` gives each register's bits by name; `parameters` are (name, bytes), `results` likewise.
    """

    name: str
    parameters: list[tuple[str, int]] = field(default_factory=list)
    results: list[tuple[str, int]] = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)
    variables: dict[str, Space] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    code: list[Instruction] = field(default_factory=list)


@dataclass
class Module:
    """What one piece of PTX defines."""

    kernels: dict[str, Function] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, Space] = field(default_factory=dict)


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_HEAD = re.compile(r"\.(entry|func)\b")
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr[^,)\]]*?\s)?([\w$]+)(?:\[(\d+)\])?"
)
_REGISTER = re.compile(r"\.reg\s+\.(\w+)\s+(.*)", re.S)
_VARIABLE = re.compile(
    r"\.(global|const|shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?\s*(?:=\s*(.*))?$",
    re.S,
)
_LABEL = re.compile(r"\s*([\w$]+):")
_INSTRUCTION = re.compile(r"(?:@(!?)([%\w]+)\s+)?([a-z_0-9]+)((?:[.:]+\w+)*)\s*(.*)$", re.S)


def width(kind: str) -> int:
    """The bits of a type; 1 for a predicate."""
    return 1 if kind == "pred" else int(kind.lstrip("bsuf"))


def read(text: str) -> Module:
    """The module that a text defines."""
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    module = Module()
    place = 0
    while place < len(text):
        semicolon, brace = text.find(";", place), text.find("{", place)
        statement = text[place : semicolon if semicolon >= 0 else len(text)]
        head = _HEAD.search(statement)
        if head and (semicolon < 0 or 0 <= brace < semicolon):
            end = _closing(text, brace)
            number = text.count("\n", 0, brace) + 1
            function = _function(text[place + head.end() : brace], text[brace + 1 : end], number)
            (module.kernels if head[1] == "entry" else module.functions)[function.name] = function
            place = end + 1
            continue
        if semicolon < 0:
            break
        variable = _VARIABLE.search(re.sub(r"\.(version|target|address_size)[^\n]*", "", statement))
        if variable:
            space = _space(variable)
            module.variables[space.name] = space
        place = semicolon + 1
    return module


def _closing(text: str, brace: int) -> int:
    depth = 0
    for place in range(brace, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    raise ValueError("PTX ends in the middle of a function")


def _space(found: re.Match[str]) -> Space:
    kind, alignment, of, name, count, contents = found.groups()
    item = max(1, width(of) // 8)
    size = item * (int(count) if count else 1 if count is None else 0)
    data = b""
    if contents:
        numbers = [int(each, 0) for each in contents.strip().strip("{}").split(",")]
        data = b"".join((each % (1 << 8 * item)).to_bytes(item, "little") for each in numbers)
    return Space(name, kind, size, int(alignment or item), data)


def _parameters(text: str) -> list[tuple[str, int]]:
    return [
        (name, max(1, width(of) // 8) * int(count or 1)) for _, of, name, count in _PARAMETER.findall(text)
    ]


def _function(head: str, body: str, number: int) -> Function:
    found = re.search(r"(?:\(([^)]*)\))?\s*([\w$]+)\s*(?:\((.*)\))?", head, re.S)
    assert found is not None, head
    function = Function(found[2], _parameters(found[3] or ""), _parameters(found[1] or ""))
    line = number
    for piece in _statements(body):
        first, rest = line + piece[: len(piece) - len(piece.lstrip())].count("\n"), piece
        line += piece.count("\n")
        while match := _LABEL.match(rest):
            function.labels[match[1]] = len(function.code)
            rest = rest[match.end() :]
        statement = " ".join(rest.split())
        if statement:
            _statement(function, statement, first)
    return function


def _statements(body: str) -> list[str]:
    """Statements without their semicolons; braces that only make a scope are dropped."""
    pieces, start, depth = [], 0, 0
    for place, sign in enumerate(body):
        if sign == "{":
            before = body[start:place].strip()
            if before and not before.endswith(":"):
                depth += 1
            else:
                pieces.append(body[start:place])
                start = place + 1
        elif sign == "}":
            if depth:
                depth -= 1
            else:
                pieces.append(body[start:place])
                start = place + 1
        elif sign == ";" and not depth:
            pieces.append(body[start:place])
            start = place + 1
    return [*pieces, body[start:]]


def _statement(function: Function, statement: str, number: int) -> None:
    if found := _REGISTER.match(statement):
        for name in found[2].split(","):
            name, _, count = name.strip().partition("<")
            names = [name] if not count else [f"{name}{n}" for n in range(int(count.rstrip(">")))]
            function.registers.update(dict.fromkeys(names, width(found[1])))
    elif found := _VARIABLE.match(statement):
        space = _space(found)
        function.variables[space.name] = space
    elif statement.startswith((".param", ".pragma", ".loc", ".file", ".maxntid", ".minnctapersm")):
        return
    else:
        found = _INSTRUCTION.match(statement)
        if found is None or statement.startswith("."):
            raise ValueError(f"line {number}: {statement!r} is nothing that is known of PTX")
        negated, predicate, opcode, modifiers, operands = found.groups()
        parts = tuple(part for part in re.split(r"[.:]+", modifiers) if part)
        function.code.append(
            Instruction(predicate, bool(negated), opcode, parts, _operands(operands), number)
        )


def _operands(text: str) -> tuple[str, ...]:
    found, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "{[(") - (sign in "}])")
        if sign == "," and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    last = text[start:].strip()
    return tuple([*found, last] if last else found)
