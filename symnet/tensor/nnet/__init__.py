"""Functions of neural networks, `T.nnet`: takes nothing, hands on what `ops/` has under Theano's names."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.convolution import conv2d, conv2d_grad_wrt_inputs
from symnet.ops.elementwise_table import sigmoid, softplus
from symnet.ops.nnet import (
    binary_crossentropy,
    categorical_crossentropy,
    crossentropy_categorical_1hot,
    crossentropy_softmax_1hot,
    crossentropy_softmax_1hot_with_bias,
    crossentropy_softmax_argmax_1hot_with_bias,
    elu,
    hard_sigmoid,
    logsoftmax,
    relu,
    selu,
    sigmoid_binary_crossentropy,
    softmax,
    softmax_graph,
    softmax_with_bias,
    softsign,
    ultra_fast_sigmoid,
)
from symnet.ops.normalization import batch_normalization

__getattr__ = module_getattr(__name__, ("abstract_conv", "bn", "conv", "nnet", "sigm"))
