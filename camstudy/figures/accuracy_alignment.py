"""Accuracy against alignment: what DCLS does to both, an arrow per architecture."""

import itertools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from camstudy.errors import CamstudyError
from camstudy.figures.pairs import Architecture, architectures, ends, legend_handles
from camstudy.figures.style import COLORS, RULE, SOFT, footer, panels, styled
from camstudy.summary import Estimate, TableInputs

MARKERS = "osD^v"  # the next one where the colours have been used up
PANEL = 3.6  # inches
DISTANCES, DIRECTIONS = (7, 12, 18, 26, 36), 16  # points and number of places tried for a label


@styled()
def accuracy_alignment(inputs: TableInputs) -> Figure:
    """Return a panel per method: top-1 accuracy on x, alignment on y, confidence intervals as bars.

    An arrow leads from the baseline (open) to its DCLS variant (filled). Architectures without accuracy are
    left out and named below the panels.

    Raises
    ------
    CamstudyError
        if no model has an accuracy.
    """
    lines = architectures(inputs)
    shown = [line for line in lines if _accuracy(inputs, line.baseline) or _accuracy(inputs, line.variant)]
    if not shown:
        raise CamstudyError("figures: `accuracy_alignment` needs accuracies, but no model of the study has one")
    methods = inputs.study["methods"]
    figure, axes = panels(len(methods), 0.6 + PANEL * len(methods), 0.9 + 0.85 * PANEL, sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=True):
        for line, (marker, color) in zip(shown, itertools.product(MARKERS, COLORS), strict=False):
            _draw(axis, inputs, line, method, marker, color)
        axis.set_title(inputs.method_title(method))
        axis.set_xlabel("top-1 accuracy (%)")
        axis.grid(color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
        axis.margins(0.08)
    axes[0].set_ylabel("alignment with human maps (1 = human ceiling)")
    missing = [line.title for line in lines if line not in shown]
    note = f"no accuracy: {', '.join(missing)}" if missing else ""
    footer(figure, legend_handles(SOFT, SOFT) if lines[0].variant else [], note)
    _label(figure, axes, [line.title for line in shown])
    return figure


def _accuracy(inputs: TableInputs, model: str | None) -> Estimate | None:
    return inputs.estimate(model, "", "top1", scale=100) if model else None


def _draw(axis: Axes, inputs: TableInputs, line: Architecture, method: str, marker: str, color: str) -> None:
    """Draw an architecture; its points go into one line, labelled with its title, for `_label` to find."""
    points = []
    for model, filled in ((line.baseline, line.variant is None), (line.variant, True)):
        x = _accuracy(inputs, model)
        y = inputs.estimate(model, method, "alignment") if model else None
        if x is None or y is None:
            continue
        axis.errorbar([x.value], [y.value], ends(y), ends(x), ecolor=color, elinewidth=0.7, alpha=0.5, fmt="none")
        face = color if filled else "white"
        axis.plot([x.value], [y.value], marker, color=color, mfc=face, mew=1.2, zorder=4, label=line.title)
        points.append((x.value, y.value))
    if len(points) == 2:
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 1.1, "shrinkA": 4, "shrinkB": 3}
        axis.annotate("", xytext=points[0], xy=points[1], arrowprops=arrow, zorder=3)


def _label(figure: Figure, axes: list[Axes], titles: list[str]) -> None:
    """Write each title beside its points, where it covers the least of what is drawn or written."""
    figure.draw_without_rendering()  # settles the layout, so that places on the page are known
    scale = figure.dpi / 72
    for axis in axes:
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
                title, group[-1].get_xydata()[0], xytext=(0, 0), textcoords="offset points",
                color=group[0].get_color(), fontsize=7.5, ha="center", va="center", zorder=5,
            )  # fmt: skip
            text.set_in_layout(False)
            size = text.get_window_extent().size
            center = _best_place(points, size, taken, axis.bbox, scale)
            text.set_position((center - points[0]) / scale)
            taken.append(Bbox.from_bounds(*(center - size / 2), *size))


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
