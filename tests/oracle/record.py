"""Evaluates every case by Theano 1.0.5 and writes recorded.json: numbers and names alone.

Run under a Python that has Theano, from the folder `tests`: `python -m oracle.record`. Nothing else
needs Theano.
"""

import json
import os
import sys
import warnings

os.environ["THEANO_FLAGS"] = "floatX=float64,device=cpu,optimizer=None,linker=py,mode=Mode," + os.environ.get(
    "THEANO_FLAGS", ""
)

import theano
import theano.tensor as T
import theano.tensor.nnet.conv
import theano.tensor.shared_randomstreams
import theano.tensor.signal.pool

from oracle.evaluate import (
    differentiated,
    error_name,
    make_variables,
    numbers,
    plain,
    scope,
    weighted,
)
from oracle.expressions import CASES
from oracle.inputs import broadcastable, fingerprint, values, weights

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded.json")


def run(inputs, outputs, arguments, case):
    """The outputs' values: by Theano's Python code, or by its C code where that is all it has."""
    optimizer = "fast_run" if case["optimised"] else None
    try:
        function = theano.function(
            inputs,
            outputs,
            mode=theano.Mode("py" if case["code"] == "py" else "c|py", optimizer),
            on_unused_input="ignore",
        )
        return function(*arguments)
    except (NotImplementedError, theano.gof.utils.MethodNotDefined):
        function = theano.function(
            inputs, outputs, mode=theano.Mode("c|py", optimizer), on_unused_input="ignore"
        )
        return function(*arguments)


def failed(stage, error):
    """The record of an error."""
    return {"stage": stage, "error": error_name(error), "class": type(error).__name__}


def array_record(array, variable):
    """The record of an array."""
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "broadcastable": list(variable.broadcastable),
        "values": numbers(array),
    }


def record(case):
    """What Theano says of one case."""
    theano.config.floatX = case["floatX"]
    variables = make_variables(T, case, broadcastable)
    try:
        expression = eval(case["expression"], scope(theano, T, variables))
    except Exception as error:
        return failed("build", error)
    if not isinstance(expression, theano.Variable):
        return {"python": plain(expression)}
    inputs = list(variables.values())
    arguments = [values(case, name) for name in variables]
    try:
        value = run(inputs, expression, arguments, case)
    except Exception as error:
        return failed("run", error)
    result = array_record(value, expression)
    wrt = differentiated(case, expression.dtype)
    if wrt:
        result["gradients"] = {}
        factors, gradients = weighted(T, expression, variables, wrt)
        for name, gradient in gradients.items():
            if isinstance(gradient, Exception):
                result["gradients"][name] = failed("gradient", gradient)
                continue
            try:
                (found,) = run(
                    inputs + [factors],
                    [gradient],
                    arguments + [weights(value.shape, expression.dtype)],
                    case,
                )
            except Exception as error:
                result["gradients"][name] = failed("gradient", error)
            else:
                result["gradients"][name] = array_record(found, gradient)
    return result


def main():
    """Record all cases; with arguments, print those whose name contains one of them."""
    warnings.simplefilter("ignore")
    wanted = sys.argv[1:]
    if wanted:
        for case in CASES:
            if any(word in case["name"] for word in wanted):
                print(case["name"], "|", case["expression"], "\n   ", json.dumps(record(case)))
        return
    recorded = {case["name"]: dict(record(case), fingerprint=fingerprint(case)) for case in CASES}
    with open(PATH, "w") as stream:
        stream.write("{\n")
        lines = [json.dumps(name) + ": " + json.dumps(entry) for name, entry in recorded.items()]
        stream.write(",\n".join(lines))
        stream.write("\n}\n")


if __name__ == "__main__":
    main()
