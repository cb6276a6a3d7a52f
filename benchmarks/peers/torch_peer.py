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

    trained = Trained(inputs)
    if compiled:
        torch._dynamo.reset()
        trained.cost_of = torch.compile(trained.cost_of, dynamic=False)
    return lambda i: trained.step(i).item(), lambda: None, trained.results


class Trained:
    """A network of the workloads on a device, and the data that it is trained on."""

    def __init__(self, inputs, device="cpu"):
        import torch

        self.inputs, self.size = inputs, inputs["mini_batch_size"]
        self.weights, self.biases = [], []
        beginning = inputs["params"][::2], inputs["params"][1::2]
        for (kind, _, _, _), w, b in zip(inputs["layers"], *beginning, strict=True):
            w, b = torch.tensor(w), torch.tensor(b)
            w = w.flip(2, 3) if kind == "convolution" else w.T.contiguous()
            self.weights.append(w.to(device).requires_grad_(True))
            self.biases.append(b.to(device).requires_grad_(True))
        self.x = torch.tensor(inputs["x"]).to(device)
        self.y = torch.tensor(inputs["y"]).long().to(device)
        decay = inputs["lmbda"] / inputs["mini_batches"]
        groups = [{"params": self.weights, "weight_decay": decay}, {"params": self.biases}]
        self.optimiser = torch.optim.SGD(groups, lr=inputs["eta"], fused=True)

    @property
    def params(self):
        """Weights and biases."""
        return [*self.weights, *self.biases]

    def cost_of(self, a, y):
        """The cost of images and labels."""
        import torch
        from torch.nn import functional

        activations = {"relu": torch.relu, "sigmoid": torch.sigmoid}
        side = self.inputs["side"]
        for (kind, _, activation, p_dropout), w, b in zip(
            self.inputs["layers"], self.weights, self.biases, strict=True
        ):
            if kind == "convolution":
                a = a if a.dim() == 4 else a.reshape(-1, 1, side, side)
                a = functional.max_pool2d(functional.conv2d(a, w, b), 2)
            else:
                a = a.flatten(1)
                a = functional.dropout(a, p_dropout) if p_dropout else a
                a = functional.linear(a, w, b)
            a = activations[activation](a) if activation else a
        return functional.cross_entropy(a, y)

    def step(self, i):
        """One step, on the rows of mini-batch i; the cost, on the device."""
        rows = slice(i * self.size, (i + 1) * self.size)
        return self.step_on(self.x[rows], self.y[rows])

    def step_on(self, x, y):
        """One step on these images and labels."""
        cost = self.cost_of(x, y)
        self.optimiser.zero_grad()
        cost.backward()
        self.optimiser.step()
        return cost.detach()

    def results(self):
        """The parameters as the workload's inputs have them."""
        arrays = []
        layers = zip(self.inputs["layers"], self.weights, self.biases, strict=True)
        for (kind, _, _, _), w, b in layers:
            w = w.detach().flip(2, 3) if kind == "convolution" else w.detach().T
            arrays += [w.cpu().numpy(), b.detach().cpu().numpy()]
        return arrays
