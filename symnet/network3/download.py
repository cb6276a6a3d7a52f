"""Takes the addresses of public MNIST mirrors and hands on a folder that holds the four idx files.
Each is checked by its SHA-256 before it gets its name, so the folder never holds half a file."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from symnet.network3.errors import DataError
from symnet.network3.files import written_whole

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


class FileFacts(NamedTuple):
    """What an idx file is known by: the size and SHA-256 of its uncompressed bytes.

    The gzip wrapping differs from mirror to mirror, what it wraps does not.
    """

    size: int
    sha256: str


FILES: dict[str, FileFacts] = {
    "train-images-idx3-ubyte.gz": FileFacts(
        47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte.gz": FileFacts(
        60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte.gz": FileFacts(
        7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte.gz": FileFacts(
        10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}


def cache_folder() -> Path:
    """The user's folder for downloaded MNIST: under XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "symnet" / "mnist"


def _fault(packed: bytes, facts: FileFacts) -> str | None:
    """What is wrong with a gzipped file that was fetched or kept; None when it is the right one."""
    machine = zlib.decompressobj(wbits=31)
    try:
        # One byte more than expected is enough to know, and a bomb of zeros gets no further.
        content = machine.decompress(packed, facts.size + 1)
    except zlib.error as error:
        return f"not a gzip file: {error}"
    if not machine.eof and len(content) <= facts.size:
        return f"cut short: {len(packed):,} bytes hold {len(content):,} of {facts.size:,}"
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != facts.size or digest != facts.sha256:
        return f"its SHA-256, uncompressed, is {digest}, expected {facts.sha256}"
    return None


def _fetch(address: str, facts: FileFacts, timeout: float) -> bytes:
    """The bytes at `address`; refuses more than a gzip file of that content can need."""
    import urllib.request

    most = facts.size + facts.size // 100 + 10_000
    with urllib.request.urlopen(address, timeout=timeout) as response:
        packed: bytes = response.read(most + 1)
        announced = response.headers.get("Content-Length")
    if len(packed) > most:
        raise ValueError(f"more than {most:,} bytes")
    if announced is not None and len(packed) != int(announced):
        raise ValueError(f"cut short: {len(packed):,} of {int(announced):,} bytes")
    fault = _fault(packed, facts)
    if fault is not None:
        raise ValueError(fault)
    return packed


def fetch_mnist(
    folder: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] = MIRRORS,
    files: Mapping[str, FileFacts] = FILES,
    timeout: float = 60.0,
) -> Path:
    """Fetch those of the four idx files that `folder` lacks, and return the folder.

    The folder is the user's cache unless given. A file that is there and whole is not fetched
    again. `mirrors` are tried in order for each file; `timeout` is in seconds, for each read.
    Raises `DataError`, saying what each mirror gave, when none gives a file of the known SHA-256.
    """
    target = Path(folder) if folder is not None else cache_folder()
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, facts in files.items():
            path = target / name
            if path.exists() and _fault(path.read_bytes(), facts) is None:
                continue
            packed = _from_mirrors(name, facts, mirrors, timeout)
            with written_whole(path) as stream:
                stream.write(packed)
    except OSError as error:
        raise DataError(f"MNIST can't be kept in {target}: {error}") from error
    return target


def _from_mirrors(name: str, facts: FileFacts, mirrors: Sequence[str], timeout: float) -> bytes:
    """The first whole file `name` that a mirror gives."""
    # Here, since most programs never download, and HTTP with TLS takes a fifth of the package's start.
    import http.client

    answers = []
    for mirror in mirrors:
        address = mirror.rstrip("/") + "/" + name
        try:
            return _fetch(address, facts, timeout)
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.append(f"{address}: {error or type(error).__name__}")
    raise DataError(
        f"{name} could not be fetched from any mirror",
        answers,
        hint="fetch the four idx files by hand into a folder, and name it in SYMNET_DATA.",
    )
