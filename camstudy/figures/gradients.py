"""Figures of networks that were trained alike but for one thing: their gradients, and their maps side by side."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import FULL, Box
from camstudy.figures.pictures import color, note, overlay, wrap
from camstudy.figures.style import SOFT, TEXT, styled

CELL, GAP, GROUP, MARGIN = 0.8, 0.03, 0.1, 0.08  # inches
SIDE, HEADER = 0.2, 0.72
LETTERS = 13
GRADIENTS = {"input_gradient": "gradient", "guided_backprop": "guided gradient"}
TOP = 0.99  # share of the pixels below the darkest shade, so that single ones do not decide it
Maps = Mapping[tuple[str, str], np.ndarray]
Pair = tuple[str, Sequence[str]]  # title of the network, and of its models


@styled()
def gradients(
    images: np.ndarray,
    human: np.ndarray | None,
    maps: Maps,
    labels: Sequence[str],
    *,
    pairs: Sequence[Pair],
    methods: Mapping[str, str],
    **_unused: object,
) -> Figure:
    """Return a row per network and image: the image, then for each model its gradient and its guided gradient.

    What is drawn are maps of the methods `input_gradient` and `guided_backprop`, as they are reduced over colours: the
    larger the magnitude, the darker, each scaled to its own highest hundredth.

    Parameters
    ----------
    images : uint8 (n, y, x, 3), or a sequence of images of all sizes
    human : plays no part
    maps : (model title, method title) -> maps (n, h, w)
    labels : names of the images' classes
    pairs : title of each network and of its models, those of a seed
    methods : method title -> registered method
    """
    shown = {GRADIENTS[name]: title for title, name in methods.items() if name in GRADIENTS}
    if not shown:
        raise CamstudyError("figure `gradients`: add methods of `input_gradient` and `guided_backprop` to the study")
    columns = [title for title in GRADIENTS.values() if title in shown]

    def draw(panel: Axes, model: str, column: str, n: int) -> None:
        panel.imshow(_magnitude(maps[model, shown[column]][n]), cmap="gray_r", vmin=0, vmax=1)

    # By model, then by gradient.
    groups = [[(place, column) for column in columns] for place in range(_most(pairs))]
    return _grid(images, labels, pairs, groups, draw)


@styled()
def map_pairs(
    images: np.ndarray,
    human: np.ndarray | None,
    maps: Maps,
    labels: Sequence[str],
    *,
    pairs: Sequence[Pair],
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    **_unused: object,
) -> Figure:
    """Return a row per network and image: the image, then for each method the maps of its models side by side.

    Parameters are those of `gradients`, and the part of each image that a model saw.
    """
    columns = list(dict.fromkeys(method for _, method in maps))

    def draw(panel: Axes, model: str, column: str, n: int) -> None:
        box = np.broadcast_to((boxes or {}).get(model, FULL), (len(images), 4))[n]
        # Not every method can explain every model.
        if (model, column) not in maps:
            return
        heat = maps[model, column][n]
        panel.imshow(overlay(heat, images[n], tuple(box)))
        if np.ptp(heat) == 0 or not np.isfinite(heat).all():
            note(panel, "degenerate", "lower left")

    groups = [[(place, column) for place in range(_most(pairs))] for column in columns]
    return _grid(images, labels, pairs, groups, draw)


def _grid(
    images: np.ndarray,
    labels: Sequence[str],
    pairs: Sequence[Pair],
    groups: Sequence[Sequence[tuple[int, str]]],
    draw: Callable[[Axes, str, str, int], None],
) -> Figure:
    """Return the figure: a row per network and image, and a panel for each model and column of each group."""
    left, pitch = MARGIN + SIDE, CELL + GAP
    places, x = [], left + pitch + GROUP
    for group in groups:
        for place, column in group:
            places.append((x, place, column))
            x += pitch
        x += GROUP
    width, rows = x - GROUP - GAP + MARGIN, len(pairs) * len(images)
    height = HEADER + rows * pitch + (len(pairs) - 1) * HEADER + MARGIN
    figure = Figure(figsize=(width, height))
    for band, (title, models) in enumerate(pairs):
        top = HEADER + band * (len(images) * pitch + HEADER)
        for x, place, column in places:
            if place < len(models):
                at = (x + CELL / 2) / width, 1 - (top - 0.04) / height
                text = f"{wrap(column, LETTERS)}\n{wrap(models[place], LETTERS)}"
                figure.text(*at, text, fontsize=6, ha="center", va="bottom", color=TEXT)
        at = (left - 0.03) / width, 1 - (top + len(images) * pitch / 2) / height
        figure.text(*at, title, fontsize=7, rotation=90, ha="right", va="center", color=SOFT)
        for n, label in enumerate(labels):
            y = 1 - (top + n * pitch + CELL) / height
            panel = _panel(figure, (left / width, y, CELL / width, CELL / height))
            panel.imshow(color(images[n]))
            note(panel, label, "lower left")
            for x, place, column in places:
                if place < len(models):
                    draw(_panel(figure, (x / width, y, CELL / width, CELL / height)), models[place], column, n)
    return figure


def _panel(figure: Figure, place: tuple[float, float, float, float]) -> Axes:
    panel = figure.add_axes(place, xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    return panel


def _most(pairs: Sequence[Pair]) -> int:
    return max(len(models) for _, models in pairs)


def _magnitude(gradient: np.ndarray) -> np.ndarray:
    """Return magnitudes in [0, 1], those of the highest hundredth at 1; zeros stay what they are."""
    values = np.abs(np.where(np.isfinite(gradient), gradient, 0))
    return np.clip(values / max(np.quantile(values, TOP), np.finfo(np.float32).tiny), 0, 1)
