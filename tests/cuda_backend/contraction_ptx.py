"""Compiles contractions for GPUs in a process that simulates nothing; writes what it finds as JSON.

`python -m cuda_backend.contraction_ptx` from the folder of the tests: for each kernel what `ptxas -v` says,
how many instructions of some kinds its PTX has, and for small ones how far from NumPy's the results are when
the PTX runs thread for thread (`ptx_machine`).
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from dataclasses import replace

import numpy as np

from symnet.backend.cuda import nvvm
from symnet.backend.cuda.body import Body
from symnet.backend.cuda.contraction import bodies_of, contraction_bodies
from symnet.backend.cuda.contraction_model import plan_contraction
from symnet.backend.cuda.contraction_plan import Plan, Tile
from symnet.backend.cuda.linker import link_for
from symnet.backend.cuda.machine import A100, H100
from symnet.compile.contraction import Contraction

from .contraction_cases import convolution, dot, problem, source_of, within
from .ptx_machine import Machine
from .ptx_text import read
from .ptxas import usages

#: What a device meets: large products, layers of AlexNet, the book's networks at mini-batch 10.
TYPICAL: dict[str, Contraction] = {
    "product 4096 transposed": dot(4096, 4096, 4096, a_transposed=True, b_transposed=True),
    "AlexNet's second": convolution(128, 96, 31, 31, 256, (5, 5))["forward"],
    "AlexNet's third by filters": convolution(128, 256, 15, 15, 384, (3, 3))["filters"],
    "book's dense": dot(10, 1600, 100),
    "book's convolution": convolution(10, 20, 12, 12, 40, (5, 5))["forward"],
    "lengths at run time": dot("n0", "n1", "n2", pitch=100000),
}
#: Small ones to run: as the model has them, then with the tile of large ones.
SMALL: dict[str, tuple[Contraction, Tile | None]] = {
    "product in parts": (dot(10, 300, 12), Tile(2, 16, 8, 2, 1, 64)),
    "product float64": (dot(36, 40, 64, dtype="float64", b_transposed=True), None),
    "convolution": (convolution(2, 3, 9, 9, 6, (3, 3))["forward"], None),
    "convolution by filters": (convolution(2, 3, 9, 9, 6, (3, 3))["filters"], None),
    "large tile": (dot(130, 20, 132, a_transposed=True, accumulate=True), Tile(16, 16, 1, 8, 8, 8)),
    "large tile by columns": (dot(132, 24, 76, b_transposed=True), Tile(32, 8, 1, 8, 8, 8)),
}
KINDS = ("fma.rn.f32", "ld.shared.v4.f32", "ld.shared.f32", "ld.global.v4.f32", "div.", "rem.")


def ptx_of(body: Body, compute: tuple[int, int]) -> str:
    """A body alone as PTX."""
    signature = [*(each.dtype for each in body.parameters), "int64", "int64"]
    return nvvm.compile(source_of(body), "kernel", signature, compute, threads=256)


def taken() -> dict[str, object]:
    """By contraction and compute capability what its first kernel takes."""
    found: dict[str, object] = {}
    for name, contraction in TYPICAL.items():
        body = contraction_bodies("kernel", contraction, [0, 0, 0], H100, {})[0]
        # PTX for the older device is PTX for the newer one.
        ptx = ptx_of(body, A100.compute)
        counts = {kind: len(re.findall(rf"^\s+(?:@!?%p\d+ )?{re.escape(kind)}", ptx, re.M)) for kind in KINDS}
        for machine in (A100, H100):
            usage = dataclasses.asdict(usages(ptx, machine.compute)["kernel"])
            linked = link_for(ptx, "kernel", machine.compute, machine.threads)
            told = {"registers": linked.registers, "spills": linked.spilled_bytes}
            compute = ".".join(map(str, machine.compute))
            found[f"{name}, {compute}"] = {**usage, "counts": counts, "linked": told}
    return found


def errors() -> dict[str, object]:
    """By small contraction the largest error, and how large it may be."""
    found: dict[str, object] = {}
    for name, (contraction, tile) in SMALL.items():
        given = problem(contraction, {})
        plan = plan_contraction(contraction, given.offsets, H100, {})
        assert plan is not None
        if tile is not None:
            plan = with_tile(plan, tile, 3 if "parts" in name else 1)
        bodies = bodies_of("kernel", plan, H100, [])
        memory = dict(given.memory)
        for body in bodies:
            for scratch in body.scratch:
                memory.setdefault(scratch.name, np.full(scratch.count, np.nan, scratch.dtype))
            machine = Machine(read(ptx_of(body, H100.compute)))
            words = np.zeros(8, "int64")
            arrays = [*(memory[each.name] for each in body.parameters), words, words]
            places = [machine.memory.place(each) for each in arrays]
            pieces = [(place, each.nbytes) for place, each in zip(places, arrays, strict=True)]
            machine.launch("kernel", body.blocks, H100.threads, pieces)
            for each, place in zip(body.parameters, places, strict=False):
                memory[each.name] = machine.memory.array(place, memory[each.name])
        expected, target = within(given.target, given.product)
        target[...] = given.product + (target if contraction.accumulate else 0)
        error = float(np.abs(memory["c"].astype("float64") - expected).max())
        found[name] = {"error": error, "tolerance": given.tolerance, "bodies": len(bodies)}
    return found


def with_tile(plan: Plan, tile: Tile, splits: int) -> Plan:
    """A plan with another tile, and loads that fit it."""
    sizes = (tile.height, tile.width)
    a, b = (
        replace(
            each, vector=each.vector if (tile.depth if each.along_inner else size) % each.vector == 0 else 1
        )
        for each, size in zip(plan.operands, sizes, strict=True)
    )
    return replace(plan, tile=tile, splits=splits, operands=(a, b))


if __name__ == "__main__":
    json.dump({"taken": taken(), "errors": errors()}, sys.stdout)
