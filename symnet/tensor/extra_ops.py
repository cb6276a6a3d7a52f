"""`theano.tensor.extra_ops`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.joining import repeat
from symnet.ops.shape import squeeze

__getattr__ = module_getattr(__name__)
