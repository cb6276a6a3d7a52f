"""`theano.tensor.type`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.graph.types import TensorType

__getattr__ = module_getattr(__name__)
