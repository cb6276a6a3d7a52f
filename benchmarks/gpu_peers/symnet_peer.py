"""How symnet does the workloads of benchmarks/gpu.py: takes their inputs, hands on what is called and its
results. Shared variables hold all arrays, so they lie on the device; many calls are made by `f.map`."""

from gpu_peers import settings
from peers import symnet_peer
from workloads.absent import AbsentError
from workloads.device import POOL_STRIDE, POOL_WINDOW, SHOWN

PACKAGE = "symnet"


def environment(threads, cache):
    """What the process is started with."""
    return {**symnet_peer.environment(threads, cache), **settings.numba_variables()}


def start(threads):
    """Versions, and what the device is: {"missing": why} where it can't be used."""
    import symnet

    described = symnet_peer.start(threads)
    if settings.device() == settings.CPU:
        return {**described, "device": {"name": "cpu"}}
    symnet.config.device = "cuda"
    x = symnet.shared(1.0)
    try:
        symnet.function([], updates=[(x, x + 1)])()
    except symnet.errors.CudaError as error:
        return {**described, "device": {"missing": str(error)}}
    if settings.device() == settings.SIMULATOR:
        return {**described, "device": {"name": "simulator"}}
    return {**described, "device": _device()}


def _device():
    """The GPU that functions run on, and its peaks: "flops" of float32 and "bandwidth" in bytes, a second."""
    from symnet.backend.cuda.availability import availability, version_text
    from symnet.backend.cuda.limits import limits_of

    found = availability()
    gpu = found.gpus[0]
    limits = limits_of(gpu)
    return {
        "name": gpu.name,
        "compute capability": "{}.{}".format(*gpu.compute),
        "multiprocessors": gpu.multiprocessors,
        "memory": gpu.bytes,
        "CUDA of the driver": version_text(found.driver),
        "flops": limits.flops["float32"],
        "bandwidth": limits.bytes,
    }


training_step = symnet_peer.training_step
training_steps = training_epoch = symnet_peer.training_steps


def scaled(inputs):
    """c * x."""
    return _repeated(inputs, inputs["x"].shape, lambda T, c, x: c * x, "x", by_ends=True)


def scaled_sum(inputs):
    """maximum(c * x + y, 0)."""
    shape = inputs["x"].shape
    return _repeated(inputs, shape, lambda T, c, x, y: T.maximum(c * x + y, 0), "x", "y", by_ends=True)


def summed(inputs):
    """The sum of x by an axis."""
    axis = inputs["axis"]
    shape = () if axis is None else (inputs["x"].shape[1 - axis],)
    return _repeated(inputs, shape, lambda T, c, x: x.sum(axis=axis), "x")


def product(inputs):
    """a times b."""
    if inputs["precision"] != "float32":
        raise AbsentError("symnet multiplies in float32")
    return _repeated(inputs, inputs["a"].shape, lambda T, c, a, b: T.dot(a, b), "a", "b")


def _repeated(inputs, shape, expression, *names, by_ends=False):
    """A function that computes the expression of c and shared arrays many times in a call, for c = 1, 2, …
    `shape` is the result's; by_ends: its first and last entries alone are compared."""
    import numpy as np

    import symnet
    import symnet.tensor as T

    arrays = [symnet.shared(inputs[name], borrow=True) for name in names]
    c = T.fscalar("c")
    result = symnet.shared(np.zeros(shape, np.float32), borrow=True)
    updates = [(result, expression(T, c, *arrays))]
    function = symnet.function([c], updates=updates, on_unused_input="ignore")
    numbers = np.arange(1, inputs["repeated"] + 1, dtype=np.float32)
    shown = [result[:SHOWN], result[-SHOWN:]] if by_ends else [result]
    return lambda i: function.map(numbers), lambda: None, symnet.function([], shown)


def alexnet(inputs):
    """One step of gradient descent with momentum, as a program of Theano's would have it."""
    if inputs["precision"] != "float32":
        raise AbsentError("symnet multiplies in float32")
    import symnet
    import symnet.tensor as T
    from symnet.tensor.nnet import categorical_crossentropy, conv2d, relu, softmax
    from symnet.tensor.shared_randomstreams import RandomStreams
    from symnet.tensor.signal.pool import pool_2d

    images, eta, momentum = inputs["images"], inputs["eta"], inputs["momentum"]
    params = [symnet.shared(param) for param in inputs["params"]]
    random = RandomStreams(1)
    all_x, all_y = symnet.shared(inputs["x"]), symnet.shared(inputs["y"])
    index, x, y = T.lscalar("index"), T.ftensor4("x"), T.ivector("y")

    a = x
    last = len(inputs["layers"]) - 1
    for number, (shape, *convolution) in enumerate(inputs["layers"]):
        w, b = params[2 * number : 2 * number + 2]
        if convolution:
            stride, padding, pooled = convolution
            a = conv2d(
                a, w, filter_shape=shape, border_mode=(padding, padding), subsample=(stride, stride)
            )
            a = relu(a + b.dimshuffle("x", 0, "x", "x"))
            if pooled:
                window, steps = (POOL_WINDOW, POOL_WINDOW), (POOL_STRIDE, POOL_STRIDE)
                a = pool_2d(a, window, stride=steps, ignore_border=True)
            continue
        a = a.flatten(2)
        if inputs["p_dropout"] and number < last:
            a = a * random.binomial(a.shape, p=1 - inputs["p_dropout"], dtype="float32")
        a = T.dot(a, w) + b
        a = relu(a) if number < last else softmax(a)

    cost = categorical_crossentropy(a, y).mean()
    updates = []
    for param, gradient in zip(params, T.grad(cost, params), strict=True):
        velocity = symnet.shared(0 * param.get_value())
        moved = momentum * velocity - eta * gradient
        updates += [(velocity, moved), (param, param + moved)]
    rows = slice(index * images, (index + 1) * images)
    step = symnet.function([index], cost, updates=updates, givens={x: all_x[rows], y: all_y[rows]})
    return step, lambda: None, lambda: [param.get_value() for param in params]
