"""Takes the seconds of every system in every round, hands on what is reported: the least, the median,
the ratio to the fastest peer with its spread over the rounds, the share of the machine's limit, and
tables of them, as text and as Markdown.

    python benchmarks/table.py FILE... [--short] [--into README.md]

prints the tables of results that run.py kept, as Markdown, or writes them into a file, between the lines
`<!-- benchmarks -->` and `<!-- end of benchmarks -->`. --short gives a line for each family of more than
a few workloads.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import geometric_mean, median

OURS = "symnet"
# By the workload's family, what one call of it is.
HEADINGS = {
    "step": "one training step by f(i), by network and mini-batch size",
    "map": "one of many training steps in a call: f.map(indices); in JAX a scan; elsewhere a loop",
    "epoch": "an epoch: so many steps by one call of f.map",
    "alexnet": "a training step of AlexNet, by precision, images and their shape",
    "elementwise": "operations on every entry of arrays on the device, by length",
    "reduction": "sums of arrays on the device, by length",
    "product": "products of matrices on the device, by precision",
    "dot": "products (n: as it lies, t: transposed; rows x inner x columns)",
    "conv": "convolutions, by layer",
    "pool": "max pooling, by layer (both: the result and the gradient)",
    "chain": "chains of elementwise operations, by how many and by length",
    "function": "one function of every entry, by length",
    "reduce": "reductions of 1000 x 1000 numbers",
    "softmax": "softmax of each row",
    "cross-entropy": "softmax cross-entropy and its gradient",
    "embedding": "rows of a table, and the gradient by the table",
    "overhead": "the call itself",
    "compile": "from the import to the end of the first call; cold, and warm from the cache on disk",
    "graph": "building and rewriting a graph, by its nodes",
    "import": "the import alone",
}
UNITS = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))
FEW = 4
IN_FULL = ("step", "map", "compile")
MEMORY = "the most memory that such a process held, and how much of it above the import"
MARKS = ("<!-- benchmarks -->", "<!-- end of benchmarks -->")


def summarised(line: dict) -> dict:
    """A line of results with, for each system, the least and the median of its rounds; the fastest
    peer, by its least time; and how many times as long as symnet it took: the median, the least and the
    most of the rounds' ratios, and the ratio of the least times, which a busy machine disturbs
    least. A line without peers, or where symnet failed, has no such ratio."""
    systems = {
        name: {"least": min(took["rounds"]), "median": median(took["rounds"]), **took}
        for name, took in line["systems"].items()
    }
    found = {**line, "systems": systems}
    peers = [name for name in systems if name != OURS]
    if peers and OURS in systems:
        fastest = min(peers, key=lambda name: systems[name]["least"])
        # Where starts are measured a slow system has fewer of them.
        pairs = zip(systems[fastest]["rounds"], systems[OURS]["rounds"], strict=False)
        ratios = [theirs / ours for theirs, ours in pairs]
        found["fastest_peer"] = fastest
        found["ratio"] = {
            "median": median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "of least": systems[fastest]["least"] / systems[OURS]["least"],
        }
    return found


def share_of_limit(line: dict, limits: dict | None) -> tuple[float, str] | None:
    """How near symnet's least time is to the least that the machine allows for the workload's counted
    operations and bytes, and which of the two bounds it. None where nothing is counted."""
    counted, took = line.get("counted"), line["systems"].get(OURS)
    if not limits or not counted or not took:
        return None
    by_flops = counted["flops"] / limits["flops"]
    moved = counted["read"] + counted["written"]
    by_bytes = moved / bandwidth(limits, moved, counted["written"]) if moved else 0.0
    bound = max(by_flops, by_bytes)
    if not bound:
        return None
    return bound / took["least"], "flops" if by_flops >= by_bytes else "bytes"


def bandwidth(limits: dict, moved: float, written: float) -> float:
    """Bytes a second to and from the smallest measured place that holds so many bytes: of reading, or,
    if a tenth of them is written, of copying."""
    places = limits["writing" if written >= 0.1 * moved else "reading"]
    return next((rate for size, rate in places if moved <= size), places[-1][1])


def rows_of(found: dict, short: bool = False) -> dict[str, list[list[str]]]:
    """By heading, the head and the rows of a table of all that was measured; short: with least times
    alone."""
    names = list(found["systems"])
    tables = {}
    for family, chosen in families_of(found["workloads"]).items():
        head = _head(found["systems"], chosen)
        limits = found.get("limits")
        rows = [_row(name, line, names, head, limits, short) for name, line in chosen.items()]
        tables[HEADINGS[family]] = [head, *rows]
        if family == "compile":
            tables[MEMORY] = [[*head[: len(names) + 1], "least peer / symnet"], *_memory_rows(chosen, names)]
    return tables


def _memory_rows(lines: dict[str, dict], names: list[str]) -> list[list[str]]:
    rows = []
    for name, line in lines.items():
        held = {system: took["bytes"] for system, took in line["systems"].items() if "bytes" in took}
        cells = [name.replace("compile/", "memory/")]
        for system in names:
            took = line["systems"].get(system, {})
            shown = f"{held[system] / 2**20:.0f}, +{took['grown'] / 2**20:.0f} MiB" if system in held else "–"
            cells.append(shown)
        peers = [most for system, most in held.items() if system != OURS]
        cells.append(f"{min(peers) / held[OURS]:.2f}" if peers and OURS in held else "")
        rows.append(cells)
    return rows


def table(found: dict) -> str:
    """All lines as text, by what is measured."""
    parts = [
        f"{heading}{': least / median' if heading != MEMORY else ''}\n{_aligned(rows)}"
        for heading, rows in rows_of(found).items()
    ]
    return "\n\n".join(parts)


def markdown(found: dict, short: bool = False) -> str:
    """All lines as Markdown; or, of families of more than `FEW` workloads, a line each."""
    parts = []
    families = families_of(found["workloads"])
    for heading, rows in rows_of(found, short).items():
        if heading == MEMORY:
            parts.append(_markdown(heading, rows))
            continue
        family = next(name for name, text in HEADINGS.items() if text == heading)
        if not short or len(families[family]) <= FEW or family in IN_FULL:
            parts.append(_markdown(heading if short else f"{heading} (least / median)", rows))
    if short:
        rows = [
            [family, *_summary(family, lines)]
            for family, lines in families.items()
            if len(lines) > FEW and family not in IN_FULL
            if any("ratio" in line for line in lines.values())
        ]
        head = ["", "workloads", "fastest peer / symnet: mean", "least", "most"]
        if rows:
            parts.append(_markdown("by family, the ratios of least times", [head, *rows]))
    return "\n\n".join(parts)


def families_of(lines: dict[str, dict]) -> dict[str, dict[str, dict]]:
    """The lines by family, in the order of the headings."""
    found: dict[str, dict[str, dict]] = {}
    for family in HEADINGS:
        chosen = {name: line for name, line in lines.items() if name.partition("/")[0] == family}
        if chosen:
            found[family] = chosen
    return found


def _summary(family: str, lines: dict[str, dict]) -> list[str]:
    """How many there are; the geometric mean of their ratios, the least and the most, with their names."""
    ratios = {
        name.removeprefix(family + "/"): line["ratio"]["of least"]
        for name, line in lines.items()
        if "ratio" in line
    }
    ends = [end(ratios, key=lambda name: ratios[name]) for end in (min, max)]
    shown = [f"{ratios[name]:.2f} ({name})" for name in ends]
    return [str(len(ratios)), f"{geometric_mean(ratios.values()):.2f}", *shown]


def _markdown(heading: str, rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [f"**{heading[0].upper()}{heading[1:]}**", "", _line(head)]
    lines.append(_line(["---"] + ["---:"] * (len(head) - 1)))
    return "\n".join(lines + [_line(row) for row in body])


def described(found: dict) -> str:
    """A line on the machine, and one on the systems."""
    machine = found["machine"]
    load = f"load {machine['load average']} before, {found['load average after']} after"
    lines = [f"{machine['processor']}, {machine['cores']} cores, {load}"]
    if found.get("limits"):
        limits = found["limits"]
        moving = [
            f"{name} {rate / 1e9:.0f} GB/s over {_bytes(size)}"
            for name in ("reading", "writing")
            for size, rate in limits[name]
        ]
        flops = f"{limits['flops'] / 1e9:.0f} GFLOP/s (float32)"
        lines.append(f"the machine's limits, {_threads(limits['threads'])}: {flops}; {', '.join(moving)}")
    for name, system in found["systems"].items():
        versions = ", ".join(f"{what} {version}" for what, version in system["versions"].items())
        lines.append(f"{name} ({_threads(system['threads'])}): {versions}")
    return "\n".join(lines)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(systems: dict[str, dict], lines: dict[str, dict]) -> list[str]:
    head = ["", *systems]
    if any("ratio" in line for line in lines.values()):
        head += ["fastest peer / symnet", "spread", "of least"]
    if any(line.get("counted") for line in lines.values()):
        head.append("of the limit")
    return head


def _row(
    name: str, line: dict, names: list[str], head: list[str], limits: dict | None, short: bool
) -> list[str]:
    cells = [name]
    for system in names:
        took = line["systems"].get(system)
        if took is None:
            cells.append("failed" if system in line["errors"] else "–")
            continue
        scale, unit = next((scale, unit) for end, scale, unit in UNITS if took["median"] < end)
        median_too = "" if short else f" / {_digits(took['median'] * scale)}"
        shown = f"{_digits(took['least'] * scale)}{median_too} {unit}"
        if took.get("form") not in (None, "", "eager", "jit"):
            shown += f" ({took['form']})"
        if "grown" in took and "bytes" not in took:  # where there is no table of memory
            shown += f", +{took['grown'] / 2**20:.0f} MiB"
        cells.append(shown)
    ratio = line.get("ratio")
    if ratio:
        cells.append(f"{line['fastest_peer']} {ratio['median']:.2f}")
        cells.append(f"{ratio['least']:.2f} to {ratio['most']:.2f}")
        cells.append(f"{ratio['of least']:.2f}")
    elif "spread" in head:
        cells += ["", "", ""]
    if "of the limit" in head:
        share = share_of_limit(line, limits)
        cells.append(f"{share[0]:.0%} ({share[1]})" if share else "")
    return cells


def _digits(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _bytes(size: float) -> str:
    return f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--short", action="store_true", help="a line for each large family")
    parser.add_argument("--into", type=Path, metavar="FILE", help="a file with the two marks")
    given = parser.parse_args(argv)
    parts = []
    for path in given.files:
        found = json.loads(path.read_text())
        parts.append("\n\n".join([*described(found).split("\n"), markdown(found, given.short)]))
    text = "\n\n".join(parts)
    if given.into is None:
        print(text)
        return 0
    return put_between(given.into, MARKS, text)


def put_between(path: Path, marks: tuple[str, str], text: str) -> int:
    """Write the text between two lines of a file, in place of what stands there; the status to end with."""
    whole = path.read_text()
    before, begin, rest = whole.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        print(f"{path} has no lines {marks[0]} and {marks[1]}", file=sys.stderr)
        return 2
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
