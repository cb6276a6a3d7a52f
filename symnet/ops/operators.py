"""A variable's operators and methods: takes the ops, hands them to `Variable` as `x + y`, `x[i]`, `x.sum()`.

A method means the function of the same name; this file is the one list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from symnet.errors import GraphError
from symnet.graph.variable import Variable
from symnet.ops import creation, indexing, joining, linalg, reduction, shape, subscript
from symnet.ops import elementwise_table as table
from symnet.ops.elementwise import cast

Binary = Callable[[Any, Any], Any]


def _operand(value: Any) -> bool:
    """Whether an operator may take the value; anything else is left to the other operand, or refused."""
    import numpy as np

    return isinstance(value, Variable | bool | int | float | complex | list | tuple | np.ndarray | np.generic)


def _binary(function: Binary, symbol: str) -> tuple[Binary, Binary]:
    def forward(self: Variable, other: Any) -> Any:
        if hasattr(other, "apply_in_pattern"):
            return NotImplemented
        if not _operand(other):
            raise GraphError(f"x {symbol} y with a {type(other).__name__}", [self, f"y: {other!r:.80}"])
        return function(self, other)

    def reflected(self: Variable, other: Any) -> Any:
        if not _operand(other):
            raise GraphError(f"x {symbol} y with a {type(other).__name__}", [f"x: {other!r:.80}", self])
        return function(other, self)

    return forward, reflected


_BINARY = {
    "add": (table.add, "+"),
    "sub": (table.sub, "-"),
    "mul": (table.mul, "*"),
    "truediv": (table.true_div, "/"),
    "floordiv": (table.int_div, "//"),
    "mod": (table.mod, "%"),
    "pow": (table.pow, "**"),
    "and": (table.and_, "&"),
    "or": (table.or_, "|"),
    "xor": (table.xor, "^"),
    "matmul": (linalg.dot, "@"),
}
_COMPARISONS = {"lt": (table.lt, "<"), "le": (table.le, "<="), "gt": (table.gt, ">"), "ge": (table.ge, ">=")}


def _divmod(self: Variable, other: Any) -> tuple[Any, Any]:
    return table.int_div(self, other), table.mod(self, other)


def _truth(self: Variable) -> bool:
    if self.owner is not None and self.owner.op in (table.lt, table.le, table.gt, table.ge):
        raise GraphError(
            "the truth of a comparison of symbolic variables is not known while the graph is built",
            [self],
            hint="use T.switch(condition, a, b), or & and | in place of and/or; chained comparisons need &",
        )
    return True


def _length(self: Variable) -> int:
    known = self.type.shape[0] if self.ndim else None
    if known is None:
        raise GraphError("len() of a symbolic tensor", [self], hint="x.shape[0] is the symbolic length")
    return known


def _iterate(self: Variable) -> Iterator[Variable]:
    if self.ndim == 0:
        raise GraphError("iteration over a scalar", [self])
    known = self.type.shape[0]
    if known is None:
        raise GraphError(
            "iteration over an axis of unknown length",
            [self],
            hint="say how long it is, T.tensor(dtype, shape=(3, None)); symbolic loops are not there yet",
        )
    return (subscript.index(self, position) for position in range(known))


def _contains(self: Variable, item: Any) -> bool:
    raise GraphError("`in` on a symbolic tensor", [self], hint="T.any(T.eq(x, item))")


def _norm(self: Variable, L: Any, axis: Any = None, keepdims: bool = False) -> Variable:
    return reduction.norm_of(self, L, axis, keepdims)


def _reshape(self: Variable, *newshape: Any, ndim: int | None = None) -> Variable:
    """`x.reshape((2, 3))`, `x.reshape(2, 3)`, `x.reshape(vector, ndim=2)`."""
    first = newshape[0] if newshape else ()
    single = len(newshape) == 1 and (isinstance(first, list | tuple) or getattr(first, "ndim", 0) == 1)
    if len(newshape) == 2 and isinstance(first, list | tuple):
        return shape.reshape(self, first, ndim=newshape[1])
    if len(newshape) == 2 and isinstance(first, Variable) and first.ndim == 1:
        return shape.reshape(self, first, ndim=newshape[1])
    return shape.reshape(self, first if single else list(newshape), ndim=ndim)


def _clip(self: Variable, a_min: Any, a_max: Any) -> Variable:
    return table.clip(self, a_min, a_max)  # type: ignore[no-any-return]


def _round(self: Variable, mode: str | None = None) -> Variable:
    return round_to(self, mode)


def round_to(a: Any, mode: str | None = None) -> Variable:
    """Rounded to the nearest integer, as a float; halves to even (default) or "half_away_from_zero"."""
    from symnet.graph.types import DISCRETE_DTYPES
    from symnet.ops.basic import as_tensor_variable

    variable = as_tensor_variable(a)
    if variable.dtype in DISCRETE_DTYPES:
        raise GraphError("round of integers", [variable], hint="they are round already")
    if mode in (None, "half_to_even"):
        return table.round_half_to_even(variable)  # type: ignore[no-any-return]
    if mode == "half_away_from_zero":
        return table.round_half_away_from_zero(variable)  # type: ignore[no-any-return]
    raise GraphError(f'round with mode {mode!r}: "half_to_even" or "half_away_from_zero" are expected')


def _copy(self: Variable, name: str | None = None) -> Variable:
    from symnet.ops.elementwise_table import identity

    copied: Variable = identity(self)
    copied.name = name
    return copied


def _swapaxes(self: Variable, axis1: int, axis2: int) -> Variable:
    return shape.swapaxes(self, axis1, axis2)


_METHODS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(reduction, name)
        for name in "sum prod mean var std max min argmax argmin all any ptp".split()
    },
    **{name: getattr(shape, name) for name in "dimshuffle flatten ravel squeeze transpose".split()},
    "repeat": joining.repeat,
    "reshape": _reshape,
    "astype": cast,
    "dot": linalg.dot,
    "clip": _clip,
    "norm": _norm,
    "take": subscript.take,
    "nonzero": indexing.nonzero,
    "fill": table.fill,
    "round": _round,
    "copy": _copy,
    "swapaxes": _swapaxes,
    "zeros_like": creation.zeros_like,
    "ones_like": creation.ones_like,
}


def attach() -> None:
    """Give `Variable` its operators and methods."""
    for name, (function, symbol) in _BINARY.items():
        forward, reflected = _binary(function, symbol)
        setattr(Variable, f"__{name}__", forward)
        setattr(Variable, f"__r{name}__", reflected)
    for name, (function, symbol) in _COMPARISONS.items():
        setattr(Variable, f"__{name}__", _binary(function, symbol)[0])
    plain: dict[str, Callable[..., Any]] = {
        "__neg__": lambda self: table.neg(self),
        "__pos__": lambda self: self,
        "__abs__": lambda self: table.abs_(self),
        "__invert__": lambda self: table.invert(self),
        "__divmod__": _divmod,
        "__getitem__": subscript.index,
        "__bool__": _truth,
        "__len__": _length,
        "__iter__": _iterate,
        "__contains__": _contains,
    }
    for name, function in {**plain, **_METHODS}.items():
        setattr(Variable, name, function)
    Variable.T = property(shape.transpose)  # type: ignore[assignment]
    Variable.shape = property(shape.shape_of)  # type: ignore[assignment]
    Variable.size = property(lambda self: linalg._product([self.shape[a] for a in range(self.ndim)]))  # type: ignore[assignment]


attach()
