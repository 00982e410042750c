"""Agreement with people: maps beside the human maps of the same images, in the square that the model saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "agreement",
    title="Agreement with people",
    metrics="agreement",
    needs=("maps", "human_map", "human_ceiling"),
    gives=("heatmap", "human_map"),
)
def agreement(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds ``heatmap`` and ``human_map``, both (n, 224, 224)."""
    from camstudy.core.geometry import resample
    from camstudy.metrics.human import human_maps
    from camstudy.metrics.scoring import Evidence

    return lambda batch: Evidence({"heatmap": resample(batch.maps), "human_map": human_maps(work, batch)})
