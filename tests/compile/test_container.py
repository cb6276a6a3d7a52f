"""Containers: where a shared variable's value is, when it is copied, and that nobody sees an old one."""

import pickle

import numpy as np
import pytest

import symnet
import symnet.tensor as T
from symnet.compile.container import Container


class Transfers:
    """Counts copies."""

    def __init__(self):
        self.uploads = self.downloads = 0


class Array:
    """What a device has of a value."""

    def __init__(self, device, shape, dtype):
        self.device, self.shape, self.dtype, self.version = device, tuple(shape), np.dtype(dtype), -1
        self.entries = np.full(shape, 99, dtype)

    def upload(self, array, transfers):
        self.entries[...] = array
        transfers.uploads += 1

    def download(self, transfers):
        transfers.downloads += 1
        return self.entries.copy()


class Device:
    """Gives arrays of its own, and says how many it gave."""

    def __init__(self):
        self.made = 0

    def on(self, container):
        with container.lock:
            return container.on(self, self.make, Transfers)

    def make(self, shape, dtype):
        self.made += 1
        return Array(self, shape, dtype)

    def add(self, container, number):
        """An update there."""
        with container.lock:
            array = self.on(container)
            container.leave_host()
            array.entries += number
            container.count_updates_on_device(1)


@pytest.fixture
def device():
    return Device()


def copies(container):
    return container.transfers.uploads, container.transfers.downloads


def test_a_value_goes_to_the_device_once(device):
    w = symnet.shared(np.arange(3.0))
    for _ in range(3):
        assert device.on(w.container).entries.tolist() == [0, 1, 2]
    assert copies(w.container) == (1, 0) and device.made == 1
    assert w.get_value().tolist() == [0, 1, 2] and copies(w.container) == (1, 0)


def test_what_the_device_updates_comes_back_when_it_is_asked_for(device):
    w = symnet.shared(np.arange(3.0))
    for _ in range(5):
        device.add(w.container, 1)
    assert copies(w.container) == (1, 0) and w.container.device == "cuda" and w.container.version == 5
    assert w.container.shape == (3,) and w.container.nbytes == 24
    assert w.get_value().tolist() == [5, 6, 7]
    assert copies(w.container) == (1, 1)
    device.add(w.container, 1)
    assert copies(w.container) == (1, 1) and device.made == 1


def test_a_new_value_goes_to_the_same_memory_where_its_shape_is_the_same(device):
    w = symnet.shared(np.arange(3.0))
    before = device.on(w.container)
    w.set_value(np.array([5.0, 6, 7]))
    assert device.on(w.container) is before and before.entries.tolist() == [5, 6, 7]
    w.set_value(np.zeros(4))
    assert device.on(w.container).shape == (4,) and device.made == 2


def test_functions_on_the_cpu_see_what_a_device_made_and_it_sees_theirs(device):
    """By quick calls too: an array that is not the value any more fits no plan."""
    w = symnet.shared(np.zeros(3), name="w")
    double = symnet.function([], w.sum(), updates=[(w, w * 2)])
    for _ in range(3):
        double()
    assert double.__call__.__class__.__name__ == "builtin_function_or_method"
    for step in range(1, 20):
        device.add(w.container, 1)
        before = device.on(w.container).entries.copy()
        assert float(double()) == before.sum()
        double()
        np.testing.assert_array_equal(device.on(w.container).entries, before * 4)
        assert copies(w.container) == (1 + step, step)


def test_zero_of_a_value_elsewhere_copies_nothing(device):
    w = symnet.shared(np.arange(3.0))
    device.add(w.container, 1)
    w.zero()
    assert w.get_value().tolist() == [0, 0, 0] and copies(w.container) == (1, 0)
    assert device.on(w.container).entries.tolist() == [0, 0, 0]


def test_a_borrowed_array_is_the_value_until_a_device_takes_it(device):
    array = np.arange(3.0)
    w = symnet.shared(array, borrow=True)
    array[0] = 7
    assert device.on(w.container).entries.tolist() == [7, 1, 2]
    array[0] = 8  # Seen by nobody: neither there nor here.
    assert w.get_value().tolist() == [7, 1, 2] and device.on(w.container).entries.tolist() == [7, 1, 2]
    borrowed = w.get_value(borrow=True)
    borrowed[0] = 9
    assert w.get_value().tolist() == [7, 1, 2]
    w.set_value(borrowed, borrow=True)
    assert device.on(w.container).entries.tolist() == [9, 1, 2]
    device.add(w.container, 1)
    assert borrowed.tolist() == [9, 1, 2]


def test_pickles_and_clones_have_the_devices_value(device):
    w = symnet.shared(np.arange(3.0), name="w")
    device.add(w.container, 1)
    assert w.clone().get_value().tolist() == [1, 2, 3]
    again = pickle.loads(pickle.dumps(w))
    assert again.get_value().tolist() == [1, 2, 3] and again.container.version == w.container.version
    device.add(w.container, 1)
    assert again.get_value().tolist() == [1, 2, 3]


def test_a_second_device_gets_the_first_ones_value(device):
    other = Device()
    w = symnet.shared(np.arange(3.0))
    device.add(w.container, 1)
    assert other.on(w.container).entries.tolist() == [1, 2, 3]
    other.add(w.container, 1)
    assert w.get_value().tolist() == [2, 3, 4]


def test_reference_and_test_values_read_the_devices_value(device):
    w = symnet.shared(np.arange(3.0), name="w")
    f = symnet.function([], w * 2, mode="reference")
    device.add(w.container, 1)
    assert f().tolist() == [2, 4, 6]
    device.add(w.container, 1)
    with symnet.config.override(test_values=True):
        assert (w * 2).tag.test_value.tolist() == [4, 6, 8]


def test_sizes_that_a_shared_variable_holds_are_found_on_a_device(device):
    n = symnet.shared(np.int64(2), name="n")
    f = symnet.function([], T.zeros((n,)).sum() + n)
    assert f() == 2
    with n.container.lock:
        array = device.on(n.container)
        n.container.leave_host()
        array.entries[...] = 5
        n.container.count_updates_on_device(1)
    assert f() == 5


def test_a_failed_upload_leaves_the_value_where_it_is(device):
    w = symnet.shared(np.arange(3.0))
    device.add(w.container, 1)

    class Full(Device):
        def make(self, shape, dtype):
            raise MemoryError

    with pytest.raises(MemoryError):
        Full().on(w.container)
    assert w.get_value().tolist() == [1, 2, 3]
    assert device.on(w.container).entries.tolist() == [1, 2, 3]
    assert isinstance(w.container, Container)
