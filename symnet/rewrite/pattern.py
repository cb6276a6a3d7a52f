"""Patterns written as users write expressions: takes a pattern and a function, hands on a `Rule`.

Ops and Python operators applied to a pattern make a larger pattern. A rule is one decorated function:
its parameters name what the pattern found, and it gives the expression to put in place, or None.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

import symnet.ops.operators  # noqa: F401  (rules are written with the operators of variables)
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.source import inherit
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import Elementwise

#: A variable in a rule, where mypy can't see the operators that `symnet.ops.operators` gives it.
Expression = Any
#: What a pattern found, by name: variables, tuples of variables, and ops.
Found = dict[str, Any]
#: Constants of more entries are not searched for a common value.
_UNIFORM_LIMIT = 4096


def uniform_value(variable: Variable) -> Any:
    """The value that all entries of a constant have; None when there is no such value.

    Zeros of either sign count as equal.
    """
    if not isinstance(variable, Constant):
        return None
    data = variable.data
    if data.ndim == 0:
        return data[()]
    if not 0 < data.size <= _UNIFORM_LIMIT:
        return None
    first = data.flat[0]
    return first if bool((data == first).all()) else None


class Pattern:
    """What a variable may look like; ops and operators applied to it make larger patterns."""

    def __init__(self, name: str | None = None, where: Callable[[Variable], bool] | None = None) -> None:
        self.name = name
        self.where = where

    def apply_in_pattern(self, op: Op, inputs: Sequence[Any]) -> PatternApply:
        """Called by an op that is applied to this pattern."""
        return PatternApply(op, inputs)

    @property
    def depth(self) -> int:
        """How many ops lie on the longest way down."""
        return 0

    def names(self) -> set[str]:
        """The names it binds."""
        return {self.name} if self.name else set()

    def __add__(self, other: Any) -> Any:
        return table.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return table.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return table.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return table.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return table.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return table.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return table.true_div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return table.true_div(other, self)

    def __pow__(self, other: Any) -> Any:
        return table.pow(self, other)

    def __neg__(self) -> Any:
        return table.neg(self)


class AnyVariable(Pattern):
    """Matches any variable, the same one wherever its name stands."""

    def __str__(self) -> str:
        return str(self.name)


class AnyVariables(Pattern):
    """Matches all inputs of a node, as a tuple."""

    def __str__(self) -> str:
        return f"*{self.name}"


class PatternConstant(Pattern):
    """Matches a constant all of whose entries have a value, of whatever dtype."""

    def __init__(self, value: bool | int | float) -> None:
        super().__init__()
        self.value = value

    def __str__(self) -> str:
        return str(self.value)


class PatternApply(Pattern):
    """Matches the only output of an op applied to what its parts match."""

    def __init__(
        self,
        op: Op | AnyOp,
        inputs: Sequence[Any],
        name: str | None = None,
        where: Callable[[Variable], bool] | None = None,
    ) -> None:
        super().__init__(name, where)
        self.op = op
        self.parts = tuple(as_pattern(each) for each in inputs)
        self.variadic = len(self.parts) == 1 and isinstance(self.parts[0], AnyVariables)
        self.commutative = isinstance(op, Elementwise) and op.commutative

    def named(self, name: str, where: Callable[[Variable], bool] | None = None) -> PatternApply:
        """The same pattern, whose match is bound to a name and must satisfy a predicate."""
        return PatternApply(self.op, self.parts, name, where)

    @property
    def depth(self) -> int:
        """How many ops lie on the longest way down."""
        return 1 + max((part.depth for part in self.parts), default=0)

    def names(self) -> set[str]:
        """The names it binds, its op's and its parts' included."""
        found = super().names()
        if isinstance(self.op, AnyOp) and self.op.name:
            found.add(self.op.name)
        return found.union(*(part.names() for part in self.parts))

    def __str__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.parts))})"


class AnyOp:
    """An op of a class, found by name; called on patterns, as an op is."""

    def __init__(self, name: str, kind: type[Op], where: Callable[[Any], bool] | None = None) -> None:
        self.name = name
        self.kind = kind
        self.where = where

    def __call__(self, *inputs: Any) -> PatternApply:
        return PatternApply(self, inputs)

    def accepts(self, op: Op) -> bool:
        """Whether the op is one of these."""
        return isinstance(op, self.kind) and (self.where is None or self.where(op))

    def __str__(self) -> str:
        return self.kind.__name__


def any_variable(name: str, where: Callable[[Variable], bool] | None = None) -> Any:
    """Any variable that satisfies the predicate; twice the same name is twice the same variable."""
    return AnyVariable(name, where)


def any_variables(name: str) -> Any:
    """All inputs of a node, however many: the only argument of an op in a pattern."""
    return AnyVariables(name)


def any_constant(name: str, where: Callable[[Variable], bool] | None = None) -> Any:
    """Any constant that satisfies the predicate."""
    return AnyVariable(
        name, lambda variable: isinstance(variable, Constant) and (where is None or where(variable))
    )


def any_op(name: str, kind: type[Op], where: Callable[[Any], bool] | None = None) -> Any:
    """Any op of a class that satisfies the predicate: for ops that have settings."""
    return AnyOp(name, kind, where)


def as_pattern(value: Any) -> Pattern:
    """A pattern as itself, a number as the constant of its value.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(value, Pattern):
        return value
    if isinstance(value, bool | int | float):
        return PatternConstant(value)
    raise TypeError(f"{value!r} can't stand in a pattern: patterns and numbers can")


