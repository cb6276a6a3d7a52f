"""Every kind of op on its samples, lowered for many threads and run by the CPU: it means what NumPy means."""

from __future__ import annotations

import pytest
from device_programs import FOR_A_DEVICE, FOR_A_DEVICE_AS_WRITTEN

from . import elementwise_samples
from .test_contract import REWRITTEN, Case, by_name, check


@pytest.mark.parametrize("sample", **by_name(REWRITTEN))
def test_rewritten_for_many_threads_means_the_same(sample):
    check(Case(sample), FOR_A_DEVICE)


@pytest.mark.parametrize("sample", **by_name([*REWRITTEN[::4], *elementwise_samples.SAMPLES[::25]]))
def test_as_written_for_many_threads_means_the_same(sample):
    check(Case(sample), FOR_A_DEVICE_AS_WRITTEN)
