"""The user's namespace, `import symnet.tensor as T`: hands on what `ops/` has, under Theano's names.

Only names stand here; what they mean is said where they are defined. A name of Theano's that is not
there yet raises `MissingNameError`, which says so.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import symnet.ops.operators
from symnet.absent import module_getattr
from symnet.compile.verify_grad import verify_grad
from symnet.errors import DisconnectedInputError, ShapeError
from symnet.gradient import Lop, Rop, consider_constant, grad
from symnet.graph.types import (
    COMPLEX_DTYPES as complex_dtypes,
)
from symnet.graph.types import (
    CONTINUOUS_DTYPES as continuous_dtypes,
)
from symnet.graph.types import (
    DISCRETE_DTYPES as discrete_dtypes,
)
from symnet.graph.types import (
    DTYPES as all_dtypes,
)
from symnet.graph.types import (
    FLOAT_DTYPES as float_dtypes,
)
from symnet.graph.types import (
    INTEGER_DTYPES as integer_dtypes,
)
from symnet.graph.types import (
    SIGNED_DTYPES as int_dtypes,
)
from symnet.graph.types import (
    UNSIGNED_DTYPES as uint_dtypes,
)
from symnet.graph.types import TensorType
from symnet.graph.variable import Apply, Constant, Variable
from symnet.ops.basic import as_tensor_variable, constant
from symnet.ops.creation import alloc, arange, eye, fill, ones, ones_like, zeros, zeros_like
from symnet.ops.elementwise import cast
from symnet.ops.elementwise_table import (
    abs_,
    add,
    and_,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    ceil,
    clip,
    cos,
    cosh,
    eq,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    ge,
    gt,
    identity,
    int_div,
    inv,
    invert,
    isinf,
    isnan,
    le,
    log,
    log1p,
    log2,
    log10,
    lt,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    neq,
    or_,
    pow,
    round_half_away_from_zero,
    round_half_to_even,
    sgn,
    sin,
    sinh,
    sqr,
    sqrt,
    sub,
    switch,
    tan,
    tanh,
    true_div,
    trunc,
    xor,
)
from symnet.ops.indexing import nonzero
from symnet.ops.joining import concatenate, join, repeat, stack, tile
from symnet.ops.linalg import batched_dot, batched_tensordot, dot, outer, tensordot
from symnet.ops.operators import round_to as round
from symnet.ops.reduction import (
    all,
    any,
    argmax,
    argmin,
    max,
    max_and_argmax,
    mean,
    min,
    prod,
    ptp,
    std,
    sum,
    var,
)
from symnet.ops.shape import (
    dimshuffle,
    flatten,
    ravel,
    reshape,
    shape_padaxis,
    shape_padleft,
    shape_padright,
    squeeze,
    swapaxes,
    transpose,
)
from symnet.ops.shape import shape_of as shape
from symnet.ops.shape_promises import addbroadcast, patternbroadcast, specify_shape
from symnet.ops.shape_promises import unbroadcast_axes as unbroadcast
from symnet.ops.subscript import inc_subtensor, set_subtensor, take
from symnet.tensor.constructors import CONSTRUCTORS, PLURALS, TYPES, tensor

# Theano's other names for the same.
as_tensor = as_tensor_variable
TensorVariable = Variable
TensorConstant = Constant
Tensor = TensorType
abs = abs_
square = sqr
where = switch
second = fill
power = pow
largest = maximum
smallest = minimum
floor_div = int_div
bitwise_and = and_
bitwise_or = or_
bitwise_xor = xor
bitwise_not = invert
tensor_copy = identity

globals().update(CONSTRUCTORS | TYPES | PLURALS)

_SUBMODULES = (
    *("basic", "elemwise", "extra_ops", "nnet", "opt", "shared_randomstreams", "sharedvar", "signal"),
    *("subtensor", "type"),
)
__getattr__ = module_getattr(__name__, _SUBMODULES)


class _Namespace(ModuleType):
    """A module in which a name outlives the import of a submodule that is called the same: `T.var`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self.__dict__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Namespace
