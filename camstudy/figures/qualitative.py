"""The qualitative figure: images, where people look in them, and where each model looks by each method."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from camstudy.core.geometry import FULL, Box
from camstudy.figures.about import ARROW, PREDICTED, WRONG, about, number, of_model, scales
from camstudy.figures.method_grid import method_grid
from camstudy.figures.pictures import color, common, heat_panel, note, overlay_part
from camstudy.figures.sheet import Block, Content, Sheet
from camstudy.figures.style import TEXT, styled

CLASS = "Below columns: the model's probability of the explained class."


@styled()
def qualitative(
    images: Sequence[np.ndarray],
    human: np.ndarray,
    maps: Mapping[tuple[str, str], np.ndarray],
    labels: Sequence[str],
    *,
    boxes: Mapping[str, Box | np.ndarray] | None = None,
    predicted: Mapping[str, Sequence[str]] | None = None,
    explained: Mapping[tuple[str, str], Sequence[str]] | None = None,
    probability: Mapping[tuple[str, str], np.ndarray] | None = None,
    scores: Mapping[tuple[str, str], np.ndarray] | None = None,
    scattered: Collection[str] = (),
    human_title: str = "human map",
    **_unused: object,
) -> Figure:
    """Return a band per image: the image, its human map, then a column per model and a row per method.

    Of a single model, methods are the columns. Maps lie over the grey image in the crop that the model saw, in the
    image's proportions, colored for display only: see `camstudy.figures.pictures.scaled`. A constant or non-finite map
    is marked as degenerate. Image and human map show what the models saw, or the least part that holds all of it.

    Parameters
    ----------
    images : uint8 (n, y, x, 3), or a sequence of images of all sizes
    human : human maps (n, h, w), over the whole image
    maps : (model title, method title) -> maps (n, h, w): postprocessed, at native resolution, over the crop
    labels : names of the images' classes
    boxes : model title -> crop (top, left, bottom, right) in fractions of the image, or one for each
        image (n, 4); by default all of it
    predicted : model title -> names of the predicted classes; wrong ones are written below the image or column
    explained : of the keys of ``maps``, names of the classes that maps explain; by default the labels
    probability : of these keys, the model's probabilities (n,) of these classes, NaN where not known
    scores : (model title, method title) -> Spearman correlations (n,), written into the panel
    scattered : titles of the methods whose maps are drawn between percentiles
    human_title : title of the human maps' column, to say where they are simulated

    What other figures of maps are given beside these plays no part here.
    """
    models = list(dict.fromkeys(model for model, _ in maps))
    methods = list(dict.fromkeys(method for _, method in maps))
    beside = {"boxes": boxes, "predicted": predicted, "explained": explained, "probability": probability}
    if len(models) == 1:
        shown = {"scores": scores, "scattered": scattered, "human_title": human_title}
        return method_grid(images, human, maps, labels, **beside, **shown)
    blocks = []
    for n, label in enumerate(labels):
        below = {}
        for column, model in enumerate(models):
            main, share = of_model(model, n, maps, explained, probability)
            found = predicted[model][n] if predicted and model in predicted else None
            said = about("", None if main == label else main, share, None)
            wrong = found is not None and found not in (label, main)
            if found == main and main is not None and main != label:
                said = [(f"{ARROW} {text}", WRONG) for text, _ in said]
            below[column] = [*said, *([(f"{ARROW} {found}", WRONG)] if wrong else [])]
        blocks.append(Block(about=[(label, TEXT)] if label else [], below=below))
    notes = [CLASS if probability else "", PREDICTED if predicted else "", scales(methods, scattered)]
    notes += ["Numbers in maps: Spearman correlation."] if scores else []
    content = Content(blocks, ["image", human_title], [models], methods, notes=[" ".join(filter(None, notes))])
    sheet, shape = Sheet(content), (len(images), 4)
    seen = {model: np.broadcast_to((boxes or {}).get(model, FULL), shape) for model in models}
    for n, image in enumerate(images):
        whole = common([tuple(seen[model][n]) for model in models])
        sheet.lead(n, 0).imshow(color(image, whole))
        sheet.lead(n, 1).imshow(overlay_part(human[n], image, whole))
        for row, method in enumerate(methods):
            for column, model in enumerate(models):
                if (model, method) not in maps:
                    continue
                panel, box = sheet.panel(n, column, row), tuple(seen[model][n])
                heat_panel(panel, maps[model, method][n], image, box, scattered=method in scattered)
                if scores and (model, method) in scores:
                    note(panel, number(scores[model, method][n]), "lower right")
    return sheet.finished()
