"""Quick calls: takes a function's Python path and its specialisations, hands on a builtin function to call.

The builtin is the launcher's code with the function's plans (`symnet.compile.plan`): it tries them in the
order in which the Python path would, and hands a call that fits none of them to that path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symnet.compile import plan
from symnet.compile.caller import Caller
from symnet.compile.plan import Words

if TYPE_CHECKING:
    from symnet.backend.cpu.specialisation import Specialisation
    from symnet.compile.call import CompiledExecutor

_FORMS = {"one": plan.ONE, "list": plan.LIST, "dict": plan.DICT}


#: How often a call that must wait for others tries to be quick again before it takes the Python path, which
#: keeps others away while it waits.
_TRIES = 3
_CONTENDED = object()


class Desk:
    """What all plans of one function have in common, and the builtin function that uses them.

    Attributes
    ----------
    builtin
        What to call in the function's place; it keeps all that it needs.
    plans
        How many plans were added.
    """

    def __init__(self, launcher: Any, caller: Caller) -> None:
        constants = [each.value if isinstance(each.value, np.ndarray) else None for each in caller.inputs]
        defaults = Words.of([0 if each is None else id(each) for each in constants], constants)
        trial = self._words(launcher, caller, _tell_contended, defaults)
        waiter = _Waiter(caller, launcher.builtin(trial))
        words = self._words(launcher, caller, waiter, defaults)
        self.builtin = launcher.builtin(words)
        self._both = (trial, words)
        self.plans = 0

    @staticmethod
    def _words(launcher: Any, slow: Any, contended: Any, defaults: Words) -> Words:
        words = [launcher.runtime, id(slow), id(contended), defaults.address]
        words += [len(defaults), 0, *[0] * plan.MOST_PLANS]
        return Words.of(words, [slow, contended, defaults])

    def add(self, words: Words) -> None:
        """One more plan, tried after those before it; calls that fit none of the first few are not quick."""
        if self.plans < plan.MOST_PLANS:
            for each in self._both:
                each.kept.append(words)
                each[plan.FIRST_PLAN + self.plans] = words.address
                # A call in another thread finds the plan only now, when it is complete.
                each[plan.PLANS] = self.plans + 1
        self.plans += 1


def _tell_contended(*args: Any) -> object:
    return _CONTENDED


class _Waiter:
    """What a call does that finds other calls in its way: it waits for them, and is quick then if it can."""

    def __init__(self, caller: Caller, trial: Any) -> None:
        self._caller = caller
        self._trial = trial

    def __call__(self, *args: Any) -> Any:
        for _ in range(_TRIES):
            self._caller.executor.make_way()
            found = self._trial(*args)
            if found is not _CONTENDED:
                return found
        return self._caller(*args)


def plan_of(
    specialisation: Specialisation, executor: CompiledExecutor, caller: Caller, launcher: Any
) -> Words:
    """The plan of a specialisation; the launcher has its leases from now on.

    Calls that fit a specialisation that can't be quick go to the Python path.
    """
    table, program = specialisation.table, specialisation.program
    results = program.outputs if specialisation.can_be_quick else []
    arguments = len(caller.inputs)
    keys = tuple(caller.form.keys)
    free = plan.LinkedLeases(launcher)
    kept: list[Any] = [specialisation, free, keys, executor.graph]
    words = [0] * plan.PLAN_WORDS
    words[plan.ENTRY] = specialisation.loaded.address if specialisation.can_be_quick else 0
    words[plan.LEASES] = free.address
    words[plan.STATUS] = table.words
    words[plan.SCALARS] = plan.scalars_word(table.words)
    words[plan.EXTENTS] = plan.extents_word(table.words, arguments)
    words[plan.RESULTS] = plan.results_word(table.words, arguments)
    words[plan.RELEASES] = not plan.is_short(program)
    words[plan.FORM] = _FORMS[caller.form.kind]
    words[plan.KEYS] = id(keys)
    words[plan.ARGUMENTS_AT] = len(words)
    for position in range(arguments):
        words += _argument(caller, position)
        words += _array(specialisation, position, caller.dtypes[position])
    words[plan.CONTAINERS_AT] = len(words)
    containers = {each.container: each for each in executor.shared}
    updated = {each.container for each in executor.updates}
    words[plan.CONTAINERS] = len(containers)
    for container, variable in containers.items():
        address, _ = container.words.buffer_info()
        words += [address, container in updated, variable.type.numpy_dtype.itemsize]
        kept.append(container)
    words[plan.SHARED] = len(executor.shared)
    words[plan.SHARED_AT] = len(words)
    for number, variable in enumerate(executor.shared):
        address, _ = variable.container.words.buffer_info()
        words += [address, *_array(specialisation, arguments + number, variable.type.numpy_dtype)]
    words[plan.OUTPUTS] = len(results)
    words[plan.OUTPUTS_AT] = len(words)
    for number, (buffer, shape) in enumerate(results):
        dtype = np.dtype(buffer.dtype)
        words += [id(dtype), specialisation.output_words[number], len(shape)]
        for axis in specialisation.result_axes[number] or ():
            words.append(axis if isinstance(axis, int) else -1 - table.length(axis))
        kept.append(dtype)
    specialisation.lend_to(free)
    return Words.of(words, kept)


def _argument(caller: Caller, position: int) -> list[int]:
    """What an argument's record begins with: as what else than an array it may come."""
    spec, dtype = caller.inputs[position], caller.dtypes[position]
    if spec.variable.ndim or spec.strict:
        return [plan.ARRAYS_ALONE, 0, 0, 0]
    scalar = id(dtype.type)
    if dtype.kind in "iu":
        held = caller.ranges[position]
        return [plan.INTEGER, scalar, held.start, min(held.stop - 1, np.iinfo(np.int64).max)]
    if dtype == np.float64:
        return [plan.DOUBLE, scalar, 0, 0]
    if dtype == np.float32:
        allows = caller.allows(position)
        rounds = plan.EXACT if allows is False else plan.ROUNDS if allows else plan.ROUNDS_FOR_FLOATX
        return [plan.SINGLE, scalar, 0, rounds]
    return [plan.INTEGER, scalar, 1, 0]


def _array(specialisation: Specialisation, position: int, dtype: np.dtype[Any]) -> list[int]:
    """An array's record: what it must be, and where the table has it."""
    pointers = {source: word for word, source in specialisation.inputs}
    lengths = {(leaf.position, leaf.axis): word for word, leaf in specialisation.lengths}
    pattern = specialisation.pattern[position]
    words = [plan.dtype_word(dtype), pointers.get(position, -1), len(pattern), dtype.itemsize]
    for axis, length in enumerate(pattern):
        words += [length, lengths.get((position, axis), -1)]
    return words
