"""Every op on every sample: compiled code, NumPy's meaning, gradients, printing and pickling agree."""

from __future__ import annotations

import importlib
import pickle
import pkgutil

import numpy as np
import pytest

import symnet
import symnet.ops
import symnet.tensor as T
from symnet.backend.cpu import split
from symnet.compile.mode import Mode
from symnet.graph.op import Op
from symnet.graph.traversal import toposort
from symnet.graph.types import TensorType
from symnet.ops.elementwise import ROWS, Elementwise

from . import (
    elementwise_samples,
    indexing_samples,
    linalg_samples,
    network_samples,
    reduction_samples,
    shape_samples,
)
from .sample import FLOATS, weighted_sum

FAMILIES = (
    elementwise_samples,
    reduction_samples,
    shape_samples,
    indexing_samples,
    linalg_samples,
    network_samples,
)
SAMPLES = [sample for family in FAMILIES for sample in family.SAMPLES]
#: Rules on single rows have their own cases, in tests/rewrite.
REWRITTEN = [sample for family in FAMILIES[1:] for sample in family.SAMPLES]
#: The Numba backend compiles slowly: one sample of each kind of kernel, all others when asked (-m slow).
BY_NUMBA = {
    "integers that wrap",
    "max at ties",
    "argmax of bools and bytes",
    "concatenate of nothing and something",
    "a mini-batch of float32",
    "by a mask of nothing and of all",
    "additions where indices repeat",
    "outer",
    "conv2d of integers",
    "max pooling of ties",
    "logsoftmax",
    "permutations",
}
#: Among as many: every kind of kernel, of which a fifth are enough.
SHARED_OUT = [
    *REWRITTEN[::5],
    *elementwise_samples.SAMPLES[::25],
]
AS_WRITTEN = Mode("default", optimizer=None)
STEP = 1e-6


class Case:
    """A sample's outputs, gradients and second-order gradients, with arrays for all inputs."""

    def __init__(self, sample):
        self.sample = sample
        self.inputs = sample.variables()
        self.arrays = list(sample.arrays)
        built = sample.build(*self.inputs)
        self.values = built if isinstance(built, list) else [built]
        self.wrt = [x for x in self.inputs if x.dtype in FLOATS]
        self.outputs = list(self.values)
        self.cost = self.gradients = None
        floats = [each for each in self.values if each.dtype in FLOATS]
        if sample.order and floats and self.wrt:
            self.differentiate(floats)

    def differentiate(self, floats):
        random = self.sample.generator()
        known = symnet.function(self.inputs, floats, mode="reference", on_unused_input="ignore")(*self.arrays)
        weights = [self.extra(value.shape, value.dtype, random) for value in known]
        self.cost = weighted_sum(floats, weights)
        self.gradients = T.grad(self.cost, self.wrt, disconnected_inputs="ignore")
        self.outputs += self.gradients
        if self.sample.order > 1:
            directions = [
                self.extra(x.shape, x.dtype, random) for x in self.sample.arrays if x.dtype in FLOATS
            ]
            projected = weighted_sum(self.gradients, directions)
            self.outputs += T.grad(projected, self.wrt, disconnected_inputs="ignore")

    def extra(self, shape, dtype, random):
        """A further input of random weights."""
        variable = TensorType(dtype, shape=[1 if n == 1 else None for n in shape])()
        self.inputs = [*self.inputs, variable]
        self.arrays.append(random.uniform(0.5, 1.5, shape).astype(dtype))
        return variable

    def function(self, mode, outputs=None):
        return symnet.function(
            self.inputs,
            self.outputs if outputs is None else outputs,
            mode=mode,
            on_unused_input="ignore",
        )


def assert_agree(found, wanted, ulps, where):
    """The same dtype, shape, NaN and infinity; other entries within some units of the last place."""
    assert found.dtype == wanted.dtype and found.shape == wanted.shape, where
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, err_msg=where)
        return
    eps = np.finfo(found.dtype).eps
    finite = np.abs(wanted[np.isfinite(wanted)])
    largest = float(finite.max()) if finite.size else 0.0
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            found, wanted, rtol=ulps * eps, atol=min(ulps / 4 * eps * largest, 1e280), err_msg=where
        )


def check(case, mode):
    wanted = case.function("reference")(*case.arrays)
    found = case.function(mode)(*case.arrays)
    for place, (mine, its, variable) in enumerate(zip(found, wanted, case.outputs, strict=True)):
        what = "value" if place < len(case.values) else "derivative"
        widest = case.sample.ulps
        if mine.dtype == "float64" and any(x.dtype == "float32" for x in case.arrays):
            widest = max(widest, 2.0**29 * case.sample.ulps)
        assert_agree(mine, its, widest, f"{what} {place}: {variable}")
        assert variable.type.shape == tuple(
            None if n is None else length for n, length in zip(variable.type.shape, mine.shape, strict=True)
        ), f"{variable.type} has a value of shape {mine.shape}"
    return wanted


