"""How PyTensor does the workloads of one operation each: compiled by Numba, its default, and by its C
linker. It has no convolution of images by filters and no pooling."""

import pytensor
from peers import theano_terms
from pytensor import tensor
from pytensor.tensor.special import softmax
from workloads.absent import AbsentError

LARGEST_GRAPH = 1000


def variable(name, array):
    shape = [1 if length == 1 else None for length in array.shape]
    return tensor.TensorType(str(array.dtype), shape)(name)


FUNCTIONS = {"softmax": lambda x: softmax(x, axis=-1), "sigmoid": tensor.sigmoid}
MODES = {"numba": "NUMBA", "C": "CVM"}
TERMS = theano_terms.Terms(pytensor, tensor, variable, FUNCTIONS, MODES)


def kernel(kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    if kind in ("convolution", "pooling"):
        raise AbsentError(f"PyTensor {pytensor.__version__} has no {kind} of images")
    return theano_terms.kernel(TERMS, kind, inputs)


def graph(inputs):
    """What building and rewriting take; the Python linker compiles nothing."""
    if inputs["nodes"] > LARGEST_GRAPH:
        raise AbsentError("rewriting takes minutes")
    mode = pytensor.compile.mode.Mode(linker="py", optimizer="fast_run")
    return theano_terms.graph(TERMS, inputs, lambda ends, end: pytensor.function(ends, end, mode=mode))
