"""Derives the polynomial coefficients of `symnet/compile/library_coefficients.py` and prints them.

`python tests/compile/minimax.py` prints every table by Remez's exchange algorithm in 60 digits, with the
largest relative error that the polynomial (its coefficients rounded to the dtype) makes of the
function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

Real = Callable[[Any], Any]


def minimax(function: Real, weight: Real, low: Any, high: Any, degree: int) -> list[Any]:
    """The polynomial of a degree that makes the largest |weight * (function - polynomial)| least.

    Remez's exchange from Chebyshev points: solve for equal errors of alternating sign at degree + 2
    points, move each point to the nearest extremum of the error, and repeat until they are level.
    """
    count = degree + 2
    points = [
        (low + high) / 2 - (high - low) / 2 * mpmath.cos(mpmath.pi * k / (count - 1)) for k in range(count)
    ]
    grid = [low + (high - low) * mpf(k) / 2000 for k in range(2001)]
    targets = [(weight(x), function(x)) for x in grid]
    for _ in range(30):
        system = mpmath.matrix(count, count)
        right = mpmath.matrix(count, 1)
        for row, x in enumerate(points):
            for k in range(degree + 1):
                system[row, k] = x**k
            system[row, degree + 1] = mpf(-1) ** row / weight(x)
            right[row] = function(x)
        solution = mpmath.lu_solve(system, right)
        coefficients = [solution[k] for k in range(degree + 1)]
        errors = [w * (f - _horner(coefficients, x)) for x, (w, f) in zip(grid, targets, strict=True)]
        points = _alternating_extrema(grid, errors, count)
        level = abs(solution[degree + 1])
        if max(abs(e) for e in errors) < level * mpf("1.001"):
            return coefficients
    raise ArithmeticError(f"the exchange of degree {degree} does not settle")


def _horner(coefficients: list[Any], x: Any) -> Any:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def _alternating_extrema(grid: list[Any], errors: list[Any], count: int) -> list[Any]:
    """The largest error of each run of one sign; of too many runs, the largest of those."""
    best: list[tuple[Any, Any]] = []
    for x, error in zip(grid, errors, strict=True):
        if best and (best[-1][1] > 0) == (error > 0):
            if abs(error) > abs(best[-1][1]):
                best[-1] = (x, error)
        else:
            best.append((x, error))
    while len(best) > count:
        best.pop(0 if abs(best[0][1]) < abs(best[-1][1]) else -1)
    if len(best) < count:
        raise ArithmeticError("the error alternates too seldom: the polynomial is exact already")
    return [x for x, _ in best]


def split(value: Any, dtype: str, bits: int) -> tuple[float, float]:
    """A constant as the sum of two floats, of which the first has only `bits` bits."""
    scale = mpf(2) ** (bits - 1 - int(mpmath.floor(mpmath.log(value, 2))))
    first = mpmath.nint(value * scale) / scale
    return float(first), float(np.dtype(dtype).type(float(value - first)))


def print_table(
    name: str, dtype: str, function: Real, weight: Real, low: Any, high: Any, degree: int
) -> None:
    """Print one table and the error of its rounded coefficients."""
    exact = minimax(function, weight, low, high, degree)
    rounded = [float(np.dtype(dtype).type(float(c))) for c in exact]
    points = [low + (high - low) * mpf(k) / 997 for k in range(998)]
    error = max(abs(weight(x) * (function(x) - _horner([mpf(c) for c in rounded], x))) for x in points)
    print(f'("{name}", "{dtype}"): (  # relative error {mpmath.nstr(error, 2)}')
    for c in rounded:
        print(f"    {c!r},")
    print("),")


def exponential(r: Any) -> Any:
    """(exp(r) - 1 - r) / r**2."""
    return mpf(1) / 2 + r / 6 if abs(r) < mpf(10) ** -20 else (mpmath.expm1(r) - r) / r**2


def logarithm(z: Any) -> Any:
    """(log((1 + s) / (1 - s)) - 2 s) / s**3 of z = s**2."""
    s = mpmath.sqrt(z)
    return mpf(2) / 3 if s < mpf(10) ** -15 else (2 * mpmath.atanh(s) - 2 * s) / s**3


def quarter_sine(z: Any) -> Any:
    """sin(pi / 2 * r) / r of z = r**2."""
    r = mpmath.sqrt(z)
    return mpmath.pi / 2 if r < mpf(10) ** -25 else mpmath.sin(mpmath.pi / 2 * r) / r


def quarter_cosine(z: Any) -> Any:
    """(cos(pi / 2 * r) - 1) / z of z = r**2."""
    r = mpmath.sqrt(z)
    return -(mpmath.pi**2) / 8 if r < mpf(10) ** -25 else -2 * mpmath.sin(mpmath.pi / 4 * r) ** 2 / z


def series(function: Real, first: Any, second: Any, power: int, taken: Real) -> Real:
    """(function(r) - taken(r)) / r**power of z = r**2; near 0, `first` + `second` * z."""

    def rest(z: Any) -> Any:
        r = mpmath.sqrt(z)
        if r < mpf(10) ** -6:
            return first + second * z
        return (function(r) - taken(r)) / r**power

    return rest


def logarithm_of_1p(f: Any) -> Any:
    """(log(1 + f) - f + f**2 / 2) / f**3."""
    return mpf(1) / 3 - f / 4 if abs(f) < mpf(10) ** -15 else (mpmath.log1p(f) - f + f * f / 2) / f**3


def power_of_two(r: Any) -> Any:
    """(2**r - 1) / r."""
    return mpmath.log(2) if abs(r) < mpf(10) ** -20 else mpmath.expm1(r * mpmath.log(2)) / r


def logarithm_to_2(z: Any) -> Any:
    """log2((1 + s) / (1 - s)) / s of z = s**2."""
    s = mpmath.sqrt(z)
    return (2 if s < mpf(10) ** -20 else 2 * mpmath.atanh(s) / s) / mpmath.log(2)


def far_complement(t: Any) -> Any:
    """exp(x**2) erfc(x) of t = (x - 2) / (x + 2)."""
    x = 2 * (1 + t) / (1 - t)
    return mpmath.exp(x**2) * mpmath.erfc(x)


def print_reals() -> None:
    """The tables of `symnet/compile/library_reals.py`, and of the logarithm in float32."""
    tiny = mpf(10) ** -12
    root = mpmath.sqrt(2)
    low, high = (1 / root - 1) * mpf("1.0001"), (root - 1) * mpf("1.0001")
    print_table("log", "float32", logarithm_of_1p, lambda f: f * f + mpf(10) ** -9, low, high, 8)
    sine = series(mpmath.sin, -mpf(1) / 6, mpf(1) / 120, 3, lambda r: r)
    cosine = series(mpmath.cos, mpf(1) / 24, -mpf(1) / 720, 4, lambda r: 1 - r * r / 2)
    arctan = series(mpmath.atan, -mpf(1) / 3, mpf(1) / 5, 3, lambda r: r)
    first = 2 / mpmath.sqrt(mpmath.pi) - 1
    error = series(mpmath.erf, first, -(first + 1) / 3, 1, lambda r: r)
    eighth = (mpmath.pi / 4 * mpf("1.001")) ** 2
    for dtype, of_sine, of_arctan, of_erf in (("float32", 2, 7, 6), ("float64", 5, 18, 11)):
        print_table("sin", dtype, sine, lambda z: z + tiny, mpf(0), eighth, of_sine)
        print_table("cos", dtype, cosine, lambda z: z * z + tiny, mpf(0), eighth, of_sine)
        print_table("arctan", dtype, arctan, lambda z: z + tiny, mpf(0), mpf(1), of_arctan)
        print_table("erf", dtype, error, lambda z: 1 / (1 + error(z)), mpf(0), mpf(1), of_erf)
    print_table("erf far", "float32", lambda x: -mpmath.log(mpmath.erfc(x)), mpmath.erfc, mpf(1), mpf(4), 6)
    print_table(
        "erf far",
        "float64",
        far_complement,
        lambda t: mpmath.exp(-((2 * (1 + t) / (1 - t)) ** 2)) + mpf(10) ** -14,
        -mpf(1) / 3,
        mpf(1) / 2,
        14,
    )
    largest = ((root - 1) / (root + 1)) ** 2 * mpf("1.0001")
    print_table("pow log2", "float64", logarithm_to_2, lambda z: 1 / logarithm_to_2(z), mpf(0), largest, 4)
    half = mpf("0.50001")
    print_table("pow exp2", "float64", power_of_two, lambda r: abs(r) + tiny, -half, half, 5)
    for dtype, of_pi, of_logarithm, of_two in (("float32", (14, 4), 12, 15), ("float64", (33, 3), 24, 41)):
        print(f"pi / 2 in {dtype}: {parts(mpmath.pi / 2, dtype, *of_pi)}")
        print(f"1 / ln 2 in {dtype}: {split(1 / mpmath.log(2), dtype, of_logarithm)}")
        print(f"1 / ln 10 in {dtype}: {split(1 / mpmath.log(10), dtype, of_logarithm)}")
        print(f"log10(2) in {dtype}: {split(mpmath.log10(2), dtype, of_two)}")


def parts(value: Any, dtype: str, bits: int, count: int) -> tuple[float, ...]:
    """A constant as the sum of `count` floats, all but the last of `bits` bits."""
    found = []
    for _ in range(count - 1):
        scale = mpf(2) ** (bits - 1 - int(mpmath.floor(mpmath.log(value, 2))))
        first = mpmath.floor(value * scale) / scale
        found.append(float(first))
        value -= first
    return (*found, float(np.dtype(dtype).type(float(value))))


def main() -> None:
    """Print every table."""
    mpmath.mp.dps = 60
    half = mpmath.log(2) / 2 * mpf("1.0001")
    root = mpmath.sqrt(2)
    largest = ((root - 1) / (root + 1)) ** 2 * mpf("1.0001")
    for dtype, exp_degree, log_degree in (("float32", 4, 3), ("float64", 9, 6)):
        print_table(
            "exp",
            dtype,
            exponential,
            lambda r: (r**2 + mpf(10) ** -30) / mpmath.exp(r),
            -half,
            half,
            exp_degree,
        )
        if dtype == "float64":
            weight = lambda z: (z + mpf(10) ** -30) / 2  # noqa: E731
            print_table("log", dtype, logarithm, weight, mpf(0), largest, log_degree)
        quarter = mpf("0.25001")
        degree = {"float32": 3, "float64": 7}[dtype]
        print_table("sine", dtype, quarter_sine, lambda z: 1 / quarter_sine(z), mpf(0), quarter, degree)
        print_table("cosine", dtype, quarter_cosine, lambda z: z + mpf(10) ** -30, mpf(0), quarter, degree)
        bits = {"float32": 15, "float64": 41}[dtype]
        print(f"ln 2 in {dtype}: {split(mpmath.log(2), dtype, bits)}")
    print_reals()


if __name__ == "__main__":
    main()
