"""The object cache: what goes in comes out, and no damage to its folder stops a program."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from symnet.compile import cache

KEY = cache.key(["a program"])
DATA = bytes(range(256)) * 40
METADATA = {"kernels": ["add", "mul"], "sizes": {"arena": 64}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A fresh cache folder, in a process that has warned of nothing yet."""
    monkeypatch.setenv("SYMNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SYMNET_CACHE_LIMIT", raising=False)
    monkeypatch.setattr(cache, "_warned", {})
    return tmp_path / "cache"


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.object")
    return path


def test_what_is_stored_is_loaded_again_without_a_word(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.load(KEY) is None
        cache.store(KEY, DATA, METADATA)
        assert cache.load(KEY) == (DATA, METADATA)
        assert cache.load(cache.key(["another program"])) is None
    assert folder.stat().st_mode & 0o777 == 0o700
    assert the_file(folder).stat().st_mode & 0o777 == 0o600
    assert cache.size() == the_file(folder).stat().st_size
    assert cache.clear() == 1
    assert cache.size() == 0 and cache.load(KEY) is None


def test_keys_keep_their_parts_apart():
    assert cache.key(["ab", "c"]) != cache.key(["a", "bc"])
    assert cache.key(["ab"]) == cache.key([b"ab"])


def cut_off(path, whole):
    path.write_bytes(whole[: len(whole) // 2])


def cut_in_the_header(path, whole):
    path.write_bytes(whole[:10])


def empty(path, whole):
    path.write_bytes(b"")


def one_bit_of_data(path, whole):
    path.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])


def metadata(path, whole):
    path.write_bytes(whole.replace(b"arena", b"ARENA"))


def another_version(path, whole):
    path.write_bytes(whole[:8] + b"\xff" + whole[9:])


def another_program(path, whole):
    path.write_bytes(b"\x7fELF" + whole[4:])


@pytest.mark.parametrize(
    "damage",
    [
        cut_off,
        cut_in_the_header,
        empty,
        one_bit_of_data,
        metadata,
        another_version,
        another_program,
    ],
)
def test_a_damaged_file_gives_one_warning_and_is_replaced(folder, damage):
    cache.store(KEY, DATA, METADATA)
    path = the_file(folder)
    damage(path, path.read_bytes())
    with pytest.warns(cache.CacheWarning, match="removed") as caught:
        assert cache.load(KEY) is None
        cache.store(KEY, DATA, METADATA)
        damage(path, path.read_bytes())
        assert cache.load(KEY) is None
    assert len(caught) == 1
    cache.store(KEY, DATA, METADATA)
    assert cache.load(KEY) == (DATA, METADATA)


def test_a_file_under_another_key_is_foreign(folder):
    cache.store(KEY, DATA, METADATA)
    other = cache.key(["another program"])
    the_file(folder).rename(folder / f"{other}.object")
    with pytest.warns(cache.CacheWarning, match="SHA-256"):
        assert cache.load(other) is None


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_can_write_is_not_trusted(folder, what, mode):
    cache.store(KEY, DATA, METADATA)
    (folder if what == "folder" else the_file(folder)).chmod(mode)
    with pytest.warns(cache.CacheWarning, match="other users") as caught:
        assert cache.load(KEY) is None
        assert cache.load(KEY) is None
        if what == "folder":
            cache.store(KEY, DATA, METADATA)
    assert len(caught) == 1


def test_what_another_user_owns_is_not_trusted(folder, monkeypatch):
    cache.store(KEY, DATA, METADATA)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.warns(cache.CacheWarning, match="another user") as caught:
        assert cache.load(KEY) is None
        cache.store(KEY, DATA, METADATA)
    assert len(caught) == 1


def test_a_link_is_not_followed(folder, tmp_path):
    cache.store(KEY, DATA, METADATA)
    path = the_file(folder)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(cache.CacheWarning):
        assert cache.load(KEY) is None


def test_a_file_in_place_of_the_folder_gives_one_warning(folder):
    folder.write_text("not a folder")
    with pytest.warns(cache.CacheWarning) as caught:
        assert cache.load(KEY) is None
        cache.store(KEY, DATA, METADATA)
        assert cache.load(KEY) is None
    assert len(caught) == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_can_not_be_written_gives_one_warning(folder, monkeypatch, number):
    cache.store(KEY, DATA, METADATA)
    other = cache.key(["another program"])

    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    with pytest.warns(cache.CacheWarning, match=os.strerror(number)) as caught:
        cache.store(other, DATA, METADATA)
        cache.store(other, DATA, METADATA)
    assert len(caught) == 1
    assert [path.name for path in folder.iterdir()] == [f"{KEY}.object"]
    assert cache.load(KEY) == (DATA, METADATA)


def test_the_least_recently_used_files_are_evicted(folder, monkeypatch):
    keys = [cache.key([str(number)]) for number in range(6)]
    for age, key in enumerate(keys[:5]):
        cache.store(key, DATA, {})
        os.utime(folder / f"{key}.object", (1000 + age, 1000 + age))
    one = cache.size() // 5
    assert cache.load(keys[0]) is not None
    monkeypatch.setenv("SYMNET_CACHE_LIMIT", str(one * 5))
    cache.store(keys[5], DATA, {})
    assert cache.size() <= one * 5
    assert [cache.load(key) is not None for key in keys] == [True, False, False, True, True, True]


def test_a_reader_keeps_the_file_that_is_evicted_under_it(folder):
    cache.store(KEY, DATA, METADATA)
    with open(the_file(folder), "rb") as reader:
        assert cache.clear() == 1
        assert DATA in reader.read()
    assert cache.load(KEY) is None


def test_stale_unfinished_files_go(folder, monkeypatch):
    cache.store(KEY, DATA, METADATA)
    stale, fresh = folder / "x.1.part", folder / "y.2.part"
    stale.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(stale, (1000, 1000))
    cache.store(KEY, DATA, METADATA)
    assert not stale.exists() and fresh.exists()


def _store_and_load(number: int, barrier, results) -> None:
    """What one of several processes does: every key is stored by all of them, and read back."""
    warnings.simplefilter("error")
    barrier.wait()
    good = True
    for turn in range(30):
        key = cache.key([str(turn % 5)])
        cache.store(key, DATA + bytes([turn % 5]), {"turn": turn % 5})
        found = cache.load(key)
        good = good and found == (DATA + bytes([turn % 5]), {"turn": turn % 5})
    results.put((number, good))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_a_folder(folder, method):
    context = multiprocessing.get_context(method)
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_store_and_load, args=(number, barrier, results)) for number in range(3)
    ]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=300) for _ in processes) == [(0, True), (1, True), (2, True)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(list(folder.glob("*.object"))) == 5
    assert not list(folder.glob("*.part"))


def test_threads_share_a_folder_and_evict_from_it(folder, monkeypatch):
    monkeypatch.setenv("SYMNET_CACHE_LIMIT", str(3 * len(DATA)))
    failures = []

    def work(number: int) -> None:
        for turn in range(40):
            key = cache.key([str((turn + number) % 7)])
            cache.store(key, DATA, {"of": (turn + number) % 7})
            found = cache.load(key)
            if found is not None and found != (DATA, {"of": (turn + number) % 7}):
                failures.append((number, turn))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert cache.size() <= 4 * (len(DATA) + 200)


def test_the_limit_is_a_number(monkeypatch):
    monkeypatch.setenv("SYMNET_CACHE_LIMIT", "a lot")
    with pytest.raises(ValueError, match="a lot"):
        cache.limit()


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("SYMNET_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "symnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "symnet"


def test_the_fingerprint_follows_the_source(tmp_path, monkeypatch):
    package = tmp_path / "made_up_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "emitter.py").write_text("body = 1")
    monkeypatch.syspath_prepend(tmp_path)
    prints = []
    for text in ("body = 1", "body = 2", "body = 1"):
        (package / "emitter.py").write_text(text)
        cache.emitter_fingerprint.cache_clear()
        prints.append(cache.emitter_fingerprint(("made_up_package",)))
    assert prints[0] == prints[2] != prints[1]
    assert cache.emitter_fingerprint(("made_up_package.emitter",)) != prints[0]
    assert cache.emitter_fingerprint(("made_up_package",), numba=True) != prints[0]


def test_the_fingerprint_does_not_import_numba():
    code = (
        "import sys; from symnet.compile import cache; cache.emitter_fingerprint(numba=True);"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
