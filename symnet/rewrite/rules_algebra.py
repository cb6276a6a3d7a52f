"""Algebra on entries: takes what users and gradients write, hands on fewer and cheaper ops.

Values stay as IEEE has them: NaN and infinity are kept (x * 0 is not 0, x - x is not 0), and no rule
rounds differently, with three exceptions that are part of the contract:

- x + 0 and 0 - x may give a zero of the other sign;
- x ** 3 is computed by products, within two units in the last place;
- c * (d * x) becomes (c * d) * x where c or d is a power of two: only an overflow or underflow on the
  way can differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.graph.function_graph import FunctionGraph
from symnet.graph.types import TensorType
from symnet.graph.variable import Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import Cast, Elementwise, cast
from symnet.rewrite.facts import (
    holds_exactly,
    is_discrete,
    is_dispensable,
    is_float,
    is_never_negative,
    may_stand_for,
)
from symnet.rewrite.pattern import (
    Expression,
    any_constant,
    any_op,
    any_variable,
    any_variables,
    rewrite,
    uniform_value,
)

x, y, z = any_variable("x"), any_variable("y"), any_variable("z")


def _is_number(variable: Variable) -> bool:
    return variable.ndim == 0


c, d = any_constant("c", where=_is_number), any_constant("d", where=_is_number)
outer, inner = any_op("outer", Cast), any_op("inner", Cast)
op = any_op("op", Elementwise)
operands = any_variables("operands")


def number(value: object, dtype: str) -> Constant:
    """A 0-d constant."""
    return Constant(TensorType(dtype, shape=()), np.asarray(value, dtype=dtype))


def scalar(constant: Expression) -> Any:
    """The value of a 0-d constant, a NumPy scalar."""
    return constant.data[()]


# --- neutral elements ------------------------------------------------------------------------------


@rewrite(x * 1, "a factor of 1 changes nothing")
def factor_of_one(x: Expression, out: Expression) -> Expression:
    return cast(x, out.dtype)


@rewrite(x / 1, "a divisor of 1 changes nothing")
def divisor_of_one(x: Expression, out: Expression) -> Expression:
    return cast(x, out.dtype)


@rewrite(x + 0, "adding 0 changes nothing but the sign of a zero")
def term_of_zero(x: Expression, out: Expression) -> Expression:
    return cast(x, out.dtype)


@rewrite(x - 0, "subtracting 0 changes nothing")
def subtracted_zero(x: Expression, out: Expression) -> Expression:
    return cast(x, out.dtype)


# --- signs -----------------------------------------------------------------------------------------


def _negates_alike(y: Expression, out: Expression) -> bool:
    """Whether negating before a conversion to the result's dtype gives what negating after it does."""
    return is_float(y) or y.dtype == out.dtype


@rewrite(0 - x, "a negation is one op")
def zero_minus(x: Expression, out: Expression) -> Expression:
    return table.neg(cast(x, out.dtype))


@rewrite(x * -1, "a negation needs no product", when=lambda out: out.dtype != "bool")
def factor_of_minus_one(x: Expression, out: Expression) -> Expression:
    return table.neg(cast(x, out.dtype))


@rewrite(x / -1, "a negation needs no quotient")
def divisor_of_minus_one(x: Expression, out: Expression) -> Expression:
    return table.neg(cast(x, out.dtype))


@rewrite(table.neg(-x), "two negations cancel")
def negated_negation(x: Expression) -> Expression:
    return x


@rewrite(x + -y, "a difference is one op", when=_negates_alike)
def sum_with_negation(x: Expression, y: Expression) -> Expression:
    return table.sub(x, y)


@rewrite(x - -y, "a sum is one op", when=_negates_alike)
def difference_with_negation(x: Expression, y: Expression) -> Expression:
    return table.add(x, y)


@rewrite(
    -x * -y,
    "the signs cancel",
    when=lambda x, y, out: _negates_alike(x, out) and _negates_alike(y, out),
)
def product_of_negations(x: Expression, y: Expression) -> Expression:
    return table.mul(x, y)


