"""How PyTorch does the workloads, eagerly and by torch.compile, of which the faster is reported: takes
their inputs, hands on what is called and its results. Of the ways that PyTorch has, the one that measures
fastest: biases inside the convolution, L2 as weight decay inside the fused optimiser."""

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
    return {
        "eager": lambda: _step(inputs, compiled=False),
        "torch.compile": lambda: _step(inputs, compiled=True),
    }


def training_steps(inputs):
    """Many steps, one after the other."""
    step, wait, results = _step(inputs, compiled=False)
    count = inputs["steps"]
    return lambda i: [step(i * count + j) for j in range(count)], wait, results


def _step(inputs, compiled):
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

    def cost_of(a, y):
        for (kind, _, activation, p_dropout), w, b in zip(layers, weights, biases, strict=True):
            if kind == "convolution":
                a = a if a.dim() == 4 else a.reshape(-1, 1, 28, 28)
                a = functional.max_pool2d(functional.conv2d(a, w, b), 2)
            else:
                a = a.flatten(1)
                a = functional.dropout(a, p_dropout) if p_dropout else a
                a = functional.linear(a, w, b)
            a = activations[activation](a) if activation else a
        return functional.cross_entropy(a, y)

    if compiled:
        torch._dynamo.reset()
        cost_of = torch.compile(cost_of, dynamic=False)

    def function(i):
        rows = slice(i * size, (i + 1) * size)
        cost = cost_of(x[rows], y[rows])
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        return cost.item()

    def results():
        arrays = []
        for (kind, _, _, _), w, b in zip(layers, weights, biases, strict=True):
            w = w.detach().flip(2, 3) if kind == "convolution" else w.detach().T
            arrays += [w.numpy(), b.detach().numpy()]
        return arrays

    return function, lambda: None, results
