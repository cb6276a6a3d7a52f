"""`grad` and its relatives: values, options, what is connected to what, and what is refused."""

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.errors import (
    ArgumentError,
    DisconnectedInputError,
    GraphError,
    NullTypeGradError,
    VerifyGradError,
)

POINT = np.array([0.5, -1.5, 2.0])
MATRIX = np.random.RandomState(0).randn(3, 4)


def value_of(expression, mode, *pairs):
    inputs = [variable for variable, _ in pairs]
    f = symnet.function(inputs, expression, mode=mode, on_unused_input="ignore")
    return f(*(value for _, value in pairs))


def slope(expression, x, at, mode):
    return value_of(symnet.grad(T.sum(expression), x), mode, (x, at))


# --- forms and options -----------------------------------------------------------------------------


def test_the_container_follows_wrt():
    x, y = T.dvectors("x", "y")
    cost = T.sum(x * y)
    assert isinstance(symnet.grad(cost, x), symnet.Variable)
    assert type(symnet.grad(cost, [x])) is list and type(symnet.grad(cost, (x, y))) is tuple
    assert symnet.grad(cost, []) == []


def test_gradients_are_named_after_what_they_are_of():
    x = T.dvector("x")
    cost = T.sum(x**2)
    cost.name = "cost"
    assert symnet.grad(cost, x).name == "(dcost/dx)"
    assert symnet.grad(cost, x, add_names=False).name is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_has_the_type_of_its_variable(dtype):
    x, other = T.TensorType(dtype, (False, True))("x"), T.dmatrix("other")
    gradient = symnet.grad(T.sum(x * other), x)
    assert (gradient.dtype, gradient.broadcastable) == (dtype, (False, True))


def test_gradients_of_gradients(mode):
    x = T.dscalar("x")
    expression = T.sin(x) * x**2
    for expected in (
        np.cos(0.7) * 0.49 + 2 * 0.7 * np.sin(0.7),
        -np.sin(0.7) * 0.49 + 4 * 0.7 * np.cos(0.7) + 2 * np.sin(0.7),
        -np.cos(0.7) * 0.49 - 6 * 0.7 * np.sin(0.7) + 6 * np.cos(0.7),
    ):
        expression = symnet.grad(expression, x)
        assert value_of(expression, mode, (x, 0.7)) == pytest.approx(expected, rel=1e-12)


def test_by_an_inner_variable(mode):
    x = T.dvector("x")
    hidden = x * 2
    assert value_of(symnet.grad(T.sum(hidden**2), hidden), mode, (x, POINT)).tolist() == (4 * POINT).tolist()


def test_what_is_considered_constant(mode):
    x = T.dscalar("x")
    square = x**2
    cost = square * x
    assert value_of(symnet.grad(cost, x, consider_constant=[square]), mode, (x, 2.0)) == 4
    assert value_of(symnet.grad(cost, x), mode, (x, 2.0)) == 12
    assert value_of(symnet.grad(x**3, x, consider_constant=[x]), mode, (x, 2.0)) == 12
    assert value_of(symnet.grad(symnet.consider_constant(square) * x, x), mode, (x, 2.0)) == 4
    assert value_of(symnet.grad(symnet.zero_grad(square) * x, x), mode, (x, 2.0)) == 4
    assert value_of(symnet.grad(symnet.disconnected_grad(square) * x, x), mode, (x, 2.0)) == 4


def test_known_gradients(mode):
    x = T.dvector("x")
    hidden = x * 3
    for known in ({hidden: T.constant(POINT)}, [(hidden, T.constant(POINT))]):
        assert (
            value_of(symnet.grad(None, x, known_grads=known), mode, (x, POINT)).tolist()
            == (3 * POINT).tolist()
        )
    cost = T.sum(hidden**2)
    replaced = symnet.grad(cost, x, known_grads={hidden: T.ones_like(hidden)})
    assert value_of(replaced, mode, (x, POINT)).tolist() == [3, 3, 3]


