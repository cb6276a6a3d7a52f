"""How symnet does the workloads: takes their inputs, hands on what is called and its results."""

import os

PACKAGE = "symnet"


def environment(threads, cache):
    """What the process is started with: the clone's own symnet, and a cache of the run's own."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": root + os.pathsep + path if path else root,
        "SYMNET_CACHE_DIR": cache,
        "SYMNET_FLOATX": "float32",
        "SYMNET_MODE": "default",
    }


def start(threads):
    """How many threads are used, and versions."""
    from importlib.metadata import version

    import symnet

    symnet.config.threads = threads
    versions = {name: version(name) for name in ("numba", "llvmlite")}
    return {"threads": threads, "versions": {"symnet": symnet.__version__, **versions}}


def limits():
    """What the machine can do with as many threads, by kernels that symnet generates: floating-point
    operations a second in float32, and (bytes, bytes a second) of reading, and of copying or adding."""
    import symnet
    from symnet.backend.cpu.limits import machine_limits

    found = machine_limits(symnet.config.threads)
    return {
        "threads": found.threads,
        "flops": found.flops["float32"],
        "reading": found.reading,
        "writing": found.writing,
    }


def training_step(inputs):
    """One step of `symnet.network3`, as `Network.SGD` makes it."""
    import symnet
    from symnet.network3 import (
        ConvPoolLayer,
        FullyConnectedLayer,
        Network,
        ReLU,
        SoftmaxLayer,
        sigmoid,
    )

    activations = {"relu": ReLU, "sigmoid": sigmoid}
    size = inputs["mini_batch_size"]
    layers = []
    image = (size, 1, inputs["side"], inputs["side"])
    for kind, shape, activation, p_dropout in inputs["layers"]:
        if kind == "convolution":
            layer = ConvPoolLayer(shape, image, activation_fn=activations[activation])
            image = layer.output_shape
        elif kind == "full":
            layer = FullyConnectedLayer(*shape, activations[activation], p_dropout)
        else:
            layer = SoftmaxLayer(*shape, p_dropout)
        layers.append(layer)
    net = Network(layers, size)
    for param, value in zip(net.params, inputs["params"], strict=True):
        param.set_value(value)

    cost = layers[-1].cost(net)
    if inputs["lmbda"]:
        squared_weights = sum((layer.w**2).sum() for layer in layers)
        cost = cost + 0.5 * inputs["lmbda"] * squared_weights / inputs["mini_batches"]
    gradients = symnet.grad(cost, net.params)
    updates = [
        (param, param - inputs["eta"] * gradient)
        for param, gradient in zip(net.params, gradients, strict=True)
    ]
    number = symnet.tensor.lscalar()
    rows = slice(number * size, (number + 1) * size)
    givens = {net.x: symnet.shared(inputs["x"])[rows], net.y: symnet.shared(inputs["y"])[rows]}
    function = symnet.function([number], cost, updates=updates, givens=givens)
    return function, lambda: None, lambda: [param.get_value() for param in net.params]


def training_steps(inputs):
    """Many steps by one call of `f.map`."""
    function, wait, results = training_step(inputs)
    count = inputs["steps"]
    return lambda i: function.map(range(i * count, (i + 1) * count)), wait, results
