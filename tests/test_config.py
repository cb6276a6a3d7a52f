"""The settings: allowed values, blocks of one thread, the environment."""

import os
import subprocess
import sys
import threading

import pytest

import symnet
import symnet.tensor as T
from symnet.errors import ArgumentError


def settings_with(
    show="symnet.config.floatX, symnet.config.mode, symnet.config.cache", **environment
):
    code = f"import symnet; print({show})"
    given = {k: v for k, v in os.environ.items() if not k.startswith("SYMNET_")}
    given.update(environment)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=given)


def test_the_defaults():
    found = {name: getattr(symnet.config, name) for name in ("floatX", "mode", "device", "on_unused_input")}
    assert found == {"floatX": "float64", "mode": "default", "device": "cpu", "on_unused_input": "raise"}
    assert "floatX = 'float64'" in repr(symnet.config)


@pytest.mark.parametrize(
    "name, value",
    [("floatX", "float16"), ("mode", "fast"), ("device", "tpu"), ("on_unused_input", "maybe"), ("debug", 9)],
)
def test_a_value_that_is_not_allowed(name, value):
    before = getattr(symnet.config, name)
    with pytest.raises(ValueError, match=f"config.{name} = {value!r}: expected one of"):
        setattr(symnet.config, name, value)
    with pytest.raises(ValueError, match=name), symnet.config.override(**{name: value}):
        pass
    assert getattr(symnet.config, name) == before


def test_a_setting_that_is_not_there():
    with pytest.raises(AttributeError, match="no setting 'floatx'.*floatX"):
        symnet.config.floatx = "float32"
    with pytest.raises(AttributeError, match="no setting 'floatx'"):
        symnet.config.floatx  # noqa: B018
    with pytest.raises(AttributeError, match="no setting 'floatx'"), symnet.config.override(floatx="float32"):
        pass


def test_an_override_ends_with_its_block():
    with symnet.config.override(floatX="float32", mode="reference"):
        assert (T.matrix().dtype, symnet.config.mode) == ("float32", "reference")
        with symnet.config.override(floatX="float64"):
            assert (T.matrix().dtype, symnet.config.mode) == ("float64", "reference")
        assert T.matrix().dtype == "float32"
    assert T.matrix().dtype == "float64"
    with pytest.raises(RuntimeError), symnet.config.override(floatX="float32"):
        raise RuntimeError
    assert symnet.config.floatX == "float64"


def test_an_override_is_of_one_thread():
    seen = []
    with symnet.config.override(floatX="float32"):
        thread = threading.Thread(target=lambda: seen.append(symnet.config.floatX))
        thread.start()
        thread.join()
    assert seen == ["float64"]


@pytest.mark.parametrize(
    "name, means", [("FAST_RUN", "default"), ("FAST_COMPILE", "default"), ("DebugMode", "reference")]
)
def test_theanos_modes_have_a_meaning(name, means):
    symnet.config.mode = name
    assert symnet.config.mode == means


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, "float64 default True"),
        ({"SYMNET_FLOATX": "float32"}, "float32 default True"),
        ({"SYMNET_MODE": "reference", "SYMNET_CACHE": "0"}, "float64 reference False"),
        ({"THEANO_FLAGS": "device=cuda0,floatX=float32,optimizer=fast_run"}, "float32 default True"),
        ({"THEANO_FLAGS": "floatX=float32", "SYMNET_FLOATX": "float64"}, "float64 default True"),
    ],
)
def test_the_environment(environment, expected):
    done = settings_with(**environment)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, "cpu"),
        ({"SYMNET_DEVICE": "cuda"}, "cuda"),
        ({"SYMNET_DEVICE": "gpu0"}, "cuda"),
        ({"SYMNET_DEVICE": "Auto"}, "auto"),
        ({"THEANO_FLAGS": "device=cpu"}, "cpu"),
        ({"THEANO_FLAGS": "device=gpu"}, "auto"),
        ({"THEANO_FLAGS": "device=cuda0,force_device=True"}, "cuda"),
        ({"THEANO_FLAGS": "device=cuda0,force_device=False"}, "auto"),
        ({"THEANO_FLAGS": "device=opencl0:0"}, "cpu"),
        ({"THEANO_FLAGS": "device=cuda", "SYMNET_DEVICE": "cpu"}, "cpu"),
    ],
)
def test_the_device_by_the_environment(environment, expected):
    done = settings_with(show="symnet.config.device", **environment)
    assert done.stdout.strip() == expected, done.stderr


def test_a_gpus_number_is_told_how_to_choose():
    done = settings_with(SYMNET_DEVICE="cuda1")
    assert done.returncode != 0 and "CUDA_VISIBLE_DEVICES=1 in the environment" in done.stderr
    with pytest.raises(ArgumentError, match="CUDA_VISIBLE_DEVICES=3 in the environment"):
        symnet.config.device = "gpu3"
    for name in ("gpu", "cuda0", "gpu0", "cuda"):
        with symnet.config.override(device=name):
            assert symnet.config.device == "cuda"


def test_an_environment_that_makes_no_sense_is_refused():
    done = settings_with(SYMNET_FLOATX="double")
    assert done.returncode != 0
    assert "floatX='double' is not one of float32, float64" in done.stderr
