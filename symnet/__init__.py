"""symnet: symbolic tensors, differentiated and compiled as a whole.

Takes nothing, hands on the names that users write; what compiles is imported when it is first needed.

>>> import symnet, symnet.tensor as T
>>> x = T.dvector("x")
>>> cost = T.sum(x**2)
>>> f = symnet.function([x], [cost, symnet.grad(cost, x)])
>>> [result.tolist() for result in f([1.0, 2.0])]
[5.0, [2.0, 4.0]]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import symnet.ops.operators
from symnet import errors, tracebacks
from symnet.compile.function import Function, In, Out, function
from symnet.compile.mode import Mode, get_default_mode
from symnet.compile.shared import SharedVariable, shared
from symnet.config import config
from symnet.gradient import Lop, Rop, consider_constant, disconnected_grad, grad, zero_grad
from symnet.graph.op import Op
from symnet.graph.types import TensorType
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.gradient_filters import grad_clip, grad_scale

tracebacks.install()

if TYPE_CHECKING:
    from symnet import inspect, network3, tensor, theano
    from symnet.compile.verify_grad import verify_grad
    from symnet.inspect import dprint, explain, pp
    from symnet.inspect.benchmark import benchmark

__version__ = "0.1.0"

_SUBMODULES = ("inspect", "network3", "tensor", "theano")
_ELSEWHERE = {
    "benchmark": "symnet.inspect.benchmark",
    "dprint": "symnet.inspect.tree",
    "explain": "symnet.inspect.explanation",
    "pp": "symnet.inspect.mathematics",
    "verify_grad": "symnet.compile.verify_grad",
}

__all__ = [
    "Apply",
    "Constant",
    "Function",
    "In",
    "Lop",
    "Mode",
    "Op",
    "Out",
    "Rop",
    "SharedVariable",
    "TensorType",
    "Variable",
    "benchmark",
    "config",
    "consider_constant",
    "disconnected_grad",
    "dprint",
    "errors",
    "explain",
    "function",
    "get_default_mode",
    "grad",
    "grad_clip",
    "grad_scale",
    "inspect",
    "network3",
    "pp",
    "shared",
    "tensor",
    "theano",
    "verify_grad",
    "zero_grad",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    raise AttributeError(f"module 'symnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
