"""All cases of the oracle: takes the tables of cases, hands on one list with unique names."""

from oracle import (
    elementwise_cases,  # noqa: F401
    function_cases,  # noqa: F401
    network_cases,  # noqa: F401
    reduction_cases,  # noqa: F401
    shape_cases,  # noqa: F401
    types_cases,  # noqa: F401
)
from oracle.case import CASES

assert len({each["name"] for each in CASES}) == len(CASES), sorted(
    each["name"] for each in CASES if sum(other["name"] == each["name"] for other in CASES) > 1
)
