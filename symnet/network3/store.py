"""Takes a network's parameters and hands on a file of arrays by name, and takes that file back.
The file is an .npz of numbers: loading it runs nothing, and it is written whole or not at all.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from symnet.network3.errors import DataError
from symnet.network3.files import written_whole


def _named_parameters(network: Any) -> dict[str, Any]:
    """The shared variables of a network by name: layer0.w, layer0.b, layer1.w, and so on."""
    return {
        f"layer{number}.{param.name or place}": param
        for number, layer in enumerate(network.layers)
        for place, param in enumerate(layer.params)
    }


def save_parameters(network: Any, filename: str | os.PathLike[str]) -> None:
    """Write the parameters of `network` to an .npz: one array each, named layer0.w and so on.

    The file appears under its name when it is complete; an older one stays as it is until then.
    Raises OSError when the folder can't be written.
    """
    path = Path(filename)
    arrays = {name: param.get_value() for name, param in _named_parameters(network).items()}
    with written_whole(path) as stream:
        np.savez(stream, **arrays)


def load_parameters(network: Any, filename: str | os.PathLike[str]) -> None:
    """Set the parameters of `network` from a file that `save_parameters` wrote.

    All names and shapes are checked before the first parameter is set. Raises `DataError` for a
    file that is missing or damaged, or that belongs to another network.
    """
    try:
        with np.load(filename, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{filename} can't be read: {type(error).__name__}: {error}") from error
    params = _named_parameters(network)
    expected = {name: param.get_value(borrow=True).shape for name, param in params.items()}
    given = {name: array.shape for name, array in arrays.items()}
    if given != expected:
        raise DataError(
            f"{filename} does not hold the parameters of this network",
            [f"given: {given}", f"expected: {expected}"],
        )
    for name, param in params.items():
        param.set_value(arrays[name].astype(param.dtype))
