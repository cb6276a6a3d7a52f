"""`theano.tensor.nnet.nnet`, where Theano defines most of `T.nnet`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.elementwise_table import sigmoid, softplus
from symnet.ops.nnet import (
    binary_crossentropy,
    categorical_crossentropy,
    crossentropy_categorical_1hot,
    crossentropy_softmax_1hot,
    crossentropy_softmax_1hot_with_bias,
    crossentropy_softmax_argmax_1hot_with_bias,
    elu,
    logsoftmax,
    relu,
    selu,
    sigmoid_binary_crossentropy,
    softmax,
    softmax_graph,
    softmax_with_bias,
    softsign,
)

__getattr__ = module_getattr(__name__)