def test_clipped_and_scaled_gradients(mode):
    x = T.dvector("x")
    clipped = symnet.grad_clip(x, -1, 1)
    assert slope(clipped * x**2, x, POINT, mode) == pytest.approx(
        np.clip(POINT**2, -1, 1) + 2 * POINT**2, rel=1e-12
    )
    assert slope(symnet.grad_scale(x, -3) ** 2, x, POINT, mode).tolist() == (-6 * POINT).tolist()
    with pytest.raises(ArgumentError, match="interval is empty"):
        symnet.grad_clip(x, 1, -1)


# --- what depends on what --------------------------------------------------------------------------


def test_a_disconnected_input_is_refused():
    x, y = T.dvector("x"), T.dvector("y")
    with pytest.raises(DisconnectedInputError, match="does not depend on this variable") as caught:
        symnet.grad(T.sum(x), [x, y])
    assert isinstance(caught.value, ValueError) and "y: float64" in str(caught.value)
    assert caught.value.source.file == __file__


def test_a_disconnected_input_when_it_is_allowed(mode):
    x, y = T.dvector("x"), T.dmatrix("y")
    zero = symnet.grad(T.sum(x), y, disconnected_inputs="ignore")
    assert value_of(zero, mode, (y, MATRIX)).tolist() == np.zeros((3, 4)).tolist()
    with pytest.warns(UserWarning, match="does not depend"):
        symnet.grad(T.sum(x), y, disconnected_inputs="warn")
    nothing = symnet.grad(T.sum(x), [x, y], disconnected_inputs="ignore", return_disconnected="None")
    assert nothing[1] is None and nothing[0] is not None


def test_shapes_and_disconnected_parts_do_not_connect():
    x = T.dvector("x")
    for cost in (x.shape[0] * 2.0, T.sum(T.zeros_like(x)), T.sum(symnet.disconnected_grad(x))):
        with pytest.raises(DisconnectedInputError):
            symnet.grad(cost, x)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: T.eq(x, 1.0),
        lambda x: T.floor(x),
        lambda x: T.round(x),
        lambda x: T.cast(x, "int32"),
        lambda x: T.argmax(x),
        lambda x: T.sgn(x),
        lambda x: x // 2,
        lambda x: symnet.zero_grad(x),
        lambda x: T.isnan(x),
    ],
)
def test_steps_connect_with_a_gradient_of_zero(mode, build):
    x = T.dvector("x")
    assert slope(build(x), x, POINT, mode).tolist() == [0, 0, 0]


def test_by_an_integer(mode):
    n = T.lvector("n")
    gradient = symnet.grad(T.sum(n * 1.5), n)
    assert gradient.dtype == "float64"
    assert value_of(gradient, mode, (n, [1, 2])).shape == (2,)
    x = T.dvector("x")
    assert value_of(symnet.grad(T.sum(T.cast(x, "int64")), x), mode, (x, POINT)).tolist() == [0, 0, 0]


