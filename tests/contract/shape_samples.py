"""Axes rearranged, lengths asked for, tensors made from lengths, joined and repeated."""

import numpy as np

import symnet.tensor as T
from symnet.ops.effects import Assert, Print

from .sample import Sample, bools, floats, integers, singles

_MATRIX = floats(4, 6)
_CUBE = floats(2, 3, 4)

SAMPLES = [
    Sample(
        "dimshuffle",
        lambda x: [
            x.dimshuffle(2, 0, 1),
            x.dimshuffle("x", 1, "x", 0, 2),
            x.T,
            x.transpose(0, 2, 1),
        ],
        (_CUBE,),
    ),
    Sample(
        "dimshuffle that drops axes",
        lambda x, y: [x.dimshuffle(1) * y, x.dimshuffle(1, "x"), T.sum(x.dimshuffle(1))],
        (floats(1, 5), floats(5)),
        types={0: (1, None)},
    ),
    Sample("scalars with axes", lambda x: [x.dimshuffle("x"), x.dimshuffle("x", "x") * 2], (floats(),)),
    Sample(
        "reshape",
        lambda x: [
            x.reshape((6, 4)),
            x.reshape((-1, 2, 2)),
            x.reshape((x.shape[1], -1)),
            x.flatten(),
            x.reshape((1, 24, 1)),
        ],
        (_MATRIX,),
    ),
    Sample(
        "reshape of views",
        lambda x: [
            x.T.reshape((3, 8)),
            x[::2].flatten(),
            x[:, 1:4].reshape((-1,)),
            x[:2].reshape((-1, 3)),
        ],
        (_MATRIX,),
    ),
    Sample(
        "reshape of an expression",
        lambda x: [T.exp(x).reshape((3, 8)), T.sum(T.sqr(x).reshape((2, 12)), axis=0)],
        (_MATRIX,),
        ulps=64,
    ),
    Sample(
        "reshape by an integer vector",
        lambda x, n: x.reshape(n, ndim=2),
        (_MATRIX, np.array([3, -1])),
        smooth=True,
    ),
    Sample(
        "reshape of no entries",
        lambda x: [x.reshape((2, 0)), x.flatten()],
        (np.zeros((0, 3)),),
        smooth=False,
    ),
    Sample("flatten some axes", lambda x: [x.flatten(2), x.flatten(1), x.flatten(3)], (_CUBE,)),
    Sample(
        "shapes as values",
        lambda x: [
            x.shape,
            x.shape[0] * x.shape[1],
            x.size,
            x * T.cast(x.shape[0], "float64"),
            T.stack([x.shape[1], x.shape[0]]),
        ],
        (_MATRIX,),
    ),
    Sample(
        "lengths in arithmetic",
        lambda x: [
            T.arange(x.shape[0]) * x.shape[1],
            T.sum(x, axis=0) / x.shape[0],
            T.prod(x.shape),
        ],
        (_MATRIX,),
    ),
    Sample(
        "specify_shape",
        lambda x: [T.specify_shape(x, (4, 6)) * 2, T.specify_shape(x, (None, 6)).T],
        (_MATRIX,),
    ),
    Sample(
        "addbroadcast and unbroadcast",
        lambda x, y: [
            T.addbroadcast(x, 0) * y,
            T.unbroadcast(T.addbroadcast(x, 0), 0) + x,
            T.patternbroadcast(x, (True, False)) + y,
        ],
        (floats(1, 6), _MATRIX),
    ),
    Sample(
        "broadcasting of every kind",
        lambda x, y, z, s: [
            x + y,
            x * z,
            y * z,
            s * x,
            x.dimshuffle(0, 1, "x") + y.dimshuffle("x", "x", 1),
        ],
        (_MATRIX, floats(1, 6), floats(4, 1), floats()),
        types={1: (1, None), 2: (None, 1)},
    ),
    Sample(
        "a vector of scalars",
        lambda x, y: [T.stack([x, y, x * y]), T.as_tensor_variable([x, 2.0, y])],
        (floats(), floats(low=1)),
    ),
    Sample(
        "alloc",
        lambda x, v, n: [
            T.alloc(x, 3, 4),
            T.alloc(v, n, 2, v.shape[0]),
            T.alloc(v.dimshuffle(0, "x"), v.shape[0], n),
            T.zeros((n, 2)) + x,
            T.ones((2, 3)) * x,
        ],
        (floats(), floats(5), np.array(3)),
    ),
    Sample(
        "zeros_like and ones_like",
        lambda x, i: [
            T.zeros_like(x) + x,
            T.ones_like(x) * x,
            T.zeros_like(i),
            T.ones_like(i, dtype="float32"),
        ],
        (_MATRIX, integers(3)),
        ulps=64,
    ),
    Sample("fill of a matrix", lambda x, y: [T.fill(x, y), T.fill(x, 3.0)], (_MATRIX, floats())),
    Sample(
        "arange of integers",
        lambda n, m, s: [
            T.arange(n),
            T.arange(m, n),
            T.arange(m, n, 2),
            T.arange(n, m, -3),
            T.arange(m, n, s),
            T.arange(0),
            T.arange(3, 9, 2),
        ],
        (np.array(7), np.array(-2), np.array(3)),
        order=0,
    ),
    Sample(
        "arange in narrow dtypes",
        lambda n: [
            T.arange(n),
            T.arange(n, dtype="int32"),
            T.arange(n, dtype="float32"),
            T.arange(2, 8, 3, dtype="uint8"),
        ],
        (np.array(5, "int32"),),
        order=0,
    ),
    Sample(
        "arange of floats",
        lambda x: [
            T.arange(0.0, 1.0, 0.1),
            T.arange(5.0),
            T.arange(1, 0, -0.25),
            T.arange(x),
            T.arange(0.2, x, 0.3),
            T.arange(x, 9),
        ],
        (np.array(3.7),),
    ),
    Sample(
        "eye",
        lambda n, m, k: [
            T.eye(n),
            T.eye(n, m),
            T.eye(n, m, k),
            T.eye(4, 3, -1),
            T.eye(3, dtype="int32"),
            T.eye(2, dtype="bool"),
        ],
        (np.array(4), np.array(3), np.array(1)),
        order=0,
    ),
    Sample(
        "concatenate",
        lambda x, y: [
            T.concatenate([x, y]),
            T.concatenate([x, x * 2, x], axis=1),
            T.concatenate([x.T, y.T], axis=1),
        ],
        (_MATRIX, floats(2, 6)),
    ),
    Sample(
        "concatenate of expressions and views",
        lambda x: [
            T.concatenate([T.exp(x)[:, :2], x[:, ::-1]], axis=1),
            T.concatenate([T.sum(x, axis=0), x[0], x[:, 0]]),
        ],
        (_MATRIX,),
        ulps=64,
    ),
    Sample(
        "concatenate of several dtypes",
        lambda x, y, z: [T.concatenate([x, y]), T.concatenate([y, z])],
        (floats(3), integers(2, dtype="int32"), bools(4)),
        order=1,
    ),
    Sample(
        "concatenate of nothing and something",
        lambda x, y: T.concatenate([x, y], axis=0),
        (np.zeros((0, 3)), floats(2, 3)),
    ),
    Sample(
        "stack",
        lambda x, y: [T.stack([x, y]), T.stack([x, y, x], axis=1), T.stack([x, y], axis=-1)],
        (_MATRIX, floats(4, 6, low=0)),
    ),
    Sample(
        "tile",
        lambda x, v: [T.tile(x, (2, 3)), T.tile(v, 2), T.tile(v, (2, 2)), T.tile(x, (1, 1))],
        (floats(2, 3), floats(4)),
    ),
    Sample("tile by variables", lambda x, n: T.tile(x, (n, 1)), (floats(2, 3), np.array(3))),
    Sample(
        "repeat",
        lambda x, n: [
            T.repeat(x, 2, axis=0),
            T.repeat(x, 3, axis=1),
            T.repeat(x, 2),
            T.repeat(x, n, axis=0),
        ],
        (floats(3, 4), np.array(2)),
    ),
    Sample(
        "repeat by counts",
        lambda x, n: [T.repeat(x, n, axis=0), T.repeat(x, [1, 0, 2], axis=0)],
        (floats(3, 4), np.array([2, 0, 3])),
    ),
    Sample(
        "float32 through all of it",
        lambda x: T.concatenate([x.T.reshape((2, 12)), T.tile(x, (1, 2))[:2]], axis=1),
        (singles(4, 6),),
        smooth=False,
    ),
    Sample(
        "asserted and printed",
        lambda x: Print("x")(Assert("positive")(T.exp(x), T.exp(x) > 0, x.shape[0] > 1)),
        (floats(3, 4),),
    ),
]
