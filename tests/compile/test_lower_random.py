"""Compiled draws against `symnet.ops.philox`: bits, sizes, parameters, refusals, masks without memory."""

from __future__ import annotations

import numpy as np
import pytest
from against_numpy import hold_to_numpy

import symnet
from symnet import tensor as T
from symnet.errors import ArgumentError
from symnet.ops.random import Permutation, draw
from symnet.tensor.shared_randomstreams import RandomStreams

RNG = np.random.default_rng(17)
STATES = [(123, 4, 5), (2**40 + 17, 2**31, 2**33), (-5, 0, 1)]


def test_draws_are_those_of_philox():
    """Bit for bit, whatever the state and the size."""
    state, n = T.lvector(), T.lscalar()
    size = T.stack([n, 7])
    p, trials, low = T.dmatrix(), T.lmatrix(), T.lvector()
    outputs = [
        draw("uniform", state, size, 2, "float32"),
        draw("uniform", state, size, 2, "float64"),
        draw("binomial", state, size, 2, "int64", 1, 0.5),
        draw("binomial", state, size, 2, "float32", 3, p),
        draw("binomial", state, size, 2, "int8", trials, p),
        draw("random_integers", state, size, 2, "int32", low, trials + 10),
        Permutation(1)(state, [n], 9),
    ]
    calls = []
    for numbers, rows in zip(STATES, (5, 40, 0), strict=True):
        parameters = [RNG.random((rows, 7)), RNG.integers(0, 6, (rows, 7)), RNG.integers(-9, 3, 7)]
        calls.append([np.array(numbers), rows, *parameters])
    hold_to_numpy([state, n, p, trials, low], outputs, *calls)


def test_normal_draws():
    """The logarithm and the cosine are this library's, so the last bits are not NumPy's."""
    state = T.lvector()
    outputs = [draw("normal", state, [333, 3], 2, dtype) for dtype in ("float32", "float64")]
    compiled = hold_to_numpy([state], outputs[:1], *[[np.array(s)] for s in STATES], rtol=1e-6, atol=1e-6)
    hold_to_numpy([state], outputs[1:], *[[np.array(s)] for s in STATES], rtol=1e-14, atol=1e-14)
    (drawn,) = compiled(np.array(STATES[0]))
    assert abs(drawn.mean()) < 0.1 and 0.9 < drawn.std() < 1.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"p": np.array([0.5, 1.5])}, "p is from 0 to 1; that of draw number 1 is not"),
        ({"p": np.array([np.nan, 0.5])}, "p is from 0 to 1; that of draw number 0 is not"),
        ({"n": np.array([2, -3])}, "n=-3: n is at least 0"),
        ({"low": np.array([0, 10])}, "low=10, high=9: low is at most high"),
    ],
)
def test_parameters_without_meaning_are_refused(given, said):
    """And nothing that would be updated is."""
    state = T.lvector()
    p, n, low = T.dvector("p"), T.lvector("n"), T.lvector("low")
    drawn = draw("binomial", state, [2], 1, "int64", n, p)
    drawn += draw("random_integers", state, [2], 1, "int64", low, 9)
    total = symnet.shared(np.zeros(2, "int64"))
    run = symnet.function([state, n, p, low], updates=[(total, total + drawn)])
    values = {"n": np.array([2, 3]), "p": np.array([0.5, 0.5]), "low": np.array([0, 9])}
    run(np.array(STATES[0]), *values.values())
    before = total.get_value()
    with pytest.raises(ArgumentError, match=said) as refused:
        run(np.array(STATES[0]), *(values | given).values())
    assert refused.value.source.file == __file__
    assert np.array_equal(total.get_value(), before)


def test_a_mask_lies_in_no_memory():
    """One kernel draws it and uses it; the state moves on with each call."""
    x = T.fmatrix()
    mask = RandomStreams(5).binomial(size=(30, 40), n=1, p=0.5)
    run = symnet.function([x], x * T.cast(mask, "float32"))
    reference = symnet.function(
        [x], x * T.cast(RandomStreams(5).binomial(size=(30, 40), n=1, p=0.5), "float32"), mode="reference"
    )
    ones = np.ones((30, 40), "float32")
    first, second = run(ones), run(ones)
    assert np.array_equal(first, reference(ones)) and np.array_equal(second, reference(ones))
    assert 0.4 < first.mean() < 0.6 and not np.array_equal(first, second)
    program = run._executor._latest.program
    masked = [b for b in program.buffers if b.kind == "arena" and b.capacity >= 1200]
    assert not masked


def test_a_mask_that_several_kernels_read_is_drawn_once():
    x = T.fmatrix()
    mask = T.cast(RandomStreams(5).binomial(size=(30, 40), n=1, p=0.5), "float32")
    run = symnet.function([x], [T.sum(x * mask, axis=0), T.dot(x, mask.T), T.tanh(mask)])
    sums, products, _ = run(np.ones((30, 40), "float32"))
    assert sums.sum() == products[0].sum()
    draws = [k for k in run._executor.kernels if any("binomial" in str(n.op) for n in k.nodes)]
    assert len(draws) == 1


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (7, 5), (2, 3, 4)])
def test_draws_that_are_stored_go_by_fours(shape):
    """The rest that fills no block too, and with a length that is only known when it is called."""
    state, n = T.lvector(), T.lscalar()
    parameters = {"uniform": (), "normal": (), "binomial": (2, 0.25), "random_integers": (-2, 7)}
    outputs, kinds = [], {"binomial": "int8", "random_integers": "int64"}
    for distribution, given in parameters.items():
        for size in (T.constant(np.array(shape)), T.stack([n, *shape[1:]])):
            kind = kinds.get(distribution, "float64")
            outputs.append(draw(distribution, state, size, len(shape), kind, *given))
    calls = [[np.array(numbers), shape[0] + more] for numbers in STATES for more in (0, 2)]
    run = hold_to_numpy([state, n], outputs, *calls, rtol=1e-14, atol=1e-14)
    stems = [call.kernel.name.split("k_")[1].split("_")[0] for call in run._executor._latest.program.calls]
    assert set(stems) == {"draw"}
