"""Takes what benchmarks/gpu.py found, hands on what it means: the device's limits, whether the targets were
met, and all of it as text.

    python benchmarks/gpu_report.py benchmarks/results/gpu-….json --into README.md

writes the targets, as Markdown, between the lines `<!-- gpu targets -->` and `<!-- end of gpu targets -->`.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import table
from gpu_peers.settings import CPU, SIMULATOR
from workloads import networks

MARKS = ("<!-- gpu targets -->", "<!-- end of gpu targets -->")
NOT_A_GPU = {
    SIMULATOR: "CUDA simulator, tiny sizes: no time below is a GPU's",
    CPU: "CPU, tiny sizes: no time below is a GPU's",
}


class Target(NamedTuple):
    """Something to be reached.

    what, wanted
        In words.
    least
        What the figure must be at the least.
    figure
        From the lines by name and the device's limits, what was reached, higher being better; None where it
        was not measured.
    shown
        A figure in words.
    """

    what: str
    wanted: str
    least: float
    figure: Callable[[dict, dict | None], float | None]
    shown: Callable[[float], str]


def _ratio(lines: dict, name: str, peers: tuple[str, ...]) -> float | None:
    """How many times as long as symnet the fastest of these peers took: the median over the rounds."""
    systems = lines.get(name, {}).get("systems", {})
    there = [peer for peer in peers if peer in systems]
    if table.OURS not in systems or not there:
        return None
    fastest = min(there, key=lambda peer: systems[peer]["median"])
    pairs = zip(systems[fastest]["rounds"], systems[table.OURS]["rounds"], strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def _step(name: str) -> Target:
    return Target(
        f"{name}, mini-batch 10: fastest of PyTorch's CUDA graph and JAX / symnet",
        "at least 3",
        3.0,
        lambda lines, limits: _ratio(lines, f"step/{name}/10", ("torch_graph", "jax")),
        lambda figure: f"{figure:.2f}",
    )


def _bandwidth(what: str, names: tuple[str, ...]) -> Target:
    def figure(lines: dict, limits: dict | None) -> float | None:
        shares = [table.share_of_limit(lines[name], limits) for name in names if name in lines]
        shown = [share[0] for share in shares if share is not None]
        return min(shown) if len(shown) == len(names) else None

    return Target(what, "at least 85%", 0.85, figure, lambda figure: f"{figure:.0%}")


def _epoch(lines: dict, limits: dict | None) -> float | None:
    took = lines.get("epoch/dbl_conv_relu/5000-steps", {}).get("systems", {}).get(table.OURS)
    return -took["median"] if took else None


LENGTHS = (10**7, 10**8, 10**9)
TARGETS = [
    *(_step(name) for name in networks.NETWORKS),
    _bandwidth(
        "elementwise, 10^7 to 10^9 entries: the least share of the memory's bandwidth",
        tuple(f"elementwise/scaled/{length}" for length in LENGTHS),
    ),
    _bandwidth(
        "sums of all, by columns and by rows, 10^7 to 10^9: the least share of the memory's bandwidth",
        tuple(f"reduction/{axis}/{n}" for n in LENGTHS for axis in ("all", "axis-0", "axis-1")),
    ),
    Target(
        "AlexNet, 128 images, float32: the faster of PyTorch eager and its CUDA graph / symnet",
        "at least 0.9",
        0.9,
        lambda lines, limits: _ratio(lines, "alexnet/float32/128x3x224x224", ("torch", "torch_graph")),
        lambda figure: f"{figure:.2f}",
    ),
    Target(
        "an epoch of the network of two convolutions: 5,000 steps by f.map",
        "under 0.5 s",
        -0.5,
        _epoch,
        lambda figure: f"{-figure:.3g} s",
    ),
]


def limits(device: dict) -> dict | None:
    """The device's peaks as table.share_of_limit takes them; None where it is no GPU."""
    if device["name"] in NOT_A_GPU:
        return None
    place = [[device["memory"], device["bandwidth"]]]
    return {"flops": device["flops"], "reading": place, "writing": place}


