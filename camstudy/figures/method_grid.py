"""The grid of methods: images, and what every method says of them, a column per method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from camstudy.core.geometry import COMPARISON_SIZE, FULL, Box, points_in_view
from camstudy.figures.pictures import color, note, overlay, wrap
from camstudy.figures.style import COLORS, SOFT, TEXT, styled

CELL, GAP, MARGIN = 0.8, 0.03, 0.08  # inches
SIDE, HEADER = 0.2, 0.5
LETTERS = 13  # of a column's title that fit on a line
OBJECT, WRONG = COLORS[2], COLORS[1]


@styled()
def method_grid(
    images: np.ndarray,
    human: np.ndarray | None,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    predicted: Mapping[str, Sequence[str]] | None = None,
    objects: Sequence[np.ndarray] | None = None,
    points: Sequence[np.ndarray] | None = None,
    human_title: str = "human map",
    **_unused: object,
) -> Figure:
    """Return a row per image and model: the image with its objects' boxes, the human map, then a map per method.

    Maps are drawn as in `camstudy.figures.qualitative.qualitative`, whose parameters these are; further ones play no
    part. The place of a method that cannot explain a model stays empty. ``objects`` are boxes for each image (k, 4):
    top, left, bottom, right in pixels; ``points``, of each image (k, 2), are rows and columns in its pixels, drawn over
    the image and what each model saw of it. ``human`` may be None.
    """
    models = list(dict.fromkeys(model for model, _ in maps))
    methods = list(dict.fromkeys(method for _, method in maps))
    titles = ["image", *([human_title] if human is not None else []), *methods]
    left, pitch = MARGIN + SIDE * (len(models) > 1), CELL + GAP
    width, rows = left + len(titles) * pitch - GAP + MARGIN, len(images) * len(models)
    height = HEADER + rows * pitch + (len(images) - 1) * GAP + MARGIN
    figure = Figure(figsize=(width, height))
    for column, title in enumerate(titles):
        at = (left + column * pitch + CELL / 2) / width, 1 - (HEADER - 0.04) / height
        figure.text(*at, wrap(title, LETTERS), fontsize=6.5, ha="center", va="bottom", color=TEXT)
    for row in range(rows):
        n, model = row // len(models), models[row % len(models)]
        top = HEADER + row * pitch + n * GAP
        panels = []
        for column in range(len(titles)):
            place = ((left + column * pitch) / width, 1 - (top + CELL) / height, CELL / width, CELL / height)
            panel = figure.add_axes(place, xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            panels.append(panel)
        if len(models) > 1:
            at = (left - 0.03) / width, 1 - (top + CELL / 2) / height
            figure.text(*at, wrap(model), fontsize=6, rotation=90, ha="right", va="center", color=SOFT)
        shown = color(images[n])
        panels[0].imshow(shown)
        note(panels[0], labels[n], "lower left")
        if objects is not None:
            _frames(panels[0], objects[n] * np.array(shown.shape[:2] * 2) / np.array(images[n].shape[:2] * 2))
        if predicted and predicted[model][n] != labels[n]:
            note(panels[0], f"predicts {predicted[model][n]}", "upper left", WRONG)
        seen = None if points is None else points[n]
        _dots(panels[0], seen, images[n], FULL)
        if human is not None:
            panels[1].imshow(overlay(human[n], images[n], FULL))
        box = np.broadcast_to((boxes or {}).get(model, FULL), (len(images), 4))[n]
        for panel, method in zip(panels[-len(methods) :], methods, strict=True):
            if (model, method) not in maps:
                continue
            heat = maps[model, method][n]
            panel.imshow(overlay(heat, images[n], tuple(box)))
            _dots(panel, seen, images[n], tuple(box))
            if np.ptp(heat) == 0 or not np.isfinite(heat).all():
                note(panel, "degenerate", "lower left")
    return figure


def _frames(panel: Axes, boxes: np.ndarray) -> None:
    """Draw boxes (k, 4), in the pixels of a panel's picture, around what is in them."""
    for upper, first, lower, last in boxes:
        size = (last - first, lower - upper)
        panel.add_patch(Rectangle((first - 0.5, upper - 0.5), *size, fill=False, ec=OBJECT, lw=1))


def _dots(panel: Axes, points: np.ndarray | None, image: np.ndarray, box: Box) -> None:
    """Draw points of an image, if there are any, over a part of it, in the pixels of a panel's picture."""
    if points is None:
        return
    found, inside = points_in_view(points / image.shape[:2], box, COMPARISON_SIZE)
    y, x = found[inside].T - 0.5
    panel.scatter(x, y, s=2, color="white", edgecolors="black", linewidths=0.3)
    # Dots at the edge would widen it.
    panel.set(xlim=(-0.5, COMPARISON_SIZE[1] - 0.5), ylim=(COMPARISON_SIZE[0] - 0.5, -0.5))
