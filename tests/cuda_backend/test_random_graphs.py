"""Random expressions mean on a simulated device what they mean to NumPy, as `tests/property` has it."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from property.graphs import build
from property.test_graphs import FAMILIES, check

import symnet

#: A failure is shown as it came up: to make it smaller would take the simulator minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
bounded = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=PHASES
)


@settings(bounded, max_examples=40)
@given(data=st.data())
def test_graphs_of_every_kind_of_step(data):
    with symnet.config.override(device="cuda", cache=False):
        check(build(data, steps=8), None)


@pytest.mark.parametrize("family", FAMILIES)
@settings(bounded, max_examples=25)
@given(data=st.data())
def test_graphs_of_one_family(family, data):
    with symnet.config.override(device="cuda", cache=False):
        check(build(data, steps=8, names=FAMILIES[family]), None)
