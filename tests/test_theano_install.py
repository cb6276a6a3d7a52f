"""Theano's module tree, and `import theano` meaning symnet."""

import importlib
import subprocess
import sys
import types

import numpy as np
import pytest

import symnet
import symnet.theano
from symnet.errors import ArgumentError, InstallError, MissingImportError, MissingNameError


@pytest.fixture
def installed():
    symnet.theano.install()
    yield
    symnet.theano.uninstall()


def scope_of(statements):
    names = {}
    exec(statements, names)
    return names


def test_import_theano_means_symnet(installed):
    names = scope_of("import theano, theano.tensor as T\nfrom theano import function, shared, config")
    assert names["theano"] is symnet.theano
    assert names["T"] is symnet.tensor
    assert names["function"] is symnet.function and names["shared"] is symnet.shared


def test_modules_are_the_same_objects_under_every_path(installed):
    names = scope_of(
        "import theano.tensor.nnet.conv, symnet.theano.tensor.nnet.conv\n"
        "from theano.tensor.nnet import conv\nfrom symnet.tensor.nnet import conv as own\n"
        "from theano.sandbox import rng_mrg\nimport symnet.theano.sandbox.rng_mrg as second"
    )
    assert names["conv"] is names["own"] is names["theano"].tensor.nnet.conv
    assert names["own"].__name__ == names["own"].__spec__.name == "symnet.tensor.nnet.conv"
    assert names["rng_mrg"] is names["second"]
    assert importlib.import_module("symnet.tensor.nnet.conv") is names["own"]


@pytest.mark.parametrize(
    "statement",
    [
        "from theano.tensor.shared_randomstreams import RandomStreams",
        "from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams",
        "from theano.tensor.signal import pool, downsample",
        "from theano.tensor.signal.pool import pool_2d",
        "from theano.tensor.nnet import conv2d, softmax, sigmoid, relu",
        "from theano.tensor.nnet.nnet import categorical_crossentropy",
        "from theano.tensor.nnet.bn import batch_normalization_train",
        "from theano.tensor.basic import exp, TensorType",
        "from theano.tensor.var import TensorVariable, TensorConstant",
        "from theano.tensor.sharedvar import TensorSharedVariable",
        "from theano.compile import SharedVariable, get_default_mode, Mode, In, Out, function",
        "from theano.compile.sharedvalue import SharedVariable, shared",
        "from theano.compile.mode import get_mode",
        "from theano.gof import Variable, Apply, Constant, MissingInputError",
        "from theano.gof.graph import inputs, ancestors",
        "from theano.gradient import grad, disconnected_grad, zero_grad, verify_grad, grad_clip",
        "from theano.gradient import DisconnectedInputError, consider_constant, Lop, Rop, GradientError",
        "from theano.compat.python2x import OrderedDict",
        "from theano.compat.six.moves import cPickle, xrange, reduce",
        "from theano.configdefaults import config",
        "from theano.configparser import config, change_flags",
        "from theano.updates import OrderedUpdates",
        "from theano.version import version",
        "from theano import *\nfrom theano.tensor import *",
        "import theano.ifelse, theano.printing, theano.misc, theano.scan_module, theano.gpuarray",
        "import theano.sandbox.cuda.dnn, theano.sandbox.gpuarray",
    ],
)
def test_imports_that_programs_write(installed, statement):
    names = scope_of(statement)
    assert len(names) > 1


def test_submodules_need_no_import(installed):
    theano = scope_of("import theano")["theano"]
    assert theano.tensor.signal.downsample.max_pool_2d is symnet.tensor.signal.downsample.max_pool_2d
    assert theano.compile.sharedvalue.SharedVariable is symnet.SharedVariable
    assert theano.sandbox.rng_mrg.MRG_RandomStreams.__name__ == "MRG_RandomStreams"
    assert theano.gof.graph.Variable is symnet.Variable


