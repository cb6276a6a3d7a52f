"""Takes a test's folder, hands on the places where MNIST is looked for, all moved into it."""

import sys

import pytest

from symnet.network3 import data as data_module


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Every place that is searched, empty and inside tmp_path, by name."""
    (tmp_path / "elsewhere" / "src").mkdir(parents=True)
    (tmp_path / "script" / "src").mkdir(parents=True)
    package = tmp_path / "clone" / "symnet" / "network3"
    package.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere" / "src")
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", str(tmp_path / "script/src/main.py"), raising=False
    )
    monkeypatch.setattr(data_module, "__file__", str(package / "data.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SYMNET_DATA", raising=False)
    return {
        "script": tmp_path / "script" / "data" / "mnist.pkl.gz",
        "working folder": tmp_path / "elsewhere" / "data" / "mnist.pkl.gz",
        "SYMNET_DATA": tmp_path / "named" / "mnist.pkl.gz",
        "clone": tmp_path / "clone" / "examples" / "data" / "mnist" / "mnist.pkl.gz",
        "cache": tmp_path / "cache" / "symnet" / "mnist" / "mnist.pkl.gz",
    }
