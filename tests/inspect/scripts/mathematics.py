import numpy as np

import symnet.tensor as T
from symnet.inspect import pp

x, y, v = T.dmatrix("x"), T.dmatrix("y"), T.dvector("v")
i, j = T.lscalar("i"), T.lvector("j")
mask = T.bmatrix("mask")
expressions = [
    x * (y + 1) - 2 / (x - 1),
    x - (y - x),
    x - y - x,
    x / (y * x),
    x * (y / x),
    -(x**2),
    (-x) ** 2,
    2**x**y,
    (2**x) ** y,
    x**-1,
    -(x + y),
    x + (-y),
    x * -2.5,
    T.eq(x, y) * 2,
    (x > 0) & (y > 0) | (x < -1),
    ~(mask > 0),
    T.dot(x, y) + T.dot(x, T.dot(y, x)),
    T.dot(x + y, x.T),
    T.switch(x > 0, x, 0),
    x[1:3, 0],
    x[i, ::-1],
    x[j] + v[None, :],
    x[T.arange(3), j],
    T.set_subtensor(x[1:], 0.0),
    T.inc_subtensor(v[j], 1.5),
    x.sum(axis=0) + x.max(axis=1) + T.argmax(x, axis=1),
    x.mean() + x.mean(axis=1),
    x.shape[0] * 2,
    x.reshape((2, -1)),
    x.dimshuffle(1, "x", 0),
    T.concatenate([x, y], axis=1),
    T.nnet.softmax(x) + T.nnet.sigmoid(x),
    T.cast(x, "float32"),
    x // y + x % 2,
    T.ones((2, 3)) * T.constant(np.array([1.0, 2.0, 3.0])),
    T.matrix() + 1,
]
shown = "".join(pp(each) + "\n" for each in expressions)
