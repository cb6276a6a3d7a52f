"""Random streams: takes a seed, hands on draws whose generator every compiled function advances.

Each draw has its own stream: a shared int64 vector (seed, stream, call). A function that uses the draw
adds one to the call, so the same function draws anew each time and equal seeds draw alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symnet.compile.shared import SharedVariable, shared
from symnet.config import config
from symnet.errors import ArgumentError, GraphError, UnsupportedError
from symnet.graph.types import DISCRETE_DTYPES, checked_dtype
from symnet.graph.variable import Constant, Variable
from symnet.ops import elementwise_table as table
from symnet.ops.basic import as_tensor_variable, constant
from symnet.ops.creation import arange
from symnet.ops.elementwise import cast
from symnet.ops.linalg import dot
from symnet.ops.random import Permutation, draw
from symnet.ops.reduction import sum as reduce_sum
from symnet.ops.shape import (
    dimshuffle,
    length_of,
    reshape,
    shape_padleft,
    shape_padright,
    shape_vector,
)
from symnet.ops.subscript import index, take


def seed_number(seed: Any) -> int:
    """A seed as a number below 2**63: an integer, several integers mixed, or (None) fresh entropy.

    Raises
    ------
    ArgumentError
        For a negative integer or one of more than 63 bits.
    GraphError
        For anything else.
    """
    if seed is None or (isinstance(seed, list | tuple | np.ndarray) and np.ndim(seed) == 1):
        entropy = None if seed is None else [int(each) for each in seed]
        return int(np.random.SeedSequence(entropy).generate_state(1, "uint64")[0] >> np.uint64(1))
    if isinstance(seed, np.ndarray) and seed.ndim == 0:
        seed = seed[()]
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise GraphError(f"a seed is an integer, got {type(seed).__name__} {seed!r:.60}")
    if not 0 <= int(seed) < 2**63:
        raise ArgumentError(f"seed {seed}: an integer from 0 to 2**63 - 1 is expected")
    return int(seed)


class RandomStreams:
    """A source of random draws with Theano's methods.

    The numbers are not Theano's: they are counter-based (`symnet.ops.philox`), the same on every
    backend and with every number of threads. Two objects of one seed give the same draws in the order
    in which they are asked for.

    Parameters
    ----------
    seed
        An integer, or several; None takes fresh entropy.

    Attributes
    ----------
    state_updates
        For each draw made, (its shared state, the state after one call). Functions apply them by
        themselves, unless `no_default_updates`.

    >>> import symnet
    >>> streams = RandomStreams(seed=234)
    >>> coin = symnet.function([], streams.binomial(size=(3,), p=0.5))
    >>> first, second = coin(), coin()
    >>> streams.seed(234)
    >>> bool((coin() == first).all())
    True
    """

    def __init__(self, seed: Any = None) -> None:
        self.default_instance_seed = seed_number(seed)
        self._seed = self.default_instance_seed
        self.state_updates: list[tuple[SharedVariable, Variable]] = []

    def updates(self) -> list[tuple[SharedVariable, Variable]]:
        """The state updates, as a new list."""
        return list(self.state_updates)

    def seed(self, seed: Any = None) -> None:
        """Begin anew with a seed; None is the seed that the object was made with."""
        self._seed = self.default_instance_seed if seed is None else seed_number(seed)
        for stream, (state, _) in enumerate(self.state_updates):
            state.set_value(np.array([self._seed, stream, 0], "int64"))

    # --- draws -------------------------------------------------------------------------------------

    def uniform(
        self,
        size: Any = None,
        low: Any = 0.0,
        high: Any = 1.0,
        ndim: int | None = None,
        dtype: Any = None,
        nstreams: Any = None,
    ) -> Variable:
        """Numbers from `low` up to, and without, `high`.

        Parameters
        ----------
        size
            The shape: integers and integer scalars, or an integer vector. None takes the parameters'.
        low, high
            Numbers or tensors that broadcast to the size.
        ndim
            The number of axes, where it can't be known from a symbolic size.
        dtype
            A float dtype; floatX by default.
        nstreams
            Accepted for Theano's programs.

        Raises
        ------
        GraphError
            When the size or a parameter is not of the right kind or rank.
        """
        state = self._state()
        lengths, rank = _size(size, ndim, [low, high])
        target, kind = _float_dtype(dtype)
        drawn = draw("uniform", state, lengths, rank, kind)
        if not (_is(low, 0) and _is(high, 1)):
            _check_ranks(rank, low=low, high=high)
            drawn = table.add(low, table.mul(table.sub(high, low), drawn))
        return self._made(cast(drawn, target), state)

    def normal(
        self,
        size: Any = None,
        avg: Any = 0.0,
        std: Any = 1.0,
        ndim: int | None = None,
        dtype: Any = None,
        nstreams: Any = None,
        truncate: bool = False,
    ) -> Variable:
        """Normally distributed numbers of mean `avg` and standard deviation `std`.

        Parameters
        ----------
        size, ndim, dtype, nstreams
            As in `uniform`.
        avg, std
            Numbers or tensors that broadcast to the size.
        truncate
            Only False is supported.
        """
        if truncate:
            raise UnsupportedError("normal draws with truncate=True")
        state = self._state()
        lengths, rank = _size(size, ndim, [avg, std])
        target, kind = _float_dtype(dtype)
        drawn = draw("normal", state, lengths, rank, kind)
        _check_ranks(rank, avg=avg, std=std)
        if not _is(std, 1):
            drawn = table.mul(std, drawn)
        if not _is(avg, 0):
            drawn = table.add(avg, drawn)
        return self._made(cast(drawn, target), state)

    def binomial(
        self,
        size: Any = None,
        n: Any = 1,
        p: Any = 0.5,
        ndim: int | None = None,
        dtype: Any = "int64",
        nstreams: Any = None,
        prob: Any = None,
    ) -> Variable:
        """How many of `n` trials succeed, each with probability `p`.

        Parameters
        ----------
        size, ndim, nstreams
            As in `uniform`.
        n, p
            Numbers or tensors that broadcast to the size. The work grows with n.
        dtype
            Any real dtype.
        prob
            An old name of `p`.

        Raises
        ------
        ArgumentError
            When p is outside 0 … 1 or n negative; when the function runs if they are not constant.
        """
        probability = p if prob is None else prob
        state = self._state()
        lengths, rank = _size(size, ndim, [n, probability])
        drawn = draw("binomial", state, lengths, rank, checked_dtype(dtype), n, probability)
        return self._made(drawn, state)

    def random_integers(
        self,
        size: Any = None,
        low: Any = 0,
        high: Any = 1,
        ndim: int | None = None,
        dtype: Any = "int64",
        nstreams: Any = None,
    ) -> Variable:
        """Integers from `low` to `high`, both included.

        Raises
        ------
        ArgumentError
            When low is above high; when the function runs if they are not constant.
        """
        state = self._state()
        lengths, rank = _size(size, ndim, [low, high])
        drawn = draw("random_integers", state, lengths, rank, checked_dtype(dtype), low, high)
        return self._made(drawn, state)

    def permutation(
        self, size: Any = None, n: Any = 1, ndim: int | None = None, dtype: Any = "int64"
    ) -> Variable:
        """For each place of the size a permutation of range(n), along a new last axis."""
        state = self._state()
        lengths, rank = _size(() if size is None else size, ndim, [])
        return self._made(cast(Permutation(rank)(state, lengths, n), dtype), state)

    def choice(
        self,
        size: Any = None,
        a: Any = 2,
        replace: bool = True,
        p: Any = None,
        ndim: int | None = None,
        dtype: Any = "int64",
        nstreams: Any = None,
    ) -> Variable:
        """Entries of `a`, or of range(a) for an integer.

        Parameters
        ----------
        size, ndim, nstreams
            As in `uniform`.
        a
            An integer, or a vector.
        replace
            Whether an entry may be drawn more than once; if not, the size is at most the number of
            entries, and `p` is not given.
        p
            A vector of probabilities; equal ones by default.
        dtype
            The result's dtype.
        """
        entries = as_tensor_variable(a)
        if entries.ndim > 1 or (entries.ndim == 0 and entries.dtype not in DISCRETE_DTYPES):
            raise GraphError("choice: a is an integer or a vector", [entries])
        count = cast(entries, "int64") if entries.ndim == 0 else length_of(entries, 0)
        state = self._state()
        lengths, rank = _size(() if size is None else size, ndim, [])
        if not replace:
            if p is not None:
                raise UnsupportedError("choice with replace=False and probabilities")
            total = _product(lengths, rank)
            some = index(Permutation(0)(state, (), count), slice(None, total))
            places = reshape(some, lengths, ndim=rank)
        elif p is None:
            places = draw("random_integers", state, lengths, rank, "int64", 0, table.sub(count, 1))
        else:
            probabilities = cast(p, "float64")
            uniform = draw("uniform", state, lengths, rank, "float64")
            inner = index(_cumulative(probabilities), slice(None, -1))
            reached = table.ge(shape_padright(uniform), shape_padleft(inner, rank))
            places = reduce_sum(reached, axis=rank)
        drawn = places if entries.ndim == 0 else take(entries, places, 0)
        return self._made(cast(drawn, dtype), state)

    def multinomial(
        self,
        size: Any = None,
        n: int = 1,
        pvals: Any = (0.5, 0.5),
        ndim: int | None = None,
        dtype: Any = "int64",
        nstreams: Any = None,
    ) -> Variable:
        """How often each category comes in `n` draws.

        Parameters
        ----------
        size
            The shape without the categories' axis; None takes that of `pvals`.
        n
            The number of draws, an integer.
        pvals
            Probabilities, the categories along the last axis.
        ndim
            The size's number of axes, where it can't be known from a symbolic size.
        dtype
            The result's dtype.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise GraphError(f"multinomial: n is a nonnegative integer, got {n!r}")
        probabilities = cast(pvals, "float64")
        if probabilities.ndim == 0:
            raise GraphError("multinomial: pvals has an axis of categories", [probabilities])
        state = self._state()
        outer = [length_of(probabilities, axis) for axis in range(probabilities.ndim - 1)]
        lengths, rank = _size(outer if size is None else size, ndim, [])
        if probabilities.ndim - 1 > rank:
            raise GraphError(f"multinomial: pvals has more axes than a size of {rank}", [probabilities])
        every = [constant(np.int64(n)), *(index(lengths, axis) for axis in range(rank))]
        uniform = shape_padright(draw("uniform", state, shape_vector(every, "size"), rank + 1, "float64"))
        upper = _cumulative(probabilities)
        lower = table.sub(upper, probabilities)
        last = table.eq(arange(length_of(upper, upper.ndim - 1)), length_of(upper, upper.ndim - 1) - 1)
        # Rounding must not leave a gap after the last category.
        below = table.or_(table.lt(uniform, upper), last)
        chosen = table.and_(table.ge(uniform, lower), below)
        return self._made(cast(reduce_sum(chosen, axis=0), dtype), state)

    def shuffle_row_elements(self, input: Any) -> Variable:
        """A vector, or each row of a matrix on its own, in a random order."""
        x = as_tensor_variable(input)
        if x.ndim not in (1, 2):
            raise GraphError("shuffle_row_elements takes a vector or a matrix", [x])
        if x.ndim == 1:
            return take(x, self.permutation(n=length_of(x, 0)), 0)
        rows = length_of(x, 0)
        places = self.permutation(size=(rows,), n=length_of(x, 1))
        return index(x, (dimshuffle(arange(rows), 0, "x"), places))

    # --- states ------------------------------------------------------------------------------------

    def _state(self) -> SharedVariable:
        """The shared state of the next stream."""
        start = np.array([self._seed, len(self.state_updates), 0], "int64")
        state = shared(start, name=f"random_state_{len(self.state_updates)}", shape=(3,))
        step = constant(np.array([0, 0, 1], "int64"))
        state.default_update = table.add(state, step)
        return state

    def _made(self, drawn: Variable, state: SharedVariable) -> Variable:
        """The draw, entered in the books, with what Theano's programs look for on it."""
        assert state.default_update is not None
        update = (state, state.default_update)
        self.state_updates.append(update)
        drawn.__dict__.update(rng=state, update=update)
        return drawn


