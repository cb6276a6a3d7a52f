"""Takes what can go wrong with data, layers and training, and hands on one exception for each.
All are symnet's errors, with the user's line, and the built-in exception a caller would expect."""

from __future__ import annotations

from symnet.errors import SymnetError


class DataError(SymnetError, ValueError):
    """A data file that is missing, damaged, or not what it says it is."""


class NetworkError(SymnetError, ValueError):
    """Layers that do not fit together, or data and settings that do not fit the network."""


class DivergedError(SymnetError, ArithmeticError):
    """A training cost that is no number; the parameters are those of the last finished epoch."""
