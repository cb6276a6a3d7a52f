"""How symnet does the workloads of one operation each."""

from peers import theano_terms

import symnet
import symnet.tensor as tensor
from symnet.tensor.nnet import conv2d, sigmoid, softmax
from symnet.tensor.signal.pool import pool_2d


def variable(name, array):
    shape = [1 if length == 1 else None for length in array.shape]
    return symnet.TensorType(str(array.dtype), tuple(shape))(name)


FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "conv2d": conv2d, "pool_2d": pool_2d}
TERMS = theano_terms.Terms(symnet, tensor, variable, FUNCTIONS, {"": None})


def kernel(kind, inputs):
    """Forms of an operation: by name, a function of nothing that gives its results."""
    return theano_terms.kernel(TERMS, kind, inputs)


def graph(inputs):
    """What building and rewriting take; kernels are made at the first call, which does not come."""
    return theano_terms.graph(TERMS, inputs, symnet.function)