def check_difference(case, wanted):
    """The gradient along a random direction is what a central difference gives, in float64."""
    random = case.sample.generator()
    cost = case.function("reference", case.cost)
    count = len(case.values)
    derivative = 0.0
    moved = [list(case.arrays), list(case.arrays)]
    for gradient, variable in zip(wanted[count : count + len(case.wrt)], case.wrt, strict=True):
        if variable.dtype != "float64":
            continue
        position = case.inputs.index(variable)
        direction = random.uniform(-1, 1, case.arrays[position].shape)
        derivative += float(np.sum(gradient * direction))
        for sign, arrays in zip((1, -1), moved, strict=True):
            arrays[position] = arrays[position] + sign * STEP * direction
    difference = (float(cost(*moved[0])) - float(cost(*moved[1]))) / (2 * STEP)
    assert derivative == pytest.approx(
        difference, rel=2e-6, abs=2e-7 * max(1.0, abs(float(cost(*case.arrays))))
    )


def check_pickled(case):
    """The graph comes back from a pickle, and means the same."""
    inputs, values = pickle.loads(pickle.dumps((case.inputs, case.values)))
    again = symnet.function(inputs, values, mode="reference", on_unused_input="ignore")(*case.arrays)
    first = case.function("reference", case.values)(*case.arrays)
    for mine, its in zip(again, first, strict=True):
        np.testing.assert_array_equal(mine, its)
    for node in toposort(case.values):
        assert pickle.loads(pickle.dumps(node.op)) == node.op
        assert str(node.op) and node.op.name and "object at" not in str(node.op)


def by_name(samples):
    return {"argvalues": samples, "ids": [each.name for each in samples]}


@pytest.mark.parametrize("sample", **by_name(SAMPLES))
def test_compiled_means_what_numpy_means(sample):
    case = Case(sample)
    wanted = check(case, AS_WRITTEN)
    if sample.smooth and case.gradients:
        check_difference(case, wanted)
    check_pickled(case)


@pytest.mark.parametrize("sample", **by_name(REWRITTEN))
def test_rewritten_means_the_same(sample):
    check(Case(sample), "default")


@pytest.mark.parametrize("sample", **by_name(SHARED_OUT))
def test_any_number_of_threads_gives_the_same_bits(sample, monkeypatch):
    """Each kernel is cut into the smallest chunks that there are, and done by one thread or by four."""
    monkeypatch.setattr(split, "_WORTH", 0.0)
    monkeypatch.setattr(split, "_VECTOR_ROUNDS", 1)
    case = Case(sample)
    with symnet.config.override(cache=False, threads=1):
        function = case.function("default")
        alone = function(*case.arrays)
    with symnet.config.override(threads=4):
        for _ in range(5):
            for mine, its in zip(function(*case.arrays), alone, strict=True):
                assert mine.tobytes() == its.tobytes()


@pytest.mark.parametrize("sample", **by_name([each for each in SAMPLES if each.name in BY_NUMBA]))
def test_numba_means_the_same(sample):
    with symnet.config.override(backend="numba"):
        check(Case(sample), AS_WRITTEN)


@pytest.mark.slow
@pytest.mark.parametrize("sample", **by_name([each for each in SAMPLES if each.name not in BY_NUMBA]))
def test_all_by_numba(sample):
    with symnet.config.override(backend="numba"):
        check(Case(sample), AS_WRITTEN)


def test_each_sample_has_a_name_of_its_own():
    names = [each.name for each in SAMPLES]
    assert sorted(set(names)) == sorted(names)


def test_every_op_has_a_sample():
    """Each class of op, and each row of the table, is in some sample's graph or its gradients'."""
    found, rows = set(), set()
    for sample in SAMPLES:
        for node in toposort(Case(sample).outputs):
            found.add(type(node.op))
            if type(node.op) is Elementwise:
                rows.add(node.op.name)
    for module in pkgutil.iter_modules(symnet.ops.__path__, "symnet.ops."):
        importlib.import_module(module.name)
    concrete = {
        kind
        for kind in subclasses(Op)
        if kind.__module__.startswith("symnet.ops.") and not kind.__subclasses__()
    }
    assert {kind.__name__ for kind in concrete - found} == set()
    assert set(ROWS) - rows == set()


def subclasses(kind):
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)
