"""The cache of object code: takes bytes and their metadata under a key, and hands them on to later
processes, or None. Nothing that happens to its folder stops a program: a cause is warned of once.

One file holds one compiled function. It is checked (magic, version, owner, SHA-256 over key,
metadata and data) before anything in it is used, written under another name first and then renamed,
and holds no pickle. Any number of threads and processes may use a folder at once: a reader sees a
whole file or none, and one that has been evicted under a reader stays readable to it.

The folder is `SYMNET_CACHE_DIR`, or `symnet` in `XDG_CACHE_HOME` or `~/.cache`.
`SYMNET_CACHE_LIMIT` is its limit in bytes, 1 GiB unless given; beyond it the files that were least
recently used go.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from symnet.errors import CacheWarning

VERSION = 1
DEFAULT_LIMIT = 1 << 30

_MAGIC = b"symnetOC"
#: magic, version, bytes of metadata, bytes of data, SHA-256.
_HEADER = struct.Struct("<8sIIQ32s")
_SUFFIX = ".object"
_UNFINISHED = ".part"
_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
#: An unfinished file older than this was left by a process that died.
_STALE_SECONDS = 3600.0
#: What eviction leaves, so that not every store evicts.
_KEPT_SHARE = 0.8

#: Causes that were warned of in this process.
_warned: dict[str, object] = {}


class _Untrusted(Exception):
    """A folder or file that somebody else could have written."""


class _Damaged(Exception):
    """A file that is not what `store` wrote."""


# --- keys -----------------------------------------------------------------------------------------


def key(parts: Iterable[str | bytes]) -> str:
    """A file name for what the parts say, in hexadecimal; parts are kept apart from each other.

    >>> key(["ab", "c"]) == key(["a", "bc"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(struct.pack("<Q", len(data)))
        digest.update(data)
    return digest.hexdigest()


@lru_cache(maxsize=8)
def emitter_fingerprint(
    modules: tuple[str, ...] = ("symnet.compile", "symnet.backend"), numba: bool = False
) -> str:
    """A key part for everything besides the Program that decides what code comes out.

    The source text of `modules` (of a package, of all modules in it), the versions of Python and
    llvmlite (with `numba`, of Numba too), and the name and features of the processor. Imports
    neither the modules nor Numba.
    """
    import llvmlite
    import llvmlite.binding as llvm

    parts: list[str | bytes] = []
    for module in modules:
        for path in _source_files(module):
            parts += [path.name, path.read_bytes()]
    parts.append(f"python {sys.version_info[:2]}")
    parts.append(f"llvmlite {llvmlite.__version__}")
    if numba:
        # Packages' metadata are read by way of the parser for e-mails, which takes longer than all else here.
        import importlib.metadata

        parts.append(f"numba {importlib.metadata.version('numba')}")
    parts.append(llvm.get_process_triple())
    parts.append(llvm.get_host_cpu_name())
    try:
        parts.append(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # LLVM knows this processor by name only
        parts.append("")
    return key(parts)


@lru_cache(maxsize=8)
def fingerprint(modules: tuple[str, ...], packages: tuple[str, ...]) -> str:
    """A key part for the source text of modules and the versions of installed packages ("" where missing)."""
    import importlib.metadata

    parts: list[str | bytes] = []
    for module in modules:
        for path in _source_files(module):
            parts += [path.name, path.read_bytes()]
    for package in packages:
        try:
            parts += [package, importlib.metadata.version(package)]
        except importlib.metadata.PackageNotFoundError:
            parts += [package, ""]
    return key(parts)


def _source_files(module: str) -> list[Path]:
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"no module {module} to take a fingerprint of")
    if spec.submodule_search_locations is not None:
        roots = [Path(root) for root in spec.submodule_search_locations]
        return sorted(path for root in roots for path in root.rglob("*.py"))
    if spec.origin is None:
        raise ModuleNotFoundError(f"module {module} has no source file to take a fingerprint of")
    return [Path(spec.origin)]


# --- the folder -----------------------------------------------------------------------------------


def folder() -> Path:
    """The folder of the cache, which may not exist yet."""
    given = os.environ.get("SYMNET_CACHE_DIR")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "symnet"


def limit() -> int:
    """The most bytes that the folder should hold; ValueError when that is given as no number."""
    given = os.environ.get("SYMNET_CACHE_LIMIT")
    if not given:
        return DEFAULT_LIMIT
    try:
        return int(given)
    except ValueError:
        raise ValueError(f"SYMNET_CACHE_LIMIT is a number of bytes; given {given!r}") from None


def size() -> int:
    """Bytes of the files in the cache."""
    return sum(information.st_size for _, information in _files())


def count() -> int:
    """How many files the cache has."""
    return len(_files())


def clear() -> int:
    """Remove every file of the cache; returns how many were removed."""
    return sum(_remove(path) for path, _ in _files(unfinished=True))


def _files(unfinished: bool = False) -> list[tuple[str, os.stat_result]]:
    """Paths and status of the cache's own files; a file that vanishes meanwhile is left out."""
    suffixes = (_SUFFIX, _UNFINISHED) if unfinished else (_SUFFIX,)
    found = []
    try:
        with os.scandir(folder()) as entries:
            for entry in entries:
                if entry.name.endswith(suffixes):
                    try:
                        found.append((entry.path, entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
    except (FileNotFoundError, NotADirectoryError):
        return []
    return found


def _remove(path: str | Path) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _check_owner(what: str, information: os.stat_result) -> None:
    """Raise unless this user alone can have written it."""
    if not hasattr(os, "geteuid"):  # Windows: a profile's folders are private already
        return
    if information.st_uid != os.geteuid():
        raise _Untrusted(f"{what} belongs to another user (uid {information.st_uid})")
    if information.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Untrusted(f"{what} can be written by other users; chmod go-w would make it private")


def _warn(cause: str, message: str) -> None:
    mine = object()
    if _warned.setdefault(cause, mine) is not mine:  # one step, so that of two threads one warns
        return
    warnings.warn(
        f"{message}. Compiled code is not kept or reused where this holds; results are the same.",
        CacheWarning,
        stacklevel=3,
    )


# --- loading and storing --------------------------------------------------------------------------


def load(key: str) -> tuple[bytes, dict[str, Any]] | None:
    """What was stored under a key: the data and its metadata; None where nothing can be trusted."""
    where = folder()
    path = where / (key + _SUFFIX)
    try:
        _check_owner(f"the cache folder {where}", os.stat(where))
        descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
        with open(descriptor, "rb") as file:
            information = os.fstat(descriptor)
            if not stat.S_ISREG(information.st_mode):
                raise _Untrusted(f"the cached file {path} is not a plain file")
            _check_owner(f"the cached file {path}", information)
            found = _unpack(key, file.read())
    except FileNotFoundError:
        return None
    except _Untrusted as error:
        _warn("untrusted", str(error))
        return None
    except _Damaged as error:
        _warn("damaged", f"the cached file {path} is {error}; it is removed")
        _remove(path)
        return None
    except OSError as error:
        _warn("unusable", f"the cache can't be read: {error}")
        return None
    try:
        os.utime(path)
    except OSError:  # a read-only cache is not evicted from either
        pass
    return found


def store(key: str, data: bytes, metadata: dict[str, Any]) -> None:
    """Keep data and its metadata (anything JSON can say) under a key; TypeError when JSON can't."""
    packed = _pack(key, data, metadata)
    where = folder()
    unfinished = where / f"{key}.{os.getpid()}.{secrets.token_hex(6)}{_UNFINISHED}"
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(f"the cache folder {where}", os.stat(where))
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS, 0o600)
            with open(descriptor, "wb") as file:
                file.write(packed)
            os.replace(unfinished, where / (key + _SUFFIX))
        except OSError:
            _remove(unfinished)
            raise
        _evict(keep=key + _SUFFIX)
    except _Untrusted as error:
        _warn("untrusted", str(error))
    except OSError as error:
        _warn("unusable", f"the cache can't be written: {error}")


def _pack(key: str, data: bytes, metadata: dict[str, Any]) -> bytes:
    words = json.dumps(metadata, sort_keys=True).encode()
    digest = _digest(key, words, data)
    return _HEADER.pack(_MAGIC, VERSION, len(words), len(data), digest) + words + data


def _unpack(key: str, packed: bytes) -> tuple[bytes, dict[str, Any]]:
    if len(packed) < _HEADER.size:
        raise _Damaged("cut off")
    magic, version, words_size, data_size, digest = _HEADER.unpack_from(packed)
    if magic != _MAGIC or version != VERSION:
        raise _Damaged("not of this format")
    if len(packed) != _HEADER.size + words_size + data_size:
        raise _Damaged("of another length than its header says")
    middle = _HEADER.size + words_size
    words, data = packed[_HEADER.size : middle], packed[middle:]
    if _digest(key, words, data) != digest:
        raise _Damaged("damaged (SHA-256 differs)")
    return data, json.loads(words)


def _digest(key: str, words: bytes, data: bytes) -> bytes:
    digest = hashlib.sha256(key.encode() + b"\0")
    digest.update(struct.pack("<IQ", len(words), len(data)))
    digest.update(words)
    digest.update(data)
    return digest.digest()


def _evict(keep: str) -> None:
    """Remove stale unfinished files and, over the limit, the files that were used longest ago."""
    files = _files(unfinished=True)
    now = time.time()
    total = 0
    candidates = []
    for path, information in files:
        if path.endswith(_UNFINISHED):
            if now - information.st_mtime > _STALE_SECONDS:
                _remove(path)
            continue
        total += information.st_size
        if not path.endswith(keep):
            candidates.append((information.st_mtime, path, information.st_size))
    most = limit()
    if total <= most:
        return
    for _, path, bytes_freed in sorted(candidates):
        if total <= most * _KEPT_SHARE:
            break
        if _remove(path):
            total -= bytes_freed
