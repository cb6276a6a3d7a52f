"""Random expressions: takes what Hypothesis draws, hands on variables with the values they must have.

Each step is applied to variables that are there already, and its value found at once by the ops' NumPy
meaning, so that a step which has no meaning on them is dropped. Numbers are small integers, halves and
special values: with them arithmetic is exact in any order, so that compiled code has no excuse.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import symnet.tensor as T
from symnet.backend.reference import apply_op
from symnet.compile.shared import shared
from symnet.errors import SymnetError
from symnet.graph.traversal import toposort
from symnet.graph.types import TensorType
from symnet.graph.variable import Constant
from symnet.ops.elementwise import Cast

DTYPES = ("float64", "float64", "float32", "float32", "int64", "int32", "int8", "uint8", "bool")
SPECIAL = (np.nan, np.inf, -np.inf, -0.0)
#: Above this sums of float32 would round.
LARGEST = 2.0**18
MOST_ENTRIES = 1500


class Graph:
    """Variables and their values, growing step by step."""

    def __init__(self, data):
        self.data = data
        self.lengths = data.draw(
            st.lists(st.sampled_from((0, 1, 2, 3, 4, 5, 7, 18, 37)), min_size=2, max_size=3)
        )
        self.values = {}
        self.inputs = []
        self.arguments = []
        self.pool = []
        self.masks = 0

    # --- what is drawn -------------------------------------------------------------------------

    def pick(self, choices):
        return self.data.draw(st.sampled_from(list(choices)))

    def integer(self, low, high):
        return self.data.draw(st.integers(low, high))

    def flag(self):
        return self.data.draw(st.booleans())

    def array(self, shape, dtype):
        """Small numbers from a seed that is drawn."""
        random = np.random.default_rng(self.integer(0, 2**16))
        if dtype == "bool":
            return random.random(shape) < 0.5
        low = 0 if dtype.startswith("u") else -3
        found = random.integers(low, 4, size=shape).astype(dtype)
        if dtype.startswith("float"):
            found = np.asarray(found * np.asarray(0.5, dtype))
            if self.flag():
                found = np.where(random.random(shape) < 0.2, random.choice(SPECIAL, shape), found)
        return np.asarray(found, dtype)

    def add_input(self):
        shape = tuple(self.pick([*self.lengths, 1]) for _ in range(self.pick((0, 1, 1, 2, 2, 2, 3))))
        dtype = self.pick(DTYPES)
        value = self.array(shape, dtype)
        axes = [self.pick((None, None, n) if n == 1 else (None, None, None, n)) for n in shape]
        if self.integer(0, 3) == 0:
            variable = shared(value, name=f"s{len(self.inputs)}", shape=axes)
        else:
            variable = TensorType(dtype, shape=axes)(f"x{len(self.inputs)}")
            self.arguments.append(variable)
        self.inputs.append(variable)
        self.values[variable] = value
        self.pool.append(variable)

    def add_index(self, length):
        """An integer scalar that lies inside an axis, as an argument."""
        variable = T.scalar(f"i{len(self.inputs)}", dtype=self.pick(("int64", "int32", "int8")))
        self.inputs.append(variable)
        self.arguments.append(variable)
        self.values[variable] = np.asarray(self.integer(-length, length - 1), variable.dtype)
        return variable

    # --- values --------------------------------------------------------------------------------

    def value(self, variable):
        return variable.data if isinstance(variable, Constant) else self.values[variable]

    def keep(self, variable):
        """Take a variable in when it has a value that stays small enough to be exact."""
        found = {}
        with np.errstate(all="ignore"):
            for node in toposort([variable], stop=set(self.values)):
                inputs = [found[v] if v in found else self.value(v) for v in node.inputs]
                found.update(zip(node.outputs, apply_op(node, inputs), strict=True))
        if any(value.size > MOST_ENTRIES or not is_exact(value) for value in found.values()):
            return None
        self.values.update(found)
        if not isinstance(variable, Constant) and variable not in self.pool:
            self.pool.append(variable)
        return variable

    def shape(self, variable):
        return self.value(variable).shape

    def other_arguments(self):
        """Arrays of other lengths for the arguments: each length becomes another one, wherever it stands."""
        lengths = {
            n: self.pick((0, 1, 2, 3, 4, 6, 21))
            for n in sorted({n for a in self.arguments for n in self.shape(a)})
        }
        return [
            self.array(
                tuple(
                    lengths[now] if said is None else now
                    for now, said in zip(self.shape(each), each.type.shape, strict=True)
                ),
                each.dtype,
            )
            if not each.name.startswith("i")
            else self.values[each]
            for each in self.arguments
        ]

    def meaning(self, outputs, arguments):
        """The values of outputs for other arguments; None where they have none, or not an exact one."""
        found = {v: self.values[v] for v in self.inputs}
        found.update(zip(self.arguments, arguments, strict=True))
        with np.errstate(all="ignore"):
            for node in toposort(outputs, stop=set(found)):
                inputs = [v.data if isinstance(v, Constant) else found[v] for v in node.inputs]
                if any(not is_exact(each) for each in inputs) or any_undefined(node, inputs):
                    return None
                found.update(zip(node.outputs, apply_op(node, inputs), strict=True))
        return [v.data if isinstance(v, Constant) else found[v] for v in outputs]

    # --- steps ---------------------------------------------------------------------------------

    def grow(self, steps, names=None):
        """Apply random steps."""
        for _ in range(steps):
            name = self.pick(names or STEPS)
            x = self.pick(self.pool)
            try:
                found = STEPS[name](self, x)
                if found is not None:
                    self.keep(found)
            except SymnetError:
                continue
            except NotAnExpression:
                continue

    def results(self):
        """The computed variables."""
        return [v for v in self.pool if v.owner is not None] or self.pool[:1]


def is_exact(value):
    """Whether arithmetic goes on being exact with these numbers."""
    return value.dtype.kind != "f" or not np.any(np.abs(value[np.isfinite(value)]) > LARGEST)


def any_undefined(node, inputs):
    """Whether a float is converted to an integer dtype that can't hold it: then any number may come out."""
    if (
        not isinstance(node.op, Cast)
        or inputs[0].dtype.kind != "f"
        or node.op.dtype.startswith(("float", "bool"))
    ):
        return False
    limits = np.iinfo(node.op.dtype)
    return not np.all((inputs[0] >= limits.min) & (inputs[0] <= limits.max))


