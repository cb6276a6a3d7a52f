"""Products: takes matrices, vectors and tensors, hands on their inner and outer products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph.dims import Shape
from symnet.graph.op import ZERO, HostValue, Op, ShapeContext
from symnet.graph.types import DISCRETE_DTYPES
from symnet.graph.variable import Apply, Variable
from symnet.ops.basic import as_tensor_variable, normalize_axis, upcast
from symnet.ops.elementwise import cast
from symnet.ops.shape import dimshuffle, length_of, reshape, transpose


def all_finite(*arrays: np.ndarray[Any, Any]) -> bool:
    """Whether there is no infinity and no NaN among the entries."""
    return all(each.dtype.kind not in "fc" or bool(np.isfinite(each).all()) for each in arrays)


def tensor_product(
    x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], axes: tuple[Sequence[int], Sequence[int]]
) -> np.ndarray[Any, Any]:
    """`numpy.tensordot`, right for infinities and NaN as well, where BLAS may leave out products with 0."""
    if all_finite(x, y):
        return np.tensordot(x, y, axes=axes)
    letters = list(range(x.ndim)), list(range(x.ndim, x.ndim + y.ndim))
    for mine, its in zip(*axes, strict=True):
        letters[1][its] = letters[0][mine]
    kept = [n for n in letters[0] + letters[1] if not (n in letters[0] and n in letters[1])]
    return np.asarray(np.einsum(x, letters[0], y, letters[1], kept))


class Dot(Op):
    """The product of two tensors of one or two axes: the last axis of x with the first of y."""

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Both in their common dtype."""
        variables = [as_tensor_variable(each) for each in inputs]
        if any(each.ndim not in (1, 2) for each in variables):
            raise GraphError("dot of tensors with other than one or two axes", variables)
        dtype = upcast(*(each.dtype for each in variables))
        return [cast(each, dtype) for each in variables]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The common dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """The outer axes; the inner ones must agree."""
        x, y = shapes
        context.equal(x[-1], y[0], f"the inner lengths of {x} and {y} differ")
        return [(*x[:-1], *y[1:])]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.dot`; an infinity or NaN is multiplied by 0, too."""
        with np.errstate(all="ignore"):
            x, y = inputs
            if all_finite(x, y):
                return np.asarray(np.dot(x, y))
            return tensor_product(x, y, ((x.ndim - 1,), (0,)))

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Products of the gradient with the other operand."""
        x, y = node.inputs
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, ZERO]
        g = output_gradients[0]
        if x.ndim == 1 and y.ndim == 1:
            return [g * y, g * x]
        if x.ndim == 1:
            return [dot(y, g), outer(x, g)]
        if y.ndim == 1:
            return [outer(g, y), dot(transpose(x), g)]
        return [dot(g, transpose(y)), dot(transpose(x), g)]

    def __str__(self) -> str:
        return "dot"


class BatchedDot(Op):
    """For each i the matrix product of x[i] and y[i]; both have three axes."""

    def convert(self, *inputs: Any) -> Sequence[Variable]:
        """Both in their common dtype."""
        variables = [as_tensor_variable(each) for each in inputs]
        if any(each.ndim != 3 for each in variables):
            raise GraphError("batched_dot of tensors with other than three axes", variables)
        dtype = upcast(*(each.dtype for each in variables))
        return [cast(each, dtype) for each in variables]

    def dtypes(self, *inputs: Variable) -> Sequence[str]:
        """The common dtype."""
        return [inputs[0].dtype]

    def shapes(
        self,
        inputs: Sequence[Variable],
        shapes: Sequence[Shape],
        values: Sequence[HostValue],
        context: ShapeContext,
    ) -> Sequence[Shape]:
        """Batch, rows, columns."""
        x, y = shapes
        batch = context.equal(x[0], y[0], "the numbers of matrices differ")
        context.equal(x[2], y[1], f"the inner lengths of {x} and {y} differ")
        return [(batch, x[1], y[2])]

    def numpy(self, node: Apply, *inputs: np.ndarray[Any, Any]) -> Any:
        """`numpy.matmul`; an infinity or NaN is multiplied by 0, too."""
        with np.errstate(all="ignore"):
            return np.matmul(*inputs) if all_finite(*inputs) else np.einsum("bij,bjk->bik", *inputs)

    def gradient(self, node: Apply, output_gradients: Sequence[Variable]) -> Sequence[Any]:
        """Products of the gradient with the other operand, batch by batch."""
        x, y = node.inputs
        if x.dtype in DISCRETE_DTYPES:
            return [ZERO, ZERO]
        g = output_gradients[0]
        return [
            BatchedDot()(g, dimshuffle(y, 0, 2, 1)),
            BatchedDot()(dimshuffle(x, 0, 2, 1), g),
        ]

    def __str__(self) -> str:
        return "batched_dot"


def dot(x: Any, y: Any) -> Variable:
    """The product of the last axis of `x` with the first (of a tensor: the last but one) axis of `y`.

    Scalars multiply. The result's dtype is the operands' common one.

    Raises
    ------
    ShapeError
        When the inner lengths differ, as soon as both are known.

    >>> import symnet.tensor as T
    >>> T.dot(T.matrix(), T.vector()).ndim
    1
    """
    a, b = as_tensor_variable(x), as_tensor_variable(y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b  # type: ignore[operator, no-any-return]
    if a.ndim > 2 or b.ndim > 2:
        return tensordot(a, b, [[a.ndim - 1], [max(0, b.ndim - 2)]])
    return Dot()(a, b)  # type: ignore[no-any-return]


def outer(x: Any, y: Any) -> Variable:
    """All products of an entry of `x` with an entry of `y`: a matrix."""
    from symnet.ops.shape import flatten

    a, b = as_tensor_variable(x), as_tensor_variable(y)
    left = a if a.ndim == 1 else flatten(a)
    right = b if b.ndim == 1 else flatten(b)
    return dimshuffle(left, 0, "x") * dimshuffle(right, "x", 0)  # type: ignore[operator, no-any-return]


def batched_dot(x: Any, y: Any) -> Variable:
    """For each i of the first axis the product of `x[i]` and `y[i]`, matrices or vectors."""
    a, b = as_tensor_variable(x), as_tensor_variable(y)
    if a.ndim not in (2, 3) or b.ndim not in (2, 3):
        return batched_tensordot(a, b, [[a.ndim - 1], [max(1, b.ndim - 2)]])
    left = a if a.ndim == 3 else dimshuffle(a, 0, "x", 1)
    right = b if b.ndim == 3 else dimshuffle(b, 0, 1, "x")
    product = BatchedDot()(left, right)
    rows = [1] if a.ndim == 3 else []
    columns = [2] if b.ndim == 3 else []
    if rows and columns:
        return product  # type: ignore[no-any-return]
    where = (slice(None), slice(None) if rows else 0, slice(None) if columns else 0)
    return product[where]  # type: ignore[no-any-return]


def _product(lengths: Sequence[Any]) -> Any:
    total: Any = 1
    for length in lengths:
        total = total * length
    return total


def _axes_pair(axes: Any, a: Variable, b: Variable, what: str, first: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, int | np.integer):
        count = int(axes)
        if not 0 <= count <= min(a.ndim, b.ndim) - first:
            raise GraphError(f"{what} over {count} axes", [a, b])
        return list(range(a.ndim - count, a.ndim)), list(range(first, first + count))
    if not isinstance(axes, list | tuple | np.ndarray) or len(axes) != 2:
        raise GraphError(f"{what}: axes is a number or a pair of lists, got {axes!r}", [a, b])
    pairs = [list(each) if isinstance(each, list | tuple | np.ndarray) else [each] for each in axes]
    left = [normalize_axis(each, a.ndim, what, [a]) for each in pairs[0]]
    right = [normalize_axis(each, b.ndim, what, [b]) for each in pairs[1]]
    if len(left) != len(right) or len(set(left)) != len(left) or len(set(right)) != len(right):
        raise GraphError(f"{what}: axes {axes!r} do not pair up", [a, b])
    return left, right


def tensordot(x: Any, y: Any, axes: Any = 2) -> Variable:
    """The sum of products over pairs of axes.

    Parameters
    ----------
    x, y
        Tensors.
    axes
        A number n (the last n of x with the first n of y), or a pair of lists of axes.
    """
    a, b = as_tensor_variable(x), as_tensor_variable(y)
    left, right = _axes_pair(axes, a, b, "tensordot", 0)
    free_a = [axis for axis in range(a.ndim) if axis not in left]
    free_b = [axis for axis in range(b.ndim) if axis not in right]
    lengths_a = [length_of(a, axis) for axis in free_a]
    lengths_b = [length_of(b, axis) for axis in free_b]
    inner = _product([length_of(a, axis) for axis in left])
    inner_b = _product([length_of(b, axis) for axis in right])
    matrix_a = reshape(dimshuffle(a, free_a + left), [_product(lengths_a), inner])
    matrix_b = reshape(dimshuffle(b, right + free_b), [inner_b, _product(lengths_b)])
    return reshape(dot(matrix_a, matrix_b), lengths_a + lengths_b)


def batched_tensordot(x: Any, y: Any, axes: Any = 2) -> Variable:
    """`tensordot` for each i of both tensors' first axis; axes count from the whole tensors' front."""
    a, b = as_tensor_variable(x), as_tensor_variable(y)
    left, right = _axes_pair(axes, a, b, "batched_tensordot", 1)
    if 0 in left or 0 in right:
        raise GraphError("batched_tensordot over the batch axis", [a, b])
    free_a = [axis for axis in range(1, a.ndim) if axis not in left]
    free_b = [axis for axis in range(1, b.ndim) if axis not in right]
    lengths_a = [length_of(a, axis) for axis in free_a]
    lengths_b = [length_of(b, axis) for axis in free_b]
    inner = _product([length_of(a, axis) for axis in left])
    batch = length_of(a, 0)
    matrix_a = reshape(dimshuffle(a, [0, *free_a, *left]), [batch, _product(lengths_a), inner])
    matrix_b = reshape(dimshuffle(b, [0, *right, *free_b]), [length_of(b, 0), inner, _product(lengths_b)])
    return reshape(BatchedDot()(matrix_a, matrix_b), [batch, *lengths_a, *lengths_b])
