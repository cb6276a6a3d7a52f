"""Explanations as data: every one of the user's variables has a way, and the way ends where it should."""

import pickle

import numpy as np
import pytest
from looked_at import made

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError, GraphError
from symnet.graph.variable import Constant
from symnet.inspect.history import kernel_lines


@pytest.mark.parametrize("called", [False, True])
def test_ways_of_twenty_functions(called):
    for name, function, arguments in made():
        if called:
            function(*arguments)
        for way in symnet.explain(function).ways:
            if way.fate == "dropped":
                continue
            assert isinstance(way.end, Constant) or way.end in function.graph.clients, name
            assert (way.fate == "inside") <= (not called), name
            assert bool(way.kernels) == (way.fate == "computed"), name
            assert not way.steps or way.steps[-1].new is way.end, name
            assert all(a.new is b.old for a, b in zip(way.steps, way.steps[1:], strict=False)), name


def test_results_end_in_results():
    for name, function, _ in made():
        asked = [*function.asked.outputs, *function.asked.updates.values()]
        for variable, end in zip(asked, function.graph.outputs, strict=True):
            (way,) = symnet.explain(function, variable).ways
            assert way.end is end or (isinstance(end, Constant) and end.data == way.end.data), name


def test_lines_of_kernels_belong_to_their_nodes():
    x = T.dvector("x")
    y = T.exp(x)
    z = T.sqrt(y + 1)
    f = symnet.function([x], z)
    f(np.ones(3))
    (kernel,) = f.kernels
    for variable, text in ((y, "exp("), (z, "sqrt(")):
        (way,) = symnet.explain(f, variable).ways
        lines = [kernel.source.splitlines()[n - 1] for n in kernel_lines(kernel, way.end.owner)]
        assert any(text in line for line in lines)
        assert not any(other in line for line in lines for other in {"exp(", "sqrt("} - {text})


def test_a_line_of_the_network_leads_to_its_kernel():
    from symnet.network3 import FullyConnectedLayer, Network, SoftmaxLayer

    net = Network([FullyConnectedLayer(6, 4), SoftmaxLayer(4, 3)], 5)
    f = symnet.function([net.x], net.layers[-1].output_dropout, name="f")
    f(np.ones((5, 6), symnet.config.floatX))
    found = symnet.explain(f, "T.dot(self.inpt_dropout, self.w)")
    assert len([kernel for kernel in found.kernels if "dot" in kernel.name]) == 2
    text = str(found)
    assert "layers.py" in text and f'File "{__file__}"' in text and "for i_inner in range(6)" in text
    assert "layers.py" in str(symnet.explain(f))


def test_what_givens_put_in_place_is_followed():
    x, data, i = T.dmatrix("x"), symnet.shared(np.ones((6, 3)), name="data"), T.lscalar("i")
    batch = data[i * 2 : (i + 1) * 2]
    f = symnet.function([i], T.exp(x), givens={x: batch})
    f(1)
    (way,) = symnet.explain(f, batch).ways
    assert way.fate == "view" and way.buffer == "data"


def test_dropped_and_constant():
    x = T.dvector("x")
    unused, two = T.exp(x), T.constant(1.0) + 1.0
    f = symnet.function([x], T.zeros_like(unused)[:0].shape[0] * 0 + x * two)
    fates = {way.variable: way.fate for way in symnet.explain(f).ways}
    assert fates[two] == "constant"


def test_parts_that_are_not_there_are_refused():
    x = T.dvector("x")
    f = symnet.function([x], x + 1, name="f")
    with pytest.raises(ArgumentError, match=r"no part of function f was written in a line with 'nowhere'"):
        symnet.explain(f, "nowhere")
    with pytest.raises(ArgumentError, match="no part of function f was written in line 99999"):
        symnet.explain(f, 99999)
    with pytest.raises(ArgumentError, match="does not depend on this variable"):
        symnet.explain(f, T.exp(x))
    with pytest.raises(ArgumentError, match="names no part"):
        symnet.explain(f, 2.5)
    with pytest.raises(GraphError, match="is no function"):
        symnet.explain(x)


def test_a_pickled_function_is_explained_as_far_as_it_goes():
    x = T.dvector("x")
    f = symnet.function([x], T.exp(x) * 1)
    again = pickle.loads(pickle.dumps(f))
    assert "exp" in str(symnet.explain(again)) and again.rewriting.passes[1].history == []


def test_deep_graphs():
    x = T.dscalar("x")
    y = x
    for _ in range(3000):
        y = T.tanh(y) + 1
    f = symnet.function([x], y)
    assert len(symnet.explain(f).ways) == 6000
    assert len(symnet.dprint(y, file="str").splitlines()) == 9001
    assert len(symnet.pp(y)) < 200_000


def test_sums_and_what_is_made_of_them_have_lines_of_their_own():
    x, w = T.dmatrix("x"), symnet.shared(np.ones((4, 3)))
    product = T.dot(x, w)
    result = T.tanh(product)
    f = symnet.function([x], result)
    f(np.ones((5, 4)))
    text, last = str(symnet.explain(f, product)), str(symnet.explain(f, result))
    assert " += a[" in text and "tanh" not in text.partition("in kernel")[2].partition("\n")[2]
    assert "math.tanh" in last and " += " not in last
