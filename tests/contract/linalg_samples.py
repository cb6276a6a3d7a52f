"""Products of every pair of ranks, of transposed, sliced and computed operands, in every dtype."""

import numpy as np

import symnet.tensor as T

from .sample import Sample, bools, floats, integers, singles

_A, _B, _V = floats(4, 6), floats(6, 5), floats(6)

SAMPLES = [
    Sample(
        "dot of every rank",
        lambda a, b, v: [
            T.dot(a, b),
            T.dot(a, v),
            T.dot(v, b),
            T.dot(v, v),
            T.dot(a, 2.0),
            T.dot(3.0, v),
        ],
        (_A, _B, _V),
        ulps=64,
    ),
    Sample(
        "dot of more axes",
        lambda a, b, v: [T.dot(a, b), T.dot(a, v), T.dot(b.T, a.dimshuffle(0, 2, 1))],
        (floats(2, 3, 6), _B, _V),
        ulps=64,
    ),
    Sample(
        "dot of transposed operands",
        lambda a, b: [T.dot(a.T, b), T.dot(b.T, a), T.dot(a.T, b).T, T.dot(a, a.T)],
        (floats(6, 4), _B),
        ulps=64,
    ),
    Sample(
        "dot of sliced operands",
        lambda a, b, v: [
            T.dot(a[::2], b),
            T.dot(a[:, ::-1], b),
            T.dot(a[1:, 1:4], b[2:5, ::2]),
            T.dot(a[:, 0], a[:, 1]),
            T.dot(b[::-1].T, v[::-1]),
        ],
        (_A, _B, _V),
        ulps=64,
    ),
    Sample(
        "dot of expressions",
        lambda a, b: [
            T.dot(T.exp(a), b),
            T.tanh(T.dot(a, b)),
            T.dot(T.dot(a, b), b.T),
            T.dot(a * 2, T.sqr(b)) + 1,
        ],
        (_A, _B),
        ulps=256,
    ),
    Sample(
        "dot with broadcast axes",
        lambda r, c, a: [T.dot(r, a), T.dot(c, r), T.dot(a, c)],
        (floats(1, 6), floats(6, 1), floats(6, 6)),
        types={0: (1, None), 1: (None, 1)},
        ulps=64,
    ),
    Sample(
        "dot of nothing",
        lambda a, v: [T.dot(a, a.T), T.dot(a.T, a), T.dot(v, v)],
        (np.zeros((3, 0)), np.zeros(0)),
        smooth=False,
    ),
    Sample(
        "dot of float32",
        lambda a, b, v: [T.dot(a, b), T.dot(a, v), T.dot(a.T, a)],
        (singles(17, 33), singles(33, 9), singles(33)),
        ulps=256,
        smooth=False,
    ),
    Sample(
        "dot of mixed dtypes",
        lambda a, b, i: [T.dot(a, b), T.dot(i, b), T.dot(i, i.T)],
        (singles(4, 6), _B, integers(3, 6, dtype="int8")),
        ulps=64,
        smooth=False,
        order=1,
    ),
    Sample(
        "dot of integers and bools",
        lambda i, j, p, q, u: [T.dot(i, j), T.dot(p, q), T.dot(u, u.T)],
        (
            integers(3, 4),
            integers(4, 2, dtype="int32"),
            bools(3, 4),
            bools(4, 2),
            integers(3, 3, low=0, high=100, dtype="uint8"),
        ),
        order=0,
    ),
    Sample(
        "large products",
        lambda a, b: [T.dot(a, b), T.dot(b.T, a.T)],
        (floats(70, 65), floats(65, 40)),
        ulps=512,
        order=1,
    ),
    Sample(
        "NaN and infinity in products",
        lambda a, b: T.dot(a, b),
        (
            np.array([[1.0, np.nan], [np.inf, 1.0], [0.0, 2.0]]),
            np.array([[1.0, 0.0], [2.0, np.inf]]),
        ),
        order=0,
    ),
    Sample(
        "batched_dot",
        lambda a, b: [T.batched_dot(a, b), T.batched_dot(a, b[:, :, 0])],
        (floats(3, 2, 4), floats(3, 4, 5)),
        ulps=64,
    ),
    Sample(
        "tensordot",
        lambda a, b: [
            T.tensordot(a, b, axes=1),
            T.tensordot(a, b, axes=[[1], [0]]),
            T.tensordot(a, a, axes=[[0, 1], [0, 1]]),
        ],
        (floats(3, 4), floats(4, 2)),
        ulps=64,
    ),
    Sample("outer", lambda a, b: T.outer(a, b), (floats(3), floats(4))),
    Sample(
        "a layer",
        lambda x, w, b: T.nnet.sigmoid(T.dot(x, w) + b),
        (floats(5, 6), floats(6, 4), floats(4)),
        ulps=128,
    ),
]
