"""Takes a graph and values, and holds what is compiled to the ops' NumPy meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import symnet
from symnet.compile.mode import Mode

#: The graph as it is written, compiled; rewriting is left out.
AS_WRITTEN = Mode("default", optimizer=None)


def hold_to_numpy(
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *calls: Sequence[Any],
    mode: Any = AS_WRITTEN,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> Any:
    """Compile the outputs as one function, hold every call to the reference, hand the function on."""
    compiled = symnet.function(inputs, outputs, mode=mode, on_unused_input="ignore")
    reference = symnet.function(inputs, outputs, mode="reference", on_unused_input="ignore")
    for call in calls:
        given = zip(compiled(*call), reference(*call), strict=True)
        for number, (value, expected) in enumerate(given):
            assert value.dtype == expected.dtype and value.shape == expected.shape, number
            np.testing.assert_allclose(value, expected, rtol=rtol, atol=atol, err_msg=f"output {number}")
    return compiled
