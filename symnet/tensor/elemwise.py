"""`theano.tensor.elemwise`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.shape import DimShuffle

__getattr__ = module_getattr(__name__)
