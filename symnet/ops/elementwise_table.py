"""The table of elementwise ops: each row is all that symnet knows of one op.

Takes nothing, hands on the ops by name. The namespace, fusion, both printers and the contract tests
follow from these rows; values, dtypes and gradients are those of Theano 1.0.5.
"""

# The gradients of early rows name later ones.
# mypy: disable-error-code="has-type"

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symnet.config import config
from symnet.errors import GraphError
from symnet.graph.op import DISCONNECTED, ZERO
from symnet.graph.types import CONTINUOUS_DTYPES, DISCRETE_DTYPES
from symnet.ops.basic import upcast
from symnet.ops.elementwise import boolean, common, elementwise, floating

# --- arithmetic ------------------------------------------------------------------------------------


def _quotient(*dtypes: str) -> str:
    if all(dtype in DISCRETE_DTYPES for dtype in dtypes):
        return str(config.floatX)
    return upcast(*dtypes)


def _no_bools(*dtypes: str) -> str:
    """Subtraction, negation and sign have no meaning on bools alone."""
    dtype = upcast(*dtypes)
    if dtype == "bool":
        raise GraphError("arithmetic that bools do not have", hint="cast first, or use ~, ^ or neq for logic")
    return dtype


def _widened_bools(*dtypes: str) -> str:
    """Powers of bools alone are done in int8."""
    dtype = upcast(*dtypes)
    return "int8" if dtype == "bool" else dtype


def _integer_power(x: Any, y: Any) -> Any:
    """NumPy refuses negative powers of integers; here they are the real power, rounded to zero (0 of 0)."""
    if x.dtype.kind in "iu" and y.dtype.kind == "i" and np.any(y < 0):
        whole = np.power(x, np.maximum(y, 0))
        quotient = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y % 2), 0))
        return np.where(y < 0, quotient, whole).astype(x.dtype)
    return np.power(x, y)


add = elementwise(
    "add",
    "x y",
    scalar="x + y",
    numpy=np.add,
    gradient=lambda x, y, out, g: [g, g],
    host="add",
    commutative=True,
    bool_scalar="bitwise_or(x, y)",
)
sub = elementwise(
    "sub",
    "x y",
    scalar="x - y",
    numpy=np.subtract,
    gradient=lambda x, y, out, g: [g, -g],
    result=_no_bools,
    host="sub",
)
mul = elementwise(
    "mul",
    "x y",
    scalar="x * y",
    numpy=np.multiply,
    gradient=lambda x, y, out, g: [g * y, g * x],
    host="mul",
    commutative=True,
    bool_scalar="bitwise_and(x, y)",
)
true_div = elementwise(
    "true_div",
    "x y",
    scalar="x / y",
    numpy=np.true_divide,
    gradient=lambda x, y, out, g: [g / y, -(g * x) / (y * y)],
    result=_quotient,
)
int_div = elementwise(
    "int_div",
    "x y",
    scalar="x // y",
    numpy=np.floor_divide,
    gradient=lambda x, y, out, g: [ZERO, ZERO],
    host="floordiv",
    bool_scalar="bitwise_and(x, y)",
    domain=(1.0, 5.0),
)
mod = elementwise(
    "mod",
    "x y",
    scalar="x % y",
    numpy=np.mod,
    gradient=lambda x, y, out, g: [g, -int_div(x, y) * g],
    host="mod",
    bool_scalar="bitwise_xor(x, x)",
    domain=(1.0, 5.0),
)
pow = elementwise(
    "pow",
    "x y",
    scalar="x ** y",
    numpy=_integer_power,
    gradient=lambda x, y, out, g: [
        g * y * x ** (y - 1),
        g * switch(gt(x, 0), log(x), 0) * out if y.dtype in CONTINUOUS_DTYPES else ZERO,
    ],
    result=_widened_bools,
    cheap=False,
    domain=(0.2, 3.0),
)
neg = elementwise(
    "neg",
    "x",
    scalar="-x",
    numpy=np.negative,
    gradient=lambda x, out, g: [-g],
    result=_no_bools,
    host="neg",
)
abs_ = elementwise(
    "abs_",
    "x",
    scalar="abs(x)",
    numpy=np.abs,
    gradient=lambda x, out, g: [g * sgn(x)],
    host="abs",
)
sgn = elementwise(
    "sgn",
    "x",
    scalar="sign(x)",
    numpy=np.sign,
    gradient=lambda x, out, g: [ZERO],
    result=_no_bools,
)
sqr = elementwise(
    "sqr",
    "x",
    scalar="x * x",
    numpy=np.square,
    gradient=lambda x, out, g: [g * x * 2],
    bool_scalar="x",
)
inv = elementwise(
    "inv",
    "x",
    scalar="1 / x",
    numpy=lambda x: 1 / x,
    gradient=lambda x, out, g: [-g / (x * x)],
    result=floating,
    domain=(0.3, 3.0),
)
maximum = elementwise(
    "maximum",
    "x y",
    scalar="maximum(x, y)",
    numpy=np.maximum,
    # At a tie the first operand takes all, as in Theano.
    gradient=lambda x, y, out, g: [ge(x, y) * g, lt(x, y) * g],
    host="maximum",
    bool_scalar="bitwise_or(x, y)",
)
minimum = elementwise(
    "minimum",
    "x y",
    scalar="minimum(x, y)",
    numpy=np.minimum,
    gradient=lambda x, y, out, g: [le(x, y) * g, gt(x, y) * g],
    host="minimum",
    bool_scalar="bitwise_and(x, y)",
)
clip = elementwise(
    "clip",
    "x low high",
    scalar="low if x < low else (high if x > high else x)",
    numpy=lambda x, low, high: np.where(x < low, low, np.where(x > high, high, x)),
    gradient=lambda x, low, high, out, g: [
        (ge(x, low) & le(x, high)) * g,
        lt(x, low) * g,
        gt(x, high) * g,
    ],
)

