"""Elementwise ops: samples made from the rows of the table, one function of all dtypes for each row."""

import itertools

import numpy as np

import symnet.tensor as T
from symnet.errors import GraphError
from symnet.ops import elementwise_table  # noqa: F401  (fills ROWS)
from symnet.ops.elementwise import ROWS
from symnet.ops.gradient_filters import grad_clip, grad_scale

from .sample import Sample, bools, floats, integers, singles

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 1e300, 5e-324, -1e-300])
#: Where a finite difference would step over an edge, or the library's own meaning has no derivative.
EDGES = {
    "floor",
    "ceil",
    "trunc",
    "round_half_to_even",
    "round_half_away_from_zero",
    "sgn",
    "mod",
    "int_div",
}
#: What comes back is not the derivative on purpose.
STOPPED = {"zero_grad", "disconnected_grad"}
#: Libraries differ here; ours has its own, tighter tests against mpmath.
ULPS = {"pow": 64, "gamma": 128, "tan": 64, "exp2": 64, "cosh": 64, "sinh": 64}
#: Where the operands of `clip` are, so that the bounds are in order.
CLIPPED = ((-3.0, 3.0), (-1.5, -0.5), (0.5, 1.5))


def _accepted(op, dtypes):
    try:
        return op.result(*dtypes)
    except GraphError:
        return None


def _row(op):
    """Floats of both widths, and all broadcasting patterns of two operands."""
    low, high = op.domain
    count = len(op.arguments)
    arrays, types, kinds = [], {}, []
    shapes = {1: [[(3, 4)]], 2: [[(3, 4), (3, 4)], [(3, 1), (1, 4)], [(4,), (3, 4)], [(), (4,)]]}
    shapes[3] = [[(3, 4)] * 3, [(3, 1), (4,), ()]]
    for dtype in ("float64", "float32"):
        for pattern in shapes[count] if _accepted(op, [dtype] * count) else []:
            group = []
            for place, shape in enumerate(pattern):
                if op.name == "clip":
                    low, high = CLIPPED[place]
                types[len(arrays)] = [1 if n == 1 else None for n in shape]
                group.append(len(arrays))
                arrays.append(floats(*shape, low=low + 0.01 * place, high=high - 0.013 * place, dtype=dtype))
            kinds.append(group)

    def build(*variables):
        return [op(*(variables[place] for place in group)) for group in kinds]

    if not kinds:
        return None
    stopped = op.name in EDGES | STOPPED or op.result(*["float64"] * count) == "bool"
    return Sample(
        op.name,
        build,
        tuple(arrays),
        types,
        smooth=not stopped,
        ulps=ULPS.get(op.name, 24),
        order=2,
    )


def _long(op):
    """Enough entries that lanes of vectors compute them, and some that fill none."""
    count = len(op.arguments)
    if _accepted(op, ["float64"] * count) is None:
        return None
    bounds = CLIPPED if op.name == "clip" else [op.domain] * count
    arrays = [
        floats(203, low=low + 0.01 * place, high=high, dtype=dtype)
        for dtype in ("float64", "float32")
        for place, (low, high) in enumerate(bounds)
    ]
    return Sample(
        f"{op.name} of many",
        lambda *x: [op(*x[:count]), op(*x[count:])],
        tuple(arrays),
        order=0,
        ulps=ULPS.get(op.name, 24),
    )


def _discrete(op):
    """Integers and bools, alone and beside floats."""
    count = len(op.arguments)
    dtypes = ("bool", "int8", "uint8", "int16", "int32", "int64", "uint64", "float32")
    values = {"bool": bools(5), "float32": singles(5)}
    arrays = [values.get(d, integers(5, low=0 if d[0] == "u" else -3, high=4, dtype=d)) for d in dtypes]
    second = [np.roll(array, 2) for array in arrays]
    third = [np.roll(array, 3) for array in arrays]
    columns = [arrays, second, third][:count]
    if count == 1:
        chosen = [(i,) for i in range(len(dtypes) - 1)]
    else:
        pairs = [(i, i) for i in range(len(dtypes) - 1)] + [
            (1, 2),
            (0, 4),
            (4, 7),
            (2, 5),
            (7, 0),
            (5, 6),
        ]
        chosen = [(*pair, *[pair[1]] * (count - 2)) for pair in pairs]
    chosen = [group for group in chosen if _accepted(op, [dtypes[i] for i in group]) is not None]
    if not chosen:
        return None

    def build(*variables):
        split = [variables[i * len(dtypes) : (i + 1) * len(dtypes)] for i in range(count)]
        return [op(*(split[place][i] for place, i in enumerate(group))) for group in chosen]

    return Sample(
        f"{op.name} of integers",
        build,
        tuple(itertools.chain(*columns)),
        order=0,
        smooth=False,
        ulps=ULPS.get(op.name, 24),
    )


