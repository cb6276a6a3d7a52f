"""Takes a plan and the name of a sum; hands on the statements that store what becomes of it.

That is the sum itself, what C held and the sum, or the epilogue's values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from symnet.backend.cuda.contraction_plan import C, Plan
from symnet.backend.cuda.contraction_text import Text, walk
from symnet.backend.cuda.print_body import BodyPrinter
from symnet.compile.contraction import OLD, PRODUCT
from symnet.compile.nest import BOOL, BufferParameter


class Ending:
    """What happens to each sum in the end."""

    def __init__(self, plan: Plan, sizes: Sequence[str]) -> None:
        self.plan = plan
        self.sizes = sizes
        contraction = plan.contraction
        self.epilogue = contraction.epilogue
        dtypes = () if self.epilogue is None else self.epilogue.dtypes
        stored = {} if self.epilogue is None else dict(self.epilogue.stores)
        further = tuple(BufferParameter(f"d{n}", dtype, n in stored) for n, dtype in enumerate(dtypes))
        #: C and the epilogue's arrays.
        self.parameters = (BufferParameter("c", contraction.dtype, True), *further)

    def begin(self, text: Text, batch: str) -> None:
        """The offsets of a batch in the arrays."""
        names = {f"base_{each.name}": C + n for n, each in enumerate(self.parameters)}
        walk(
            text,
            self.plan.batch,
            batch,
            {name: (array, "int64") for name, array in names.items()},
            {name: str(self.plan.offsets[array]) for name, array in names.items()},
        )

    def store(self, text: Text, total: str, row: str, column: str) -> None:
        """Store what becomes of the sum of a row and a column."""
        plan = self.plan
        for space, number, stem in ((plan.rows, row, "row"), (plan.columns, column, "column")):
            targets = {
                f"{stem}_{each.name}": (C + n, plan.dtypes[C + n]) for n, each in enumerate(self.parameters)
            }
            walk(text, space, number, targets)
        for n, each in enumerate(self.parameters):
            dtype = plan.dtypes[C + n]
            text.line(f"at_{each.name} = base_{each.name} + np.{dtype}(row_{each.name} + column_{each.name})")
        if plan.contraction.accumulate:
            text.line(f"c[at_c] = c[at_c] + {total}")
        elif self.epilogue is None:
            text.line(f"c[at_c] = {total}")
        else:
            self._epilogue(text, total)

    def _epilogue(self, text: Text, total: str) -> None:
        assert self.epilogue is not None
        printer = BodyPrinter(self.parameters, self.sizes)
        # Names that the printer makes up are none of those in the text so far.
        for name in set(re.findall(r"[A-Za-z_]\w*", "\n".join(text.lines))):
            printer.dtypes.setdefault(name, "reserved")
        printer.names[PRODUCT] = total
        if self.epilogue.reads_target:
            text.line("before = c[at_c]")
            printer.names[OLD] = "before"
        for n, each in enumerate(self.parameters[1:]):
            # An array that is only stored to may hold anything.
            text.line(f"given_{n} = d{n}[at_d{n}]{' != 0' if each.dtype == BOOL else ''}")
            printer.names[f"x{n}"] = f"given_{n}"
        printer.statements(self.epilogue.statements)
        values = [printer.text(value) for value in self.epilogue.values]
        for line in printer.lines:
            text.line(line)
        targets = ["c", *(f"d{n}" for n, _ in self.epilogue.stores)]
        stored = [text.fresh("stored") for _ in values]
        for name, value in zip(stored, values, strict=True):
            text.line(f"{name} = np.{self.plan.contraction.dtype}({value})")
        for name, target in zip(stored, targets, strict=True):
            text.line(f"{target}[at_{target}] = {name}")