# --- rounding --------------------------------------------------------------------------------------


def _round_half_away(x: Any) -> Any:
    return np.copysign(np.floor(np.abs(x) + 0.5), x) if x.dtype.kind == "f" else x


def _rounding(name: str, scalar: str, numpy: Any) -> Any:
    return elementwise(
        name, "x", scalar=scalar, numpy=numpy, gradient=lambda x, out, g: [ZERO], result=floating
    )


floor = _rounding("floor", "floor(x)", np.floor)
ceil = _rounding("ceil", "ceil(x)", np.ceil)
trunc = _rounding("trunc", "trunc(x)", np.trunc)
round_half_to_even = _rounding("round_half_to_even", "rint(x)", np.rint)
round_half_away_from_zero = _rounding("round_half_away_from_zero", "round_half_away(x)", _round_half_away)

# --- functions of the reals ------------------------------------------------------------------------


def _real(name: str, numpy: Any, gradient: Any, domain: tuple[float, float] = (-3.0, 3.0)) -> Any:
    """A function of one real that has the same name in the dialect."""
    return elementwise(
        name,
        "x",
        scalar=f"{name}(x)",
        numpy=numpy,
        gradient=gradient,
        result=floating,
        cheap=False,
        domain=domain,
    )


exp = _real("exp", np.exp, lambda x, out, g: [g * out])
exp2 = _real("exp2", np.exp2, lambda x, out, g: [g * out * math.log(2.0)])
expm1 = _real("expm1", np.expm1, lambda x, out, g: [g * exp(x)])
log = _real("log", np.log, lambda x, out, g: [g / x], (0.1, 5.0))
log2 = _real("log2", np.log2, lambda x, out, g: [g / (x * math.log(2.0))], (0.1, 5.0))
log10 = _real("log10", np.log10, lambda x, out, g: [g / (x * math.log(10.0))], (0.1, 5.0))
log1p = _real("log1p", np.log1p, lambda x, out, g: [g / (1 + x)], (-0.8, 5.0))
sqrt = _real("sqrt", np.sqrt, lambda x, out, g: [g * 0.5 / out], (0.1, 5.0))
sin = _real("sin", np.sin, lambda x, out, g: [g * cos(x)])
cos = _real("cos", np.cos, lambda x, out, g: [-g * sin(x)])
tan = _real("tan", np.tan, lambda x, out, g: [g / sqr(cos(x))], (-1.2, 1.2))
arcsin = _real("arcsin", np.arcsin, lambda x, out, g: [g / sqrt(1 - sqr(x))], (-0.9, 0.9))
arccos = _real("arccos", np.arccos, lambda x, out, g: [-g / sqrt(1 - sqr(x))], (-0.9, 0.9))
arctan = _real("arctan", np.arctan, lambda x, out, g: [g / (1 + sqr(x))])
sinh = _real("sinh", np.sinh, lambda x, out, g: [g * cosh(x)])
cosh = _real("cosh", np.cosh, lambda x, out, g: [g * sinh(x)])
tanh = _real("tanh", np.tanh, lambda x, out, g: [g * (1 - sqr(out))])
arcsinh = _real("arcsinh", np.arcsinh, lambda x, out, g: [g / sqrt(sqr(x) + 1)])
arccosh = _real("arccosh", np.arccosh, lambda x, out, g: [g / sqrt(sqr(x) - 1)], (1.2, 5.0))
arctanh = _real("arctanh", np.arctanh, lambda x, out, g: [g / (1 - sqr(x))], (-0.8, 0.8))


