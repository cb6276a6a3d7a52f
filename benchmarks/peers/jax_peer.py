"""How JAX does the workloads, jitted as a whole: takes their inputs, hands on what is called and its
results. Parameters are donated, so that updates are in place, and i is an argument of the program."""

import os

PACKAGE = "jax"


def environment(threads, cache):
    """What the process is started with: a cache that keeps everything, however quick to make."""
    return {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(threads):
    """How many threads are used, and versions. JAX makes as many as the process has cores."""
    import jax
    import jaxlib

    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
    return {"threads": len(cores), "versions": versions}


def training_step(inputs):
    """One step of gradient descent as one compiled program; or many, by a scan inside of it."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    layers, size, eta = inputs["layers"], inputs["mini_batch_size"], inputs["eta"]
    side = inputs["side"]
    decay = inputs["lmbda"] / inputs["mini_batches"]
    x, y = jnp.asarray(inputs["x"]), jnp.asarray(inputs["y"])
    activations = {"relu": lambda z: jnp.maximum(0, z), "sigmoid": jax.nn.sigmoid}

    def cost_of(params, x, y, key):
        a = x
        for index, (kind, _, activation, p_dropout) in enumerate(layers):
            w, b = params[2 * index : 2 * index + 2]
            if kind == "convolution":
                a = a if a.ndim == 4 else a.reshape(-1, 1, side, side)
                a = lax.conv_general_dilated(a, w[:, :, ::-1, ::-1], (1, 1), "VALID")
                window = (1, 1, 2, 2)
                a = lax.reduce_window(a, -jnp.inf, lax.max, window, window, "VALID")
                a = a + b[:, None, None]
            else:
                a = a.reshape(len(a), -1)
                if p_dropout:
                    drawn = jax.random.bernoulli(jax.random.fold_in(key, index), 1 - p_dropout, a.shape)
                    a = jnp.where(drawn, a, 0)
                a = a @ w + b
            a = activations[activation](a) if activation else a
        squared_weights = sum((w**2).sum() for w in params[::2]) if decay else 0
        picked = jax.nn.log_softmax(a)[jnp.arange(size), y]
        return -picked.mean() + 0.5 * decay * squared_weights

    def step(params, x, y, i):
        batch = (lax.dynamic_slice_in_dim(each, i * size, size) for each in (x, y))
        cost, gradients = jax.value_and_grad(cost_of)(
            params, *batch, jax.random.fold_in(jax.random.key(0), i)
        )
        moved = [param - eta * g for param, g in zip(params, gradients, strict=True)]
        return moved, cost

    def steps(params, x, y, first):
        numbers = first + jnp.arange(inputs["steps"])
        return lax.scan(lambda params, i: step(params, x, y, i), params, numbers)

    many = inputs["steps"] > 1
    compiled = jax.jit(steps if many else step, donate_argnums=0)
    params = [jnp.array(param) for param in inputs["params"]]

    def function(i):
        nonlocal params
        params, cost = compiled(params, x, y, i * inputs["steps"])
        return jax.device_get(cost)

    return (
        function,
        lambda: jax.block_until_ready(params),
        lambda: [jax.device_get(p) for p in params],
    )


training_steps = training_step
