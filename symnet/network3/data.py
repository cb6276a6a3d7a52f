"""Takes the name of a file or folder of MNIST, or finds one, and hands on its three data sets.
`load_data` gives them as NumPy arrays, `load_data_shared` as the shared variables of a network.
"""

from __future__ import annotations

import gzip
import math
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from symnet.network3.download import MIRRORS, cache_folder, fetch_mnist
from symnet.network3.errors import DataError
from symnet.network3.pickled import load_arrays

DataSet = tuple[np.ndarray, np.ndarray]
PathName = str | os.PathLike[str]

BOOK_FILE = os.path.join("..", "data", "mnist.pkl.gz")
VALIDATION_IMAGES = 10_000
CLASSES = 10
SIDE = 28

_IDX_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_SET_NAMES = ("training", "validation", "test")
_SPLIT_KEYS = tuple(f"{name}_{part}" for name in _SET_NAMES for part in "xy")
_UNSPLIT_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_data_shared(filename: PathName | None = None, download: bool = False) -> list[tuple[Any, Any]]:
    """MNIST as [(x, y), (x, y), (x, y)] of symbolic variables: training, validation, test.

    Each x is a shared matrix of `config.floatX`, one image of 784 pixels in [0, 1) a row. Each y is
    an int32 vector of digits: as in the book, a cast of a shared vector of `config.floatX`. Where
    the data is looked for, what `download` does and what is refused, `load_data` says.
    """
    import symnet
    from symnet import tensor as T

    def shared(data: DataSet) -> tuple[Any, Any]:
        float_x, float_y = (np.asarray(part, dtype=symnet.config.floatX) for part in data)
        shared_x = symnet.shared(float_x, borrow=True)
        shared_y = symnet.shared(float_y, borrow=True)
        return shared_x, T.cast(shared_y, "int32")

    return [shared(data) for data in load_data(filename, download)]


def load_data(
    filename: PathName | None = None, download: bool = False, mirrors: Sequence[str] = MIRRORS
) -> tuple[DataSet, DataSet, DataSet]:
    """MNIST as ((x, y), (x, y), (x, y)): the training, validation and test sets.

    x is float32 of shape (images, 784), each pixel its byte divided by 256; y is int64 of shape
    (images,). The original 60,000 training images give 50,000 for training and the last 10,000 for
    validation, as in the book.

    `filename` is the book's mnist.pkl.gz (written by Python 2 or 3; gzipped or not), an .npz with
    x_train, y_train, x_test, y_test or training_x, training_y, validation_x, validation_y, test_x,
    test_y, or a folder with the four idx files (gzipped or not). With none named, the first of
    these that is there is read: ../data/mnist.pkl.gz seen from the running script and from the
    working folder, as the book has it; the file or folder that SYMNET_DATA names;
    examples/data/mnist of a clone of the project; what an earlier download left in the user's
    cache. With `download` and none of these there, the four files are fetched from `mirrors` into
    that cache.

    Raises `DataError` for a file that is missing, damaged or of the wrong form, and for a pickle
    that asks for anything but NumPy arrays; nothing in a pickle is ever run.
    """
    if filename is not None:
        return read(Path(filename))
    path, looked = _search()
    if path is None and download:
        path = fetch_mnist(mirrors=mirrors)
    if path is None:
        raise DataError(
            "MNIST was not found",
            ["looked in:", *(f"  {place}" for place in looked)],
            hint="name a file or folder, set SYMNET_DATA to one, or pass download=True to fetch "
            "MNIST (11 MB) into your cache.",
        )
    return read(path)


def _search() -> tuple[Path | None, list[str]]:
    """The first place that holds MNIST, or None, and the places looked in, described."""
    looked: list[str] = []

    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    book_files = [Path(main_file).parent / BOOK_FILE] if main_file else []
    for path in [*book_files, Path(BOOK_FILE)]:
        if path.is_file():
            return path, looked
        looked.append(f"{path.resolve()} (the book's place)")

    named = os.environ.get("SYMNET_DATA")
    if named:
        found = _find_in(Path(named))
        if found is None:
            raise DataError(
                f"SYMNET_DATA names {named}, where no MNIST is",
                [f"before it, looked in: {place}" for place in looked],
                hint="let it name a mnist.pkl.gz, an .npz, or a folder with the four idx files.",
            )
        return found, looked
    looked.append("SYMNET_DATA (not set)")

    clone = Path(__file__).resolve().parents[2] / "examples" / "data" / "mnist"
    for path, what in ((clone, "a clone's examples"), (cache_folder(), "the user's cache")):
        if _find_in(path) is not None:
            return path, looked
        looked.append(f"{path} ({what})")
    return None, looked