class MRG_RandomStreams(RandomStreams):
    """`theano.sandbox.rng_mrg.MRG_RandomStreams`: the same streams with that class's default seed.

    Parameters
    ----------
    seed
        An integer, or several.
    use_cuda
        Accepted for Theano's programs.
    """

    def __init__(self, seed: Any = 12345, use_cuda: Any = None) -> None:
        super().__init__(seed)

    @property
    def rstate(self) -> np.ndarray[Any, Any]:
        """The seed and the next stream's number."""
        return np.array([self._seed, len(self.state_updates)], "int64")


def _is(value: Any, number: int) -> bool:
    """Whether a parameter is that Python number."""
    return isinstance(value, int | float) and value == number


def _float_dtype(dtype: Any) -> tuple[str, str]:
    """The dtype asked for, and the one that is drawn in."""
    target = checked_dtype(config.floatX if dtype is None else dtype)
    if target not in ("float16", "float32", "float64"):
        raise GraphError(f"draws of real numbers in {target}", hint="a float dtype is expected")
    return target, "float64" if target == "float64" else "float32"


def _check_ranks(rank: int, **parameters: Any) -> None:
    for name, value in parameters.items():
        variable = as_tensor_variable(value)
        if variable.ndim > rank:
            raise GraphError(f"{name} has {variable.ndim} axes, the size {rank}", [variable])


