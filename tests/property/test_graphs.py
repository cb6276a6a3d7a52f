"""Random expressions mean compiled what they mean to NumPy: every bit, NaN and infinity included.

Each example is one function of all that was built, called with the arguments it was built on and again
with arguments of other lengths. Examples are drawn alike in every run.
"""

from __future__ import annotations

import numpy as np
import pytest
from device_programs import FOR_A_DEVICE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symnet
from symnet.compile.mode import Mode
from symnet.errors import SymnetError

from .graphs import STEPS, build, gathers_nothing

MODES = {"rewritten": None, "as written": Mode("default", optimizer=None)}
bounded = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def assert_same(found, wanted, outputs):
    for mine, its, variable in zip(found, wanted, outputs, strict=True):
        assert mine.dtype == its.dtype and mine.shape == its.shape, f"{variable}: {mine!r}, not {its!r}"
        np.testing.assert_array_equal(mine, its, err_msg=str(variable))


def check(graph, mode):
    outputs = graph.results()
    function = symnet.function(graph.arguments, outputs, mode=mode, on_unused_input="ignore")
    assert_same(
        function(*(graph.values[x] for x in graph.arguments)),
        [graph.value(x) for x in outputs],
        outputs,
    )
    check_other_lengths(graph, function, outputs, mode)


def check_other_lengths(graph, function, outputs, mode):
    """The function that is there already, with other lengths: the same values, or both refuse."""
    arguments = graph.other_arguments()
    try:
        wanted = graph.meaning(outputs, arguments)
    except SymnetError as error:
        # Rewriting may leave out what is refused, as nobody asks for its entries; and where a gather has
        # no entries, no index is looked at.
        if mode is not None and not gathers_nothing(error):
            with pytest.raises(SymnetError):
                function(*arguments)
        return
    if wanted is not None:
        assert_same(function(*arguments), wanted, outputs)


@pytest.mark.parametrize("mode", [*MODES.values(), FOR_A_DEVICE], ids=[*MODES, "for many threads"])
@settings(bounded, max_examples=70)
@given(data=st.data())
def test_graphs_of_every_kind_of_step(mode, data):
    check(build(data, steps=10), mode)


FAMILIES = {
    "elementwise": ("unary", "cast", "binary", "binary again", "switch", "clip"),
    "reductions": ("reduce", "arg", "dimshuffle", "binary", "dot"),
    "shapes": ("dimshuffle", "reshape", "create", "join", "slice"),
    "indexing": ("slice", "gather", "assign", "reshape", "binary"),
    "gradients": (
        "binary",
        "reduce",
        "slice",
        "gather",
        "assign",
        "reshape",
        "gradient",
        "gradient",
    ),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("family", FAMILIES)
@settings(bounded, max_examples=25)
@given(data=st.data())
def test_graphs_of_one_family(mode, family, data):
    check(build(data, steps=7, names=FAMILIES[family]), mode)


def test_every_step_has_a_family():
    assert set().union(*FAMILIES.values()) == set(STEPS)
