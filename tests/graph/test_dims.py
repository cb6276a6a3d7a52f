"""Random sizes: what they may be at least and at most holds every value that they have."""

from hypothesis import given, settings
from hypothesis import strategies as st

from symnet.graph import dims
from symnet.graph.dims import FUNCTIONS, Size, interval

RANGES = {"n": (0, 9), "k": (-(1 << 63), (1 << 63) - 1), "few": (-3, 4)}
ARGUMENTS = {"select": 3, **dict.fromkeys(["neg", "abs", "identity"], 1)}
LEAVES = st.sampled_from([Size("leaf", name) for name in RANGES]) | st.integers(-7, 7)


def applied(parts):
    def of(function):
        count = 1 if "int" in function else ARGUMENTS.get(function, 2)
        return st.tuples(*[parts] * count).map(lambda arguments: dims.apply(function, *arguments))

    return st.sampled_from([name for name in FUNCTIONS if name != "identity"]).flatmap(of)


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(
    size=st.recursive(LEAVES, applied, max_leaves=8),
    values=st.fixed_dictionaries(
        {"n": st.integers(0, 9), "k": st.integers(-99, 99), "few": st.integers(-3, 4)}
    ),
)
def test_an_interval_holds_every_value(size, values):
    least, most = interval(size, RANGES.__getitem__)
    assert least <= dims.evaluate(size, values.__getitem__) <= most


def test_the_length_of_a_slice_is_bounded_by_its_axis():
    """x[k:] of 9 entries, k any integer: 9 - minimum(maximum(k < 0 ? k + 9 : k, 0), 9)."""
    k = Size("leaf", "k")
    start = dims.apply("select", dims.apply("lt", k, 0), dims.add(k, 9), k)
    start = dims.apply("minimum", dims.apply("maximum", start, 0), 9)
    assert interval(dims.subtract(9, start), RANGES.__getitem__) == (0, 9)
    assert interval(k, RANGES.__getitem__) == (-(1 << 63), (1 << 63) - 1)
