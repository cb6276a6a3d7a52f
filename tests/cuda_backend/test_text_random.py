"""Takes random expressions, holds what their compiled code gives to what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symnet.compile import nest

from .test_text_code import inputs
from .text_runs import by_expressions

INPUTS = inputs()
NAMES = {name: each.dtype.name for name, each in INPUTS.items()}
INTEGERS = [name for name, dtype in NAMES.items() if dtype in nest.INTEGERS]
LITERALS = [
    0,
    1,
    2,
    3,
    7,
    63,
    64,
    255,
    1 << 31,
    (1 << 63) - 1,
    -1,
    -2,
    -128,
    -(1 << 63),
    1 << 63,
    (1 << 64) - 1,
]
REALS = ["0.0", "-0.0", "1.0", "0.1", "-2.5", "1e300", "5e-324", "math.inf", "math.nan"]


@dataclass(frozen=True)
class Some:
    """An expression. A `product` may be rounded once with a sum of it, which no rule promises or forbids."""

    text: str
    dtype: str
    product: bool = False

    @property
    def signed(self) -> bool:
        return self.dtype.startswith("int")

    @property
    def apart(self) -> str:
        """The same size, of which no sum knows that it is a product."""
        return f"math.abs({self.text})" if self.product else self.text


class Maker:
    """Expressions, as the choices of a test's data fall."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def one_of(self, *choices: Any) -> Any:
        return self.data.draw(st.sampled_from(choices))

    def integer(self, depth: int) -> Some:
        if depth == 0:
            name = self.one_of(*INTEGERS, None)
            if name is None:
                number = self.one_of(*LITERALS)
                return Some(f"({number})", "uint64" if number >= 1 << 63 else "int64")
            return Some(name, NAMES[name])
        a = self.integer(depth - 1)
        match self.one_of("operator", "shift", "unary", "cast", "choice", "real", "function"):
            case "operator":
                b = self.integer(depth - 1)
                sign = self.one_of("+", "-", "*", "//", "%", "&", "|", "^")
                return Some(f"({a.text} {sign} {b.text})", "int64" if a.signed or b.signed else "uint64")
            case "shift":
                count = self.one_of("5", "63", f"({self.integer(depth - 1).text} & 63)")
                sign = self.one_of("<<", ">>")
                return Some(f"({a.text} {sign} {count})", "int64" if a.signed else "uint64")
            case "unary":
                # Python's own compiler makes other numbers of what stands there.
                sign, kept = self.one_of("-", "~"), f"({a.text} ^ 0)" if depth == 1 else a.text
                return Some(f"({sign}{kept})", "int64" if a.signed or kept is not a.text else "uint64")
            case "cast":
                dtype = self.one_of(*nest.INTEGERS)
                return Some(f"np.{dtype}({a.text})", dtype)
            case "choice":
                a, b = self.alike(a, self.integer(depth - 1))
                wide = a.dtype if a.dtype == b.dtype else "int64" if a.signed or b.signed else "uint64"
                if self.one_of(True, False):
                    return Some(f"{self.one_of('min', 'max')}({a.text}, {b.text})", wide)
                return Some(f"({a.text} if {self.condition(depth - 1)} else {b.text})", wide)
            case "real":
                x, dtype = self.real(depth - 1), self.one_of(*nest.INTEGERS)
                inside = f"{x.text} >= 0.0 and {x.text} < 100.0"
                return Some(f"np.{dtype}({x.text} if {inside} else np.{x.dtype}(7.5))", dtype)
        if a.signed:
            return Some(f"abs({a.text})", a.dtype)
        return Some(f"math.sign({a.text})", a.dtype)

    def alike(self, a: Some, b: Some) -> tuple[Some, Some]:
        """Two integers that may be compared."""
        if "uint64" in (a.dtype, b.dtype) and (a.signed or b.signed):
            return Some(f"np.uint64({a.text})", "uint64"), Some(f"np.uint64({b.text})", "uint64")
        return a, b

    def real(self, depth: int) -> Some:
        if depth == 0:
            name = self.one_of("f32", "f64", None)
            return Some(self.one_of(*REALS), "float64") if name is None else Some(name, NAMES[name])
        a = self.real(depth - 1)
        match self.one_of("sum", "product", "unary", "cast", "choice", "integer"):
            case "sum":
                b = self.real(depth - 1)
                return Some(f"({a.apart} {self.one_of('+', '-')} {b.apart})", max(a.dtype, b.dtype))
            case "product":
                b = self.real(depth - 1)
                return Some(f"({a.text} {self.one_of('*', '/')} {b.text})", max(a.dtype, b.dtype), True)
            case "unary":
                return Some(f"(-{a.text})", a.dtype, a.product)
            case "cast":
                dtype = self.one_of(*nest.FLOATS)
                return Some(f"np.{dtype}({a.text})", dtype, a.product)
            case "choice":
                b = self.real(depth - 1)
                text = f"({a.text} if {self.condition(depth - 1)} else {b.text})"
                return Some(text, max(a.dtype, b.dtype), a.product or b.product)
        dtype = self.one_of(*nest.FLOATS)
        return Some(f"np.{dtype}({self.integer(depth - 1).text})", dtype)

    def condition(self, depth: int) -> str:
        if depth == 0:
            return self.one_of("p", "q")
        sign = self.one_of("<", "<=", "==", "!=", ">", ">=")
        match self.one_of("integers", "reals", "joined", "not", "bits"):
            case "integers":
                a, b = self.alike(self.integer(depth - 1), self.integer(depth - 1))
                return f"({a.text} {sign} {b.text})"
            case "reals":
                return f"({self.real(depth - 1).text} {sign} {self.real(depth - 1).text})"
            case "joined":
                return f"({self.condition(depth - 1)} {self.one_of('and', 'or')} {self.condition(depth - 1)})"
            case "bits":
                return (
                    f"({self.condition(depth - 1)} {self.one_of('&', '|', '^')} {self.condition(depth - 1)})"
                )
        return f"(not {self.condition(depth - 1)})"


@given(data=st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_expressions(data):
    make = Maker(data)
    texts = [make.integer(3).text for _ in range(5)] + [make.real(3).text for _ in range(5)]
    texts += [make.condition(3) for _ in range(3)]
    found, wanted = by_expressions(texts, INPUTS)
    for text, mine, its in zip(texts, found, wanted, strict=True):
        np.testing.assert_array_equal(mine, its, err_msg=text)
