"""The sheet that figures of maps are drawn on: where panels lie, how large they are, and the words around them.

Sizes follow from the content. Printed at its own size, a sheet is at most a page wide and, as long as panels stay large
enough to be seen, at most a page high; no letters are smaller than `camstudy.figures.words.SIZE`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camstudy.figures.style import HEAT, PAGE, SOFT, TALL, TEXT
from camstudy.figures.words import LINE, SIZE, fitted, height, width

CELLS = tuple(np.arange(1.05, 0.44, -0.05).round(2))  # inches: sides of a panel, the first that has room
GAP, MARGIN, APART, SPACE = 0.03, 0.08, 0.2, 0.07  # between panels, around all, between columns and rows of blocks
CLEAR = 0.03  # between words and panels
SCALE, NARROWEST = 0.7, 1.9  # the scale of colours, the narrowest sheet
PENALTY = 0.1  # of panels that are on several lines: they must be so much larger for each

Words = Sequence[tuple[str, str]]  # texts with their colours, below each other


@dataclass(frozen=True)
class Block:
    """What stands in a row for an image: panels that lead, then one in each column, with words below them.

    ``name`` is written at the left; ``about`` below the first leading panel, ``below`` below the lowest panels of
    columns, by their numbers. Above ``ruled`` ones is a rule. Blocks of a ``band`` share the titles of their columns.
    """

    name: str = ""
    about: Words = ()
    below: Mapping[int, Words] = field(default_factory=dict)
    band: int = 0
    ruled: bool = False


@dataclass(frozen=True)
class Content:
    """What is on a sheet, before it is known how large it will be.

    Parameters
    ----------
    blocks : in their order, those of a band one after the other
    leads : titles of the leading panels of every block
    titles : of the columns, for each band; None where a band lacks one
    rows : names of the rows that each block's columns have
    group : columns that stay together on a line, if they can
    notes : lines at the foot
    scale : whether there is a scale of colours
    """

    blocks: Sequence[Block]
    leads: Sequence[str]
    titles: Sequence[Sequence[str | None]]
    rows: Sequence[str] = ("",)
    group: int = 1
    notes: Sequence[str] = ()
    scale: bool = True


class Place(NamedTuple):
    """Where a block is: its left edge, where the panels of each line begin, and whether titles stand above them."""

    left: float
    tops: Sequence[float]
    titled: bool


@dataclass(frozen=True)
class Plan:
    """A way to lay content out: on so many lines, with blocks beside each other, and panels of a size in inches."""

    content: Content
    lines: int
    across: int
    cell: float

    @cached_property
    def columns(self) -> list[list[int]]:
        """The columns on each line."""
        n, group = len(self.content.titles[0]), self.content.group
        size = ceil(ceil(n / group) / self.lines) * group
        return [list(range(start, min(start + size, n))) for start in range(0, n, size)]

    @property
    def depth(self) -> int:
        """Number of rows of a line."""
        return len(self.content.rows)

    @cached_property
    def lead(self) -> float:
        """Side of a leading panel."""
        rows = min(self.depth, 2)
        return rows * (self.cell + GAP) - GAP

    @cached_property
    def side(self) -> float:
        """Width of the blocks' names."""
        longest = max((height(fitted(block.name, self.line)) for block in self.content.blocks), default=0)
        return longest + CLEAR if longest else 0

    @cached_property
    def naming(self) -> float:
        """Width of the rows' names, and the gap before the columns."""
        longest = max(height(fitted(name, self.cell)) for name in self.content.rows)
        return longest + 2 * CLEAR if longest else GAP * bool(self.content.leads)

    @property
    def line(self) -> float:
        """Height of the panels of a line."""
        return self.depth * (self.cell + GAP) - GAP

    @cached_property
    def leading(self) -> list[tuple[int, float]]:
        """Line and left edge, from that of the block, of each leading panel."""
        lines = len(self.columns)
        return [(i % lines, self.side + i // lines * (self.lead + GAP)) for i in range(len(self.content.leads))]

    def left(self, place: int) -> float:
        """Return the left edge of the column that has a place on its line, from that of the block."""
        start = max((x + self.lead + GAP for _, x in self.leading), default=self.side) + self.naming
        return start + place * (self.cell + GAP) + place // self.content.group * GAP * (self.content.group > 1)

    @cached_property
    def block_width(self) -> float:
        """Width of a block."""
        return self.left(len(self.columns[0]) - 1) + self.cell

    @cached_property
    def width(self) -> float:
        """Width of the sheet."""
        return max(2 * MARGIN + self.across * (self.block_width + APART) - APART, NARROWEST)

    def above(self, band: int, line: int) -> float:
        """Return the room for the titles above a line."""
        titles = [height(fitted(title, self.cell)) for _, title in self.titled(band, line)]
        leads = [
            height(fitted(title, self.lead))
            for title, (at, _) in zip(self.content.leads, self.leading, strict=True)
            if at == line
        ]
        return max([*titles, *leads], default=0) + CLEAR

    def titled(self, band: int, line: int) -> Iterator[tuple[int, str]]:
        """Yield the place on a line and the title of each column that a band has there."""
        for place, column in enumerate(self.columns[line]):
            if title := self.content.titles[band][column]:
                yield place, title

    @cached_property
    def rows(self) -> list[list[int]]:
        """The numbers of the blocks that stand beside each other."""
        found: list[list[int]] = []
        for number, block in enumerate(self.content.blocks):
            if not found or len(found[-1]) == self.across or self.content.blocks[found[-1][0]].band != block.band:
                found.append([])
            found[-1].append(number)
        return found

    def below(self, row: Sequence[int], line: int) -> float:
        """Return the room for the words below a line of blocks."""
        blocks = [self.content.blocks[number] for number in row]
        words = [block.below.get(column, ()) for block in blocks for column in self.columns[line]]
        room = max(_height(one, self.cell) for one in words)
        if line == 0 and self.content.leads:
            room = max(room, max(_height(block.about, self.lead) for block in blocks) - (self.line - self.lead))
        return room + CLEAR if room > 0 else 0

    @cached_property
    def places(self) -> tuple[list[Place], float]:
        """The place of each block, and where the foot begins."""
        found, y, repeated, before = [], MARGIN, len(self.columns) > 1, None
        for row in self.rows:
            band = self.content.blocks[row[0]].band
            first, before, tops = band != before, band, []
            for line in range(len(self.columns)):
                y += self.above(band, line) if repeated or first else 0
                tops.append(y)
                y += self.line + self.below(row, line) + GAP
            found += [Place(MARGIN + n * (self.block_width + APART), tops, repeated or first) for n in range(len(row))]
            y += SPACE - GAP
        return found, y

    @cached_property
    def foot(self) -> list[str]:
        """The lines at the foot."""
        room = self.width - 2 * MARGIN - (_scale_width() + 0.15 if self.content.scale and self.width > 4 else 0)
        return [line for note in self.content.notes for line in fitted(note, room).splitlines()]

    @cached_property
    def height(self) -> float:
        """Height of the sheet."""
        lines = len(self.foot) + (self.content.scale and (self.width <= 4 or not self.foot))
        return self.places[1] + lines * LINE + (CLEAR if lines else 0) + MARGIN


def plan(content: Content) -> Plan:
    """Return the way to lay content out that shows it largest on a page, or if none has room, that is the least high.

    Blocks on a single line go beside each other if they have no names, that is if there is one for each image.
    """
    named = any(block.name or block.ruled for block in content.blocks) or len(content.titles) > 1
    n, group = len(content.titles[0]), content.group
    sizes = dict.fromkeys(ceil(ceil(n / group) / lines) for lines in range(1, ceil(n / group) + 1))
    lines = [ceil(ceil(n / group) / size) for size in sizes]
    tried = [(1, across) for across in range(1, (1 if named else len(content.blocks)) + 1)]
    tried += [(number, 1) for number in lines[1:]]
    found = [one for number, across in tried for one in _largest(content, number, across)]
    fitting = [one for one in found if one.height <= TALL]
    if fitting:
        return max(fitting, key=lambda one: (one.cell * (1 - PENALTY * (one.lines - 1)), -max(one.width, one.height)))
    return min(found or [Plan(content, len(content.titles[0]), 1, CELLS[-1])], key=lambda one: one.height)


def _largest(content: Content, lines: int, across: int) -> Iterator[Plan]:
    """Yield the plan with the largest panels that has room on a page; if none does, that with the smallest, if wide."""
    last = None
    for cell in CELLS:
        one = Plan(content, lines, across, cell)
        if one.width > PAGE:
            continue
        last = one
        if one.height <= TALL:
            break
    if last is not None:
        yield last


class Sheet:
    """A figure with titles and words in their places, and panels that are asked for."""

    def __init__(self, content: Content) -> None:
        self.plan, self.content = plan(content), content
        self.figure = Figure(figsize=(self.plan.width, self.plan.height))
        for number, block in enumerate(content.blocks):
            self._write(number, block)

    def lead(self, block: int, number: int) -> Axes:
        """Return the panel of a block that is the leading one of a number."""
        line, x = self.plan.leading[number]
        return self._panel(block, x, line, 0, self.plan.lead)

    def panel(self, block: int, column: int, row: int = 0) -> Axes:
        """Return the panel in a column and row of a block."""
        line, place = self._place(column)
        return self._panel(block, self.plan.left(place), line, row, self.plan.cell)

    def _place(self, column: int) -> tuple[int, int]:
        return next((n, line.index(column)) for n, line in enumerate(self.plan.columns) if column in line)

    def _panel(self, block: int, x: float, line: int, row: int, side: float) -> Axes:
        top = self.plan.places[0][block].tops[line] + row * (self.plan.cell + GAP)
        return self._axes(self.plan.places[0][block].left + x, top, side, side)

    def _axes(self, left: float, top: float, across: float, down: float) -> Axes:
        w, h = self.plan.width, self.plan.height
        axes = self.figure.add_axes((left / w, 1 - (top + down) / h, across / w, down / h), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def _text(self, x: float, y: float, text: str, **style: object) -> None:
        options = {"fontsize": SIZE, "color": TEXT, "linespacing": 1.2} | style
        self.figure.text(x / self.plan.width, 1 - y / self.plan.height, text, **options)

    def _write(self, number: int, block: Block) -> None:
        """Write the titles above a block, its name, those of its rows, and the words below its panels."""
        plan, (left, tops, titled) = self.plan, self.plan.places[0][number]
        if block.ruled:
            y = 1 - (tops[0] - (plan.above(block.band, 0) if titled else 0) - SPACE / 2) / plan.height
            self.figure.add_artist(Line2D([0, 1], [y, y], color=SOFT, linewidth=0.6))
        if block.name:
            place = left + plan.side - CLEAR, tops[0] + plan.line / 2
            self._turned(*place, fitted(block.name, plan.line))
        for line, columns in enumerate(plan.columns):
            y, middle = tops[line], plan.cell / 2
            if titled:
                for place, title in plan.titled(block.band, line):
                    text = fitted(title, plan.cell)
                    self._text(left + plan.left(place) + middle, y - CLEAR, text, ha="center", va="bottom")
                for title, (at, x) in zip(self.content.leads, plan.leading, strict=True):
                    if at == line:
                        text = fitted(title, plan.lead)
                        self._text(left + x + plan.lead / 2, y - CLEAR, text, ha="center", va="bottom")
            for row, name in enumerate(self.content.rows):
                at = y + row * (plan.cell + GAP) + plan.cell / 2
                self._turned(left + plan.left(0) - CLEAR, at, fitted(name, plan.cell))
            for place, column in enumerate(columns):
                x = left + plan.left(place) + middle
                self._words(x, y + plan.line + CLEAR, block.below.get(column, ()), plan.cell)
        if self.content.leads:
            line, x = plan.leading[0]
            self._words(left + x + plan.lead / 2, tops[line] + plan.lead + CLEAR, block.about, plan.lead)

    def _turned(self, x: float, y: float, text: str) -> None:
        style = {"rotation": 90, "ha": "right", "va": "center", "multialignment": "center", "color": SOFT}
        if text:
            self._text(x, y, text, **style)

    def _words(self, x: float, y: float, words: Words, room: float) -> None:
        for text, color in words:
            lines = fitted(text, room)
            self._text(x, y, lines, ha="center", va="top", color=color)
            y += height(lines)

    def finished(self) -> Figure:
        """Write the notes at the foot, draw the scale of colours, and return the figure."""
        plan, y = self.plan, self.plan.places[1]
        if plan.foot:
            self._text(MARGIN, y, "\n".join(plan.foot), ha="left", va="top", color=SOFT)
        if not self.content.scale:
            return self.figure
        if plan.width <= 4:
            y += len(plan.foot) * LINE
        right = plan.width - MARGIN
        start = right - width("high") - CLEAR - SCALE
        self._text(right, y, "high", ha="right", va="top", color=SOFT)
        self._text(start - CLEAR, y, "low", ha="right", va="top", color=SOFT)
        axes = self._axes(start, y + 0.02, SCALE, SIZE / 72 * 0.8)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, aspect="auto")
        return self.figure


def _scale_width() -> float:
    return width("low") + SCALE + width("high") + 2 * CLEAR


def _height(words: Words, room: float) -> float:
    return sum(height(fitted(text, room)) for text, _ in words)