def _sigmoid(x: Any) -> Any:
    """Both branches bounded: exp is taken of -|x| only."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _scipy(name: str) -> Any:
    def function(x: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(x)

    return function


sigmoid = _real("sigmoid", _sigmoid, lambda x, out, g: [g * out * (1 - out)])
erf = _real("erf", _scipy("erf"), lambda x, out, g: [g * (2 / math.sqrt(math.pi)) * exp(-sqr(x))])
erfc = _real("erfc", _scipy("erfc"), lambda x, out, g: [-g * (2 / math.sqrt(math.pi)) * exp(-sqr(x))])
softplus = elementwise(
    "softplus",
    "x",
    scalar="log1p(exp(-abs(x))) + maximum(x, 0)",
    numpy=lambda x: np.logaddexp(np.asarray(0, x.dtype), x),
    gradient=lambda x, out, g: [g * sigmoid(x)],
    result=floating,
    cheap=False,
)
arctan2 = elementwise(
    "arctan2",
    "y x",
    scalar="arctan2(y, x)",
    numpy=np.arctan2,
    gradient=lambda y, x, out, g: [g * x / (sqr(x) + sqr(y)), -g * y / (sqr(x) + sqr(y))],
    result=floating,
    cheap=False,
)

# --- comparisons and logic -------------------------------------------------------------------------


def _comparison(name: str, symbol: str, numpy: Any, host: str, commutative: bool = False) -> Any:
    return elementwise(
        name,
        "x y",
        scalar=f"x {symbol} y",
        numpy=numpy,
        gradient=None,
        result=boolean,
        computed="common",
        host=host,
        commutative=commutative,
    )


eq = _comparison("eq", "==", np.equal, "eq", commutative=True)
neq = _comparison("neq", "!=", np.not_equal, "ne", commutative=True)
lt = _comparison("lt", "<", np.less, "lt")
le = _comparison("le", "<=", np.less_equal, "le")
gt = _comparison("gt", ">", np.greater, "gt")
ge = _comparison("ge", ">=", np.greater_equal, "ge")
isnan = elementwise(
    "isnan",
    "x",
    scalar="isnan(x)",
    numpy=np.isnan,
    gradient=None,
    result=boolean,
    computed="floating",
)
isinf = elementwise(
    "isinf",
    "x",
    scalar="isinf(x)",
    numpy=np.isinf,
    gradient=None,
    result=boolean,
    computed="floating",
)
switch = elementwise(
    "switch",
    "condition then otherwise",
    scalar="then if condition else otherwise",
    numpy=np.where,
    gradient=lambda condition, then, otherwise, out, g: [
        ZERO,
        switch(condition, g, 0),
        switch(condition, 0, g),
    ],
    result=lambda condition, then, otherwise: upcast(then, otherwise),
    computed="condition",
    host="select",
)

#: `y` in the shape of `x` (broadcast against it); `x` lends its shape alone.
fill = elementwise(
    "fill",
    "x y",
    scalar="y",
    numpy=lambda x, y: np.broadcast_arrays(x, y)[1],
    gradient=lambda x, y, out, g: [DISCONNECTED, g],
    result=lambda x, y: y,
)

#: The tensor itself, as a variable of its own.
identity = elementwise(
    "identity", "x", scalar="x", numpy=lambda x: x, gradient=lambda x, out, g: [g], host="identity"
)


def _stop(name: str, gradient: Any) -> Any:
    """The tensor itself, whose gradient ends there."""
    return elementwise(
        name, "x", scalar="x", numpy=lambda x: x, gradient=lambda x, out, g: [gradient], host="identity"
    )


zero_grad = _stop("zero_grad", ZERO)
disconnected_grad = _stop("disconnected_grad", DISCONNECTED)


def _integers(*dtypes: str) -> str:
    """Bit operations are for integers and bools."""
    for dtype in dtypes:
        if dtype not in DISCRETE_DTYPES:
            raise GraphError(
                f"a bit operation on {' and '.join(dtypes)}: integers or bools are expected",
                hint="compare first, as in (x > 0) & (y > 0)",
            )
    if "bool" in dtypes and any(dtype != "bool" for dtype in dtypes):
        raise GraphError(
            f"a bit operation on {' and '.join(dtypes)}: either all are bools or none is",
            hint='T.cast(condition, "int8") makes a bool an integer',
        )
    if common(*dtypes) not in DISCRETE_DTYPES:
        raise GraphError(
            f"a bit operation on {' and '.join(dtypes)}: no integer dtype holds both",
            hint='T.cast(x, "int64") chooses one',
        )
    return common(*dtypes)


def _bitwise(name: str, function: str, numpy: Any, arguments: str = "x y") -> Any:
    return elementwise(
        name,
        arguments,
        scalar=f"{function}({', '.join(arguments.split())})",
        numpy=numpy,
        gradient=None,
        result=_integers,
        commutative=arguments == "x y",
    )


and_ = _bitwise("and_", "bitwise_and", np.bitwise_and)
or_ = _bitwise("or_", "bitwise_or", np.bitwise_or)
xor = _bitwise("xor", "bitwise_xor", np.bitwise_xor)
invert = _bitwise("invert", "bitwise_not", np.invert, "x")
