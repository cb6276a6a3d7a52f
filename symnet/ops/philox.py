"""Counter-based random draws: takes a state and a number of elements, hands on the draws as NumPy arrays.

Philox 4×32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011).
A draw is a function of (seed, stream, call, element) and of nothing else, so every backend and every
number of threads gives the same ones.

How a draw reads the generator
------------------------------
The key is the seed's low and high 32 bits. The counter is (block, trial, call, stream), each modulo
2**32. One block gives four 32-bit words. A draw that needs one word takes, for element e, word e % 4 of
block e // 4; a draw that needs two takes words 2 * (e % 2) and the next of block e // 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
#: (seed, stream, call)
State = tuple[int, int, int]

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
#: What the key grows by in each round: the golden ratio's and sqrt(3)'s fraction bits.
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[int, int]) -> tuple[Array, ...]:
    """The four 32-bit words (as uint64 arrays) for counters and a key of 32-bit words."""
    x0, x1, x2, x3 = (np.asarray(each, "uint64") for each in counter)
    k0, k1 = key
    first, second = (np.uint64(each) for each in MULTIPLIERS)
    for _ in range(ROUNDS):
        product0, product1 = x0 * first, x2 * second
        x0, x1, x2, x3 = (
            (product1 >> _HALF) ^ x1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _HALF) ^ x3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF
        k1 = (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return x0, x1, x2, x3


def words(state: State, count: int, each: int, trial: int = 0) -> Array:
    """`each` (1 or 2) words for every one of `count` elements: a uint64 array (count, each)."""
    seed, stream, call = (int(part) for part in state)
    blocks = np.arange(-(-count * each // 4), dtype="uint64") & _LOW
    counter = (blocks, trial & 0xFFFFFFFF, call & 0xFFFFFFFF, stream & 0xFFFFFFFF)
    found = philox(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    columns = np.broadcast_arrays(*found)
    return np.stack(columns, axis=-1).reshape(-1)[: count * each].reshape(count, each)


def uniform(state: State, count: int, dtype: str) -> Array:
    """Numbers in [0, 1): multiples of 2**-24 for float32 (one word), of 2**-53 for float64 (two)."""
    if dtype == "float32":
        high = words(state, count, 1)[:, 0] >> np.uint64(8)
        return high.astype("float32") * np.float32(2.0**-24)
    pairs = words(state, count, 2)
    high, low = pairs[:, 0] >> np.uint64(5), pairs[:, 1] >> np.uint64(6)
    return (high * np.uint64(1 << 26) + low).astype("float64") * 2.0**-53


def normal(state: State, count: int, dtype: str) -> Array:
    """Numbers from N(0, 1), by Box and Muller's method.

    Elements 2k and 2k + 1 share two uniform numbers a in (0, 1] and b in [0, 1): they are
    sqrt(-2 log(a)) times the cosine and the sine of 2 pi b. For float32 the two come from the words of
    elements 2k and 2k + 1, for float64 from the pairs of words of elements 2k and 2k + 1.
    """
    even = count + count % 2
    if dtype == "float32":
        shared = words(state, even, 1)[:, 0].reshape(-1, 2)
        # Small a must keep its relative precision, or the tail would be cut off.
        a = (shared[:, 0] + np.uint64(1)).astype("float32") * np.float32(2.0**-32)
        b = (shared[:, 1] >> np.uint64(8)).astype("float32") * np.float32(2.0**-24)
    else:
        numbers = uniform(state, even, "float64").reshape(-1, 2)
        a, b = 1.0 - numbers[:, 0], numbers[:, 1]  # type: ignore[assignment]
    kind: Any = np.dtype(dtype).type
    radius = np.sqrt(kind(-2) * np.log(a))
    turns = np.stack([b, b - kind(0.25)], axis=1)
    drawn = radius[:, None] * _cosine_of_turns(turns)
    return np.asarray(drawn.reshape(-1)[:count])


def _cosine_of_turns(turns: Array) -> Array:
    """cos(2 pi turns): whole quarters are taken out first, which is exact, so that small values are."""
    quarter = np.rint(4 * turns)
    angle = np.pi / 2 * (4 * turns - quarter).astype("float64")
    place = quarter.astype("int64") & 3
    size = np.where(place & 1, np.sin(angle), np.cos(angle))
    return np.asarray(np.where((place == 1) | (place == 2), -size, size), turns.dtype)


def binomial(state: State, trials: Array, probabilities: Array) -> Array:
    """For each element how many of its trials succeed, as int64: trial t compares the element's word
    of that trial number with the probability times 2**32.
    """
    count = len(trials)
    total = np.zeros(count, "int64")
    thresholds = probabilities.astype("float64") * 2.0**32
    for trial in range(int(trials.max(initial=0))):
        drawn = words(state, count, 1, trial)[:, 0].astype("float64")
        total += (drawn < thresholds) & (trial < trials)
    return total


def integers(state: State, low: Array, high: Array) -> Array:
    """For each element an integer from its `low` to its `high`, both included, as int64: a float64
    uniform number times the number of choices, rounded down.
    """
    choices = high.astype("float64") - low.astype("float64") + 1.0
    steps = np.floor(uniform(state, len(low), "float64") * choices)
    return np.asarray(low.astype("int64") + steps.astype("int64"))


def permutations(state: State, rows: int, length: int) -> Array:
    """For each row a permutation of range(length), as int64: for i from the last place down to 1 the
    entries at i and at a random place up to i are exchanged; element row * length + i says which.
    """
    numbers = uniform(state, rows * length, "float64").reshape(rows, length)
    result = np.tile(np.arange(length, dtype="int64"), (rows, 1))
    every = np.arange(rows)
    for i in range(length - 1, 0, -1):
        place = np.floor(numbers[:, i] * (i + 1)).astype("int64")
        moved = result[every, place].copy()
        result[every, place] = result[:, i]
        result[:, i] = moved
    return result
