"""`theano.tensor.nnet.sigm`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.elementwise_table import sigmoid, softplus
from symnet.ops.nnet import hard_sigmoid, ultra_fast_sigmoid

__getattr__ = module_getattr(__name__)
