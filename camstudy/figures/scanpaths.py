"""The figure of scanpaths: in which order a method looks where, its map, and what the network saw meanwhile."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from scipy.ndimage import gaussian_filter

from camstudy.core.geometry import COMPARISON_SIZE, FULL, Box, resample
from camstudy.figures.pictures import note, overlay, wrap
from camstudy.figures.style import COLORS, SOFT, TEXT, styled

CELL, GAP, MARGIN, SIDE, HEADER = 1.2, 0.04, 0.1, 0.3, 0.35  # inches
TURNED = 14  # letters of a row's title on a line
NEAR = 14  # pixels of a picture between the labels of steps


@styled()
def scanpaths(
    images: np.ndarray,
    _human: np.ndarray | None,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    scanpaths: Mapping[tuple[str, str], np.ndarray] | None = None,
    eyes: Mapping[tuple[str, str], Mapping[str, float]] | None = None,
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    **_unused: object,
) -> Figure:
    """Return a row per image, model and method with a scanpath: the path, the map, then foveated views.

    Steps are numbered from 1, neighbors together; the views are those after the first, the middle and the last one.
    Methods without an entry in ``scanpaths`` have no row; without any, the figure says so.

    Parameters
    ----------
    scanpaths : (model title, method title) -> (n, steps, 2), rows and columns in fractions of what the model saw, NaN
        for steps that were not taken
    eyes : of the same keys, `fovea_size`, `forgetting` and `blur_sigma` of the method, and `size`, the side in pixels
        of the input that the blur is of; keys without have no views

    The other parameters are those of `camstudy.figures.qualitative.qualitative`; further ones play no part.
    """
    keys = [key for key in maps if key in (scanpaths or {})]
    rows = [(number, key) for number in range(len(images)) for key in keys]
    if not rows:
        figure = Figure(figsize=(3.0, 0.6))
        figure.text(0.5, 0.5, "no method of this study has scanpaths", ha="center", va="center", color=SOFT)
        return figure
    titles = ["scanpath", "map", "first view", "middle view", "last view"]
    width = MARGIN + SIDE + len(titles) * (CELL + GAP) + MARGIN
    height = HEADER + len(rows) * (CELL + GAP) + MARGIN
    figure = Figure(figsize=(width, height))
    for row, (number, key) in enumerate(rows):
        top = HEADER + row * (CELL + GAP)
        box = tuple(np.broadcast_to((boxes or {}).get(key[0], FULL), (len(images), 4))[number])
        seen, path = _seen(images[number], box), scanpaths[key][number]
        path = path[np.isfinite(path).all(1)]
        shown = [seen, overlay(maps[key][number], images[number], box)]
        shown += views(seen, path, eyes[key]) if key in (eyes or {}) and len(path) else []
        for column, picture in enumerate(shown):
            left = MARGIN + SIDE + column * (CELL + GAP)
            place = (left / width, 1 - (top + CELL) / height, CELL / width, CELL / height)
            panel = figure.add_axes(place, xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            panel.imshow(picture)
            if column == 0:
                draw_path(panel, path)
                note(panel, labels[number], "lower left")
        name = "\n".join(wrap(title, TURNED) for title in (key if len({model for model, _ in keys}) > 1 else key[1:]))
        at = ((MARGIN + SIDE - 0.04) / width, 1 - (top + CELL / 2) / height)
        figure.text(*at, name, rotation=90, ha="right", va="center", multialignment="center", color=SOFT)
    for column, title in enumerate(titles):
        x = (MARGIN + SIDE + column * (CELL + GAP) + CELL / 2) / width
        figure.text(x, 1 - (HEADER - 0.05) / height, title, ha="center", va="bottom", color=TEXT)
    return figure


def views(seen: np.ndarray, path: np.ndarray, eye: Mapping[str, float]) -> list[np.ndarray]:
    """Return what the network saw after the first, the middle and the last step, as `seen` RGB in [0, 1] (h, w, 3).

    ``path`` is (steps, 2) in fractions, ``eye`` as `scanpaths` has it. The Gaussian's kernel is not cut off here.
    """
    height, width = seen.shape[:2]
    sigma = eye["blur_sigma"] * height / eye["size"]
    blurred = gaussian_filter(seen, (sigma, sigma, 0), mode="mirror")
    axes = [(2 * np.arange(side) + 1) / side - 1 for side in (height, width)]
    remembered, found = np.zeros((height, width)), []
    for place in 2 * path - 1:
        rows, columns = (np.exp(-((z - p) ** 2) / eye["fovea_size"]) for z, p in zip(axes, place, strict=True))
        remembered = eye["forgetting"] * remembered + np.outer(rows, columns)
        found.append(seen + (blurred - seen) * np.clip(1 - remembered, 0, 1)[..., None])
    return [found[step] for step in (0, (len(found) - 1) // 2, -1)]


def _seen(image: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of an image (y, x, 3) in uint8 that a model saw, RGB in [0, 1]."""
    channels = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32) / 255
    return np.clip(np.stack([resample(channel, box=box) for channel in channels], -1), 0, 1)


def draw_path(panel: Axes, path: np.ndarray) -> None:
    """Draw steps (n, 2), in fractions of a panel's picture, over it, numbered from 1; neighbors share a label."""
    y, x = (path * COMPARISON_SIZE - 0.5).T
    panel.plot(x, y, color=COLORS[1], linewidth=0.8, marker="o", markersize=2.5)
    for place, steps in _together(np.stack([x, y], 1)):
        text = panel.annotate(runs(steps), place, xytext=(2, 2), textcoords="offset points", fontsize=5, color="white")
        text.set_path_effects([Stroke(linewidth=1.0, foreground="black"), Normal()])
    # Steps may lie beyond the image.
    panel.set(xlim=(-0.5, COMPARISON_SIZE[1] - 0.5), ylim=(COMPARISON_SIZE[0] - 0.5, -0.5))


def _together(places: np.ndarray) -> list[tuple[np.ndarray, list[int]]]:
    """Return the places (n, 2) of labels, and the numbers of the steps that are too near to them for their own."""
    found: list[tuple[np.ndarray, list[int]]] = []
    for step, place in enumerate(places, 1):
        near = [steps for there, steps in found if np.hypot(*(there - place)) < NEAR]
        if near:
            near[0].append(step)
        else:
            found.append((place, [step]))
    return found


def runs(numbers: Sequence[int]) -> str:
    """Return ascending numbers with those in a row joined.

    >>> runs([1, 3, 4, 5, 9, 10])
    '1,3–5,9,10'
    """
    rows: list[list[int]] = []
    for number in numbers:
        if rows and number == rows[-1][-1] + 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return ",".join(f"{row[0]}–{row[-1]}" if len(row) > 2 else ",".join(map(str, row)) for row in rows)
