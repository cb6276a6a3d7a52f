"""Modes: takes a mode's name (or Theano's Mode), hands on what rewrites and runs a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from symnet.config import MODE_NAMES, config
from symnet.errors import ArgumentError, GraphError

if TYPE_CHECKING:
    from symnet.compile.shared import SharedVariable
    from symnet.graph.function_graph import FunctionGraph

_LINKERS = ("cvm", "cvm_nogc", "vm", "vm_nogc", "c", "c|py", "py", "c&py", "auto")


class Mode:
    """How a function is made and run.

    Parameters
    ----------
    linker
        "default" (rewritten and compiled) or "reference" (as written, every op by NumPy). Theano's
        linkers mean "default".
    optimizer
        None or "None" leaves the graph as it is written; anything else rewrites it.
    check
        "nan" or "reference": what compiled code looks at after each result that it stores (see `function`).
    """

    def __init__(self, linker: Any = "default", optimizer: Any = "default", check: str | None = None) -> None:
        self.linker = "default" if linker in _LINKERS or linker is None else linker
        if self.linker not in ("default", "reference"):
            raise GraphError(f'Mode with linker {linker!r}: "default" or "reference" are expected')
        if check not in (None, "nan", "reference"):
            raise ArgumentError(f'check={check!r}: None, "nan" or "reference" is expected')
        self.check = check
        self.rewrites = optimizer not in (None, "None") and self.linker == "default"

    def rewrite(self, graph: FunctionGraph) -> Any:
        """Rewrite a graph that the caller owns, in place; hands back the report."""
        if not self.rewrites:
            return None
        from symnet.rewrite.pipeline import rewrite

        return rewrite(graph)

    def executor(
        self,
        graph: FunctionGraph,
        arguments: int,
        outputs: int,
        updates: list[SharedVariable],
        name: str | None,
        profiled: bool = False,
        device: str = "cpu",
    ) -> Any:
        """What runs the graph: first `arguments` inputs are the call's, first `outputs` ends the results.

        `profiled`: kernels' times are added up inside the generated code. `device`: "cpu" or "cuda".
        """
        if self.linker == "reference":
            from symnet.backend.reference import ReferenceExecutor

            return ReferenceExecutor(graph, arguments, outputs, updates, self.check)
        from symnet.compile.call import CompiledExecutor
        from symnet.compile.device import backend_of

        checker = None
        if self.check is not None:
            from symnet.backend.checked import Checker

            checker = Checker(self.check)
        return CompiledExecutor(
            graph, arguments, outputs, updates, name, backend_of(device), profiled, checker
        )

    def checking(self, check: str) -> Mode:
        """This mode, with a check."""
        return Mode(self.linker, "default" if self.rewrites else None, check)

    def including(self, *names: str) -> Mode:
        """This mode (Theano's programs name optimisations to include)."""
        return self

    excluding = including

    def __repr__(self) -> str:
        check = f", check={self.check!r}" if self.check is not None else ""
        return f"Mode({self.linker!r}{check})"


class NanGuardMode(Mode):
    """Theano's mode of this name: `check="nan"`, for NaN and infinity alike; large numbers are let pass."""

    def __init__(
        self,
        nan_is_error: bool = True,
        inf_is_error: bool = True,
        big_is_error: bool = True,
        optimizer: Any = "default",
        linker: Any = None,
    ) -> None:
        super().__init__(linker, optimizer, "nan" if nan_is_error or inf_is_error else None)


def resolve_mode(mode: Any) -> Mode:
    """The mode that a `mode=` argument means.

    Raises
    ------
    GraphError
        For a name that is no mode.
    """
    if isinstance(mode, Mode):
        return mode
    if mode is None:
        mode = config.mode
    if isinstance(mode, str):
        linker = MODE_NAMES.get(mode, mode)
        if linker in ("default", "reference"):
            return Mode(linker)
    raise GraphError(f'mode {mode!r}: "default" or "reference" are expected')


def get_default_mode() -> Mode:
    """The mode of a function that names none."""
    return resolve_mode(None)