class NotAnExpression(Exception):
    """A step that does not apply to what was drawn."""


def _unary(graph, x):
    op = graph.pick(
        (
            "neg",
            "abs_",
            "sgn",
            "sqr",
            "floor",
            "ceil",
            "trunc",
            "isnan",
            "isinf",
            "invert",
            "identity",
        )
    )
    if op == "identity":
        return x + 0 if x.dtype != "bool" else x & True
    return getattr(T, op)(x)


def _cast(graph, x):
    dtype = graph.pick(DTYPES)
    value = graph.value(x)
    if dtype != "bool" and not dtype.startswith("float"):
        if not np.all(np.isfinite(value)) or np.any(np.abs(value) > 100):
            raise NotAnExpression
        if dtype.startswith("u") and np.any(value < 0):
            raise NotAnExpression
    return T.cast(x, dtype)


def _binary(graph, x):
    op = graph.pick(
        (
            "add",
            "sub",
            "mul",
            "maximum",
            "minimum",
            "eq",
            "neq",
            "lt",
            "le",
            "gt",
            "ge",
            "and_",
            "or_",
            "xor",
            "mod",
            "int_div",
        )
    )
    y = graph.pick((*graph.pool, T.constant(2), T.constant(0.5), T.constant(1.0)))
    if op in ("mod", "int_div") and ("float" in x.dtype + y.dtype or not np.all(graph.value(y))):
        raise NotAnExpression
    names = {"mod": "mod", "int_div": "int_div"}
    return getattr(T, names.get(op, op))(x, y)


