"""What a case's expression means: takes Theano's modules, or ours, and hands on values or errors.

Shared by the recording, made under Theano's Python, and by the test, so it keeps to Python 3.8 and
any NumPy.
"""

import builtins

import numpy as np

from oracle.case import DTYPES


def error_name(error):
    """The most special built-in class of an exception, which a program would catch it by."""
    for kind in type(error).__mro__:
        if getattr(builtins, kind.__name__, None) is kind:
            return kind.__name__
    raise AssertionError(f"not an exception: {error!r}")


def attempt(function):
    """A function's value, or the name of the error that it raises."""
    try:
        return function()
    except Exception as error:
        return error_name(error)


def scope(theano, tensor, variables):
    """The names that an expression may use."""
    return dict(variables, theano=theano, T=tensor, np=np, attempt=attempt, DTYPES=DTYPES)


def make_variables(tensor, case, broadcastable):
    """A variable for each input of a case."""
    return {
        name: tensor.TensorType(given["dtype"], broadcastable(case, name))(name)
        for name, given in case["inputs"].items()
    }


def weighted(tensor, expression, variables, wrt):
    """The weights' variable; by name the gradients of sum(expression * weights), or errors."""
    weights = tensor.TensorType(expression.dtype, expression.broadcastable)("weights")
    cost = tensor.sum(expression * weights)
    gradients = {}
    for name in wrt:
        try:
            gradients[name] = tensor.grad(cost, variables[name])
        except Exception as error:
            gradients[name] = error
    return weights, gradients


def differentiated(case, dtype):
    """The inputs by which a case's expression is differentiated."""
    if not dtype.startswith("float"):
        return []
    if case["wrt"] is not None:
        return list(case["wrt"])
    return [n for n, given in case["inputs"].items() if given["dtype"].startswith("float")]


def plain(value):
    """A Python value that an expression gave, in the form that JSON keeps."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": numbers(value)}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"an expression gave a {type(value).__name__}, which has no form in the recording")


def numbers(array):
    """The entries of an array, flat, short and exact."""
    flat = np.asarray(array).ravel()
    if flat.dtype == "float32":
        return [float(f"{each:.9g}") for each in flat]
    return flat.tolist()