#: What is left to match: a linked list, so that both orders of a commutative op share its tail.
_Tasks: TypeAlias = "tuple[Pattern, Variable, _Tasks] | None"


def _bind(found: Found, name: str | None, value: Any) -> Found | None:
    """The findings with one more; None when the name stands for something else already."""
    if name is None:
        return found
    known = found.get(name)
    if known is None:
        return {**found, name: value}
    return found if known is value or (isinstance(known, Op) and known == value) else None


def _shapes_nothing(position: int, node: Apply) -> bool:
    """Whether a constant operand is only a number: leaving it out leaves the result's shape."""
    if node.inputs[position].ndim == 0:
        return True
    shape = node.outputs[0].type.shape
    return any(each.type.shape == shape for other, each in enumerate(node.inputs) if other != position)


def _parts_first(pattern: PatternApply, node: Apply, order: Sequence[int], rest: _Tasks) -> _Tasks:
    """The tasks of matching the parts with the inputs in an order, before the rest.

    The rest itself (no new tasks) says that a number stands where the node has none.
    """
    tasks = rest
    for part, position in zip(reversed(pattern.parts), reversed(order), strict=True):
        if isinstance(part, PatternConstant) and not (
            isinstance(node.inputs[position], Constant) and _shapes_nothing(position, node)
        ):
            return rest
        tasks = (part, node.inputs[position], tasks)
    return tasks


def solve(tasks: _Tasks, found: Found, accept: Callable[[Found], Any]) -> Any:
    """The first thing other than None that `accept` makes of a way to match all tasks.

    A commutative op is tried in both orders, so a refusal by `accept` leads to the other one.
    """
    while tasks is not None:
        pattern, variable, tasks = tasks
        if pattern.where is not None and not pattern.where(variable):
            return None
        bound = _bind(found, pattern.name, variable)
        if isinstance(pattern, PatternConstant):
            value = uniform_value(variable)
            if value is None or value != pattern.value:
                return None
        elif isinstance(pattern, PatternApply):
            node = variable.owner
            if node is None or len(node.outputs) != 1 or bound is None:
                return None
            if isinstance(pattern.op, Op):
                if pattern.op != node.op:
                    return None
            elif not pattern.op.accepts(node.op):
                return None
            else:
                bound = _bind(bound, pattern.op.name, node.op)
            if bound is None:
                return None
            if pattern.variadic:
                bound = _bind(bound, pattern.parts[0].name, node.inputs)
            elif len(pattern.parts) != len(node.inputs):
                return None
            else:
                rest = tasks
                if pattern.commutative and node.inputs[0] is not node.inputs[1]:
                    tasks = _parts_first(pattern, node, (0, 1), rest)
                    if tasks is not rest:
                        result = solve(tasks, bound, accept)
                        if result is not None:
                            return result
                    tasks = _parts_first(pattern, node, (1, 0), rest)
                else:
                    tasks = _parts_first(pattern, node, range(len(pattern.parts)), rest)
                if tasks is rest and pattern.parts:
                    return None
        if bound is None:
            return None
        found = bound
    return accept(found)


