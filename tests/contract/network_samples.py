"""What networks are made of: convolutions, pooling, softmax and losses, random draws."""

import numpy as np

import symnet.tensor as T
from symnet.ops.random import Permutation, draw

from .sample import Sample, floats, integers, singles

_IMAGES, _FILTERS = floats(2, 2, 6, 5), floats(3, 2, 3, 2)
_STATE = np.array([42, 3, 7])


def _convolution(name, **settings):
    return Sample(
        f"conv2d, {name}",
        lambda x, f: T.nnet.conv2d(x, f, **settings),
        (_IMAGES, _FILTERS),
        ulps=256,
    )


def _pooling(name, shape=(2, 2, 6, 5), **settings):
    return Sample(
        f"pool_2d, {name}",
        lambda x: T.signal.pool.pool_2d(x, **settings),
        (floats(*shape),),
        ulps=64,
    )


SAMPLES = [
    _convolution("valid"),
    _convolution("full", border_mode="full"),
    _convolution("half, not flipped", border_mode="half", filter_flip=False),
    _convolution("padded, with steps", border_mode=((1, 0), (0, 2)), subsample=(2, 2)),
    _convolution("dilated", filter_dilation=(2, 1)),
    Sample(
        "conv2d in groups",
        lambda x, f: T.nnet.conv2d(x, f, num_groups=2, border_mode=1),
        (floats(2, 4, 5, 4), floats(6, 2, 3, 3)),
        ulps=256,
    ),
    Sample(
        "conv2d of float32",
        lambda x, f, b: T.nnet.relu(T.nnet.conv2d(x, f) + b.dimshuffle("x", 0, "x", "x")),
        (singles(2, 3, 8, 8), singles(4, 3, 3, 3), singles(4)),
        smooth=False,
        ulps=256,
    ),
    Sample(
        "conv2d of integers",
        lambda x, f: T.nnet.conv2d(x, f),
        (integers(1, 2, 5, 5, dtype="int32"), integers(2, 2, 2, 2, dtype="int32")),
        order=0,
    ),
    Sample(
        "conv2d of other images than it read",
        lambda x, f: T.nnet.conv2d(x[:, ::-1, 1:].dimshuffle(0, 1, 3, 2), f),
        (floats(2, 2, 6, 7), _FILTERS),
        ulps=256,
    ),
    _pooling("max", ws=(2, 2), ignore_border=True),
    _pooling("max, overlapping and cut off", ws=(3, 2), stride=(1, 2), ignore_border=False),
    _pooling("max, padded", ws=(3, 3), stride=(2, 2), pad=(1, 1), ignore_border=True),
    _pooling("sum", ws=(2, 3), ignore_border=False, mode="sum"),
    _pooling("average", ws=(2, 2), pad=(1, 0), ignore_border=True, mode="average_inc_pad"),
    _pooling(
        "average without padding",
        shape=(5, 6),
        ws=(3, 2),
        stride=(2, 1),
        pad=(1, 1),
        ignore_border=True,
        mode="average_exc_pad",
    ),
    Sample(
        "max pooling of ties",
        lambda x: T.signal.pool.pool_2d(x, (2, 2), ignore_border=True),
        (np.round(floats(1, 2, 6, 6)),),
        smooth=False,
    ),
    Sample(
        "pooling of integers",
        lambda x: [
            T.signal.pool.pool_2d(x, (2, 2), ignore_border=True),
            T.signal.pool.pool_2d(x, (2, 2), ignore_border=True, mode="average_inc_pad"),
        ],
        (integers(3, 4, 6),),
        order=0,
    ),
    Sample(
        "conv, bias, pool and tanh",
        lambda x, f, b: T.tanh(
            T.signal.pool.pool_2d(
                T.nnet.conv2d(x, f) + b.dimshuffle("x", 0, "x", "x"), (2, 2), ignore_border=True
            )
        ),
        (_IMAGES, _FILTERS, floats(3)),
        ulps=1024,
    ),
    Sample(
        "softmax",
        lambda x, v: [T.nnet.softmax(x), T.nnet.softmax(v), T.nnet.softmax(x * 3 + v)],
        (floats(4, 5), floats(5)),
        ulps=64,
    ),
    Sample(
        "softmax far from zero",
        lambda x: [T.nnet.softmax(x), T.nnet.logsoftmax(x)],
        (np.array([[1000.0, 0, -1000], [-1000, -1000, -1000], [3, 1000, 1000]]),),
        ulps=64,
        order=1,
    ),
    Sample(
        "softmax of infinity and NaN",
        lambda x: [T.nnet.softmax(x), T.nnet.logsoftmax(x)],
        (np.array([[np.inf, 0, 1], [-np.inf, -np.inf, -np.inf], [np.nan, 0, 1], [-np.inf, 0, 1]]),),
        order=0,
        smooth=False,
    ),
    Sample("logsoftmax", lambda x: T.nnet.logsoftmax(x), (floats(4, 5),), ulps=64),
    Sample(
        "softmax of float32",
        lambda x: [T.nnet.softmax(x), T.nnet.logsoftmax(x)],
        (singles(6, 10),),
        ulps=128,
        smooth=False,
    ),
    Sample("softmax of no rows", lambda x: T.nnet.softmax(x), (np.zeros((0, 4)),), smooth=False),
    Sample(
        "log-likelihood",
        lambda x, y: -T.mean(T.log(T.nnet.softmax(x))[T.arange(y.shape[0]), y]),
        (floats(6, 5), integers(6, low=0, high=5)),
        ulps=128,
    ),
    Sample(
        "categorical crossentropy",
        lambda x, y, t: [
            T.nnet.categorical_crossentropy(T.nnet.softmax(x), y),
            T.nnet.categorical_crossentropy(T.nnet.softmax(x), t),
        ],
        (floats(4, 5), integers(4, low=0, high=5), floats(4, 5, low=0, high=1)),
        ulps=128,
    ),
    Sample(
        "binary crossentropy",
        lambda x, t: T.nnet.binary_crossentropy(T.nnet.sigmoid(x), t),
        (floats(4, 5), floats(4, 5, low=0, high=1)),
        ulps=256,
    ),
    Sample(
        "activations",
        lambda x: [
            T.nnet.relu(x),
            T.nnet.relu(x, 0.1),
            T.nnet.elu(x),
            T.nnet.softplus(x),
            T.nnet.hard_sigmoid(x * 0.5),
        ],
        (floats(5, 6),),
        ulps=64,
    ),
    Sample(
        "uniform and normal draws",
        lambda s, n: [
            draw(kind, s, [n, 5], 2, dtype)
            for kind in ("uniform", "normal")
            for dtype in ("float32", "float64")
        ],
        (_STATE, np.array(3)),
        order=0,
        ulps=16,
    ),
    Sample(
        "binomial draws and integers",
        lambda s, p: [
            draw("binomial", s, [4, 6], 2, "int64", 1, p),
            draw("binomial", s, [4, 6], 2, "float32", 5, 0.3),
            draw("random_integers", s, [9], 1, "int32", -3, 12),
        ],
        (_STATE, np.array(0.4)),
        order=0,
    ),
    Sample(
        "permutations",
        lambda s, n: [Permutation(1)(s, [3], n), Permutation(0)(s, np.zeros(0, "int64"), 6)],
        (_STATE, np.array(7)),
        order=0,
    ),
    Sample(
        "dropout",
        lambda x, s: x * draw("binomial", s, [x.shape[0], x.shape[1]], 2, "float64", 1, 0.5),
        (floats(5, 6), _STATE),
    ),
    Sample(
        "a network's cost",
        lambda x, w, b, y: T.mean(
            T.nnet.categorical_crossentropy(T.nnet.softmax(T.dot(T.nnet.sigmoid(x), w) + b), y)
        ),
        (floats(6, 5), floats(5, 4), floats(4), integers(6, low=0, high=4)),
        ulps=1024,
    ),
]
