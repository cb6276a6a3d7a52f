"""What tiles of products are made of, in Python: hands the toolkit `tile_code` for the simulator."""

from __future__ import annotations

#: The simulator calls them with NumPy's numbers.
SIMULATED = """
def shared_load2(array, index):
    return array[index], array[index + 1]


def shared_load4(array, index):
    return array[index], array[index + 1], array[index + 2], array[index + 3]


def multiply_add(sums, rows, columns):
    products = [row * column for row in rows for column in columns]
    return tuple(total + product for total, product in zip(sums, products))
"""
