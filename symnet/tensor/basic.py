"""`theano.tensor.basic`, where Theano defines most of `T`: the names of `symnet.tensor`."""

from __future__ import annotations

import symnet.tensor as _tensor
from symnet.absent import module_getattr

globals().update({name: value for name, value in vars(_tensor).items() if not name.startswith("_")})
__getattr__ = module_getattr(__name__)
