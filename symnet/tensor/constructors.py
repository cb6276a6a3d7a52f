"""Constructors of symbolic inputs: takes a name and a dtype, hands on a variable of a rank.

`matrix("x")` is of `config.floatX`; a letter in front fixes the dtype, as in `imatrix`. What has a
letter is a `TensorType`, so it can be called and compared with `x.type`, as in Theano.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symnet.config import config
from symnet.errors import GraphError
from symnet.graph.types import TensorType
from symnet.graph.variable import Variable

DTYPE_OF_LETTER = {
    "b": "int8",
    "w": "int16",
    "i": "int32",
    "l": "int64",
    "f": "float32",
    "d": "float64",
    "c": "complex64",
    "z": "complex128",
}
SHAPE_OF_KIND: dict[str, tuple[int | None, ...]] = {
    "scalar": (),
    "vector": (None,),
    "matrix": (None, None),
    "row": (1, None),
    "col": (None, 1),
    **{f"tensor{ndim}": (None,) * ndim for ndim in range(3, 8)},
}
_PLURALS = {"matrix": "matrices"}

#: Every type with a letter, by its name: "dmatrix", "iscalar" …
TYPES = {
    letter + kind: TensorType(dtype, shape)
    for letter, dtype in DTYPE_OF_LETTER.items()
    for kind, shape in SHAPE_OF_KIND.items()
}


def _constructor(kind: str) -> Callable[..., Variable]:
    def construct(name: str | None = None, dtype: Any = None) -> Variable:
        shape = SHAPE_OF_KIND[kind]
        return TensorType(config.floatX if dtype is None else dtype, shape).make_variable(name)

    construct.__name__ = construct.__qualname__ = kind
    axes = ", ".join("?" if n is None else str(n) for n in SHAPE_OF_KIND[kind])
    construct.__doc__ = f"""A symbolic {kind}, of shape ({axes}) and floatX unless a dtype is given."""
    return construct


#: `scalar`, `vector`, `matrix` … by name.
CONSTRUCTORS = {kind: _constructor(kind) for kind in SHAPE_OF_KIND}


def _several(make: Callable[..., Variable], one: str, plural: str) -> Callable[..., Any]:
    def construct(*names: Any) -> Any:
        if not names:
            raise GraphError(f'{plural}() needs names, as in {plural}("a", "b"), or a number of variables')
        if len(names) == 1 and isinstance(names[0], int):
            return make() if names[0] == 1 else [make() for _ in range(names[0])]
        if len(names) == 1 and isinstance(names[0], str | list | tuple):
            names = tuple(names[0])
        return make(names[0]) if len(names) == 1 else [make(name) for name in names]

    construct.__name__ = construct.__qualname__ = plural
    construct.__doc__ = (
        f"""Several of `{one}`: {plural}("a", "b"), {plural}("ab") for one-letter names, or {plural}(2)."""
    )
    return construct


_MAKERS: dict[str, Callable[..., Variable]] = {**CONSTRUCTORS, **TYPES}

#: `matrices`, `dscalars` … by name; the dtypes that Theano has them for.
PLURALS = {
    plural: _several(_MAKERS[letter + kind], letter + kind, plural)
    for kind in SHAPE_OF_KIND
    for letter in ("", "f", "d", "i", "l")
    for plural in [letter + _PLURALS.get(kind, kind + "s")]
}


def tensor(
    dtype: Any = None,
    broadcastable: Sequence[bool | int | None] | None = None,
    name: str | None = None,
    shape: Sequence[int | None] | None = None,
) -> Variable:
    """A symbolic tensor of any rank.

    Parameters
    ----------
    dtype
        Its dtype, `config.floatX` by default.
    broadcastable
        A bool for each axis (True: its length is 1), or a length or None for each axis.
    name
        Its name.
    shape
        A length or None (unknown) for each axis, in place of `broadcastable`.

    >>> tensor("float32", shape=(None, 784), name="images").type
    TensorType(float32, (?, 784))
    """
    return TensorType(config.floatX if dtype is None else dtype, broadcastable, shape=shape).make_variable(
        name
    )
