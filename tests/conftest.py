"""Takes a run of the tests, hands each test symnet's defaults and the run a cache of its own.

Compiled code is kept in one folder for all workers of a run and removed after it, so that nothing a
test finds was compiled by another version of symnet.
"""

import os
import shutil
import tempfile

import pytest

_CACHE = "SYMNET_CACHE_DIR"
_IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ

# What the user has set must not change what the tests see; symnet reads it when it is imported.
for _name in [each for each in os.environ if each.startswith("SYMNET_") or each == "THEANO_FLAGS"]:
    if not (_IS_WORKER and _name == _CACHE):
        del os.environ[_name]
# Kernels for CUDA run in its simulator, which must be known before numba.cuda is first imported.
# Processes that simulate nothing, as a user's, are of their own (tests/cuda_backend/processes.py).
os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
if not _IS_WORKER:
    os.environ[_CACHE] = tempfile.mkdtemp(prefix="symnet-tests-")


def pytest_unconfigure(config):
    if not _IS_WORKER:
        shutil.rmtree(os.environ[_CACHE], ignore_errors=True)


@pytest.fixture(autouse=True)
def default_settings():
    """Every test begins and ends with the settings as they were."""
    from symnet.config import config

    before = dict(vars(config)["_values"])
    yield
    for name, value in before.items():
        if vars(config)["_values"][name] != value:
            # Not past those who listen to a setting.
            setattr(config, name, value)


@pytest.fixture(params=["reference", "default"])
def mode(request):
    """Each of the modes that run a function."""
    from symnet.config import config

    config.mode = request.param
    return request.param
