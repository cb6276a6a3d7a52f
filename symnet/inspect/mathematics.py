"""Graphs as mathematics: takes variables or functions, hands on one expression for each, as it is written.

Long expressions, and large ones that stand in several places, are given names and follow below.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from symnet.compile.function import Function
from symnet.graph.traversal import toposort
from symnet.graph.variable import Apply, Constant, Variable
from symnet.inspect.subject import ends_of, op_word
from symnet.ops.elementwise import Cast, Elementwise
from symnet.ops.indexing import bind_template
from symnet.ops.reduction import ArgExtreme, Reduce
from symnet.ops.shape import DimShuffle

#: An expression of more operations than this has its repeated parts named; a part of more characters than
#: this is named in any case.
_MOST_OPERATIONS = 40
_LONGEST = 240

# Python's precedence, loosest first.
_COMPARE, _OR, _XOR, _AND, _SUM, _PRODUCT, _UNARY, _POWER, _ATOM = range(9)

_BINARY = {
    "add": ("+", _SUM),
    "sub": ("-", _SUM),
    "mul": ("*", _PRODUCT),
    "true_div": ("/", _PRODUCT),
    "int_div": ("//", _PRODUCT),
    "mod": ("%", _PRODUCT),
    "pow": ("**", _POWER),
    "eq": ("==", _COMPARE),
    "neq": ("!=", _COMPARE),
    "lt": ("<", _COMPARE),
    "le": ("<=", _COMPARE),
    "gt": (">", _COMPARE),
    "ge": (">=", _COMPARE),
    "and_": ("&", _AND),
    "or_": ("|", _OR),
    "xor": ("^", _XOR),
}
_UNARIES = {"neg": "-", "invert": "~"}
#: Ops that promise something of their operand and give it back.
_PROMISES = ("specify_shape", "unbroadcast")
#: Operators whose chains need no parentheses on the right either.
_ASSOCIATIVE = ("+", "&", "|", "^")


class _Text(NamedTuple):
    text: str
    level: int
    operations: int


def pp(thing: Any, names: dict[Variable, str] | None = None) -> str:
    """An expression as mathematics, in Python's operators (`@` is the matrix product).

    Parameters
    ----------
    thing
        A variable; a list of variables; or a function, whose rewritten outputs and updates are shown.
    names
        Names for variables, in place of their own.

    Raises
    ------
    GraphError
        For what is no graph.

    >>> import symnet.tensor as T
    >>> x, w, b = T.dmatrix("x"), T.dmatrix("w"), T.dvector("b")
    >>> print(pp(-T.mean(T.log(T.nnet.softmax(T.dot(x, w) + b))) / 2))
    -mean(log(softmax(x @ w + b))) / 2
    >>> print(pp((x[1:, 0] - b) ** 2 * x.T.shape[0]))
    (x[1:, 0] - b) ** 2 * x.T.shape[0]
    """
    ends = ends_of(thing)
    variables = [end.variable for end in ends]
    variables += [end.target for end in ends if end.target is not None]
    writer = _Writer(variables, dict(names or {}))
    if not isinstance(thing, Function):
        lines = [writer.written[end.variable].text for end in ends]
    else:
        lines = []
        for end in ends:
            text = writer.written[end.variable].text
            target = "" if end.target is None else f"{writer.written[end.target].text} <- "
            lines.append(target + text)
    if writer.named:
        lines.append("where")
        lines += [f"    {name} = {text}" for name, text in writer.named]
    return "\n".join(lines)


class _Writer:
    """Writes a graph from the inputs on, so that depth costs no recursion."""

    def __init__(self, ends: Sequence[Variable], names: dict[Variable, str]) -> None:
        self.names = names
        self.written: dict[Variable, _Text] = {}
        self.named: list[tuple[str, str]] = []
        self._taken = set(names.values())
        self._owners: dict[str, Variable] = {}
        order = toposort(ends)
        uses: Counter[Variable] = Counter(each for node in order for each in node.inputs)
        uses.update(ends)
        total = 0
        repeated = self._operations(order, ends) > _MOST_OPERATIONS
        finals = set(ends)
        for node in order:
            for variable in node.inputs:
                if variable.owner is None:
                    self._taken.add(variable.name or "")
        for node in order:
            for output in node.outputs:
                if output in names:
                    self.written[output] = _Text(names[output], _ATOM, 0)
                    continue
                text = self._node(node, output)
                total += 1
                long = len(text.text) > _LONGEST
                if output not in finals and (
                    (repeated and uses[output] > 1 and text.operations >= 2) or long
                ):
                    name = self._new_name(output)
                    self.named.append((name, text.text))
                    text = _Text(name, _ATOM, 0)
                self.written[output] = text
        for end in ends:
            self._of(end)

    @staticmethod
    def _operations(order: Sequence[Apply], ends: Sequence[Variable]) -> int:
        """How many operations the ends have when everything is written out."""
        counts: dict[Apply, int] = {}
        for node in order:
            count = 1 + sum(counts[each.owner] for each in node.inputs if each.owner is not None)
            counts[node] = min(count, 1 << 30)
        return sum(counts[end.owner] for end in ends if end.owner is not None)

    def _new_name(self, variable: Variable) -> str:
        stem = variable.name if variable.name and variable.name.isidentifier() else ""
        name, number = stem or "t1", 1
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}" if stem else f"t{number}"
        self._taken.add(name)
        return name

    def _of(self, variable: Variable) -> _Text:
        found = self.written.get(variable)
        if found is None:
            found = self.written[variable] = self._leaf(variable)
        return found

    def _leaf(self, variable: Variable) -> _Text:
        if variable in self.names:
            return _Text(self.names[variable], _ATOM, 0)
        if isinstance(variable, Constant) and not variable.name:
            data = variable.data
            if data.ndim and data.size and data.dtype.kind in "biuf":
                first = data.reshape(-1)[0]
                if data.size > 1 and bool((data == first).all()):
                    text = f"full({data.shape}, {first.item()!r})"
                    return _Text(text, _ATOM, 0)
            text = _number(data) if data.size == 1 else " ".join(variable.short_value.split())
            text = text.replace("[ ", "[")
            return _Text(text, _UNARY if text.startswith("-") else _ATOM, 0)
        if variable.name:
            return _Text(self._own_name(variable, variable.name), _ATOM, 0)
        return _Text(f"<{variable.type}>", _ATOM, 0)

    def _own_name(self, variable: Variable, name: str) -> str:
        """The name, with a number where another variable has it already."""
        number = 1
        while self._owners.setdefault(name if number == 1 else f"{name}_{number}", variable) is not variable:
            number += 1
        return name if number == 1 else f"{name}_{number}"

    def _in(self, variable: Variable, level: int, loose: bool = True) -> str:
        """An operand, in parentheses where its operator binds less than `level` (as much, unless loose)."""
        text = self._of(variable)
        return text.text if text.level > level or (loose and text.level == level) else f"({text.text})"

    def _node(self, node: Apply, output: Variable) -> _Text:
        text, level = self._written(node, output)
        operations = 1 + sum(self._of(each).operations for each in node.inputs)
        return _Text(text, level, operations)

    def _written(self, node: Apply, output: Variable) -> tuple[str, int]:
        op, inputs = node.op, node.inputs
        if isinstance(op, DimShuffle):
            return self._shuffled(op, inputs[0])
        if isinstance(op, Elementwise):
            return self._elementwise(node, [self._spread_less(each, output) for each in inputs])
        if op.name == "Dot":
            return f"{self._in(inputs[0], _PRODUCT)} @ {self._in(inputs[1], _PRODUCT, False)}", _PRODUCT
        if isinstance(op, Reduce | ArgExtreme):
            return self._reduction(op, node, op.name)
        if op.name == "ShapeOf":
            return f"{self._in(inputs[0], _ATOM)}.shape", _ATOM
        if op.name in ("Subtensor", "IncSubtensor"):
            return self._part(node)
        if op.name in ("AdvancedSubtensor", "AdvancedIncSubtensor"):
            return self._gathered(node)
        if op.name == "ARange":
            return self._arange(node), _ATOM
        if op.name == "Join":
            parts = ", ".join(self._of(each).text for each in inputs)
            axis = getattr(op, "axis", 0)
            return f"concatenate([{parts}]{f', axis={axis}' if axis else ''})", _ATOM
        if op.name == "MakeVector":
            return f"[{', '.join(self._of(each).text for each in inputs)}]", _ATOM
        if op.name == "Reshape":
            return f"{self._in(inputs[0], _ATOM)}.reshape({self._of(inputs[1]).text})", _ATOM
        if op_word(op) in _PROMISES:
            text = self._of(inputs[0])
            return text.text, text.level
        suffix = f"[{output.index}]" if len(node.outputs) > 1 else ""
        return f"{_function_name(op)}({', '.join(self._of(each).text for each in inputs)}){suffix}", _ATOM

    def _spread_less(self, variable: Variable, output: Variable) -> Variable:
        """What an operand is before axes were put in front of it, or around a scalar, for broadcasting."""
        node = variable.owner
        if node is None or not isinstance(node.op, DimShuffle) or variable in self.names:
            return variable
        pattern = node.op.pattern
        count = node.op.input_ndim
        plain = ("x",) * (len(pattern) - count) + tuple(range(count))
        return node.inputs[0] if tuple(pattern) == plain and output.ndim == len(pattern) else variable

    def _elementwise(self, node: Apply, operands: Sequence[Variable]) -> tuple[str, int]:
        op = node.op
        if isinstance(op, Cast):
            inner = self._of(operands[0])
            if isinstance(operands[0], Constant):
                return inner.text, inner.level
            return f"{op.dtype}({inner.text})", _ATOM
        averaged = _averaged(node)
        if averaged is not None:
            return self._reduction(averaged.op, averaged, "mean")
        if op.name in _BINARY and len(operands) == 2:
            sign, level = _BINARY[op.name]
            left, right = operands
            if sign == "**":
                return f"{self._in(left, _POWER, False)} ** {self._in(right, _UNARY)}", _POWER
            if level == _COMPARE:
                return f"{self._in(left, level, False)} {sign} {self._in(right, level, False)}", level
            follows = sign in _ASSOCIATIVE
            return f"{self._in(left, level)} {sign} {self._in(right, level, follows)}", level
        if op.name in _UNARIES:
            return f"{_UNARIES[op.name]}{self._in(operands[0], _UNARY)}", _UNARY
        if op.name == "sqr":
            return f"{self._in(operands[0], _POWER, False)} ** 2", _POWER
        if op.name in ("identity", "copy"):
            text = self._of(operands[0])
            return text.text, text.level
        return f"{op.name}({', '.join(self._of(each).text for each in operands)})", _ATOM

    def _shuffled(self, op: DimShuffle, x: Variable) -> tuple[str, int]:
        pattern = tuple(op.pattern)
        if pattern == tuple(range(op.input_ndim)):
            text = self._of(x)
            return text.text, text.level
        inner = self._in(x, _ATOM)
        if op.input_ndim > 1 and pattern == tuple(reversed(range(op.input_ndim))):
            return f"{inner}.T", _ATOM
        return f"{inner}.dimshuffle({', '.join(map(repr, pattern))})", _ATOM

    def _reduction(self, op: Any, node: Apply, name: str) -> tuple[str, int]:
        x = node.inputs[0]
        axes: tuple[int, ...] = (op.axis,) if isinstance(op, ArgExtreme) else tuple(op.axes)
        inner = self._of(x).text
        if len(axes) == x.ndim:
            return f"{name}({inner})", _ATOM
        return f"{name}({inner}, axis={axes[0] if len(axes) == 1 else axes})", _ATOM

    def _index(self, op: Any, inputs: Sequence[Variable]) -> str:
        supply = [self._of(each).text for each in inputs]
        parts = []
        for entry in bind_template(op.template, supply):
            if isinstance(entry, tuple):
                start, stop, step = ("" if each is None else str(each) for each in entry)
                parts.append(f"{start}:{stop}" + (f":{step}" if step != "1" else ""))
            else:
                parts.append(str(entry))
        return ", ".join(parts)

    def _part(self, node: Apply) -> tuple[str, int]:
        op: Any = node.op
        if op.name == "Subtensor":
            return f"{self._in(node.inputs[0], _ATOM)}[{self._index(op, node.inputs[1:])}]", _ATOM
        x, y, *rest = node.inputs
        name = "set_subtensor" if op.set_ else "inc_subtensor"
        return f"{name}({self._in(x, _ATOM)}[{self._index(op, rest)}], {self._of(y).text})", _ATOM

    def _gathered(self, node: Apply) -> tuple[str, int]:
        op: Any = node.op
        writes = op.name == "AdvancedIncSubtensor"
        arrays = node.inputs[2:] if writes else node.inputs[1:]
        parts = [":"] * (max(op.axes) + 1)
        for axis, array in zip(op.axes, arrays, strict=True):
            parts[axis] = self._of(array).text
        part = f"{self._in(node.inputs[0], _ATOM)}[{', '.join(parts)}]"
        if not writes:
            return part, _ATOM
        name = "set_subtensor" if op.set_ else "inc_subtensor"
        return f"{name}({part}, {self._of(node.inputs[1]).text})", _ATOM

    def _arange(self, node: Apply) -> str:
        start, stop, step = (self._of(each).text for each in node.inputs)
        if step == "1":
            return f"arange({stop})" if start == "0" else f"arange({start}, {stop})"
        return f"arange({start}, {stop}, {step})"


def _averaged(node: Apply) -> Apply | None:
    """The sum in a quotient that is a mean, as `T.mean` writes it: a sum by the product of the lengths."""
    if node.op.name != "true_div":
        return None
    total = node.inputs[0].owner
    if total is None or not isinstance(total.op, Reduce) or total.op.name != "sum":
        return None
    axes: list[Any] = []
    stack = [node.inputs[1]]
    while stack:
        variable = stack.pop()
        factor = variable.owner
        if isinstance(variable, Constant):
            if variable.data.size != 1 or variable.data.reshape(-1)[0] != 1:
                return None
        elif factor is None:
            return None
        elif isinstance(factor.op, Cast | DimShuffle) or factor.op.name == "mul":
            stack += factor.inputs
        else:
            length = factor.inputs[0].owner
            if factor.op.name != "Subtensor" or length is None or length.op.name != "ShapeOf":
                return None
            if length.inputs[0] is not total.inputs[0]:
                return None
            axes += getattr(factor.op, "template", ())
    return total if set(axes) == set(total.op.axes) and len(axes) == len(total.op.axes) else None


def _number(data: np.ndarray[Any, Any]) -> str:
    value = data.reshape(-1)[0]
    if data.dtype.kind == "f":
        text = str(value)
        return text.removesuffix(".0") if "e" not in text else text
    return str(value)


def _function_name(op: Any) -> str:
    """An op's name as a function: `LogSoftmax` is log_softmax."""
    text = str(op)
    if text.isidentifier() and text != type(op).__name__:
        return text
    if op.name != type(op).__name__:
        return str(op.name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op.name).lower()
