"""`theano.tensor.signal.downsample`, pooling under its old name: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.pool import max_pool_2d

__getattr__ = module_getattr(__name__)
