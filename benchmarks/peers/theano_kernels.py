"""How Theano does the workloads of one operation each, compiled by its C linker."""

import theano
from peers import theano_terms
from theano import tensor
from theano.tensor.nnet import conv2d, sigmoid, softmax
from theano.tensor.signal.pool import pool_2d
from workloads.absent import AbsentError

LARGEST_GRAPH = 100


def variable(name, array):
    return tensor.TensorType(str(array.dtype), [length == 1 for length in array.shape])(name)


FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "conv2d": conv2d, "pool_2d": pool_2d}
TERMS = theano_terms.Terms(theano, tensor, variable, FUNCTIONS, {"": None})


def kernel(kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    return theano_terms.kernel(TERMS, kind, inputs)


def graph(inputs):
    """What building and rewriting take; the Python linker compiles nothing."""
    if inputs["nodes"] > LARGEST_GRAPH:
        raise AbsentError("rewriting takes minutes")
    mode = theano.Mode(linker="py", optimizer="fast_run")
    return theano_terms.graph(TERMS, inputs, lambda ends, end: theano.function(ends, end, mode=mode))
