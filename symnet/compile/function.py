"""`function`: takes inputs, outputs, updates and givens, hands on something to call.

The user's request is checked in `symnet.compile.request` and becomes one FunctionGraph; what runs it comes
from the mode.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from symnet.compile.caller import Caller
from symnet.compile.debug import tell_rewriting
from symnet.compile.device import resolve_device
from symnet.compile.mode import Mode, resolve_mode
from symnet.compile.request import (
    In,
    Out,
    OutputForm,
    add_default_updates,
    check_inputs,
    checked_givens,
    checked_update,
    checked_updates,
    input_specs,
    own_graph,
)
from symnet.compile.shared import SharedVariable
from symnet.errors import ArgumentError, GraphError, UpdateError
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.source import SourceLine, user_line
from symnet.graph.variable import Variable

if TYPE_CHECKING:
    from symnet.backend.cpu import specialisation as cpu
    from symnet.compile.backend import Specialisation
    from symnet.compile.quick import Desk
    from symnet.inspect.profile import Profile
    from symnet.inspect.report import Report

__all__ = ["Function", "In", "Out", "evaluate", "function"]

_CALL = """Run the function.

Returns NumPy arrays in the form in which the outputs were asked for: one, a list, or a dict.

Raises
------
InputTypeError
    For a missing or surplus argument, a wrong dtype or rank.
ShapeError, IndexingError
    When shapes or indices do not fit, with the line that wrote the expression.
