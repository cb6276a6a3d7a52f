"""Takes nothing but NumPy; hands on the workloads of benchmarks/gpu.py, by section, and what they begin with.

Arrays of single operations stay on the device, so that what is timed is the device's work: one call makes
many of them, one after the other, and ends when the last is done.
"""

import numpy as np

from workloads import kernels, networks
from workloads.workload import Workload

MINI_BATCH_SIZES = (10, 128)
# Steps of a call that makes many, by mini-batch size.
STEPS = {10: 200, 128: 39}
EPOCH_STEPS = 5000
LENGTHS = (10**7, 10**8, 10**9)
COLUMNS = 4000
SIDES = (256, 512, 1024, 2048, 4096, 8192)
PRECISIONS = ("float32", "tf32")
# For how long the operations of one call would keep a device of about the speed of an H100 busy.
CALL_SECONDS, ASSUMED_BYTES, ASSUMED_FLOPS = 0.005, 3e12, 4e13
# They come in eights, as many as a CUDA graph of symnet's for many calls has.
REPEATED, MOST_REPEATED = 8, 200
SIMULATED_SECONDS = 1e-9
# Of results of many entries, so many first and last ones are compared.
SHOWN = 1000

# AlexNet in one column: filters, their side, stride and padding, and whether pooling follows; the widths of
# the fully connected layers before the last; the classes. And something of the kind for a simulated device.
NETWORKS = {
    "alexnet": (
        [
            (96, 11, 4, 2, True),
            (256, 5, 1, 2, True),
            (384, 3, 1, 1, False),
            (384, 3, 1, 1, False),
            (256, 3, 1, 1, True),
        ],
        (4096, 4096),
        1000,
    ),
    "small": ([(2, 3, 2, 1, True), (2, 3, 1, 1, False)], (4,), 4),
}
ALEXNET = {"network": "alexnet", "images": 128, "side": 224}
SMALL_ALEXNET = {"network": "small", "images": 1, "side": 8}
POOL_WINDOW, POOL_STRIDE = 3, 2


def sections(small):
    """Workloads by section, in the order in which they are run; small: for a simulated device."""
    return {
        "steps": _steps(small),
        "epoch": _epoch(small),
        "alexnet": _alexnet(small),
        "memory": _memory((10**2,) if small else LENGTHS),
        "products": _products((8,) if small else SIDES),
    }


def _steps(small):
    found = []
    for size in (2,) if small else MINI_BATCH_SIZES:
        for network in networks.NETWORKS:
            chosen = f"small-{network}" if small else network
            images = 40 if small else networks.IMAGES
            settings = {"network": chosen, "mini_batch_size": size, "images": images}
            counts = {**networks.counted(chosen, size), "tolerance": networks.TOLERANCE}
            name = f"step/{network}/{size}"
            found.append(Workload(name, "calls", "training_step", settings, **counts, group="networks"))
            steps = 2 if small else STEPS[size]
            settings = {**settings, "steps": steps, "compared": False}
            name = f"map/{network}/{size}"
            counts = {**counts, "per_call": steps, "group": "networks"}
            found.append(Workload(name, "calls", "training_steps", settings, **counts))
    return found


def _epoch(small):
    network, size = "dbl_conv_relu", 2 if small else 10
    steps = 3 if small else EPOCH_STEPS
    chosen = f"small-{network}" if small else network
    settings = {
        "network": chosen,
        "mini_batch_size": size,
        "steps": steps,
        "images": steps * size,
        "compared": False,
    }
    counted = {name: steps * count for name, count in networks.counted(chosen, size).items()}
    name = f"epoch/{network}/{steps}-steps"
    return [Workload(name, "calls", "training_epoch", settings, **counted, group="networks")]


def _alexnet(small):
    shape = SMALL_ALEXNET if small else ALEXNET
    images, side = shape["images"], shape["side"]
    # Without dropout all systems make the same steps, which are compared.
    few = min(images, 8)
    compared = {**shape, "images": few, "p_dropout": 0.0, "precision": "float32"}
    found = [(f"alexnet/without-dropout/{few}x3x{side}x{side}", compared)]
    for precision in PRECISIONS:
        settings = {**shape, "p_dropout": 0.5, "precision": precision}
        found.append((f"alexnet/{precision}/{images}x3x{side}x{side}", settings))
    return [
        Workload(name, "calls", "alexnet", settings, **_alexnet_counts(settings), tolerance=1e-2)
        for name, settings in found
    ]


def _alexnet_counts(settings):
    shapes, areas = alexnet_shapes(settings["network"], settings["side"])
    total = 0
    for index, (shape, area) in enumerate(zip(shapes, areas)):  # noqa: B905 - old Pythons read this
        total += 2 * settings["images"] * area * int(np.prod(shape)) * (2 if index == 0 else 3)
    numbers = sum(int(np.prod(shape)) for shape in shapes)
    # A step reads and writes each parameter and its velocity.
    return {"flops": total, "read": 8 * numbers, "written": 8 * numbers}


