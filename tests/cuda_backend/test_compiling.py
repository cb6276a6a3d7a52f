"""Kernels compiled, several at once; what is refused and what is missing is told."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import symnet
from symnet.backend.cuda import libraries, memory_code, numba_code, nvvm
from symnet.backend.cuda.compiling import Job, compile_all, compile_one
from symnet.backend.cuda.memory_texts import NAMES
from symnet.backend.cuda.runtime import COMPILERS
from symnet.errors import CompileError, CudaError


def job(name: str, factor: str) -> Job:
    source = f"def {name}(a, slots, state):\n    a[cuda.threadIdx.x] *= {factor}\n"
    return Job(source, name, ("float32", "int64", "int64"), (9, 0), 128)


@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_are_compiled_on_several_threads(threads):
    jobs = [job(f"times_{number}", f"np.float32({number})") for number in range(5)]
    with symnet.config.override(threads=threads):
        made = compile_all(jobs)
    for each, (ptx, linked) in zip(jobs, made, strict=True):
        assert f".visible .entry {each.name}(" in ptx and ".target sm_90" in ptx
        assert linked.binary[:4] == b"\x7fELF" and 0 < linked.registers < 64
    assert made == [compile_one(each) for each in jobs]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_text_that_is_refused_is_told_at_the_users_line(threads):
    said = r"kernel once can't be compiled: nothing_of_that_name has no value in line 2: a\["
    jobs = [job("twice", "np.float32(2)"), job("once", "nothing_of_that_name")]
    with symnet.config.override(threads=threads), pytest.raises(CompileError, match=said) as told:
        compile_all(jobs)
    assert told.value.source is not None and told.value.source.file == __file__


@pytest.mark.parametrize(("name", "package"), [("nvvm", "cuda-bindings"), ("nvjitlink", "cuda-bindings")])
def test_bindings_that_are_missing(monkeypatch, name, package):
    libraries.library.cache_clear()
    monkeypatch.setitem(sys.modules, f"cuda.bindings.{name}", None)
    with pytest.raises(CudaError, match=f"by the package {package}, which can't be loaded") as told:
        compile_all([job("twice", "np.float32(2)"), job("thrice", "np.float32(3)")])
    assert told.value.source is not None and told.value.source.file == __file__
    assert "symnet[cuda]" in told.value.hint


def test_a_library_that_is_missing(monkeypatch):
    libraries.library.cache_clear()

    def version():
        raise RuntimeError("libnvJitLink.so not found")

    monkeypatch.setattr("cuda.bindings.nvjitlink.version", version)
    with pytest.raises(CudaError, match="by the package nvidia-nvjitlink, which can't be loaded: lib"):
        compile_one(job("twice", "np.float32(2)"))


def test_libdevice_that_is_missing(monkeypatch):
    from cuda import pathfinder

    def find(name):
        raise pathfinder.BitcodeLibNotFoundError(name)

    nvvm.libdevice.cache_clear()
    monkeypatch.setattr(pathfinder, "find_bitcode_lib", find)
    with pytest.raises(CudaError, match="by the package nvidia-nvvm, which can't be loaded: device"):
        compile_one(job("twice", "np.float32(2)"))


def test_what_is_cached_follows_from_the_source_of_all_that_compiles():
    """A changed module would else leave old machine code in use."""
    code = (
        "import sys; from symnet.backend.cuda import linker, nvvm, toolkit;"
        "source = 'def k(a, slots, state):\\n    a[cuda.threadIdx.x] = math.exp(a[0])\\n';"
        "arguments = (source, 'k', ('float32', 'int64', 'int64'), (9, 0));"
        "toolkit.compile(*arguments);"
        "ptx = nvvm.compile(*arguments);"
        "linker.link_for(ptx, 'k', (9, 0), 128);"
        "print(*(each for each in sys.modules if each.startswith('symnet.backend.cuda.')))"
    )
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    # What the simulator computes with is part of no code.
    assert loaded - {"scalar_values", "memory_texts"} == set(COMPILERS)


def test_names_are_written_by_several_threads_from_the_first_on():
    """llvmlite fills a table with the first name; here slowly, were it not full before."""
    code = (
        "import threading, time\n"
        "from symnet.backend.cuda import nvvm\n"
        "def slowly(frame, event, told):\n"
        "    time.sleep(1e-3 if frame.f_code.co_filename.endswith('values.py') else 0)\n"
        "    return slowly\n"
        "names = [nvvm.ir.MetaDataString(nvvm.ir.Module(), 'kernel') for _ in range(3)]\n"
        "threading.settrace(slowly)\n"
        "threads = [threading.Thread(target=str, args=[each]) for each in names]\n"
        "for each in threads: each.start(), time.sleep(0.05)\n"
        "for each in threads: each.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_in_the_cache_is_found_without_a_compiler(tmp_path, monkeypatch):
    """A program that starts a second time imports neither Numba nor LLVM."""
    monkeypatch.setenv("SYMNET_CACHE_DIR", str(tmp_path))
    code = (
        "import sys, symnet, symnet.tensor as T;"
        "x = T.fvector();"
        "f = symnet.function([x], T.exp(x).sum());"
        "print(len(symnet.inspect.gpu_code(f, [1, 2, 3])));"
        "print(*(each for each in ('numba', 'llvmlite') if each in sys.modules))"
    )
    said = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.splitlines())
    assert said == [["1", "llvmlite"], ["1", ""]]


def test_all_that_compiles_has_what_the_simulator_has():
    assert set(numba_code.functions_of_memory()) == set(NAMES)
    moves = {*memory_code.LOADS, *memory_code.STORES, *memory_code.SHARED_LOADS}
    assert moves < set(NAMES)
