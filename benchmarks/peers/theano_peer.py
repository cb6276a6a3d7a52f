"""How Theano does the workloads: takes their inputs, hands on what is called and its results. It is
compiled by Theano's C linker; THEANO_FLAGS of the environment may add flags, such as
blas.ldflags=-lopenblas, and say openmp=False where more threads are slower."""

import os

PACKAGE = "theano"
# Deeper networks take minutes to compile.
DEEPEST = 25


def environment(threads, cache):
    """What the process is started with. Of two flags of a name Theano takes the later."""
    flags = [
        f"openmp={threads > 1}",
        os.environ.get("THEANO_FLAGS", ""),
        "device=cpu",
        "floatX=float32",
        "base_compiledir=" + cache,
    ]
    return {"THEANO_FLAGS": ",".join(flag for flag in flags if flag)}


def start(threads):
    """How many threads are used, and versions."""
    import theano

    if not theano.config.cxx:
        raise RuntimeError("Theano finds no C++ compiler (theano.config.cxx is empty)")
    versions = {"theano": theano.__version__, "theano's blas": theano.config.blas.ldflags}
    return {"threads": threads, "versions": versions}


def training_step(inputs):
    """One step of the book's network3.py, in Theano's terms."""
    import numpy as np
    import theano
    from theano import tensor
    from theano.tensor.nnet import conv2d
    from theano.tensor.shared_randomstreams import RandomStreams
    from theano.tensor.signal.pool import pool_2d
    from workloads.absent import AbsentError

    if len(inputs["layers"]) > DEEPEST:
        raise AbsentError("compiling so many layers takes minutes")
    activations = {
        "relu": lambda z: tensor.maximum(0.0, z),
        "sigmoid": tensor.nnet.sigmoid,
        None: tensor.nnet.softmax,
    }
    size = inputs["mini_batch_size"]
    params = [theano.shared(param) for param in inputs["params"]]
    x, y = tensor.matrix(), tensor.ivector()
    a, image = x, (size, 1, inputs["side"], inputs["side"])
    # Its Pythons are too old for zip(strict=True).
    triples = zip(inputs["layers"], params[::2], params[1::2])  # noqa: B905
    for (kind, shape, activation, p_dropout), w, b in triples:
        if kind == "convolution":
            convolved = conv2d(a.reshape(image), w, input_shape=image, filter_shape=shape)
            a = pool_2d(convolved, (2, 2), ignore_border=True) + b.dimshuffle("x", 0, "x", "x")
            image = (size, shape[0], (image[2] - 4) // 2, (image[3] - 4) // 2)
        else:
            a = a.reshape((size, shape[0]))
            if p_dropout:
                streams = RandomStreams(np.random.RandomState(0).randint(999999))
                mask = streams.binomial(n=1, p=1 - p_dropout, size=a.shape)
                a = a * tensor.cast(mask, theano.config.floatX)
            a = tensor.dot(a, w) + b
        a = activations[activation](a)
    cost = -tensor.mean(tensor.log(a)[tensor.arange(y.shape[0]), y])
    if inputs["lmbda"]:
        squared_weights = sum((w**2).sum() for w in params[::2])
        cost = cost + 0.5 * inputs["lmbda"] * squared_weights / inputs["mini_batches"]
    gradients = tensor.grad(cost, params)
    steps = zip(params, gradients)  # noqa: B905
    updates = [(param, param - inputs["eta"] * gradient) for param, gradient in steps]
    number = tensor.lscalar()
    rows = slice(number * size, (number + 1) * size)
    givens = {x: theano.shared(inputs["x"])[rows], y: theano.shared(inputs["y"])[rows]}
    function = theano.function([number], cost, updates=updates, givens=givens)
    return function, lambda: None, lambda: [param.get_value() for param in params]


def training_steps(inputs):
    """Many steps, one after the other."""
    step, wait, results = training_step(inputs)
    count = inputs["steps"]
    return lambda i: [step(i * count + j) for j in range(count)], wait, results
