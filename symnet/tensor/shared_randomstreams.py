"""`theano.tensor.shared_randomstreams`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.compile.random_streams import RandomStreams

__getattr__ = module_getattr(__name__)
