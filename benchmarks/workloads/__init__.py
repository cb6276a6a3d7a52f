"""Takes nothing but NumPy and the clone's MNIST; hands on every workload, and the numbers it begins with.

A workload is the same for every system: what is measured has one name, its settings and its inputs are
made here, and a peer only says how its library does it. It runs under old Pythons too, as peers live in
environments of their own. By family: networks.py, kernels.py, graphs.py; device.py for benchmarks/gpu.py.
"""

from workloads import device, graphs, kernels, networks
from workloads.workload import Workload

__all__ = ["Workload", "all_workloads", "inputs"]

FAMILIES = (networks, kernels, graphs)


def all_workloads():
    """Every workload, in the order in which they are run and reported."""
    found = [each for family in FAMILIES for each in family.workloads()]
    return [*found, Workload("import", "import")]


def inputs(kind, settings):
    """What a peer's function of that kind is given, as a dict."""
    for family in (*FAMILIES, device):
        if kind in family.INPUTS:
            return family.INPUTS[kind](**settings)
    raise KeyError(kind)
