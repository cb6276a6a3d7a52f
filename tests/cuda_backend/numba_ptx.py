"""Holds what reads kernels' texts to Numba, which compiles them, too, in a process that simulates nothing.

`python -m cuda_backend.numba_ptx` from the folder of the tests writes JSON: how many dtypes of operators are
those that Numba finds, and of nests, a contraction and a layer that learns, compiled by both and run thread
for thread, how many arrays are the same bit for bit. What differs ends the process with the assertion.
"""

from __future__ import annotations

import ast
import json
import operator
import sys
from typing import Any

import numpy as np
from llvmlite import ir

import symnet
import symnet.tensor as T
from symnet.backend.cuda import toolkit
from symnet.backend.cuda.body import Body
from symnet.backend.cuda.contraction import contraction_bodies
from symnet.backend.cuda.machine import Machine
from symnet.backend.cuda.text_expressions import Expressions
from symnet.backend.cuda.text_values import TYPES, Value
from symnet.errors import CompileError

from . import nest_ptx, ptx_device, simulating
from .contraction_cases import convolution, problem

_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: dict[type[ast.unaryop], Any] = {
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}


def operators() -> int:
    """How many results have the dtype that Numba finds: of each operator and all dtypes that it takes.

    Comparisons are left out: they are of what numbers are, Numba's of what they become.
    """
    from numba import types
    from numba.cuda.descriptor import cuda_target

    typing = cuda_target.typing_context
    typing.refresh()
    node = ast.parse("a", mode="eval").body
    found = 0
    for which, function in (_BINARY | _UNARY).items():
        for left in TYPES:
            for right in TYPES if which in _BINARY else [None]:
                dtypes = [left] if right is None else [left, right]
                reader = _reader()
                values = [Value(each, reader.places.alloca(TYPES[each])) for each in dtypes]
                values = [Value(each.dtype, reader.builder.load(each.code)) for each in values]
                try:
                    made: Any = getattr(reader, "unary" if right is None else "binary")(
                        node, which(), *values
                    )
                except CompileError:
                    continue
                kinds = [types.boolean if each == "bool" else getattr(types, each) for each in dtypes]
                wanted = str(typing.resolve_function_type(function, kinds, {}).return_type)
                assert made.dtype == wanted, (which, dtypes, made.dtype, wanted)
                found += 1
    return found


def _reader() -> Expressions:
    kind = ir.FunctionType(ir.VoidType(), [])
    return Expressions("a", "k", ir.Function(ir.Module(), kind, "k"), [], (9, 0), None)


class Both:
    """Runs bodies by what either makes of their texts."""

    def __init__(self) -> None:
        self.same = 0

    def run_body(
        self,
        body: Body,
        arrays: dict[str, np.ndarray],
        sizes: dict[str, int],
        machine: Machine = nest_ptx.SMALL,
    ) -> list[int]:
        """What `simulating.run_body` does, with the bits of both."""
        others = {name: each.copy() for name, each in arrays.items()}
        state = nest_ptx.run_body(body, arrays, sizes, machine)
        assert nest_ptx.run_body(body, others, sizes, machine, toolkit.compile) == state, body
        for parameter in body.parameters:
            mine, its = arrays[parameter.name], others[parameter.name]
            assert mine.tobytes() == its.tobytes(), (body, parameter, mine, its)
            self.same += parameter.written
        return state


def nests() -> int:
    """Tests of nests, by both."""
    both = Both()
    simulating.run_body = both.run_body
    simulating.SIMULATOR = nest_ptx.SMALL
    from . import test_nest_bodies, test_sharing

    for test, wanted in (
        (test_sharing.test_rows, {"function": "maximum"}),
        (test_sharing.test_softmax_of_rows, {"source": "out"}),
        (test_nest_bodies.test_neighbours_are_read_and_written_at_once, {"count": 301}),
        (test_nest_bodies.test_the_first_failure_in_order_is_told, {}),
        (test_nest_bodies.test_draws_are_those_of_the_philox_generator, {"count": 258}),
    ):
        (arguments, *_) = (each for each in nest_ptx.cases(test) if wanted.items() <= each.items())
        test(**arguments)
    return both.same


def contraction() -> int:
    """A convolution as one contraction."""
    made = convolution(2, 3, 9, 9, 6, (3, 3))["forward"]
    given = problem(made, {})
    both = Both()
    machine = Machine((9, 0), 2)
    for body in contraction_bodies("kernel", made, given.offsets, machine, {}):
        for scratch in body.scratch:
            given.memory.setdefault(scratch.name, np.full(scratch.count, np.nan, scratch.dtype))
        both.run_body(body, given.memory, {}, machine)
    return both.same


def network() -> int:
    """Two steps of a layer that learns by its softmax."""
    ptx_device.install()
    found: list[list[bytes]] = []
    by_numba: list[str] = []
    compile = toolkit.compile

    def noted(source: str, name: str, *given: Any) -> str:
        by_numba.append(name)
        return compile(source, name, *given)

    toolkit.compile = noted
    for backend in ("llvm", "numba"):
        with symnet.config.override(backend=backend, cache=False, device="cuda", floatX="float32"):
            random = np.random.default_rng(3)
            w = symnet.shared(random.normal(size=(7, 4)).astype("float32"))
            b = symnet.shared(np.zeros(4, "float32"))
            x, y = T.fmatrix(), T.ivector()
            cost = -T.mean(T.log(T.nnet.softmax(T.dot(x, w) + b))[T.arange(y.shape[0]), y])
            updates = [
                (p, p - np.float32(0.5) * g) for p, g in zip((w, b), T.grad(cost, [w, b]), strict=True)
            ]
            step = symnet.function([x, y], cost, updates=updates)
            given = random.random((5, 7), np.float32), np.array([0, 3, 1, 1, 2], "int32")
            costs = [step(*given) for _ in range(2)]
            assert step.report["device"] == "cuda" and costs[1] < costs[0]
            found.append([each.tobytes() for each in (*costs, w.get_value(), b.get_value())])
    assert found[0] == found[1] and len(by_numba) == step.report["launches"], by_numba
    return len(found[0])


def main() -> None:
    """Compare."""
    json.dump({each.__name__: each() for each in (operators, nests, contraction, network)}, sys.stdout)


if __name__ == "__main__":
    main()
