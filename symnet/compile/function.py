"""`function`: takes inputs, outputs, updates and givens, hands on something to call.

Here the user's request is checked and becomes one FunctionGraph; what runs it comes from the mode.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from symnet.compile.debug import tell_rewriting
from symnet.compile.mode import Mode, resolve_mode
from symnet.compile.shared import SharedVariable
from symnet.errors import (
    ArgumentError,
    GivensError,
    GraphError,
    InputTypeError,
    MissingInputError,
    UnusedInputError,
    UpdateError,
)
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.source import SourceLine, user_line
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


class Asked(NamedTuple):
    """What the user asked a function for, in his own variables: outputs, updates, and givens."""

    outputs: Sequence[Variable]
    updates: Mapping[SharedVariable, Variable]
    givens: Mapping[Variable, Variable]


class Function:
    """A compiled function: call it with values for its inputs.

    Attributes
    ----------
    name
        The name given to `function`.
    graph
        The rewritten graph.
    report
        What happened while it was made: rewriting passes, kernels, memory, cache.
    asked
        What the user asked for, in his own variables.
    """

    asked = Asked((), {}, {})

    def __init__(
        self,
        inputs: list[In],
        form: _OutputForm,
        graph: FunctionGraph,
        updates: list[SharedVariable],
        mode: Mode,
        name: str | None,
        source: SourceLine | None,
        allow_downcast: bool | None,
        trace: dict[Variable, Variable],
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.graph = graph
        self.updates = updates
        self.mode = mode
        self.source = source
        self._form = form
        self._allow_downcast = allow_downcast
        self._trace = trace
        self._positions = {each.name: i for i, each in enumerate(inputs) if each.name}
        self._defaults = [each.value for each in inputs]
        self._dtypes = [each.variable.type.numpy_dtype for each in inputs]
        #: Where a Python int is the usual argument, such as a mini-batch's number: which ones are held.
        self._ranges = [
            range(np.iinfo(dtype).min, int(np.iinfo(dtype).max) + 1)
            if dtype.kind == "i" and each.variable.ndim == 0 and not each.strict
            else range(0)
            for dtype, each in zip(self._dtypes, inputs, strict=True)
        ]
        started = time.perf_counter()
        self.rewriting = mode.rewrite(graph)
        self.rewrite_seconds = time.perf_counter() - started
        tell_rewriting(name, self.rewriting)
        self._executor = self._new_executor()

    def _new_executor(self) -> Any:
        return self.mode.executor(self.graph, len(self.inputs), self._form.count, self.updates, self.name)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled code stays behind: it is in the cache, or compiled again at the next call.
        return {name: value for name, value in self.__dict__.items() if name != "_executor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._executor = self._new_executor()

    @property
    def kernels(self) -> list[Any]:
        """The latest specialisation's kernels, each with a readable `source`; [] before the first call."""
        found: list[Any] = self._executor.kernels
        return found

    @property
    def report(self) -> dict[str, Any]:
        """What happened while the function was made, as plain data."""
        return {"name": self.name, "rewriting": self.rewriting, **self._executor.report}

    def get_shared(self) -> list[SharedVariable]:
        """The shared variables that the function reads or updates."""
        return [each for each in self.graph.inputs if isinstance(each, SharedVariable)]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function.

        Returns NumPy arrays in the form in which the outputs were asked for: one, a list, or a dict.

        Raises
        ------
        InputTypeError
            For a missing or surplus argument, a wrong dtype or rank.
        ShapeError, IndexingError
            When shapes or indices do not fit, with the line that wrote the expression.
        """
        values = self._arguments(args, kwargs)
        return self._form.dress(self._executor.run(values))

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
        inputs = self.inputs
        if len(args) > len(inputs):
            raise InputTypeError(
                f"{self!s} takes {len(inputs)} arguments, got {len(args)}", self._described()
            )
        given: list[Any] = list(args) + [_MISSING] * (len(inputs) - len(args))
        for key, value in kwargs.items():
            position = self._positions.get(key)
            if position is None:
                raise InputTypeError(f"{self!s} has no input named {key!r}", self._described())
            if given[position] is not _MISSING:
                raise InputTypeError(f"{self!s} got input {key!r} twice", self._described())
            given[position] = value
        values = []
        for position, (spec, value) in enumerate(zip(inputs, given, strict=True)):
            if value is _MISSING:
                value = self._default(position, spec)
            tensor_type = spec.variable.type
            if (
                type(value) is np.ndarray
                # Another byte order is another dtype.
                and value.dtype == self._dtypes[position]
                and value.ndim == len(tensor_type.shape)
                and value.flags.c_contiguous
                and value.flags.aligned
                and None is _wrong_axis(tensor_type.shape, value.shape)
            ):
                values.append(value)
                continue
            if type(value) is int and value in self._ranges[position]:
                values.append(np.array(value, self._dtypes[position]))
                continue
            allow = spec.allow_downcast if spec.allow_downcast is not None else self._allow_downcast
            try:
                array = tensor_type.filter(value, strict=spec.strict, allow_downcast=allow)
            except InputTypeError as error:
                label = spec.name or f"number {position}"
                raise type(error)(
                    f"input {label} of {self!s}: {error.asked}",
                    [spec.variable, self._made()],
                    hint=error.hint,
                ) from None
            values.append(np.require(array, requirements=["C", "A"]))
        return values

    def _default(self, position: int, spec: In) -> Any:
        default = self._defaults[position]
        if default is None:
            label = spec.name or f"number {position}"
            raise InputTypeError(f"{self!s} needs a value for input {label}", self._described())
        return default.container.read() if isinstance(default, SharedVariable) else default

    def _described(self) -> list[Variable | str]:
        """The inputs, for an error that belongs to the line of the call."""
        return [*(spec.variable for spec in self.inputs), self._made()]

    def _made(self) -> str:
        where = f"{self.source.file}:{self.source.line}" if self.source is not None else "a prompt"
        return f"{self!s} was made in {where}"

    def __str__(self) -> str:
        return f"function {self.name}" if self.name else "the function"

    def __repr__(self) -> str:
        counts = f"{len(self.inputs)} inputs, {self._form.count} outputs"
        return f"<symnet function {self.name or 'unnamed'}: {counts}>"


_MISSING = object()


def _wrong_axis(expected: tuple[int | None, ...], given: tuple[int, ...]) -> int | None:
    for axis, length in enumerate(expected):
        if length is not None and given[axis] != length:
            return axis
    return None


class _OutputForm:
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


def function(
    inputs: Sequence[Variable | In],
    outputs: Any = None,
    mode: Any = None,
    updates: Any = None,
    givens: Any = None,
    no_default_updates: bool | Sequence[Variable] = False,
    accept_inplace: bool = False,
    name: str | None = None,
    rebuild_strict: bool = True,
    allow_input_downcast: bool | None = None,
    profile: Any = None,
    on_unused_input: str | None = None,
) -> Function:
    """Compile expressions into a function.

    Parameters
    ----------
    inputs
        Variables, or `In`s, in the order of the arguments.
    outputs
        One variable, a list, a dict with string keys, or None; results come back in the same form.
    mode
        None (`config.mode`), "default", or "reference" (every op by NumPy); Theano's names are taken too.
    updates
        Pairs (or a mapping) of shared variables and the expressions that they become after each call.
        All expressions see the values from before.
    givens
        Pairs (or a mapping) of variables and what stands in their place.
    no_default_updates
        True, or the shared variables whose `default_update` is not applied.
    name
        A name for errors and prints.
    allow_input_downcast
        True takes arguments of any dtype; None also a Python float for floatX; False nothing lossy.
    on_unused_input
        "raise" (the default, `config.on_unused_input`), "warn", or "ignore".
    accept_inplace, rebuild_strict, profile
        Accepted for Theano's programs.

    Raises
    ------
    MissingInputError
        When an output needs a variable that is no input.
    UnusedInputError
        When an input is not needed, or stands there twice.
    UpdateError
        When an update's type is not its shared variable's.
    GraphError
        When something that is not a variable stands where one is expected.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> f = symnet.function([x], T.sum(x**2), name="squares")
    >>> print(float(f([3.0, 4.0])))
    25.0
    """
    source = user_line()
    specs = _input_specs(inputs)
    form = _OutputForm(outputs)
    replaced = _givens(givens, specs)
    update_pairs = _updates(updates)
    for spec in specs:
        if spec.update is not None:
            if not isinstance(spec.value, SharedVariable):
                raise UpdateError("In(update=) needs a shared variable as value=", [spec.variable])
            update_pairs[spec.value] = _checked_update(spec.value, spec.update)
    _default_updates(update_pairs, form.variables, replaced, no_default_updates)
    ends = form.variables + list(update_pairs.values())
    _check_inputs(specs, ends, replaced, on_unused_input, source)
    graph, trace = _graph(specs, ends, replaced, update_pairs)
    made = Function(
        specs,
        form,
        graph,
        list(update_pairs),
        resolve_mode(mode),
        name,
        source,
        allow_input_downcast,
        trace,
    )
    made.asked = Asked(form.variables, update_pairs, replaced)
    for watcher in list(watchers):
        watcher(made)
    return made


#: Who is told of each function that is made.
watchers: list[Callable[[Function], None]] = []


def _input_specs(inputs: Any) -> list[In]:
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


def _givens(givens: Any, specs: list[In]) -> dict[Variable, Variable]:
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


def _updates(updates: Any) -> dict[SharedVariable, Variable]:
    checked: dict[SharedVariable, Variable] = {}
    for target, value in _pairs(updates, "updates"):
        if not isinstance(target, SharedVariable):
            shown = [target] if isinstance(target, Variable) else [repr(target)[:80]]
            raise UpdateError("updates: only shared variables are updated", shown)
        if target in checked:
            raise ArgumentError("updates: a shared variable is updated twice", [target])
        checked[target] = _checked_update(target, value)
    return checked


def _checked_update(target: SharedVariable, value: Any) -> Variable:
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


def _default_updates(
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
                updates[variable] = _checked_update(variable, variable.default_update)
                pending.append(updates[variable])


def _check_inputs(
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


def _graph(
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


def evaluate(variable: Variable, inputs_to_values: Mapping[Variable, Any] | None = None) -> Any:
    """`variable.eval({x: value})`: compile once for these inputs, run, and keep the function."""
    values = {} if inputs_to_values is None else inputs_to_values
    if not isinstance(values, Mapping):
        raise GraphError(f"eval takes a mapping from variables to values, got {type(values).__name__}")
    inputs = tuple(values)
    kept: dict[tuple[Variable, ...], Function] = variable.__dict__.setdefault("_eval_functions", {})
    if inputs not in kept:
        kept[inputs] = function(list(inputs), variable, on_unused_input="ignore")
    return kept[inputs](*(values[each] for each in inputs))


# The one method of a variable that needs the compiler; the others are attached by symnet.ops.operators.
Variable.eval = evaluate  # type: ignore[attr-defined]
