"""Cases of the rules of algebra: what each rewrites, into what, and what it must leave alone."""

from __future__ import annotations

import numpy as np

from symnet.ops import elementwise_table as table
from symnet.ops.basic import constant
from symnet.ops.elementwise import cast
from symnet.ops.elementwise_table import exp, switch

from .case import Case


def small(value: float) -> object:
    """A literal float32 scalar."""
    return constant(np.float32(value))


CASES = [
    Case("factor_of_one", "x:dmatrix", lambda x: 1 * x, "x", lambda x: x * 2),
    Case("factor_of_one", "x:bmatrix", lambda x: x * 1.0, "cast_float32(x)", lambda x: x * 0),
    Case(
        "factor_of_one",
        "x:d(2,3)",
        lambda x: x * np.ones((2, 3)),
        "x",
        # Leaving this constant out would leave out its shape.
        lambda x: x * np.ones((4, 2, 3)),
    ),
    Case("factor_of_one", "x:dcol", lambda x: x * np.ones((1, 1)), "x", lambda x: x * np.ones((1, 3))),
    Case("divisor_of_one", "x:fmatrix", lambda x: x / 1, "x", lambda x: 1 / x),
    Case("divisor_of_one", "x:ivector", lambda x: x / 1, "cast_float64(x)", lambda x: x / 2),
    Case("term_of_zero", "x:dmatrix", lambda x: 0 + x, "x", lambda x: x + 1),
    Case(
        "term_of_zero",
        "x:zvector",
        lambda x: x + constant(np.int32(0)),
        "cast_int32(x)",
        lambda x: x * 0,
    ),
    Case("subtracted_zero", "x:dmatrix", lambda x: x - 0.0, "x", lambda x: 0.5 - x),
    Case("zero_minus", "x:dmatrix", lambda x: 0 - x, "neg(x)", lambda x: 1 - x),
    Case("factor_of_minus_one", "x:dvector", lambda x: x * -1, "neg(x)", lambda x: x * -2),
    Case("factor_of_minus_one", "x:uvector", lambda x: x * -1, "neg(cast_int16(x))", lambda x: x * 1),
    Case("divisor_of_minus_one", "x:dvector", lambda x: x / -1, "neg(x)", lambda x: -1 / x),
    Case("negated_negation", "x:ivector", lambda x: table.neg(-x), "x", lambda x: -x),
    Case(
        "sum_with_negation",
        "x:dmatrix y:dvector",
        lambda x, y: -x + y,
        "sub(y, x)",
        lambda x, y: x + y,
    ),
    Case(
        "sum_with_negation",
        "x:lvector y:lvector",
        lambda x, y: x + -y,
        "sub(x, y)",
        # -int8(-128) wraps before it becomes an int64, y - x would not.
        lambda x, y: y + -cast(x, "int8"),
    ),
    Case(
        "difference_with_negation",
        "x:dvector y:fvector",
        lambda x, y: x - -y,
        "add(x, y)",
        lambda x, y: -x - y,
    ),
    Case(
        "product_of_negations",
        "x:dvector y:dvector",
        lambda x, y: -x * -y,
        "mul(x, y)",
        lambda x, y: -x * y,
    ),
    Case(
        "quotient_of_negations",
        "x:dvector y:dvector",
        lambda x, y: -x / -y,
        "true_div(x, y)",
        lambda x, y: -x / y,
    ),
    Case("square_of_negation", "x:dvector", lambda x: table.sqr(-x), "sqr(x)", lambda x: table.sqr(x)),
    Case("magnitude_of_negation", "x:dvector", lambda x: abs(-x), "abs_(x)", lambda x: -abs(x)),
    Case("sum_with_negative_number", "x:dvector", lambda x: x + -2, "sub(x, 2.0)", lambda x: x + 2),
    Case(
        "sum_with_negative_number",
        "x:fvector",
        lambda x: -0.5 + x,
        "sub(x, 0.5)",
        lambda x: 0.5 + x,
    ),
    Case(
        "difference_with_negative_number",
        "x:dvector",
        lambda x: x - -2,
        "add(x, 2.0)",
        lambda x: x - 2,
    ),
    Case("first_power", "x:dmatrix", lambda x: x**1, "x", lambda x: x**1.5),
    Case("second_power", "x:dmatrix", lambda x: x**2, "sqr(x)", lambda x: 2**x),
    Case("second_power", "x:uvector", lambda x: x**2, "sqr(cast_int16(x))", lambda x: x**4),
    Case("third_power", "x:dmatrix", lambda x: x**3.0, "mul(sqr(x), x)", lambda x: x**4, exact=False),
    Case("zeroth_power", "x:dvector", lambda x: x**0, "fill(x, 1.0)", lambda x: 0**x, gradient=False),
    Case(
        "power_of_minus_one",
        "x:dvector",
        lambda x: x**-1,
        "true_div(1.0, x)",
        lambda x: x**-2,
        exact=False,
    ),
    Case(
        "power_of_one_half",
        "x:dvector",
        lambda x: exp(x) ** 0.5,
        "sqrt(exp(x))",
        # (-inf) ** 0.5 is inf and (-0.0) ** 0.5 is 0.0; sqrt has nan and -0.0.
        lambda x: x**0.5,
        exact=False,
    ),
    Case("product_with_itself", "x:dmatrix", lambda x: x * x, "sqr(x)", lambda x: x * -x),
    Case(
        "product_with_itself",
        "x:ivector y:zvector",
        lambda x, y: x * x,
        "sqr(x)",
        lambda x, y: y * y,
    ),
    Case(
        "reciprocal",
        "x:fvector",
        lambda x: table.inv(x),
        "true_div(1.0, x)",
        lambda x: table.inv(cast(x, "int8")),
    ),
    Case(
        "numbers_in_a_product",
        "x:dvector",
        lambda x: 2 * (x * 0.3),
        "mul(0.6, x)",
        lambda x: 3 * (x * 0.3),
    ),
    Case(
        "numbers_in_a_product",
        "x:lvector",
        lambda x: (x * constant(np.int64(7))) * constant(np.int64(3)),
        "mul(21, x)",
        # int8 * int8 wraps, int64 does not.
        lambda x: cast(x, "int8") * 7 * constant(np.int64(3)),
    ),
    Case(
        "numbers_in_a_product",
        "x:fvector",
        lambda x: (x * 0.5) * 4,
        "mul(2.0, x)",
        # The product of the numbers would underflow.
        lambda x: (x * 2.0**-100) * 2.0**-100,
    ),
    Case(
        "integers_in_a_sum",
        "x:lvector",
        lambda x: (x + constant(np.int64(7))) + constant(np.int64(3)),
        "add(10, x)",
        lambda x: cast(x, "float64") + 7.0 + 3.0,
    ),
    Case(
        "copy_of_operand",
        "x:dvector",
        lambda x: table.zero_grad(x) + 1,
        "add(x, 1.0)",
        lambda x: x + 1,
        gradient=False,
    ),
    Case("copy_of_operand", "x:dvector", lambda x: table.identity(x), "x", lambda x: -x),
    Case(
        "cast_of_cast",
        "x:fvector",
        lambda x: cast(cast(x, "float64"), "float32"),
        "x",
        lambda x: cast(x, "int8"),
    ),
    Case(
        "cast_of_cast",
        "x:ivector",
        lambda x: cast(cast(x, "float64"), "int16"),
        "cast_int16(x)",
        # float32 holds 24 bits of an int32's 31.
        lambda x: cast(cast(x, "float32"), "int16"),
    ),
    Case(
        "cast_to_own_dtype",
        "x:dvector",
        lambda x: table.exp(cast_always(x, "float64")),
        "exp(x)",
        lambda x: cast(x, "float32"),
    ),
    Case(
        "switch_of_equal_choices",
        "c:zscalar x:dvector b:zvector",
        lambda c, x, b: switch(c, x, x),
        "x",
        # A condition of another length than x is refused when it runs, and stays.
        lambda c, x, b: switch(b, x, x),
    ),
    Case(
        "switch_on_constant",
        "x:dvector y:dvector",
        lambda x, y: switch(constant(np.bool_(True)), x, 0),
        "x",
        # The lengths of x and y may differ, which is refused when it runs.
        lambda x, y: switch(constant(np.bool_(True)), x, y),
    ),
    Case(
        "switch_on_constant",
        "x:fvector y:dscalar",
        lambda x, y: switch(constant(np.int8(0)), y, x),
        "cast_float64(x)",
        lambda x, y: switch(y, x, 0),
    ),
    Case(
        "uniform_constant",
        "x:d(2,3)",
        lambda x: table.maximum(x, np.full((2, 3), 0.5)),
        "maximum(x, 0.5)",
        lambda x: table.maximum(x, np.arange(6.0).reshape(2, 3)),
    ),
    Case(
        "uniform_constant",
        "x:dmatrix",
        lambda x: table.maximum(np.full((1, 1), 0.5), x),
        "maximum(0.5, x)",
        # The constant says which shape x must have.
        lambda x: table.maximum(np.full((2, 3), 0.5), x),
    ),
    # --- rectifiers
    Case(
        "sign_of_rectified",
        "x:fmatrix",
        lambda x: table.maximum(0, x) * table.lt(0, x),
        "mul(maximum(0.0, x), lt(0.0, maximum(0.0, x)))",
        lambda x: table.maximum(1, x) * table.lt(0, x),
        gradient=False,
    ),
]


def cast_always(x: object, dtype: str) -> object:
    """A cast node, where `cast` would leave the variable alone."""
    from symnet.ops.elementwise import Cast

    return Cast(dtype)(x)
