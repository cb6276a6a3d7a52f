"""How PyTorch does the workloads of benchmarks/gpu.py as CUDA graphs: takes their inputs, hands on what is
called and its results. Everything of a step, taking the rows of its mini-batch and noting its cost included,
is captured once and replayed; where there is no GPU there are no graphs, and it says so."""

from gpu_peers import settings, torch_peer
from peers.torch_peer import Trained

PACKAGE = "torch"
environment = torch_peer.environment
WARM_UP_CALLS = 3


def start(threads):
    """Versions."""
    if not settings.on_gpu():
        raise RuntimeError("CUDA graphs take a GPU")
    return torch_peer.start(threads)


def captured(body):
    """A function that runs again what `body` told the device, after some calls as warm-up."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            body()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph.replay


class Steps:
    """A captured step of a network with x, y, params, optimiser and step_on.

    index
        The number of the mini-batch, on the device; the step counts it up.
    costs
        Of each mini-batch the cost that its last step had, on the device.
    """

    def __init__(self, trained, size):
        import torch

        count = len(trained.y) // size
        self.index = torch.zeros(1, dtype=torch.long, device=torch_peer.device())
        self.costs = torch.zeros(count, device=torch_peer.device())
        within = torch.arange(size, device=torch_peer.device())
        first = [param.detach().clone() for param in trained.params]

        def step():
            rows = self.index * size + within
            x = trained.x.index_select(0, rows)
            x = x.contiguous(memory_format=trained.format) if x.dim() == 4 else x
            cost = trained.step_on(x, trained.y.index_select(0, rows))
            self.costs.index_copy_(0, self.index, cost.reshape(1))
            self.index.add_(1).remainder_(count)

        self.replay = captured(step)
        with torch.no_grad():  # as if there had been no warm-up
            for param, value in zip(trained.params, first, strict=True):
                param.copy_(value)
            for state in trained.optimiser.state.values():
                if state.get("momentum_buffer") is not None:
                    state["momentum_buffer"].zero_()
        torch.cuda.synchronize()

    def one(self, i):
        """Step i; its cost."""
        self.index.fill_(i)
        self.replay()
        return self.costs[i].item()

    def many(self, first, count):
        """The steps from `first` on; their costs."""
        self.index.fill_(first)
        for _ in range(count):
            self.replay()
        return self.costs[first : first + count].cpu().numpy()


def training_step(inputs):
    """One replayed step; the cost is read with `.item()`."""
    torch_peer.begin()
    trained = Trained(inputs, torch_peer.device())
    steps = Steps(trained, inputs["mini_batch_size"])
    return {"CUDA graph": lambda: (steps.one, lambda: None, trained.results)}


def training_steps(inputs):
    """Many replayed steps; the costs are read at the end."""
    torch_peer.begin()
    trained = Trained(inputs, torch_peer.device())
    steps, count = Steps(trained, inputs["mini_batch_size"]), inputs["steps"]
    return {"CUDA graph": lambda: (lambda i: steps.many(i * count, count), lambda: None, trained.results)}


training_epoch = training_steps


def alexnet(inputs):
    """One replayed step of AlexNet."""
    layouts = ("NCHW", "channels last")
    return {f"CUDA graph, {layout}": lambda layout=layout: _alexnet(inputs, layout) for layout in layouts}


def _alexnet(inputs, layout):
    trained = torch_peer.AlexNet(inputs, layout)
    return Steps(trained, inputs["images"]).one, lambda: None, trained.results


def scaled(inputs):
    """c * x."""
    return _repeated(inputs, *torch_peer.scaled_by(inputs))


def scaled_sum(inputs):
    """maximum(c * x + y, 0)."""
    return _repeated(inputs, *torch_peer.scaled_sum_by(inputs))


def summed(inputs):
    """The sum of x by an axis."""
    return _repeated(inputs, *torch_peer.summed_by(inputs))


def product(inputs):
    """a times b."""
    return _repeated(inputs, *torch_peer.product_by(inputs))


def _repeated(inputs, once, result):
    """Many operations in one graph."""

    def body():
        for c in range(1, inputs["repeated"] + 1):
            once(float(c))

    replay = captured(body)
    shown = lambda: [each.cpu().numpy() for each in result()]  # noqa: E731
    return {"CUDA graph": lambda: (lambda i: replay(), torch_peer.wait, shown)}