def test_devices_are_absent_politely(installed):
    theano = scope_of("import theano")["theano"]
    assert theano.sandbox.cuda.cuda_enabled is False
    assert theano.sandbox.cuda.cuda_available is False
    assert theano.sandbox.gpuarray.pygpu_activated is False
    assert theano.gpuarray.pygpu_activated is False
    assert theano.sandbox.cuda.dnn.dnn_available() is False
    with pytest.raises(MissingImportError, match="there is no GPU"):
        exec("from theano.sandbox.cuda.basic_ops import gpu_contiguous")


@pytest.mark.parametrize(
    "path, hint",
    [
        ("scan", "loop"),
        ("Op", "symnet.Op"),
        ("ifelse.ifelse", "T.switch"),
        ("printing.var_descriptor", None),
        ("gof.local_optimizer", None),
        ("sparse", None),
        ("tensor.nlinalg", None),
        ("tensor.sort", None),
    ],
)
def test_a_name_that_is_not_there_says_so(installed, path, hint):
    theano = scope_of("import theano")["theano"]
    outer, _, name = path.rpartition(".")
    module = theano
    for part in filter(None, outer.split(".")):
        module = getattr(module, part)
    assert not hasattr(module, name)
    with pytest.raises(MissingNameError, match=f"symnet does not have theano.{path} yet") as caught:
        getattr(module, name)
    with pytest.raises(MissingImportError, match=f"symnet does not have theano.{path} yet") as imported:
        exec(f"from theano{'.' + outer if outer else ''} import {name}")
    for error in (caught.value, imported.value):
        assert (error.hint is None) if hint is None else (hint in error.hint)


def test_a_guarded_import_falls_back(installed):
    names = scope_of(
        "try:\n    import theano.sparse as sparse\nexcept ImportError:\n    sparse = None\n"
        "try:\n    from theano.sandbox.cuda import basic_ops\nexcept ImportError:\n    basic_ops = None\n"
    )
    assert names["sparse"] is None and names["basic_ops"] is None


def test_versions_can_be_parsed(installed):
    theano = scope_of("import theano")["theano"]
    assert theano.__version__ == theano.version.version == theano.version.full_version
    assert [int(part) for part in theano.__version__.split("+")[0].split(".")[:2]] == [1, 0]
    assert "symnet" in theano.__version__


def test_installing_twice_and_uninstalling():
    symnet.theano.install()
    symnet.theano.install()
    assert scope_of("import theano")["theano"] is symnet.theano
    scope_of("import theano.tensor.nnet")
    symnet.theano.uninstall()
    symnet.theano.uninstall()
    assert not [name for name in sys.modules if name == "theano" or name.startswith("theano.")]
    with pytest.raises(ModuleNotFoundError):
        exec("import theano")


def test_another_theano_is_not_replaced(monkeypatch):
    other = types.ModuleType("theano")
    other.__file__ = "/elsewhere/theano/__init__.py"
    monkeypatch.setitem(sys.modules, "theano", other)
    with pytest.raises(InstallError, match="another theano is imported already, from /elsewhere"):
        symnet.theano.install()
    symnet.theano.uninstall()
    assert sys.modules["theano"] is other


def test_a_program_of_theanos_runs_unchanged(tmp_path):
    program = tmp_path / "regression.py"
    program.write_text(
        "import numpy\n"
        "import theano\n"
        "import theano.tensor as T\n"
        "rng = numpy.random.RandomState(1)\n"
        "x = T.matrix('x'); y = T.lvector('y')\n"
        "w = theano.shared(numpy.zeros((4, 3), dtype=theano.config.floatX), name='w')\n"
        "p = T.nnet.softmax(T.dot(x, w))\n"
        "cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])\n"
        "train = theano.function([x, y], cost, updates=[(w, w - 0.5 * T.grad(cost, w))])\n"
        "data = rng.randn(60, 4).astype(theano.config.floatX); labels = data[:, :3].argmax(axis=1)\n"
        "costs = [float(train(data, labels)) for _ in range(30)]\n"
        "print(costs[0] > 1.0 and costs[-1] < 0.7 * costs[0])\n"
    )
    run = f"import runpy, symnet.theano; symnet.theano.install(); runpy.run_path({str(program)!r})"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"


# --- theano.config ---------------------------------------------------------------------------------


