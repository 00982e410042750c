"""The figure of images with two classes: what every method says of each, with the scanpaths of those that have some."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from camstudy.figures.method_grid import method_grid
from camstudy.figures.style import styled


@styled()
def class_specific(
    images: np.ndarray,
    _human: np.ndarray | None,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    scanpaths: Mapping[tuple[str, str], np.ndarray] | None = None,
    **stated: object,
) -> Figure:
    """Return two rows per image and model, of one of its classes each: the image with the class's boxes, then maps.

    Every image stands twice in ``images``, one after the other, with a class of it in ``labels``; a rule parts it from
    the next. Over the map of a method with ``scanpaths``, as `camstudy.figures.scanpaths.scanpaths` has them, are its
    steps. The other parameters are those of `camstudy.figures.method_grid.method_grid`.
    """
    return method_grid(images, None, maps, labels, **{**stated, "points": None}, paths=scanpaths, twice=True)
