"""Localization: maps beside the boxes of objects, in the square that the model saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "localization",
    title="Localization",
    metrics="localization",
    needs=("maps", "boxes", "prediction"),
    gives=("heatmap", "box", "map_box", "box_hits", "correct"),
    of_models=("correct",),
    settings=("iou", "components", "pointing_tolerance", "pointing_ties", "max_box_share", "clip_boxes"),
)
def localization(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds maps (n, 224, 224), boxes (n, k, 4) in their pixels, and what `gives` says of both.

    Images without a box do not count. ``n_boxes`` and ``n_boxes_dropped`` are those that the model saw, and did not.
    """
    from camstudy.core.geometry import COMPARISON_SIZE, boxes_in_view, resample
    from camstudy.core.parts import read_records
    from camstudy.metrics.localization import HITS, box_hits, has_boxes, map_box
    from camstudy.metrics.localization_protocol import parameters_of
    from camstudy.metrics.scoring import Evidence

    dataset, settings, sizes = work.dataset, work.settings, work.dataset.shapes
    predicted = work.records["prediction"]  # none of the maps that all models share
    correct = _correct(read_records(predicted).sort_values("image")) if predicted else None

    def find(batch: Batch) -> Evidence:
        shapes, views = sizes[batch.images], batch.views
        boxes, dropped = boxes_in_view(dataset.boxes(batch.images), shapes, views, clip=settings["clip_boxes"])
        parameters = parameters_of(settings, shapes * (views[:, 2:] - views[:, :2]) / COMPARISON_SIZE)
        maps = resample(batch.maps)
        found = {"heatmap": maps, "box": boxes, "map_box": map_box(maps)}
        if correct is not None:
            found["correct"] = correct[batch.images]
        if HITS in work.wanted:
            found[HITS] = box_hits(maps, boxes, iou=settings["iou"], components=settings["components"])
        columns = {"n_boxes": boxes.any(2).sum(1), "n_boxes_dropped": dropped}
        return Evidence(found, columns, counted=has_boxes(boxes), parameters=parameters)

    return find


def _correct(prediction: pd.DataFrame) -> np.ndarray:
    """Return whether the label is predicted: it comes first, or by a sigmoid head is more probable than not."""
    if "top1" in prediction:
        return prediction["top1"].to_numpy()
    return prediction["probability"].to_numpy() > 0.5