@rewrite(-x / -y, "the signs cancel", when=lambda x, y: is_float(x) and is_float(y))
def quotient_of_negations(x: Expression, y: Expression) -> Expression:
    return table.true_div(x, y)


@rewrite(table.sqr(-x), "a square has no sign", when=lambda x: is_float(x))
def square_of_negation(x: Expression) -> Expression:
    return table.sqr(x)


@rewrite(table.abs_(-x), "a magnitude has no sign", when=lambda x: is_float(x))
def magnitude_of_negation(x: Expression) -> Expression:
    return table.abs_(x)


@rewrite(
    x + c,
    "patterns and people write x - 1 rather than x + -1",
    when=lambda c, out: is_float(out) and is_float(c) and scalar(c) < 0,
)
def sum_with_negative_number(x: Expression, c: Expression) -> Expression:
    return table.sub(x, number(-scalar(c), c.dtype))


@rewrite(
    x - c,
    "patterns and people write x + 1 rather than x - -1",
    when=lambda c, out: is_float(out) and is_float(c) and scalar(c) < 0,
)
def difference_with_negative_number(x: Expression, c: Expression) -> Expression:
    return table.add(x, number(-scalar(c), c.dtype))


# --- powers ----------------------------------------------------------------------------------------


@rewrite(x**1, "the first power is the number itself")
def first_power(x: Expression, out: Expression) -> Expression:
    return cast(x, out.dtype)


@rewrite(x**2, "a product is cheaper than a power")
def second_power(x: Expression, out: Expression) -> Expression:
    return table.sqr(cast(x, out.dtype))


@rewrite(x**3, "two products are cheaper than a power")
def third_power(x: Expression, out: Expression) -> Expression:
    base = cast(x, out.dtype)
    return table.mul(table.sqr(base), base)


@rewrite(x**0, "every number, NaN too, has 1 as its power of 0")
def zeroth_power(x: Expression, out: Expression) -> Expression:
    return table.fill(x, number(1, out.dtype))


@rewrite(x**-1, "a quotient is cheaper than a power", when=lambda out: is_float(out))
def power_of_minus_one(x: Expression, out: Expression) -> Expression:
    return table.true_div(number(1, out.dtype), cast(x, out.dtype))


@rewrite(
    x**0.5,
    "a square root is cheaper than a power; of -inf and -0.0 it differs, so only where they can't occur",
    when=lambda x, out: is_never_negative(x) and is_float(out),
)
def power_of_one_half(x: Expression, out: Expression) -> Expression:
    return table.sqrt(cast(x, out.dtype))


@rewrite(x * x, "a square reads its operand once", when=lambda x: x.dtype != "bool")
def product_with_itself(x: Expression) -> Expression:
    return table.sqr(x)


@rewrite(
    table.inv(x),
    "the reciprocal has one form, which patterns can rely on",
    when=lambda x: is_float(x),
)
def reciprocal(x: Expression) -> Expression:
    return table.true_div(number(1, x.dtype), x)


# --- numbers ---------------------------------------------------------------------------------------


def _is_power_of_two(value: float) -> bool:
    return math.isfinite(value) and value != 0 and abs(math.frexp(value)[0]) == 0.5


def _joins(c: Expression, d: Expression, x: Expression, out: Expression) -> bool:
    """Whether c * (d * x) may be (c * d) * x: exact in integers of one width; in floats see the module."""
    if out.dtype == "bool" or not c.dtype == d.dtype == x.dtype == out.dtype:
        return False
    if is_discrete(out):
        return True
    if not is_float(out):
        return False
    first, second = float(scalar(c)), float(scalar(d))
    if not (_is_power_of_two(first) or _is_power_of_two(second)):
        return False
    limits = np.finfo(out.dtype)
    return float(limits.tiny) <= abs(first * second) <= float(limits.max)


