"""Twenty functions to look at: for each its name, its parts, and arguments for a call."""

import numpy as np

import symnet
import symnet.tensor as T


def made():
    """(name, function, arguments) of each, compiled anew."""
    x, y = T.dmatrix("x"), T.dmatrix("y")
    v, n, k = T.dvector("v"), T.lscalar("n"), T.lvector("k")
    images = T.TensorType("float64", (None, None, None, None))("images")
    filters = symnet.shared(np.ones((2, 1, 3, 3)), name="filters")
    w = symnet.shared(np.ones((3, 3)), name="w")
    cost = T.sum((T.dot(x, w) - y) ** 2)
    a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    c, vector = np.ones((3, 2)), np.array([1.0, 2.0, 3.0])
    square = np.ones((2, 3))
    return [
        ("sum", symnet.function([x, y], x + y), (a, b)),
        ("chain", symnet.function([x], T.tanh(T.exp(x) * 2)), (a,)),
        ("shared twice", symnet.function([x], [x * 2, x * 2 + 1]), (a,)),
        ("total", symnet.function([x], T.sum(x)), (a,)),
        ("row sums", symnet.function([x], x.sum(axis=1)), (a,)),
        ("product", symnet.function([x, y], T.dot(x, y)), (a, c)),
        ("turned", symnet.function([x], x.T), (a,)),
        ("part", symnet.function([x, n], x[n]), (a, 1)),
        ("gather", symnet.function([v, k], v[k]), (vector, [0, 2])),
        ("softmax", symnet.function([x], T.nnet.softmax(x)), (a,)),
        ("log", symnet.function([x], T.log(T.nnet.softmax(x))), (a,)),
        ("switch", symnet.function([x], T.switch(x > 0, x, 0)), (a,)),
        ("arange", symnet.function([n], T.arange(n) * 2), (4,)),
        ("concatenate", symnet.function([x, y], T.concatenate([x, y])), (a, b)),
        ("input itself", symnet.function([x], x), (a,)),
        ("constant", symnet.function([], T.constant(2.5)), ()),
        ("conv", symnet.function([images], T.nnet.conv2d(images, filters)), (np.ones((1, 1, 5, 5)),)),
        ("step", symnet.function([x, y], cost, updates=[(w, w - 0.1 * T.grad(cost, w))]), (square, square)),
        ("given", symnet.function([v], T.sum(x), givens={x: v.dimshuffle("x", 0)}), (vector,)),
        ("dict", symnet.function([v], {"max": T.max(v), "mean": T.mean(v)}, name="both"), (vector,)),
    ]
