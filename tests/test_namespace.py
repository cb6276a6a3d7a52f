"""The names that users write: where they are, what the constructors make, what a missing name says."""

import subprocess
import sys

import pytest

import symnet
import symnet.tensor as T
from symnet.errors import GraphError, MissingImportError, MissingNameError

DTYPES = {
    "b": "int8",
    "w": "int16",
    "i": "int32",
    "l": "int64",
    "f": "float32",
    "d": "float64",
    "c": "complex64",
    "z": "complex128",
}
BROADCASTABLE = {
    "scalar": (),
    "vector": (False,),
    "matrix": (False, False),
    "row": (True, False),
    "col": (False, True),
    "tensor3": (False,) * 3,
    "tensor4": (False,) * 4,
    "tensor5": (False,) * 5,
}
FUNCTIONS = """
    constant as_tensor_variable dot exp log log1p expm1 sqrt sqr abs_ sgn tanh maximum minimum clip
    switch where eq neq lt le gt ge and_ or_ xor invert cast zeros_like ones_like zeros ones arange eye
    alloc sum mean prod max min argmax argmin max_and_argmax var std any all reshape dimshuffle flatten
    ravel transpose concatenate join stack repeat tile set_subtensor inc_subtensor tensordot batched_dot
    outer addbroadcast unbroadcast patternbroadcast shape_padleft shape_padright shape_padaxis squeeze
    floor ceil round trunc sin cos tan arcsin arccos arctan arctan2 sinh cosh arcsinh arccosh arctanh
    log2 log10 exp2 erf erfc inv neg add sub mul true_div int_div mod pow square isnan isinf nonzero
    take shape specify_shape fill second grad Lop Rop verify_grad swapaxes
""".split()
NNET = """
    conv2d softmax logsoftmax sigmoid hard_sigmoid ultra_fast_sigmoid relu elu softplus softsign
    categorical_crossentropy binary_crossentropy crossentropy_categorical_1hot softmax_with_bias
    batch_normalization
""".split()
TOP = """
    function shared grad Lop Rop In Out Mode config tensor theano Variable Constant Apply SharedVariable
    TensorType Op verify_grad grad_clip disconnected_grad zero_grad network3 get_default_mode
""".split()


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_symnet_imports_no_compiler():
    loaded = run_python(
        "import sys, symnet, symnet.tensor, symnet.theano\n"
        "print([m for m in ('numba', 'llvmlite', 'networkx', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_importing_symnet_takes_less_than_a_third_of_a_second():
    code = (
        "import time; began = time.process_time(); import symnet.tensor; print(time.process_time() - began)"
    )
    assert min(float(run_python(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize("name", TOP)
def test_the_package_has(name):
    assert getattr(symnet, name) is not None
    assert name in dir(symnet)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_tensor_namespace_has(name):
    assert callable(getattr(T, name))


@pytest.mark.parametrize("name", NNET)
def test_nnet_has(name):
    assert callable(getattr(T.nnet, name))


def test_what_is_exported_is_there():
    for name in symnet.__all__:
        assert hasattr(symnet, name), name


@pytest.mark.parametrize("kind", BROADCASTABLE)
@pytest.mark.parametrize("letter", DTYPES)
def test_a_constructor_with_a_letter_fixes_the_dtype(letter, kind):
    made = getattr(T, letter + kind)("name")
    assert (made.dtype, made.broadcastable, made.name) == (DTYPES[letter], BROADCASTABLE[kind], "name")
    assert made.type == getattr(T, letter + kind)


@pytest.mark.parametrize("floatX", ["float32", "float64"])
@pytest.mark.parametrize("kind", BROADCASTABLE)
def test_a_constructor_without_a_letter_is_of_floatX(kind, floatX):
    with symnet.config.override(floatX=floatX):
        made = getattr(T, kind)()
    assert (made.dtype, made.broadcastable, made.name) == (floatX, BROADCASTABLE[kind], None)
    assert getattr(T, kind)("n", dtype="int16").dtype == "int16"


def test_plural_constructors():
    a, b = T.matrices("a", "b")
    assert (a.name, b.name, a.ndim) == ("a", "b", 2)
    assert [each.name for each in T.dscalars("xyz")] == ["x", "y", "z"]
    assert [each.type for each in T.ivectors(2)] == [T.ivector] * 2
    assert T.dvector("o").type == T.dvectors("o").type
    with pytest.raises(GraphError, match="needs names"):
        T.fmatrices()


def test_tensor_takes_broadcastable_or_shape():
    assert T.tensor("float32", (True, False), name="t").broadcastable == (True, False)
    made = T.tensor("int8", shape=(None, 5))
    assert (made.dtype, made.type.shape) == ("int8", (None, 5))


def test_a_variable_carries_the_users_line():
    for made in (T.dmatrix("x"), T.matrix("x"), T.tensor("int8", shape=()), symnet.shared(1.0)):
        assert made.source.file == __file__
        assert made.source.function == "test_a_variable_carries_the_users_line"


def test_submodules_need_no_import():
    code = (
        "import symnet.tensor as T\n"
        "T.nnet.conv.conv2d, T.nnet.nnet.softmax, T.nnet.bn.batch_normalization_train, T.nnet.sigm.sigmoid\n"
        "T.signal.pool.pool_2d, T.signal.downsample.max_pool_2d, T.signal.conv.conv2d\n"
        "T.shared_randomstreams.RandomStreams, T.extra_ops.repeat, T.subtensor.set_subtensor\n"
        "T.basic.exp, T.sharedvar.TensorSharedVariable, T.type.TensorType\n"
        "print('all there')"
    )
    assert run_python(code).strip() == "all there"


def test_importing_the_module_var_leaves_the_function():
    code = (
        "import symnet.theano.tensor.var, symnet.tensor.var, symnet.tensor as T\n"
        "from symnet.theano.tensor.var import TensorVariable\n"
        "print(T.var.__name__, TensorVariable.__name__)"
    )
    assert run_python(code).split() == ["var", "Variable"]


def test_other_names_are_the_same_functions():
    assert T.square is T.sqr and T.where is T.switch and T.abs is T.abs_
    assert T.as_tensor is T.as_tensor_variable
    assert T.basic.exp is T.exp and T.nnet.nnet.softmax is T.nnet.softmax


def test_a_missing_name_says_so():
    assert not hasattr(T, "choose")
    assert getattr(T, "choose", None) is None
    with pytest.raises(MissingNameError, match=r"symnet does not have theano\.tensor\.choose yet"):
        T.choose  # noqa: B018
    with pytest.raises(MissingNameError, match=r"theano\.tensor\.nnet\.h_softmax yet"):
        T.nnet.h_softmax  # noqa: B018


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(MissingNameError) as caught:
        T.matirx("x")
    assert "matrix" in caught.value.hint
    assert caught.value.source.file == __file__


@pytest.mark.parametrize(
    "statement",
    [
        "from symnet.tensor import choose",
        "import symnet.tensor.slinalg",
        "from symnet.tensor.nnet.conv import ConvOp",
        "from symnet.tensor.signal.pool import pool_3d",
    ],
)
def test_a_missing_import_says_so(statement):
    with pytest.raises(MissingImportError, match="symnet does not have theano.tensor"):
        exec(statement, {})


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        symnet.nonsense  # noqa: B018
