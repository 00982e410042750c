"""The grid of methods: images, and what every method says of them, a column per method."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from camstudy.core.geometry import FULL, Box
from camstudy.figures.about import PREDICTED, about, number, of_model, people, scales
from camstudy.figures.pictures import color, dots, frames, heat_panel, note, overlay_part, shape
from camstudy.figures.scanpaths import draw_path
from camstudy.figures.sheet import Block, Content, Sheet
from camstudy.figures.style import TEXT, styled

MASKED = "Below images: the explained class and its probability; below maps: that of the image masked by the map."
CLASS = "Below images: the explained class and its probability."


@styled()
def method_grid(
    images: Sequence[np.ndarray],
    human: np.ndarray | None,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    predicted: Mapping[str, Sequence[str]] | None = None,
    explained: Mapping[tuple[str, str], Sequence[str]] | None = None,
    probability: Mapping[tuple[str, str], np.ndarray] | None = None,
    masked: Mapping[tuple[str, str], np.ndarray] | None = None,
    scattered: Collection[str] = (),
    objects: Sequence[np.ndarray] | None = None,
    points: Sequence[np.ndarray] | None = None,
    scores: Mapping[tuple[str, str], np.ndarray] | None = None,
    paths: Mapping[tuple[str, str], np.ndarray] | None = None,
    twice: bool = False,
    human_title: str = "human map",
    human_maps: str | None = None,
    **_unused: object,
) -> Figure:
    """Return a row per image and model: what the model saw of the image, the human map, then a map per method.

    Where methods are many, they are on several lines. Maps are drawn as in `camstudy.figures.qualitative.qualitative`,
    whose parameters these are; further ones play no part. The place of a method that cannot explain a model stays
    empty.

    Parameters
    ----------
    human : may be None
    masked : as ``probability``, of the image masked by the map
    objects : boxes for each image (k, 4): top, left, bottom, right in pixels
    points : of each image (k, 2), rows and columns in its pixels, drawn over the image and the maps
    scores : written into the maps, as `qualitative` asks for
    paths : of the keys of ``maps``, scanpaths to draw over them, as `camstudy.figures.scanpaths.scanpaths` has them
    twice : whether every image stands twice in ``images``; a rule parts it from the next
    """
    models = list(dict.fromkeys(model for model, _ in maps))
    methods = list(dict.fromkeys(method for _, method in maps))
    rows = [(n, model) for n in range(len(images)) for model in models]
    facts = {"predicted": predicted, "explained": explained, "probability": probability, "masked": masked}
    blocks = _blocks(rows, list(maps), methods, labels, {name: found or {} for name, found in facts.items()}, twice)
    notes = [
        MASKED if masked else CLASS if probability else "",
        PREDICTED if predicted else "",
        scales(methods, scattered),
    ]
    notes += ["Numbers in maps: Spearman correlation."] if scores else []
    notes += [f"Dots: fixations{people(human_maps)}."] if points is not None else []
    leads = ["image", *([human_title] if human is not None else [])]
    sheet = Sheet(Content(blocks, leads, [methods], notes=[" ".join(filter(None, notes))]))
    for block, (n, model) in enumerate(rows):
        image, box = images[n], tuple(np.broadcast_to((boxes or {}).get(model, FULL), (len(images), 4))[n])
        panels = [sheet.lead(block, 0)]
        panels[0].imshow(color(image, box))
        if objects is not None:
            frames(panels[0], objects[n], image, box)
        if human is not None:
            sheet.lead(block, 1).imshow(overlay_part(human[n], image, box))
        for column, key in enumerate((model, method) for method in methods):
            if key not in maps:
                continue
            panels.append(sheet.panel(block, column))
            heat_panel(panels[-1], maps[key][n], image, box, scattered=key[1] in scattered)
            if paths and key in paths:
                taken = paths[key][n][np.isfinite(paths[key][n]).all(1)]
                draw_path(panels[-1], taken, shape(image, box))
            if scores and key in scores:
                note(panels[-1], number(scores[key][n]), "lower right")
        for panel in panels if points is not None else ():
            dots(panel, points[n], image, box)
    return sheet.finished()


def _blocks(
    rows: Sequence[tuple[int, str]],
    keys: Sequence[tuple[str, str]],
    methods: Sequence[str],
    labels: Sequence[str],
    facts: Mapping[str, Mapping],
    twice: bool,
) -> list[Block]:
    """Return a block per image and model with the words below it, from what is known of both."""
    models, blocks = list(dict.fromkeys(model for _, model in rows)), []
    for n, model in rows:
        main, share = of_model(model, n, keys, facts["explained"], facts["probability"])
        below = {}
        for column, key in enumerate((model, method) for method in methods):
            name = facts["explained"][key][n] if key in facts["explained"] else main
            text = number(facts["masked"][key][n]) if key in facts["masked"] else ""
            text = text if name == main else f"{name} {text}".strip()
            below[column] = [(text, TEXT)] if text else []
        said = about(labels[n], main, share, facts["predicted"][model][n] if model in facts["predicted"] else None)
        ruled = twice and n > 0 and n % 2 == 0 and model == models[0]
        blocks.append(Block(model if len(models) > 1 else "", said, below, ruled=ruled))
    return blocks
