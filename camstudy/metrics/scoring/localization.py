"""Localization: maps beside the boxes of objects, in the square that the model saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.run import Batch, Evidence, Work


@FAMILIES.register(
    "localization",
    title="Localization",
    needs=("maps", "boxes", "prediction"),
    gives=("heatmap", "box", "map_box", "box_hits", "correct"),
    of_models=("correct",),
    settings=("iou", "pointing_tolerance", "pointing_ties", "max_box_share", "clip_boxes"),
)
def localization(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds maps (n, 224, 224), boxes (n, k, 4) in their pixels, and what `gives` says of both.

    Images without a box do not count. ``n_boxes`` and ``n_boxes_dropped`` are those that the model saw, and did not.
    """
    from camstudy.core.geometry import boxes_in_view, resample
    from camstudy.core.parts import read_records
    from camstudy.metrics.localization import HITS, box_hits, has_boxes, map_box
    from camstudy.metrics.run import Evidence

    dataset, settings, sizes = work.dataset, work.settings, work.dataset.shapes
    predicted = work.records["prediction"]  # none of the maps that all models share
    correct = read_records(predicted).sort_values("image")["top1"].to_numpy() if predicted else None
    parameters = {
        "pointing_game": {"tolerance": settings["pointing_tolerance"], "ties": settings["pointing_ties"]},
        "pointing_game_exact": {"ties": settings["pointing_ties"]},
        "energy_pointing_game": {"max_box_share": settings["max_box_share"]},
    }

    def find(batch: Batch) -> Evidence:
        boxes, dropped = boxes_in_view(
            dataset.boxes(batch.images), sizes[batch.images], batch.views, clip=settings["clip_boxes"]
        )
        maps = resample(batch.maps)
        found = {"heatmap": maps, "box": boxes, "map_box": map_box(maps)}
        if correct is not None:
            found["correct"] = correct[batch.images]
        if HITS in work.wanted:
            found[HITS] = box_hits(maps, boxes, iou=settings["iou"])
        columns = {"n_boxes": boxes.any(2).sum(1), "n_boxes_dropped": dropped}
        return Evidence(found, columns, counted=has_boxes(boxes), parameters=parameters)

    return find
