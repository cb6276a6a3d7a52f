"""What an expression of a kernel's text means: takes it and what its names are, hands on a NumPy scalar.

These are the rules that `symnet.backend.cuda.text_code` tells. The simulator, where NumPy's hold, keeps only
those that generated texts rely on: there int32 meets int32 in 32 bits, and a literal has no dtype.
"""

from __future__ import annotations

import ast
import operator
from typing import Any

import numpy as np

from symnet.backend.cuda.scalar_values import MATH

_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: a // b if b else 0,
    ast.Mod: lambda a, b: a % b if b else 0,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def meaning(text: str, names: dict[str, Any]) -> Any:
    """The value of an expression, with the dtype that it has."""
    with np.errstate(all="ignore"):
        return _of(ast.parse(text, mode="eval").body, names)


def _of(node: ast.expr, names: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=bool() as value):
            return np.bool_(value)
        case (
            ast.Constant(value=int() as value)
            | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(int() as value))
        ):
            value = -value if isinstance(node, ast.UnaryOp) else value
            return np.int64(value) if -(2**63) <= value < 2**63 else np.uint64(value)
        case ast.Constant(value=float() as value):
            return np.float64(value)
        case ast.Name(id=name):
            return names[name]
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return np.float64(name)
        case ast.BinOp(left=left, op=how, right=right):
            return _binary(_OPERATORS[type(how)], _of(left, names), _of(right, names), how)
        case ast.UnaryOp(op=how, operand=operand):
            return _unary(how, _of(operand, names))
        case ast.Compare(left=left, ops=[how], comparators=[right]):
            return np.bool_(_OPERATORS[type(how)](_of(left, names).item(), _of(right, names).item()))
        case ast.BoolOp(op=ast.And(), values=parts):
            return np.bool_(all(_of(each, names) for each in parts))
        case ast.BoolOp(values=parts):
            return np.bool_(any(_of(each, names) for each in parts))
        case ast.IfExp(test=test, body=body, orelse=otherwise):
            ways = [_of(body, names), _of(otherwise, names)]
            return _as(_common(*ways), ways[0 if _of(test, names) else 1])
        case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=dtype), args=[argument]):
            return _cast(_of(argument, names), np.dtype(dtype.rstrip("_")))
        case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr=name), args=arguments):
            return getattr(MATH, name)(*(_of(each, names) for each in arguments))
        case ast.Call(func=ast.Name(id="abs"), args=[argument]):
            return np.abs(_of(argument, names))
        case ast.Call(func=ast.Name(id="min" | "max" as name), args=[first, second]):
            values = [_of(first, names), _of(second, names)]
            chosen = (min if name == "min" else max)(values, key=lambda each: each.item())
            return _as(_common(*values), chosen)
    raise NotImplementedError(ast.unparse(node))


def _wide(*values: Any) -> str:
    return "int64" if any(each.dtype.kind == "i" for each in values) else "uint64"


def _as(dtype: str, number: Any) -> Any:
    """A number of any size, as much of it as the dtype holds."""
    if np.dtype(dtype).kind not in "iu":
        return np.dtype(dtype).type(number)
    return np.array([int(number) % 2**64], np.uint64).astype(dtype)[0]


def _binary(make: Any, a: Any, b: Any, how: ast.operator) -> Any:
    if a.dtype.kind in "iu":
        dtype = _wide(a) if isinstance(how, ast.LShift | ast.RShift) else _wide(a, b)
        return _as(
            dtype,
            make(_as(dtype, a).item(), b.item() if "Shift" in type(how).__name__ else _as(dtype, b).item()),
        )
    dtype = max(a.dtype, b.dtype)
    return dtype.type(make(dtype.type(a), dtype.type(b)))


def _unary(how: ast.unaryop, value: Any) -> Any:
    if value.dtype.kind in "iu":
        number = value.item()
        return _as(_wide(value), -number if isinstance(how, ast.USub) else ~number)
    return -value if isinstance(how, ast.USub) else ~value


def _common(a: Any, b: Any) -> str:
    """The dtype that takes either."""
    if a.dtype == b.dtype or a.dtype.kind == "f":
        return str(max(a.dtype, b.dtype))
    return "uint64" if "uint64" in (a.dtype, b.dtype) else _wide(a, b)


def _cast(value: Any, dtype: np.dtype) -> Any:
    """Integers wrap; floats beyond what integers hold are nobody's."""
    if value.dtype.kind == "f" and dtype.kind in "iu":
        assert np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    return value.astype(dtype)
