"""From a case's description to arrays: takes a case, hands on what its function is called with.

Runs under any Python from 3.8 and any NumPy, since Theano's makes the recording and ours the test;
`numpy.random.RandomState` draws the same numbers in all of them.
"""

import json
import zlib

import numpy as np


def values(case, name):
    """The array of one input of a case: literal values, or drawn from a seed made of both names."""
    given = case["inputs"][name]
    dtype = given["dtype"]
    if "values" in given:
        return np.array(given["values"], dtype=dtype)
    random = np.random.RandomState(zlib.crc32((case["name"] + "/" + name).encode()) % (2**31))
    low, high, shape = given["low"], given["high"], tuple(given["shape"])
    if dtype == "bool":
        return random.uniform(size=shape) < 0.5
    if dtype.startswith("float"):
        return random.uniform(low, high, size=shape).astype(dtype)
    return random.randint(low, high, size=shape).astype(dtype)


def broadcastable(case, name):
    """Which axes of an input are declared to have length 1: none, unless the case says so."""
    given = case["inputs"][name]
    return tuple(given.get("broadcastable") or [False] * values(case, name).ndim)


def weights(shape, dtype):
    """The fixed numbers that an expression is multiplied by before its gradient is taken."""
    count = int(np.prod(shape, dtype="int64"))
    return (np.cos(1.7 * np.arange(count) + 0.4) + 0.2).reshape(shape).astype(dtype)


def fingerprint(case):
    """A number made of all that a case says: a recording of another case has another."""
    return zlib.crc32(json.dumps(case, sort_keys=True).encode())