def _find_in(path: Path) -> Path | None:
    """`path` if it is a file or a folder of idx files; what a folder holds of MNIST; or None."""
    if path.is_file():
        return path
    for candidate in (path, path / "mnist"):
        if all(_idx_file(candidate, stem) for stem in _IDX_STEMS):
            return candidate
    for name in ("mnist.pkl.gz", "mnist.npz"):
        if (path / name).is_file():
            return path / name
    return None


def read(path: Path) -> tuple[DataSet, DataSet, DataSet]:
    """The three sets in the file or folder `path`, told apart by what is in it, not by its name."""
    if path.is_dir():
        found = _find_in(path)
        if found is None:
            missing = [stem for stem in _IDX_STEMS if not _idx_file(path, stem)]
            raise DataError(
                f"the folder {path} does not hold MNIST",
                ["missing, gzipped or not: " + ", ".join(missing)],
            )
        if found.is_dir():
            return _read_idx_folder(found)
        path = found
    try:
        with path.open("rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
        opened: Any = gzip.open if zipped else open
        with opened(path, "rb") as content:
            return _read_stream(content, path)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", [f"working folder: {os.getcwd()}"]) from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} can't be read",
        [f"found: {type(error).__name__}: {error}"],
        hint="the file may be damaged or cut short; fetch it again.",
    )


def _read_stream(stream: IO[bytes], path: Path) -> tuple[DataSet, DataSet, DataSet]:
    head = stream.read(4)
    stream.seek(0)
    if head[:3] == b"\0\0\x08":
        raise DataError(f"{path} is one of the four idx files", hint="name the folder that holds all four.")
    if head[:2] == b"PK":
        return _read_npz(stream, path)
    return _from_pairs(load_arrays(stream, str(path)), path)


# --- the forms of data ------------------------------------------------------------------------


