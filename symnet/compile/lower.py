"""Lowering: takes a rewritten graph and its sizes, hands on a Program of fused loop nests and contractions.

Each result is either a view of a buffer, a value that consumers compute where they need it (fusion), or
the output of a kernel. Rules for families of ops are registered in `symnet.compile.lower_*`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from symnet.compile import nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import Fusion
from symnet.compile.nest import Expression, Literal
from symnet.compile.program import (
    Buffer,
    CheckStep,
    GuardStep,
    HostStep,
    KernelCall,
    Program,
    Site,
    SlotStep,
    View,
    result_name,
    source_comment,
)
from symnet.compile.shared import SharedVariable
from symnet.compile.specialise import (
    Check,
    Computed,
    Length,
    Sizes,
    SlotLeaf,
    describe_operands,
    leaves_of,
)
from symnet.compile.target import CPU, Target
from symnet.errors import CompileError, IndexingError, ShapeError, SymnetError
from symnet.graph import dims
from symnet.graph.dims import Dimension, Shape, Size
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import HostValue, Op
from symnet.graph.variable import Apply, Constant, Variable

#: dtypes that kernels compute with.
COMPILED_DTYPES = frozenset((nest.BOOL, *nest.FLOATS, *nest.INTEGERS))

Rule = Callable[["Lowering", Apply], None]
Pointwise = Callable[["Lowering", Apply, Sequence[Expression], NestBuilder], Expression]
ViewRule = Callable[["Lowering", Apply, View], View | None]
#: Zeros before and behind the last axis but one, and the last.
Border = tuple[tuple[Dimension, Dimension], tuple[Dimension, Dimension]]
Writer = Callable[["Lowering", Apply, View], bool]
_Registered = TypeVar("_Registered")

#: Ops with kernels of their own: what makes the kernel.
KERNEL_RULES: dict[type[Op], Rule] = {}
#: Ops whose result at an index is an expression of operands at indices.
POINTWISE_RULES: dict[type[Op], Pointwise] = {}
#: Ops whose result is another view of the operand's buffer (None where this operand has no such view).
VIEW_RULES: dict[type[Op], ViewRule] = {}
#: Ops whose operands are tested first, so that what computes their value can't fail.
PREPARATIONS: dict[type[Op], Rule] = {}
#: Pointwise ops that store all of their result in a way of their own (False where this node has none).
WRITERS: dict[type[Op], Writer] = {}
#: For a target of many threads: kernels that differ, and for ops with kernels which nodes are pointwise after
#: all (those for which the function holds).
KERNEL_RULES_OF_THREADS: dict[type[Op], Rule] = {}
POINTWISE_OF_THREADS: dict[type[Op], Callable[[Lowering, Apply], bool]] = {}
#: For ops with kernels: the operands that must lie in a buffer (others may be computed on the way).
BUFFER_OPERANDS: dict[type[Op], Callable[[Apply], Sequence[int]]] = {}


def _into(
    rules: dict[type[Op], _Registered], ops: Sequence[type[Op]]
) -> Callable[[_Registered], _Registered]:
    """A decorator that puts a function among the rules of some ops."""

    def register(rule: _Registered) -> _Registered:
        rules.update(dict.fromkeys(ops, rule))
        return rule

    return register


def kernel_rule(
    *ops: type[Op], buffers: Callable[[Apply], Sequence[int]] | None = None, many_threads: bool = False
) -> Callable[[Rule], Rule]:
    """Register what makes the kernel of an op; `buffers` gives the operands that must lie in a buffer.

    `many_threads`: for such a target alone, beside the general rule.
    """
    if many_threads:
        return _into(KERNEL_RULES_OF_THREADS, ops)
    BUFFER_OPERANDS.update(dict.fromkeys(ops, buffers or (lambda node: range(len(node.inputs)))))
    return _into(KERNEL_RULES, ops)


def pointwise_rule(*ops: type[Op]) -> Callable[[Pointwise], Pointwise]:
    """Register an op's value at an index."""
    return _into(POINTWISE_RULES, ops)


