"""`theano.tensor.nnet.conv`, the old interface of convolution: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.convolution import get_conv_output_shape
from symnet.ops.convolution import old_conv2d as conv2d

__getattr__ = module_getattr(__name__)
