"""Random draws: takes a state and a size, hands on draws computed where they are needed.

A draw is a function of the state and of the element's number, so a mask that one kernel reads lies in
no memory. Draws that are stored go by fours, which share a block of the generator. `symnet.ops.philox`
says which number belongs to which element.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from symnet.compile import library, nest
from symnet.compile.builder import NestBuilder
from symnet.compile.fusion import COSTS, demands
from symnet.compile.lower import Lowering, contiguous_strides, kernel_rule, pointwise_rule, writer
from symnet.compile.lower_elementwise import operand_indices
from symnet.compile.nest import BOOL, INDEX, Expression, Literal
from symnet.compile.program import View
from symnet.errors import ArgumentError
from symnet.graph import dims
from symnet.graph.dims import Dimension
from symnet.graph.variable import Apply, Variable
from symnet.ops.random import Permutation, RandomDraw

#: Against the 1 of an addition: ten rounds of two multiplications.
COSTS[RandomDraw] = 50
#: A binomial draw of at most this many trials has no loop over them.
MOST_TRIALS = 4


@demands(RandomDraw)
def _draw_demands(node: Apply) -> list[str]:
    return ["value", "size", *["value"] * (len(node.inputs) - 2)]


@demands(Permutation)
def _permutation_demands(node: Apply) -> list[str]:
    return ["value", "size", "size"]


def _word(value: int) -> Literal:
    return Literal("uint64", value)


def _state(lowering: Lowering, state: Variable, builder: NestBuilder) -> list[Expression]:
    """Seed, stream and call number."""
    numbers = (lowering.value(state, [Literal(INDEX, place)], builder) for place in range(3))
    return [builder.let(nest.cast(number, "uint64")) for number in numbers]


@pointwise_rule(RandomDraw)
def _draw(lowering: Lowering, node: Apply, indices: Sequence[Expression], builder: NestBuilder) -> Expression:
    state = _state(lowering, node.inputs[0], builder)
    place: Expression = Literal(INDEX, 0)
    for index, stride in zip(indices, contiguous_strides(lowering.shape(node.outputs[0])), strict=True):
        place = nest.add(place, nest.multiply(index, builder.size(stride)))
    parameters = [
        lowering.value(each, operand_indices(lowering, each, indices), builder) for each in node.inputs[2:]
    ]
    return _drawn(lowering, node, state, nest.cast(place, "uint64"), parameters, builder)


def _drawn(
    lowering: Lowering,
    node: Apply,
    state: Sequence[Expression],
    element: Expression,
    parameters: Sequence[Expression],
    builder: NestBuilder,
) -> Expression:
    """The draw of an element, given its number."""
    op = node.op
    assert isinstance(op, RandomDraw)
    if op.distribution in ("uniform", "normal"):
        return library.call(f"{op.distribution}_{op.dtype}", *state, element)
    first, second = parameters
    if op.checked:
        _check(lowering, node, first, second, nest.cast(element, INDEX), builder)
    make = _binomial if op.distribution == "binomial" else _integer
    return nest.cast(make(state, element, first, second, builder), op.dtype)


@writer(RandomDraw)
def _write_draws(lowering: Lowering, node: Apply, destination: View) -> bool:
    """Four neighbours at a time: what they have in common is computed once, as LLVM sees."""
    if any(length != 1 for each in node.inputs[2:] for length in each.type.shape):
        return False
    count = dims.multiply(*destination.shape)
    rest = dims.apply("mod", count, 4)
    whole, blocks = dims.subtract(count, rest), dims.floor_divide(count, 4)
    if lowering.target.many_threads and rest != 0:
        # What is left is no kernel of its own: the last block stores as much as there is room for.
        _write_blocks(lowering, node, destination, 0, dims.ceil_divide(count, 4), 4, count)
        return True
    if blocks != 0:
        _write_blocks(lowering, node, destination, 0, blocks, 4)
    if rest != 0:
        _write_blocks(lowering, node, destination, whole, 1, rest)
    return True


def _write_blocks(
    lowering: Lowering,
    node: Apply,
    target: View,
    first: Dimension,
    blocks: Dimension,
    each: Dimension,
    room: Dimension | None = None,
) -> None:
    """A kernel for some blocks of so many draws, from a place on; the draws of many are written out.

    Those from `room` on are not stored.
    """
    builder = lowering.builder()
    flat = View(target.buffer, dims.add(target.offset, first), (4, 1), ())
    state = _state(lowering, node.inputs[0], builder)
    zeros = [[Literal(INDEX, 0)] * parameter.ndim for parameter in node.inputs[2:]]
    parameters = [
        lowering.value(parameter, indices, builder)
        for parameter, indices in zip(node.inputs[2:], zeros, strict=True)
    ]
    with builder.loop(blocks, "block", parallel=True, vector=True) as block:
        number = nest.add(nest.multiply(block, 4), builder.size(first))

        def store(word: Expression) -> None:
            element = nest.call("bitwise_or", nest.cast(number, "uint64"), nest.cast(word, "uint64"))
            value = _drawn(lowering, node, state, element, parameters, builder)
            builder.store(flat, [block, word], value)

        if each == 4:
            for word in range(4):
                with contextlib.ExitStack() as stack:
                    if room is not None and word > 0:
                        place = nest.add(number, word)
                        stack.enter_context(builder.when(nest.call("lt", place, builder.size(room))))
                    store(Literal(INDEX, word))
        else:
            with builder.loop(each, "word") as last:
                store(last)
    lowering.add_kernel(builder, [node], "draw")


def _binomial(
    state: Sequence[Expression],
    element: Expression,
    trials: Expression,
    probability: Expression,
    builder: NestBuilder,
) -> Expression:
    """How many trials' words are below the probability times 2**32."""
    threshold = builder.let(nest.call("mul", probability, Literal("float64", 2.0**32)))

    def success(trial: Expression) -> Expression:
        word = library.call("random_uint32", *state, nest.cast(trial, "uint64"), element)
        return nest.cast(nest.call("lt", nest.cast(word, "float64"), threshold), "int64")

    if isinstance(trials, Literal) and 0 < trials.value <= MOST_TRIALS:
        count = success(Literal(INDEX, 0))
        for number in range(1, int(trials.value)):
            count = nest.call("add", count, success(Literal(INDEX, number)))
        return count
    total = builder.declare(Literal("int64", 0), "successes")
    with builder.loop(trials, "trial") as trial:
        builder.accumulate(total, "add", success(trial))
    return total


