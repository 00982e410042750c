"""Pictures of maps: the part of an image that a network saw, maps over it, and the notes in their corners.

Figures draw every image and map through this module, so that geometry and colours are those of one place: a panel shows
what a network saw, in the image's own proportions, `SIDE` pixels long.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from camstudy.core.geometry import FULL, Box, boxes_in_view, points_in_view, resample
from camstudy.core.scaling import min_max
from camstudy.figures.style import COLORS, HEAT
from camstudy.figures.words import SIZE

GREY = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # luminance of red, green and blue (ITU-R BT.709)
SIDE = 224
OBJECT = COLORS[5]
PERCENTILES = (1, 99)  # where single pixels stand out, as in gradients, all others would have the lowest colour


def shape(image: np.ndarray, box: Box = FULL) -> tuple[int, int]:
    """Return height and width of a picture of a part of an image (y, x, ...), in its proportions, the longer `SIDE`.

    >>> shape(np.zeros((375, 500, 3))), shape(np.zeros((375, 500, 3)), (0, 0.125, 1, 0.875))
    ((168, 224), (224, 224))
    """
    sides = np.array(image.shape[:2]) * (box[2] - box[0], box[3] - box[1])
    height, width = np.maximum(np.round(SIDE * sides / sides.max()), 1).astype(int)
    return int(height), int(width)


def color(image: np.ndarray, box: Box = FULL) -> np.ndarray:
    """Return a part of an image (y, x, 3) in uint8 as RGB in [0, 1] (h, w, 3); black where it reaches beyond."""
    channels = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)
    return np.clip(np.moveaxis(resample(channels / 255, shape(image, box), box), 0, -1), 0, 1)


def overlay(heat: np.ndarray, image: np.ndarray, box: Box, *, scattered: bool = False) -> np.ndarray:
    """Return a map over the grey image as RGB in [0, 1] (h, w, 3): the more heat, the more colour.

    ``heat`` is of the part of the image, see `scaled`.
    """
    size = shape(image, box)
    heat = scaled(resample(np.where(np.isfinite(heat).all(), heat, 0).astype(np.float32), size), scattered=scattered)
    opacity = (0.35 + 0.4 * heat)[..., None]
    colors = mpl.colormaps[HEAT](heat)[..., :3]
    grey = np.clip(resample(image @ GREY / 255, size, box), 0, 1)[..., None]
    return (1 - opacity) * grey + opacity * colors


def overlay_part(heat: np.ndarray, image: np.ndarray, box: Box) -> np.ndarray:
    """Return `overlay` of a map that is of the whole image, such as people's."""
    return overlay(resample(heat.astype(np.float32), shape(image, box), box), image, box)


def scaled(heat: np.ndarray, *, scattered: bool = False) -> np.ndarray:
    """Return a map (h, w) as it is colored, float32 in [0, 1]; zeros for one that is constant or not finite.

    From its lowest value to its highest, or of a ``scattered`` map between `PERCENTILES`, as far as these differ.
    """
    heat = np.asarray(heat, np.float32)
    if scattered and np.isfinite(heat).all():
        low, high = np.percentile(heat, PERCENTILES).astype(np.float32)
        if low < high:
            heat = np.clip(heat, low, high)
    return min_max(heat, np.float32)


def common(boxes: Sequence[Box]) -> Box:
    """Return the least part of an image that holds all of these.

    >>> common([(0, 0.25, 1, 0.75), (0.25, 0, 0.75, 0.5)])
    (0, 0, 1, 0.75)
    """
    upper, left, lower, right = zip(*boxes, strict=True)
    return min(upper), min(left), max(lower), max(right)


def frames(panel: Axes, objects: np.ndarray, image: np.ndarray, box: Box) -> None:
    """Draw the boxes of objects (k, 4), edges in pixels of the image, around what is in them in a picture of a part."""
    if not len(objects):
        return
    found, _ = boxes_in_view(objects[None], image.shape[:2], box, shape(image, box))
    for upper, left, lower, right in found[0]:
        if lower > upper:
            place = (left - 0.5, upper - 0.5), right - left, lower - upper
            panel.add_patch(Rectangle(*place, fill=False, ec="black", lw=1.8))
            panel.add_patch(Rectangle(*place, fill=False, ec=OBJECT, lw=1))


def dots(panel: Axes, points: np.ndarray, image: np.ndarray, box: Box) -> None:
    """Draw points (k, 2), rows and columns in pixels of the image, over a picture of a part of it."""
    size = shape(image, box)
    found, inside = points_in_view(points / image.shape[:2], box, size)
    y, x = found[inside].T - 0.5
    panel.scatter(x, y, s=2, color="white", edgecolors="black", linewidths=0.3)
    # Dots at the edge would widen it.
    panel.set(xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5))


def note(axes: Axes, text: str, corner: str, background: str = "black") -> None:
    """Write into a corner of a panel, such as ``lower left``."""
    vertical, horizontal = corner.split()
    x, y = {"left": 0.03, "right": 0.97}[horizontal], {"lower": 0.03, "upper": 0.97}[vertical]
    va = {"lower": "bottom", "upper": "top"}[vertical]
    box = {"facecolor": background, "alpha": 0.65, "linewidth": 0, "pad": 1.2}
    axes.text(x, y, text, transform=axes.transAxes, ha=horizontal, va=va, color="white", fontsize=SIZE, bbox=box)


def heat_panel(panel: Axes, heat: np.ndarray, image: np.ndarray, box: Box, *, scattered: bool = False) -> None:
    """Show a map over the part of the image that it is of, and say so if it is degenerate."""
    panel.imshow(overlay(heat, image, box, scattered=scattered))
    if np.ptp(heat) == 0 or not np.isfinite(heat).all():
        note(panel, "degenerate", "lower left")
