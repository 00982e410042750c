"""The look of all figures, and their reproducible files."""

from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from camstudy.figures.words import fitted, width

# Okabe and Ito's colours, distinguishable with any colour vision; the yellow is left out, too pale for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
TEXT, SOFT, RULE = "#1b1f24", "#5b6570", "#d5dae0"
LINES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D")
HEAT = "inferno"  # perceptually uniform, dark is low
DPI = 200
NOTE, MARGIN = 7, 0.01  # points of a figure's note, and how far it stands from the border, of the figure's width
LEAST = 1.5  # inches for a note beside a legend
PAGE, COLUMN, TALL = 7.0, 3.3, 9.0  # inches: widths of a printed page and of its column, height of a page
RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "text.color": TEXT,
    "text.parse_math": False,  # `$` in a title is a dollar sign
    "axes.edgecolor": SOFT,
    "axes.labelcolor": TEXT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,  # TrueType: text stays text
}


def styled():
    """Return a context (or decorator) in which matplotlib draws in the project's style."""
    return mpl.rc_context(RC)


def panels(n: int, width: float, height: float, *, rows: int = 1, **options: object) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``width`` x ``height`` inches with ``n`` axes, in a row or in as many as said."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05, hspace=0.05)
    axes = list(figure.subplots(rows, -(-n // rows), squeeze=False, **options).flat)
    for axis in axes[n:]:
        axis.remove()
    return figure, axes[:n]


def looks(names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return a colour, line style and marker for each name, all different up to 24; colours change first."""
    kinds = [
        {"color": color, "linestyle": line, "marker": marker}
        for (line, marker), color in product(zip(LINES, MARKERS, strict=True), COLORS)
    ]
    return dict(zip(names, cycle(kinds), strict=False))


def footer(figure: Figure, handles: list[Line2D], note: str) -> None:
    """Write a legend at the lower right of a figure, if there are handles, and a note at the lower left.

    A legend that leaves a note no room stands above the panels.
    """
    if handles:
        room = (1 - 2 * MARGIN) * figure.get_figwidth()
        columns = next((n for n in range(len(handles), 1, -1) if _legend_width(handles, n) < room), 1)
        beside = not note or _legend_width(handles, columns) + LEAST < room
        place = "outside lower right" if beside else "outside upper right"
        figure.legend(handles=handles, loc=place, ncols=columns)
    remark(figure, note)


def _legend_width(handles: list[Line2D], columns: int) -> float:
    """Return how wide a legend of so many columns is, in inches: letters of 8 points, of which 4.8 beside a label."""
    widths = [width(handle.get_label(), 8) + 4.8 * 8 / 72 for handle in handles]
    return sum(max(column) for column in np.array_split(widths, columns))


def remark(figure: Figure, text: str) -> None:
    """Write a note at the lower left of a figure, below the one that is there, on lines that fit."""
    if not text:
        return
    lines = [fitted(line, _room(figure), NOTE) for line in text.splitlines()]
    lines = [figure.get_supxlabel(), *lines] if figure.get_supxlabel() else lines
    figure.supxlabel("\n".join(lines), x=MARGIN, ha="left", fontsize=NOTE, color=SOFT)


def _room(figure: Figure) -> float:
    """Return how wide a note may be, in inches: up to a legend beside it, or the border."""
    figure.draw_without_rendering()
    ends = [(1 - MARGIN) * figure.get_figwidth()]
    for legend in figure.legends:
        place = legend.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        if place.y0 < 2 * NOTE / 72:
            ends.append(max(place.x0 - 0.1, LEAST))
    return min(ends) - MARGIN * figure.get_figwidth()


def _fit_titles(figure: Figure) -> None:
    """Break the titles of panels into lines that are no wider than these; bold letters are an eighth wider."""
    figure.draw_without_rendering()
    for axis in figure.axes:
        room = axis.get_window_extent().width / figure.dpi
        titles = {axis.get_title(loc=place) for place in ("left", "center", "right")}
        for text in axis.get_children():
            # `set_title` would forget how far above the panel it stands.
            if isinstance(text, Text) and text.get_text() in titles:
                lines = text.get_text().splitlines()
                text.set_text("\n".join(fitted(line, room, 1.13 * text.get_fontsize()) for line in lines))


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or PDF, by the path's suffix, without times: equal figures, equal bytes."""
    suffix = Path(path).suffix
    metadata = {
        ".png": {"Software": None},
        ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    with styled():
        _fit_titles(figure)
        figure.savefig(path, metadata=metadata[suffix])
