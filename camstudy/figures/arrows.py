"""Points of models in a plane, an arrow from each baseline to its DCLS variant, and titles beside them."""

import itertools
import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from camstudy.analysis.summary import Estimate
from camstudy.figures.pairs import Architecture, ends
from camstudy.figures.style import COLORS, RULE
from camstudy.figures.words import fitted

MARKERS = "osD^v"  # the next one where the colours have been used up
PANEL = 3.2  # inches
RING = 8  # points across a baseline's open marker, within which a variant of the same values still shows
POINTED = 16  # points between two markers from which on there is room for an arrow's head
TITLE = 1.7  # inches, above which a title is broken into lines
DISTANCES, DIRECTIONS = (7, 12, 18, 26, 36), 16  # points and number of places tried for a label

# The coordinate of a model; None where it has none.
Coordinate = Callable[[str], Estimate | None]


def draw(axis: Axes, lines: list[Architecture], x: Coordinate, y: Coordinate) -> None:
    """Draw architectures with confidence intervals as bars, baselines open and variants, or single models, filled."""
    for line, (marker, color) in zip(lines, itertools.product(MARKERS, COLORS), strict=False):
        _draw(axis, line, x, y, marker, color)
    axis.grid(color=RULE, linewidth=0.4)
    axis.set_axisbelow(True)
    axis.margins(0.08)


def _draw(axis: Axes, line: Architecture, x: Coordinate, y: Coordinate, marker: str, color: str) -> None:
    """Draw an architecture; each point is a line labelled with its title, for `label` to find."""
    points = []
    for model, filled in ((line.baseline, line.variant is None), (line.variant, True)):
        across, up = (x(model), y(model)) if model else (None, None)
        if across is None or up is None:
            continue
        bars = {"ecolor": color, "elinewidth": 0.7, "alpha": 0.5, "fmt": "none"}
        axis.errorbar([across.value], [up.value], ends(up), ends(across), **bars)
        face = color if filled else "white"
        look = {"color": color, "mfc": face, "mew": 1.2, "zorder": 4, "label": line.title}
        size = {} if filled else {"markersize": RING}
        axis.plot([across.value], [up.value], marker, **look, **size)
        points.append((across.value, up.value))
    if len(points) == 2:
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.1, "shrinkA": 4, "shrinkB": 3}
        axis.annotate("", xytext=points[0], xy=points[1], arrowprops=arrow, zorder=3)


def label(figure: Figure, axes: list[Axes], titles: list[str]) -> None:
    """Write each title beside its points, where it covers the least of what is drawn or written."""
    figure.draw_without_rendering()  # settles the layout, so that places on the page are known
    scale = figure.dpi / 72
    for axis in axes:
        _shorten(axis, scale)
        lines = {title: [] for title in titles}
        for line in axis.lines:
            if line.get_label() in lines:
                lines[line.get_label()].append(line)
        taken = _obstacles(axis, [line for group in lines.values() for line in group], scale)
        for title, group in lines.items():
            if not group:
                continue
            # The last point is the variant's: a title belongs to it first.
            points = [axis.transData.transform(line.get_xydata()[0]) for line in reversed(group)]
            text = axis.annotate(
                fitted(title, TITLE, 7), group[-1].get_xydata()[0], xytext=(0, 0), textcoords="offset points",
                color=group[0].get_color(), fontsize=7, ha="center", va="center", zorder=5,
            )  # fmt: skip
            text.set_in_layout(False)
            size = text.get_window_extent().size
            center = _best_place(points, size, taken, axis.bbox, scale)
            text.set_position((center - points[0]) / scale)
            taken.append(Bbox.from_bounds(*(center - size / 2), *size))


def _shorten(axis: Axes, scale: float) -> None:
    """Make lines of the arrows whose heads the markers at their ends would hide."""
    for arrow in axis.texts:
        start, end = axis.transData.transform([arrow.xyann, arrow.xy])
        if np.hypot(*(end - start)) < POINTED * scale:
            arrow.arrow_patch.set_arrowstyle("-")


def _best_place(points: list, size: np.ndarray, taken: list[Bbox], frame: Bbox, scale: float) -> np.ndarray:
    """Return the center (pixels) of a label of ``size`` with the least overlap, the nearest of equals."""
    best, least = points[0], math.inf
    for distance, (rank, point), turn in itertools.product(DISTANCES, enumerate(points), range(DIRECTIONS)):
        angle = 2 * math.pi * turn / DIRECTIONS
        direction = np.array([math.cos(angle), math.sin(angle)])
        center = point + direction * (distance * scale + size / 2 * np.abs(direction))
        box = Bbox.from_bounds(*(center - size / 2), *size)
        inside = Bbox.intersection(box, frame)
        hidden = size.prod() - (inside.size.prod() if inside else 0)
        cost = 10 * hidden + sum(_overlap(box, other) for other in taken) + (distance + 3 * rank) * scale
        if cost < least:
            best, least = center, cost
    return best


def _obstacles(axis: Axes, points: list[Line2D], scale: float) -> list[Bbox]:
    """Return boxes (pixels) around markers, and along error bars and arrows."""
    pixels = [axis.transData.transform(line.get_xydata()[0]) for line in points]
    boxes = [_around(pixel, 4.5 * scale) for pixel in pixels]
    segments = [segment for bars in axis.collections for segment in bars.get_segments()]
    segments += [np.array([arrow.xyann, arrow.xy]) for arrow in axis.texts]
    for segment in segments:
        start, end = axis.transData.transform(segment)
        steps = max(2, int(np.hypot(*(end - start)) / (3 * scale)))
        boxes += [_around(start + (end - start) * t, 1.5 * scale) for t in np.linspace(0, 1, steps)]
    return boxes


def _around(center: np.ndarray, radius: float) -> Bbox:
    return Bbox.from_bounds(center[0] - radius, center[1] - radius, 2 * radius, 2 * radius)


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0
