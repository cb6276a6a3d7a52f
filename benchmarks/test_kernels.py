"""Takes the workloads of one operation each and hands them to pytest-benchmark, on symnet alone:

    pip install -e '.[benchmark]'
    pytest benchmarks
    pytest benchmarks -k softmax --benchmark-save=before
    pytest benchmarks -k softmax --benchmark-compare

Each line's extra information (in the file that --benchmark-json keeps) says how much of the machine's limit
was reached, where operations or bytes are counted.
"""

import numpy as np
import pytest
import table
from peers import symnet_kernels, symnet_peer
from workloads import kernels

import symnet

# Larger ones are for benchmarks/run.py, which calls each once in a round.
MOST_BYTES = 32 * 2**20


@pytest.fixture(scope="module")
def limits():
    return symnet_peer.limits()


@pytest.mark.parametrize(
    "workload",
    [each for each in kernels.workloads() if each.counted["read"] + each.counted["written"] <= MOST_BYTES],
    ids=lambda workload: workload.name,
)
def test_kernel(benchmark, workload, limits):
    with symnet.config.override(floatX="float32"):
        inputs = kernels.INPUTS[workload.kind](**workload.settings)
        (call,) = symnet_kernels.kernel(workload.kind, inputs).values()
        results = benchmark(call)
    results = results if isinstance(results, list) else [results]
    assert all(np.isfinite(each).all() for each in results)
    if benchmark.stats is not None:  # None by --benchmark-disable
        took = {"systems": {table.OURS: {"least": benchmark.stats["min"]}}, "counted": workload.counted}
        share = table.share_of_limit(took, limits)
        if share is not None:
            benchmark.extra_info["share of the machine's limit"] = round(share[0], 3)
            benchmark.extra_info["bound by"] = share[1]