@rewrite(c * (d * x), "one product in place of two", when=_joins)
def numbers_in_a_product(c: Expression, d: Expression, x: Expression, out: Expression) -> Expression:
    with np.errstate(all="ignore"):
        return table.mul(number(scalar(c) * scalar(d), out.dtype), x)


@rewrite(
    c + (d + x),
    "one sum in place of two, which wraps alike in integers",
    when=lambda c, d, x, out: is_discrete(out) and out.dtype != "bool" and c.dtype == d.dtype == x.dtype,
)
def integers_in_a_sum(c: Expression, d: Expression, x: Expression, out: Expression) -> Expression:
    with np.errstate(all="ignore"):
        return table.add(number(scalar(c) + scalar(d), out.dtype), x)


# --- casts and choices -----------------------------------------------------------------------------

_ITSELF = (table.identity, table.zero_grad, table.disconnected_grad)
itself = any_op("itself", Elementwise, where=lambda op: op in _ITSELF)


@rewrite(itself(x), "only the gradient tells this from its operand")
def copy_of_operand(x: Expression) -> Expression:
    return x


@rewrite(
    outer(inner(x)),
    "a cast through a dtype that holds every value is a cast",
    when=lambda x, inner: holds_exactly(x.dtype, inner.dtype),
)
def cast_of_cast(outer: Cast, x: Expression) -> Expression:
    return cast(x, outer.dtype)


@rewrite(
    outer(x),
    "a cast to its own dtype changes nothing",
    when=lambda x, outer: x.dtype == outer.dtype,
)
def cast_to_own_dtype(x: Expression) -> Expression:
    return x


@rewrite(table.switch(x, y, y), "both choices are the same", when=lambda x, y: is_dispensable(x, y))
def switch_of_equal_choices(y: Expression) -> Expression:
    return y


@rewrite(table.switch(c, x, y), "the condition is a constant")
def switch_on_constant(c: Expression, x: Expression, y: Expression, out: Expression) -> Expression:
    chosen, other = (x, y) if scalar(c) else (y, x)
    if not is_dispensable(other, chosen):
        return None
    replacement = cast(chosen, out.dtype)
    return replacement if may_stand_for(replacement, out) else None


# --- numbers that come as arrays -------------------------------------------------------------------


@rewrite(
    op(operands),
    "a number needs no array",
    when=lambda operands: any(isinstance(each, Constant) and each.ndim for each in operands),
)
def uniform_constant(op: Elementwise, operands: Sequence[Expression], out: Expression) -> Expression:
    """An operand that is one number everywhere becomes that number, where the others give the shape."""
    for position, operand in enumerate(operands):
        if not isinstance(operand, Constant) or operand.ndim == 0:
            continue
        if op == table.fill and position == 0:
            continue
        others = [each for place, each in enumerate(operands) if place != position]
        shaping = [each for each in others if each.type.shape == out.type.shape]
        value = uniform_value(operand)
        if value is None or not any(is_dispensable(operand, each) for each in shaping):
            continue
        changed = list(operands)
        changed[position] = number(value, operand.dtype)
        return op(*changed)
    return None


# --- rectifiers ------------------------------------------------------------------------------------


def _rectified(x: Variable, graph: FunctionGraph) -> Variable | None:
    """maximum(0, x), where the graph has it."""
    for user, position in graph.clients[x]:
        if user is None or user.op is not table.maximum:
            continue
        other, (result,) = user.inputs[1 - position], user.outputs
        is_zero = isinstance(other, Constant) and other.data.size == 1 and not other.data.any()
        if is_zero and result.type == x.type:
            return result
    return None


@rewrite(
    table.lt(0, x),
    "the sign of what maximum(0, x) let through is known from it, and x need not be kept",
    when=lambda x, graph: _rectified(x, graph) is not None,
)
def sign_of_rectified(x: Expression, out: Expression, graph: FunctionGraph) -> Expression:
    rectified = _rectified(x, graph)
    assert rectified is not None and out.owner is not None
    return table.lt(out.owner.inputs[0], rectified)
