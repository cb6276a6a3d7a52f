"""Takes a server on the loopback address, good and bad, and shows what a download makes of it.
Nothing outside this machine is reached."""

import gzip
import hashlib
import os
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from symnet.network3.data import DataError, load_data
from symnet.network3.download import FILES, FileFacts, cache_folder, fetch_mnist

CLONE_DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "mnist"
IDX_NAMES = tuple(FILES)


class Mirror:
    """A server on the loopback address: names to bytes, and what to do wrong."""

    def __init__(self):
        mirror = self
        self.files = {}
        self.asked = []
        self.announce_more = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                mirror.asked.append(name)
                content = mirror.files.get(name)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + mirror.announce_more))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/mnist/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    mirror = Mirror()
    yield mirror
    mirror.close()


CONTENT = {"one.gz": b"first " * 100, "two.gz": b"second " * 50}
FACTS = {
    name: FileFacts(len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()
}
PACKED = {name: gzip.compress(content) for name, content in CONTENT.items()}


def test_download_keeps_the_real_files_in_the_users_cache(places, mirror):
    mirror.files = {name: (CLONE_DATA / name).read_bytes() for name in IDX_NAMES}
    sets = load_data(download=True, mirrors=[mirror.address])
    for (x, y), (expected_x, expected_y) in zip(sets, load_data(CLONE_DATA), strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)
    assert sorted(os.listdir(cache_folder())) == sorted(IDX_NAMES)
    assert sorted(mirror.asked) == sorted(IDX_NAMES)
    assert len(load_data()[0][0]) == 50_000  # found there without asking again
    assert len(mirror.asked) == 4


def test_the_known_hashes_are_those_of_the_clones_files():
    for name, facts in FILES.items():
        content = gzip.decompress((CLONE_DATA / name).read_bytes())
        assert FileFacts(len(content), hashlib.sha256(content).hexdigest()) == facts


def test_whole_files_are_not_fetched_again_and_damaged_ones_are(tmp_path, mirror):
    mirror.files = PACKED
    fetch_mnist(tmp_path, [mirror.address], FACTS)
    (tmp_path / "two.gz").write_bytes(PACKED["two.gz"][:-9])
    mirror.asked.clear()
    assert fetch_mnist(tmp_path, [mirror.address], FACTS) == tmp_path
    assert mirror.asked == ["two.gz"]
    assert (tmp_path / "two.gz").read_bytes() == PACKED["two.gz"]


def test_another_gzip_wrapping_of_the_same_content_is_good(tmp_path, mirror):
    mirror.files = {name: gzip.compress(content, 0) for name, content in CONTENT.items()}
    fetch_mnist(tmp_path, [mirror.address], FACTS)
    assert gzip.decompress((tmp_path / "one.gz").read_bytes()) == CONTENT["one.gz"]


@pytest.mark.parametrize(
    ("files", "announce_more", "said"),
    [
        ({}, 0, "404"),
        ({"one.gz": gzip.compress(b"other " * 100)}, 0, "SHA-256, uncompressed, is [0-9a-f]{64}"),
        ({"one.gz": PACKED["one.gz"]}, 10, r"cut short: \d+ of \d+ bytes"),
        ({"one.gz": PACKED["one.gz"][:-12]}, 0, r"cut short: \d+ bytes hold \d+ of 600"),
        ({"one.gz": b"<html>not here</html>"}, 0, "not a gzip file"),
        ({"one.gz": gzip.compress(bytes(10_000_000))}, 0, "SHA-256"),
        ({"one.gz": os.urandom(20_000)}, 0, "more than 10,606 bytes"),
    ],
    ids=["404", "other content", "connection cut", "file cut", "no gzip", "bomb", "too long"],
)
def test_bad_download_is_refused_and_leaves_nothing(tmp_path, mirror, files, announce_more, said):
    mirror.files, mirror.announce_more = files, announce_more
    with pytest.raises(DataError, match=f"one.gz could not be fetched[\\s\\S]*{said}"):
        fetch_mnist(tmp_path, [mirror.address], FACTS)
    assert os.listdir(tmp_path) == []


def test_the_second_mirror_is_asked_when_the_first_fails(tmp_path, mirror):
    mirror.files = PACKED
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        closed = f"http://127.0.0.1:{server.server_port}/"
    fetch_mnist(tmp_path, [closed, mirror.address], FACTS)
    assert sorted(os.listdir(tmp_path)) == ["one.gz", "two.gz"]


def test_a_write_that_fails_leaves_nothing_half_written(tmp_path, mirror, monkeypatch):
    mirror.files = PACKED

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match="disk full"):
        fetch_mnist(tmp_path, [mirror.address], FACTS)
    assert os.listdir(tmp_path) == []


def test_download_is_not_tried_when_the_data_is_there(places, mirror):
    data_set = (np.zeros((7, 784), np.float32), np.zeros(7, np.int64))
    places["clone"].parent.mkdir(parents=True)
    places["clone"].write_bytes(pickle.dumps((data_set,) * 3))
    assert len(load_data(download=True, mirrors=[mirror.address])[0][0]) == 7
    assert mirror.asked == []
