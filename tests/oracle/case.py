"""How a case is written down: takes an expression in Theano's terms, hands on a list of plain data.

Theano evaluates each case to record it, and symnet to be tested. A case is a dict: `name`;
`expression`, one string in which `T`, `theano`, `np` and the inputs' names have a meaning; `inputs`
by name; `floatX`; `wrt`, the inputs by which sum(expression * weights) is differentiated (all
float inputs when None); `optimised`, whether Theano's rewrites are part of what is recorded; and
`absolute`, the error allowed beside the relative one (by the size of the largest entry when None);
and `code`, "c" where Theano's Python code is wrong and its C code is recorded. An expression may
also be a Python value: a list of dtype names, or what calling a function gives.
"""

CASES = []
DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
]


def case(
    name,
    expression,
    floatX="float64",
    wrt=None,
    optimised=False,
    absolute=None,
    code="py",
    **inputs,
):
    """Add a case to the list."""
    CASES.append(
        {
            "name": name,
            "expression": expression,
            "inputs": inputs,
            "floatX": floatX,
            "wrt": wrt,
            "optimised": optimised,
            "absolute": absolute,
            "code": code,
        }
    )


def floats(*shape, low=-2.0, high=2.0, dtype="float64", broadcastable=None):
    """An input drawn uniformly."""
    return {
        "dtype": dtype,
        "shape": shape,
        "low": low,
        "high": high,
        "broadcastable": broadcastable,
    }


def singles(*shape, low=-2.0, high=2.0, broadcastable=None):
    """An input of float32 drawn uniformly."""
    return floats(*shape, low=low, high=high, dtype="float32", broadcastable=broadcastable)


def integers(*shape, low=0, high=5, dtype="int64"):
    """An input of integers in [low, high)."""
    return {"dtype": dtype, "shape": shape, "low": low, "high": high}


def given(values, dtype="float64", broadcastable=None):
    """An input of these values."""
    return {"dtype": dtype, "values": values, "broadcastable": broadcastable}


NONE = ()
INF, NAN = float("inf"), float("nan")
SPECIAL = [
    -INF,
    -1e300,
    -745.5,
    -2.5,
    -1.5,
    -1.0,
    -0.5,
    -1e-320,
    -0.0,
    0.0,
    1e-17,
    0.5,
    1.0,
    1.5,
    2.5,
    710.0,
    1e300,
    INF,
    NAN,
]
