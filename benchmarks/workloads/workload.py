"""What a workload is."""


class Workload:
    """One line of a table.

    name
        By which it is asked for and reported; what comes before the first / is its family.
    measure
        "calls": the time of a call in a loop, in a process that its family shares. "start": the time from
        the import to the end of the first call, in new processes, with nothing and with everything
        in the system's cache on disk. "import": the time of the import alone. "once": what the peer's
        function itself says it took, in new processes, one call each.
    kind, settings
        What is called, by the name that peers have for it, and the arguments of `inputs`; None and
        {} where only the import is measured.
    flops, read, written
        What one call must do at the least: floating-point operations (a multiply-add is two; none are
        counted for exp and its like), and bytes of its arguments and results. 0: not counted.
    per_call
        How many of what is timed one call does.
    tolerance
        How far a peer's results may be from symnet's, as a share of their length.
    group
        Workloads of one group have their turns in the same processes: those of a family, if nothing is said.
    parts
        What the peer's function says the times of, of a "once".
    """

    def __init__(
        self,
        name,
        measure,
        kind=None,
        settings=None,
        flops=0,
        read=0,
        written=0,
        per_call=1,
        tolerance=1e-3,
        parts=(),
        group="",
    ):
        self.name, self.measure = name, measure
        self.kind, self.settings = kind, settings or {}
        self.counted = {"flops": flops, "read": read, "written": written}
        self.per_call = per_call
        self.tolerance, self.parts = tolerance, parts
        self.group = group or self.family

    @property
    def family(self):
        return self.name.partition("/")[0]
