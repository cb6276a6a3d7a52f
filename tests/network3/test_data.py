"""Takes MNIST in every form it comes in, whole and broken, and hands each to `load_data`.
What is whole must arrive exactly; what is broken or asks for code is refused in clear words."""

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

import symnet
from symnet.network3.data import DataError, load_data, load_data_shared
from symnet.network3.download import FILES

CLONE_DATA = Path(__file__).resolve().parents[2] / "examples" / "data" / "mnist"
IDX_NAMES = tuple(FILES)


# --- data to read -----------------------------------------------------------------------------


def small_sets(training=7, validation=3, test=4):
    """Three small data sets as the book's pickle has them: float32 pixels, int64 labels."""
    random = np.random.RandomState(1)
    return tuple(
        (
            random.randint(256, size=(count, 784)).astype(np.float32) / np.float32(256),
            random.randint(10, size=count),
        )
        for count in (training, validation, test)
    )


def assert_same_sets(found, expected):
    for (found_x, found_y), (x, y) in zip(found, expected, strict=True):
        assert found_x.dtype == np.float32 and found_y.dtype == np.int64
        np.testing.assert_array_equal(found_x, x)
        np.testing.assert_array_equal(found_y, y)


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_arrays(training=10_006, test=5):
    """train images and labels, test images and labels, in the order of the four files."""
    random = np.random.RandomState(2)
    arrays = []
    for count in (training, test):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 3:6, 4:7] = random.randint(256, size=(count, 3, 3))
        arrays += [images, random.randint(10, size=count).astype(np.uint8)]
    return arrays


def write_idx_folder(folder, arrays, ending=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        content = idx_bytes(array)
        path = folder / (name.removesuffix(".gz") + ending)
        path.write_bytes(gzip.compress(content, 1) if ending == ".gz" else content)
    return folder


def write_pickle(path, sets, protocol=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(sets, protocol)))
    return path


# --- a pickle as Python 2 writes it -------------------------------------------------------------


def python2_string(value):
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def python2_array(array):
    """The opcodes that Python 2's cPickle writes for an array at protocol 2: bytes are strings."""

    def integer(value):
        return b"J" + struct.pack("<i", value)

    code = array.dtype.str[1:].encode()
    shape = b"(" + b"".join(integer(size) for size in array.shape) + b"t"
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + (
        integer(0) + b"\x85" + python2_string(b"b") + b"\x87R"
    )
    dtype = b"cnumpy\ndtype\n" + python2_string(code) + integer(0) + integer(1) + b"\x87R"
    dtype_state = b"(" + integer(3) + python2_string(b"<") + b"NNN" + 2 * integer(-1) + integer(0)
    state = b"(" + integer(1) + shape + dtype + dtype_state + b"tb" + b"I00\n"
    return reconstruct + state + python2_string(array.tobytes()) + b"tb"


def python2_pickle(sets):
    pairs = [python2_array(x) + python2_array(y) + b"\x86" for x, y in sets]
    return b"\x80\x02" + b"".join(pairs) + b"\x87."


def test_python2_pickle_of_the_book(tmp_path):
    sets = small_sets()
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(gzip.compress(python2_pickle(sets)))
    # The opcodes are right only if the ordinary machine reads them too.
    assert_same_sets(pickle.loads(python2_pickle(sets), encoding="latin1"), sets)
    assert_same_sets(load_data(path), sets)


@pytest.mark.parametrize("protocol", range(6))
def test_python3_pickle_of_every_protocol(tmp_path, protocol):
    sets = small_sets()
    assert_same_sets(load_data(write_pickle(tmp_path / "mnist.pkl.gz", sets, protocol)), sets)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickle_of_lists_as_the_books_expanded_data(tmp_path, protocol):
    sets = small_sets()
    x, y = sets[0]
    listed = ([list(x), [label if number % 2 else int(label) for number, label in enumerate(y)]],)
    path = write_pickle(tmp_path / "mnist_expanded.pkl.gz", listed + sets[1:], protocol)
    assert_same_sets(load_data(path), sets)


def test_pickle_not_gzipped_and_of_other_numbers(tmp_path):
    sets = small_sets()
    other = [(np.asfortranarray(x.astype(">f8")), y.astype(np.uint8)) for x, y in sets]
    path = tmp_path / "mnist.pkl"
    path.write_bytes(pickle.dumps(other))
    assert_same_sets(load_data(path), sets)


# --- pickles that ask for more ------------------------------------------------------------------


