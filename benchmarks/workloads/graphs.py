"""Takes nothing; hands on the workloads that build and rewrite large graphs, without compiling them."""

from workloads.workload import Workload

SIZES = (100, 1000, 10000, 100000)


def workloads():
    """The workloads, in the order in which they are run and reported."""
    parts = ("build", "rewrite")
    return [Workload(f"graph/{size}", "once", "graph", {"nodes": size}, parts=parts) for size in SIZES]


def graph(nodes):
    """The number of applications of operations that `grown` makes."""
    return {"nodes": nodes}


def grown(x, y, nodes, tanh):
    """A chain of that many applications of operations on x and y, none of which can be left out."""
    a = x
    for node in range(nodes):
        a = _next(a, x, y, node, tanh)
    return a


def _next(a, x, y, node, tanh):
    if node % 3 == 0:
        return a * y
    return a + x if node % 3 == 1 else tanh(a)


INPUTS = {"graph": graph}
