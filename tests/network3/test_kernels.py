"""What the book's four training steps are made of: which kernels there are, and what none of them stores."""

import numpy as np
import pytest

import symnet
from symnet.compile.program import ContractionCall
from symnet.network3 import Network

from .test_steps import BATCH, NETWORKS, dropout_layers

# name: the weights updated in the store of their gradient, of how many; products whose store computes
# an activation, the gradient through one, or the scores; kernels at most. The second convolution's gradient
# by the filters is no product: behind pooling and a rectifier it goes by lists of entries that are not zero.
KERNELS = {
    "shallow": ((2, 2), 3, 19),
    "basic_conv": ((2, 3), 3, 28),
    "dbl_conv_relu": ((2, 4), 3, 45),
    "dropout": ((3, 5), 6, 52),
}


@pytest.mark.parametrize("name", KERNELS)
def test_what_nobody_asked_for_is_not_stored(name):
    with symnet.config.override(floatX="float32"):
        layers, eta, lmbda = NETWORKS.get(name, (dropout_layers, 0.03, 0.0))
        net = Network(layers(), BATCH)
        x = symnet.shared(np.zeros((2 * BATCH, 784), "float32"))
        y = symnet.shared(np.zeros(2 * BATCH, "int32"))
        train = net._training_function((x, y), 2, eta, lmbda)
    train(0)
    program = train._executor._latest.program
    stores = [
        call.buffers[2].kind == "input"
        for call in program.calls
        if isinstance(call, ContractionCall) and call.contraction.epilogue is not None
    ]
    weights = [param for param in net.params if param.ndim > 1]
    updated, activations, most = KERNELS[name]
    assert (sum(stores), len(weights)) == updated
    assert len(stores) - sum(stores) == activations
    assert len(program.kernels) <= most
