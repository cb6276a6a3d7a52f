"""`theano.tensor.signal.conv`, the convolution of matrices and stacks of them: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.convolution import signal_conv2d as conv2d

__getattr__ = module_getattr(__name__)