def pointwise_of_threads(
    *ops: type[Op],
) -> Callable[[Callable[[Lowering, Apply], bool]], Callable[[Lowering, Apply], bool]]:
    """Register for which nodes a target of many threads uses an op's pointwise rule and not its kernel."""
    return _into(POINTWISE_OF_THREADS, ops)


def view_rule(*ops: type[Op]) -> Callable[[ViewRule], ViewRule]:
    """Register an op that looks at its operand's buffer another way."""
    return _into(VIEW_RULES, ops)


def preparation(*ops: type[Op]) -> Callable[[Rule], Rule]:
    """Register what runs where an op's node has its place, before any kernel that its value is part of."""
    return _into(PREPARATIONS, ops)


def writer(*ops: type[Op]) -> Callable[[Writer], Writer]:
    """Register a way of storing all of an op's result that beats storing entry after entry."""
    return _into(WRITERS, ops)


def find(rules: dict[type[Op], Any], op: Op) -> Any:
    """The rule for an op's class or its nearest base."""
    for kind in type(op).__mro__:
        if kind in rules:
            return rules[kind]
    return None


def contiguous_strides(shape: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Strides of C order."""
    strides: list[Dimension] = []
    step: Dimension = 1
    for length in reversed(shape):
        strides.append(step)
        step = dims.multiply(step, length)
    return tuple(reversed(strides))


def is_contiguous(view: View) -> bool:
    """Whether a view's entries follow each other in C order (axes of length 1 do not count)."""
    wanted = contiguous_strides(view.shape)
    return all(
        length == 1 or have == want
        for length, have, want in zip(view.shape, view.strides, wanted, strict=True)
    )


class Checker(Protocol):
    """What adds steps to a program that look at the values it stores."""

    def add_steps(self, lowering: Any, variable: Variable) -> None:
        """Look at a variable that was just stored, if it was."""


class Lowering:
    """One graph on its way to a Program."""

    def __init__(
        self,
        graph: FunctionGraph,
        arguments: int,
        outputs: int,
        updates: list[SharedVariable],
        sizes: Sizes,
        name: str,
        checker: Checker | None = None,
        target: Target = CPU,
    ) -> None:
        self.graph = graph
        self.checker = checker
        #: Where the program will run.
        self.target = target
        self.sizes = sizes
        self.updates = updates
        self.program = Program(name, slots=sizes.slots)
        self.views: dict[Variable, View] = {}
        #: New values of shared variables that are written at their update, by what is called then.
        self.deferred: dict[Variable, Callable[[], None]] = {}
        #: Zeros to put around the last two axes of what is stored, and the whole buffers of what has them.
        self.borders: dict[Variable, Border] = {}
        self.bordered: dict[Variable, View] = {}
        #: Those of which the zeros are stored by a kernel of their own.
        self.zeroed: set[Variable] = set()
        #: Copies of variables with zeros around them, by those.
        self.copies: dict[tuple[Variable, Border], View] = {}
        #: Index arrays that kernels have found to be inside axes of these lengths.
        self.checked_indices: set[tuple[Variable, Dimension]] = set()
        #: Two numbers of each row of a LogSoftmax's operand.
        self.statistics: dict[Variable, View] = {}
        self._results = outputs
        self._slot_names: dict[Size, str] = {}
        self._found_slots: set[str] = set()
        self._done_checks = 0
        self._names: dict[str, int] = {}
        self._sites: dict[tuple[Apply, str], int] = {}
        self._constants: dict[tuple[Any, ...], Buffer] = {}
        self._phase = 1
        #: The node that is being lowered.
        self.node: Apply | None = None
        self.order = graph.toposort()
        self.fusion = Fusion(self)
        for position, variable in enumerate(graph.inputs):
            shape = self.shape(variable)
            buffer = self.new_buffer(result_name(variable), variable.dtype, shape, "input", position)
            self.views[variable] = View(buffer, 0, contiguous_strides(shape), shape)

    # --- what is known -------------------------------------------------------------------------

    def shape(self, variable: Variable) -> Shape:
        """The lengths of a variable's axes: ints and slots."""
        if isinstance(variable, Constant):
            return tuple(variable.data.shape)
        return self.sizes.shapes[variable]

    def count(self, variable: Variable) -> Dimension:
        """The number of entries."""
        return dims.multiply(*self.shape(variable))

    def capacity(self, shape: Sequence[Dimension]) -> int:
        """The largest number of entries that a shape may have."""
        return int(np.prod([self.sizes.capacity(length) for length in shape], dtype=np.int64))

    # --- buffers and views ---------------------------------------------------------------------

    def new_name(self, stem: str) -> str:
        """A name unique in the program."""
        number = self._names.get(stem, 0)
        self._names[stem] = number + 1
        return stem if number == 0 else f"{stem}_{number}"

    def new_buffer(
        self, stem: str, dtype: str, shape: Sequence[Dimension], kind: str = "arena", source: Any = None
    ) -> Buffer:
        """A new buffer with room for a shape."""
        buffer = Buffer(self.new_name(stem), dtype, self.capacity(shape), kind, source)
        self.program.buffers.append(buffer)
        return buffer

    def scratch(self, stem: str, dtype: str, shape: Sequence[Dimension]) -> View:
        """A view of a new arena buffer, in C order."""
        return View(self.new_buffer(stem, dtype, shape), 0, contiguous_strides(shape), tuple(shape))

    def view(self, variable: Variable) -> View:
        """Where a variable's entries lie.

        Raises
        ------
        CompileError
            When kernels have no such dtype; or when they lie nowhere: the fusion plan and the rule that
            asks disagree.
        """
        if variable.dtype not in COMPILED_DTYPES:
            raise _uncompiled("entries", variable)
        found = self.views.get(variable)
        if found is None and isinstance(variable, Constant):
            found = self._constant(variable)
        if found is None:
            raise CompileError(f"{variable} has no buffer where one is needed", [variable], variable.source)
        return found

    def _constant(self, constant: Constant) -> View:
        buffer = self._constants.get(constant.signature)
        if buffer is None:
            buffer = self.new_buffer("constant", constant.dtype, constant.data.shape, "constant", constant)
            self._constants[constant.signature] = buffer
        view = View(buffer, 0, contiguous_strides(constant.data.shape), constant.data.shape)
        self.views[constant] = view
        return view

    def allocate(self, variable: Variable, fills_border: bool = False) -> View:
        """A new buffer for a variable's entries, in C order, and the variable's view of it.

        A result of the function is computed right where the caller gets it. Where zeros belong around the
        entries a kernel stores them now, unless the caller does so (`fills_border`).
        """
        shape = self.shape(variable)
        if variable.dtype not in COMPILED_DTYPES:
            raise _uncompiled("entries", variable)
        kind, source = "arena", None
        for position in range(self._results):
            if self.graph.outputs[position] is variable and variable.owner is not None:
                kind, source = "output", position
                break
        border = self.borders.get(variable)
        if border is not None and kind == "arena":
            return self._allocate_bordered(variable, border, fills_border)
        buffer = self.new_buffer(result_name(variable), variable.dtype, shape, kind, source)
        view = View(buffer, 0, contiguous_strides(shape), shape)
        self.views[variable] = view
        return view

    def _allocate_bordered(self, variable: Variable, border: Border, fills_border: bool) -> View:
        (top, bottom), (left, right) = border
        *outer, height, width = self.shape(variable)
        whole = self.scratch(
            result_name(variable),
            variable.dtype,
            (*outer, dims.add(top, height, bottom), dims.add(left, width, right)),
        )
        self.bordered[variable] = whole
        if not fills_border:
            from symnet.compile.lower_elementwise import write_zeros

            self.zeroed.add(variable)
            builder = self.builder()
            write_zeros(builder, whole, border, (height, width))
            self.add_kernel(builder, [variable.owner] if variable.owner else [], "zeros")
        strides = whole.strides
        first = dims.add(dims.multiply(top, strides[-2]), dims.multiply(left, strides[-1]))
        view = View(whole.buffer, first, strides, self.shape(variable))
        self.views[variable] = view
        return view

    # --- sizes at run time ---------------------------------------------------------------------

    def slot_name(self, size: Dimension) -> str:
        """The slot that holds a size; a new one, found before the next kernel, where there is none."""
        assert isinstance(size, Size)
        if size.function == "leaf" and isinstance(size.arguments[0], SlotLeaf):
            name = size.arguments[0].name
        elif size in self._slot_names:
            name = self._slot_names[size]
        else:
            from symnet.compile.specialise import Slot

            name = f"n{len(self.program.slots)}"
            self.program.slots[name] = Slot(
                name, size, self._most(size), None, frozenset(leaves_of(size, self.program.slots))
            )
            self._slot_names[size] = name
        self._find_slot(name)
        return name

    def _most(self, size: Size) -> int:
        """The largest value that a size may have."""
        limits = np.iinfo(np.int64)

        def leaf(found: Any) -> tuple[int, int]:
            if isinstance(found, SlotLeaf):
                slot = self.program.slots[found.name]
                # What a slot with a key is above its capacity is refused; it is a length or a count.
                return (0 if slot.key is not None else limits.min), slot.capacity
            is_length = isinstance(found, Length) or (isinstance(found, Computed) and found.count)
            return (0 if is_length else limits.min), limits.max

        return dims.interval(size, leaf)[1]

    def _find_slot(self, name: str) -> None:
        if name in self._found_slots:
            return
        slot = self.program.slots[name]
        self._find_slots_of(slot.definition)
        self._found_slots.add(name)
        self.program.steps.append(SlotStep(slot))

    def emit_conditions(self) -> None:
        """The guards and checks that do not wait for a kernel, at the program's start."""
        for guard in self.sizes.guards:
            self._find_slots_of(guard.expression)
            self.program.steps.append(GuardStep(guard.expression, guard.literal, guard.key))
        for name, slot in list(self.program.slots.items()):
            if not self._waits(slot.definition):
                self._find_slot(name)

    def _waits(self, size: Dimension) -> bool:
        return any(isinstance(leaf, Computed) for leaf in leaves_of(size, self.program.slots))

    def _find_slots_of(self, size: Dimension) -> None:
        for leaf in dims.leaves(size):
            if isinstance(leaf, SlotLeaf):
                self._find_slot(leaf.name)
            elif isinstance(leaf, Computed) and not leaf.count:
                self.program.computed[leaf] = self.view(leaf.variable)

    def _checks_of(self, node: Apply) -> list[Check]:
        return [check for check in self.sizes.checks if check.node is node]

    def emit_checks(self, node: Apply) -> None:
        """The checks that a node's shape rule asked for."""
        for check in self._checks_of(node):
            self._find_slots_of(check.condition)
            kind = IndexingError if "outside axis" in check.asked else ShapeError
            site = self.site(node, check.asked, kind)
            self.program.steps.append(CheckStep(check.condition, site, check.shown))

    def site(self, node: Apply, message: str, kind: type[SymnetError] = ShapeError) -> int:
        """The number by which a kernel reports a failure; {0}, {1}, {2} in the message are its values."""
        key = (node, message)
        if key not in self._sites:
            self._sites[key] = len(self.program.sites)
            operands = tuple(describe_operands(node, self.sizes))
            op = str(node.op).replace("{", "{{").replace("}", "}}")
            self.program.sites.append(Site(kind, f"{op}: {message}", node, operands))
        return self._sites[key]

    def assertion_site(self, node: Apply, message: str, kind: type[SymnetError]) -> int:
        """The number by which a kernel reports that what the user asserted does not hold."""
        operands = tuple(describe_operands(node, self.sizes))
        text = message.replace("{", "{{").replace("}", "}}")
        self.program.sites.append(Site(kind, text, node, operands))
        return len(self.program.sites) - 1

    # --- kernels -------------------------------------------------------------------------------

    def builder(self) -> NestBuilder:
        """A new nest."""
        return NestBuilder(self)

    def add_kernel(self, builder: NestBuilder, nodes: Sequence[Apply], stem: str) -> None:
        """Finish a nest and run it at this place of the program."""
        comments = list(dict.fromkeys(source_comment(node) for node in nodes))
        name = f"{self.program.name}_{self.new_name('k_' + stem)}"
        made, buffers = builder.finish(name, comments)
        self.program.steps.append(KernelCall(made, buffers, tuple(nodes), self._phase, builder.origins))

    def add_host_step(self, step: HostStep) -> None:
        """Call Python at this place of the program."""
        for view in step.views:
            for size in (view.offset, *view.shape, *view.strides):
                self._find_slots_of(size)
        self.program.steps.append(step)

    # --- values --------------------------------------------------------------------------------

    def value(self, variable: Variable, indices: Sequence[Expression], builder: NestBuilder) -> Expression:
        """A variable's entry at indices: loaded, or computed on the way."""
        literal = self._literal(variable)
        if literal is not None:
            return literal
        known = None if isinstance(variable, Constant) else self.sizes.values.get(variable)
        if known is not None and variable.ndim == 0 and not self._is_own(variable, known):
            assert not isinstance(known, tuple)
            return nest.cast(builder.size(known), variable.dtype)
        if isinstance(known, tuple) and variable not in self.views:
            sizes = [nest.cast(builder.size(each), variable.dtype) for each in known]
            return builder.chosen(sizes, indices[0], variable.dtype)
        if variable in self.views or isinstance(variable, Constant):
            return builder.load(self.view(variable), indices)
        node = variable.owner
        assert node is not None
        rule = find(POINTWISE_RULES, node.op)
        if rule is None:
            raise node.op.refuse(node, "it is neither computed on the way nor has it a buffer")
        return builder.remember(
            (variable, tuple(indices)),
            lambda: builder.compute(node, lambda: rule(self, node, indices, builder)),
        )

    def _is_own(self, variable: Variable, known: HostValue) -> bool:
        """Whether what is known of an integer is only that a kernel computes it."""
        if not isinstance(known, Size) or known.function != "leaf":
            return False
        return bool(known.arguments[0] == Computed(variable))

    def _literal(self, variable: Variable) -> Literal | None:
        if not isinstance(variable, Constant) or variable.dtype not in COMPILED_DTYPES:
            return None
        data = variable.data
        if data.size == 1 or 0 < data.size <= 4096 and _uniform(data):
            return Literal(variable.dtype, data.reshape(-1)[0].item())
        return None

    def materialise(self, variable: Variable) -> None:
        """A kernel that writes a variable's entries, computed on the way, to a buffer of its own."""
        from symnet.compile.lower_elementwise import follows_product, write_entries

        write = None if variable.owner is None else find(WRITERS, variable.owner.op)
        fills_border = variable in self.borders and write is None and not follows_product(self, variable)
        destination = self.allocate(variable, fills_border)
        if write is None or not write(self, variable.owner, destination):
            write_entries(self, variable, destination)

    def run(self) -> Program:
        """The whole program."""
        from symnet.compile.updates import emit_updates

        for op_rules in (
            *("elementwise", "shape", "indexing", "reduction", "argextreme", "linalg"),
            *("nnet", "conv", "pool", "random", "effects"),
            *("conv_threads", "pool_threads", "indexing_threads", "scatter_threads"),
        ):
            __import__(f"symnet.compile.lower_{op_rules}")
        self.fusion.plan()
        if self.target.many_threads:
            from symnet.compile.lower_conv_threads import plan_borders

            plan_borders(self)
        self.emit_conditions()
        for node in self.order:
            self.emit_checks(node)
            self.node = node
            self._lower(node)
            if self.checker is not None:
                for output in node.outputs:
                    self.checker.add_steps(self, output)
        self.node = None
        self._finish_results()
        for name in list(self.program.slots):
            # A size may be above its capacity: that is found before anything is written.
            self._find_slot(name)
        self._phase = 2
        emit_updates(self)
        self.program.views, self.program.shapes = self.views, self.sizes.shapes
        return self.program

    def _lower(self, node: Apply) -> None:
        if not self.fusion.is_live(node):
            return
        if all(self.fusion._is_known(output) for output in node.outputs):
            for output in node.outputs:
                if self.fusion.is_materialised(output):
                    self.materialise(output)
            return
        prepare = find(PREPARATIONS, node.op)
        if prepare is not None:
            prepare(self, node)
        view_rule = find(VIEW_RULES, node.op)
        if view_rule is not None:
            base = node.inputs[0]
            if base in self.views or isinstance(base, Constant):
                seen = view_rule(self, node, self.view(base))
                if seen is not None:
                    self.views[node.outputs[0]] = seen
                    return
        kernel = self.kernel_rule(node)
        if kernel is not None:
            kernel(self, node)
            return
        if find(POINTWISE_RULES, node.op) is None:
            raise node.op.refuse(node, "there is no rule that compiles it")
        for output in node.outputs:
            if self.fusion.is_materialised(output) and output not in self.views:
                self.materialise(output)

    def kernel_rule(self, node: Apply) -> Rule | None:
        """What makes a node's kernel; None where its value is computed entry by entry."""
        found: Rule | None = find(KERNEL_RULES, node.op)
        if found is not None and self.target.many_threads:
            pointwise = find(POINTWISE_OF_THREADS, node.op)
            if pointwise is not None and pointwise(self, node):
                return None
            found = find(KERNEL_RULES_OF_THREADS, node.op) or found
        return found

    def _finish_results(self) -> None:
        """Each result in an output buffer of its own."""
        from symnet.compile.lower_elementwise import write_entries

        for position in range(self._results):
            variable = self.graph.outputs[position]
            shape = self.shape(variable)
            for length in shape:
                self._find_slots_of(length)
            view = self.views.get(variable)
            if view is not None and view.buffer.kind == "output" and view.buffer.source == position:
                self.program.outputs.append((view.buffer, shape))
                continue
            if variable.dtype not in COMPILED_DTYPES:
                raise _uncompiled("results", variable)
            buffer = self.new_buffer(f"result{position}", variable.dtype, shape, "output", position)
            result = View(buffer, 0, contiguous_strides(shape), shape)
            write_entries(self, variable, result)
            self.program.outputs.append((buffer, shape))
            if self.checker is not None and variable not in self.views:
                self.views[variable] = result
                self.checker.add_steps(self, variable)


def _uncompiled(what: str, variable: Variable) -> CompileError:
    return CompileError(
        f"{what} of {variable.dtype} can't be compiled",
        [variable],
        variable.source,
        hint='mode="reference" computes with every dtype',
    )


def _uniform(data: np.ndarray[Any, Any]) -> bool:
    flat = np.ascontiguousarray(data).reshape(-1)
    first = flat[:1].tobytes()
    return flat.tobytes() == first * flat.size


def lower(
    graph: FunctionGraph,
    arguments: int,
    outputs: int,
    updates: list[SharedVariable],
    sizes: Sizes,
    name: str,
    checker: Checker | None = None,
    target: Target = CPU,
) -> Program:
    """Lower a rewritten graph at known sizes; a `checker` adds steps that look at what is stored.

    Raises
    ------
    CompileError
        For an op or dtype that has no kernel; it names the op and the user's line.
    """
    return Lowering(graph, arguments, outputs, updates, sizes, name, checker, target).run()
