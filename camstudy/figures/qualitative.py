"""The qualitative figure: images, where people look in them, and where each model looks by each method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camstudy.core.geometry import FULL, Box
from camstudy.figures.pictures import color, note, overlay, wrap
from camstudy.figures.style import COLORS, HEAT, SOFT, TEXT, styled

# Inches: side of a map; space between maps, between images, around; room for titles, method names, scale.
CELL, GAP, BAND_GAP, MARGIN = 0.86, 0.04, 0.16, 0.1
HEADER, SIDE, FOOTER = 0.4, 0.34, 0.36
WRONG = COLORS[1]


@styled()
def qualitative(
    images: np.ndarray,
    human: np.ndarray,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    predicted: Mapping[str, Sequence[str]] | None = None,
    scores: Mapping[tuple[str, str], np.ndarray] | None = None,
    human_title: str = "human map",
    **_unused: object,
) -> Figure:
    """Return a band per image: the image, its human map, then a column per model and a row per method.

    Maps lie over the grey image in the crop that the model saw, each scaled to its own minimum and maximum,
    for display only; a constant or non-finite map is marked as degenerate.

    Parameters
    ----------
    images : uint8 (n, y, x, 3), or a sequence of images of all sizes, which are shown as squares
    human : human maps (n, h, w), over the whole image
    maps : (model title, method title) -> maps (n, h, w): postprocessed, at native resolution, over the crop
    labels : names of the images' classes
    boxes : model title -> crop (top, left, bottom, right) in fractions of the image, or one for each
        image (n, 4); by default all of it
    predicted : model title -> names of the predicted classes; wrong ones are written into the panel
    scores : (model title, method title) -> Spearman correlations (n,), written into the panel
    human_title : title of the human maps' column, to say where they are simulated

    What other figures of maps are given beside these plays no part here.
    """
    models = list(dict.fromkeys(model for model, _ in maps))
    methods = list(dict.fromkeys(method for _, method in maps))
    page = _Page(len(images), len(models), len(methods))
    for n, image in enumerate(images):
        panel = page.lead(n, 0)
        panel.imshow(color(image))
        note(panel, labels[n], "lower left")
        page.lead(n, 1).imshow(overlay(human[n], image, FULL))
        for row, method in enumerate(methods):
            page.name(n, row, method)
            for column, model in enumerate(models):
                if (model, method) not in maps:
                    continue
                panel = page.map(n, row, column)
                heat = maps[model, method][n]
                box = np.broadcast_to((boxes or {}).get(model, FULL), (len(images), 4))[n]
                panel.imshow(overlay(heat, image, tuple(box)))
                if np.ptp(heat) == 0 or not np.isfinite(heat).all():
                    note(panel, "degenerate", "lower left")
                if scores and (model, method) in scores:
                    note(panel, f"{scores[model, method][n]:.2f}", "lower right")
                if row == 0 and predicted and predicted.get(model, labels)[n] != labels[n]:
                    note(panel, f"predicts {predicted[model][n]}", "upper left", WRONG)
    page.headers(["image", human_title, *models])
    page.footer("Numbers: Spearman correlation" if scores else "")
    return page.figure


class _Page:
    """The places of panels: bands of images from top to bottom, in inches from the upper left corner."""

    def __init__(self, images: int, models: int, methods: int) -> None:
        self.lead_side = min(methods, 2) * (CELL + GAP) - GAP
        self.pitch = methods * (CELL + GAP) - GAP + BAND_GAP
        self.first_map = MARGIN + 2 * (self.lead_side + GAP) + SIDE
        self.width = self.first_map + models * (CELL + GAP) - GAP + MARGIN
        self.height = HEADER + images * self.pitch - BAND_GAP + FOOTER
        self.figure = Figure(figsize=(self.width, self.height))

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        below = self.height - top - height
        place = (left / self.width, below / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def lead(self, image: int, column: int) -> Axes:
        """Return the panel of an image (column 0) or its human map (column 1)."""
        left = MARGIN + column * (self.lead_side + GAP)
        return self._axes(left, HEADER + image * self.pitch, self.lead_side, self.lead_side)

    def map(self, image: int, method: int, model: int) -> Axes:
        """Return the panel of a model's map."""
        left = self.first_map + model * (CELL + GAP)
        return self._axes(left, HEADER + image * self.pitch + method * (CELL + GAP), CELL, CELL)

    def name(self, image: int, method: int, title: str) -> None:
        """Write a method's title beside its row."""
        x = self.first_map - 0.05
        y = HEADER + image * self.pitch + method * (CELL + GAP) + CELL / 2
        title = wrap(title)
        self._text(x, y, title, rotation=90, ha="right", va="center", multialignment="center", color=SOFT)

    def headers(self, titles: Sequence[str]) -> None:
        """Write the titles of all columns, models last."""
        for column, title in enumerate(titles):
            if column < 2:
                x = MARGIN + column * (self.lead_side + GAP) + self.lead_side / 2
            else:
                x = self.first_map + (column - 2) * (CELL + GAP) + CELL / 2
            self._text(x, HEADER - 0.05, wrap(title), ha="center", va="bottom", color=TEXT)

    def footer(self, note: str) -> None:
        """Write a note at the lower left, draw the scale of colours at the lower right."""
        width, x = 0.8, self.width - MARGIN - 0.25
        axes = self._axes(x - width, self.height - 0.21, width, 0.08)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap=HEAT, aspect="auto")
        y = self.height - 0.17
        self._text(x - width - 0.05, y, "low", ha="right", va="center", color=SOFT)
        self._text(x + 0.05, y, "high", ha="left", va="center", color=SOFT)
        self._text(MARGIN, y, note, ha="left", va="center", color=SOFT)

    def _text(self, x: float, y: float, text: str, **style: object) -> None:
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=7, **style)
