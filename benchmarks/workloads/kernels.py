"""Takes nothing; hands on the workloads of one operation each, and the arrays that they are given.

Inputs are a dict of float32 arrays (int64 where they are indices) by name, and the settings beside them.
Entries are small normal numbers, so that no chain overflows and every system's results can be compared.
"""

import numpy as np

from workloads.workload import Workload

# Convolutions: images (n, channels, height, width), filters (filters, channels, height, width), pad, stride.
CONVOLUTIONS = {
    "network3-1": ((10, 1, 28, 28), (20, 1, 5, 5), 0, 1),
    "network3-2": ((10, 20, 12, 12), (40, 20, 5, 5), 0, 1),
    "lenet5-1": ((10, 1, 32, 32), (6, 1, 5, 5), 0, 1),
    "lenet5-2": ((10, 6, 14, 14), (16, 6, 5, 5), 0, 1),
    "alexnet-1": ((4, 3, 227, 227), (96, 3, 11, 11), 0, 4),
    "alexnet-2": ((4, 96, 27, 27), (256, 96, 5, 5), 2, 1),
    "alexnet-3": ((4, 256, 13, 13), (384, 256, 3, 3), 1, 1),
    "alexnet-4": ((4, 384, 13, 13), (384, 384, 3, 3), 1, 1),
    "alexnet-5": ((4, 384, 13, 13), (256, 384, 3, 3), 1, 1),
}
# Max pooling: images, window, stride.
POOLINGS = {
    "network3-1": ((10, 20, 24, 24), 2, 2),
    "network3-2": ((10, 40, 8, 8), 2, 2),
    "alexnet-1": ((4, 96, 55, 55), 3, 2),
}
# Products: form (n: as it is, t: transposed), rows, inner, columns.
PRODUCTS = [
    ("nn", 10, 784, 100),
    ("tn", 784, 10, 100),
    ("nt", 10, 100, 784),
    ("nn", 10, 1000, 1000),
    ("tn", 1000, 10, 1000),
    ("nt", 10, 1000, 1000),
    *(("nn", size, size, size) for size in (64, 128, 256, 512, 1024, 2048)),
    ("tn", 1024, 1024, 1024),
    ("nt", 1024, 1024, 1024),
]
LENGTHS = (10**3, 10**5, 10**7)
CHAINS = (1, 5, 20)
BROADCASTS = ("row", "column")
FUNCTIONS = ("exp", "log", "tanh", "sigmoid")
REDUCTIONS = ("sum", "mean", "max", "argmax")
LOGITS = ((10, 10), (128, 1000), (128, 50000))
TABLE, WIDTH, LOOKED_UP = 20000, 128, 1280


def workloads():
    """The workloads, in the order in which they are run and reported."""
    found = []

    def add(name, kind, settings, read, written, flops=0):
        found.append(Workload(name, "calls", kind, settings, flops, 4 * read, 4 * written))

    for form, rows, inner, columns in PRODUCTS:
        settings = {"form": form, "rows": rows, "inner": inner, "columns": columns}
        read, flops = rows * inner + inner * columns, 2 * rows * inner * columns
        add(f"dot/{form}/{rows}x{inner}x{columns}", "dot", settings, read, rows * columns, flops)
    for layer, (images, filters, pad, stride) in CONVOLUTIONS.items():
        out = convolved(images, filters, pad, stride)
        sizes = {"forward": count(out), "by_filters": count(filters), "by_images": count(images)}
        flops = 2 * count(out) * count(filters[1:])
        for direction, size in sizes.items():
            settings = {"layer": layer, "direction": direction}
            read = sum(sizes.values()) - size
            add(f"conv/{direction}/{layer}", "convolution", settings, read, size, flops)
    for layer, (images, window, stride) in POOLINGS.items():
        small, large = count(pooled(images, window, stride)), count(images)
        add(f"pool/forward/{layer}", "pooling", {"layer": layer}, large, small)
        settings = {"layer": layer, "direction": "both"}
        add(f"pool/both/{layer}", "pooling", settings, large + small, large + small)
    for length in LENGTHS:
        for steps in CHAINS:
            settings = {"length": length, "steps": steps}
            read = min(3, 1 + steps) * length
            add(f"chain/{steps}/{length}", "chain", settings, read, length, steps * length)
    for other in BROADCASTS:
        settings = {"length": 10**6, "steps": 5, "other": other}
        add(f"chain/5-by-{other}/{10**6}", "chain", settings, 10**6, 10**6, 5 * 10**6)
    for function in FUNCTIONS:
        for length in LENGTHS:
            settings = {"function": function, "length": length}
            add(f"function/{function}/{length}", "function", settings, length, length)
    for reduction in REDUCTIONS:
        for axis in (0, 1, None):
            settings = {"reduction": reduction, "shape": (1000, 1000), "axis": axis}
            where = "all" if axis is None else f"axis-{axis}"
            add(f"reduce/{reduction}/{where}", "reduction", settings, 10**6, 1000)
    for rows, classes in LOGITS:
        settings = {"rows": rows, "classes": classes}
        entries = rows * classes
        add(f"softmax/{rows}x{classes}", "softmax", settings, entries, entries)
        add(f"cross-entropy/{rows}x{classes}", "cross_entropy", settings, entries, entries)
    moved = LOOKED_UP * WIDTH
    add("embedding/gather", "gather", {}, moved, moved)
    add("embedding/scatter-add", "scatter_add", {}, moved, TABLE * WIDTH + moved)
    add("overhead/scalar", "overhead", {"arrays": 1, "shape": ()}, 0, 0)
    add("overhead/twenty-arrays", "overhead", {"arrays": 20, "shape": (10,)}, 0, 0)
    return found


