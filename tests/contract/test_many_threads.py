"""Samples of every kind of op as they are written, lowered for many threads and run by the CPU.

`tests/cuda_backend` runs every sample, rewritten, on a simulated device.
"""

from __future__ import annotations

import pytest
from device_programs import FOR_A_DEVICE_AS_WRITTEN

from . import elementwise_samples
from .test_contract import REWRITTEN, Case, by_name, check


@pytest.mark.parametrize("sample", **by_name([*REWRITTEN[::3], *elementwise_samples.SAMPLES[::40]]))
def test_as_written_for_many_threads_means_the_same(sample):
    check(Case(sample), FOR_A_DEVICE_AS_WRITTEN)
