"""What tiles of products are made of, in Python: hands the toolkit `tile_code` for the simulator."""

from __future__ import annotations

#: The simulator calls them with NumPy's numbers.
SIMULATED = """
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
