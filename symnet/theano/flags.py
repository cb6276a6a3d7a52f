"""`theano.config`: takes Theano's flags, hands on symnet's settings where they have a meaning here.

A flag that has none keeps whatever value a program gives it, starting from Theano's own default, so
that a program which sets or prints it runs. `symnet.config` itself knows symnet's settings only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from symnet.config import config as settings
from symnet.config import device_of_theano
from symnet.errors import ArgumentError

#: Theano's words for `config.test_values`.
_TEST_VALUES: dict[str, Any] = {"off": False, "ignore": True, "warn": "warn", "raise": "raise"}
#: Flags without a meaning here, with Theano's defaults; a dot makes a section.
DEFAULTS: dict[str, Any] = {
    "DebugMode.check_c": False,
    "DebugMode.check_finite": True,
    "DebugMode.check_strides": 0,
    "NanGuardMode.action": "raise",
    "NanGuardMode.big_is_error": True,
    "NanGuardMode.inf_is_error": True,
    "NanGuardMode.nan_is_error": True,
    "allow_gc": True,
    "assert_no_cpu_op": "ignore",
    "base_compiledir": "",
    "blas.ldflags": "",
    "cast_policy": "custom",
    "check_input": True,
    "cmodule.warn_no_version": False,
    "compile.timeout": 120,
    "compile.wait": 5,
    "compiledir": "",
    "compute_test_value": "off",
    "compute_test_value_opt": "off",
    "contexts": "",
    "conv.assert_shape": False,
    "cuda.root": "",
    "cxx": "",
    "deterministic": "default",
    "dnn.conv.algo_bwd_data": "none",
    "dnn.conv.algo_bwd_filter": "none",
    "dnn.conv.algo_fwd": "small",
    "dnn.enabled": "False",
    "dnn.include_path": "",
    "dnn.library_path": "",
    "exception_verbosity": "low",
    "experimental.unpickle_gpu_on_cpu": False,
    "force_device": False,
    "gcc.cxxflags": "",
    "gpuarray.preallocate": 0.0,
    "gpuarray.sched": "default",
    "init_gpu_device": "",
    "int_division": "int",
    "lib.amdlibm": False,
    "lib.cnmem": 0.0,
    "linker": "cvm",
    "nvcc.fastmath": False,
    "numpy.seterr_all": "ignore",
    "on_opt_error": "warn",
    "on_shape_error": "warn",
    "openmp": False,
    "openmp_elemwise_minsize": 200000,
    "optimizer": "o4",
    "optimizer_excluding": "",
    "optimizer_including": "",
    "optimizer_verbose": False,
    "print_active_device": True,
    "print_test_value": False,
    "profile": False,
    "profile_memory": False,
    "profile_optimizer": False,
    "profiling.destination": "stderr",
    "profiling.n_apply": 20,
    "profiling.n_ops": 20,
    "profiling.time_thunks": True,
    "reoptimize_unpickled_function": False,
    "scan.allow_gc": False,
    "scan.allow_output_prealloc": True,
    "tensor.cmp_sloppy": 0,
    "traceback.limit": 8,
    "unittests.rseed": "666",
    "vm.lazy": None,
    "warn.ignore_bug_before": "0.9",
    "warn.round": False,
    "warn.signal_conv2d_interface": False,
    "warn_float64": "ignore",
}


class Flags:
    """`theano.config`, or one of its sections such as `theano.config.dnn`."""

    def __init__(self, section: str = "") -> None:
        self.__dict__["_section"] = section
        self.__dict__["_given"] = {}
        self.__dict__["_sections"] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not self._section and hasattr(settings, name):
            return getattr(settings, name)
        if name in self._given:
            return self._given[name]
        path = f"{self._section}{name}"
        if path == "compute_test_value":
            return next(word for word, value in _TEST_VALUES.items() if value is settings.test_values)
        if path in DEFAULTS:
            return DEFAULTS[path]
        if name in self._sections or any(flag.startswith(path + ".") for flag in DEFAULTS):
            return self._sections.setdefault(name, Flags(path + "."))
        raise AttributeError(f"theano.config has no flag {path!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        path = f"{self._section}{name}"
        if not self._section and hasattr(settings, name):
            if name == "device":
                value = _device(value, bool(self.force_device))
            setattr(settings, name, value)
        elif path == "compute_test_value":
            if value not in _TEST_VALUES:
                raise ArgumentError(
                    f"config.{path} = {value!r}: one of {', '.join(map(repr, _TEST_VALUES))} is expected"
                )
            settings.test_values = _TEST_VALUES[value]
        else:
            self._given[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._given:
            raise AttributeError(f"theano.config has no value for {self._section}{name!r} to delete")
        del self._given[name]

    def __repr__(self) -> str:
        own = [flag for flag in DEFAULTS if flag.startswith(self._section)]
        names = sorted(flag.removeprefix(self._section) for flag in own)
        lines = [f"{self._section}{each} = {_value(self, each)!r}" for each in names]
        return "\n".join(lines if self._section else [repr(settings), *lines])


def _device(value: Any, force: bool) -> str:
    """The setting that Theano's name of a device means."""
    found = device_of_theano(value, force) if isinstance(value, str) else None
    if found is None:
        raise ArgumentError(
            f'config.device = {value!r}: "cpu", or "cuda" (or "gpu", "cuda0", "gpu0") for an NVIDIA GPU, is '
            "expected"
        )
    return found


def use(device: str, force: bool = False, **options: Any) -> None:
    """`theano.gpuarray.use`, and `theano.sandbox.cuda.use`: functions made from now on run there."""
    settings.device = _device(device, force)


def _value(flags: Flags, path: str) -> Any:
    found: Any = flags
    for part in path.split("."):
        found = getattr(found, part)
    return found


config = Flags()


@contextlib.contextmanager
def change_flags(**flags: Any) -> Iterator[None]:
    """Flags for the duration of a block, or of each call where it decorates a function."""
    before = {name: getattr(config, name) for name in flags}
    try:
        for name, value in flags.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def dnn_available(context_name: str | None = None) -> bool:
    """Whether cuDNN can be used: no."""
    return False
