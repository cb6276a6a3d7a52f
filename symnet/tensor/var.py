"""`theano.tensor.var`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.graph.variable import Constant as TensorConstant
from symnet.graph.variable import Variable as TensorVariable

__getattr__ = module_getattr(__name__)