def _integer(
    state: Sequence[Expression],
    element: Expression,
    low: Expression,
    high: Expression,
    builder: NestBuilder,
) -> Expression:
    """`low` and as many steps as a uniform number takes of the choices."""
    wide = [nest.cast(each, "float64") for each in (low, high)]
    choices = nest.call("add", nest.call("sub", wide[1], wide[0]), Literal("float64", 1.0))
    number = library.call("uniform_float64", *state, element)
    steps = nest.call("floor", nest.call("mul", number, choices))
    return nest.call("add", low, nest.cast(steps, "int64"))


def _check(
    lowering: Lowering,
    node: Apply,
    first: Expression,
    second: Expression,
    place: Expression,
    builder: NestBuilder,
) -> None:
    """Refuse parameters that have no meaning."""
    op = node.op
    assert isinstance(op, RandomDraw)
    if op.distribution == "random_integers":
        site = lowering.site(node, "low={0}, high={1}: low is at most high", ArgumentError)
        with builder.when(nest.call("gt", first, second)):
            builder.fail(site, first, second)
        return
    site = lowering.site(node, "n={0}: n is at least 0", ArgumentError)
    with builder.when(nest.call("lt", first, Literal("int64", 0))):
        builder.fail(site, first)
    inside = nest.call(
        "bitwise_and",
        nest.call("ge", second, Literal("float64", 0.0)),
        nest.call("le", second, Literal("float64", 1.0)),
    )
    site = lowering.site(node, "p is from 0 to 1; that of draw number {0} is not", ArgumentError)
    with builder.when(nest.call("eq", inside, Literal(BOOL, False))):
        builder.fail(site, place)


@kernel_rule(Permutation)
def _permutation(lowering: Lowering, node: Apply) -> None:
    """For each row the entries from the last down change places with a random one before them."""
    out = lowering.allocate(node.outputs[0])
    length = out.shape[-1]
    builder = lowering.builder()
    rows = builder.size(1)
    for extent in out.shape[:-1]:
        rows = nest.multiply(rows, builder.size(extent))
    flat = View(out.buffer, 0, (length, 1), ())
    state = _state(lowering, node.inputs[0], builder)
    with builder.loop(rows, "row") as row:
        with builder.loop(length, "place") as place:
            builder.store(flat, [row, place], place)
        last = nest.subtract(builder.size(length), 1)
        with builder.loop(last, "step") as step:
            place = builder.let(nest.subtract(last, step), "place")
            element = nest.add(nest.multiply(row, builder.size(length)), place)
            number = library.call("uniform_float64", *state, nest.cast(element, "uint64"))
            choices = nest.cast(nest.add(place, 1), "float64")
            other = nest.call("floor", nest.call("mul", number, choices))
            other = builder.let(nest.cast(other, INDEX), "other")
            moved = builder.load(flat, [row, other])
            builder.store(flat, [row, other], builder.load(flat, [row, place]))
            builder.store(flat, [row, place], moved)
    lowering.add_kernel(builder, [node], "permutation")
