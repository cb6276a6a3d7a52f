"""Graphs as data: counts and attributes of the networkx graphs of twenty functions."""

import networkx
import numpy as np
import pytest
from looked_at import made

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError, GraphError
from symnet.graph.traversal import ancestors, toposort
from symnet.inspect import to_networkx

MADE = {name: (function, arguments) for name, function, arguments in made()}


def nodes_of(graph, kind):
    return [name for name, about in graph.nodes(data=True) if about["kind"] == kind]


def count(function, ends):
    """Nodes, and edges, that a graph of these ends has."""
    order = toposort(ends)
    leaves = [each for each in ancestors(ends) if each.owner is None]
    return len(order) + len(leaves) + len(ends), sum(len(node.inputs) for node in order) + len(ends)


@pytest.mark.parametrize("name", MADE)
def test_the_graph_of(name):
    function, arguments = MADE[name]
    function(*arguments)
    graph = to_networkx(function)
    assert isinstance(graph, networkx.MultiDiGraph)
    assert (len(graph), graph.number_of_edges()) == count(function, function.graph.outputs)
    assert len(nodes_of(graph, "op")) == len(function.graph.nodes)
    assert networkx.is_directed_acyclic_graph(graph)
    for node, about in graph.nodes(data=True):
        assert {"kind", "label", "dtype", "shape"} <= set(about), node
        assert about["dtype"] == str(np.dtype(about["dtype"]))
        if about["kind"] == "op":
            assert about["op"] and about["line"].endswith(tuple("0123456789"))
    for _, target, about in graph.edges(data=True):
        assert about["dtype"] and isinstance(about["input"], int), target


@pytest.mark.parametrize("name", MADE)
def test_the_users_graph_of(name):
    function, _ = MADE[name]
    asked = function.asked
    ends = [*asked.outputs, *asked.updates.values()]
    graph = to_networkx(function, stage="user")
    if not asked.givens:
        assert (len(graph), graph.number_of_edges()) == count(function, ends)
    else:
        (given,) = nodes_of(graph, "given")
        assert graph.in_degree(given) == 1 and graph.nodes[given]["label"] == "x"
    assert len(nodes_of(graph, "update")) == len(asked.updates)
    assert len(nodes_of(graph, "output")) == len(asked.outputs)


@pytest.mark.parametrize("name", MADE)
def test_the_program_of(name):
    function, arguments = MADE[name]
    function(*arguments)
    graph = to_networkx(function, stage="program", seconds={k.name: 1e-6 for k in function.kernels})
    calls = [call for kernel in function.kernels for call in kernel.calls]
    assert len(nodes_of(graph, "kernel")) == len(calls)
    buffers = {buffer for call in calls for buffer in call.buffers}
    assert len(graph) == len(calls) + len(buffers)
    for each in nodes_of(graph, "kernel"):
        assert graph.degree(each) >= 1 and graph.nodes[each]["seconds"] == 1e-6
        assert graph.nodes[each]["bytes"] >= 0 and graph.nodes[each]["flops"] >= 0


def test_after_a_call_nodes_know_lengths_kernels_and_times():
    function, arguments = MADE["product"]
    function(*arguments)
    (kernel,) = function.kernels
    graph = to_networkx(function, seconds={kernel.name: 2e-6})
    about = graph.nodes["dot"]
    assert about["shape"] == (2, 2) and about["kernel"] == kernel.name and about["seconds"] == 2e-6
    assert about["op"] == "dot" and "T.dot(x, y)" in about["text"]
    assert [each["input"] for _, _, each in graph.in_edges("dot", data=True)] == [0, 1]


def test_names_may_be_odd_and_equal():
    first, second = T.dscalar('a "b"\n[c] ü \\'), T.dscalar('a "b"\n[c] ü \\')
    graph = to_networkx(first + second)
    assert [each for each in graph if graph.nodes[each]["kind"] == "input"] == [
        'a "b"\n[c] ü \\',
        'a "b"\n[c] ü \\_1',
    ]


def test_a_graph_of_thousands_of_nodes():
    x = T.dscalar("x")
    y = x
    for _ in range(5000):
        y = y + x
    graph = to_networkx(y)
    assert len(graph) == 5002 and graph.number_of_edges() == 10001


def test_what_is_no_graph_or_has_no_such_stage_is_refused():
    x = T.dscalar("x")
    with pytest.raises(GraphError, match="neither a variable nor a function"):
        to_networkx(3)
    with pytest.raises(ArgumentError, match="stage='end'"):
        to_networkx(x, stage="end")
    with pytest.raises(ArgumentError, match="needs a function"):
        to_networkx(x, stage="rewritten")
    with pytest.raises(ArgumentError, match="call the function once"):
        to_networkx(symnet.function([x], x + 1), stage="program")
    with pytest.raises(ArgumentError, match="reference"):
        to_networkx(symnet.function([x], x + 1, mode="reference"), stage="program")


def test_times_come_from_a_profile():
    x, w = T.dmatrix("x"), symnet.shared(np.ones((30, 20)))
    f = symnet.function([x], T.sum(T.dot(x, w)))
    f(np.ones((40, 30)))
    profile = f.profile(np.ones((40, 30)), n=3)
    graph = to_networkx(f, "program", profile)
    times = {
        about["kernel"]: about["seconds"] for _, about in graph.nodes(data=True) if about["kind"] == "kernel"
    }
    assert times == {kernel.name: kernel.seconds for kernel in profile.kernels} and len(times) == 2
