"""The threshold sweep: agreement with human maps at every floor, from raw maps that are read once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "sweep",
    title="Threshold sweep",
    needs=("raw_maps", "human_map", "human_ceiling"),
    gives=(),
    settings=("floors",),
    place=("sweep", "protocol"),
    # Maps of 224x224 at a dozen floors, float32, are 40 MB.
    batch=16,
)
def sweep(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds `spearman` and `degenerate` maps at each floor, a row each; no floor is NaN."""
    import numpy as np

    from camstudy.metrics.human import human_maps
    from camstudy.metrics.scoring import Evidence
    from camstudy.metrics.sweep import sweep_floors

    floors = work.settings["floors"]

    def find(batch: Batch) -> Evidence:
        rho, degenerate = sweep_floors(batch.maps, human_maps(work, batch), floors)
        rows = {"floor": np.broadcast_to(np.array(floors, float), rho.shape), "spearman": rho, "degenerate": degenerate}
        return Evidence({}, rows)

    return find
