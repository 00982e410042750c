"""Maps drawn again from stored scanpaths: beside people's fixations, by number of fixations and by size of heat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "redrawn",
    title="Maps drawn again",
    metrics="redrawn",
    needs=("raw_maps", "scanpath", "weight", "fixations"),
    gives=("first_fixation_nss",),
    settings=("heat_sizes",),
    beside=("redrawn",),
    # Images of a million pixels, each with a score of maps.
    batch=8,
)
def redrawn(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds the NSS of maps of a method's first fixations, and of all fixations with other heat sizes.

    Without a network, from the arrays `scanpath` and `weight` that the method stored beside its maps. A row beside the
    scores has ``fixations``, how many are drawn, ``heat_size``, whether that is the method's ``own``, and ``nss``, as
    `camstudy.metrics.gaze.nss` has it at the resolution of the images. Images without a fixation of people where the
    model looked do not count.
    """
    import numpy as np

    from camstudy.explain.fixations import own_heat_size, redrawn
    from camstudy.metrics.gaze import nss
    from camstudy.metrics.looking import Looking, shown
    from camstudy.metrics.scoring import Evidence

    looking, heatmaps = Looking(work.dataset), work.heatmaps
    own, steps = own_heat_size(heatmaps), heatmaps.arrays["scanpath"][1][0]
    by_number = [(number, own) for number in range(1, steps + 1)]
    kinds = [*by_number, *((steps, size) for size in work.settings["heat_sizes"] if size != own)]

    def find(batch: Batch) -> Evidence:
        views = [*looking.views(batch.images, batch.views)]
        pixels = [view.pixels for view in views]
        found = np.empty((len(views), len(kinds)))
        for column, (number, size) in enumerate(kinds):
            maps = redrawn(heatmaps, batch.images, heat_size=size, first=number)
            found[:, column] = nss(shown(maps, batch.views, views), pixels)
        rows = {
            "fixations": np.broadcast_to([number for number, _ in kinds], found.shape),
            "heat_size": np.broadcast_to([size for _, size in kinds], found.shape),
            "own": np.broadcast_to([size == own for _, size in kinds], found.shape),
            "nss": found,
        }
        counted = np.array([len(view.points) > 0 for view in views])
        return Evidence({"first_fixation_nss": found[:, 0]}, counted=counted, beside={"redrawn": rows})

    return find
