"""`theano.tensor.subtensor`: names only."""

from __future__ import annotations

from symnet.absent import module_getattr
from symnet.ops.indexing import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
)
from symnet.ops.subscript import inc_subtensor, set_subtensor, take

__getattr__ = module_getattr(__name__)