def targets(found: dict) -> list[dict]:
    """Each target, with what was reached: "reached" is None where it was not measured, or not on a GPU."""
    told = []
    for target in TARGETS:
        on_gpu = found["device"]["name"] not in NOT_A_GPU
        figure = target.figure(found["workloads"], found["limits"]) if on_gpu else None
        told.append(
            {
                "what": target.what,
                "wanted": target.wanted,
                "reached": None if figure is None else target.shown(figure),
                "met": None if figure is None else figure >= target.least,
            }
        )
    return told


#: Before anything was measured.
NOTHING = {"device": {"name": "none"}, "limits": None, "workloads": {}}


def described(found: dict) -> str:
    """The device, the systems and what was left out, a line each."""
    device = found["device"]
    name = device["name"]
    if name in NOT_A_GPU:
        lines = [NOT_A_GPU[name]]
    else:
        lines = [
            f"{name}: compute capability {device['compute capability']}, "
            f"{device['multiprocessors']} multiprocessors, {device['memory'] / 2**30:.0f} GiB, "
            f"driver of CUDA {device['CUDA of the driver']}"
        ]
        flops, bandwidth = device["flops"] / 1e12, device["bandwidth"] / 1e12
        lines.append(f"its peaks: {flops:.1f} TFLOP/s (float32), {bandwidth:.2f} TB/s")
    for system, told in found["systems"].items():
        versions = ", ".join(f"{what} {version}" for what, version in told["versions"].items())
        lines.append(f"{system}: {versions}")
    lines += [f"left out: {system}: {why.splitlines()[-1]}" for system, why in found["left out"].items()]
    return "\n".join(lines)


def text(found: dict) -> str:
    """All of it."""
    parts = [described(found)]
    contract = found["contract"]
    if contract:
        parts.append(
            f"contract tests on the device: {contract['passed']} passed, {contract['failed']} failed, "
            f"{contract['not run']} not run, in {contract['seconds']} s"
        )
        parts += [f"FAILED {test}\n{said}" for test, said in contract["failures"].items()]
    for network, line in found["networks"].items():
        if "costs" in line:
            costs = line["costs"]
            parts.append(
                f"{network}: {len(costs)} steps, cost {costs[0]:.4f} to {costs[-1]:.4f}; "
                f"at most {line['largest difference']:.1g} from the CPU's; "
                f"f.map gives {'the same' if line['map is equal'] else 'OTHER'} costs"
            )
    if found["workloads"]:
        parts.append(table.table(found))
    if found["targets"]:
        parts.append("\n".join(_told(target) for target in found["targets"]))
    for section, error in found["errors"].items():
        parts.append(f"{section} failed:\n{error}")
    for name, line in (found["networks"] | found["workloads"]).items():
        parts += [f"{name}: {system}: {error}" for system, error in line.get("errors", {}).items()]
    return "\n\n".join(parts)


def _told(target: dict) -> str:
    verdict = {None: "not measured", True: "met", False: "NOT met"}[target["met"]]
    reached = f"{target['reached']}, " if target["reached"] else ""
    return f"{target['what']}: wanted {target['wanted']}: {reached}{verdict}"


def markdown(found: dict[str, Any]) -> str:
    """The targets as a table, and what the device reached of them."""
    head = ["", "target", found["device"]["name"] if found["workloads"] else "measured"]
    rows = [
        [target["what"], target["wanted"], target["reached"] or "not measured yet"]
        for target in targets(found)
    ]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---", "---:", "---:"], *rows)]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, metavar="FILE", help="a file with the two marks")
    given = parser.parse_args(argv)
    found = json.loads(given.file.read_text())
    if given.into is None:
        print(text(found))
        return 0
    if found["device"]["name"] in NOT_A_GPU:
        print(f"{given.file} holds no GPU's figures", file=sys.stderr)
        return 2
    return table.put_between(given.into, MARKS, markdown(found))


if __name__ == "__main__":
    sys.exit(main())
