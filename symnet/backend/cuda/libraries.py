"""NVIDIA's libraries that compile: takes their names, hands on their bindings, or says what is missing."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from symnet.errors import CudaError

#: The packages that bring them.
_PACKAGES = {"nvvm": "nvidia-nvvm", "nvjitlink": "nvidia-nvjitlink"}


@cache
def library(name: str) -> Any:
    """The binding of a library, "nvvm" or "nvjitlink"; both take calls from several threads at once.

    Raises
    ------
    CudaError
        When the package of the bindings, or the library's own, is not there.
    """
    package = "cuda-bindings"
    try:
        found = import_module(f"cuda.bindings.{name}")
        package = _PACKAGES[name]
        # Bindings load their library at the first call.
        found.version()
    except (ImportError, RuntimeError) as error:
        raise missing(package, error) from None
    return found


def missing(package: str, error: Exception) -> CudaError:
    """The error of a package that is not there."""
    return CudaError(
        f"kernels are compiled by the package {package}, which can't be loaded: {error}",
        hint="pip install symnet[cuda] installs it",
    )
