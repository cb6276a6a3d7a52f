"""Takes requests for one system, a line of JSON each, on stdin; hands on a line of JSON for each on
stdout. It runs in that system's own process and environment, under whatever Python that has:

    python serve.py NAME THREADS [FOLDER]

FOLDER holds the program NAME_peer.py that says how the system does the workloads: peers, if not said.
The first line is its own: {"import_seconds", "threads", "versions"}, or {"missing": package}. Then

    {"do": "first", "kind", "settings"}      makes the workload in its usual form and calls it once:
                                             {"seconds"}; and, after some calls more, {"bytes",
                                             "grown"}: the most memory that the process has held, and
                                             how much that is above what it held after the import
    {"do": "prepare", "kind", "settings", "compared"}
                                             makes every form that the system has of the workload and
                                             calls it so often: {}, or {"absent": why}
    {"do": "train", "kind", "settings", "calls"}
                                             makes the workload in its usual form and calls it so often:
                                             {"costs", "digest"}, the results of all calls in one list
    {"do": "choose"}                         keeps the fastest form: {"form", "digest", "seconds"}
    {"do": "call", "before", "count"}        calls it before + count times: {"seconds"} of one call, the
                                             median over bursts of calls
    {"do": "once", "kind", "settings"}       what the workload itself says it took, part by part:
                                             {"seconds", "bytes"} or {"absent": why}
    {"do": "limits"}                         what the machine can do (symnet's alone)

and any of them gives {"error": traceback} where it fails. The digest is two numbers for each result, or, of
training steps, for how far each parameter moved in the calls that are compared (or in one call of many): its
length as a vector, and its projection on a fixed one; None where systems draw numbers of their own.
"""

import gc
import importlib
import importlib.util
import json
import os
import re
import resource
import statistics
import sys
import time
import traceback

CALLS_AFTER_FIRST = 5
# For how long each form of a workload is called before the fastest is kept.
CHOICE_SECONDS = 0.03
BURST_SECONDS = 0.0005


class Form:
    """One way in which a system does a workload.

    function
        What is called, with the number of the call.
    wait
        Waits until all calls are done, for libraries whose calls come back before.
    results
        The results so far, as NumPy arrays, whose beginnings are the inputs' "params" if there are any.
    """

    def __init__(self, function, wait, results, inputs):
        self.function, self.wait, self.results = function, wait, results
        self.inputs = inputs
        self.made = 0

    def call(self, count):
        """Call on from where the calls so far ended; the seconds it took."""
        calls = self.inputs.get("calls", 1)
        numbers = [i % calls for i in range(self.made, self.made + count)]
        self.made += count
        function, wait = self.function, self.wait
        started = time.perf_counter()
        for i in numbers:
            function(i)
        wait()
        return time.perf_counter() - started

    def digest(self):
        import numpy as np

        if not self.inputs.get("compared", True):
            return None
        found = []
        results = self.results()
        params = self.inputs.get("params") or [0] * len(results)
        # Some peers' Pythons are too old for zip(strict=True).
        for result, param in zip(results, params):  # noqa: B905
            vector = np.subtract(result, param, dtype=np.float64).ravel()
            fixed = np.arange(len(vector)) * 7919 % 1009 / 504.0 - 1
            found.append([float(np.linalg.norm(vector)), float(vector @ fixed / np.linalg.norm(fixed))])
        return found


