"""How JAX does the workloads of one operation each, jitted; a call ends when its results are there."""

import time

import jax
from jax import lax
from jax import numpy as jnp
from workloads import graphs, kernels
from workloads.absent import AbsentError

LARGEST_GRAPH = 10000


def kernel(kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    given = [jnp.asarray(array) for array in inputs["arrays"].values()]
    compiled = jax.jit(KERNELS[kind](inputs))
    ready = jax.block_until_ready
    return {"jit": lambda: ready(compiled(*given))}


def dot(inputs):
    form = inputs["form"]
    return lambda a, b: (a if form[0] == "n" else a.T) @ (b if form[1] == "n" else b.T)


def convolution(inputs):
    pad, stride = [(inputs["pad"],) * 2] * 2, (inputs["stride"],) * 2

    def forward(images, filters):
        return lax.conv_general_dilated(images, filters[:, :, ::-1, ::-1], stride, pad)

    def by_filters(images, gradient):
        empty = jnp.zeros(inputs["filters_shape"], images.dtype)
        return jax.vjp(lambda filters: forward(images, filters), empty)[1](gradient)[0]

    def by_images(filters, gradient):
        empty = jnp.zeros(inputs["images_shape"], filters.dtype)
        return jax.vjp(lambda images: forward(images, filters), empty)[1](gradient)[0]

    return {"forward": forward, "by_filters": by_filters, "by_images": by_images}[inputs["direction"]]


def pooling(inputs):
    window = (1, 1, inputs["window"], inputs["window"])
    stride = (1, 1, inputs["stride"], inputs["stride"])

    def forward(images):
        return lax.reduce_window(images, -jnp.inf, lax.max, window, stride, "VALID")

    def both(images, gradient):
        result, backward = jax.vjp(forward, images)
        return [result, backward(gradient)[0]]

    return forward if inputs["direction"] == "forward" else both


def chain(inputs):
    return lambda *given: kernels.chained(jnp.maximum, inputs["steps"], *given)


def function(inputs):
    name = inputs["function"]
    called = jax.nn.sigmoid if name == "sigmoid" else getattr(jnp, name)
    return lambda x: called(x)


def reduction(inputs):
    return lambda x: getattr(jnp, inputs["reduction"])(x, axis=inputs["axis"])


def cross_entropy(inputs):
    def cost(x, y):
        return -jax.nn.log_softmax(x)[jnp.arange(len(y)), y].mean()

    return jax.value_and_grad(cost)


def overhead(inputs):
    def added(first, *others):
        return sum(others, first) if others else first + 1

    return added


KERNELS = {
    "dot": dot,
    "convolution": convolution,
    "pooling": pooling,
    "chain": chain,
    "function": function,
    "reduction": reduction,
    "softmax": lambda inputs: jax.nn.softmax,
    "cross_entropy": cross_entropy,
    "gather": lambda inputs: lambda table, rows: table[rows],
    "scatter_add": lambda inputs: (
        lambda gradient, rows: jnp.zeros(inputs["table_shape"], gradient.dtype).at[rows].add(gradient)
    ),
    "overhead": overhead,
}


def graph(inputs):
    """What tracing takes; its rewriting is part of its compiling."""
    if inputs["nodes"] > LARGEST_GRAPH:
        raise AbsentError("tracing nests too deeply")
    x = jnp.zeros(10)
    started = time.perf_counter()
    lowered = jax.jit(lambda x, y: graphs.grown(x, y, inputs["nodes"], jnp.tanh)).lower(x, x)
    return {"build": time.perf_counter() - started}, lowered
