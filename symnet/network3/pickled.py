"""Takes the stream of a pickled data file and hands on its NumPy arrays, lists, tuples and numbers.
A name outside a short list is refused, and the names on the list stand for small records of this
module, so that nothing runs which the file asks for."""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np

from symnet.network3.errors import DataError

_DTYPE_CODES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}


class _Record:
    """What a pickle says of one NumPy object; `resolve` makes it from checked parts.

    `__setstate__` is defined for all records, since without it the pickle machine would write
    whatever attributes the file names into the object, or into the class itself.
    """

    def __setstate__(self, state: Any) -> None:
        raise ValueError(f"state for {type(self).__name__}, which takes none")

    def resolve(self) -> Any:
        raise ValueError(f"{type(self).__name__} is not a value")


class _ArrayType(_Record):
    """Stands for the name numpy.ndarray, which array pickles mention."""


class _Dtype(_Record):
    """numpy.dtype(code, align, copy), then a state that brings the byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.order, subarray, names, fields = state[:5]
        if (subarray, names, fields) != (None, None, None):
            raise ValueError("a structured dtype")

    def resolve(self) -> np.dtype[Any]:
        if self.code not in _DTYPE_CODES or self.order not in ("<", ">", "=", "|"):
            raise ValueError(f"dtype {self.order!r} {self.code!r} is not a plain number")
        return np.dtype(self.order + self.code)


class _Array(_Record):
    """_reconstruct(ndarray, shape, code), then a state with the real shape, dtype and bytes."""

    def __init__(self, *_: Any) -> None:
        self.order = "C"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, fortran, self.buffer = state
        self.order = "F" if fortran else "C"

    def resolve(self) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype):
            raise TypeError("an array without a dtype")
        flat = np.frombuffer(_as_bytes(self.buffer), self.dtype.resolve())
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")


class _ArrayFromBuffer(_Array):
    """_frombuffer(buffer, dtype, shape, order): the same array as pickle protocol 5 writes it."""

    def __init__(self, buffer: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.buffer, self.dtype, self.shape, self.order = buffer, dtype, shape, order


class _Scalar(_Array):
    """scalar(dtype, bytes): a number of NumPy's, such as each label of the book's expanded data."""

    def __init__(self, dtype: Any, buffer: Any) -> None:
        self.buffer, self.dtype, self.shape, self.order = buffer, dtype, (), "C"


class _Bytes(_Record):
    """_codecs.encode(text, "latin1") or bytes(): bytes as Python 3 writes them for Python 2."""

    def __init__(self, text: str = "", encoding: str = "latin1") -> None:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"bytes in the encoding {encoding!r}")
        self.bytes = text.encode("latin1")


_ALLOWED: dict[tuple[str, str], type[_Record]] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
}
for _package in ("numpy.core", "numpy._core"):  # NumPy renamed it in version 2
    _ALLOWED[f"{_package}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_package}.multiarray", "scalar"] = _Scalar
    _ALLOWED[f"{_package}.numeric", "_frombuffer"] = _ArrayFromBuffer


def _as_bytes(value: Any) -> bytes:
    """The raw bytes of an array: Python 2 wrote them as a string, which is read here as latin1."""
    if isinstance(value, _Bytes):
        return value.bytes
    if isinstance(value, str):
        return value.encode("latin1")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise TypeError(f"an array whose bytes are a {type(value).__name__}")


class _Unpickler(pickle.Unpickler):
    """A pickle machine for which only the names of `_ALLOWED` exist."""

    def __init__(self, stream: IO[bytes], origin: str) -> None:
        super().__init__(stream, encoding="latin1")
        self.origin = origin

    def find_class(self, module: str, name: str) -> type[_Record]:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"{self.origin} is refused: its pickle asks for {module}.{name}",
                ["expected: NumPy arrays, tuples, lists and numbers, and nothing else"],
                hint="a pickle can hold a program; nothing of this one was run. If you trust the "
                "file, load it yourself and save its arrays with numpy.savez.",
            ) from None


def _resolve(value: Any) -> Any:
    """`value` with every record replaced by the NumPy object that it describes."""
    if isinstance(value, _Record):
        return value.resolve()
    if isinstance(value, (list, tuple)):
        return type(value)(_resolve(item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise ValueError(f"a {type(value).__name__}")


def load_arrays(stream: IO[bytes], origin: str) -> Any:
    """What a pickle of NumPy arrays holds, read without running anything in it.

    `stream` is open for reading bytes; the pickle may be of any protocol, written by Python 2 or 3
    and NumPy 1 or 2. Tuples, lists, numbers, strings and arrays of plain numbers are allowed.
    Raises `DataError`, naming `origin`, for anything else and for damaged bytes.
    """
    try:
        return _resolve(_Unpickler(stream, origin).load())
    except DataError:
        raise
    except Exception as error:  # damaged bytes can make the pickle machine raise nearly anything
        raise DataError(
            f"{origin} is not a readable pickle of NumPy arrays",
            [f"found: {type(error).__name__}: {error}"],
            hint="the file may be damaged or cut short; fetch it again.",
        ) from error
