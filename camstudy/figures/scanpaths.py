"""The figure of scanpaths: in which order a method looks where, its map, and what the network saw meanwhile."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from scipy.ndimage import gaussian_filter

from camstudy.core.geometry import FULL, Box, points_in_view
from camstudy.figures.about import about, of_model, scales
from camstudy.figures.pictures import color, heat_panel, shape
from camstudy.figures.sheet import Block, Content, Sheet
from camstudy.figures.style import COLORS, SOFT, styled
from camstudy.figures.words import SIZE

TITLES = ("scanpath", "map", "first view", "middle view", "last view")
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
    explained: Mapping[tuple[str, str], Sequence[str]] | None = None,
    probability: Mapping[tuple[str, str], np.ndarray] | None = None,
    scattered: Collection[str] = (),
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
    several = len({model for model, _ in keys}) > 1
    blocks = []
    for n, key in rows:
        said = about(labels[n], *of_model(key[0], n, [key], explained, probability), None)
        blocks.append(Block(" / ".join(key if several else key[1:]), below={0: said}))
    sheet = Sheet(Content(blocks, (), [TITLES], notes=[scales(dict.fromkeys(method for _, method in keys), scattered)]))
    for block, (n, key) in enumerate(rows):
        image, box = images[n], tuple(np.broadcast_to((boxes or {}).get(key[0], FULL), (len(images), 4))[n])
        seen, path = color(image, box), scanpaths[key][n]
        path = path[np.isfinite(path).all(1)]
        panel = sheet.panel(block, 0)
        panel.imshow(seen)
        draw_path(panel, path, shape(image, box))
        heat_panel(sheet.panel(block, 1), maps[key][n], image, box, scattered=key[1] in scattered)
        for column, picture in enumerate(views(seen, path, eyes[key]) if key in (eyes or {}) and len(path) else ()):
            sheet.panel(block, 2 + column).imshow(picture)
    return sheet.finished()


def views(seen: np.ndarray, path: np.ndarray, eye: Mapping[str, float]) -> list[np.ndarray]:
    """Return what the network saw after the first, the middle and the last step, as `seen` RGB in [0, 1] (h, w, 3).

    ``path`` is (steps, 2) in fractions, ``eye`` as `scanpaths` has it. The Gaussian's kernel is not cut off here.
    """
    height, width = seen.shape[:2]
    sigmas = (eye["blur_sigma"] * side / eye["size"] for side in (height, width))
    blurred = gaussian_filter(seen, (*sigmas, 0), mode="mirror")
    axes = [(2 * np.arange(side) + 1) / side - 1 for side in (height, width)]
    remembered, found = np.zeros((height, width)), []
    for place in 2 * path - 1:
        rows, columns = (np.exp(-((z - p) ** 2) / eye["fovea_size"]) for z, p in zip(axes, place, strict=True))
        remembered = eye["forgetting"] * remembered + np.outer(rows, columns)
        found.append(seen + (blurred - seen) * np.clip(1 - remembered, 0, 1)[..., None])
    return [found[step] for step in (0, (len(found) - 1) // 2, -1)]


def draw_path(panel: Axes, path: np.ndarray, size: tuple[int, int]) -> None:
    """Draw steps (n, 2), in fractions of a panel's picture of a size, numbered from 1; neighbors share a label."""
    y, x = points_in_view(path, FULL, size)[0].T - 0.5
    panel.plot(x, y, color=COLORS[1], linewidth=0.8, marker="o", markersize=2.5)
    edge = [Stroke(linewidth=1, foreground="black"), Normal()]
    for place, steps in _together(np.stack([x, y], 1)):
        # Towards the middle, so that numbers stay within the panel.
        across, up = (1 if place[0] < size[1] / 2 else -1), (1 if place[1] > size[0] / 2 else -1)
        style = {"ha": "left" if across > 0 else "right", "va": "bottom" if up > 0 else "top", "clip_on": True}
        style |= {"xytext": (2 * across, 2 * up), "textcoords": "offset points", "fontsize": SIZE, "color": "white"}
        panel.annotate(runs(steps), place, path_effects=edge, **style)
    # Steps may lie beyond the image.
    panel.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5))


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
