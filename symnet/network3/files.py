"""Takes the path of a file to write and hands on a stream for its bytes.
The path then names the whole file, or what it named before."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes become the file `path` when the block ends, and are gone if it fails.

    They are written beside `path` and renamed, so that no reader ever meets half a file.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
