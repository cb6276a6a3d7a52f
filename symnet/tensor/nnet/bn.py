"""`theano.tensor.nnet.bn`, batch normalisation: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.normalization import (
    batch_normalization,
    batch_normalization_test,
    batch_normalization_train,
)

__getattr__ = module_getattr(__name__)
