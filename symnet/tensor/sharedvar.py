"""`theano.tensor.sharedvar`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.compile.shared import SharedVariable
from symnet.compile.shared import SharedVariable as ScalarSharedVariable
from symnet.compile.shared import SharedVariable as TensorSharedVariable

__getattr__ = module_getattr(__name__)
