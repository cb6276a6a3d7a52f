"""Signal processing, `T.signal`: pooling and the convolution of matrices, names only."""

from __future__ import annotations

from symnet.absent import module_getattr

__getattr__ = module_getattr(__name__, ("conv", "downsample", "pool"))