def _memory(lengths):
    found = []
    for length in lengths:
        repeated = _repeated(8 * length / ASSUMED_BYTES)
        shape = {"length": length, "repeated": repeated}
        counts = {"read": 4 * length, "written": 4 * length, "per_call": repeated}
        name = f"elementwise/scaled/{length}"
        found.append(Workload(name, "calls", "scaled", shape, **counts, group="single"))
        if length < 10**9:  # five arrays of every system at once would be too many
            counts = {"read": 8 * length, "written": 4 * length, "per_call": repeated}
            name = f"elementwise/scaled-sum/{length}"
            found.append(Workload(name, "calls", "scaled_sum", shape, **counts, group="single"))
        for axis in (None, 0, 1):
            columns = min(COLUMNS, length // 10)
            settings = {
                "rows": length // columns,
                "columns": columns,
                "axis": axis,
                "repeated": _repeated(4 * length / ASSUMED_BYTES),
            }
            counts = {"read": 4 * length, "per_call": settings["repeated"]}
            name = f"reduction/{'all' if axis is None else f'axis-{axis}'}/{length}"
            found.append(Workload(name, "calls", "summed", settings, **counts, group="single"))
    return found


def _products(sides):
    found = []
    for side in sides:
        for precision in PRECISIONS:
            repeated = _repeated(2 * side**3 / ASSUMED_FLOPS)
            settings = {"side": side, "precision": precision, "repeated": repeated}
            counts = {"flops": 2 * side**3, "read": 8 * side**2, "written": 4 * side**2, "per_call": repeated}
            name = f"product/{precision}/{side}x{side}x{side}"
            found.append(Workload(name, "calls", "product", settings, **counts, group="single"))
    return found


def _repeated(seconds):
    """How many operations of so many seconds a call makes: few of so little that they are simulated."""
    if seconds < SIMULATED_SECONDS:
        return 2
    return int(min(MOST_REPEATED, max(REPEATED, CALL_SECONDS / seconds))) // REPEATED * REPEATED


def scaled(length, repeated):
    """`repeated` times c * x, for c = 1, 2, …."""
    return {"x": kernels.normal(1, (length,)), "repeated": repeated}


def scaled_sum(length, repeated):
    """`repeated` times maximum(c * x + y, 0), for c = 1, 2, …"""
    return {"x": kernels.normal(1, (length,)), "y": kernels.normal(2, (length,)), "repeated": repeated}




def summed(rows, columns, axis, repeated):
    """`repeated` times the sum of x by an axis, or of all of it; no entry is negative."""
    x = kernels.normal(1, (rows, columns))
    return {"x": np.abs(x, out=x), "axis": axis, "repeated": repeated}


def product(side, precision, repeated):
    """`repeated` times a times b, in float32; by "tf32" the library may round a and b to 11 bits first."""
    shape = (side, side)
    arrays = {"a": kernels.normal(1, shape), "b": kernels.normal(2, shape)}
    return {**arrays, "precision": precision, "repeated": repeated}


def alexnet_shapes(network, side):
    """The shapes of the weights, and to how many places of its layer's result each of them is applied."""
    convolutions, hidden, classes = NETWORKS[network]
    shapes, areas, channels = [], [], 3
    for filters, window, stride, padding, pooled in convolutions:
        shapes.append((filters, channels, window, window))
        side = (side + 2 * padding - window) // stride + 1
        areas.append(side**2)
        if pooled:
            side = (side - POOL_WINDOW) // POOL_STRIDE + 1
        channels = filters
    width = channels * side**2
    for following in (*hidden, classes):
        shapes.append((width, following))
        areas.append(1)
        width = following
    return shapes, areas


def alexnet(network, images, side, p_dropout, precision):
    """AlexNet without local response normalisation, trained by gradient descent with momentum.

    Five convolutions, each with a rectifier, and max pooling by windows of 3 in steps of 2 after the first,
    second and last; two fully connected layers with rectifiers, each with dropout of its inputs; softmax.

    layers
        Tuples (shape of w, stride, padding, whether pooling follows), the convolutions; then (shape of w,).
    params
        float32 arrays: w and b of each layer in turn.
    x, y
        Images, float32 (2 * images, 3, side, side), and labels, int32 (2 * images,).
    eta, momentum
        velocity ← momentum * velocity - eta * gradient, and param ← param + velocity.
    p_dropout
        The share of their inputs that the two hidden layers drop.
    precision
        "float32"; or "tf32", in which a library may round the operands of products to 11 bits.
    calls
        Step i is of half i of the images.
    """
    convolutions, shapes = NETWORKS[network][0], alexnet_shapes(network, side)[0]
    layers, params = [], []
    for index, shape in enumerate(shapes):
        if index < len(convolutions):
            _, _, stride, padding, pooled = convolutions[index]
            layers.append((shape, stride, padding, pooled))
            inputs, outputs = int(np.prod(shape[1:])), shape[0]
        else:
            layers.append((shape,))
            inputs, outputs = shape
        scale = 0.01 if index == len(shapes) - 1 else (2 / inputs) ** 0.5
        params.append(kernels.normal(index + 10, shape, scale))
        params.append(np.zeros(outputs, np.float32))
    return {
        "layers": layers,
        "params": params,
        "x": kernels.normal(1, (2 * images, 3, side, side)),
        "y": np.random.RandomState(2).randint(0, shapes[-1][1], 2 * images).astype(np.int32),
        "images": images,
        "eta": 1e-4,
        "momentum": 0.9,
        "p_dropout": p_dropout,
        "precision": precision,
        "compared": not p_dropout,
        "calls": 2,
    }


INPUTS = {
    "scaled": scaled,
    "scaled_sum": scaled_sum,
    "summed": summed,
    "product": product,
    "alexnet": alexnet,
    "training_epoch": networks.training_step,
}