@pytest.fixture
def theano_config():
    from symnet.theano.flags import DEFAULTS, Flags, config

    before = dict(config._given)
    yield config
    config._given.clear()
    config._given.update(before)
    config._sections.clear()
    assert isinstance(config, Flags) and DEFAULTS


def test_theanos_config_is_symnets_where_both_have_a_setting(theano_config):
    theano_config.floatX = "float32"
    assert symnet.config.floatX == "float32" and symnet.tensor.matrix().dtype == "float32"
    assert theano_config.device == "cpu" and theano_config.on_unused_input == "raise"
    theano_config.mode = "FAST_COMPILE"
    assert symnet.config.mode == "default"
    with pytest.raises(ValueError, match="floatX"):
        theano_config.floatX = "float8"


@pytest.mark.parametrize(
    "flag, default",
    [
        ("optimizer", "o4"),
        ("exception_verbosity", "low"),
        ("compute_test_value", "off"),
        ("linker", "cvm"),
        ("profile", False),
        ("dnn.enabled", "False"),
        ("gpuarray.preallocate", 0.0),
        ("warn.round", False),
        ("scan.allow_gc", False),
        ("dnn.conv.algo_fwd", "small"),
    ],
)
def test_flags_without_a_meaning_here_have_theanos_default_and_keep_a_value(theano_config, flag, default):
    *sections, name = flag.split(".")

    def owner():
        found = theano_config
        for section in sections:
            found = getattr(found, section)
        return found

    assert getattr(owner(), name) == default
    value = "off" if flag == "compute_test_value" else "another"
    setattr(owner(), name, value)
    assert getattr(owner(), name) == value


def test_a_flag_of_no_one(theano_config):
    assert not hasattr(theano_config, "nonsense")
    with pytest.raises(AttributeError, match="theano.config has no flag 'nonsense'"):
        theano_config.nonsense  # noqa: B018
    theano_config.nonsense = 3
    assert theano_config.nonsense == 3


def test_what_would_change_the_meaning_is_refused(theano_config):
    with pytest.raises(ArgumentError, match="'off', 'ignore', 'warn', 'raise' is expected"):
        theano_config.compute_test_value = "pdb"
    for device in ("opencl0:0", "", None):
        with pytest.raises(ArgumentError, match='for an NVIDIA GPU, is expected'):
            theano_config.device = device


def test_theanos_names_of_a_gpu(theano_config):
    for device in ("gpu", "cuda", "gpu0", "cuda0"):
        theano_config.device = "cpu"
        theano_config.device = device
        assert symnet.config.device == theano_config.device == "auto"
    theano_config.force_device = True
    theano_config.device = "cuda"
    assert symnet.config.device == "cuda"
    theano_config.device = "cpu"
    assert symnet.config.device == "cpu"


def test_a_device_is_used_as_theanos_programs_ask_for_it(installed):
    scope_of("import theano.sandbox.cuda\ntheano.sandbox.cuda.use('gpu0', force=False)")
    assert symnet.config.device == "auto"
    scope_of("import theano.gpuarray\ntheano.gpuarray.use('cuda', force=True)")
    assert symnet.config.device == "cuda"


def test_test_values_by_theanos_flag(theano_config):
    assert theano_config.compute_test_value == "off"
    try:
        for word, value in (("ignore", True), ("warn", "warn"), ("raise", "raise"), ("off", False)):
            theano_config.compute_test_value = word
            assert symnet.config.test_values is value and theano_config.compute_test_value == word
    finally:
        symnet.config.test_values = False


def test_change_flags_is_a_block_and_a_decorator(theano_config):
    from symnet.theano import change_flags

    with change_flags(floatX="float32", compute_test_value="off"):
        assert symnet.config.floatX == "float32"
    assert symnet.config.floatX == "float64"

    @change_flags(floatX="float32")
    def dtype():
        return symnet.tensor.scalar().dtype

    assert dtype() == "float32" and symnet.tensor.scalar().dtype == "float64"


def test_theanos_asarray_and_upcast():
    from symnet.theano.misc.safe_asarray import _asarray
    from symnet.theano.scalar import upcast

    assert _asarray([1, 2], dtype="float32").dtype == np.float32
    assert upcast("int8", "float32") == "float32"