def _switch(graph, x):
    condition = graph.pick(graph.pool)
    return T.switch(condition > 0 if condition.dtype != "bool" else condition, x, graph.pick(graph.pool))


def _clip(graph, x):
    return T.clip(x, graph.pick((-1, 0)), graph.pick((1, 2)))


def _reduce(graph, x):
    op = graph.pick(("sum", "sum", "max", "min", "any", "all", "prod"))
    axes = None if graph.flag() else [a for a in range(x.ndim) if graph.flag()]
    return getattr(T, op)(x, axis=axes, keepdims=graph.flag())


def _arg(graph, x):
    if x.ndim == 0:
        raise NotAnExpression
    axis = graph.pick((None, *range(x.ndim)))
    return getattr(T, graph.pick(("argmax", "argmin")))(x, axis=axis)


def _dimshuffle(graph, x):
    kept = [a for a in range(x.ndim) if not (x.broadcastable[a] and graph.flag())]
    order = graph.data.draw(st.permutations(kept)) if kept else []
    for _ in range(graph.integer(0, max(0, min(2, 4 - len(order))))):
        order.insert(graph.integer(0, len(order)), "x")
    return x.dimshuffle(order)


def _reshape(graph, x):
    shape = graph.shape(x)
    kind = graph.pick(("flatten", "rows", "columns", "split", "ones", "like"))
    if kind == "flatten":
        return x.flatten(graph.integer(1, max(1, x.ndim)))
    if x.ndim == 0:
        return x.reshape((1, 1), ndim=2)
    if kind == "rows":
        return x.reshape((x.shape[0], -1), ndim=2)
    if kind == "columns":
        return x.reshape((-1, x.shape[x.ndim - 1]), ndim=2)
    if kind == "split":
        return x.reshape((2, -1))
    if kind == "ones":
        return x.reshape((1, *shape, 1))
    return x.T.reshape(x.shape, ndim=x.ndim)


def _bound(graph, length):
    kind = graph.integer(0, 4)
    if kind < 2:
        return None
    if kind == 2 and length:
        return graph.add_index(length)
    return graph.integer(-length - 1, length + 1)


def _items(graph, x):
    items = []
    for length in graph.shape(x):
        if length and graph.integer(0, 3) == 0:
            items.append(graph.add_index(length) if graph.flag() else graph.integer(-length, length - 1))
        else:
            step = graph.pick((None, None, 1, 2, -1, -2, 3))
            items.append(slice(_bound(graph, length), _bound(graph, length), step))
        if graph.integer(0, 3) == 0:
            break
    if graph.integer(0, 5) == 0:
        items.insert(graph.integer(0, len(items)), None)
    return tuple(items)


def _slice(graph, x):
    if x.ndim == 0:
        raise NotAnExpression
    return x[_items(graph, x)]


def _index_array(graph, length):
    count = graph.integer(0, 4)
    array = np.asarray([graph.integer(-length, length - 1) for _ in range(count)], "int64")
    if graph.flag():
        return array
    variable = T.lvector(f"i{len(graph.inputs)}")
    graph.inputs.append(variable)
    graph.arguments.append(variable)
    graph.values[variable] = array
    return variable


def _gather_items(graph, x):
    if x.ndim == 0 or 0 in graph.shape(x):
        raise NotAnExpression
    shape = graph.shape(x)
    kind = graph.pick(("one", "two", "mask"))
    axis = graph.integer(0, x.ndim - 1)
    before = (slice(None),) * axis
    if kind == "mask":
        if graph.masks > 2:
            raise NotAnExpression
        graph.masks += 1
        mask = x if x.dtype == "bool" else x > 0
        return (mask,)
    first = _index_array(graph, shape[axis])
    if kind == "two" and axis + 1 < x.ndim:
        count = len(graph.value(first)) if not isinstance(first, np.ndarray) else len(first)
        second = np.asarray(
            [graph.integer(-shape[axis + 1], shape[axis + 1] - 1) for _ in range(count)], "int64"
        )
        return (*before, first, second)
    return (*before, first)