def _idx_file(folder: Path, stem: str) -> Path | None:
    """The idx file of that name in `folder`: gzipped or not, with `-idx` or, as often, `.idx`."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for ending in ("", ".gz"):
            path = folder / (name + ending)
            if path.is_file():
                return path
    return None


def _read_idx(path: Path, rank: int) -> np.ndarray:
    """An idx file of bytes: two zeros, the type 8, the rank, big-endian int32 sizes, the bytes.

    The format is described beside the original files of MNIST.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    magic = bytes((0, 0, 8, rank))
    if data[:4] != magic:
        raise DataError(
            f"{path} is not an idx file of bytes with {rank} axes",
            [f"magic number: {data[:4].hex() or 'nothing'}", f"expected: {magic.hex()}"],
        )
    start = 4 + 4 * rank
    shape = tuple(int.from_bytes(data[place : place + 4], "big") for place in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise DataError(
            f"{path} does not have the size that its head says",
            [
                f"given: {len(data):,} bytes",
                f"expected: {expected:,}, for an array of shape {shape}",
            ],
            hint="the file may be damaged or cut short; fetch it again.",
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_idx_folder(folder: Path) -> tuple[DataSet, DataSet, DataSet]:
    arrays = []
    for stem in _IDX_STEMS:
        path = _idx_file(folder, stem)
        if path is None:
            raise DataError(f"{folder} holds no {stem}, gzipped or not")
        arrays.append(_read_idx(path, rank=3 if "images" in stem else 1))
    train_x, train_y, test_x, test_y = arrays
    return _split(train_x, train_y, test_x, test_y, folder)


def _read_npz(stream: IO[bytes], path: Path) -> tuple[DataSet, DataSet, DataSet]:
    try:
        with np.load(stream, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from error
    if all(key in held for key in _UNSPLIT_KEYS):
        train_x, train_y, test_x, test_y = (held[key] for key in _UNSPLIT_KEYS)
        return _split(train_x, train_y, test_x, test_y, path)
    if all(key in held for key in _SPLIT_KEYS):
        parts = [held[key] for key in _SPLIT_KEYS]
        return _from_pairs((parts[0:2], parts[2:4], parts[4:6]), path)
    raise DataError(
        f"{path} does not hold MNIST's arrays",
        [
            f"given: {', '.join(held) or 'nothing'}",
            f"expected: {', '.join(_UNSPLIT_KEYS)}; or {', '.join(_SPLIT_KEYS)}",
        ],
    )


def _split(
    train_x: Any, train_y: Any, test_x: Any, test_y: Any, path: Path
) -> tuple[DataSet, DataSet, DataSet]:
    """The book's split: the last 10,000 of the training images are for validation."""
    x, y = _data_set(train_x, train_y, "training", path)
    if len(x) <= VALIDATION_IMAGES:
        raise DataError(
            f"{path} holds {len(x):,} training images",
            [f"expected: more than the {VALIDATION_IMAGES:,} that are set apart for validation"],
        )
    cut = len(x) - VALIDATION_IMAGES
    return (x[:cut], y[:cut]), (x[cut:], y[cut:]), _data_set(test_x, test_y, "test", path)


def _from_pairs(pairs: Any, path: Path) -> tuple[DataSet, DataSet, DataSet]:
    """Three checked data sets from three pairs of pixels and labels, the form of the book's."""
    try:
        training, validation, test = (tuple(pair) for pair in pairs)
        if not len(training) == len(validation) == len(test) == 2:
            raise ValueError("expected pairs")
    except (TypeError, ValueError):
        raise DataError(
            f"{path} does not hold three data sets",
            ["expected: (training, validation, test), each a pair of pixels and labels"],
        ) from None
    return (
        _data_set(*training, "training", path),
        _data_set(*validation, "validation", path),
        _data_set(*test, "test", path),
    )


# --- checks -----------------------------------------------------------------------------------


def _data_set(x: Any, y: Any, name: str, path: Path) -> DataSet:
    """One data set in the form that `load_data` promises, from lists or arrays of numbers."""
    try:
        pixels, labels = np.asarray(x), np.asarray(y)
    except ValueError as error:  # rows of several lengths
        raise _wrong(path, name, "arrays", str(error)) from error
    if pixels.dtype.kind not in "uif" or labels.dtype.kind not in "uif":
        raise _wrong(path, name, "numbers", f"{pixels.dtype} pixels and {labels.dtype} labels")
    if pixels.shape[1:] not in ((SIDE * SIDE,), (SIDE, SIDE)) or len(pixels) == 0:
        raise _wrong(path, name, f"pixels of shape (images, {SIDE * SIDE})", f"{pixels.shape}")
    if labels.ndim != 1:
        raise _wrong(path, name, "labels of shape (images,)", f"{labels.shape}")
    if len(pixels) != len(labels):
        given = f"{len(pixels):,} images and {len(labels):,} labels"
        raise _wrong(path, name, "a label for each image", given)
    return _scaled(pixels, name, path), _checked_labels(labels, name, path)


def _scaled(pixels: np.ndarray, name: str, path: Path) -> np.ndarray:
    """float32 pixels in rows: bytes are divided by 256, fractions are checked to be fractions."""
    rows = pixels.reshape(len(pixels), SIDE * SIDE)
    if rows.dtype == np.uint8:
        return np.multiply(rows, np.float32(1 / 256), dtype=np.float32)  # a power of two: exact
    if not (rows.min() >= 0 and rows.max() <= 1):  # written so that NaN is refused too
        raise _wrong(path, name, "pixels in [0, 1)", f"{rows.min()} to {rows.max()}")
    return rows.astype(np.float32)


def _checked_labels(labels: np.ndarray, name: str, path: Path) -> np.ndarray:
    good = (labels >= 0) & (labels < CLASSES) & (labels == np.floor(labels))
    if not good.all():
        first = int(np.argmin(good))
        given = f"{labels[first]}, label number {first}"
        raise _wrong(path, name, f"labels 0 to {CLASSES - 1}", given)
    return labels.astype(np.int64)


def _wrong(path: Path, name: str, expected: str, given: str) -> DataError:
    return DataError(f"the {name} data in {path} is not usable", [f"given: {given}", f"expected: {expected}"])
