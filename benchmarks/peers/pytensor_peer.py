"""How PyTensor does the workloads: takes their inputs, hands on what is called and its results. Compiled by
Numba, its default, and by its C linker; the faster is reported. PYTENSOR_FLAGS of the environment may add
flags, such as blas__ldflags=-lopenblas. It has no convolution of images by filters and no pooling.
"""

import os

PACKAGE = "pytensor"
# Deeper networks take minutes to compile.
DEEPEST = 25


def environment(threads, cache):
    """What the process is started with. Of two flags of a name PyTensor takes the later."""
    flags = [
        f"openmp={threads > 1}",
        os.environ.get("PYTENSOR_FLAGS", ""),
        "device=cpu",
        "floatX=float32",
        "base_compiledir=" + cache,
    ]
    return {
        "PYTENSOR_FLAGS": ",".join(flag for flag in flags if flag),
        "NUMBA_CACHE_DIR": cache,
    }


def start(threads):
    """How many threads are used, and versions."""
    import numba
    import pytensor

    versions = {
        "pytensor": pytensor.__version__,
        "numba": numba.__version__,
        "pytensor's blas": pytensor.config.blas__ldflags,
    }
    return {"threads": threads, "versions": versions}


def training_step(inputs):
    """One step of a network of fully connected layers."""
    return {name: lambda mode=mode: _step(inputs, mode) for name, mode in MODES.items()}


def training_steps(inputs):
    """Many steps, one after the other."""

    def many(mode):
        step, wait, results = _step(inputs, mode)
        count = inputs["steps"]
        return lambda i: [step(i * count + j) for j in range(count)], wait, results

    return {name: lambda mode=mode: many(mode) for name, mode in MODES.items()}


MODES = {"numba": "NUMBA", "C": "CVM"}


def _step(inputs, mode):
    import pytensor
    from pytensor import tensor
    from pytensor.tensor.special import softmax
    from workloads.absent import AbsentError

    if any(kind == "convolution" for kind, _, _, _ in inputs["layers"]):
        raise AbsentError(f"PyTensor {pytensor.__version__} has no convolution of images")
    if len(inputs["layers"]) > DEEPEST:
        raise AbsentError("compiling so many layers takes minutes")
    activations = {
        "relu": lambda z: tensor.maximum(0.0, z),
        "sigmoid": tensor.sigmoid,
        None: lambda z: softmax(z, axis=-1),
    }
    size = inputs["mini_batch_size"]
    params = [pytensor.shared(param) for param in inputs["params"]]
    x, y = tensor.fmatrix(), tensor.ivector()
    a = x
    triples = zip(inputs["layers"], params[::2], params[1::2], strict=True)
    for (_, _, activation, _), w, b in triples:
        a = activations[activation](tensor.dot(a, w) + b)
    cost = -tensor.mean(tensor.log(a)[tensor.arange(y.shape[0]), y])
    gradients = tensor.grad(cost, params)
    eta = inputs["eta"]
    updates = [
        (param, param - tensor.cast(eta, "float32") * gradient)
        for param, gradient in zip(params, gradients, strict=True)
    ]
    number = tensor.lscalar()
    rows = slice(number * size, (number + 1) * size)
    givens = {x: pytensor.shared(inputs["x"])[rows], y: pytensor.shared(inputs["y"])[rows]}
    function = pytensor.function([number], cost, updates=updates, givens=givens, mode=mode)
    return function, lambda: None, lambda: [param.get_value() for param in params]
