"""The scalar dialect: texts become the expressions they say, and errors point at the place."""

from __future__ import annotations

import math

import pytest

from symnet.compile import nest
from symnet.compile.nest import BOOL, Call, Cast, Literal, Name, Select
from symnet.compile.scalar import parse_scalar

X = Name("float32", "x")
Y = Name("float32", "y")
D = Name("float64", "d")
K = Name("int32", "k")
U = Name("uint8", "u")
B = Name(BOOL, "b")
ARGUMENTS = {"x": X, "y": Y, "d": D, "k": K, "u": U, "b": B}


def one(value: float) -> Literal:
    return Literal("float32", value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", X),
        ("  x + 1 ", nest.call("add", X, one(1.0))),
        ("x - y * 2", nest.call("sub", X, nest.call("mul", Y, one(2.0)))),
        ("-x", nest.call("neg", X)),
        ("+x", X),
        ("x ** 2", nest.call("pow", X, one(2.0))),
        (
            "x / 2 // y % 3",
            nest.call("mod", nest.call("floordiv", nest.call("div", X, one(2.0)), Y), one(3.0)),
        ),
        ("1 / x", nest.call("div", one(1.0), X)),
        ("maximum(x, 0)", nest.call("maximum", X, one(0.0))),
        ("fma(x, y, 1)", nest.call("fma", X, Y, one(1.0))),
        ("x * (2 * pi)", nest.call("mul", X, one(6.2831854820251465))),
        ("x * sqrt(2)", nest.call("mul", X, one(1.4142135381698608))),
        ("x < inf", nest.call("lt", X, one(math.inf))),
        ("x if b else y", Select("float32", B, X, Y)),
        ("0 if x <= 0 else x", Select("float32", nest.call("le", X, one(0.0)), one(0.0), X)),
        ("True if b else False", Select(BOOL, B, Literal(BOOL, True), Literal(BOOL, False))),
        (
            "0 < x <= 1",
            nest.call("bitwise_and", nest.call("lt", one(0.0), X), nest.call("le", X, one(1.0))),
        ),
        ("b and x != y", nest.call("bitwise_and", B, nest.call("ne", X, Y))),
        ("b or not b", nest.call("bitwise_or", B, nest.call("bitwise_not", B))),
        (
            "isnan(x) or isinf(d)",
            nest.call("bitwise_or", nest.call("isnan", X), nest.call("isinf", D)),
        ),
        (
            "k & 3 | ~k ^ 1",
            nest.call(
                "bitwise_or",
                nest.call("bitwise_and", K, Literal("int32", 3)),
                nest.call("bitwise_xor", nest.call("bitwise_not", K), Literal("int32", 1)),
            ),
        ),
        (
            "k << 2 >> k",
            nest.call("shift_right", nest.call("shift_left", K, Literal("int32", 2)), K),
        ),
        ("k * -1", nest.call("mul", K, Literal("int32", -1))),
        ("u == 0xff", nest.call("eq", U, Literal("uint8", 255))),
        ('cast(x, "float64") + d', nest.call("add", Cast("float64", X), D)),
        ('cast(2, "int64")', Literal("int64", 2)),
        (
            "bits_of(d) >> 3",
            nest.call("shift_right", Call("uint64", "bits_of", (D,)), Literal("uint64", 3)),
        ),
        ("from_bits(bits_of(x))", Call("float32", "from_bits", (Call("uint32", "bits_of", (X,)),))),
    ],
)
def test_texts(text, expected):
    assert parse_scalar(text, ARGUMENTS) == expected


def test_a_number_alone_takes_the_dtype_asked_for():
    assert parse_scalar("2 * 3", {}, "int32") == Literal("int32", 6)
    assert parse_scalar("1", {}, "float64") == Literal("float64", 1.0)
    assert math.isnan(parse_scalar("nan", {}, "float32").value)
    assert parse_scalar("x", ARGUMENTS, "float32") == X


@pytest.mark.parametrize("function", sorted({*nest.SAME, *nest.TO_BOOL}))
def test_every_function_of_the_dialect_can_be_called(function):
    dtype = "int32" if function.startswith(("bitwise", "shift")) else "float32"
    for arguments in ("x", "x, x", "x, x, x"):
        try:
            made = parse_scalar(f"{function}({arguments})", {"x": Name(dtype, "x")})
        except SyntaxError:
            continue
        assert made.function == function
        return
    raise AssertionError(f"{function} takes neither one, two nor three arguments")


@pytest.mark.parametrize(
    ("text", "error", "message", "column"),
    [
        ("x + d", TypeError, "float32, float64", 0),
        ("x * k", TypeError, "float32, int32", 0),
        ("1 + k * 2.5", TypeError, "2.5 does not fit dtype int32", 8),
        ("u + 256", TypeError, "256 does not fit dtype uint8", 4),
        ("x + 1e39", TypeError, "does not fit dtype float32", 4),
        ("k / 2", TypeError, "div is not defined for int32", 0),
        ("exp(k)", TypeError, "exp is not defined for int32", 0),
        ("x & y", TypeError, "bitwise_and is not defined for float32", 0),
        ("b - b", TypeError, "sub is not defined for bool", 0),
        ("y if x else 1", TypeError, "`if` wants a bool, given float32", 5),
        ("not k", TypeError, "`not` wants a bool, given int32", 4),
        ("1 + 2", TypeError, "a number alone has no dtype", 0),
        ("1 if b else 2", TypeError, "numbers alone", 0),
        ("x + 1 / 0", TypeError, "division by zero", 4),
        ('cast(x, "float16")', TypeError, "float16", 0),
        ("cast(x, float32)", SyntaxError, "cast", 0),
        ("x + z", SyntaxError, "z is not an argument", 4),
        ("x + frobnicate(y)", SyntaxError, "frobnicate is not a function", 4),
        ("exp(x, y)", SyntaxError, "exp takes 1 argument", 0),
        ("maximum(x)", SyntaxError, "maximum takes 2 argument", 0),
        ("exp(x=x)", SyntaxError, "a call in the scalar dialect", 0),
        ("x.real", SyntaxError, "Attribute is not in the scalar dialect", 0),
        ("[x]", SyntaxError, "List", 0),
        ("x in y", SyntaxError, "In is not", 0),
        ("'x'", SyntaxError, "Constant", 0),
        ("x +", SyntaxError, "invalid syntax", None),
        ("", SyntaxError, "invalid syntax", None),
    ],
)
def test_errors_show_text_and_place(text, error, message, column):
    with pytest.raises(error, match=message) as caught:
        parse_scalar(text, ARGUMENTS)
    lines = str(caught.value).splitlines()
    assert text in lines[-2]
    if column is not None:
        assert lines[-1].index("^") - 4 == column


def test_the_result_must_have_the_dtype_asked_for():
    with pytest.raises(TypeError, match="the result is bool, expected float32"):
        parse_scalar("x < y", ARGUMENTS, "float32")
