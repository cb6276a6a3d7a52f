"""Indexing: basic, symbolic, by arrays and masks, and what assigns to the parts."""

import numpy as np

import symnet.tensor as T

from .sample import Sample, bools, floats, integers, singles

_MATRIX = floats(5, 6)
_CUBE = floats(3, 4, 5)
_I, _J = np.array(2), np.array(-3)


def _parts(x):
    """Basic indices of a matrix, one of each kind."""
    return [
        x[1], x[-1], x[1, -2], x[1:4], x[::2], x[::-1], x[-1:0:-2], x[:, 2], x[:, ::-2], x[1:3, 2:-1],
        x[4:1], x[10:], x[:-10], x[None, 1:], x[..., 0], x[-4:-1, None, ::3], x[3:0:-1, 5:1:-3],
    ]  # fmt: skip


def _changed(x, y):
    """Assignments to basic parts."""
    return [
        T.set_subtensor(x[1], y[0]), T.inc_subtensor(x[1:4], y[1:4]), T.set_subtensor(x[::2], 0.0),
        T.inc_subtensor(x[::-1], y), T.set_subtensor(x[:, 1:3], y[:, 3:5]), T.inc_subtensor(x[2, 3], 5.0),
        T.set_subtensor(x[-1:0:-2, ::3], y[:2, :2]), T.inc_subtensor(x[4:1], 1.0), T.set_subtensor(x[:], y),
    ]  # fmt: skip


