"""`theano.tensor.opt`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.effects import Assert, assert_op

__getattr__ = module_getattr(__name__)
