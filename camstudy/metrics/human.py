"""Human maps as what maps are compared with: of the part of the image that the model saw."""

import numpy as np

from camstudy.core.geometry import resample_in_boxes
from camstudy.metrics.scoring import Batch, Work


def human_maps(work: Work, batch: Batch) -> np.ndarray:
    """Return the human maps of what the model saw, (n, 224, 224); for maps of half of the people, those of the rest."""
    halves = work.heatmaps.attrs["reference"] == "human_half"
    human = work.dataset.human_half(batch.images)[:, 1] if halves else work.dataset.human_map(batch.images)
    return resample_in_boxes(human, batch.views)