def _gather(graph, x):
    return x[_gather_items(graph, x)]


def _assign(graph, x):
    if x.ndim == 0:
        raise NotAnExpression
    part = x[_items(graph, x) if graph.flag() else _gather_items(graph, x)]
    if graph.keep(part) is None:
        return None
    y = graph.pick((*graph.pool, T.constant(1.0), T.constant(1.0), T.constant(1.0)))
    if (
        y.dtype.startswith("float")
        and not x.dtype.startswith("float")
        and not np.all(np.isfinite(graph.value(y)))
    ):
        raise NotAnExpression
    if x.dtype != "bool" and graph.flag():
        return T.inc_subtensor(part, y)
    return T.set_subtensor(part, y)


def _join(graph, x):
    others = [v for v in graph.pool if v.ndim == x.ndim]
    parts = [x, graph.pick(others)]
    if graph.flag():
        return T.stack(parts, axis=graph.integer(0, x.ndim))
    if x.ndim == 0:
        raise NotAnExpression
    return T.concatenate(parts, axis=graph.integer(0, x.ndim - 1))


def _create(graph, x):
    kind = graph.pick(("zeros_like", "fill", "tile", "repeat", "arange", "eye", "alloc", "shape"))
    if kind == "zeros_like":
        return T.zeros_like(x)
    if kind == "fill":
        return T.fill(x, graph.pick(graph.pool))
    if kind == "shape":
        return x.shape
    if x.ndim == 0:
        raise NotAnExpression
    if kind == "tile":
        return T.tile(x, tuple(graph.integer(1, 2) for _ in range(x.ndim)))
    if kind == "repeat":
        return T.repeat(x, graph.integer(0, 2), axis=graph.integer(0, x.ndim - 1))
    if kind == "arange":
        return T.arange(x.shape[0])
    if kind == "eye":
        return T.eye(x.shape[0], x.shape[x.ndim - 1], graph.integer(-1, 1))
    return T.alloc(x, graph.integer(0, 2), *[x.shape[a] for a in range(x.ndim)])


def _dot(graph, x):
    if x.ndim not in (1, 2):
        raise NotAnExpression
    length = graph.shape(x)[-1]
    others = [v for v in graph.pool if v.ndim in (1, 2) and graph.shape(v)[0] == length]
    if others and graph.flag():
        return T.dot(x, graph.pick(others))
    return T.dot(x, x.T)


def _gradient(graph, x):
    """The gradient of what was built, by one of its float inputs."""
    floats = [v for v in graph.inputs if v.dtype.startswith("float")]
    if not x.dtype.startswith("float") or x.owner is None or not floats:
        raise NotAnExpression
    return T.grad(T.sum(x), graph.pick(floats), disconnected_inputs="ignore")


STEPS = {
    "unary": _unary,
    "cast": _cast,
    "binary": _binary,
    "binary again": _binary,
    "switch": _switch,
    "clip": _clip,
    "reduce": _reduce,
    "arg": _arg,
    "dimshuffle": _dimshuffle,
    "reshape": _reshape,
    "slice": _slice,
    "gather": _gather,
    "assign": _assign,
    "join": _join,
    "create": _create,
    "dot": _dot,
    "gradient": _gradient,
}


def gathers_nothing(error):
    """Whether an index was refused in an axis of no entries."""
    return "outside axis" in str(error) and "length 0" in str(error)


def build(data, steps, inputs=3, names=None):
    """A graph of some inputs and random steps."""
    graph = Graph(data)
    for _ in range(inputs):
        graph.add_input()
    graph.grow(steps, names)
    return graph
