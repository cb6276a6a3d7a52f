"""Takes the name of a system and a Python that has it, hands on its process, asked line by line.
The other end of the conversation, and what may be asked, is serve.py."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = "symnet"
PEERS = sorted(
    path.name.removesuffix("_peer.py")
    for path in (HERE / "peers").glob("*_peer.py")
    if path.name != f"{OURS}_peer.py"
)
# Whatever library a system's library calls, it takes as many threads as the run is told.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class BenchmarkError(Exception):
    """Something that the user can mend, or a system that failed; the message says all."""


class MissingLibraryError(BenchmarkError):
    """A system whose library its Python does not have."""


class System:
    """A library to be measured, and how its processes are started.

    python
        The path of an interpreter, or of a script that takes its arguments as one does.
    threads
        What its processes are told to use; what they do use, they say themselves.
    peers
        The folder of programs, one of which says how this system does the workloads.
    program
        Which of them, if it is not called as the system is.
    variables
        What its processes find in their environment, beside what its program wants.
    deadline
        When (by time.monotonic) a reply that has not come is no longer waited for.
    """

    def __init__(
        self,
        name: str,
        python: str,
        threads: int,
        peers: str = "peers",
        program: str | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        found = shutil.which(python)
        if found is None:
            raise BenchmarkError(
                f"{name}: {python} can't be run\n"
                f"  expected: --python {name}=PATH, of a Python that has {name}"
            )
        self.name, self.python, self.threads = name, found, threads
        self.peers, self.program = peers, program or name
        self.variables = variables or {}
        self.deadline = float("inf")
        self.described: dict[str, object] = {}

    def start(self, cache: Path) -> "Process":
        """A new process with its library imported, and `cache` as its cache on disk.

        Raises MissingLibraryError when its Python does not have it, BenchmarkError when it fails.
        """
        process = Process(self, cache)
        self.described = {
            "threads": process.hello["threads"],
            "versions": process.hello["versions"],
        }
        return process


class Process:
    """A running system. It is a context manager, at whose end the process ends."""

    def __init__(self, system: System, cache: Path) -> None:
        self.system = system
        environment = dict(os.environ)
        # Else no import would find what Python compiled at the last one.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment.update({name: str(system.threads) for name in THREAD_VARIABLES})
        peer = import_module(f"{system.peers}.{system.program}_peer")
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment.update(system.variables)
        environment.update(peer.environment(system.threads, str(cache)))
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - until close()
        self._process = subprocess.Popen(
            [system.python, str(HERE / "serve.py"), system.program, str(system.threads), system.peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env=environment,
        )
        try:
            self.hello = self._reply("start")
            if "missing" in self.hello:
                raise MissingLibraryError(
                    f"{system.name}: {system.python} has no package {self.hello['missing']}\n"
                    f"  hint: name a Python that has it: --python {system.name}=PATH"
                )
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **arguments: object) -> dict:
        """The reply to a request; BenchmarkError, with the process's own words, when it fails."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended: the reply that does not come says so
        return self._reply(do)

    def _reply(self, do: str) -> dict:
        assert self._process.stdout is not None
        self._wait(do)
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._complaints.seek(0)
            said = self._complaints.read()[-3000:]
            raise BenchmarkError(f"{self.system.name}: ended with status {status} at {do}\n{said}")
        reply = json.loads(line)
        if "error" in reply:
            raise BenchmarkError(f"{self.system.name}: failed at {do}\n{reply['error']}")
        return reply

    def _wait(self, do: str) -> None:
        """Until a reply begins; it is one line, written at once."""
        left = self.system.deadline - time.monotonic()
        if left == float("inf"):
            return
        if not select.select([self._process.stdout], [], [], max(0.0, left))[0]:
            raise BenchmarkError(f"{self.system.name}: out of time at {do}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            stream.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def systems(peers: list[str] | None, pythons: dict[str, str], threads: int) -> list[System]:
    """symnet and its peers; None for every peer that is installed.

    Raises BenchmarkError for a name that is no peer, or a peer asked for that is not installed.
    """
    unknown = [name for name in [*(peers or []), *pythons] if name not in (*PEERS, OURS)]
    if unknown:
        raise BenchmarkError(f"no peer is called {unknown[0]!r}\n  there are: {', '.join(PEERS)}")
    found = []
    for name in [OURS, *(PEERS if peers is None else peers)]:
        system = System(name, pythons.get(name, sys.executable), threads)
        with tempfile.TemporaryDirectory() as cache:
            try:
                system.start(Path(cache)).close()
            except MissingLibraryError:
                if name == OURS or peers is not None or name in pythons:
                    raise
                continue
        found.append(system)
    return found
