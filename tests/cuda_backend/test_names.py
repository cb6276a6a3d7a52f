"""Variables may be called what kernels' texts call their own things."""

import keyword

import numpy as np
import pytest

import symnet
import symnet.tensor as T

NAMES = """thread block state own slots item lane cuda np math
    min max range len sum lane_swap load4 k part total""".split()


@pytest.mark.parametrize("names", [NAMES[:10], NAMES[10:], keyword.kwlist[3:13]], ids=str)
def test_names_of_arguments(names):
    variables = [T.dvector(name) for name in names]
    total = sum(x * (number + 1) for number, x in enumerate(variables))
    outputs = [total, T.sum(total), T.dot(variables[0], variables[1])]
    function = symnet.function(variables, outputs, device="cuda")
    arrays = [np.arange(5.0) + number for number in range(len(names))]
    wanted = sum(array * (number + 1) for number, array in enumerate(arrays))
    found = function(*arrays)
    np.testing.assert_array_equal(found[0], wanted)
    assert found[1] == wanted.sum() and found[2] == arrays[0] @ arrays[1]