# --- ties and corners, as Theano has them ----------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "build, at, expected",
    [
        (lambda x: abs(x), [0.0, -0.0, -2.0], [0, 0, -1]),
        (lambda x: T.maximum(x, 0), [0.0, 1.0, -1.0], [1, 1, 0]),
        (lambda x: T.maximum(0, x), [0.0, 1.0, -1.0], [0, 1, 0]),
        (lambda x: T.minimum(x, 0), [0.0, 1.0, -1.0], [1, 0, 1]),
        (lambda x: T.clip(x, -1, 1), [-1.0, 1.0, 0.0, 1.5], [1, 1, 1, 0]),
        (lambda x: T.max(x), [2.0, 1.0, 2.0], [1, 0, 1]),
        (lambda x: T.min(x), [2.0, 1.0, 1.0], [0, 1, 1]),
        (lambda x: T.nnet.relu(x), [0.0, 1.0, -1.0], [0.5, 1, 0]),
        (lambda x: T.nnet.relu(x, 0.1), [0.0], [0.55]),
        (lambda x: T.nnet.elu(x), [0.0], [1]),
        (lambda x: T.nnet.hard_sigmoid(x), [2.5, 3.0, -3.0], [0.2, 0, 0]),
        (lambda x: T.switch(x > 0, x, 0), [0.0, 1.0], [0, 1]),
        (lambda x: T.sqrt(x), [0.0], [INF]),
        (lambda x: T.prod(x), [1.0, 0.0, 3.0], [0, 3, 0]),
        (lambda x: T.prod(x), [0.0, 0.0, 3.0], [0, 0, 0]),
        (lambda x: x**2, [0.0, 3.0], [0, 6]),
        (lambda x: x**1, [0.0], [1]),
        (lambda x: 2.0**x, [0.0, 1.0], [np.log(2), 2 * np.log(2)]),
        (lambda x: x % 2.0, [0.5, 3.5], [1, 1]),
        (lambda x: 7.0 % x, [2.0, 3.0], [-3, -2]),
        (lambda x: T.std(x), [1.0, 1.0], [NAN, NAN]),
    ],
)
def test_ties_and_corners(mode, build, at, expected):
    x = T.dvector("x")
    np.testing.assert_allclose(slope(build(x), x, at, mode), expected, rtol=1e-12)


def test_a_broadcast_operand_collects(mode):
    x, bias, column = T.dmatrix("x"), T.dvector("bias"), T.dcol("column")
    cost = T.sum((x + bias) * column)
    found = value_of(
        symnet.grad(cost, [bias, column]), mode, (x, MATRIX), (bias, np.ones(4)), (column, POINT[:, None])
    )
    np.testing.assert_allclose(found[0], np.full(4, POINT.sum()), rtol=1e-12)
    np.testing.assert_allclose(found[1], (MATRIX + 1).sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_variable_used_twice_adds(mode):
    x = T.dvector("x")
    index = np.array([0, 0, 2])
    assert slope(x[index] * x, x, POINT, mode) == pytest.approx([0.5 * 2 - 1.5, 0.5, 4.0])


# --- products with the Jacobian --------------------------------------------------------------------


def test_lop_and_rop(mode):
    x, left, right = T.dvectors("x", "left", "right")
    f = T.stack([x[0] * x[1], x[1] ** 2, T.sin(x[2]) * x[0]])
    a, b, c = POINT
    jacobian = np.array([[b, a, 0], [0, 2 * b, 0], [np.sin(c), 0, np.cos(c) * a]])
    weights = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(
        value_of(symnet.Lop(f, x, left), mode, (x, POINT), (left, weights)), weights @ jacobian, rtol=1e-12
    )
    np.testing.assert_allclose(
        value_of(symnet.Rop(f, x, right), mode, (x, POINT), (right, weights)), jacobian @ weights, rtol=1e-12
    )
    with pytest.raises(GraphError, match="1 outputs with 2 points"):
        symnet.Lop(f, x, [left, right])
    with pytest.raises(GraphError, match="1 variables with 2 points"):
        symnet.Rop(f, x, [left, right])


# --- what grad refuses -----------------------------------------------------------------------------


def test_what_has_no_gradient():
    x, n = T.dvector("x"), T.lvector("n")
    for cost, wrt, error, message in [
        (x, x, GraphError, "grad of a tensor of 1 axes"),
        (3.0, x, GraphError, "grad of float 3.0"),
        (None, x, GraphError, "a cost or known_grads is needed"),
        (T.sum(x), "x", GraphError, "grad by str 'x'"),
        (T.sum(x), [x, 3], GraphError, "grad by int 3"),
    ]:
        with pytest.raises(error, match=message) as caught:
            symnet.grad(cost, wrt)
        assert isinstance(caught.value, TypeError) and caught.value.source.file == __file__
    with pytest.raises(ArgumentError, match="disconnected_inputs='maybe'"):
        symnet.grad(T.sum(x), x, disconnected_inputs="maybe")
    with pytest.raises(GraphError, match="known gradient of integer dtype"):
        symnet.grad(None, x, known_grads={x * 2: n})
    with pytest.raises(GraphError, match="another rank"):
        symnet.grad(None, x, known_grads={x * 2: T.dscalar()})


class Sorted(symnet.Op):
    def dtypes(self, *inputs):
        return [inputs[0].dtype]

    def shapes(self, inputs, shapes, values, context):
        return [shapes[0]]

    def numpy(self, node, *inputs):
        return np.sort(inputs[0])


def test_an_op_without_a_gradient_names_the_line():
    x = T.dvector("x")
    ordered = Sorted()(x)
    assert value_of(ordered, "reference", (x, POINT)).tolist() == [-1.5, 0.5, 2]
    with pytest.raises(NullTypeGradError) as caught:
        symnet.grad(T.sum(ordered), x)
    assert caught.value.source.text == "ordered = Sorted()(x)"


def test_nodes_of_a_gradient_belong_to_the_line_they_differentiate():
    x = T.dvector("x")
    hidden = T.tanh(x) * 2
    gradient = symnet.grad(T.sum(hidden), x)
    lines = set()
    stack = [gradient]
    while stack:
        variable = stack.pop()
        if variable.owner is not None:
            lines.add(variable.owner.source.text)
            stack.extend(variable.owner.inputs)
    assert lines <= {
        "hidden = T.tanh(x) * 2",
        "gradient = symnet.grad(T.sum(hidden), x)",
    }
    assert "hidden = T.tanh(x) * 2" in lines


# --- verify_grad -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build, point",
    [
        (lambda a: T.tanh(a) * 3, [POINT]),
        (lambda a, b: T.dot(a, b), [MATRIX, MATRIX.T.copy()]),
        (lambda a: T.nnet.softmax(a), [MATRIX.astype("float32")]),
        (lambda a: a.sum(axis=0, keepdims=True) * a, [MATRIX[:1]]),
        (lambda a: a**2, [np.float64(3.0)]),
        (lambda a: a[1:], [np.zeros((0, 2))]),
    ],
)
def test_verify_grad_accepts_a_right_gradient(mode, build, point):
    symnet.verify_grad(build, point, rng=np.random.RandomState(1), mode=mode)
    symnet.verify_grad(build, point, rng=np.random.default_rng(1), n_tests=1)