class Rule:
    """A pattern, the reason to replace what matches it, and the function that makes the replacement.

    Attributes
    ----------
    name
        The function's name.
    reason
        Why the replacement is better, in words.
    pattern
        A `PatternApply`.
    when
        A further condition on what was found, or None.
    depth
        How many ops deep it looks; a change that deep below a node lets the engine try the node again.
    needs_constant, needs_ops, needs_kinds
        What must be among a node's inputs before the pattern is looked at: a constant; results of these
        ops, and of ops of these classes. This turns most nodes away.
    """

    def __init__(
        self,
        name: str,
        reason: str,
        pattern: PatternApply,
        function: Callable[..., Variable | None],
        when: Callable[..., bool] | None,
        depth: int | None,
        among: Op | type[Op] | None = None,
    ) -> None:
        self.name = name
        self.reason = reason
        self.pattern = pattern
        self.function = function
        self.when = when
        self.depth = pattern.depth if depth is None else depth
        self.__doc__ = function.__doc__
        bound = pattern.names() | {"out", "graph"}
        self._arguments = _parameters(name, function, bound)
        parts = () if pattern.variadic else pattern.parts
        wanted: list[Any] = [part.op for part in parts if isinstance(part, PatternApply)]
        wanted = [op if isinstance(op, Op) else op.kind for op in wanted]
        if among is not None:
            wanted.append(among)
        self.needs_constant = any(isinstance(part, PatternConstant) for part in parts)
        self.needs_ops = frozenset(op for op in wanted if isinstance(op, Op))
        self.needs_kinds = tuple(dict.fromkeys(op for op in wanted if not isinstance(op, Op)))
        self._when_arguments = _parameters(name, when, bound) if when is not None else ()

    @property
    def root(self) -> Op | type[Op]:
        """The op, or the class of ops, that the rule is tried on."""
        op = self.pattern.op
        return op if isinstance(op, Op) else op.kind

    def apply(self, node: Apply, graph: FunctionGraph) -> Sequence[Variable] | None:
        """What to put in place of the node's outputs, or None."""

        def accept(found: Found) -> Variable | None:
            found = {**found, "out": node.outputs[0], "graph": graph}
            if self.when is not None and not self.when(*(found[each] for each in self._when_arguments)):
                return None
            with inherit(node.source):
                return self.function(*(found[each] for each in self._arguments))

        if len(node.outputs) != 1:
            return None
        replacement = solve((self.pattern, node.outputs[0], None), {}, accept)
        return None if replacement is None else (replacement,)

    def __repr__(self) -> str:
        return f"<rule {self.name}: {self.pattern}>"


def _parameters(rule: str, function: Callable[..., Any], bound: set[str]) -> tuple[str, ...]:
    names = tuple(inspect.signature(function).parameters)
    unknown = [name for name in names if name not in bound]
    if unknown:
        raise TypeError(f"rule {rule}: the pattern binds no {', '.join(unknown)}; it binds {sorted(bound)}")
    return names


def rewrite(
    pattern: Any,
    reason: str,
    *,
    when: Callable[..., bool] | None = None,
    depth: int | None = None,
    among: Op | type[Op] | None = None,
) -> Callable[[Callable[..., Variable | None]], Rule]:
    """Make the decorated function a rewrite rule.

    Parameters
    ----------
    pattern
        What the rule replaces, written with ops and operators on `any_variable`, `any_constant`,
        `any_op` and numbers. A number matches a constant of that value of any dtype; the operands of a
        commutative op match in either order.
    reason
        Why the replacement is better.
    when
        A condition; its parameters, like the function's, are names that the pattern binds, `out` (the
        variable that is replaced) and `graph` (the FunctionGraph).
    depth
        How many ops deep the function looks, where that is deeper than the pattern.
    among
        An op, or a class of ops, one of whose results must be among the inputs, where the pattern does
        not say so.

    >>> from symnet.ops.elementwise_table import exp, log1p, softplus
    >>> x = any_variable("x")
    >>> @rewrite(log1p(exp(x)), "exp overflows where softplus does not")
    ... def log1p_of_exp(x):
    ...     return softplus(x)
    >>> log1p_of_exp
    <rule log1p_of_exp: log1p(exp(x))>
    """
    if not isinstance(pattern, PatternApply):
        raise TypeError(f"a rule's pattern is an op applied to something, got {pattern!r}")

    def decorate(function: Callable[..., Variable | None]) -> Rule:
        return Rule(function.__name__, reason, pattern, function, when, depth, among)

    return decorate


def is_single_use(variable: Variable, graph: FunctionGraph) -> bool:
    """Whether the variable has one user in the graph."""
    return len(graph.clients.get(variable, ())) == 1


def is_real(variable: Variable) -> bool:
    """Whether the variable is of a floating dtype, not complex."""
    return variable.dtype in ("float16", "float32", "float64")


def value_of(variable: Variable) -> np.ndarray[Any, Any]:
    """A constant's array."""
    assert isinstance(variable, Constant)
    return variable.data
