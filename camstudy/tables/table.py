"""A paper table as data: columns in groups, rows, notes, and what each cell shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from camstudy.analysis.summary import NOISE, Estimate

Format = Literal["text", "count", "millions", "billions", "number", "percent", "score", "estimate", "difference", "p"]
DASH = "–"
FURTHER = 3  # decimals that small numbers may add; still smaller ones are written as 4e-7
SMALL_P = 0.001  # what is smaller is written as <0.001


@dataclass(frozen=True)
class Column:
    """A column: its key in the rows and the CSV, its header under the header of its group, how it is written.

    ``text`` holds str; ``count`` int; ``millions`` and ``billions`` a count shown in these; ``number`` a float, shown
    like billions with three significant digits; ``percent``, ``score``, ``estimate`` and ``difference`` an `Estimate`
    with one, two or three decimals, the last with its sign; ``p`` a p-value. With ``shown=False`` it is in the CSV
    only. ``interval`` says whether intervals are shown; None: those of estimates and differences are. ``levels`` are
    those that a p-value is compared with, on whose side it stays when it is rounded.
    """

    key: str
    header: str = ""
    group: str = ""
    format: Format = "text"
    shown: bool = True
    interval: bool | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """Values by column key, marks that follow values, and keys of values that are bold or underlined.

    A value of None is missing, and shown as a dash; a key that is absent does not apply, and stays blank. Estimates of
    ``differences`` are shown with their sign and their interval, whatever the column says.
    """

    cells: Mapping[str, str | float | Estimate | None]
    marks: Mapping[str, str] = field(default_factory=dict)
    bold: frozenset[str] = frozenset()
    underlined: frozenset[str] = frozenset()
    differences: frozenset[str] = frozenset()


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
        return Cell(*_estimate(column, value, bool(look[0]), column.key in row.differences), *look)
    match column.format:
        case "millions":
            return Cell(f"{value / 1e6:.2f}", "", *look)
        case "billions":
            return Cell(_significant(value / 1e9), "", *look)
        case "number":
            return Cell(_significant(value), "", *look)
        case "p":
            return Cell(_p(value, column.levels), "", *look)
    return Cell(str(value), "", *look)


def _significant(number: float) -> str:
    """Write a number with three significant digits, those after the point in full: 4.10, 12.3, 1,230."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def _estimate(column: Column, value: Estimate, marked: bool, difference: bool = False) -> tuple[str, str]:
    """Write an estimate and its interval, empty where none is shown, with as many decimals as tell signs."""
    sign = "+" if difference or column.format == "difference" else ""
    digits = {"percent": 1, "score": 2}.get(column.format, 3)
    wanted = difference or (digits == 3 if column.interval is None else column.interval)
    ends = [end for end in (value.low, value.high) if wanted and end is not None]
    if sign or ends or marked:
        digits = decimals([value.value, *ends], digits)
    else:
        # Without an interval or a mark, nothing speaks of its sign.
        return _decimal(round(value.value, digits), digits), ""
    between = [_decimal(end, digits) for end in ends]
    return _decimal(value.value, digits, sign), f"[{', '.join(between)}]" if ends else ""


def decimals(numbers: Sequence[float], digits: int) -> int:
    """Return how many decimals, at least ``digits``, round none of the numbers to 0, but for those that are too small.

    >>> decimals([0.5, 0.1], 3), decimals([0.5, -0.000158], 3), decimals([0.5, 4e-7], 3)
    (3, 4, 3)
    """
    found = [digits]
    for number in numbers:
        found += [more for more in range(digits, digits + FURTHER + 1) if round(number, more) != 0][:1]
    return max(found)


def _p(value: float, levels: Sequence[float]) -> str:
    """Write a p-value so that what is written is below the same levels."""
    small = min(SMALL_P, *levels) if levels else SMALL_P
    if value < small:
        return f"<{small:g}"
    for digits in range(3, 17):
        text = f"{value:.{digits}f}"
        if all((float(text) < level) == (value < level) for level in levels):
            return text
    return f"{value}"


def _decimal(number: float, digits: int, sign: str = "") -> str:
    """Write a number with this many decimals, or, where these would all be 0, its first digit: 4e-7."""
    if abs(number) <= NOISE:
        return f"{0:.{digits}f}"
    if round(number, digits) == 0:
        return f"{number:{sign}.1g}".replace("e-0", "e-")
    return f"{number:{sign}.{digits}f}"