def test_verify_grad_names_the_worst_entry(mode):
    def half_right(a):
        return a * symnet.disconnected_grad(a) * np.array([0.0, 0.0, 1.0])

    with pytest.raises(VerifyGradError, match=r"gradient by input 0 at \(2,\) is wrong") as caught:
        symnet.verify_grad(half_right, [POINT], mode=mode)
    text = str(caught.value)
    assert "symbolic gradient:" in text and "finite difference:" in text and "allowed difference:" in text
    assert caught.value.source.file == __file__


def test_verify_grad_has_tolerances():
    def slightly_wrong(a):
        return a + symnet.disconnected_grad(a) * 1e-3

    with pytest.raises(VerifyGradError):
        symnet.verify_grad(slightly_wrong, [POINT])
    symnet.verify_grad(slightly_wrong, [POINT], rel_tol=1e-2)
    symnet.verify_grad(slightly_wrong, [POINT], out_type="float32")


def test_a_gradient_that_is_not_a_number_is_wrong(mode):
    with np.errstate(all="ignore"), pytest.raises(VerifyGradError, match="symbolic gradient: nan"):
        symnet.verify_grad(lambda a: T.std(a - a), [POINT], mode=mode)


def test_verify_grad_refuses_what_has_no_difference_quotient():
    for build, point, message in [
        (lambda a: a, [np.arange(3)], "floats are expected"),
        (lambda a: [a, a], [POINT], "fun gives one expression"),
        (lambda a: T.eq(a, 0), [POINT], "not of float dtype"),
    ]:
        with pytest.raises(GraphError, match=message):
            symnet.verify_grad(build, point)