def _size(size: Any, ndim: int | None, parameters: Sequence[Any]) -> tuple[Variable, int]:
    """The size as an int64 vector, and its number of axes."""
    if size is None:
        lengths = shape_vector(_common_shape([as_tensor_variable(each) for each in parameters]), "size")
    else:
        scalar = isinstance(size, int | np.integer) or (isinstance(size, Variable) and size.ndim == 0)
        lengths = shape_vector([size] if scalar else size, "size")
    if isinstance(lengths, Constant) and np.any(lengths.data < 0):
        raise ArgumentError(f"size {tuple(lengths.data)} has a negative length")
    known = lengths.type.shape[0]
    rank = ndim if known is None else known
    if rank is None:
        raise GraphError("a size of unknown length", [lengths], hint="give ndim=")
    if None not in (known, ndim) and known != ndim:
        raise ArgumentError(f"ndim={ndim} with a size of {known} axes")
    return lengths, rank


def _common_shape(parameters: Sequence[Variable]) -> list[Variable]:
    """The lengths that the parameters broadcast to."""
    ndim = max((each.ndim for each in parameters), default=0)
    found: list[Variable] = []
    for axis in range(-ndim, 0):
        having = [each for each in parameters if each.ndim >= -axis]
        longest = next((each for each in having if each.type.shape[axis] != 1), having[0])
        found.append(length_of(longest, longest.ndim + axis))
    return found


def _product(lengths: Variable, rank: int) -> Variable:
    total: Variable = constant(np.int64(1))
    for axis in range(rank):
        total = table.mul(total, index(lengths, axis))
    return total


def _cumulative(probabilities: Variable) -> Variable:
    """Sums of the first entries along the last axis."""
    places = arange(length_of(probabilities, probabilities.ndim - 1))
    triangle = table.le(dimshuffle(places, 0, "x"), dimshuffle(places, "x", 0))
    return dot(probabilities, cast(triangle, "float64"))
