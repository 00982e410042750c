"""Figures of networks that were trained alike but for one thing: their gradients, and their maps side by side."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import FULL, Box
from camstudy.figures.about import scales
from camstudy.figures.pictures import PERCENTILES, color, common, heat_panel, scaled
from camstudy.figures.sheet import Block, Content, Sheet
from camstudy.figures.style import TEXT, styled

GRADIENTS = {"input_gradient": "gradient", "guided_backprop": "guided gradient"}
Maps = Mapping[tuple[str, str], np.ndarray]
Boxes = Mapping[str, Box | np.ndarray] | None
Pair = tuple[str, Sequence[str]]  # title of the network, and of its models


@styled()
def gradients(
    images: Sequence[np.ndarray],
    human: np.ndarray | None,
    maps: Maps,
    labels: Sequence[str],
    *,
    pairs: Sequence[Pair],
    methods: Mapping[str, str],
    boxes: Boxes = None,
    **_unused: object,
) -> Figure:
    """Return a row per network and image: the image, then for each model its gradient and its guided gradient.

    What is drawn are maps of the methods `input_gradient` and `guided_backprop`, as they are reduced over colours: the
    larger the magnitude, the darker, each between percentiles of its own.

    Parameters
    ----------
    images : uint8 (n, y, x, 3), or a sequence of images of all sizes
    human : plays no part
    maps : (model title, method title) -> maps (n, h, w)
    labels : names of the images' classes
    pairs : title of each network and of its models, those of a seed
    methods : method title -> registered method
    boxes : as `camstudy.figures.qualitative.qualitative`
    """
    shown = {GRADIENTS[name]: title for title, name in methods.items() if name in GRADIENTS}
    if not shown:
        raise CamstudyError("figure `gradients`: add methods of `input_gradient` and `guided_backprop` to the study")
    columns = [title for title in GRADIENTS.values() if title in shown]

    def draw(panel: Axes, model: str, column: str, n: int) -> None:
        values = scaled(np.abs(maps[model, shown[column]][n]), scattered=True)
        panel.imshow(values, cmap="gray_r", vmin=0, vmax=1)

    # By model, then by gradient.
    places = [(place, column) for place in range(_most(pairs)) for column in columns]
    notes = ["The darker, the larger the gradient, from percentile {} to {}.".format(*PERCENTILES)]
    return _grid(images, labels, pairs, places, draw, boxes=boxes, group=len(columns), notes=notes, scale=False)


@styled()
def map_pairs(
    images: Sequence[np.ndarray],
    human: np.ndarray | None,
    maps: Maps,
    labels: Sequence[str],
    *,
    pairs: Sequence[Pair],
    boxes: Boxes = None,
    scattered: Collection[str] = (),
    **_unused: object,
) -> Figure:
    """Return a row per network and image: the image, then for each method the maps of its models side by side.

    Parameters are those of `gradients` and of `camstudy.figures.qualitative.qualitative`.
    """
    columns = list(dict.fromkeys(method for _, method in maps))

    def draw(panel: Axes, model: str, column: str, n: int) -> None:
        heat_panel(panel, maps[model, column][n], images[n], _box(boxes, model, n), scattered=column in scattered)

    places = [(place, column) for column in columns for place in range(_most(pairs))]

    def there(model: str, column: str) -> bool:
        # Not every method can explain every model.
        return (model, column) in maps

    notes = [scales(columns, scattered)]
    return _grid(images, labels, pairs, places, draw, boxes=boxes, group=_most(pairs), notes=notes, there=there)


def _grid(
    images: Sequence[np.ndarray],
    labels: Sequence[str],
    pairs: Sequence[Pair],
    places: Sequence[tuple[int, str]],
    draw: Callable[[Axes, str, str, int], None],
    *,
    boxes: Boxes,
    there: Callable[[str, str], bool] = lambda model, column: True,
    **content: object,
) -> Figure:
    """Return the figure: a row per network and image, with a panel for each place of a model and a column."""
    titles = [
        [f"{column}: {models[place]}" if place < len(models) else None for place, column in places]
        for _, models in pairs
    ]
    blocks = [
        Block(title, [(label, TEXT)] if label else [], band=band)
        for band, (title, _) in enumerate(pairs)
        for label in labels
    ]
    sheet = Sheet(Content(blocks, ["image"], titles, **content))
    for band, (_, models) in enumerate(pairs):
        for n, image in enumerate(images):
            block = band * len(images) + n
            sheet.lead(block, 0).imshow(color(image, common([_box(boxes, model, n) for model in models])))
            for number, (place, column) in enumerate(places):
                if place < len(models) and there(models[place], column):
                    draw(sheet.panel(block, number), models[place], column, n)
    return sheet.finished()


def _box(boxes: Boxes, model: str, n: int) -> Box:
    """Return the part of image ``n`` that a model saw."""
    box = np.asarray((boxes or {}).get(model, FULL))
    return tuple(box if box.ndim == 1 else box[n])


def _most(pairs: Sequence[Pair]) -> int:
    return max(len(models) for _, models in pairs)
