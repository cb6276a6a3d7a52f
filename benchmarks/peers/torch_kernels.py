"""How PyTorch does the workloads of one operation each: eagerly, and, chains of several operations, by
torch.compile too."""

import torch
from torch.nn import functional
from workloads import kernels


def kernel(kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    torch._dynamo.reset()
    given = {name: torch.tensor(array) for name, array in inputs["arrays"].items()}
    call = KERNELS[kind](inputs, **given)
    forms = {"eager": call}
    if kind == "chain":
        compiled = torch.compile(chain_of(inputs), dynamic=False)
        forms["torch.compile"] = lambda: compiled(*given.values())
    return forms


def dot(inputs, a, b):
    a = a if inputs["form"][0] == "n" else a.T
    b = b if inputs["form"][1] == "n" else b.T
    return lambda: torch.mm(a, b)


def convolution(inputs, images=None, filters=None, gradient=None):
    pad, stride = [inputs["pad"]] * 2, [inputs["stride"]] * 2
    if filters is not None:  # turned over, as the layers of PyTorch have them
        filters = filters.flip(2, 3).contiguous()
    if gradient is None:
        return lambda: functional.conv2d(images, filters, stride=stride, padding=pad)
    wanted = [images is None, filters is None, False]
    images = torch.empty(inputs["images_shape"]) if images is None else images
    filters = torch.empty(inputs["filters_shape"]) if filters is None else filters
    backward = torch.ops.aten.convolution_backward
    geometry = ([0], stride, pad, [1, 1], False, [0, 0], 1)
    if wanted[0]:
        return lambda: backward(gradient, images, filters, *geometry, wanted)[0]
    return lambda: backward(gradient, images, filters, *geometry, wanted)[1]


def pooling(inputs, images, gradient=None):
    window, stride = inputs["window"], inputs["stride"]
    if gradient is None:
        return lambda: functional.max_pool2d(images, window, stride)
    images.requires_grad_(True)

    def both():
        result = functional.max_pool2d(images, window, stride)
        return [result.detach(), torch.autograd.grad(result, images, gradient)[0]]

    return both


def chain_of(inputs):
    def chained(x, y, z=None):
        return kernels.chained(torch.maximum, inputs["steps"], x, y, z)

    return chained


def chain(inputs, **given):
    chained = chain_of(inputs)
    return lambda: chained(*given.values())


def function(inputs, x):
    called = getattr(torch, inputs["function"])
    return lambda: called(x)


def reduction(inputs, x):
    name, axis = inputs["reduction"], inputs["axis"]
    called = getattr(torch, "amax" if name == "max" else name)
    if axis is None:
        return lambda: called(x)
    return lambda: called(x, dim=axis)


def softmax(inputs, x):
    return lambda: torch.softmax(x, dim=1)


def cross_entropy(inputs, x, y):
    x.requires_grad_(True)

    def both():
        cost = functional.cross_entropy(x, y)
        return [cost.detach(), torch.autograd.grad(cost, x)[0]]

    return both


def gather(inputs, table, rows):
    return lambda: functional.embedding(rows, table)


def scatter_add(inputs, gradient, rows):
    return lambda: torch.zeros(inputs["table_shape"]).index_add_(0, rows, gradient)


def overhead(inputs, **given):
    arrays = list(given.values())
    if len(arrays) == 1:
        return lambda: arrays[0] + 1

    def added():
        total = arrays[0]
        for each in arrays[1:]:
            total = total + each
        return total

    return added


KERNELS = {
    "dot": dot,
    "convolution": convolution,
    "pooling": pooling,
    "cross_entropy": cross_entropy,
    "gather": gather,
    "scatter_add": scatter_add,
    "overhead": overhead,
    "chain": chain,
    "function": function,
    "reduction": reduction,
    "softmax": softmax,
}


def shown(kind, inputs, results):
    """The results as symnet has them: filters lie turned over here."""
    if kind == "convolution" and inputs["direction"] == "by_filters":
        return [each.flip(2, 3) for each in results]
    return results
