"""Every exception symnet raises, and the one place that formats them.

A message has one shape: what was asked, each operand with its type and the line that made it, the
user's line, and a hint where one is likely. Each class is also the built-in exception that Theano
raises in its place, so that programs which catch that keep working.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from symnet.graph.source import SourceLine, user_line

if TYPE_CHECKING:
    from symnet.graph.variable import Variable


def describe(variable: Variable) -> str:
    """A variable in one line: its name or op, its type, and where it was made."""
    from symnet.graph.variable import Constant

    if isinstance(variable, Constant):
        label = f"constant {variable.short_value}"
    elif variable.name:
        label = variable.name
    elif variable.owner is not None:
        label = f"result of {variable.owner.op}"
    else:
        label = "unnamed input"
    source = variable.source
    where = f", made in {source.file}:{source.line}" if source is not None else ""
    return f"{label}: {variable.type}{where}"


def format_message(
    asked: str,
    operands: Sequence[Variable | str] = (),
    source: SourceLine | None = None,
    hint: str | None = None,
) -> str:
    """The text of an error: what was asked, the operands, the user's line, a hint."""
    lines = [asked]
    for number, operand in enumerate(operands):
        text = operand if isinstance(operand, str) else f"operand {number}: {describe(operand)}"
        lines.append(f"  {text}")
    if source is not None:
        lines.append(f"  {source}")
    if hint:
        lines.append(f"  Hint: {hint}")
    return "\n".join(lines)


class SymnetError(Exception):
    """The base of all of symnet's exceptions.

    Parameters
    ----------
    asked
        What went wrong, in one sentence with what was given and what was expected.
    operands
        Variables (described with type and origin) or ready lines.
    source
        The user's line; the nearest line on the stack outside symnet when not given.
    hint
        What the user most likely wants to do about it.
    """

    def __init__(
        self,
        asked: str,
        operands: Sequence[Variable | str] = (),
        source: SourceLine | None = None,
        hint: str | None = None,
    ) -> None:
        self.asked = asked
        self.source = source if source is not None else user_line()
        self.hint = hint
        super().__init__(format_message(asked, operands, self.source, hint))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.asked, self.source, self.hint))


def _rebuild(
    kind: type[SymnetError], args: tuple[str, ...], asked: str, source: SourceLine | None, hint: str | None
) -> SymnetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.asked, error.source, error.hint = asked, source, hint
    return error


def at_index(error: SymnetError, number: int) -> SymnetError:
    """The same error, told of call number `number` of `map`."""
    asked = f"at index {number} of map: {error.asked}"
    args = (f"at index {number} of map: {error.args[0]}", *error.args[1:])
    return _rebuild(type(error), args, asked, error.source, error.hint).with_traceback(error.__traceback__)


class GraphError(SymnetError, TypeError):
    """An expression that can't be: an operand of the wrong kind, rank or dtype."""


class ShapeError(SymnetError, ValueError):
    """Shapes that do not fit together, when the line is written or when a function is called."""


class ArgumentError(SymnetError, ValueError):
    """An argument whose value is not among those that have a meaning."""


class UnsupportedError(SymnetError, NotImplementedError):
    """A combination of arguments that an op does not do."""


class IndexingError(SymnetError, IndexError):
    """An index outside its axis, or more indices than axes."""


class AssertError(SymnetError, AssertionError):
    """A condition of an `Assert` op that does not hold when a function runs."""


class NanError(SymnetError, ArithmeticError):
    """A NaN or an infinity that came up in a function made with `check="nan"`."""


class DifferenceError(SymnetError, ArithmeticError):
    """A compiled value that is not NumPy's, in a function made with `check="reference"`."""


class MissingTestValueError(SymnetError, AttributeError):
    """A variable without a test value, where `config.test_values` asks for one."""


class InputTypeError(SymnetError, TypeError):
    """A value given to a function whose dtype or rank is not its input's."""


class InputValueError(InputTypeError, ValueError):
    """A value given to a function that is no number at all."""


class GivensError(SymnetError, RuntimeError):
    """Givens that contradict the inputs or one another."""


class MissingInputError(SymnetError, ValueError):
    """A function whose outputs need a variable that is not among its inputs."""


class UnusedInputError(SymnetError, ValueError):
    """A function with an input that none of its outputs needs."""


class DisconnectedInputError(SymnetError, ValueError):
    """A gradient by a variable that the cost does not depend on."""


class NullTypeGradError(SymnetError, TypeError):
    """A gradient that is not defined for an op."""


class UpdateError(SymnetError, TypeError):
    """An update whose value does not have the type of its shared variable."""


class RewriteError(SymnetError, RuntimeError):
    """A rewrite that breaks the graph or does not come to an end; it names the rule."""


class CompileError(SymnetError, NotImplementedError):
    """An op, or a dtype, that the chosen backend can't compile."""


class CudaError(SymnetError, RuntimeError):
    """A GPU that is asked for and can't be used, or that broke off."""


class AssertionFailed(SymnetError, AssertionError):
    """An `Assert` in a compiled function that did not hold."""


class VerifyGradError(SymnetError):
    """A gradient that differs from the finite difference of its function."""


class MissingNameError(SymnetError, AttributeError):
    """A name of Theano's that symnet does not have yet."""


class MissingImportError(SymnetError, ImportError):
    """The same, met in an `import`; Python allows no class that is both."""


class MissingProgramError(SymnetError, RuntimeError):
    """A program outside Python that is needed and not installed."""


class InstallError(SymnetError, ImportError):
    """`symnet.theano.install()` while the real Theano is imported already."""


class CacheWarning(UserWarning):
    """The cache of compiled code could not be used; compiling goes on without it."""