class Asks:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (Asks(os.system, "touch hacked"), "system"),
        (Asks(eval, "open('hacked', 'w')"), "eval"),
        (Asks(np.load, "hacked"), "load"),
        (Asks(getattr, "text", "upper"), "getattr"),
        (np.ma.masked_array([1.0]), "_mareconstruct"),
        ({1}, "set"),
        (1j, "complex"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2])
def test_pickle_that_asks_for_more_is_refused(tmp_path, monkeypatch, asked, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = write_pickle(tmp_path / "mnist.pkl.gz", (asked, small_sets()), protocol)
    with pytest.raises(DataError, match=rf"asks for \S+\.{name}\b[\s\S]*nothing of this one was run"):
        load_data(path)
    assert os.listdir(tmp_path) == ["mnist.pkl.gz"]


@pytest.mark.parametrize(
    "opcodes",
    [
        b"c_codecs\nencode\n(X\x01\x00\x00\x00ax\x05\x00\x00\x00rot13tR.",
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        b"cnumpy\ndtype\n(X\x01\x00\x00\x00OK\x00K\x01tR.",
        b"cnumpy\ndtype\n}X\x04\x00\x00\x00codeX\x02\x00\x00\x00f4sb.",
        b"cnumpy.core.multiarray\n_reconstruct\n}X\x07\x00\x00\x00resolveK\x01sb.",
        b"cnumpy\nndarray\n)R}X\x01\x00\x00\x00aK\x01sb.",
        b"cnumpy\nndarray\n.",
        b"}.",
    ],
)
def test_allowed_names_used_for_something_else_are_refused(tmp_path, opcodes):
    path = tmp_path / "mnist.pkl"
    path.write_bytes(b"\x80\x02" + opcodes)
    with pytest.raises(DataError):
        load_data(path)
    # Nothing stuck to the names themselves: an honest pickle still reads.
    sets = small_sets()
    path.write_bytes(pickle.dumps(sets, 2))
    assert_same_sets(load_data(path), sets)


def test_array_of_objects_is_refused(tmp_path):
    sets = small_sets()
    objects = (np.array([None] * 7, object), sets[0][1])
    with pytest.raises(DataError, match="whose bytes are a list"):
        load_data(write_pickle(tmp_path / "mnist.pkl.gz", (objects, *sets[1:])))


def test_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path):
    pickled = python2_pickle(small_sets())
    broken = pickled.replace(struct.pack("<i", 784), struct.pack("<i", 785), 1)
    path = tmp_path / "mnist.pkl"
    path.write_bytes(broken)
    with pytest.raises(DataError, match="not a readable pickle"):
        load_data(path)


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 5, 100, 0.5, 0.999])
def test_truncated_pickle(tmp_path, kept):
    path = write_pickle(tmp_path / "mnist.pkl.gz", small_sets())
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(DataError, match="mnist.pkl.gz"):
        load_data(path)


def test_damaged_pickles_are_refused_or_read_never_a_crash(tmp_path):
    whole = pickle.dumps(small_sets(2, 1, 1), 2)
    path = tmp_path / "mnist.pkl"
    random = np.random.RandomState(3)
    refused = 0
    for place in [*range(80), *random.randint(len(whole), size=40)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.randint(8)
        path.write_bytes(damaged)
        try:
            load_data(path)
        except DataError:
            refused += 1
    assert refused > 40


def test_damaged_gzip(tmp_path):
    path = write_pickle(tmp_path / "mnist.pkl.gz", small_sets())
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="mnist.pkl.gz"):
        load_data(path)


def test_missing_file_and_folder_without_mnist(tmp_path):
    with pytest.raises(DataError, match="there is no file .*absent.pkl.gz"):
        load_data(tmp_path / "absent.pkl.gz")
    with pytest.raises(DataError, match="does not hold MNIST[\\s\\S]*train-images-idx3-ubyte"):
        load_data(tmp_path)


def test_error_quotes_the_users_line(tmp_path):
    with pytest.raises(DataError) as caught:
        load_data(tmp_path / "absent.pkl.gz")  # this line
    assert caught.value.source.text.endswith("# this line")


# --- npz ------------------------------------------------------------------------------------------


def test_npz_with_the_three_sets(tmp_path):
    sets = small_sets()
    names = ("training", "validation", "test")
    arrays = {
        f"{name}_{part}": array
        for name, pair in zip(names, sets, strict=True)
        for part, array in zip("xy", pair, strict=True)
    }
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **arrays)
    assert_same_sets(load_data(path), sets)


