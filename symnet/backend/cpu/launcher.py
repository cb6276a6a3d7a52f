"""The launcher: machine code that calls compiled functions without Python in between.

Takes plans (`symnet.compile.plan`), hands on builtin functions that check their arguments, fill a table,
run an entry and make the results; and a loop that runs an entry many times. One piece of code serves all
functions. It reads objects where CPython and NumPy keep their data on every ordinary build, which is
verified once: where it does not hold there is no launcher, and every call takes the Python path.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
from typing import Any

import numpy as np

from symnet.compile import cache, plan
from symnet.compile.locks import wake
from symnet.config import config

#: Offsets in bytes into objects: PyObject's type, the value of a float or of a NumPy scalar, and the fields
#: of an array; in its dtype object, where byte order and type number stand.
TYPE, VALUE = 8, 16
DATA, RANK, LENGTHS, DTYPE, FLAGS = 16, 24, 32, 56, 64
DTYPE_WORD = 24
#: C-contiguous and aligned.
REGULAR = 0x101

#: The functions that the code calls, in the order in which the runtime has their addresses.
FUNCTIONS = (
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyObject_Vectorcall",
    "PyLong_AsLongLongAndOverflow",
    "Py_IncRef",
    "Py_DecRef",
    "PyList_New",
    "PyList_SetItem",
    "PyDict_New",
    "PyDict_SetItem",
    "PyTuple_GetItem",
    "PyArray_NewFromDescr",
)
#: Objects whose addresses stand behind the functions'; last comes where that word of the settings is.
FLOAT32_EVERYWHERE = "float32_everywhere"
OBJECTS: dict[str, Any] = {"array": np.ndarray, "int": int, "float": float, "wake": wake}


class _Definition(ctypes.Structure):
    """A builtin function's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


#: METH_FASTCALL | METH_KEYWORDS.
_FASTCALL_KEYWORDS = 0x80 | 0x02


class Launcher:
    """The code in memory.

    Attributes
    ----------
    runtime
        The address of the table of functions and objects that the code uses.
    take, give
        A lease off a list of free ones (0: none is free), and back; no other Python thread comes between.
    repeat
        The loop of many runs; other Python threads run meanwhile.
    """

    def __init__(self, code: Any) -> None:
        addresses = [_address(name) for name in FUNCTIONS]
        setting, _ = config.float32_everywhere.buffer_info()
        self._table = plan.Words.of([*addresses, *map(id, OBJECTS.values()), setting], list(OBJECTS.values()))
        self.runtime = self._table.address
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self.take = ctypes.PYFUNCTYPE(number, pointer)(code.address("take"))
        self.give = ctypes.PYFUNCTYPE(None, pointer, pointer)(code.address("give"))
        kinds = [pointer] * 5 + [number] * 2
        self.repeat = ctypes.CFUNCTYPE(number, *kinds)(code.address("repeat"))
        documentation = b"Call the compiled function."
        self._definition = _Definition(b"call", code.address("call"), _FASTCALL_KEYWORDS, documentation)
        # Builtins may be called until the process ends: the code and its tables are never let go.
        for each in (code, self, self._definition, self._table):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))

    def builtin(self, desk: plan.Words) -> Any:
        """The builtin function of a desk, which it keeps."""
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
        return make(ctypes.addressof(self._definition), desk, None)


@functools.cache
def launcher() -> Launcher | None:
    """The launcher; None where Python or NumPy keep their data in other places than the code expects."""
    if not _is_ordinary():
        return None
    from symnet.backend.cpu import llvm

    key = None
    if config.cache:
        key = cache.key(["launcher", cache.emitter_fingerprint()])
        found = cache.load(key)
        if found is not None:
            return Launcher(llvm.load_object(found[0]))
    data = _compile()
    if key is not None:
        cache.store(key, data, {"name": "launcher"})
    return Launcher(llvm.load_object(data))


def _compile() -> bytes:
    from symnet.backend.cpu import llvm
    from symnet.backend.cpu.launcher_code import launcher_module
    from symnet.backend.cpu.machine import host_machine

    machine = host_machine()
    parsed = llvm.parse(launcher_module(), machine)
    llvm.optimise(parsed, machine, 2, loop_vectorise=False, slp_vectorise=False, loop_unroll=False)
    return llvm.emit_object(parsed, machine)


def _numpy_functions() -> Any:
    """NumPy's table of C functions, whose places are part of its binary interface."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    read = ctypes.pythonapi.PyCapsule_GetPointer
    read.restype = ctypes.c_void_p
    read.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = read(_multiarray_umath._ARRAY_API, None)
    return ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))


#: Places in NumPy's table, and the version of the interface that has them (NumPy 2).
_INTERFACE_VERSION, _NEW_FROM_DTYPE = 0, 94
_NEW_ARRAY = "PyArray_NewFromDescr"
_INTERFACE = 0x02000000


def _address(name: str) -> int:
    if name == _NEW_ARRAY:
        return int(_numpy_functions()[_NEW_FROM_DTYPE])
    found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert found is not None
    return found


def _is_ordinary() -> bool:
    """Whether objects, arrays, dtypes and scalars are laid out as the code reads them."""
    if (
        sys.implementation.name != "cpython"
        or sys.byteorder != "little"
        or ctypes.sizeof(ctypes.c_void_p) != 8
        or object.__basicsize__ != VALUE
        or sysconfig.get_config_var("Py_GIL_DISABLED")
        or not all(hasattr(ctypes.pythonapi, name) for name in FUNCTIONS if name != _NEW_ARRAY)
    ):
        return False

    def at(value: Any, offset: int, kind: Any = ctypes.c_int64) -> int:
        return int(kind.from_address(id(value) + offset).value)

    for shape in ((), (3,), (2, 3, 4)):
        for dtype in ("float32", ">i2", "bool"):
            for array in (np.zeros(shape, dtype), np.zeros(shape, dtype).T):
                interface = array.__array_interface__
                lengths = at(array, LENGTHS)
                found = [ctypes.c_int64.from_address(lengths + 8 * axis).value for axis in range(array.ndim)]
                regular = array.flags.c_contiguous | array.flags.aligned << 8
                if (
                    at(array, TYPE) != id(np.ndarray)
                    or at(array, DATA) != interface["data"][0]
                    or at(array, RANK, ctypes.c_int32) != array.ndim
                    or found != list(array.shape)
                    or at(array, DTYPE) != id(array.dtype)
                    or at(array, FLAGS, ctypes.c_int32) & REGULAR != regular
                    or at(array.dtype, DTYPE_WORD + 2, ctypes.c_uint8) != ord(array.dtype.byteorder)
                    or at(array.dtype, DTYPE_WORD + 4, ctypes.c_int32) != array.dtype.num
                ):
                    return False
    for value in (2.5, np.float32(2.5), np.float64(-1), np.int8(-3), np.int64(7), np.bool_(True)):
        data = np.asarray(value)
        if ctypes.string_at(id(value) + VALUE, data.nbytes) != data.tobytes():
            return False
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(_numpy_functions()[_INTERFACE_VERSION])
    return version() & 0xFF000000 == _INTERFACE
