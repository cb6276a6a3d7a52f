"""What is missing for CUDA is told as it is: package, driver, GPU, compute capability; and what "auto" means.

`python -m tests.cuda_backend.test_availability` writes the texts in golden/ anew; read the difference before
you keep it.
"""

import ctypes
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import pickle
import subprocess
import sys
from unittest import mock

import pytest

import symnet
from symnet.backend.cuda import availability as module
from symnet.backend.cuda.availability import availability
from symnet.backend.cuda.limits import device_limits, limits_of
from symnet.errors import ArgumentError, CudaError

GOLDEN = pathlib.Path(__file__).parent / "golden"


class Driver:
    """What libcuda.so answers, for a machine that is not here."""

    def __init__(self, version=13000, gpus=((9, 0),), fails=0):
        self.version, self.gpus, self.fails = version, gpus, fails

    def cuDriverGetVersion(self, place):
        place._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.fails

    def cuDeviceGetCount(self, place):
        place._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, place, number):
        place._obj.value = number
        return 0

    def cuDeviceGetName(self, name, length, handle):
        name.value = b"NVIDIA Example"
        return 0

    def cuDeviceTotalMem_v2(self, place, handle):
        place._obj.value = 80 << 30
        return 0

    def cuDeviceGetAttribute(self, place, attribute, handle):
        major, minor = self.gpus[handle.value]
        told = {13: 1_980_000, 16: 132, 36: 2_619_000, 37: 5120, 75: major, 76: minor}
        place._obj.value = told[attribute]
        return 0

    def cuGetErrorString(self, code, place):
        place._obj.value = b"system driver mismatch"
        return 0


def without_package(name):
    raise importlib.metadata.PackageNotFoundError(name)


def without_bindings(name):
    return without_package(name) if name == "cuda-bindings" else "1.0"


#: What is missing: the driver, the package's look-up, the environment.
MACHINES = {
    "no_package": (Driver(), without_package, {}),
    "no_bindings": (Driver(), without_bindings, {}),
    "no_driver": (None, None, {}),
    "an_old_driver": (Driver(12080), None, {}),
    "no_gpu": (Driver(gpus=()), None, {}),
    "a_hidden_gpu": (Driver(gpus=()), None, {"CUDA_VISIBLE_DEVICES": ""}),
    "no_gpu_by_its_code": (Driver(fails=100), None, {}),
    "a_driver_that_fails": (Driver(fails=803), None, {}),
    "an_old_gpu": (Driver(gpus=((7, 0),)), None, {}),
    "a_gpu": (Driver(), None, {}),
}


class Machine:
    """symnet on one of these machines."""

    def __init__(self, name):
        driver, version, environment = MACHINES[name]
        variables = {"NUMBA_ENABLE_CUDASIM": "0", **environment}
        kept = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES",)}
        self._patches = [
            mock.patch.object(module, "_load", lambda: driver),
            mock.patch.dict(os.environ, {**kept, **variables}, clear=True),
        ]
        version = version or (lambda package: "1.0")
        self._patches.append(mock.patch.object(module.importlib.metadata, "version", version))

    def __enter__(self):
        from symnet.compile import device

        for each in self._patches:
            each.start()
        availability.cache_clear()
        device._chosen.cache_clear()

    def __exit__(self, *caught):
        from symnet.compile import device

        for each in reversed(self._patches):
            each.stop()
        availability.cache_clear()
        device._chosen.cache_clear()


def message(name):
    with Machine(name):
        try:
            availability().require()
        except CudaError as error:
            lines = str(error).splitlines()
            return "\n".join(line for line in lines if not line.startswith(('  File "', "    "))) + "\n"
    raise AssertionError(f"{name} lacks nothing")


@pytest.mark.parametrize("name", [each for each in MACHINES if each != "a_gpu"])
def test_the_message_of(name):
    assert message(name) == (GOLDEN / f"{name}.txt").read_text()


def test_every_machine_has_a_text():
    texts = {path.stem for path in GOLDEN.glob("*.txt")}
    assert set(MACHINES) - {"a_gpu"} <= texts


def test_a_gpu_is_told_of():
    with Machine("a_gpu"):
        found = availability()
        found.require()
        assert found.problem is None and found.driver == 13000 and not found.simulated
        assert [str(each) for each in found.gpus] == ["NVIDIA Example, compute capability 9.0, 80.0 GiB"]


def test_the_limits_are_those_of_the_makers_data_sheet():
    """NVIDIA H100 SXM: 67 TFLOP/s of float32, 34 of float64 and 3.35 TB/s; A100: 19.5 TFLOP/s and 9.7."""
    with Machine("a_gpu"):
        limits = device_limits()
        (gpu,) = availability().gpus
    assert limits.flops["float32"] == pytest.approx(67e12, rel=0.01)
    assert limits.flops["float64"] == pytest.approx(34e12, rel=0.02)
    assert limits.bytes == pytest.approx(3.35e12, rel=0.01)
    older = dataclasses.replace(gpu, compute=(8, 0), multiprocessors=108, clock=1_410_000_000)
    assert limits_of(older).flops == pytest.approx({"float32": 19.5e12, "float64": 9.7e12}, rel=0.01)
    assert limits.seconds({"float32": 67_000}, 3350, 0, 0) == pytest.approx((1e-9, 1e-9), rel=0.01)
    assert device_limits().seconds({"float32": 5}, 4, 4, 8) == (0, 0)


def test_the_real_libraries_name_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name) or Driver())
    assert isinstance(module._load(), Driver) and asked == ["libcuda.so.1"]


