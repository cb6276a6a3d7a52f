"""How JAX does the workloads of benchmarks/gpu.py, jitted: takes their inputs, hands on what is called and
its results."""

from gpu_peers import settings
from peers import jax_peer
from workloads.device import POOL_STRIDE, POOL_WINDOW, SHOWN

PACKAGE = "jax"


def environment(threads, cache):
    """What the process is started with. The device's memory is shared with the other systems."""
    variables = jax_peer.environment(threads, cache)
    variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    # XLA would multiply float32 in TF32 else, where the device has it.
    variables["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    if settings.on_gpu():
        variables["JAX_PLATFORMS"] = "cuda"
    return variables


def start(threads):
    """Versions."""
    import jax
    import jaxlib

    if settings.on_gpu() and jax.default_backend() != "gpu":
        raise RuntimeError(f"jax {jax.__version__} finds no GPU")
    return {"threads": threads, "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__}}


training_step = training_steps = training_epoch = jax_peer.training_step


def precision(inputs):
    """A block in which products are traced in the workload's precision."""
    import jax

    names = {"float32": "highest", "tf32": "tensorfloat32"}
    return jax.default_matmul_precision(names[inputs["precision"]])


def scaled(inputs):
    """c * x."""
    return _repeated(inputs, lambda c, x: c * x, "x", by_ends=True)


def scaled_sum(inputs):
    """maximum(c * x + y, 0)."""
    import jax.numpy as jnp

    return _repeated(inputs, lambda c, x, y: jnp.maximum(c * x + y, 0), "x", "y", by_ends=True)


def summed(inputs):
    """The sum of x by an axis."""
    return _repeated(inputs, lambda c, x: x.sum(axis=inputs["axis"]), "x")


def product(inputs):
    """a times b."""

    def multiplied(c, a, b):
        with precision(inputs):
            return a @ b

    return _repeated(inputs, multiplied, "a", "b")


def _repeated(inputs, expression, *names, by_ends=False):
    """Many calls of a compiled function, each of which gives back the result before it for the next one's."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    arrays = [jax.device_put(inputs[name]) for name in names]
    compiled = jax.jit(lambda before, c, *given: expression(c, *given), donate_argnums=0, keep_unused=True)
    numbers = [jax.device_put(np.float32(c)) for c in range(1, inputs["repeated"] + 1)]
    shape = jax.eval_shape(expression, numbers[0], *arrays)
    result = jnp.zeros(shape.shape, shape.dtype)

    def call(i):
        nonlocal result
        for c in numbers:
            result = compiled(result, c, *arrays)

    def results():
        shown = [result[:SHOWN], result[-SHOWN:]] if by_ends else [result]
        return [jax.device_get(each) for each in shown]

    return call, lambda: jax.block_until_ready(result), results


def alexnet(inputs):
    """One step of gradient descent with momentum, as one compiled program."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    layers, images = inputs["layers"], inputs["images"]
    eta, momentum = inputs["eta"], inputs["momentum"]
    x, y = jax.device_put(inputs["x"]), jax.device_put(inputs["y"])

    def cost_of(params, x, y, key):
        a = x
        for number, (_, *convolution) in enumerate(layers):
            w, b = params[2 * number : 2 * number + 2]
            if convolution:
                stride, padding, pooled = convolution
                flipped = w[:, :, ::-1, ::-1]
                a = lax.conv_general_dilated(a, flipped, (stride,) * 2, [(padding,) * 2] * 2)
                a = jnp.maximum(a + b[:, None, None], 0)
                if pooled:
                    window, steps = (1, 1, *(POOL_WINDOW,) * 2), (1, 1, *(POOL_STRIDE,) * 2)
                    a = lax.reduce_window(a, -jnp.inf, lax.max, window, steps, "VALID")
                continue
            a = a.reshape(len(a), -1)
            last = number == len(layers) - 1
            if inputs["p_dropout"] and not last:
                keep = 1 - inputs["p_dropout"]
                drawn = jax.random.bernoulli(jax.random.fold_in(key, number), keep, a.shape)
                a = jnp.where(drawn, a, 0)
            a = a @ w + b
            a = a if last else jnp.maximum(a, 0)
        return -jax.nn.log_softmax(a)[jnp.arange(images), y].mean()

    def step(state, x, y, i):
        with precision(inputs):
            batch = (lax.dynamic_slice_in_dim(each, i * images, images) for each in (x, y))
            key = jax.random.fold_in(jax.random.key(0), i)
            params, velocities = state
            cost, gradients = jax.value_and_grad(cost_of)(params, *batch, key)
            pairs = zip(velocities, gradients, strict=True)
            velocities = [momentum * velocity - eta * gradient for velocity, gradient in pairs]
            params = [param + velocity for param, velocity in zip(params, velocities, strict=True)]
            return (params, velocities), cost

    compiled = jax.jit(step, donate_argnums=0)
    params = [jnp.array(param) for param in inputs["params"]]
    state = params, [jnp.zeros_like(param) for param in params]

    def function(i):
        nonlocal state
        state, cost = compiled(state, x, y, i)
        return jax.device_get(cost)

    return function, lambda: jax.block_until_ready(state), lambda: [jax.device_get(p) for p in state[0]]