def _special(op):
    """Every pair of special values."""
    count = len(op.arguments)
    if _accepted(op, ["float64"] * count) is None:
        return None
    grids = np.meshgrid(*[SPECIAL] * min(count, 2), indexing="ij")
    arrays = tuple(np.ascontiguousarray(each) for each in (*grids, grids[0])[:count])
    return Sample(
        f"{op.name} of special values",
        lambda *x: [op(*x)],
        arrays,
        order=0,
        smooth=False,
        ulps=ULPS.get(op.name, 24),
    )


SAMPLES = [made(op) for op in ROWS.values() for made in (_row, _long, _discrete, _special)]
SAMPLES = [sample for sample in SAMPLES if sample is not None]

DTYPES = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)
_WHOLE = np.array([0, 1, 2, 3, 100, 127], "int8")
SAMPLES += [
    Sample(
        f"cast from {dtype}",
        lambda x: [T.cast(x, other) for other in DTYPES if other != x.dtype],
        (_WHOLE.astype(dtype) if dtype != "bool" else bools(6),),
        smooth=False,
        order=0,
    )
    for dtype in DTYPES
]
SAMPLES += [
    Sample(
        "cast of negative and large integers",
        lambda x: [T.cast(x, d) for d in DTYPES[:-2]],
        (np.array([-1, -128, 255, 2**31, -(2**40), 2**62]),),
        order=0,
        smooth=False,
    ),
    Sample(
        "cast of fractions",
        lambda x: [T.cast(x, d) for d in ("bool", "int8", "int32", "int64")],
        (np.array([-2.7, -0.5, -0.0, 0.4, 2.9]),),
        order=0,
        smooth=False,
    ),
    Sample(
        "cast between floats",
        lambda x, y: [T.cast(x, "float32") * 3, T.cast(y, "float64") * 3],
        (floats(4), singles(4)),
        ulps=64,
        smooth=False,
    ),
    Sample(
        "cast of NaN and infinity",
        lambda x: [T.cast(x, "float32"), T.cast(x, "bool")],
        (SPECIAL,),
        order=0,
        smooth=False,
    ),
    Sample("grad_clip", lambda x: T.sqr(grad_clip(x, -0.5, 0.5)), (floats(3, 4),), smooth=False),
    Sample("grad_scale", lambda x: T.sqr(grad_scale(x, 3.0)), (floats(3, 4),), smooth=False),
    Sample(
        "integers that wrap",
        lambda x, y: [x + y, x * y, x - y, -x, T.sqr(x), abs(x)],
        (np.array([127, -128, 100], "int8"), np.array([1, -1, 100], "int8")),
        order=0,
        smooth=False,
    ),
    Sample(
        "integers to integer powers",
        lambda x, y: [x**y, x**2, x**0],
        (integers(8), integers(8, low=0, high=6)),
        order=0,
        smooth=False,
    ),
    Sample(
        "division by zero of integers",
        lambda x, y: [x // y, x % y, x / y],
        (integers(6), np.array([0, 1, -1, 2, -3, 0])),
        order=0,
        smooth=False,
    ),
    Sample("no entries", lambda x, y: [x + y, T.exp(x) * y], (np.zeros((0, 4)), np.zeros((0, 4)))),
    Sample(
        "a long chain",
        lambda x: T.tanh(T.exp(-T.sqr(x)) + T.nnet.sigmoid(x) * T.log1p(T.sqr(x))),
        (floats(7, 9),),
        ulps=64,
    ),
    Sample("float32 beside float64", lambda x, y: x * y + x, (singles(3, 4), floats(3, 4)), ulps=64),
    Sample(
        "ties of maximum, minimum, clip and abs",
        lambda x, y: [T.maximum(x, y), T.minimum(x, y), T.clip(x, y, 1.0), abs(x - y)],
        (np.array([0.0, 1.0, -1.0, 2.0]), np.array([0.0, 1.0, 1.0, -2.0])),
        smooth=False,
    ),
]
