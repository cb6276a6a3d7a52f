"""What is asked of `function`: takes inputs, outputs, updates and givens as users write them.

Hands on inputs with their settings, the outputs' form, checked updates, and the function's own graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symnet.compile.shared import SharedVariable
from symnet.errors import (
    ArgumentError,
    GivensError,
    GraphError,
    MissingInputError,
    UnusedInputError,
    UpdateError,
)
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.source import SourceLine
from symnet.graph.traversal import ancestors, clone_graph
from symnet.graph.variable import Constant, Variable
from symnet.ops.basic import as_tensor_variable


class In:
    """An input with its settings.

    Parameters
    ----------
    variable
        The symbolic input.
    name
        The keyword by which a call may give it; the variable's name by default.
    value
        A default value, or a shared variable's; a call may leave the input out then.
    update
        An expression whose value becomes the next default.
    mutable, borrow, implicit, autoname, shared
        Accepted for Theano's programs; arguments are never changed.
    strict
        Whether only arrays of exactly the input's dtype are taken.
    allow_downcast
        True converts from any dtype; None (the default) also takes a Python float for floatX.
    """

    def __init__(
        self,
        variable: Variable,
        name: str | None = None,
        value: Any = None,
        update: Variable | None = None,
        mutable: bool | None = None,
        strict: bool = False,
        allow_downcast: bool | None = None,
        autoname: bool = True,
        implicit: bool | None = None,
        borrow: bool | None = None,
        shared: bool = False,
    ) -> None:
        if not isinstance(variable, Variable):
            raise GraphError(f"In of {type(variable).__name__} {variable!r:.80}: a variable is expected")
        self.variable = variable
        self.name = variable.name if name is None else name
        self.value = value
        self.update = update
        self.strict = strict
        self.allow_downcast = allow_downcast


class Out:
    """An output; `borrow` is accepted for Theano's programs (results are always the caller's own)."""

    def __init__(self, variable: Variable, borrow: bool = False) -> None:
        self.variable = as_tensor_variable(variable)


class OutputForm:
    """How the outputs were asked for: none, one, a list, or a dict; and how results are handed back so."""

    def __init__(self, outputs: Any) -> None:
        self.kind = "list"
        self.keys: list[str] = []
        if outputs is None:
            outputs, self.kind = [], "list"
        if isinstance(outputs, Mapping):
            for key in outputs:
                if not isinstance(key, str):
                    raise GraphError(f"function: the keys of an output dict are strings, got {key!r}")
            self.keys = list(outputs)
            items: Sequence[Any] = [outputs[key] for key in self.keys]
            self.kind = "dict"
        elif isinstance(outputs, list | tuple):
            items = outputs
        else:
            items, self.kind = [outputs], "one"
        self.variables = [self._variable(each) for each in items]
        self.count = len(self.variables)

    @staticmethod
    def _variable(value: Any) -> Variable:
        if isinstance(value, Out):
            return value.variable
        if not isinstance(value, Variable):
            raise GraphError(
                f"function: an output is a variable, got {type(value).__name__} {value!r:.80}",
                hint="outputs: a variable, a list or dict of variables, or None",
            )
        return value

    def dress(self, results: list[np.ndarray[Any, Any]]) -> Any:
        if self.kind == "one":
            return results[0]
        return dict(zip(self.keys, results, strict=True)) if self.kind == "dict" else results


def input_specs(inputs: Any) -> list[In]:
    if not isinstance(inputs, list | tuple):
        raise GraphError(
            f"function: inputs is a list of variables, got {type(inputs).__name__}",
            [inputs] if isinstance(inputs, Variable) else (),
            hint="write function([x], …)",
        )
    specs = []
    for each in inputs:
        spec = each if isinstance(each, In) else None
        if spec is None:
            if isinstance(each, list | tuple) and len(each) == 2 and isinstance(each[0], Variable):
                spec = In(each[0], value=each[1])
            elif isinstance(each, Variable):
                spec = In(each)
            else:
                raise GraphError(f"function: an input is a variable, got {type(each).__name__} {each!r:.80}")
        if isinstance(spec.variable, Constant | SharedVariable):
            kind = "constant" if isinstance(spec.variable, Constant) else "shared variable"
            raise GraphError(
                f"function: a {kind} as an input",
                [spec.variable],
                hint="givens= replaces it, set_value changes it",
            )
        if spec.value is not None and not isinstance(spec.value, SharedVariable):
            spec.value = spec.variable.type.filter(spec.value, allow_downcast=spec.allow_downcast)
        specs.append(spec)
    seen: set[Variable] = set()
    for spec in specs:
        if spec.variable in seen:
            raise UnusedInputError("function: an input stands there twice", [spec.variable])
        seen.add(spec.variable)
    return specs


def _pairs(given: Any, what: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    items: Iterable[Any] = given.items() if isinstance(given, Mapping) else given
    pairs = []
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise GraphError(f"function: {what} is a mapping or a list of pairs, got {item!r:.80} in it")
        pairs.append((item[0], item[1]))
    return pairs


def checked_givens(givens: Any, specs: list[In]) -> dict[Variable, Variable]:
    replaced: dict[Variable, Variable] = {}
    inputs = {spec.variable for spec in specs}
    for old, new in _pairs(givens, "givens"):
        if not isinstance(old, Variable):
            raise GraphError(f"givens: {old!r:.80} is replaced, and is no variable")
        value = as_tensor_variable(new)
        if isinstance(value, Constant) and value.weak:
            value = as_tensor_variable(old.type.filter(value.data[()].item()))
        if old in inputs:
            raise GivensError("givens: a variable is replaced and an input as well", [old])
        if value.dtype != old.dtype or value.ndim != old.ndim:
            raise GraphError(
                "givens: what stands in has another dtype or rank",
                [old, value],
                hint=f"T.cast(value, {old.dtype!r}) converts it",
            )
        replaced[old] = value
    return replaced


def checked_updates(updates: Any) -> dict[SharedVariable, Variable]:
    checked: dict[SharedVariable, Variable] = {}
    for target, value in _pairs(updates, "updates"):
        if not isinstance(target, SharedVariable):
            shown = [target] if isinstance(target, Variable) else [repr(target)[:80]]
            raise UpdateError("updates: only shared variables are updated", shown)
        if target in checked:
            raise ArgumentError("updates: a shared variable is updated twice", [target])
        checked[target] = checked_update(target, value)
    return checked


def checked_update(target: SharedVariable, value: Any) -> Variable:
    new = as_tensor_variable(value)
    if isinstance(new, Constant) and not isinstance(value, Variable | np.ndarray | np.generic):
        new = as_tensor_variable(target.type.filter(new.data, allow_downcast=True))
    same_axes = new.ndim == target.ndim and all(
        want is None or have is None or want == have
        for want, have in zip(target.type.shape, new.type.shape, strict=True)
    )
    if new.dtype != target.dtype or not same_axes:
        raise UpdateError(
            f"updates: the new value of {target} is {new.type}, where {target.type} is expected",
            [target, new],
            hint=f"T.cast(value, {target.dtype!r}) converts it" if new.dtype != target.dtype else None,
        )
    return new


def add_default_updates(
    updates: dict[SharedVariable, Variable],
    outputs: Sequence[Variable],
    replaced: Mapping[Variable, Variable],
    excluded: bool | Sequence[Variable],
) -> None:
    """Add the default update of each shared variable that is read and has one, until no more appear."""
    if excluded is True:
        return
    without = set() if excluded is False else set(excluded)
    pending = [*outputs, *updates.values(), *replaced.values()]
    seen: set[Variable] = set()
    while pending:
        found = [each for each in ancestors(pending) if each not in seen]
        seen.update(found)
        pending = []
        for variable in found:
            if (
                isinstance(variable, SharedVariable)
                and variable.default_update is not None
                and variable not in updates
                and variable not in without
            ):
                updates[variable] = checked_update(variable, variable.default_update)
                pending.append(updates[variable])


def check_inputs(
    specs: list[In],
    ends: Sequence[Variable],
    replaced: Mapping[Variable, Variable],
    on_unused_input: str | None,
    source: SourceLine | None,
) -> None:
    from symnet.config import config

    policy = config.on_unused_input if on_unused_input is None else on_unused_input
    if policy not in ("raise", "warn", "ignore"):
        raise ArgumentError(
            f'function: on_unused_input={policy!r}: "raise", "warn" or "ignore" are expected', source=source
        )
    inputs = {spec.variable for spec in specs}
    needed: set[Variable] = set()
    stack = list(ends)
    while stack:
        variable = stack.pop()
        if variable in needed:
            continue
        needed.add(variable)
        if variable in replaced:
            stack.append(replaced[variable])
        elif variable in inputs or isinstance(variable, Constant | SharedVariable):
            continue
        elif variable.owner is not None:
            stack.extend(variable.owner.inputs)
        else:
            user = next((v for v in needed if v.owner is not None and variable in v.owner.inputs), None)
            raise MissingInputError(
                "function: an output or update needs a variable that is not among the inputs",
                [variable] if user is None else [variable, f"needed by {user.owner}"],
                source,
                hint="add it to the inputs, give it in givens=, or make it shared",
            )
    for spec in specs:
        if spec.variable not in needed and spec.update is None:
            message = "function: an input is not needed by any output or update"
            hint = 'on_unused_input="ignore" allows it'
            if policy == "raise":
                raise UnusedInputError(message, [spec.variable], source, hint)
            if policy == "warn":
                warnings.warn(f"{message}: {spec.variable}", stacklevel=4)


def own_graph(
    specs: list[In],
    ends: Sequence[Variable],
    replaced: Mapping[Variable, Variable],
    updates: Mapping[SharedVariable, Variable],
) -> tuple[FunctionGraph, dict[Variable, Variable]]:
    """The function's own copy of the graph, givens in place; inputs are arguments, then shared variables."""
    fresh: dict[Variable, Variable] = {}
    for spec in specs:
        copy = spec.variable.type.make_variable(spec.variable.name)
        copy.source = spec.variable.source
        fresh[spec.variable] = copy
    # An input that is itself computed from others ends the walk: its value is the argument.
    memo: dict[Variable, Variable] = dict(fresh)
    # Variables that share a container are one: what is written through one is read through the others.
    holders = {variable.container: variable for variable in updates}
    for variable in ancestors([*ends, *replaced.values()]):
        if isinstance(variable, SharedVariable) and variable not in updates:
            holder = holders.setdefault(variable.container, variable)
            if holder is not variable:
                memo[variable] = holder
    given: dict[Variable, Variable] = {}
    for old in _in_dependency_order(replaced):
        (memo[old],), copies = clone_graph([replaced[old]], memo)
        given.update(copies)
    outputs, trace = clone_graph(ends, memo)
    shared: dict[SharedVariable, None] = dict.fromkeys(updates)
    for variable in ancestors(outputs):
        if isinstance(variable, SharedVariable):
            shared[variable] = None
    return FunctionGraph([*(fresh[spec.variable] for spec in specs), *shared], outputs), {**given, **trace}


def _in_dependency_order(replaced: Mapping[Variable, Variable]) -> list[Variable]:
    """The replaced variables so that each comes after those its replacement needs."""
    order: list[Variable] = []
    state: dict[Variable, int] = {}
    for first in replaced:
        stack = [(first, False)]
        while stack:
            old, finished = stack.pop()
            if finished:
                if state[old] != 2:
                    state[old] = 2
                    order.append(old)
                continue
            if state.get(old) == 2:
                continue
            state[old] = 1
            stack.append((old, True))
            for each in ancestors([replaced[old]]):
                if each in replaced and each is not old:
                    if state.get(each) == 1:
                        raise GivensError("givens: variables replace each other in a circle", [old, each])
                    if each not in state:
                        stack.append((each, False))
    return order
