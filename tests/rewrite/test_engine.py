"""The engine: matching, checks of types, budgets, growth of the work, joined nodes, lines and names."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import symnet.ops.operators  # noqa: F401  (gives variables their operators)
from symnet.config import config
from symnet.errors import RewriteError
from symnet.gradient import grad
from symnet.graph.function_graph import FunctionGraph
from symnet.graph.op import Op
from symnet.graph.types import TensorType
from symnet.graph.variable import Apply, Constant, Variable
from symnet.graph.verifier import verify
from symnet.ops import elementwise_table as table
from symnet.ops.basic import constant
from symnet.ops.elementwise import cast
from symnet.ops.elementwise_table import cosh, exp, log, neg, sigmoid, sin, tanh
from symnet.ops.linalg import dot
from symnet.ops.nnet import softmax
from symnet.ops.reduction import mean
from symnet.ops.reduction import sum as total
from symnet.rewrite import rules_algebra
from symnet.rewrite.merge import Merger
from symnet.rewrite.pattern import any_constant, any_op, any_variable, any_variables, rewrite
from symnet.rewrite.pipeline import CANONICAL, PASSES, Pass
from symnet.rewrite.pipeline import rewrite as run

from .running import declare, rewritten, text, values

x, y = any_variable("x"), any_variable("y")


# --- patterns --------------------------------------------------------------------------------------


def test_a_number_matches_constants_of_any_dtype_and_shape_that_broadcast() -> None:
    @rewrite(1 + exp(x), "a test")
    def rule(x: Any) -> Any:
        return cosh(x)

    (v,) = declare("v:fmatrix")
    for one in (1, 1.0, np.float32(1), np.ones((1, 1), "float32"), constant(np.ones(1, "int8"))):
        for expression in (one + exp(v), exp(v) + one):
            assert rewritten(expression, [rule])[1].counts() == {"rule": 1}, one
    for other in (2, np.ones((3, 4), "float32"), np.float32(1.5), np.float32(np.nan)):
        assert rewritten(other + exp(v), [rule])[1].counts() == {}, other


def test_the_same_name_is_the_same_variable_in_either_order_of_operands() -> None:
    @rewrite(sin(x) * (x + y), "a test")
    def rule(x: Any, y: Any) -> Any:
        return x - y

    a, b = declare("a:dvector b:dvector")
    for expression in (sin(a) * (a + b), sin(a) * (b + a), (a + b) * sin(a), (b + a) * sin(a)):
        assert text(rewritten(expression, [rule])[0].outputs[0]) == "sub(a, b)"
    assert rewritten(sin(a) * (b + b), [rule])[1].counts() == {}


def test_a_refused_order_of_operands_leads_to_the_other() -> None:
    @rewrite(x * y, "a test", when=lambda x: x.name == "b")
    def rule(y: Any) -> Any:
        return y

    a, b = declare("a:dvector b:dvector")
    assert text(rewritten(a * b, [rule])[0].outputs[0]) == "a"
    assert text(rewritten(b * a, [rule])[0].outputs[0]) == "a"


def test_ops_and_all_operands_can_be_bound() -> None:
    found: list[Any] = []

    @rewrite(
        any_op("op", type(exp), where=lambda op: op.name == "switch")(any_variables("operands")),
        "a test",
    )
    def rule(op: Any, operands: Any, out: Any) -> Any:
        found.append((op.name, len(operands), out.dtype))
        return operands[1]

    c, a = declare("c:zvector a:dvector")
    rewritten(table.switch(c, a, 0.0), [rule])
    assert found == [("switch", 3, "float64")]


def test_a_rule_must_name_what_its_pattern_binds() -> None:
    with pytest.raises(TypeError, match=r"the pattern binds no z"):

        @rewrite(exp(x), "a test")
        def rule(z: Any) -> Any:
            return z

    with pytest.raises(TypeError, match="an op applied to something"):
        rewrite(x, "a test")
    with pytest.raises(TypeError, match="can't stand in a pattern"):
        exp(x) + "1"


# --- what the engine does for a rule ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda v: cast(v, "float32"), "dtype float32 where float64 was"),
        (lambda v: total(v, axis=0), "1 axes where 2 were"),
        (lambda v: v[:1], r"broadcastable axes \(True, False\) where \(False, False\) were"),
        (lambda v: v[v.shape[0] - 2 :], r"shape \(2, 3\) where \(4, 3\) was known"),
    ],
)
def test_a_replacement_of_another_type_is_refused(make: Any, wrong: str) -> None:
    @rewrite(exp(x), "a test of types")
    def breaks_the_type(x: Any) -> Any:
        return make(x)

    v = TensorType("float64", shape=(4, 3))("v")
    with pytest.raises(RewriteError, match=f"breaks_the_type .a test of types.*{wrong}"):
        rewritten(exp(v), [breaks_the_type])


def test_new_nodes_get_the_line_and_the_name_of_what_they_replace() -> None:
    (v,) = declare("v:dmatrix")
    expression = log(softmax(v))
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    expression.name = "loglikelihood"
    graph, report = rewritten(expression)
    (output,) = graph.outputs
    assert str(output.owner.op) == "LogSoftmax"  # type: ignore[union-attr]
    assert output.name == "loglikelihood"
    assert output.source is not None
    assert (output.source.file, output.source.line) == (__file__, line)
    (application,) = report.applications
    assert application.rule == "log_of_softmax"
    assert application.source == output.source
    assert (application.added, application.removed) == (1, 2)


def test_folded_constants_keep_the_line() -> None:
    (v,) = declare("v:dvector")
    product = v * exp(constant(np.float64(2.0)))
    graph, _ = rewritten(product)
    (folded,) = (each for each in graph.clients if isinstance(each, Constant))
    assert folded.source == product.source
    assert float(folded.data) == pytest.approx(np.exp(2.0))


def test_a_rule_that_loops_is_stopped_and_named() -> None:
    @rewrite(sin(x), "cosines are nicer")
    def sine_to_cosine(x: Any) -> Any:
        return cosh(x)

    @rewrite(cosh(x), "sines are nicer")
    def cosine_to_sine(x: Any) -> Any:
        return sin(x)

    (v,) = declare("v:dvector")
    with pytest.raises(RewriteError, match=r"(sine_to_cosine|cosine_to_sine).*does not come to an end"):
        rewritten(exp(sin(v)), [sine_to_cosine, cosine_to_sine])


def test_a_rule_that_blows_up_is_stopped_and_named() -> None:
    @rewrite(sin(x), "more is better")
    def many(x: Any) -> Any:
        result = x
        for number in range(100):
            result = sin(result) + float(number)
        return result

    (v,) = declare("v:dvector")
    with pytest.raises(RewriteError, match="the rewrite many added"):
        rewritten(sin(v), [many])


def test_an_error_within_a_rule_is_not_swallowed() -> None:
    @rewrite(sin(x), "a test")
    def broken(x: Any) -> Any:
        raise ZeroDivisionError("broken on purpose")

    (v,) = declare("v:dvector")
    with pytest.raises(ZeroDivisionError, match="broken on purpose"):
        rewritten(sin(v), [broken])


def test_a_rule_applies_to_what_other_rules_make_above_and_below() -> None:
    (v,) = declare("v:dvector")
    # From the inside: -(-v) is v, v - 0 is v, v * 1 is v; then exp(v) - 1 is expm1.
    graph, _ = rewritten(exp(neg(-(v - 0)) * 1) - 1)
    assert text(graph.outputs[0]) == "expm1(v)"


def test_single_use_is_noticed_when_the_other_use_goes() -> None:
    (v,) = declare("v:dvector")
    s = sigmoid(v)
    # The second use of the sigmoid goes when the logarithm is rewritten.
    cost = total(1 - s) + total(log(s))
    _, report = rewritten(cost)
    assert "one_minus_sigmoid" in report.counts()


# --- joining ---------------------------------------------------------------------------------------


def test_equal_expressions_become_one() -> None:
    a, b = declare("a:dmatrix b:dmatrix")
    graph, report = rewritten(
        [exp(a + b) * sin(a + b), exp(b + a), total(exp(a + b), axis=0), total(exp(a + b), axis=1)], []
    )
    assert report.passes[0].merged == 7
    assert graph.outputs[0].owner.inputs[0] is graph.outputs[1]  # type: ignore[union-attr]
    # Sums over different axes are different ops, a - b is not b - a.
    assert graph.outputs[2] is not graph.outputs[3]
    assert rewritten([a - b, b - a], [])[1].passes[0].merged == 0


def test_equal_constants_become_one_by_type_and_bits() -> None:
    (v,) = declare("v:dvector")
    numbers = [np.float64(0.5), np.float64(0.5), np.float32(0.5), np.float64(-0.0), np.float64(0.0)]
    graph, _ = rewritten([v + constant(number) for number in numbers], [])
    used = [output.owner.inputs[1] for output in graph.outputs]  # type: ignore[union-attr]
    assert used[0] is used[1]
    assert len(set(used)) == 4


def test_nodes_that_become_equal_through_a_rule_are_joined() -> None:
    a, b = declare("a:dvector b:dvector")
    graph, _ = rewritten([tanh(exp(a * 1) + b), tanh(b + exp(a))])
    assert graph.outputs[0] is graph.outputs[1]
    assert len(graph.nodes) == 3


def test_a_joined_literal_no_longer_adapts_its_dtype() -> None:
    (v,) = declare("v:fvector")
    half = constant(0.1)
    assert half.weak
    graph, _ = rewritten([exp(half), v * constant(np.float64(0.1))], [])
    constants = [each for each in graph.clients if isinstance(each, Constant)]
    assert not any(each.weak for each in constants)
    assert graph.outputs[1].dtype == "float64"


def test_a_graph_that_shares_everything_is_not_walked_as_a_tree() -> None:
    (v,) = declare("v:dscalar")
    doubled: Variable = v
    for _ in range(60):
        doubled = doubled + doubled
    graph, report = rewritten(grad(doubled, v))
    assert report.passes[-1].attempts < 5000
    assert values(graph.outputs, {v: 1.0})[0] == 2.0**60


# --- growth of the work ----------------------------------------------------------------------------


def _network(layers: int) -> list[Variable]:
    activation: Variable = TensorType("float64", shape=(None, None))("images")
    classes = TensorType("int64", shape=(None,))("classes")
    weights = []
    for _ in range(layers):
        w, b = declare("w:dmatrix b:dvector")
        weights += [w, b]
        activation = sigmoid(dot(activation, w) + b)
    cost = -mean(log(softmax(activation))[constant(np.arange(5)), classes])
    return [cost, *(w - 0.1 * g for w, g in zip(weights, grad(cost, weights), strict=True))]


def test_the_work_grows_with_the_nodes() -> None:
    tries, sizes = [], []
    for layers in (10, 20, 40):
        _, report = rewritten(_network(layers))
        tries.append(sum(each.attempts for each in report.passes))
        sizes.append(report.passes[0].nodes_before)
    for few, many, small, large in zip(tries, tries[1:], sizes, sizes[1:], strict=False):
        assert many / few <= 1.05 * large / small


def _chain(variable: Variable, ops: list[Any]) -> Variable:
    """The ops one after the other, made without asking each for its type, which would take longer."""
    for op in ops:
        variable = Apply(op, [variable], [variable.type], variable.source).out
    return variable


def test_a_deep_chain_needs_no_recursion() -> None:
    depth = 100_000
    (v,) = declare("v:dvector")
    graph = FunctionGraph([v], [_chain(v, [neg, tanh] * (depth // 2))])
    report = run(graph, PASSES[:2])
    assert len(graph.nodes) == depth
    assert sum(each.attempts for each in report.passes) < 20 * depth
    graph = FunctionGraph([v], [_chain(v, [neg] * 20_000)])
    run(graph, [PASSES[0], Pass("rules", "Negations.", [rules_algebra.negated_negation])])
    assert graph.outputs == [v]


# --- folding ---------------------------------------------------------------------------------------


class _Refusing(Op):
    """An op whose meaning refuses its operand."""

    def convert(self, *inputs: Any) -> Any:
        return inputs

    def dtypes(self, *inputs: Variable) -> Any:
        return ["float64"]

    def shapes(self, inputs: Any, shapes: Any, values: Any, context: Any) -> Any:
        return [shapes[0]]

    def numpy(self, node: Apply, *inputs: Any) -> Any:
        raise ValueError("refused")


def test_what_refuses_its_constants_stays_until_it_runs() -> None:
    number = constant(np.float64(1.0))
    graph, report = rewritten(_Refusing()(number))
    assert report.counts() == {}
    assert len(graph.nodes) == 1


def test_folding_keeps_nan_and_infinity() -> None:
    expression = constant(np.array([np.inf, -np.inf, np.nan, 0.0])) * constant(np.float64(0.0))
    graph, _ = rewritten(expression)
    (output,) = graph.outputs
    assert isinstance(output, Constant)
    np.testing.assert_array_equal(output.data, [np.nan, np.nan, np.nan, 0.0])


def test_ieee_meaning_is_kept() -> None:
    (v,) = declare("v:dvector")
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    for expression in (v * 0, v - v, v / v, 0 / v, v**0 * v, abs(v) * 0):
        graph, _ = rewritten(expression)
        np.testing.assert_array_equal(
            values(graph.outputs, {v: special})[0], values([expression], {v: special})[0]
        )


# --- refusals are kept -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda a, b: table.fill(a + b, 0.0),
        lambda a, b: (a + b).shape,
        lambda a, b: table.switch(constant(np.bool_(True)), a, b),
        lambda a, b: table.fill(a, b),
        lambda a, b: table.fill(a, 2.0) * b,
        lambda a, b: grad(total(a * b), a),
        lambda a, b: grad(total(a + b), a),
    ],
)
def test_lengths_that_differ_are_still_refused(build: Any) -> None:
    from symnet.errors import ShapeError

    a, b = declare("a:dvector b:dvector")
    given = {a: np.zeros(3), b: np.zeros(4)}
    expression = build(a, b)
    with pytest.raises(ShapeError):
        values([expression], given)
    graph, _ = rewritten(expression)
    with pytest.raises(ShapeError):
        values(graph.outputs, given)


# --- the pipeline and its report -------------------------------------------------------------------


def test_passes_are_named_and_said_in_a_sentence() -> None:
    assert [each.name for each in PASSES] == ["merge", "canonicalise", "recognise", "stabilise"]
    assert all(each.sentence.endswith(".") and len(each.sentence) > 20 for each in PASSES)
    assert CANONICAL


def test_the_report_tells_times_counts_and_every_application() -> None:
    (v,) = declare("v:dmatrix")
    graph, report = rewritten([log(softmax(v * 1)), exp(v * 1)])
    assert [each.name for each in report.passes] == [each.name for each in PASSES]
    merge, canonicalise, _, stabilise = report.passes
    assert (merge.nodes_before, merge.nodes_after, merge.merged) == (5, 4, 1)
    assert canonicalise.counts() == {"factor_of_one": 1}
    assert stabilise.counts() == {"log_of_softmax": 1}
    assert stabilise.nodes_after == len(graph.nodes) == 2
    assert report.counts() == {"factor_of_one": 1, "log_of_softmax": 1}
    assert report.seconds > 0
    assert "canonicalise" in str(report) and "nodes before" in str(report)
    assert f"log_of_softmax: log -> LogSoftmax (+1 -2 nodes)  [{__file__}:" in report.log()


def test_the_graph_is_verified_between_passes_in_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("symnet.rewrite.pipeline.verify", lambda graph, after: seen.append(after))
    (v,) = declare("v:dvector")
    with config.override(debug=1):
        rewritten(exp(v))
    assert seen == [f"the pass {each.name}" for each in PASSES]
    seen.clear()
    with config.override(debug=0):
        rewritten(exp(v))
    assert seen == []


def test_the_verifier_finds_what_is_wrong() -> None:
    (v,) = declare("v:dvector")
    inner = exp(v)
    graph = FunctionGraph([v], [inner + sin(inner)])
    verify(graph, "nothing")
    graph.outputs[0].owner.inputs = (v, v)  # type: ignore[union-attr]
    with pytest.raises(RewriteError, match="after nothing: "):
        verify(graph, "nothing")
    graph = FunctionGraph([v], [exp(sin(v))])
    sine = graph.outputs[0].owner.inputs[0]  # type: ignore[union-attr]
    sine.type = TensorType("float64", shape=(1,))
    with pytest.raises(RewriteError, match="its output is"):
        verify(graph, "nothing")
    graph = FunctionGraph([v], [exp(sin(v))])
    sine = graph.outputs[0].owner.inputs[0]  # type: ignore[union-attr]
    sine.owner.inputs = (graph.outputs[0],)  # type: ignore[union-attr]
    with pytest.raises(RewriteError, match="it depends on itself"):
        verify(graph, "nothing")


def test_replacing_a_variable_by_what_uses_it_leaves_that_use() -> None:
    (v,) = declare("v:dvector")
    inner = exp(v)
    graph = FunctionGraph([v], [sin(inner)])
    graph.replace(inner, inner + 1.0)
    assert text(graph.outputs[0]) == "sin(add(exp(v), 1.0))"
    verify(graph, "replace")


def test_ops_keep_their_hash_out_of_pickles() -> None:
    (v,) = declare("v:dmatrix")
    op = total(v, axis=0).owner.op
    assert hash(op) == hash(total(exp(v), axis=0).owner.op)
    copy = pickle.loads(pickle.dumps(op))
    assert "_hash" not in copy.__dict__
    assert copy == op and hash(copy) == hash(op)


def test_the_merger_forgets_pruned_nodes() -> None:
    a, b = declare("a:dvector b:dvector")
    graph = FunctionGraph([a, b], [exp(a)])
    merger = Merger(graph)
    (node,) = graph.nodes
    assert merger.equal_node(node) is None
    assert merger.equal_node(exp(a).owner) is node
    merger.forget(node)
    assert merger.equal_node(node) is None


def test_a_constant_pattern_takes_a_predicate() -> None:
    c = any_constant("c", where=lambda constant: constant.ndim == 0)

    @rewrite(c * x, "a test")
    def rule(c: Any, x: Any) -> Any:
        return x + c

    (v,) = declare("v:d(2)")
    assert rewritten(v * 3.0, [rule])[1].counts() == {"rule": 1}
    assert rewritten(v * np.array([1.0, 2.0]), [rule])[1].counts() == {}
