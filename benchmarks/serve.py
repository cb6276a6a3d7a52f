"""Takes requests for one system, a line of JSON each, on stdin; hands on a line of JSON for each on
stdout. It runs in that system's own process and environment, under whatever Python that has:

    python serve.py NAME THREADS

The first line is its own: {"import_seconds", "threads", "versions"}, or {"missing": package}. Then

    {"do": "prepare", "kind", "settings"}    makes the workload and calls it once: {"seconds"}
    {"do": "call", "before", "count"}        calls it before + count times: {"seconds"} of the count
    {"do": "moved", "calls"}                 {"moved"}: how far `calls` calls in all moved each
                                             result from where it began, or null: not comparable
    {"do": "memory"}                         {"bytes"}: the most that the process has held

and any of them gives {"error": traceback} where it fails.
"""

import gc
import importlib
import importlib.util
import json
import os
import resource
import sys
import time
import traceback


class Served:
    """The one workload of this process.

    A peer's function of the workload's kind takes its inputs and gives three functions: what is
    called with the number of a call; what waits until all calls are done, for libraries whose calls
    come back before; and what gives the results so far, as NumPy arrays, whose beginnings are the
    inputs' "params".
    """

    def __init__(self, peer):
        self.peer = peer
        self.made = 0

    def prepare(self, kind, settings):
        import workloads

        self.inputs = workloads.inputs(kind, settings)
        started = time.perf_counter()
        self.function, self.wait, self.results = getattr(self.peer, kind)(self.inputs)
        self._call(1)
        return {"seconds": time.perf_counter() - started}

    def call(self, before, count):
        self._call(before)
        return {"seconds": self._call(count)}

    def _call(self, count):
        """Call on from where the calls so far ended; the seconds it took."""
        numbers = [i % self.inputs["mini_batches"] for i in range(self.made, self.made + count)]
        self.made += count
        function, wait = self.function, self.wait
        gc.collect()
        gc.disable()
        started = time.perf_counter()
        for i in numbers:
            function(i)
        wait()
        seconds = time.perf_counter() - started
        gc.enable()
        return seconds

    def moved(self, calls):
        import numpy as np

        self._call(calls - self.made)
        if not self.inputs["compared"]:
            return {"moved": None}
        # Some peers' Pythons are too old for zip(strict=True).
        pairs = zip(self.results(), self.inputs["params"])  # noqa: B905
        return {"moved": [float(np.linalg.norm(now - first)) for now, first in pairs]}

    def memory(self):
        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"bytes": kibibytes * (1 if sys.platform == "darwin" else 1024)}


def hello(peer, threads):
    """Import the library, timed; what the first line says."""
    if importlib.util.find_spec(peer.PACKAGE) is None:
        return {"missing": peer.PACKAGE}
    started = time.perf_counter()
    importlib.import_module(peer.PACKAGE)
    seconds = time.perf_counter() - started
    described = peer.start(threads)
    import numpy

    described["versions"]["python"] = sys.version.split()[0]
    described["versions"]["numpy"] = numpy.__version__
    described["import_seconds"] = seconds
    return described


def reply_to(function, arguments):
    try:
        return function(**arguments)
    except Exception:
        return {"error": traceback.format_exc()}


def main():
    # Stdout is for replies alone: what a library prints goes to stderr.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(said):
        replies.write(json.dumps(said) + "\n")
        replies.flush()

    peer = importlib.import_module(f"peers.{sys.argv[1]}_peer")
    first = reply_to(hello, {"peer": peer, "threads": int(sys.argv[2])})
    reply(first)
    if "import_seconds" not in first:
        return
    served = Served(peer)
    for line in sys.stdin:
        asked = json.loads(line)
        reply(reply_to(getattr(served, asked.pop("do")), asked))


if __name__ == "__main__":
    main()
