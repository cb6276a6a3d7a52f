"""How PyTorch does the workloads of benchmarks/gpu.py, eagerly: takes their inputs, hands on what is called
and its results. Where the layout of images may be chosen, both are tried and the faster is reported."""

from gpu_peers import settings
from peers import torch_peer
from workloads.absent import AbsentError
from workloads.device import POOL_STRIDE, POOL_WINDOW, SHOWN

PACKAGE = "torch"


def environment(threads, cache):
    """What the process is started with."""
    return torch_peer.environment(threads, cache)


def start(threads):
    """Versions. Products and convolutions of float32 are in float32 until `precise` is told else."""
    import torch

    if settings.on_gpu() and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no GPU")
    described = torch_peer.start(threads)
    torch.backends.cudnn.benchmark = True
    precise("float32")
    if settings.on_gpu():
        described["versions"] |= {"CUDA": torch.version.cuda, "cuDNN": str(torch.backends.cudnn.version())}
    return described


def precise(precision):
    """Multiply in "float32" or in "tf32" from now on."""
    import torch

    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def device():
    """Where tensors lie."""
    return "cuda" if settings.on_gpu() else "cpu"


def wait():
    """Wait until the device has done all that it was told."""
    import torch

    if settings.on_gpu():
        torch.cuda.synchronize()


def begin():
    """Give back what memory the workload before had."""
    import gc

    import torch

    gc.collect()
    if settings.on_gpu():
        torch.cuda.empty_cache()


def training_step(inputs):
    """One step of torch.optim.SGD; the cost is read with `.item()`."""
    begin()
    trained = torch_peer.Trained(inputs, device())
    return {"eager": lambda: (lambda i: trained.step(i).item(), lambda: None, trained.results)}


def training_steps(inputs):
    """Many steps, one after the other; the costs are read at the end."""
    import torch

    begin()
    trained = torch_peer.Trained(inputs, device())
    count = inputs["steps"]

    def steps(i):
        return torch.stack([trained.step(j) for j in range(i * count, (i + 1) * count)]).cpu().numpy()

    return {"eager": lambda: (steps, lambda: None, trained.results)}


def training_epoch(inputs):
    raise AbsentError("eagerly it is a loop of the steps under map/")


def scaled(inputs):
    """c * x."""
    return repeated(inputs, *scaled_by(inputs))


def scaled_sum(inputs):
    """maximum(c * x + y, 0)."""
    return repeated(inputs, *scaled_sum_by(inputs))


def summed(inputs):
    """The sum of x by an axis."""
    return repeated(inputs, *summed_by(inputs))


def product(inputs):
    """a times b."""
    return repeated(inputs, *product_by(inputs))


def repeated(inputs, once, result):
    """Many operations in a call."""
    count = inputs["repeated"]

    def call(i):
        for c in range(1, count + 1):
            once(float(c))

    return {"eager": lambda: (call, wait, lambda: [each.cpu().numpy() for each in result()])}


def scaled_by(inputs):
    """A function of c that computes it, and one that gives the tensors which are compared."""
    import torch

    (x,) = _tensors(inputs, "x")
    out = torch.empty_like(x)
    return lambda c: torch.mul(x, c, out=out), lambda: [out[:SHOWN], out[-SHOWN:]]


def scaled_sum_by(inputs):
    import torch

    x, y = _tensors(inputs, "x", "y")
    out = torch.empty_like(x)
    return (
        lambda c: torch.add(y, x, alpha=c, out=out).clamp_min_(0),
        lambda: [out[:SHOWN], out[-SHOWN:]],
    )


def summed_by(inputs):
    import torch

    (x,) = _tensors(inputs, "x")
    axis = inputs["axis"]
    if axis is None:
        out = torch.empty((1, 1), device=x.device)
        return lambda c: torch.sum(x, (0, 1), keepdim=True, out=out), lambda: [out[0, 0]]
    out = torch.empty(x.shape[1 - axis], device=x.device)
    return lambda c: torch.sum(x, axis, out=out), lambda: [out]


def product_by(inputs):
    import torch

    precise(inputs["precision"])
    a, b = _tensors(inputs, "a", "b")
    out = torch.empty_like(a)
    return lambda c: torch.mm(a, b, out=out), lambda: [out]


def _tensors(inputs, *names):
    import torch

    begin()
    return [torch.from_numpy(inputs[name]).to(device()) for name in names]


def alexnet(inputs):
    """One step of torch.optim.SGD with momentum."""
    layouts = ("NCHW", "channels last")
    return {f"eager, {layout}": lambda layout=layout: _alexnet(inputs, layout) for layout in layouts}


def _alexnet(inputs, layout):
    trained = AlexNet(inputs, layout)
    images = inputs["images"]

    def step(i):
        rows = slice(i * images, (i + 1) * images)
        return trained.step_on(trained.x[rows], trained.y[rows]).item()

    return step, lambda: None, trained.results


class AlexNet:
    """The network on the device, and what it is trained on; layout: "NCHW" or "channels last"."""

    def __init__(self, inputs, layout):
        import torch

        begin()
        precise(inputs["precision"])
        self.inputs = inputs
        self.format = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}[layout]
        self.params = []
        for param in inputs["params"]:
            tensor = torch.from_numpy(param).to(device())
            if tensor.dim() == 4:
                tensor = tensor.flip(2, 3).contiguous(memory_format=self.format)
            elif tensor.dim() == 2:
                tensor = tensor.T.contiguous()
            self.params.append(tensor.clone().requires_grad_(True))
        self.x = torch.from_numpy(inputs["x"]).to(device()).contiguous(memory_format=self.format)
        self.y = torch.from_numpy(inputs["y"]).long().to(device())
        self.optimiser = torch.optim.SGD(
            self.params, lr=inputs["eta"], momentum=inputs["momentum"], fused=True
        )

    def cost_of(self, a, y):
        """The cost of images and labels."""
        from torch.nn import functional

        layers = self.inputs["layers"]
        for number, (_, *convolution) in enumerate(layers):
            w, b = self.params[2 * number : 2 * number + 2]
            if convolution:
                stride, padding, pooled = convolution
                a = functional.conv2d(a, w, b, stride=stride, padding=padding).relu()
                a = functional.max_pool2d(a, POOL_WINDOW, POOL_STRIDE) if pooled else a
                continue
            a = a.flatten(1)
            if number == len(layers) - 1:
                return functional.cross_entropy(functional.linear(a, w, b), y)
            if self.inputs["p_dropout"]:
                a = functional.dropout(a, self.inputs["p_dropout"])
            a = functional.linear(a, w, b).relu()
        raise AssertionError("the last layer gives the cost")

    def step_on(self, x, y):
        """One step on these images and labels; the cost, on the device."""
        cost = self.cost_of(x, y)
        self.optimiser.zero_grad()
        cost.backward()
        self.optimiser.step()
        return cost.detach()

    def results(self):
        """The parameters as the workload's inputs have them."""
        arrays = []
        for param in self.params:
            tensor = param.detach()
            tensor = tensor.flip(2, 3) if tensor.dim() == 4 else tensor.T if tensor.dim() == 2 else tensor
            arrays.append(tensor.cpu().numpy())
        return arrays
