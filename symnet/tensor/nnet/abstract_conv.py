"""`theano.tensor.nnet.abstract_conv`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.convolution import (
    conv2d,
    conv2d_grad_wrt_inputs,
    conv2d_grad_wrt_weights,
    get_conv_output_shape,
)

__getattr__ = module_getattr(__name__)
