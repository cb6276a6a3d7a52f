"""The book's four networks, tiny, train on a simulated device as on the CPU: costs, masks, parameters."""

import numpy as np
import pytest

from .networks import NAMES, TINY, training
from .processes import written_by

#: The other order of sums lets float32 parameters part by about so much in three steps.
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


@pytest.mark.parametrize("floatX", TOLERANCE)
@pytest.mark.parametrize("name", NAMES)
def test_training_steps(name, floatX):
    on_device = training(name, TINY, floatX, device="cuda")
    on_cpu = training(name, TINY, floatX, device="cpu")
    masks = 0
    for step in range(3):
        cost, *mine = on_device.step(step)
        wanted, *its = on_cpu.step(step)
        assert cost.dtype == floatX
        np.testing.assert_allclose(cost, wanted, rtol=20 * TOLERANCE[floatX])
        for drawn, same in zip(mine, its, strict=True):
            # The masks are not close but equal, bit for bit.
            assert drawn.dtype == same.dtype and drawn.tobytes() == same.tobytes()
            masks += 1
    assert masks == (9 if name == "dropout" else 0)
    for param, same in zip(on_device.params(), on_cpu.params(), strict=True):
        assert param.dtype == floatX
        np.testing.assert_allclose(param, same, rtol=0, atol=TOLERANCE[floatX])
    report = on_device.step.report
    assert report["device"] == "cuda" and on_cpu.step.report["device"] == "cpu"


@pytest.mark.parametrize("name", ["shallow", "dropout"])
def test_parameters_stay_on_the_device(name):
    """Of a step the index comes in, the cost and the masks go out, and nothing of the data or parameters."""
    train = training(name, TINY, device="cuda")
    train.step(0)
    before = train.step.report["transfers"]
    results = sum(np.asarray(each).nbytes for each in train.step(1))
    after = train.step.report["transfers"]
    moved = {key: after[key] - before[key] for key in after}
    assert moved["uploads"] == moved["downloads"] == 1
    assert moved["uploaded_bytes"] < 1000 and results <= moved["downloaded_bytes"] < results + 1000
    assert not any(count for key, count in moved.items() if key.startswith("shared"))


def test_many_steps_by_map():
    """`f.map` makes the same steps as a loop, bit for bit."""
    looped, mapped = (training("dropout", TINY, device="cuda") for _ in range(2))
    costs = [looped.step(number) for number in (0, 2, 1)]
    found = mapped.step.map(np.array([0, 2, 1]))
    for column, each in zip(found, zip(*costs, strict=True), strict=True):
        assert np.stack(each).tobytes() == np.asarray(column).tobytes()
    for mine, its in zip(mapped.params(), looped.params(), strict=True):
        assert mine.tobytes() == its.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_networks_train_by_their_compiled_code(name):
    """Two steps, by the PTX that a GPU would get."""
    (found,) = written_by("run_ptx", "networks", name).values()
    assert found["launches"] >= 2 * found["kernels"] > 4
    assert found["masks"] == (2 * TINY.batch * (2 + 2 * TINY.dropped) if name == "dropout" else 0)


@pytest.mark.parametrize("name", [*NAMES[:-1], pytest.param(NAMES[-1], marks=pytest.mark.slow)])
def test_the_books_networks_train_by_their_compiled_code(name):
    """A step of each at its full size: the tiles and grids of a real device."""
    (found,) = written_by("run_ptx", "full", name).values()
    assert found["launches"] >= found["kernels"] > 4
