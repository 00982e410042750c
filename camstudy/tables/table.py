"""A paper table as data: columns in groups, rows, notes, and what each cell shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from camstudy.analysis.summary import Estimate

Format = Literal["text", "count", "millions", "billions", "number", "percent", "score", "estimate", "difference", "p"]
DASH = "–"


@dataclass(frozen=True)
class Column:
    """A column: its key in the rows and the CSV, its header under the header of its group, how it is written.

    ``text`` holds str; ``count`` int; ``millions`` and ``billions`` a count shown in these; ``number`` a float, shown
    like billions with three significant digits; ``percent``, ``score``, ``estimate`` and ``difference`` an `Estimate`
    with one, two or three decimals, the last with its sign; ``p`` a p-value. With ``shown=False`` it is in the CSV
    only. ``interval`` says whether intervals are shown; None: those of estimates and differences are.
    """

    key: str
    header: str = ""
    group: str = ""
    format: Format = "text"
    shown: bool = True
    interval: bool | None = None


@dataclass(frozen=True)
class Row:
    """Values by column key, marks that follow values, and keys of values that are bold or underlined.

    A value of None is missing, and shown as a dash; a key that is absent does not apply, and stays blank.
    """

    cells: Mapping[str, str | float | Estimate | None]
    marks: Mapping[str, str] = field(default_factory=dict)
    bold: frozenset[str] = frozenset()
    underlined: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Table:
    """A table. Its first shown column names the rows; a rule parts rows whose cell `kind` differs."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def shown(self) -> list[Column]:
        """Return the columns that people get to see: no machine columns, none without any value."""
        stub, *others = (column for column in self.columns if column.shown)
        return [stub, *(c for c in others if any(row.cells.get(c.key) is not None for row in self.rows))]

    def sections(self) -> list[list[Row]]:
        """Return the rows between rules."""
        return [list(run) for _, run in groupby(self.rows, key=lambda row: row.cells.get("kind"))]

    def mark_width(self, column: Column) -> int:
        """Return the length of the column's longest mark, which all its cells leave room for."""
        return max((len(row.marks.get(column.key, "")) for row in self.rows), default=0)


class Cell(NamedTuple):
    """What a cell shows: a value, its interval (empty if it has none), a mark, and whether it stands out."""

    value: str
    interval: str = ""
    mark: str = ""
    bold: bool = False
    underlined: bool = False


def groups(columns: Sequence[Column]) -> list[tuple[str, list[Column]]]:
    """Return runs of columns with their group's header; a column of no group is a run of its own."""
    runs = groupby(enumerate(columns), key=lambda item: item[1].group or item[0])
    return [(key if isinstance(key, str) else "", [column for _, column in run]) for key, run in runs]


def cell(column: Column, row: Row) -> Cell:
    """Return what a row shows in a column."""
    value = row.cells.get(column.key)
    if value is None:
        return Cell(DASH if column.key in row.cells else "")
    look = (row.marks.get(column.key, ""), column.key in row.bold, column.key in row.underlined)
    if isinstance(value, Estimate):
        sign = "+" if column.format == "difference" else ""
        digits = {"percent": 1, "score": 2}.get(column.format, 3)
        wanted = digits == 3 if column.interval is None else column.interval
        ends = [_decimal(end, digits) for end in (value.low, value.high) if wanted and end is not None]
        return Cell(_decimal(value.value, digits, sign), f"[{', '.join(ends)}]" if ends else "", *look)
    match column.format:
        case "millions":
            return Cell(f"{value / 1e6:.2f}", "", *look)
        case "billions":
            return Cell(_significant(value / 1e9), "", *look)
        case "number":
            return Cell(_significant(value), "", *look)
        case "p":
            return Cell("<0.001" if value < 0.001 else f"{value:.3f}", "", *look)
    return Cell(str(value), "", *look)


def _significant(number: float) -> str:
    """Write a number with three significant digits, those after the point in full: 4.10, 12.3, 1,230."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def _decimal(number: float, digits: int, sign: str = "") -> str:
    # Adding 0.0 turns -0.0, a small negative number's rounding, into 0.0.
    return f"{round(number, digits) + 0.0:{sign}.{digits}f}"
