"""How the systems that speak Theano's terms do the workloads: takes a workload's inputs and a `Terms`, hands
on what is compiled. symnet, Theano and PyTensor say in their own modules what they call things.
"""

import time

import numpy as np
from workloads import graphs, kernels


class Terms:
    """What a system calls what the workloads need.

    library, tensor
        The modules with function, shared and grad; and with dot, exp and their like.
    variable
        A function from a name and an array to a symbolic variable of its dtype and rank, with the
        axes of length 1 broadcast.
    grad
        As theano.grad, with known_grads.
    functions
        By name: "softmax", "sigmoid", "conv2d", "pool_2d", those that it has.
    modes
        By name, the modes to compile with, of which the fastest is reported. The first is the usual one.
    """

    def __init__(self, library, tensor, variable, functions, modes):
        self.library, self.tensor = library, tensor
        self.variable, self.functions = variable, functions
        self.modes = modes

    def shared(self, shape):
        """A shared variable of zeros."""
        return self.library.shared(np.zeros(shape, np.float32))

    def gradient(self, result, wrt, of_result):
        """The gradient by `wrt`, given that by `result`."""
        return self.library.grad(None, wrt, known_grads={result: of_result})


def kernel(terms, kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    arrays = inputs["arrays"]
    given = {name: terms.variable(name, array) for name, array in arrays.items()}
    wanted = KERNELS[kind](terms, given, inputs)
    forms = {}
    for name, mode in terms.modes.items():
        compiled = terms.library.function(list(given.values()), wanted, mode=mode)
        forms[name] = _called(compiled, list(arrays.values()))
    return forms


def _called(compiled, arguments):
    return lambda: compiled(*arguments)


def dot(terms, given, inputs):
    a, b = given["a"], given["b"]
    a = a if inputs["form"][0] == "n" else a.T
    return terms.tensor.dot(a, b if inputs["form"][1] == "n" else b.T)


def convolution(terms, given, inputs):
    images_shape, filters_shape = inputs["images_shape"], inputs["filters_shape"]
    images = given.get("images") or terms.shared(images_shape)
    filters = given.get("filters") or terms.shared(filters_shape)
    pad, stride = (inputs["pad"],) * 2, (inputs["stride"],) * 2
    result = terms.functions["conv2d"](
        images,
        filters,
        input_shape=images_shape,
        filter_shape=filters_shape,
        border_mode=pad,
        subsample=stride,
    )
    if inputs["direction"] == "forward":
        return result
    wrt = filters if inputs["direction"] == "by_filters" else images
    return terms.gradient(result, wrt, given["gradient"])


def pooling(terms, given, inputs):
    window, stride = (inputs["window"],) * 2, (inputs["stride"],) * 2
    images = given["images"]
    result = terms.functions["pool_2d"](images, window, stride=stride, ignore_border=True)
    if inputs["direction"] == "forward":
        return result
    return [result, terms.gradient(result, images, given["gradient"])]


def chain(terms, given, inputs):
    return kernels.chained(terms.tensor.maximum, inputs["steps"], **given)


def function(terms, given, inputs):
    name = inputs["function"]
    return (terms.functions.get(name) or getattr(terms.tensor, name))(given["x"])


def reduction(terms, given, inputs):
    return getattr(terms.tensor, inputs["reduction"])(given["x"], axis=inputs["axis"])


def softmax(terms, given, inputs):
    return terms.functions["softmax"](given["x"])


def cross_entropy(terms, given, inputs):
    x, y = given["x"], given["y"]
    picked = terms.tensor.log(softmax(terms, given, inputs))[terms.tensor.arange(y.shape[0]), y]
    cost = -picked.mean()
    return [cost, terms.library.grad(cost, x)]


def gather(terms, given, inputs):
    return given["table"][given["rows"]]


def scatter_add(terms, given, inputs):
    table = terms.shared(inputs["table_shape"])
    return terms.gradient(table[given["rows"]], table, given["gradient"])


def overhead(terms, given, inputs):
    first, *others = given.values()
    if not others:
        return first + 1
    for each in others:
        first = first + each
    return first


KERNELS = {
    each.__name__: each
    for each in (
        dot,
        convolution,
        pooling,
        chain,
        function,
        reduction,
        softmax,
        cross_entropy,
        gather,
        scatter_add,
        overhead,
    )
}


def graph(terms, inputs, rewritten):
    """Seconds that building and rewriting a graph take; `rewritten` is given its inputs and its end."""
    ends = [terms.variable(name, np.zeros(10, np.float32)) for name in "xy"]
    started = time.perf_counter()
    end = graphs.grown(*ends, nodes=inputs["nodes"], tanh=terms.tensor.tanh)
    built = time.perf_counter()
    kept = rewritten(ends, end)
    return {"build": built - started, "rewrite": time.perf_counter() - built}, kept
