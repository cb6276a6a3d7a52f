"""Explanations: takes a function and a part of it, hands on what became of that part, rule by rule, as text.

Without a part: what each of the user's lines became, and how many kernels run it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from symnet.compile.function import Function
from symnet.compile.kernel import Kernel
from symnet.errors import ArgumentError, GraphError
from symnet.graph.source import SourceLine
from symnet.graph.variable import Apply, Constant, Variable
from symnet.inspect.history import History, Step, Way, kernel_lines, written
from symnet.inspect.subject import op_text, op_word, type_text, where, written_in

#: So many lines of a kernel's source are quoted for one node.
_MOST_QUOTED = 8
#: A replacement that is longer stands on lines of its own.
_WIDTH = 90


class Explanation:
    """What became of a function, or of a part of it; `print` shows it.

    Attributes
    ----------
    function
        The function.
    ways
        For each of the user's variables in question what became of it: steps, kernels, buffer.
    kernels
        The kernels that compute them, each once.
    """

    def __init__(self, function: Function, ways: list[Way], text: str) -> None:
        self.function = function
        self.ways = ways
        self.kernels: list[Kernel] = []
        for way in ways:
            self.kernels += [each for each in way.kernels if each not in self.kernels]
        self._text = text

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__


def explain(function: Function, part: int | str | Variable | Apply | None = None) -> Explanation:
    """What became of an expression on its way from the user's line to the kernels, and why.

    Parameters
    ----------
    function
        A compiled function; after its first call, kernels are known as well.
    part
        A line number, a part of a line's text (or `file.py:12`), or a variable or node of the user's own;
        None for the whole function, line by line.

    Raises
    ------
    GraphError, ArgumentError
        For what is no function, and for a part that is not in it.

    >>> import symnet, symnet.tensor as T
    >>> x = T.dvector("x")
    >>> p = T.nnet.sigmoid(x)
    >>> f = symnet.function([x], T.log(p), name="f")
    >>> print(str(explain(f, p)).partition("sigmoid(x): ")[2])
    float64 (?,)
      taken in by log_of_sigmoid (stabilise): log(sigmoid(x)) became neg(softplus(neg(x)))
        because the sigmoid underflows where its logarithm does not
      now neg: float64 (?,); kernels are made at the first call
    """
    if not isinstance(function, Function):
        raise GraphError(
            f"explain: {type(function).__name__} {function!r:.80} is no function",
            hint="explain(f), where f = symnet.function(…)",
        )
    return explained(History(function), part)


def explained(history: History, part: int | str | Variable | Apply | None = None) -> Explanation:
    """The same of a history that is there already."""
    function = history.function
    if part is None:
        ways = [history.way(each) for each in history.variables if each.owner is not None]
        return Explanation(function, ways, "\n".join(_overview(history, ways)))
    variables = _meant(history, part)
    ways = [history.way(each) for each in variables]
    return Explanation(function, ways, "\n".join(_told(history, ways)))


def _meant(history: History, part: Any) -> list[Variable]:
    function = history.function
    if isinstance(part, bool) or not isinstance(part, int | str | Variable | Apply):
        raise ArgumentError(
            f"explain: {type(part).__name__} {part!r:.80} names no part of {function!s}",
            hint="a line number, a part of a line's text, or a variable of your own",
        )
    if isinstance(part, Variable | Apply):
        found = list(part.outputs) if isinstance(part, Apply) else [part]
        known = {*function._trace, *function.graph.clients, *(each.variable for each in function.inputs)}
        if not all(each in known or isinstance(each, Constant) for each in found):
            raise ArgumentError(
                f"explain: {function!s} does not depend on this variable",
                [found[0]],
                hint="it takes a variable that was there when the function was made",
            )
        return found
    found = history.matching(part)
    if not found:
        sources = [written_in(each.source) for each in history.variables if each.owner is not None]
        places = sorted({(each.file, each.line): each for each in sources if each is not None}.items())
        lines = [line for _, line in places]
        shown = [f"{where(line)}  {line.text}".rstrip() for line in lines[:24]]
        what = f"line {part}" if isinstance(part, int) else f"a line with {part!r}"
        raise ArgumentError(
            f"explain: no part of {function!s} was written in {what}",
            ["it was written in:", *shown, *(["…"] if len(lines) > 24 else [])],
        )
    return found


def _lines_of(variables: list[Variable]) -> list[SourceLine]:
    found = dict.fromkeys(each.source for each in variables if each.source is not None)
    return sorted(found, key=lambda line: (line.file, line.line))


def _overview(history: History, ways: list[Way]) -> Iterator[str]:
    function = history.function
    places = history.places
    made = f", made in {where(function.source)}" if function.source is not None else ""
    yield f"{function.name or 'unnamed function'}{made}"
    after = len(function.graph.nodes)
    passes = function.rewriting.passes if function.rewriting is not None else []
    before = passes[0].nodes_before if passes else after
    kernels = f"are {len(places.kernels)} kernels" if places.program is not None else "have no kernels yet"
    yield f"{before} nodes were rewritten to {after}, which {kernels}"
    by_line: dict[tuple[str, int], list[Way]] = {}
    for way in ways:
        line = written_in(way.variable.source)
        by_line.setdefault(("", 0) if line is None else (line.file, line.line), []).append(way)
    for place in sorted(by_line):
        group = by_line[place]
        line = written_in(group[0].variable.source)
        yield ""
        yield f"{where(line)}  {line.text}".rstrip() if line is not None else "(no line)"
        callers = _lines_of([each for each in (way.variable for way in group) if _is_called(each)])
        if callers:
            yield f"  called   in {', '.join(dict.fromkeys(f'{_file(c)}:{c.line}' for c in callers))}"
        yield f"  wrote    {_counted([way.variable for way in group])}"
        ends = list(dict.fromkeys(way.end for way in group if way.end is not None))
        yield f"  now      {_counted(ends) if ends else 'nothing: no result needs it'}"
        rules: dict[str, int] = {}
        for way in group:
            for step in way.steps:
                name = step.application.rule if step.application is not None else "joined with an equal one"
                rules[name] = rules.get(name, 0) + 1
        if rules:
            yield f"  by       {', '.join(name + (f' ×{n}' if n > 1 else '') for name, n in rules.items())}"
        names = list(dict.fromkeys(places.short(k.name) for way in group for k in way.kernels))
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            yield f"  kernels  {', '.join(names[:8])}{more}"


def _is_called(variable: Variable) -> bool:
    return variable.source is not None and variable.source.library is not None


def _file(line: SourceLine) -> str:
    return where(line._replace(library=None)).rpartition(":")[0]


def _counted(variables: list[Variable]) -> str:
    names: dict[str, int] = {}
    for each in variables:
        label = _label(each)
        names[label] = names.get(label, 0) + 1
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in names.items())


def _label(variable: Variable) -> str:
    if isinstance(variable, Constant):
        return variable.short_value
    if variable.owner is None:
        return variable.name or "an input"
    return op_word(variable.owner.op)


def _told(history: History, ways: list[Way]) -> Iterator[str]:
    """The ways by the lines that wrote them; those with the same steps and end are told once."""
    lines: dict[Any, list[Way]] = {}
    for way in ways:
        lines.setdefault(_place(way.variable.source), []).append(way)
    quoted: set[tuple[str, tuple[int, ...]]] = set()
    for number, together in enumerate(lines.values()):
        if number:
            yield ""
        line = together[0].variable.source
        if line is not None and line.library is not None:
            yield f"{line.library}\n  called in"
        if line is not None:
            yield str(line._replace(library=None))
        groups: dict[Any, list[Way]] = {}
        for way in together:
            steps = tuple((id(step.application), step.kind, step.new) for step in way.steps)
            groups.setdefault((steps, way.end) if steps else way.variable, []).append(way)
        for group in groups.values():
            yield ""
            for way in group:
                yield _head(way.variable)
            yield from _steps(group[0])
            yield from _end(history, group[0], quoted)


def _place(line: SourceLine | None) -> tuple[str | int, ...]:
    return () if line is None else (*line[:2], *(line.library or ())[:2])


def _head(variable: Variable) -> str:
    type_of = type_text(variable.dtype, variable.type.shape)
    node = variable.owner
    if node is None:
        return f"{_label(variable)}: {type_of}"
    return f"{op_text(node.op)}({', '.join(_operand(each) for each in node.inputs)}): {type_of}"


def _operand(variable: Variable) -> str:
    if isinstance(variable, Constant):
        return variable.name or variable.short_value
    if variable.name:
        return variable.name
    return f"<{variable.type}>" if variable.owner is None else f"{op_word(variable.owner.op)}(…)"


def _steps(way: Way) -> Iterator[str]:
    for step in way.steps:
        yield from (f"  {line}" for line in _step(step))
        if step.application is not None and step.application.reason:
            yield f"    because {step.application.reason}"


def _step(step: Step) -> list[str]:
    application = step.application
    if application is None:
        source = step.new.source
        elsewhere = f" of {where(source)}" if source is not None and source != step.old.source else ""
        return [f"joined ({step.pass_name}) with an equal {_label(step.new)}{elsewhere}"]
    old, new = application.replaced[0]
    verb = "taken in by" if step.kind == "taken in" else "replaced by"
    head = f"{verb} {application.rule} ({step.pass_name}):"
    before, after = written(old, application.seen), written(new, application.made)
    if len(head) + len(before) + len(after) <= _WIDTH:
        return [f"{head} {before} became {after}"]
    return [head, f"  {before}", f"  became {after}"]


def _end(history: History, way: Way, quoted: set[tuple[str, tuple[int, ...]]]) -> Iterator[str]:
    places = history.places
    if way.fate == "dropped" or way.end is None:
        yield "  dropped: no result needs it any more"
        return
    now = f"{_label(way.end)}: {type_text(way.end.dtype, places.shape(way.end))}"
    start = "now" if way.steps else "unchanged,"
    if way.fate in ("constant", "input"):
        yield f"  {start} the {way.fate} {now}"
    elif way.fate == "inside":
        known = "kernels are made at the first call"
        if history.function.mode.linker == "reference":
            known = "run by NumPy"
        yield f"  {start} {now}; {known}"
    elif way.fate == "view":
        yield f"  {start} {now}; another view of the buffer {way.buffer}, which costs nothing"
    elif way.fate == "size":
        yield f"  {start} {now}; no kernel computes it: it follows from lengths, or only its shape is wanted"
    else:
        node = way.end.owner
        assert node is not None
        lies = (
            ", computed in passing and not stored" if way.buffer is None else f", which lies in {way.buffer}"
        )
        yield f"  {start} {now}{lies}"
        for kernel in way.kernels:
            yield from _kernel(history, kernel, node, quoted)


def _kernel(
    history: History, kernel: Kernel, node: Apply, quoted: set[tuple[str, tuple[int, ...]]]
) -> Iterator[str]:
    numbers = kernel_lines(kernel, node)
    name = history.places.short(kernel.name)
    others = len(kernel.nodes) - 1
    beside = f", with {others} other node{'s' if others > 1 else ''}" if others else ""
    if not numbers:
        yield f"  in kernel {name}{beside}, without a line of its own"
        return
    spans = _spans(numbers)
    many = "s" if len(numbers) > 1 else ""
    key = (kernel.name, tuple(numbers))
    yield f"  in kernel {name}{beside}, line{many} {spans}" + (", as above" if key in quoted else ":")
    if key in quoted:
        return
    quoted.add(key)
    source = kernel.plain_source.splitlines()
    for number in numbers[:_MOST_QUOTED]:
        yield f"    {number:>4}  {source[number - 1].removeprefix('    ')}"
    if len(numbers) > _MOST_QUOTED:
        yield "       …"


def _spans(numbers: list[int]) -> str:
    """Numbers as `3-5, 8`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