def test_npz_of_bytes_is_split_as_the_book_does(tmp_path):
    train_x, train_y, test_x, test_y = idx_arrays()
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, x_train=train_x, y_train=train_y, x_test=test_x, y_test=test_y)
    assert_same_sets(load_data(path), expected_split(idx_arrays()))


def test_npz_with_other_names_with_objects_and_damaged(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(path, images=np.zeros(3))
    with pytest.raises(DataError, match="given: images"):
        load_data(path)
    np.savez(path, training_x=np.array([{}], object))
    with pytest.raises(DataError, match="can't be read"):
        load_data(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="can't be read"):
        load_data(path)


def test_npz_of_scalars(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=1, y_train=2, x_test=3, y_test=4)
    with pytest.raises(DataError, match="given: \\(\\)"):
        load_data(path)


# --- idx files ------------------------------------------------------------------------------------


def expected_split(arrays):
    def data_set(x, y):
        return x.reshape(len(x), 784).astype(np.float32) / np.float32(256), y.astype(np.int64)

    x, y, test_x, test_y = arrays
    return (
        data_set(x[:-10_000], y[:-10_000]),
        data_set(x[-10_000:], y[-10_000:]),
        data_set(test_x, test_y),
    )


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_folder(tmp_path, ending):
    folder = write_idx_folder(tmp_path, idx_arrays(), ending)
    assert_same_sets(load_data(folder), expected_split(idx_arrays()))


def test_idx_folder_named_with_dots_as_often_seen(tmp_path):
    folder = write_idx_folder(tmp_path, idx_arrays(), "")
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert_same_sets(load_data(folder), expected_split(idx_arrays()))


def test_real_mnist_of_the_clone():
    training, validation, test = load_data(CLONE_DATA)
    for (x, y), count in ((training, 50_000), (validation, 10_000), (test, 10_000)):
        assert x.shape == (count, 784) and y.shape == (count,)
        assert x.min() == 0 and x.max() == 255 / 256
        assert set(np.unique(y)) == set(range(10))
    assert list(training[1][:5]) == [5, 0, 4, 1, 9]
    assert list(validation[1][:5]) == [3, 8, 6, 9, 6]
    assert list(test[1][:5]) == [7, 2, 1, 0, 4]
    assert training[0][0].sum() * 256 == 27_525


def change(name, edit):
    """Edits the uncompressed bytes of one idx file of a folder."""

    def apply(folder):
        path = folder / name
        path.write_bytes(gzip.compress(edit(gzip.decompress(path.read_bytes())), 1))

    return apply


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = IDX_NAMES


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (change(TEST_IMAGES, lambda b: b"\0\0\x0d\3" + b[4:]), "magic number: 00000d03"),
        (change(TEST_LABELS, lambda b: b"\0\0\x08\3" + b[4:]), "magic number: 00000803"),
        (change(TEST_LABELS, lambda b: b""), "magic number: nothing"),
        (change(TEST_IMAGES, lambda b: b[:9]), "does not have the size that its head says"),
        (change(TEST_IMAGES, lambda b: b[:-1]), r"given: 3,935 bytes\s+expected: 3,936"),
        (change(TEST_IMAGES, lambda b: b + b"\0"), "does not have the size that its head says"),
        (change(TEST_LABELS, lambda b: b[:-1] + b"\x0a"), "given: 10, label number 4"),
        (
            change(TEST_LABELS, lambda b: b[:4] + struct.pack(">I", 4) + b[8:-1]),
            "given: 5 images and 4 labels",
        ),
        (
            change(TEST_IMAGES, lambda b: b[:8] + struct.pack(">II", 14, 56) + b[16:]),
            r"given: \(5, 14, 56\)\s+expected: .*784",
        ),
        (lambda folder: (folder / TRAIN_IMAGES).unlink(), "missing.*train-images-idx3-ubyte"),
        (lambda folder: (folder / TRAIN_LABELS).write_bytes(b"\x1f\x8b\x08"), "can't be read"),
    ],
)
def test_broken_idx_folder(tmp_path, break_it, said):
    folder = write_idx_folder(tmp_path, idx_arrays(10_001))
    break_it(folder)
    with pytest.raises(DataError, match=said):
        load_data(folder)


def test_idx_folder_with_too_few_training_images(tmp_path):
    folder = write_idx_folder(tmp_path, idx_arrays(10_000))
    with pytest.raises(DataError, match="holds 10,000 training images"):
        load_data(folder)


