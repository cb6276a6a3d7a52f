"""Takes what `twenty_steps` begins with through 20 steps by PyTorch, hands on recorded_torch.json.

Run it in an environment that has PyTorch and NumPy; the tests only read the file it writes:

    python tests/network3/record_torch.py

Layers, gradients and steps are PyTorch's own with two exceptions, which make it mean what Theano
means: the gradient of a max pooling goes to every entry that attains the maximum (PyTorch's goes to
the first), and the dropout masks are given. Of each parameter the file holds the shape, the norm and
the sum after the last step, and 64 entries: 32 spread evenly and the 32 that moved most.
"""

import json
import platform
from pathlib import Path

import numpy as np
import torch
import twenty_steps
from torch.nn import functional

RECORDED = Path(__file__).with_name("recorded_torch.json")
ENTRIES = 64


class MaxPool(torch.autograd.Function):
    """2 by 2 max pooling under Theano's rule for ties."""

    @staticmethod
    def forward(context, x):
        pooled = functional.max_pool2d(x, 2)
        context.save_for_backward(x, pooled)
        return pooled

    @staticmethod
    def backward(context, g):
        x, pooled = context.saved_tensors
        return torch.where(x == spread(pooled), spread(g), 0)


def spread(pooled):
    """Each value of a pooled image on the 2 by 2 entries of its window."""
    return pooled.repeat_interleave(2, 2).repeat_interleave(2, 3)


def convolved(x, w, b, activation):
    """The book's layer: its filters are flipped, as Theano flips them."""
    pooled = MaxPool.apply(functional.conv2d(x, w.flip(2, 3)))
    return activation(pooled + b[:, None, None])


def relu(z):
    """max(0, z) with gradient 1 where z is 0, which is Theano's."""
    return z.clamp(min=0)


def shallow(params, x, masks):
    w1, b1, w2, b2 = params
    return torch.sigmoid(x @ w1 + b1) @ w2 + b2


def basic_conv(params, x, masks):
    w1, b1, w2, b2, w3, b3 = params
    a = convolved(x.reshape(-1, 1, 28, 28), w1, b1, torch.sigmoid)
    return torch.sigmoid(a.flatten(1) @ w2 + b2) @ w3 + b3


def two_convolutions(params, x):
    w1, b1, w2, b2 = params
    a = convolved(x.reshape(-1, 1, 28, 28), w1, b1, relu)
    return convolved(a, w2, b2, relu).flatten(1)


def dbl_conv_relu(params, x, masks):
    w3, b3, w4, b4 = params[4:]
    return relu(two_convolutions(params[:4], x) @ w3 + b3) @ w4 + b4


def dropout(params, x, masks):
    w3, b3, w4, b4, w5, b5 = params[4:]
    a = relu((two_convolutions(params[:4], x) * masks[0]) @ w3 + b3)
    a = relu((a * masks[1]) @ w4 + b4)
    return (a * masks[2]) @ w5 + b5


NETWORKS = {
    "shallow": shallow,
    "basic_conv": basic_conv,
    "dbl_conv_relu": dbl_conv_relu,
    "dropout": dropout,
}


def twenty_steps_of(name, dtype):
    """The parameters after the last step, and the cost of each step before it is made."""
    _, eta, lmbda = twenty_steps.NETWORKS[name]
    params = [torch.tensor(param, dtype=dtype) for param in twenty_steps.first_params(name)]
    x, y = (torch.tensor(array) for array in twenty_steps.digits())
    x, y = x.to(dtype), y.long()
    masks = [torch.tensor(mask, dtype=dtype) for mask in twenty_steps.masks()]
    costs = []
    for step in range(twenty_steps.STEPS):
        rows = twenty_steps.rows(step)
        for param in params:
            param.requires_grad_(True).grad = None
        z = NETWORKS[name](params, x[rows], [mask[rows] for mask in masks])
        squared_weights = sum((w**2).sum() for w in params[::2])
        cost = functional.cross_entropy(z, y[rows])
        cost = cost + 0.5 * lmbda / twenty_steps.STEPS * squared_weights
        cost.backward()
        with torch.no_grad():
            for param in params:
                param -= eta * param.grad
        costs.append(cost.detach().numpy()[()])
    return [param.detach().numpy() for param in params], costs


def positions(first, last):
    """Flat positions of the entries to keep: half spread evenly, half those that moved most."""
    if first.size <= ENTRIES:
        return list(range(first.size))
    even = np.linspace(0, first.size - 1, ENTRIES // 2).astype(int)
    moved = np.abs(last - first).ravel()
    moved[even] = -1
    return sorted([*even.tolist(), *np.argsort(-moved)[: ENTRIES // 2].tolist()])


def number(value):
    """A NumPy number as the shortest decimal that gives it back."""
    return float(np.format_float_positional(value, unique=True))


def record():
    torch.set_num_threads(1)
    networks = {}
    for name in twenty_steps.NETWORKS:
        of_dtype = {dtype: twenty_steps_of(name, getattr(torch, dtype)) for dtype in ("float64", "float32")}
        params = []
        for index, first in enumerate(twenty_steps.first_params(name)):
            where = positions(first, of_dtype["float64"][0][index])
            param = {"shape": first.shape, "positions": where}
            for dtype, (values, _) in of_dtype.items():
                value = values[index]
                param[dtype] = {
                    "norm": float(np.linalg.norm(value.astype(np.float64))),
                    "sum": float(value.sum(dtype=np.float64)),
                    "entries": [number(entry) for entry in value.ravel()[where]],
                }
            params.append(param)
        costs = {dtype: [number(cost) for cost in run[1]] for dtype, run in of_dtype.items()}
        begin = twenty_steps.fingerprint(name)
        networks[name] = {"begin": begin, "costs": costs, "params": params}
    return {
        "made by": "tests/network3/record_torch.py",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "networks": networks,
    }


if __name__ == "__main__":
    lines = json.dumps(record(), separators=(", ", ": ")).replace('{"shape"', '\n{"shape"')
    RECORDED.write_text(lines + "\n")
