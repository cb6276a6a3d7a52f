"""How PyTorch does the workloads, eagerly: takes their inputs, hands on what is called and its
results. Of the ways that PyTorch has, the one that measures fastest: biases inside the convolution,
L2 as weight decay inside the fused optimiser."""

PACKAGE = "torch"


def environment(threads, cache):
    """What the process is started with."""
    return {"TORCHINDUCTOR_CACHE_DIR": cache}


def start(threads):
    """How many threads are used, and versions."""
    import torch

    torch.set_num_threads(threads)
    return {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__}}


def training_step(inputs):
    """One step of torch.optim.SGD; weights lie as PyTorch's own layers have them."""
    import torch
    from torch.nn import functional

    layers = inputs["layers"]
    beginning = inputs["params"][::2], inputs["params"][1::2]
    params = []
    for (kind, _, _, _), w, b in zip(layers, *beginning, strict=True):
        w, b = torch.tensor(w), torch.tensor(b)
        w = w.flip(2, 3) if kind == "convolution" else w.T.contiguous()
        params += [w.requires_grad_(True), b.requires_grad_(True)]
    weights, biases = params[::2], params[1::2]
    size = inputs["mini_batch_size"]
    x, y = torch.tensor(inputs["x"]), torch.tensor(inputs["y"]).long()
    decay = inputs["lmbda"] / inputs["mini_batches"]
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases}]
    optimiser = torch.optim.SGD(groups, lr=inputs["eta"], fused=True)
    activations = {"relu": torch.relu, "sigmoid": torch.sigmoid}

    def function(i):
        rows = slice(i * size, (i + 1) * size)
        a = x[rows]
        for (kind, _, activation, p_dropout), w, b in zip(layers, weights, biases, strict=True):
            if kind == "convolution":
                a = a if a.dim() == 4 else a.reshape(-1, 1, 28, 28)
                a = functional.max_pool2d(functional.conv2d(a, w, b), 2)
            else:
                a = a.flatten(1)
                a = functional.dropout(a, p_dropout) if p_dropout else a
                a = functional.linear(a, w, b)
            a = activations[activation](a) if activation else a
        cost = functional.cross_entropy(a, y[rows])
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        return cost

    def results():
        arrays = []
        for (kind, _, _, _), w, b in zip(layers, weights, biases, strict=True):
            w = w.detach().flip(2, 3) if kind == "convolution" else w.detach().T
            arrays += [w.numpy(), b.detach().numpy()]
        return arrays

    return function, lambda: None, results
