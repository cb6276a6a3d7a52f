"""Random draws: the generator against its published vectors, distributions, streams, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from symnet.compile.function import function
from symnet.compile.random_streams import MRG_RandomStreams, RandomStreams
from symnet.compile.shared import shared
from symnet.config import config
from symnet.errors import ArgumentError, GraphError, SymnetError
from symnet.gradient import grad
from symnet.graph.types import TensorType
from symnet.ops import philox
from symnet.ops.elementwise import cast
from symnet.ops.random import RandomDraw
from symnet.ops.reduction import sum as reduce_sum

from .evaluate import evaluate

ONES, PI = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)


def run(output: Any, inputs: Any = (), **settings: Any) -> Any:
    return function(list(inputs), output, mode="reference", **settings)


# --- the generator ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_published_vectors_of_philox(counter: Any, key: Any, expected: Any) -> None:
    assert tuple(int(word) for word in philox.philox(counter, key)) == expected


def test_a_draw_depends_on_its_element_and_not_on_the_count() -> None:
    state = (7, 1, 2)
    for dtype in ("float32", "float64"):
        for draw in (philox.uniform, philox.normal):
            np.testing.assert_array_equal(draw(state, 5, dtype), draw(state, 12, dtype)[:5])
    three, two = np.full(9, 3), np.full(9, 2)
    half = np.full(9, 0.5)
    assert (philox.binomial(state, two, half) <= philox.binomial(state, three, half)).all()


def test_seed_stream_and_call_each_change_every_draw() -> None:
    draws = [
        philox.uniform(state, 8, "float64").tobytes()
        for state in ((1, 2, 3), (2, 2, 3), (1 + 2**32, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1))
    ]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype: str) -> None:
    state, count = (11, 0, 5), 20000
    uniform = philox.uniform(state, count, dtype)
    assert uniform.dtype == dtype and uniform.min() >= 0 and uniform.max() < 1
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 0.01
    normal = philox.normal(state, count, dtype)
    assert normal.dtype == dtype
    assert scipy.stats.kstest(normal, "norm").pvalue > 0.01
    assert abs(np.corrcoef(normal[0::2], normal[1::2])[0, 1]) < 0.03


def test_discrete_distributions() -> None:
    state, count = (12, 0, 5), 20000
    heads = philox.binomial(state, np.full(count, 6), np.full(count, 0.3))
    expected = scipy.stats.binom(6, 0.3).pmf(range(7)) * count
    assert scipy.stats.chisquare(np.bincount(heads, minlength=7), expected).pvalue > 0.01
    dice = philox.integers(state, np.full(count, 1), np.full(count, 6))
    assert set(dice) == {1, 2, 3, 4, 5, 6}
    assert scipy.stats.chisquare(np.bincount(dice)[1:]).pvalue > 0.01
    orders = philox.permutations(state, count, 3) @ [9, 3, 1]
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 6 and scipy.stats.chisquare(counts).pvalue > 0.01
    assert philox.permutations(state, 2, 0).shape == (2, 0)


def test_probabilities_0_and_1_are_certain() -> None:
    drawn = philox.binomial((1, 0, 0), np.full(4000, 3), np.repeat([0.0, 1.0], 2000))
    assert (drawn[:2000] == 0).all() and (drawn[2000:] == 3).all()


# --- streams ---------------------------------------------------------------------------------------


def test_every_call_draws_anew_and_a_seed_brings_the_draws_back() -> None:
    streams = RandomStreams(seed=234)
    draw = run(streams.uniform((2, 2)))
    other = run(streams.uniform((2, 2)))
    first, second = draw(), draw()
    assert not np.array_equal(first, second) and not np.array_equal(first, other())
    streams.seed(902340)
    elsewhere = draw()
    streams.seed(234)
    np.testing.assert_array_equal(draw(), first)
    streams.seed()
    np.testing.assert_array_equal(draw(), first)
    assert not np.array_equal(elsewhere, first)
    again = RandomStreams(234)
    np.testing.assert_array_equal(run(again.uniform((2, 2)))(), first)


def test_one_draw_used_twice_is_one_draw() -> None:
    streams = RandomStreams(3)
    u = streams.uniform((4,))
    assert (run(u - u)() == 0).all()
    one, two = run([u, u * 1])()
    np.testing.assert_array_equal(one, two)


def test_without_default_updates_a_function_repeats() -> None:
    draw = RandomStreams(3).normal((3,))
    repeating = run(draw, no_default_updates=True)
    first = repeating()
    np.testing.assert_array_equal(repeating(), first)
    by_hand = run(draw, no_default_updates=True, updates=[draw.update])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(by_hand(), first)
    assert not np.array_equal(by_hand(), by_hand())


def test_state_updates() -> None:
    streams = RandomStreams(5)
    a, b = streams.binomial((2,)), streams.binomial((2,))
    assert [state for state, _ in streams.state_updates] == [a.rng, b.rng]  # type: ignore[attr-defined]
    assert streams.updates() == streams.state_updates
    state, after = streams.state_updates[0]
    np.testing.assert_array_equal(evaluate(after, {state: [5, 0, 41]}), [5, 0, 42])
    run(a)()
    np.testing.assert_array_equal(a.rng.get_value(), [5, 0, 1])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(b.rng.get_value(), [5, 1, 0])  # type: ignore[attr-defined]


def test_a_refused_draw_takes_no_stream() -> None:
    streams, others = RandomStreams(1), RandomStreams(1)
    with pytest.raises(ArgumentError):
        streams.binomial((2,), p=2)
    np.testing.assert_array_equal(run(streams.uniform((3,)))(), run(others.uniform((3,)))())


def test_no_seed_is_a_fresh_seed() -> None:
    assert RandomStreams()._seed != RandomStreams()._seed
    assert RandomStreams([1, 2, 3])._seed == RandomStreams(np.array([1, 2, 3]))._seed


# --- sizes, dtypes, parameters ---------------------------------------------------------------------


def test_sizes() -> None:
    streams = RandomStreams(1)
    x, n = TensorType("float64", (None, None))(), TensorType("int32", ())()
    vector = TensorType("int64", (None,))()
    assert streams.uniform((1, 3)).type.shape == (1, 3)
    assert streams.uniform(5).type.shape == (5,)
    assert streams.uniform().ndim == 0
    by_shape = run(streams.uniform(x.shape), [x])  # type: ignore[attr-defined]
    assert by_shape(np.zeros((4, 2))).shape == (4, 2)
    by_number = run(streams.normal((n, 3, n + 1)), [n])
    assert by_number(2).shape == (2, 3, 3)
    by_vector = run(streams.binomial(vector, ndim=2), [vector])
    assert by_vector([3, 4]).shape == (3, 4)
    with pytest.raises(GraphError, match="ndim="):
        streams.uniform(vector)
    with pytest.raises(ArgumentError, match="ndim=2"):
        streams.uniform((3,), ndim=2)
    with pytest.raises(ArgumentError, match="negative"):
        streams.uniform((3, -1))
    with pytest.raises(ValueError, match="negative"):
        by_number(-1)


def test_parameters_give_the_size_when_none_is_given() -> None:
    streams = RandomStreams(1)
    p = TensorType("float64", (None, 1))()
    draw = streams.binomial(n=[1, 5], p=p)
    assert draw.type == TensorType("int64", (None, 2))
    drawn = run(draw, [p])([[0.0], [1.0]])
    np.testing.assert_array_equal(drawn, [[0, 0], [1, 5]])
    assert streams.normal(avg=np.zeros((3, 1)), std=np.ones(4)).type.shape == (3, 4)


def test_dtypes() -> None:
    streams = RandomStreams(1)
    for floatx in ("float32", "float64"):
        with config.override(floatX=floatx):
            assert streams.uniform((2,)).dtype == streams.normal((2,)).dtype == floatx
            assert streams.binomial((2,), dtype="floatX").dtype == floatx
            assert streams.uniform((2,), low=-0.1, high=0.3).dtype == floatx
    assert streams.uniform((2,), dtype="float16").dtype == "float16"
    assert streams.binomial((2,)).dtype == streams.random_integers((2,)).dtype == "int64"
    assert streams.binomial((2,), dtype="int8").dtype == "int8"
    with pytest.raises(GraphError, match="int32"):
        streams.uniform((2,), dtype="int32")


def test_ranges_and_moments() -> None:
    streams = RandomStreams(9)
    u, z = run([streams.uniform((5000,), -2.0, 3.0), streams.normal((5000,), 10.0, 0.5)])()
    assert u.min() >= -2 and u.max() < 3 and abs(u.mean() - 0.5) < 0.1
    assert abs(z.mean() - 10) < 0.05 and abs(z.std() - 0.5) < 0.05
    i = run(streams.random_integers((500,), low=-1, high=1))()
    assert set(i) == {-1, 0, 1}
    columns = run(streams.uniform((400, 2), low=np.array([0.0, 5.0]), high=np.array([1.0, 6.0])))()
    assert columns[:, 0].max() < 1 and columns[:, 1].min() >= 5


def test_dropout_masks_of_equal_streams_are_equal() -> None:
    masks = [
        run(cast(RandomStreams(684).binomial(n=1, p=0.5, size=(10, 100)), "float32"))() for _ in range(2)
    ]
    np.testing.assert_array_equal(*masks)
    assert set(masks[0].ravel()) == {0, 1} and 0.45 < masks[0].mean() < 0.55


def test_gradient_by_parameters_of_real_draws() -> None:
    streams = RandomStreams(2)
    mean, deviation = TensorType("float64", ())(), TensorType("float64", ())()
    draw = streams.normal((50,), mean, deviation)
    slopes = grad(reduce_sum(draw), [mean, deviation])
    value, by_mean, by_deviation = run([draw, *slopes], [mean, deviation])(2.0, 3.0)
    assert by_mean == 50
    np.testing.assert_allclose(by_deviation, ((value - 2) / 3).sum())
    p = TensorType("float64", (None,))()
    heads = streams.binomial(p=p)
    np.testing.assert_array_equal(run(grad(reduce_sum(heads * p), p), [p])([1.0, 0.0]), [1, 0])


def test_choice() -> None:
    streams = RandomStreams(4)
    values = np.array([10, 20, 30])
    drawn = run(streams.choice((300,), a=values))()
    assert set(drawn) == {10, 20, 30}
    assert set(run(streams.choice((300,), a=4))()) == {0, 1, 2, 3}
    weighted = run(streams.choice((4000,), a=values, p=[0.1, 0.0, 0.9]))()
    assert set(weighted) == {10, 30} and 0.07 < (weighted == 10).mean() < 0.13
    once = run(streams.choice((2, 3), a=6, replace=False))()
    assert once.shape == (2, 3) and sorted(once.ravel()) == list(range(6))
    assert run(streams.choice(a=values))().shape == ()
    with pytest.raises(GraphError, match="vector"):
        streams.choice((3,), a=np.zeros((2, 2)))


def test_permutation_and_shuffle() -> None:
    streams = RandomStreams(4)
    orders = run(streams.permutation((5,), n=7))()
    assert orders.shape == (5, 7)
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(7), (5, 1)))
    assert len({tuple(row) for row in orders}) > 1
    x = shared(np.arange(12.0).reshape(3, 4))
    shuffle = run(streams.shuffle_row_elements(x))
    first = shuffle()
    np.testing.assert_array_equal(np.sort(first, axis=1), x.get_value())
    assert not np.array_equal(first, shuffle())
    assert sorted(run(streams.shuffle_row_elements(x[0]))()) == [0, 1, 2, 3]  # type: ignore[index]


def test_multinomial() -> None:
    streams = RandomStreams(4)
    p = TensorType("float64", (None, None))()
    rows = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    drawn = run(streams.multinomial(pvals=p, n=40), [p])(rows)
    np.testing.assert_array_equal(drawn[0], [0, 40, 0])
    assert drawn[1].sum() == 40 and drawn[1, 1] == 0 and 5 < drawn[1, 0] < 35
    assert run(streams.multinomial(size=(6,), pvals=[0.2, 0.8], n=1, dtype="float32"))().sum() == 6
    assert run(streams.multinomial(pvals=[0.2, 0.8], n=3))().sum() == 3


def test_mrg_has_the_same_streams() -> None:
    plain, mrg = RandomStreams(12345), MRG_RandomStreams()
    np.testing.assert_array_equal(run(plain.uniform((3,)))(), run(mrg.uniform((3,), nstreams=1024))())
    np.testing.assert_array_equal(mrg.rstate, [12345, 1])


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "arguments", "error", "words"),
    [
        ("binomial", {"p": 1.5}, ArgumentError, "p=1.5"),
        ("binomial", {"p": float("nan")}, ArgumentError, "p=nan"),
        ("binomial", {"n": -1}, ArgumentError, "n=-1"),
        ("binomial", {"n": 1.5}, GraphError, "n is an integer"),
        ("random_integers", {"low": 3, "high": 2}, ArgumentError, "low=3"),
        ("uniform", {"low": np.zeros((2, 3))}, GraphError, "low has 2 axes"),
        ("normal", {"truncate": True}, SymnetError, "truncate"),
        ("binomial", {"size": 2.5}, SymnetError, "shape"),
        ("binomial", {"size": (2.5,)}, GraphError, "integer"),
    ],
)
def test_refusals_quote_the_users_line(
    method: str, arguments: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        getattr(RandomStreams(1), method)(**{"size": (4,), **arguments})
    assert "test_random.py" in str(caught.value)


def test_parameters_are_checked_when_the_function_runs() -> None:
    p, low = TensorType("float64", (None,))(), TensorType("int64", ())()
    streams = RandomStreams(1)
    heads = streams.binomial(p=p)
    draw = run(heads, [p])
    before = heads.rng.get_value()  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match=r"p=-0\.5") as caught:
        draw([0.5, -0.5])
    assert "heads = streams.binomial(p=p)" in str(caught.value)
    np.testing.assert_array_equal(heads.rng.get_value(), before)  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match="low=2"):
        run(streams.random_integers((2,), low=low), [low])(2)
    with pytest.raises(ValueError, match="size's"):
        run(streams.binomial((3,), p=p), [p])([0.5, 0.5])


@pytest.mark.parametrize("seed", ["a", 1.5, True, [[1]]])
def test_seeds_are_integers(seed: Any) -> None:
    with pytest.raises((GraphError, TypeError)):
        RandomStreams(seed)


def test_negative_seeds_and_unknown_distributions() -> None:
    with pytest.raises(ArgumentError, match="from 0"):
        RandomStreams(-1)
    with pytest.raises(ArgumentError, match="poisson"):
        RandomDraw("poisson", 1, "int64")
