"""symnet against Theano 1.0.5: every expression of the oracle, compiled and by reference.

What is compared was recorded by `oracle/record.py` and is numbers and names alone: dtype, shape,
broadcastable pattern, values, the gradient of sum(expression * weights) by each float input, or the
built-in class of the error where Theano refuses. `oracle/differences.py` lists where symnet means
something else, and why.
"""

import copy
import json
import pathlib
import warnings

import numpy as np
import pytest
import symnet.theano.tensor as T
import symnet.theano.tensor.nnet.conv
import symnet.theano.tensor.shared_randomstreams
import symnet.theano.tensor.signal.pool
from oracle.differences import DIFFERENCES
from oracle.evaluate import (
    differentiated,
    make_variables,
    plain,
    scope,
    weighted,
)
from oracle.expressions import CASES
from oracle.inputs import broadcastable, fingerprint, values, weights

import symnet
import symnet.theano as theano

RECORDED = json.loads((pathlib.Path(__file__).parent / "oracle" / "recorded.json").read_text())
MODES = ("default", "reference")
TOLERANCE = {"float32": (2e-5, 2e-6), "float64": (1e-10, 1e-12)}
#: Errors that say that a name is missing or that symnet broke: never what a refusal looks like.
ACCIDENTS = (
    AttributeError,
    NameError,
    ImportError,
    RecursionError,
    AssertionError,
    RuntimeError,
    KeyError,
)


def expected_of(case):
    """What Theano said, with the listed difference applied."""
    expected = copy.deepcopy(RECORDED[case["name"]])
    difference = dict(DIFFERENCES.get(case["name"], {}))
    gradients = {
        name: {
            **entry,
            "dtype": case["inputs"][name]["dtype"],
            "computed": entry.get("dtype"),
            **difference.get("gradients", {}).get(name, {}),
        }
        for name, entry in expected.get("gradients", {}).items()
    }
    for place, entry in difference.pop("entries", {}).items():
        expected["python"][place] = entry
    for old, new in difference.pop("replaced", {}).items():
        expected["python"] = replaced(expected["python"], old, new)
    expected.update(difference)
    expected["gradients"] = gradients
    return expected


def replaced(items, old, new):
    """A nested list with one entry in the place of another."""
    if isinstance(items, list):
        return [replaced(each, old, new) for each in items]
    return new if items == old else items


def assert_refused(expected, error, where):
    """An error of Theano's class; where Theano raises a bare Exception, any that is meant."""
    if expected["error"] == "Exception":
        assert not isinstance(error, ACCIDENTS), f"{where}: {error!r}"
        return
    kinds = [kind.__name__ for kind in type(error).__mro__]
    assert expected["error"] in kinds, f"{where}: Theano raises {expected['error']}, this is {error!r}"


def assert_same_numbers(expected, array, where, allowed=None):
    """The same dtype, shape and entries; NaN and infinity at the same places."""
    array = np.asarray(array)
    assert str(array.dtype) == expected["dtype"], (
        f"{where}: dtype {array.dtype}, Theano's {expected['dtype']}"
    )
    assert list(array.shape) == expected["shape"], (
        f"{where}: shape {array.shape}, Theano's {expected['shape']}"
    )
    wanted = np.array(expected["values"], dtype=expected["dtype"]).reshape(expected["shape"])
    if array.dtype.kind != "f":
        np.testing.assert_array_equal(array, wanted, err_msg=where)
        return
    relative, absolute = max(
        TOLERANCE[expected["dtype"]], TOLERANCE[expected.get("computed", expected["dtype"])]
    )
    finite = np.abs(wanted[np.isfinite(wanted)])
    if allowed is None:
        allowed = absolute * float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(array, wanted, rtol=relative, atol=allowed, err_msg=where)


def assert_same_python(expected, found, where):
    """Nested lists with the same names and numbers."""
    if isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), (
            f"{where}: {found!r}, Theano's {expected!r}"
        )
        for each, other in zip(expected, found, strict=True):
            assert_same_python(each, other, where)
    elif isinstance(expected, dict):
        assert_same_numbers(
            expected, np.array(found["values"], found["dtype"]).reshape(found["shape"]), where
        )
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-12, nan_ok=True), where
    else:
        assert found == expected, f"{where}: {found!r}, Theano's {expected!r}"


