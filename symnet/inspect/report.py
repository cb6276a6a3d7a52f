"""The report: takes a function, hands on what happened while it was made, as data that prints well.

Passes and rules of rewriting, kernels, memory, and where the code came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from symnet.compile.call import CompiledExecutor
from symnet.compile.function import Function
from symnet.compile.kernel import Kernel
from symnet.compile.memory import bytes_of, lifetimes
from symnet.compile.program import ContractionCall, KernelCall, Program
from symnet.graph.source import SourceLine
from symnet.graph.variable import Apply
from symnet.inspect.count import counts
from symnet.inspect.subject import op_word, program_of, where
from symnet.rewrite.engine import PassReport


class RuleReport(NamedTuple):
    """What one rewrite rule did: how often it applied, and the seconds of trying and applying it."""

    name: str
    reason: str
    hits: int
    seconds: float


@dataclass(frozen=True)
class KernelReport:
    """One kernel.

    Attributes
    ----------
    name
        Its name in the object code.
    nodes
        The applications of ops that it computes, of the function's rewritten graph, inputs first.
    lines
        The user's lines that wrote them.
    calls
        How often it runs in one call of the function.
    flops, bytes_read, bytes_written
        Of all its runs in one call of the function, counted and not measured; sizes found at run time
        count at the most that they were planned for.
    buffers
        The names of the buffers of its first run.
    is_contraction
        Whether it is a product or convolution by a register tile.
    is_shared_out
        Whether its work is large enough to be shared out among threads; on a GPU, among blocks.
    blocks
        On a GPU, the blocks that its work is shared out among; None on the CPU.
    """

    name: str
    kernel: Kernel
    nodes: tuple[Apply, ...]
    lines: tuple[SourceLine, ...]
    calls: int
    flops: int
    bytes_read: int
    bytes_written: int
    buffers: tuple[str, ...]
    is_contraction: bool
    is_shared_out: bool
    blocks: int | None = None

    @property
    def source(self) -> str:
        """The kernel as Numba source."""
        return self.kernel.source

    @property
    def threads(self) -> str:
        """What runs it, in words."""
        if self.blocks is None:
            return "shared out among threads" if self.is_shared_out else "the caller alone"
        found = f"{self.blocks} block{'s' * (self.blocks != 1)}"
        return f"{found}; {self.kernel.resources}" if self.kernel.resources else found

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def ops(self) -> list[str]:
        """The names of the ops that it computes, inputs first, each as often as it is there."""
        return [op_word(node.op) for node in self.nodes]


class BufferReport(NamedTuple):
    """A buffer: where it lies, and (in the arena) the first and last step of the program that touches it."""

    name: str
    dtype: str
    bytes: int
    kind: str
    offset: int | None
    first: int | None
    last: int | None


@dataclass(frozen=True)
class MemoryReport:
    """The buffers and the arena.

    Attributes
    ----------
    arena_bytes
        The size of the arena: the most that intermediate results take at any time.
    unshared_bytes
        What they would take if no memory were used twice.
    buffers
        All buffers that kernels touch.
    """

    arena_bytes: int
    unshared_bytes: int
    buffers: tuple[BufferReport, ...]

    @property
    def reuse(self) -> float:
        """How many times over the arena is used."""
        return self.unshared_bytes / self.arena_bytes if self.arena_bytes else 1.0


class Report(Mapping[str, Any]):
    """What happened while a function was made; `print` shows it.

    It reads as a mapping of plain facts as well: `report["cache"]`, `report["specialisations"]`.

    Attributes
    ----------
    name, line
        The function's name, and the user's line that made it.
    passes
        What each rewriting pass did: name, sentence, seconds, nodes before and after, applications.
    rules
        The rules that applied, by name.
    kernels
        Those of the program that ran last, in the order in which they first run.
    memory
        Its buffers and arena; None before the first call.
    cache, cache_reason
        "hit", "miss" or "off" (None before the first call), and what that means in words.
    """

    def __init__(self, function: Function) -> None:
        self.name = function.name
        self.line = function.source
        self.rewriting = function.rewriting
        self.rewrite_seconds = function.rewrite_seconds
        self._order = function.graph.toposort()
        self.nodes = len(self._order)
        executor = function._executor
        self._is_compiled = isinstance(executor, CompiledExecutor)
        made = {"name": function.name, "device": function.device, "rewriting": function.rewriting}
        self._facts = {**made, **executor.report}
        self._kernels = function.kernels
        self._program = program_of(function)

    def __getitem__(self, key: str) -> Any:
        return self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def passes(self) -> list[PassReport]:
        """The rewriting passes, in order; [] where nothing is rewritten."""
        return [] if self.rewriting is None else list(self.rewriting.passes)

    @cached_property
    def rules(self) -> dict[str, RuleReport]:
        """The rules that applied, the most frequent first."""
        hits: dict[str, int] = {}
        seconds: dict[str, float] = {}
        reasons: dict[str, str] = {}
        for each in self.passes:
            for name, spent in each.rule_seconds.items():
                seconds[name] = seconds.get(name, 0.0) + spent
            for application in each.applications:
                hits[application.rule] = hits.get(application.rule, 0) + 1
                reasons[application.rule] = application.reason
        ordered = sorted(hits, key=lambda name: (-hits[name], name))
        return {name: RuleReport(name, reasons[name], hits[name], seconds.get(name, 0.0)) for name in ordered}

    @cached_property
    def kernels(self) -> list[KernelReport]:
        """The kernels; [] before the first call."""
        program = self._program
        if program is None:
            return []
        most = {slot.name: slot.capacity for slot in program.slots.values()}
        by_name: dict[str, list[Any]] = {}
        for count in counts(program, lambda name: most.get(name, 1)):
            by_name.setdefault(count.name, []).append(count)
        found = []
        places = {node: place for place, node in enumerate(self._order)}
        for kernel, calls in zip(self._kernels, program.by_kernel, strict=True):
            counted = by_name.get(kernel.name, [])
            blocks = kernel.blocks
            found.append(
                KernelReport(
                    kernel.name,
                    kernel,
                    tuple(sorted(kernel.nodes, key=lambda node: places.get(node, len(places)))),
                    tuple(kernel.lines),
                    len(calls),
                    sum(sum(each.flops.values()) for each in counted),
                    sum(each.read for each in counted),
                    sum(each.written for each in counted),
                    tuple(buffer.name for buffer in calls[0].buffers),
                    isinstance(calls[0], ContractionCall),
                    _is_shared_out(calls[0], most) if blocks is None else blocks > 1,
                    blocks,
                )
            )
        return found

    @cached_property
    def memory(self) -> MemoryReport | None:
        """Buffers and arena; None before the first call."""
        return None if self._program is None else memory_of(self._program)

    @property
    def cache(self) -> str | None:
        """Whether the code came from the cache."""
        found: str | None = self._facts.get("cache")
        return found

    @property
    def cache_reason(self) -> str:
        """What `cache` means in words."""
        from symnet.compile.cache import folder
        from symnet.config import config

        if not self._is_compiled:
            return "nothing is compiled: every op runs by NumPy"
        if self.cache is None:
            return "nothing is compiled before the first call, when the shapes are known"
        if self.cache == "simulated":
            return "kernels run in Numba's simulator, from their text"
        if self.cache == "hit":
            return f"the code was in {folder()}"
        if self.cache == "miss":
            return f"no code for this program, processor and these versions was in {folder()}; now it is"
        if config.cache and config.backend == "numba":
            return 'config.backend = "numba" keeps no code of kernels for a CPU'
        return "config.cache is off"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        made = f", made in {where(self.line)}" if self.line is not None else ""
        yield f"{self.name or 'unnamed function'}{made}"
        if self.passes:
            before, spent = self.passes[0].nodes_before, self.rewrite_seconds * 1e3
            yield ""
            yield f"rewriting: {before} nodes to {self.nodes}, {spent:.1f} ms"
            rows = [["pass", "ms", "before", "after", "joined", "applied", "what it does"]]
            for each in self.passes:
                numbers = (each.nodes_before, each.nodes_after, each.merged, len(each.applications))
                rows.append([each.name, f"{each.seconds * 1e3:.1f}", *map(str, numbers), each.sentence])
            yield from table(rows, "<>>>>><")
        if self.rules:
            yield ""
            rows = [["rule", "hits", "ms", "why"]]
            rows += [[r.name, str(r.hits), f"{r.seconds * 1e3:.2f}", r.reason] for r in self.rules.values()]
            yield from table(rows, "<>><")
        yield ""
        if self._program is None:
            yield f"kernels: none; {self.cache_reason}"
            return
        yield from self._kernel_lines()
        memory = self.memory
        assert memory is not None
        arena = sum(buffer.kind == "arena" for buffer in memory.buffers)
        yield ""
        yield (
            f"memory: {arena} intermediate results of {amount(memory.unshared_bytes)}B share an arena of "
            f"{amount(memory.arena_bytes)}B (used {memory.reuse:.1f} times over)"
        )
        count = self._facts["specialisations"]
        sets = "set" if count == 1 else "sets"
        yield f"code: for {count} {sets} of shapes so far; cache {self.cache}: {self.cache_reason}"
        if "transfers" in self:
            yield from self._transfer_lines()

    def _transfer_lines(self) -> Iterator[str]:
        """What was copied to a GPU and from it."""
        told = self["transfers"]
        yield f"device: {self['gpu']}; each call is {self['launches']} kernels of the GPU"
        for name, words in (("", "by calls"), ("shared_", "of shared variables")):
            yield (
                f"copies {words}: {told[name + 'uploads']} to it ({amount(told[name + 'uploaded_bytes'])}B), "
                f"{told[name + 'downloads']} from it ({amount(told[name + 'downloaded_bytes'])}B)"
            )

    def _kernel_lines(self) -> Iterator[str]:
        assert self._program is not None
        runs = sum(each.calls for each in self.kernels)
        yield f"kernels: {len(self.kernels)}, which run {runs} times in a call"
        prefix = f"{self._program.name}_k_"
        runners = "threads" if self["device"] == "cpu" else "blocks"
        rows = [["kernel", "runs", "FLOP", "bytes", runners, "computes", "lines"]]
        for each in self.kernels:
            rows.append(
                [
                    each.name.removeprefix(prefix),
                    str(each.calls),
                    amount(each.flops),
                    amount(each.bytes_moved),
                    ("many" if each.is_shared_out else "one") if each.blocks is None else str(each.blocks),
                    shorten(", ".join(dict.fromkeys(each.ops)), 44),
                    shorten(", ".join(dict.fromkeys(where(line) for line in each.lines)), 44),
                ]
            )
        yield from table(rows, "<>>><<<")


def memory_of(program: Program) -> MemoryReport:
    """The buffers and arena of a program."""
    lives = lifetimes(program)
    touched = dict.fromkeys(buffer for call in program.calls for buffer in call.buffers)
    found = tuple(
        BufferReport(
            *(buffer.name, buffer.dtype, bytes_of(buffer), buffer.kind, buffer.offset),
            *lives.get(buffer, (None, None)),
        )
        for buffer in touched
    )
    return MemoryReport(program.arena_bytes, sum(bytes_of(buffer) for buffer in lives), found)


def _is_shared_out(call: KernelCall | ContractionCall, most: Mapping[str, int]) -> bool:
    from symnet.backend.cpu.machine import host_machine
    from symnet.backend.cpu.split import split_contraction, split_nest

    if isinstance(call, ContractionCall):
        return split_contraction(call.contraction, host_machine(), most) is not None
    return split_nest(call.kernel, most) is not None


def amount(number: float) -> str:
    """A number with a unit's prefix, as in `1.5 k`; the unit follows it."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def shorten(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip(" ,") + "…"


def table(rows: list[list[str]], alignment: str) -> Iterator[str]:
    """Rows (the first is the head) as indented lines with columns under each other; `<` or `>` for each."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(alignment))]
    for row in rows:
        cells = [
            cell.ljust(width) if side == "<" else cell.rjust(width)
            for cell, width, side in zip(row, widths, alignment, strict=True)
        ]
        yield f"  {'  '.join(cells)}".rstrip()
