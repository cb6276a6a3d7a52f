"""Reductions over axes, ties, NaN, zeros, empty axes, and every dtype."""

import numpy as np

import symnet.tensor as T

from .sample import Sample, bools, floats, integers, singles

_CUBE = floats(3, 4, 5)
_AXES = (None, 0, 1, 2, (0, 2), (1, 2), (0, 1, 2), -1)
_TIES = np.array([[1.0, 3.0, 3.0], [-2.0, -2.0, -2.0], [0.0, -0.0, 0.0]])
_SPECIAL = np.array(
    [
        [1.0, np.nan, 2.0],
        [np.inf, 1.0, 3.0],
        [-np.inf, np.inf, 0.0],
        [-0.0, -0.0, -0.0],
        [np.nan, np.nan, 1.0],
    ]
)
_DTYPES = ("bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")


def _all_axes(name):
    function = getattr(T, name)
    return Sample(
        f"{name} over axes",
        lambda x: [function(x, axis=axis) for axis in _AXES],
        (floats(3, 4, 5, low=0.5, high=1.5),),
        ulps=64,
    )


SAMPLES = [_all_axes(name) for name in ("sum", "mean", "prod", "var", "std", "max", "min")]
SAMPLES += [
    Sample(
        f"{name} with keepdims",
        lambda x, f=name: getattr(T, f)(x, axis=(0, 2), keepdims=True) * x,
        (_CUBE,),
        ulps=64,
    )
    for name in ("sum", "max", "prod")
]
SAMPLES += [
    Sample(
        f"{name} of float32",
        lambda x, f=name: [getattr(T, f)(x), getattr(T, f)(x, axis=0), getattr(T, f)(x, axis=1)],
        (singles(33, 20, low=0.8, high=1.2),),
        ulps=256,
        order=1,
        smooth=False,
    )
    for name in ("sum", "prod", "mean", "max", "var")
]
SAMPLES += [
    Sample(
        f"{name} at ties",
        lambda x, f=name: [getattr(T, f)(x), getattr(T, f)(x, axis=0), getattr(T, f)(x, axis=1)],
        (_TIES,),
        smooth=False,
    )
    for name in ("max", "min")
]
SAMPLES += [
    Sample(
        f"{name} of NaN and infinity",
        lambda x, f=name: [getattr(T, f)(x), getattr(T, f)(x, axis=0), getattr(T, f)(x, axis=1)],
        (_SPECIAL,),
        order=0,
        smooth=False,
    )
    for name in ("sum", "prod", "max", "min", "mean", "any", "all")
]
SAMPLES += [
    Sample(
        f"{name} of integers and bools",
        lambda *x, f=name: [getattr(T, f)(each, axis=1) for each in x] + [getattr(T, f)(each) for each in x],
        tuple(
            bools(3, 4) if d == "bool" else integers(3, 4, low=0 if d[0] == "u" else -3, high=4, dtype=d)
            for d in _DTYPES
        ),
        order=0,
        smooth=False,
    )
    for name in ("sum", "prod", "max", "min", "any", "all", "mean")
]
SAMPLES += [
    Sample(
        f"{name} over axes",
        lambda x, y, z, f=name: [getattr(T, f)(v, axis=axis) for v in (x, y, z) for axis in (None, 0, 1)],
        (floats(4, 6), _SPECIAL, integers(3, 7, high=3)),
        order=0,
        smooth=False,
    )
    for name in ("argmax", "argmin")
]
SAMPLES += [
    Sample(
        "argmax over several axes",
        lambda x: [T.argmax(x, axis=(0, 2)), T.argmin(x, axis=(1, 2), keepdims=True)],
        (_CUBE,),
        order=0,
        smooth=False,
    ),
    Sample(
        "argmax of bools and bytes",
        lambda x, y: [T.argmax(x, axis=0), T.argmin(y, axis=1)],
        (bools(4, 3), integers(3, 5, low=0, dtype="uint8")),
        order=0,
        smooth=False,
    ),
    Sample(
        "prod with zeros",
        lambda x: [T.prod(x), T.prod(x, axis=0), T.prod(x, axis=1)],
        (np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [2.0, 5.0, -1.0]]),),
        order=1,
    ),
    Sample(
        "sums of no entries",
        lambda x, y: [
            T.sum(x),
            T.sum(x, axis=0),
            T.sum(x, axis=1),
            T.prod(y, axis=1),
            T.all(y, axis=1),
            T.any(x),
        ],
        (np.zeros((0, 3)), np.zeros((2, 0))),
        smooth=False,
    ),
    Sample(
        "reductions along axes of length 1",
        lambda x: [T.sum(x, axis=0), T.max(x, axis=1), T.mean(x, axis=2)],
        (floats(1, 4, 1),),
    ),
    Sample(
        "reduction of a transposed and of a sliced tensor",
        lambda x: [
            T.sum(x.T, axis=0),
            T.max(x[::2, ::-1], axis=1),
            T.sum(x.dimshuffle(1, "x", 0), axis=0),
        ],
        (floats(6, 5),),
    ),
    Sample(
        "reduction of an expression",
        lambda x, y: [T.sum(x * y, axis=0), T.max(x + y.T, axis=1), T.sum(T.exp(x), axis=(0, 1))],
        (floats(5, 5), floats(5, 5, low=-1)),
        ulps=64,
    ),
    Sample(
        "reduction of a reduction",
        lambda x: [T.max(T.sum(x, axis=1)), T.sum(T.max(x, axis=0) * T.min(x, axis=0))],
        (_CUBE,),
        ulps=64,
    ),
    Sample("a long sum", lambda x: [T.sum(x), T.sum(T.sqr(x)), T.mean(x)], (floats(5000),), ulps=256),
    Sample(
        "norms",
        lambda x: [x.norm(1), x.norm(2), x.norm(3, axis=0)],
        (floats(4, 5, low=0.2),),
        ulps=64,
    ),
    Sample(
        "cost of a layer",
        lambda x, w, b: T.mean(T.sqr(T.nnet.sigmoid(T.dot(x, w) + b))),
        (floats(6, 5), floats(5, 4), floats(4)),
        ulps=128,
    ),
]
