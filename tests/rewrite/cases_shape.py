"""Cases of the rules of shapes, axes and fills: what each rewrites, into what, what it leaves alone."""

from __future__ import annotations

import numpy as np

from symnet.ops import elementwise_table as table
from symnet.ops.basic import constant
from symnet.ops.creation import alloc
from symnet.ops.elementwise_table import exp, fill
from symnet.ops.indexing import AdvancedIncSubtensor, Subtensor
from symnet.ops.nnet import softmax
from symnet.ops.reduction import Reduce
from symnet.ops.reduction import max as highest
from symnet.ops.reduction import sum as total
from symnet.ops.shape import DimShuffle, MakeVector, dimshuffle, reshape
from symnet.ops.shape_promises import SpecifyShape

from .case import Case

CASES = [
    Case(
        "constant_folding",
        "x:dvector",
        lambda x: x * exp(constant(np.float64(0.0))),
        "mul(x, 1.0)",
        lambda x: x * exp(x),
    ),
    Case(
        "constant_folding",
        "x:dmatrix",
        lambda x: x + dimshuffle(constant(np.array([1.0, 2.0, 3.0])), "x", 0),
        "add(x, [[1., 2., 3.]])",
        # A large array of one value is not worth its memory.
        lambda x: x[0, 0] + total(alloc(constant(np.float64(1.0)), 30, 1000)),
    ),
    Case(
        "fill_of_own_shape",
        "x:dvector",
        lambda x: fill(x, exp(x)),
        "exp(x)",
        lambda x: fill(x[:2], x[1:]),
    ),
    Case(
        "fill_of_own_shape",
        "x:d(2,3) y:d(2,3)",
        lambda x, y: fill(x, y),
        "y",
        lambda x, y: fill(x, y[:1]),
    ),
    Case(
        "fill_by_operand",
        "x:dvector y:dvector",
        lambda x, y: fill(exp(x) + 1, 0.0),
        "fill(x, 0.0)",
        # x + y refuses lengths that differ.
        lambda x, y: fill(x + y, 0.0),
    ),
    Case(
        "fill_beside_its_shape",
        "x:dmatrix y:dmatrix",
        lambda x, y: fill(x, 2.0) * exp(x),
        "mul(2.0, exp(x))",
        lambda x, y: fill(x, 2.0) * y,
    ),
    Case(
        "fill_beside_its_shape",
        "x:dmatrix y:drow",
        lambda x, y: x + fill(x, y),
        "add(x, y)",
        lambda x, y: y + fill(x, y),
    ),
    Case(
        "fill_of_entries",
        "x:dmatrix y:dscalar",
        lambda x, y: exp(fill(x, y)),
        "fill(x, exp(y))",
        lambda x, y: exp(fill(x, x)),
    ),
    Case(
        "fill_of_entries",
        "x:dmatrix y:dcol",
        lambda x, y: 2 * fill(x, y) - 1,
        "fill(x, sub(mul(2.0, y), 1.0))",
        lambda x, y: fill(x, y) * y,
    ),
    Case(
        "fill_by_operand",
        "x:dmatrix",
        lambda x: fill(softmax(x), 0.0),
        "fill(x, 0.0)",
        lambda x: fill(x.T, 0.0),
    ),
    Case(
        "fill_that_is_scattered",
        "x:dmatrix i:lvector",
        lambda x, i: AdvancedIncSubtensor((0, 1), False)(fill(x, 0.0), fill(exp(x)[i, i], 2.0), i, i),
        "inc_gathered{axes=(0, 1)}(fill(x, 0.0), 2.0, i, i)",
        # The gather refuses indices that lie in x and outside the smaller tensor.
        lambda x, i: AdvancedIncSubtensor((0, 1), False)(fill(x, 0.0), fill(x[:2][i, i], 2.0), i, i),
    ),
    Case(
        "subtensor_of_entries",
        "x:dvector",
        lambda x: exp(2 * x)[1:],
        "exp(mul(2.0, subtensor[1:](x)))",
        # All of it is computed anyway.
        lambda x: exp(x)[1:] + total(exp(x)),
    ),
    Case(
        "subtensor_of_entries",
        "x:dmatrix y:dmatrix",
        lambda x, y: table.switch(x, 1.0, 0.0)[1] * table.switch(x, 1.0, 0.0)[0],
        "mul(switch(subtensor[1](x), 1.0, 0.0), switch(subtensor[0](x), 1.0, 0.0))",
        # Rows of x that are not wanted are compared with rows of y.
        lambda x, y: (x + y)[1],
    ),
    Case(
        "dimshuffle_of_dimshuffle",
        "x:dmatrix",
        lambda x: DimShuffle((1, 0, "x"), 2)(DimShuffle((1, 0), 2)(x)),
        "dimshuffle{0, 1, x}(x)",
        lambda x: dimshuffle(exp(dimshuffle(x, 1, 0)), 1, 0),
    ),
    Case(
        "dimshuffle_to_own_order",
        "x:dcol",
        lambda x: DimShuffle((0, "x"), 2)(x),
        "x",
        lambda x: dimshuffle(x, "x", 0),
    ),
    Case(
        "axes_added_in_front",
        "x:dmatrix y:dvector s:dscalar",
        lambda x, y, s: x + dimshuffle(y, "x", 0) * dimshuffle(s, "x", "x"),
        "add(x, mul(dimshuffle{x, 0}(y), s))",
        lambda x, y, s: x + dimshuffle(y, 0, "x"),
    ),
    Case(
        "axes_added_in_front",
        "x:drow y:dvector",
        lambda x, y: x + dimshuffle(y, "x", 0),
        "add(x, y)",
        # Nothing else has two axes.
        lambda x, y: exp(dimshuffle(y, "x", 0)),
    ),
    Case(
        "reshape_to_own_shape",
        "x:dmatrix y:dmatrix",
        lambda x, y: reshape(x, x.shape, ndim=2),
        "x",
        lambda x, y: reshape(x, y.shape, ndim=2),
    ),
    Case(
        "reshape_to_known_shape",
        "x:d(2,3) y:dmatrix",
        lambda x, y: reshape(x, (2, 3)),
        "x",
        lambda x, y: reshape(x, (3, 2)),
    ),
    Case(
        "reshape_of_reshape",
        "x:d(2,3)",
        lambda x: reshape(reshape(x, (6,)), (3, 2)),
        "reshape{2}(x, [3, 2])",
        # With lengths that are known when it runs the first one may be refused.
        lambda x: reshape(reshape(x, (x.sum().astype("int64"), 2)), (3, 2)),
    ),
    Case(
        "reshape_there_and_back",
        "x:dmatrix",
        lambda x: reshape(x.flatten(), x.shape, ndim=2),
        "x",
        lambda x: reshape(reshape(x, (x.shape[1], x.shape[0])), x.shape, ndim=2),
    ),
    Case(
        "specified_shape_that_is_known",
        "x:d(2,3) y:dmatrix",
        lambda x, y: SpecifyShape((2, None))(x),
        "x",
        lambda x, y: SpecifyShape((3, None))(y),
    ),
    Case("subtensor_of_all", "x:dmatrix", lambda x: Subtensor(())(x), "x", lambda x: x[:2]),
    Case(
        "reduction_of_reduction",
        "x:dtensor3",
        lambda x: total(total(x, axis=1), axis=1),
        "sum{axis=(1, 2)}(x)",
        lambda x: total(highest(x, axis=1), axis=1),
        exact=False,
    ),
    Case(
        "reduction_of_reduction",
        "x:dtensor3 z:zmatrix",
        lambda x, z: highest(highest(x, axis=0)),
        "max{axis=(0, 1, 2)}(x)",
        # The sum of counts is no count of any.
        lambda x, z: Reduce("add", (0,), "int64")(Reduce("add", (0,), "int8")(z)),
    ),
    Case(
        "reduction_over_one",
        "x:dcol",
        lambda x: total(x, axis=1),
        "dimshuffle{0}(x)",
        lambda x: total(x, axis=0),
    ),
    Case(
        "reduction_over_one",
        "x:drow",
        lambda x: highest(x),
        "max{axis=(0,)}(dimshuffle{1}(x))",
        lambda x: highest(x, axis=1),
    ),
    Case(
        "shape_that_is_known",
        "x:d(2,3) y:dmatrix",
        lambda x, y: x.shape,
        "[2, 3]",
        lambda x, y: y.shape,
    ),
    Case(
        "length_that_is_known",
        "x:d(?,3)",
        lambda x: Subtensor((1,))(x.shape),
        "3",
        lambda x: x.shape[0],
    ),
    Case(
        "entry_of_made_vector",
        "i:lscalar j:lscalar",
        lambda i, j: MakeVector("int64")(i, j)[1],
        "j",
        lambda i, j: MakeVector("int64")(i, j)[:1],
    ),
    Case(
        "length_of_dimshuffle",
        "x:dmatrix",
        lambda x: dimshuffle(x, 1, "x", 0).shape[0],
        "subtensor[1](shape(x))",
        lambda x: exp(x).shape[0],
    ),
    Case(
        "shape_by_operand",
        "x:dvector y:dvector",
        lambda x, y: (exp(x) + table.sqr(x)).shape,
        "shape(x)",
        # x + y refuses lengths that differ.
        lambda x, y: (x + y).shape,
    ),
]
