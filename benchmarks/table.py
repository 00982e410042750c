"""The one format of all benchmarks' rows: lines of a Markdown table, wide enough to be read as they come."""

import importlib
from dataclasses import dataclass

WIDTHS = {"what": 63, "figure": 7, "unit": 8, "limit": 8, "met": 6, "measured": 0}


@dataclass(frozen=True)
class Row:
    """One figure of a benchmark.

    ``unit`` is `ratio` for a figure against a peer, else that of the figure; ``limit`` a bound such as `<= 1.05`, empty
    if there is none; ``detail`` says what the figure was made from.
    """

    name: str
    figure: float
    limit: str
    detail: str
    unit: str = "ratio"

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps to its limit; None without a limit."""
        if not self.limit:
            return None
        operator, bound = self.limit.split()
        return {"<=": self.figure <= float(bound), ">=": self.figure >= float(bound)}[operator]

    def __str__(self) -> str:
        met = {True: "yes", False: "no", None: "-"}[self.met]
        return line(self.name, f"{self.figure:.2f}", self.unit, self.limit or "-", met, self.detail)


def line(*cells: str) -> str:
    """Return a line of the table, the figure to the right, all else to the left."""
    padded = (
        f"{cell:>{width}}" if column == "figure" else f"{cell:<{width}}"
        for cell, (column, width) in zip(cells, WIDTHS.items(), strict=True)
    )
    return f"| {' | '.join(padded)} |"


def header() -> str:
    """Return the two lines above the rows."""
    return line(*WIDTHS) + "\n|" + "---|" * len(WIDTHS)


def failure(name: str, reason: str) -> str:
    """Return the line of a benchmark that did not come to its end."""
    return line(name, "-", "-", "-", "FAILED", reason)


def measure(name: str, small: bool) -> None:
    """Run a benchmark in this process and print its rows as they come."""
    for row in importlib.import_module(f"benchmarks.bench_{name}").rows(small):
        print(row, flush=True)
