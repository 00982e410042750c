"""The figure of images with two classes: what every method says of each, with the scanpaths of those that have some."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camstudy.figures.method_grid import method_grid
from camstudy.figures.scanpaths import draw_path
from camstudy.figures.style import SOFT, styled


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
    models, methods = (list(dict.fromkeys(key[place] for key in maps)) for place in range(2))
    figure = method_grid(images, None, maps, labels, **{**stated, "points": None})
    panels = np.array(figure.axes).reshape(len(images), len(models), 1 + len(methods))
    for (model, method), paths in (scanpaths or {}).items():
        for number, path in enumerate(paths):
            taken = path[np.isfinite(path).all(1)]
            if len(taken):
                draw_path(panels[number, models.index(model), 1 + methods.index(method)], taken)
    for upper, lower in zip(panels[1:-1:2, -1], panels[2::2, 0], strict=True):
        middle = (upper[0].get_position().y0 + lower[0].get_position().y1) / 2
        figure.add_artist(Line2D([0, 1], [middle, middle], color=SOFT, linewidth=0.6))
    return figure