def evaluate(case, variables):
    """The expression's variable or Python value."""
    return eval(case["expression"], scope(theano, T, variables))


def check_python(case, expected):
    """An expression that is a Python value, or that is refused when it is written."""
    for mode in MODES:
        with symnet.config.override(floatX=case["floatX"], mode=mode):
            try:
                found = plain(evaluate(case, make_variables(T, case, broadcastable)))
            except Exception as error:
                assert "error" in expected, f"{mode}: {error!r}"
                assert_refused(expected, error, mode)
            else:
                assert "error" not in expected, (
                    f"{mode}: Theano raises {expected.get('error')}, this gives {found!r}"
                )
                assert_same_python(expected["python"], found, mode)


def check_tensor(case, expected):
    """An expression of tensors: its value and gradients, or its refusal when written or run."""
    with symnet.config.override(floatX=case["floatX"]):
        variables = make_variables(T, case, broadcastable)
        try:
            expression = evaluate(case, variables)
        except Exception as error:
            assert "error" in expected, f"{error!r}"
            assert_refused(expected, error, "written")
            return
        inputs, arguments = list(variables.values()), [values(case, name) for name in variables]
        outputs, names = [expression], []
        refusing = "error" in expected and not expected.get("works")
        if not refusing and not expected.get("works"):
            assert expression.dtype == expected["dtype"]
            # An axis may be known to have length 1 where Theano's type does not say so.
            axes = zip(expected["broadcastable"], expected["shape"], strict=True)
            allowed = [(True,) if one else (False, length == 1) for one, length in axes]
            assert all(map(tuple.__contains__, allowed, expression.broadcastable))
        wrt = [] if refusing else differentiated(case, expression.dtype)
        if wrt:
            factors, gradients = weighted(T, expression, variables, wrt)
            for name, gradient in gradients.items():
                wanted = expected["gradients"].get(name, {"works": True})
                if isinstance(gradient, Exception):
                    assert "error" in wanted and not wanted.get("works"), f"gradient by {name}: {gradient!r}"
                    assert_refused(wanted, gradient, f"gradient by {name}")
                else:
                    names.append(name)
                    outputs.append(gradient)
            inputs.append(factors)
            if not expected.get("works"):
                arguments.append(weights(expected["shape"], expression.dtype))
        # The reference runs a graph as it is written: it has no stabilised forms.
        for mode in MODES[:1] if case["optimised"] else MODES:
            run(case, expected, inputs, outputs, names, arguments, mode)


def run(case, expected, inputs, outputs, names, arguments, mode):
    """One function of the value and all gradients, in one mode."""
    try:
        function = theano.function(inputs, outputs, mode=mode, on_unused_input="ignore")
        if len(arguments) < len(inputs):
            first = theano.function(inputs[:-1], outputs[0], mode=mode, on_unused_input="ignore")(*arguments)
            arguments = [*arguments, weights(first.shape, str(first.dtype))]
        found = function(*arguments)
    except Exception as error:
        assert "error" in expected and not expected.get("works"), f"{mode}: {error!r}"
        assert_refused(expected, error, mode)
        return
    if expected.get("works"):
        return
    assert "error" not in expected, f"{mode}: Theano raises {expected.get('error')}, this gives {found!r}"
    assert_same_numbers(expected, found[0], f"{mode}: value", case["absolute"])
    for name, gradient in zip(names, found[1:], strict=True):
        wanted = expected["gradients"][name]
        if not wanted.get("works"):
            assert "error" not in wanted, f"{mode}: Theano refuses the gradient by {name}"
            assert_same_numbers(wanted, gradient, f"{mode}: gradient by {name}", case["absolute"])


@pytest.mark.parametrize("case", CASES, ids=[each["name"] for each in CASES])
def test_means_what_theano_means(case):
    expected = expected_of(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if expected.get("missing"):
            with pytest.raises(AttributeError):
                evaluate(case, make_variables(T, case, broadcastable))
        elif "python" in expected or (not case["inputs"] and "dtype" not in expected):
            check_python(case, expected)
        else:
            check_tensor(case, expected)


def test_the_recording_is_of_these_cases():
    assert {name: entry["fingerprint"] for name, entry in RECORDED.items()} == {
        case["name"]: fingerprint(case) for case in CASES
    }
    assert set(DIFFERENCES) <= set(RECORDED)