def test_naming_one_idx_file_says_to_name_the_folder(tmp_path):
    folder = write_idx_folder(tmp_path, idx_arrays(3))
    with pytest.raises(DataError, match="name the folder"):
        load_data(folder / TRAIN_IMAGES)


# --- wrong contents ---------------------------------------------------------------------------


def changed(number, x=None, y=None):
    sets = [list(pair) for pair in small_sets()]
    if x is not None:
        sets[number][0] = x(sets[number][0])
    if y is not None:
        sets[number][1] = y(sets[number][1])
    return sets


def with_value(value):
    def edit(array):
        array = array.astype(np.result_type(array.dtype, type(value)))
        array.flat[2] = value
        return array

    return edit


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (changed(0, y=lambda y: y[:-1]), "training data[\\s\\S]*7 images and 6 labels"),
        (changed(1, y=with_value(-1)), "validation data[\\s\\S]*given: -1, label number 2"),
        (changed(2, y=with_value(10)), "test data[\\s\\S]*given: 10, label number 2"),
        (changed(2, y=with_value(2.5)), "given: 2.5, label number 2"),
        (changed(0, y=lambda y: y[:, None]), r"labels of shape \(images,\)|given: \(7, 1\)"),
        (changed(0, x=lambda x: x[:, :-1]), r"given: \(7, 783\)"),
        (changed(0, x=lambda x: x[:0], y=lambda y: y[:0]), r"given: \(0, 784\)"),
        (changed(0, x=lambda x: x * 256), "given: 0.0 to 255.0"),
        (changed(0, x=with_value(float("nan"))), "given: nan to nan"),
        (changed(0, x=lambda x: x.astype("S4")), "not a plain number"),
        (changed(0, x=lambda x: [list(x[0]), [0.5]]), "expected: arrays"),
        (changed(0, x=lambda x: "text"), "expected: numbers"),
        (small_sets()[:2], "three data sets"),
        ((1, 2, 3), "three data sets"),
        ([pair[:1] for pair in small_sets()], "three data sets"),
        (17, "three data sets"),
    ],
)
def test_wrong_contents(tmp_path, sets, said):
    with pytest.raises(DataError, match=said):
        load_data(write_pickle(tmp_path / "mnist.pkl.gz", sets))


# --- where it looks ---------------------------------------------------------------------------


def test_search_order(places, monkeypatch):
    monkeypatch.setenv("SYMNET_DATA", str(places["SYMNET_DATA"]))
    for size, path in enumerate(places.values(), start=1):
        write_pickle(path, small_sets(training=size))
    for size, (name, path) in enumerate(places.items(), start=1):
        assert len(load_data()[0][0]) == size, name
        path.unlink()
        if name == "SYMNET_DATA":
            monkeypatch.delenv("SYMNET_DATA")


@pytest.mark.parametrize("inner", ["", "mnist"])
def test_symnet_data_names_a_folder_of_idx_files(places, monkeypatch, tmp_path, inner):
    write_idx_folder(tmp_path / "idx" / inner, idx_arrays())
    monkeypatch.setenv("SYMNET_DATA", str(tmp_path / "idx"))
    assert_same_sets(load_data(), expected_split(idx_arrays()))


def test_symnet_data_that_names_nothing_is_an_error(places, monkeypatch, tmp_path):
    write_pickle(places["clone"], small_sets())
    monkeypatch.setenv("SYMNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="SYMNET_DATA names .*gone"):
        load_data()


def test_not_found_lists_where_it_looked(places):
    with pytest.raises(DataError) as caught:
        load_data()
    message = str(caught.value)
    for name in ("script", "working folder"):
        assert str(places[name]) in message
    for name in ("clone", "cache"):
        assert str(places[name].parent) in message
    assert "SYMNET_DATA (not set)" in message and "download=True" in message


# --- as shared variables ----------------------------------------------------------------------


@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_load_data_shared_gives_the_books_variables(tmp_path, floatX):
    sets = small_sets()
    path = write_pickle(tmp_path / "mnist.pkl.gz", sets)
    with symnet.config.override(floatX=floatX):
        shared_sets = load_data_shared(path)
    assert len(shared_sets) == 3
    for (shared_x, symbolic_y), (x, y) in zip(shared_sets, sets, strict=True):
        assert shared_x.dtype == floatX and shared_x.ndim == 2
        np.testing.assert_array_equal(shared_x.get_value(), x)
        assert symbolic_y.dtype == "int32" and symbolic_y.ndim == 1
        (shared_y,) = symbolic_y.owner.inputs
        assert shared_y.dtype == floatX
        np.testing.assert_array_equal(shared_y.get_value(), y)
