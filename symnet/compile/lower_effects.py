"""Effects: takes asserts and prints, hands on kernels that check and calls back into Python; both leave
the value where it lies."""

from __future__ import annotations

from symnet.compile import nest
from symnet.compile.lower import Lowering, kernel_rule
from symnet.compile.nest import Literal
from symnet.compile.program import HostStep, View
from symnet.errors import AssertError
from symnet.graph.variable import Apply
from symnet.ops.effects import Assert, Print


def _first(node: Apply) -> tuple[int, ...]:
    return (0,)


@kernel_rule(Assert, buffers=_first)
def _assert(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Assert)
    site = lowering.assertion_site(node, op.told, AssertError)
    for condition in node.inputs[1:]:
        builder = lowering.builder()
        with builder.loops(lowering.shape(condition), vector=False) as indices:
            entry = lowering.value(condition, indices, builder)
            zero = Literal(entry.dtype, False if entry.dtype == nest.BOOL else 0)
            with builder.when(nest.call("eq", entry, zero)):
                builder.fail(site)
        lowering.add_kernel(builder, [node], "assert")
    _hand_on(lowering, node)


@kernel_rule(Print, buffers=_first)
def _print(lowering: Lowering, node: Apply) -> None:
    op = node.op
    assert isinstance(op, Print)
    view = _hand_on(lowering, node)
    lowering.add_host_step(HostStep(lambda arrays: op.show(arrays[0]), (view,), node))


def _hand_on(lowering: Lowering, node: Apply) -> View:
    """The value's own view for the result."""
    view = lowering.view(node.inputs[0])
    lowering.views[node.outputs[0]] = view
    return view
