"""Takes a network's parameters to a file and back, and shows that no half file is ever left."""

import os

import numpy as np
import pytest

import symnet
from symnet.network3 import (
    DataError,
    FullyConnectedLayer,
    Network,
    SoftmaxLayer,
    load_parameters,
    save_parameters,
)
from symnet.network3.files import written_whole


def small_net(hidden=3):
    return Network([FullyConnectedLayer(4, hidden), SoftmaxLayer(hidden, 2)], 2)


def test_parameters_come_back_as_they_were(tmp_path):
    net, other = small_net(), small_net()
    save_parameters(net, tmp_path / "net.npz")
    load_parameters(other, tmp_path / "net.npz")
    for param, loaded in zip(net.params, other.params, strict=True):
        np.testing.assert_array_equal(param.get_value(), loaded.get_value())
        assert loaded.get_value().dtype == symnet.config.floatX


def test_the_file_is_arrays_by_name(tmp_path):
    net = small_net()
    save_parameters(net, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as archive:
        assert archive.files == ["layer0.w", "layer0.b", "layer1.w", "layer1.b"]
        np.testing.assert_array_equal(archive["layer0.w"], net.layers[0].w.get_value())
    assert os.listdir(tmp_path) == ["net.npz"]


def test_parameters_of_another_network_are_refused_before_any_is_set(tmp_path):
    net, other = small_net(), small_net(hidden=5)
    before = [param.get_value() for param in other.params]
    save_parameters(net, tmp_path / "net.npz")
    with pytest.raises(DataError, match=r"does not hold the parameters.*(?s:.*)\(4, 5\)"):
        load_parameters(other, tmp_path / "net.npz")
    for param, value in zip(other.params, before, strict=True):
        np.testing.assert_array_equal(param.get_value(), value)


def test_damaged_and_missing_files_are_refused(tmp_path):
    net = small_net()
    path = tmp_path / "net.npz"
    with pytest.raises(DataError, match="can't be read: FileNotFoundError"):
        load_parameters(net, path)
    save_parameters(net, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="can't be read"):
        load_parameters(net, path)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="can't be read"):
        load_parameters(net, path)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="halfway"), written_whole(path) as stream:
        stream.write(b"after")
        raise RuntimeError("halfway")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["kept"]
