"""Panels that show pictures: images, maps over them, and the words in and above them."""

import textwrap

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from camstudy.core.geometry import Box, resample
from camstudy.core.scaling import min_max
from camstudy.figures.style import HEAT

GREY = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # luminance of red, green and blue (ITU-R BT.709)


def wrap(title: str, letters: int = 15) -> str:
    """Return a title on lines of so many letters, broken at spaces, and at hyphens where a word is too long."""
    lines = textwrap.wrap(title, letters, break_on_hyphens=False, break_long_words=False)
    if max(map(len, lines), default=0) > letters:
        # By itself, textwrap breaks at hyphens between letters only. Of the widths that need no more lines, the least
        # gives the most even ones.
        apart = title.replace("-", "- ")
        options = [textwrap.wrap(apart, width, break_long_words=False) for width in range(1, letters + 2)]
        lines = [line.replace("- ", "-") for line in next(o for o in options if len(o) == len(options[-1]))]
    return "\n".join(lines)


def note(axes: Axes, text: str, corner: str, background: str = "black") -> None:
    """Write into a corner of a panel, such as ``lower left``."""
    vertical, horizontal = corner.split()
    x, y = {"left": 0.03, "right": 0.97}[horizontal], {"lower": 0.03, "upper": 0.97}[vertical]
    va = {"lower": "bottom", "upper": "top"}[vertical]
    box = {"facecolor": background, "alpha": 0.65, "linewidth": 0, "pad": 1.2}
    axes.text(x, y, text, transform=axes.transAxes, ha=horizontal, va=va, color="white", fontsize=6, bbox=box)


def color(image: np.ndarray) -> np.ndarray:
    """Return an image (y, x, 3) in uint8 as RGB in [0, 1], of the maps' size."""
    channels = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)
    return np.clip(np.moveaxis(resample(channels / 255), 0, -1), 0, 1)


def overlay(heat: np.ndarray, image: np.ndarray, box: Box) -> np.ndarray:
    """Return a map over the grey image as RGB in [0, 1]: the more heat, the more colour."""
    heat = np.where(np.isfinite(heat).all(), heat, 0)
    heat = min_max(resample(heat.astype(np.float32)), np.float32)
    opacity = (0.35 + 0.4 * heat)[..., None]
    colors = mpl.colormaps[HEAT](heat)[..., :3]
    grey = np.clip(resample(image @ GREY / 255, box=box), 0, 1)[..., None]
    return (1 - opacity) * grey + opacity * colors