@pytest.mark.parametrize("name", ["no_driver", "no_package", "no_gpu"])
def test_auto_is_the_cpu_where_there_is_none_and_says_why_once(name, capsys):
    x = symnet.tensor.dvector("x")
    with Machine(name):
        f = symnet.function([x], x * 2, device="auto")
        symnet.config.device = "auto"
        g = symnet.function([x], x * 3)
        problem = availability().problem
    assert f.device == g.device == "cpu" and g([1.0]).tolist() == [3.0]
    assert capsys.readouterr().err == f'symnet: device "auto": the CPU, as {problem}\n'


def test_auto_is_never_the_simulator(capsys):
    assert availability().simulated
    x = symnet.tensor.dvector("x")
    from symnet.compile import device

    device._chosen.cache_clear()
    assert symnet.function([x], x * 2, device="auto").device == "cpu"
    assert "device \"auto\": the CPU, as " in capsys.readouterr().err


def test_auto_is_the_gpu_where_there_is_one(capsys, monkeypatch):
    from symnet.backend.cuda import runtime
    from symnet.compile.device import resolve_device

    monkeypatch.setattr(runtime, "find_device", lambda: None)
    with Machine("a_gpu"):
        assert resolve_device("auto") == "cuda"
    assert capsys.readouterr().err == (
        'symnet: device "auto": NVIDIA Example, compute capability 9.0, 80.0 GiB\n'
    )


def test_auto_is_the_cpu_where_the_gpu_can_not_be_set_up(capsys, monkeypatch):
    from symnet.backend.cuda import runtime
    from symnet.compile.device import resolve_device

    def fails():
        raise CudaError("NVIDIA Example is busy")

    monkeypatch.setattr(runtime, "find_device", fails)
    with Machine("a_gpu"):
        assert resolve_device("auto") == "cpu"
    assert capsys.readouterr().err == 'symnet: device "auto": the CPU, as NVIDIA Example is busy\n'


def test_cuda_is_an_error_where_it_can_not_be_used():
    x = symnet.tensor.dvector("x")
    with Machine("no_driver"):
        with pytest.raises(CudaError, match="there is no NVIDIA driver") as caught:
            symnet.function([x], x * 2, device="cuda")
        assert caught.value.source is not None and "symnet.function" in caught.value.source.text
        symnet.config.device = "gpu0"
        with pytest.raises(CudaError, match="there is no NVIDIA driver"):
            symnet.function([x], x * 2)
        assert symnet.function([x], x * 2, device="cpu")([1.0]).tolist() == [2.0]
        assert symnet.function([x], x * 2, mode="reference")([1.0]).tolist() == [2.0]


@pytest.mark.parametrize("name", ["tpu", "cuda1", "gpu7", "", 0])
def test_a_device_of_no_one(name):
    x = symnet.tensor.dvector("x")
    with pytest.raises(ArgumentError, match="expected one of 'cpu', 'cuda', 'auto'") as caught:
        symnet.function([x], x * 2, device=name)
    assert ("CUDA_VISIBLE_DEVICES=" in str(caught.value)) == (name in ("cuda1", "gpu7"))


def test_a_pickled_function_runs_where_the_settings_say_unless_its_device_was_named():
    x = symnet.tensor.dvector("x")
    f = symnet.function([x], x * 2)
    text = pickle.dumps(f)
    assert pickle.loads(text)([1.0]).tolist() == [2.0]
    with Machine("no_gpu"):
        symnet.config.device = "cuda"
        with pytest.raises(CudaError, match="shows no GPU"):
            pickle.loads(text)
        named = symnet.function([x], x * 2, device="cpu")
        assert pickle.loads(pickle.dumps(named)).device == "cpu"


PROGRAM = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import symnet.theano
    symnet.theano.install()
    import theano, theano.tensor as T, numpy as np
x = T.fmatrix("x")
f = theano.function([x], T.exp(x).sum())
value, told = float(f(np.zeros((2, 3), "f"))), [str(each.message) for each in told]
print(json.dumps([theano.config.device, f.device, value, told]))
"""


def run(program=PROGRAM, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_ENABLE_CUDASIM", "CUDA_VISIBLE_DEVICES")}
    return subprocess.run(
        [sys.executable, "-c", program], env={**kept, **environment}, capture_output=True, text=True
    )


def cuda_is_missing():
    with mock.patch.dict(os.environ, {"NUMBA_ENABLE_CUDASIM": "0"}):
        availability.cache_clear()
        found = availability().problem
    availability.cache_clear()
    return found


def test_a_program_started_with_theanos_flag_runs_without_a_gpu():
    missing = cuda_is_missing()
    done = run(THEANO_FLAGS="device=cuda1,floatX=float32")
    assert done.returncode == 0, done.stderr
    setting, device, value, told = json.loads(done.stdout)
    assert (setting, value) == ("auto", 6.0) and device == ("cuda" if missing is None else "cpu")
    assert len(told) == 1 and "CUDA_VISIBLE_DEVICES=1" in told[0]
    assert done.stderr.count("\n") == 1 and done.stderr.startswith('symnet: device "auto": ')


def test_theanos_force_device_makes_it_an_error():
    missing = cuda_is_missing()
    done = run(THEANO_FLAGS="device=gpu0,force_device=True,floatX=float32")
    if missing is None:
        assert done.returncode == 0 and json.loads(done.stdout)[1] == "cuda"
    else:
        assert done.returncode != 0 and missing in done.stderr


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in MACHINES:
        if each != "a_gpu":
            (GOLDEN / f"{each}.txt").write_text(message(each))