SAMPLES = [
    Sample("basic indices", _parts, (_MATRIX,)),
    Sample(
        "basic indices of a tensor3",
        lambda x: [x[1], x[:, -1], x[..., 2], x[0, :, ::2], x[::-1, 1:, -1], x[2, 3, 4]],
        (_CUBE,),
    ),
    Sample(
        "symbolic indices",
        lambda x, i, j: [
            x[i],
            x[j],
            x[i, j],
            x[i:],
            x[:i],
            x[j:i],
            x[i:j],
            x[j:, i:],
            x[i::-1],
            x[j::-2],
            x[i * 1 : (i + 1) * 1],
        ],
        (_MATRIX, _I, _J),
    ),
    Sample(
        "symbolic indices that are clipped",
        lambda x, i: [x[i * 2 : (i + 1) * 2], x[i * 3 : (i + 1) * 3], x[-i * 4 :], x[: i * 100]],
        (_MATRIX, _I),
    ),
    Sample(
        "symbolic indices of narrow dtypes",
        lambda x, i, j: [x[i], x[j:], x[:, i], x[i : i + j]],
        (_MATRIX, np.array(1, "int8"), np.array(3, "int32")),
    ),
    Sample(
        "indices computed from a shape",
        lambda x: [x[x.shape[0] // 2], x[: x.shape[1] - 3], x[T.minimum(x.shape[0], 3) - 1]],
        (_MATRIX,),
    ),
    Sample(
        "an index computed from data",
        lambda x, v: [x[T.argmax(v)], x[: T.argmax(v)], x[T.sum(T.gt(v, 0))]],
        (_MATRIX, np.array([-1.0, 2.0, 0.5, -3.0, -1.0])),
        smooth=False,
    ),
    Sample(
        "index of an expression",
        lambda x: [T.exp(x)[1:3], T.sqr(x)[::-1, 2], T.dot(x, x.T)[1:, 0], T.sum(x, axis=0)[::2]],
        (_MATRIX,),
        ulps=64,
    ),
    Sample(
        "by an integer array",
        lambda x, i: [x[i], x[:, i], x[i, 1:], x[[0, -1, 0]], x[1:, i]],
        (_MATRIX, np.array([0, 3, -1, 3, 2])),
    ),
    Sample(
        "by two integer arrays",
        lambda x, i, j: [x[i, j], x[T.arange(4), j], x[i][:, j], x[i, 2]],
        (_MATRIX, np.array([0, 4, -1, 2]), np.array([1, 1, 0, -6])),
    ),
    Sample(
        "by integer arrays of a tensor3",
        lambda x, i, j: [
            x[i, :, j],
            x[:, i, j],
            x[i, j],
            x[:, 1:, j],
            x[0, i],
            x[i, :, 0],
            x[:, i, 1],
        ],
        (_CUBE, np.array([0, 2, -1]), np.array([1, 0, 3])),
    ),
    Sample(
        "by a matrix of integers",
        lambda x, i: [x[i], x[:, i], x[i, i]],
        (_MATRIX, np.array([[0, 1, -1], [2, 2, 3]])),
    ),
    Sample(
        "by integer arrays that broadcast",
        lambda x, i, j: x[i, j],
        (_MATRIX, np.array([[0], [3]]), np.array([[1, 2, -1]])),
        types={1: (None, 1), 2: (1, None)},
    ),
    Sample(
        "by integer arrays of narrow dtypes",
        lambda x, i, j: [x[i], x[i, j]],
        (_MATRIX, np.array([1, 4], "uint8"), np.array([-1, 2], "int16")),
    ),
    Sample("by an empty array", lambda x, i: [x[i], x[[]]], (_MATRIX, np.zeros(0, "int64"))),
    Sample(
        "by a mask",
        lambda x, m, n: [x[m], x[n], x[:, m.shape[0] - 1], x[x > 0], x[x[:, 0] > 0, 1:]],
        (_MATRIX, bools(5), bools(5, 6)),
        smooth=False,
    ),
    Sample(
        "by a mask of nothing and of all",
        lambda x, m: [x[m], x[~m], T.sum(x[m])],
        (_MATRIX, np.zeros(5, "bool")),
    ),
    Sample(
        "nonzero",
        lambda x, v: [*T.nonzero(x), *T.nonzero(v), T.nonzero(x, return_matrix=True)],
        (integers(4, 5, low=0, high=3), floats(6)),
        order=0,
    ),
    Sample(
        "take",
        lambda x, i: [
            T.take(x, i, axis=0),
            T.take(x, i, axis=1),
            T.take(x, i),
            T.take(x, i * 3, axis=0, mode="clip"),
            T.take(x, i * 3, axis=0, mode="wrap"),
        ],
        (_MATRIX, np.array([1, 0, 4])),
    ),
    Sample("assignments to basic parts", _changed, (_MATRIX, floats(5, 6, low=0))),
    Sample(
        "assignments of what broadcasts",
        lambda x, y, z: [
            T.set_subtensor(x[1:3], y),
            T.inc_subtensor(x[:, 1:3], z),
            T.set_subtensor(x[::2, 1], 3.0),
        ],
        (_MATRIX, floats(6), floats(5, 1)),
        types={2: (None, 1)},
    ),
    Sample(
        "assignments at symbolic parts",
        lambda x, y, i, j: [
            T.set_subtensor(x[i], y),
            T.inc_subtensor(x[j:], y),
            T.inc_subtensor(x[i:j], y),
            T.set_subtensor(x[i, j], 0.0),
        ],
        (_MATRIX, floats(6), _I, _J),
    ),
    Sample(
        "additions at integer arrays",
        lambda x, y, i, j: [
            T.inc_subtensor(x[i], y),
            T.inc_subtensor(x[:, i], y[0, :4]),
            T.inc_subtensor(x[i, j], y[0, :4]),
            T.inc_subtensor(x[i], 1.0),
        ],
        (_MATRIX, floats(4, 6), np.array([0, 3, -2, 3]), np.array([1, 1, 0, 1])),
    ),
    Sample(
        "additions where indices repeat",
        lambda x, y, i: [T.inc_subtensor(x[i], y), T.inc_subtensor(x[i, 2], 1.5)],
        (_MATRIX, floats(4, 6), np.array([3, 3, 3, 0])),
    ),
    Sample(
        "assignments at integer arrays",
        lambda x, y, i: [T.set_subtensor(x[i], y), T.set_subtensor(x[:, i], 2.0)],
        (_MATRIX, floats(3, 6), np.array([0, 4, 2])),
    ),
    Sample(
        "assignments where indices repeat",
        lambda x, y, i: T.set_subtensor(x[i], y),
        (_MATRIX, floats(4, 6), np.array([3, 0, 3, 3])),
        order=0,
        smooth=False,
    ),
    Sample(
        "assignments at masks",
        lambda x, y, m: [
            T.set_subtensor(x[m], 0.0),
            T.inc_subtensor(x[m], 1.0),
            T.set_subtensor(x[x > 1], y[0, 0]),
        ],
        (_MATRIX, floats(5, 6, low=0), bools(5)),
        smooth=False,
        order=1,
    ),
    Sample(
        "assignments inside slices",
        lambda x, i: [
            T.set_subtensor(x[1:][i], 1.0),
            T.inc_subtensor(x[1:, ::2][i], 2.0),
            T.inc_subtensor(x.T[i], 1.0),
        ],
        (_MATRIX, np.array([0, 2])),
    ),
    Sample(
        "assignments of integers",
        lambda x, y: [T.set_subtensor(x[1:3], y), T.inc_subtensor(x[[0, 0, 2]], 7)],
        (integers(5), integers(2, dtype="int8")),
        order=0,
    ),
    Sample(
        "picked log-probabilities",
        lambda p, y: -T.mean(T.log(p)[T.arange(y.shape[0]), y]),
        (floats(4, 5, low=0.1, high=0.9), integers(4, low=0, high=5)),
        ulps=64,
    ),
    Sample(
        "a mini-batch of float32",
        lambda x, i: T.sum(T.sqr(x[i * 2 : (i + 1) * 2]), axis=1),
        (singles(7, 3), np.array(1)),
        smooth=False,
    ),
]
