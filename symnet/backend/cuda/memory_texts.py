"""What moves and combines several numbers at once, in Python: what `memory_code` is for the simulator."""

from __future__ import annotations

import re

#: It is called with NumPy's numbers, by as many threads of Python's as a block has.
SIMULATED = """
def load2(pointer, index):
    return pointer[index], pointer[index + 1]


def load4(pointer, index):
    return pointer[index], pointer[index + 1], pointer[index + 2], pointer[index + 3]


def store2(pointer, index, a, b):
    pointer[index] = a
    pointer[index + 1] = b


def store4(pointer, index, a, b, c, d):
    pointer[index] = a
    pointer[index + 1] = b
    pointer[index + 2] = c
    pointer[index + 3] = d


def lane_swap(value, mask):
    lanes = cuda.shared.array(1024, object)
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    lanes[thread] = value
    cuda.syncthreads()
    other = lanes[thread ^ mask]
    cuda.syncthreads()
    return other


def shared_load1(array, index, ahead):
    return (array[index + ahead],)


def shared_load2(array, index, ahead):
    first = index + ahead
    return array[first], array[first + 1]


def shared_load4(array, index, ahead):
    first = index + ahead
    return array[first], array[first + 1], array[first + 2], array[first + 3]


def shared_store(array, index, ahead, value):
    array[index + ahead] = value


def quotient(number, divisor):
    return type(number)(number // divisor)


def multiply_add(sums, rows, columns):
    products = [row * column for row in rows for column in columns]
    return tuple(total + product for total, product in zip(sums, products))
"""

#: What a text calls by its plain name.
NAMES = tuple(re.findall(r"^def (\w+)", SIMULATED, re.MULTILINE))
