"""Times how long training steps take to compile for a GPU that need not be there, cold, in new processes.

    python benchmarks/gpu_compile.py
    python benchmarks/gpu_compile.py --networks shallow,dropout --rounds 1

Kernels are those of compute capability 9.0. By "llvm" they are read as LLVM IR straight from their text, by
"numba" Numba compiles that text (`symnet.config.backend`); both take turns. Seconds are from the function as
symnet.function made it to machine code, with all imports of what compiles; the least of the rounds. The ratio
is the rounds' median, with their spread.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

BACKENDS = ("llvm", "numba")
MINI_BATCH_SIZE = 10


def compiled(network: str, backend: str) -> dict:
    """One network's step compiled in this process: seconds, kernels."""
    from peers import symnet_peer
    from workloads import inputs

    import symnet

    symnet.config.backend = backend
    settings = {"network": network, "mini_batch_size": MINI_BATCH_SIZE, "images": MINI_BATCH_SIZE}
    step, _, _ = symnet_peer.training_step(inputs("training_step", settings))
    started = time.perf_counter()
    codes = symnet.inspect.gpu_code(step, 0)
    return {"seconds": time.perf_counter() - started, "kernels": len(codes)}


def in_new_process(network: str, backend: str) -> dict:
    """The same in a process with nothing in its cache."""
    from peers import symnet_peer

    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, **symnet_peer.environment(1, cache)}
        command = [sys.executable, __file__, "--one", network, backend]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{network} by {backend} was not compiled:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def main() -> None:
    from workloads.networks import NETWORKS, SMALL_NETWORKS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), help="with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("NETWORK", "BACKEND"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(compiled(*given.one)))
        return
    networks = given.networks.split(",")
    for name in networks:
        if name not in NETWORKS | SMALL_NETWORKS:
            parser.error(f"--networks has no {name!r}; there are {', '.join(NETWORKS | SMALL_NETWORKS)}")
    print("| step | kernels | llvm | numba | numba / llvm | spread |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in networks:
        rounds = [[in_new_process(name, backend) for backend in BACKENDS] for _ in range(given.rounds)]
        seconds = [[found["seconds"] for found in each] for each in rounds]
        ratios = [numba / llvm for llvm, numba in seconds]
        least = [min(each) for each in zip(*seconds, strict=True)]
        print(
            f"| {name} | {rounds[0][0]['kernels']} | {least[0]:.2f} s | {least[1]:.2f} s "
            f"| {statistics.median(ratios):.1f} | {min(ratios):.1f} to {max(ratios):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