def count(shape):
    return int(np.prod(shape))


def convolved(images, filters, pad, stride):
    """The shape of the result of a convolution."""
    sides = [(images[i] + 2 * pad - filters[i]) // stride + 1 for i in (2, 3)]
    return (images[0], filters[0], sides[0], sides[1])


def pooled(images, window, stride):
    """The shape of the result of a pooling that ignores the border."""
    return (*images[:2], *((images[i] - window) // stride + 1 for i in (2, 3)))


def normal(seed, shape, scale=1.0):
    """Normal float32 numbers, the same for the same seed; they repeat after the first million."""
    # The generator of RandomState, as old NumPys have it, is slow for tens of millions.
    size = count(shape)
    drawn = np.random.RandomState(seed).normal(0, scale, min(size, 1000003)).astype(np.float32)
    return np.resize(drawn, size).reshape(shape)


def dot(form, rows, inner, columns):
    """a times b, each as it lies or transposed: row-major arrays whose transposition is the caller's."""
    a = (rows, inner) if form[0] == "n" else (inner, rows)
    b = (inner, columns) if form[1] == "n" else (columns, inner)
    arrays = {"a": normal(1, a), "b": normal(2, b)}
    return {"arrays": arrays, "form": form}


def convolution(layer, direction):
    """A convolution that turns the filters over, or its gradient by one of its arguments, given the
    other and the gradient by its result."""
    images, filters, pad, stride = CONVOLUTIONS[layer]
    arrays = {
        "images": normal(1, images),
        "filters": normal(2, filters, count(filters[1:]) ** -0.5),
        "gradient": normal(3, convolved(images, filters, pad, stride)),
    }
    unused = {"forward": "gradient", "by_filters": "filters", "by_images": "images"}[direction]
    del arrays[unused]
    return {
        "arrays": arrays,
        "direction": direction,
        "images_shape": images,
        "filters_shape": filters,
        "pad": pad,
        "stride": stride,
    }


def pooling(layer, direction="forward"):
    """Max pooling of `images`; both: and its gradient by the images, given the `gradient` by its result."""
    images, window, stride = POOLINGS[layer]
    arrays = {"images": normal(1, images)}
    if direction == "both":
        arrays["gradient"] = normal(2, pooled(images, window, stride))
    return {"arrays": arrays, "direction": direction, "window": window, "stride": stride}


def chain(length, steps, other=None):
    """`chained` on x of that length and y, z alike; or on a matrix, and y, z a row or a column."""
    if other is None:
        shapes = [(length,)] * 3
    else:
        side = int(length**0.5)
        shapes = [(side, side)] + [(1, side) if other == "row" else (side, 1)] * 2
    used = "xy" if steps == 1 else "xyz"
    arrays = {name: normal(seed, shapes[seed]) for seed, name in enumerate(used)}
    return {"arrays": arrays, "steps": steps}


def chained(maximum, steps, x, y, z=None):
    """A chain of that many elementwise operations, each on what the one before gave."""
    operations = [
        lambda a: a * y,
        lambda a: a + z,
        lambda a: maximum(a, y),
        lambda a: a - z,
        lambda a: a * z,
    ]
    for step in range(steps):
        x = operations[step % 5](x)
    return x


def function(function, length):
    """One function of every entry of x."""
    x = normal(1, (length,))
    return {"arrays": {"x": np.abs(x) + np.float32(0.1) if function == "log" else x}, "function": function}


def reduction(reduction, shape, axis):
    """One reduction of x by an axis, or by all."""
    return {"arrays": {"x": normal(1, tuple(shape))}, "reduction": reduction, "axis": axis}


def softmax(rows, classes):
    """The softmax of each row of x."""
    return {"arrays": {"x": normal(1, (rows, classes))}}


def cross_entropy(rows, classes):
    """The mean over rows of -log softmax(x)[row, y[row]], and its gradient by x."""
    y = np.random.RandomState(2).randint(0, classes, rows).astype(np.int64)
    return {"arrays": {"x": normal(1, (rows, classes)), "y": y}}


def gather():
    """Rows of a table by indices."""
    return {"arrays": {"table": normal(1, (TABLE, WIDTH)), "rows": _looked_up()}}


def scatter_add():
    """The gradient of `gather` by the table, as an array of the table's size."""
    given = {"gradient": normal(2, (LOOKED_UP, WIDTH)), "rows": _looked_up()}
    return {"arrays": given, "table_shape": (TABLE, WIDTH)}


def _looked_up():
    return np.random.RandomState(3).randint(0, TABLE, LOOKED_UP).astype(np.int64)


def overhead(arrays, shape):
    """The sum of the arrays, so small that the call is what takes the time; of one, it plus 1."""
    given = [normal(seed, tuple(shape)) for seed in range(arrays)]
    return {"arrays": {f"x{i}": each for i, each in enumerate(given)}}


INPUTS = {
    "dot": dot,
    "convolution": convolution,
    "pooling": pooling,
    "chain": chain,
    "function": function,
    "reduction": reduction,
    "softmax": softmax,
    "cross_entropy": cross_entropy,
    "gather": gather,
    "scatter_add": scatter_add,
    "overhead": overhead,
}
