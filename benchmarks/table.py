"""Takes the seconds of every system in every round, hands on what is reported: the least, the median,
the ratio to the fastest peer with its spread over the rounds, and a table of them."""

from statistics import median

from systems import OURS
from workloads import CALLS, Workload

HEADINGS = {
    "start": "from the import to the end of the first call: cold, and warm from the cache on disk",
    "import": "the import alone",
}
UNITS = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))


def summarised(line: dict) -> dict:
    """A line of results with, for each system, the least and the median of its rounds; the fastest
    peer, by median; and how many times as long as symnet it took: the median, the least and the
    most of the rounds' ratios, and the ratio of the least times, which a busy machine disturbs
    least. A line without peers, or where symnet failed, has no such ratio."""
    systems = {
        name: {"least": min(took["rounds"]), "median": median(took["rounds"]), **took}
        for name, took in line["systems"].items()
    }
    found = {**line, "systems": systems}
    peers = [name for name in systems if name != OURS]
    if peers and OURS in systems:
        fastest = min(peers, key=lambda name: systems[name]["median"])
        pairs = zip(systems[fastest]["rounds"], systems[OURS]["rounds"], strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        found["fastest_peer"] = fastest
        found["ratio"] = {
            "median": median(ratios),
            "least": min(ratios),
            "most": max(ratios),
            "of least": systems[fastest]["least"] / systems[OURS]["least"],
        }
    return found


def table(workloads: list[Workload], lines: dict[str, dict], described: dict[str, dict]) -> str:
    """All lines, by what is measured: each system's least and median, then the ratios."""
    names = list(described)
    parts = []
    headings = [(each, "calls", CALLS[each]) for each in CALLS]
    headings += [(None, measure, heading) for measure, heading in HEADINGS.items()]
    for kind, measure, heading in headings:
        prefixes = [
            each.name for each in workloads if each.measure == measure and kind in (None, each.kind)
        ]
        rows = [
            _row(name, line, names)
            for name, line in lines.items()
            if any(name == prefix or name.startswith(prefix + "/") for prefix in prefixes)
        ]
        if rows:
            parts.append(f"{heading}: least / median\n" + _aligned([_head(described), *rows]))
    return "\n\n".join(parts)


def _head(described: dict[str, dict]) -> list[str]:
    columns = [
        f"{name}, {system['threads']} thread{'s' if system['threads'] != 1 else ''}"
        for name, system in described.items()
    ]
    return [
        "",
        *columns,
        *(["fastest peer / symnet", "[spread]", "of least"] if len(columns) > 1 else []),
    ]


def _row(name: str, line: dict, names: list[str]) -> list[str]:
    cells = [name]
    for system in names:
        took = line["systems"].get(system)
        if took is None:
            cells.append("failed" if system in line["errors"] else "")
            continue
        scale, unit = next((scale, unit) for end, scale, unit in UNITS if took["median"] < end)
        shown = f"{_digits(took['least'] * scale)} / {_digits(took['median'] * scale)} {unit}"
        if "bytes" in took:
            shown += f", {took['bytes'] / 2**20:.0f} MiB"
        cells.append(shown)
    ratio = line.get("ratio")
    if ratio:
        cells.append(f"{line['fastest_peer']} {ratio['median']:.2f}x")
        cells.append(f"[{ratio['least']:.2f} to {ratio['most']:.2f}]")
        cells.append(f"{ratio['of least']:.2f}x")
    return cells


def _digits(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _aligned(rows: list[list[str]]) -> str:
    columns = max(len(row) for row in rows)
    rows = [row + [""] * (columns - len(row)) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