class Served:
    """The workload of this process."""

    def __init__(self, peer, resident):
        self.peer, self.resident = peer, resident
        self.form = None
        self.made = []

    def _forms(self, kind, inputs):
        """(name, form) of each form, the usual one first; made only when it is asked for."""
        self.form = None
        trained = getattr(self.peer, kind, None)
        if trained is not None:
            made = trained(inputs)
            forms = made if isinstance(made, dict) else {"": lambda: made}
            for name, make in forms.items():
                yield name, Form(*make(), inputs)
            return
        kernels = importlib.import_module(self.peer.__name__.replace("_peer", "_kernels"))
        shown = getattr(kernels, "shown", lambda kind, inputs, results: results)
        for name, call in kernels.kernel(kind, inputs).items():

            def results(call=call):
                import numpy as np

                found = call()
                found = found if isinstance(found, (list, tuple)) else [found]
                return [np.asarray(each) for each in shown(kind, inputs, found)]

            yield name, Form(lambda i, call=call: call(), lambda: None, results, inputs)

    def first(self, kind, settings):
        import workloads
        from workloads.absent import AbsentError

        inputs = workloads.inputs(kind, settings)
        started = time.perf_counter()
        try:
            _, self.form = next(self._forms(kind, inputs))
        except AbsentError as error:
            return {"absent": str(error)}
        self.form.call(1)
        seconds = time.perf_counter() - started
        self.form.call(CALLS_AFTER_FIRST)
        return {"seconds": seconds, **self.memory()}

    def prepare(self, kind, settings, compared):
        import workloads
        from workloads.absent import AbsentError

        inputs = workloads.inputs(kind, settings)
        self.made = []
        try:
            for name, form in self._forms(kind, inputs):
                # Steps are compared while they are few: rounding alone drives them apart in the end.
                form.call(max(1, compared // inputs.get("steps", 1)))
                self.made.append((name, form, form.digest()))
        except AbsentError as error:
            return {"absent": str(error)}
        return {}

    def train(self, kind, settings, calls):
        import numpy as np
        import workloads

        _, self.form = next(self._forms(kind, workloads.inputs(kind, settings)))
        costs = [self.form.function(i) for i in range(calls)]
        self.form.wait()
        costs = np.concatenate([np.asarray(each, np.float64).ravel() for each in costs])
        return {"costs": costs.tolist(), "digest": self.form.digest()}

    def choose(self):
        best = None
        for name, form, digest in self.made:
            seconds = form.call(1)
            if seconds < CHOICE_SECONDS or len(self.made) > 1:
                count = 1 + int(CHOICE_SECONDS / max(1e-7, form.call(2) / 2))
                seconds = min(form.call(count) / count for _ in range(3))
            if best is None or seconds < best:
                best, self.form = seconds, form
                chosen = {"form": name, "digest": digest, "seconds": seconds}
        self.made = []
        return chosen

    def once(self, kind, settings):
        import workloads
        from workloads.absent import AbsentError

        kernels = importlib.import_module(self.peer.__name__.replace("_peer", "_kernels"))
        before = self.memory()["bytes"]
        if not hasattr(kernels, kind):
            return {"absent": "nothing of the kind"}
        try:
            seconds, kept = getattr(kernels, kind)(workloads.inputs(kind, settings))
        except AbsentError as error:
            return {"absent": str(error)}
        grown = self.memory()["bytes"] - before
        del kept
        return {"seconds": seconds, "bytes": grown}

    def call(self, before, count):
        gc.collect()
        gc.disable()
        # A burst is so short that what else the machine does misses most of them.
        once = self.form.call(before) / before
        burst = min(count, 1 + int(BURST_SECONDS / max(once, 1e-9)))
        seconds = [self.form.call(burst) / burst for _ in range(count // burst)]
        gc.enable()
        return {"seconds": statistics.median(seconds)}

    def memory(self):
        most = most_memory()
        return {"bytes": most, "grown": most - self.resident}

    def limits(self):
        return self.peer.limits()


def memory_now():
    """Bytes of memory that the process holds; 0 where the system does not say."""
    return _status("VmRSS")


def most_memory():
    """The most bytes of memory that the process has held since it began."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in ru_maxrss what the process was before it became this program.
    return _status("VmHWM") or kibibytes * (1 if sys.platform == "darwin" else 1024)


def _status(name):
    if not os.path.exists("/proc/self/status"):
        return 0
    with open("/proc/self/status") as file:
        return int(re.search(name + r":\s+(\d+) kB", file.read()).group(1)) * 1024


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
    # Graphs of a hundred thousand nodes are walked by recursion in some libraries.
    sys.setrecursionlimit(10**6)

    def reply(said):
        replies.write(json.dumps(said) + "\n")
        replies.flush()

    folder = sys.argv[3] if len(sys.argv) > 3 else "peers"
    peer = importlib.import_module(f"{folder}.{sys.argv[1]}_peer")
    first = reply_to(hello, {"peer": peer, "threads": int(sys.argv[2])})
    reply(first)
    if "import_seconds" not in first:
        return
    served = Served(peer, memory_now())
    for line in sys.stdin:
        asked = json.loads(line)
        reply(reply_to(getattr(served, asked.pop("do")), asked))


if __name__ == "__main__":
    main()