"""


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
    device
        Where it runs: "cpu" or "cuda".
    """

    asked = Asked((), {}, {})

    #: What a call runs is the instance's own: first its Python path, later a builtin function. A slot is
    #: where Python finds it without running code of a class.
    _asked_device: str | None = None

    __slots__ = {"__call__": _CALL, "__dict__": "attributes", "__weakref__": "weak references"}

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __init__(
        self,
        inputs: list[In],
        form: OutputForm,
        graph: FunctionGraph,
        updates: list[SharedVariable],
        mode: Mode,
        name: str | None,
        source: SourceLine | None,
        allow_downcast: bool | None,
        trace: dict[Variable, Variable],
        profiled: bool = False,
        device: str | None = None,
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
        self._profiled = profiled
        self._asked_device = device
        self.device = self._resolved_device()
        started = time.perf_counter()
        self.rewriting = mode.rewrite(graph)
        self.rewrite_seconds = time.perf_counter() - started
        tell_rewriting(name, self.rewriting)
        self._connect()

    def _resolved_device(self) -> str:
        """Where the function runs: NumPy's reference always on the CPU."""
        return "cpu" if self.mode.linker == "reference" else resolve_device(self._asked_device)

    def _connect(self) -> None:
        """Make what runs the graph."""
        self._executor = self.mode.executor(
            *(self.graph, len(self.inputs), self._form.count, self.updates),
            *(self.name, self._profiled, self.device),
        )
        described = (self.inputs, self._form, self.name, self.source, self._allow_downcast)
        self._caller = Caller(*described, self._executor)
        self._desk: Desk | None = None
        self._call_by(self._caller)
        # The executor must not keep the function: it would only be freed by the garbage collector.
        self._executor.on_second_call = weakref.WeakMethod(self._make_quick)

    def _call_by(self, call: Callable[..., Any]) -> None:
        """What a call runs; also of an instance of a subclass that has a method for it."""
        Function.__call__.__set__(self, call)  # type: ignore[attr-defined]

    def _make_quick(self, specialisations: list[cpu.Specialisation], launcher: Any) -> None:
        """From now on calls that fit these specialisations run without Python in between."""
        from symnet.compile.quick import Desk, plan_of

        if self._desk is None:
            self._desk = Desk(launcher, self._caller)
        for each in specialisations[self._desk.plans :]:
            self._desk.add(plan_of(each, self._executor, self._caller, launcher))
        self._call_by(self._desk.builtin)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function many times in one loop, in which other Python threads run.

        Each argument is a sequence (or an array, along its first axis) of what the calls are given for one
        input, all of one length; `f.map(xs, ys)` does what `[f(x, y) for x, y in zip(xs, ys)]` does, to the
        bit: updates are applied after each call, and what one call computes the next one finds. An input
        with a default may be left out. It is quickest with arrays of the input's dtype, or numbers, where
        all calls give results of fixed shapes; it is right for every function.

        Returns
        -------
        The results in the form of the outputs, those of all calls stacked along a new first axis. Without
        any call, axes whose length is not known beforehand have length 0.

        Raises
        ------
        ArgumentError
            When the sequences have different lengths, or none says how many calls there are.
        ShapeError
            When results of two calls differ in shape; that call is done.

        What a call raises, `map` raises with the call's index; the calls before it are done, as in a loop,
        and so they are when the keyboard interrupts it.

        >>> import numpy as np, symnet, symnet.tensor as T
        >>> x, total = T.dvector("x"), symnet.shared(0.0)
        >>> f = symnet.function([x], total, updates=[(total, total + x.sum())])
        >>> f.map(np.ones((4, 3)))
        array([0., 3., 6., 9.])
        >>> total.get_value().item()
        12.0
        """
        from symnet.compile.many import call_many

        return call_many(self._caller, args, kwargs)

    def profile(self, *args: Any, n: int = 100, **kwargs: Any) -> Profile:
        """Call the function `n` times with these arguments, and tell where the time went.

        The times of kernels are taken inside the generated code, by a twin that is compiled with clocks; on a
        GPU by its clock, one kernel after another. Two calls more come first, which compile it. Updates are
        applied by all of these calls.

        Returns
        -------
        A `symnet.inspect.profile.Profile`: prints as a table, has `kernels` and `chrome_trace()`.

        Raises
        ------
        ArgumentError
            When the function has no kernels, as by mode="reference".

        >>> import numpy as np, symnet, symnet.tensor as T
        >>> x = T.fmatrix("x")
        >>> f = symnet.function([x], T.exp(x).sum(), name="total")
        >>> found = f.profile(np.ones((50, 60), "float32"), n=10)
        >>> found.calls, [each.name for each in found.kernels]
        (10, ['total_k_sum'])
        """
        from symnet.inspect.profile import profile

        return profile(self, args, kwargs, n)

    @property
    def profiled(self) -> Profile | None:
        """Where the time of all calls went, of a function made with `profile=True`; None before a call."""
        from symnet.inspect.profile import accumulated

        return accumulated(self) if self._profiled else None

    def add_clocks(self) -> None:
        """Have the calls from now on add up their kernels' times, as those of a function with `profile=True`.

        What was compiled before is compiled again.
        """
        if not self._profiled:
            self._profiled = True
            self._connect()

    def twin_with_clocks(self) -> Function:
        """A function of the same graph and shared variables whose code adds up its kernels' times."""
        twin = Function.__new__(Function)
        twin.__dict__.update({**self.__getstate__(), "_profiled": True})
        twin._connect()
        return twin

    @property
    def specialisations(self) -> list[Specialisation]:
        """What was compiled so far for certain shapes, the oldest first.

        Raises
        ------
        ArgumentError
            When the function is not compiled, as by mode="reference".
        """
        from symnet.compile.call import CompiledExecutor

        if not isinstance(self._executor, CompiledExecutor):
            raise ArgumentError(f"{self!s} has no kernels to look at", hint='compile it with mode="default"')
        return self._executor.specialisations

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from symnet.inspect.notebook import html_of_function

        return html_of_function(self)

    def _repr_svg_(self) -> str | None:
        from symnet.inspect.notebook import svg_of

        return svg_of(self)

    def __getstate__(self) -> dict[str, Any]:
        # Compiled code stays behind: it is in the cache, or compiled again at the next call.
        compiled = ("_executor", "_caller", "_desk")
        return {name: value for name, value in self.__dict__.items() if name not in compiled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # What was made elsewhere runs where the settings here say, unless its device was named.
        self.device = self._resolved_device()
        self._connect()

    @property
    def kernels(self) -> list[Any]:
        """The latest specialisation's kernels, each with a readable `source`; [] before the first call."""
        found: list[Any] = self._executor.kernels
        return found

    @property
    def report(self) -> Report:
        """What happened while the function was made: passes, rules, kernels, memory, cache."""
        from symnet.inspect.report import Report

        return Report(self)

    def get_shared(self) -> list[SharedVariable]:
        """The shared variables that the function reads or updates."""
        return [each for each in self.graph.inputs if isinstance(each, SharedVariable)]

    def __str__(self) -> str:
        return str(self._caller)

    def __repr__(self) -> str:
        counts = f"{len(self.inputs)} inputs, {self._form.count} outputs"
        return f"<symnet function {self.name or 'unnamed'}: {counts}>"


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
    check: str | None = None,
    device: str | None = None,
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
    profile
        True adds up the kernels' times in all calls, for `f.profiled`.
    check
        "nan" stops a call at the first result that has a NaN or an infinity which what it is computed from
        lacks; "reference" at the first that is not what NumPy computes. Both name the op, its line, and the
        ranges of its operands, and nothing is written to a shared variable then. They cost time.
    device
        Where it runs: "cpu", "cuda" (an NVIDIA GPU) or "auto"; None for `config.device`. Shared variables may
        be used by functions on both: their values are copied when one needs what the other made.
    accept_inplace, rebuild_strict
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
    CudaError
        When the device is "cuda" and there is no GPU that can be used.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> f = symnet.function([x], T.sum(x**2), name="squares")
    >>> print(float(f([3.0, 4.0])))
    25.0
    """
    source = user_line()
    specs = input_specs(inputs)
    form = OutputForm(outputs)
    replaced = checked_givens(givens, specs)
    update_pairs = checked_updates(updates)
    for spec in specs:
        if spec.update is not None:
            if not isinstance(spec.value, SharedVariable):
                raise UpdateError("In(update=) needs a shared variable as value=", [spec.variable])
            update_pairs[spec.value] = checked_update(spec.value, spec.update)
    add_default_updates(update_pairs, form.variables, replaced, no_default_updates)
    ends = form.variables + list(update_pairs.values())
    check_inputs(specs, ends, replaced, on_unused_input, source)
    graph, trace = own_graph(specs, ends, replaced, update_pairs)
    made = Function(
        specs,
        form,
        graph,
        list(update_pairs),
        resolve_mode(mode) if check is None else resolve_mode(mode).checking(check),
        name,
        source,
        allow_input_downcast,
        trace,
        bool(profile),
        device,
    )
    made.asked = Asked(form.variables, update_pairs, replaced)
    for watcher in list(watchers):
        watcher(made)
    return made


#: Who is told of each function that is made.
watchers: list[Callable[[Function], None]] = []


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
