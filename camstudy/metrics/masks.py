"""Masks of objects as what maps are compared with: of the part of the image that the model saw."""

import numpy as np

from camstudy.core.geometry import resample
from camstudy.metrics.scoring import Batch, Work


def object_masks(work: Work, batch: Batch) -> np.ndarray:
    """Return on which pixels of what the model saw the objects are, bool (n, 224, 224): at least half of each pixel.

    Half by bilinear interpolation, as maps are resampled. For families of one's own that need ``masks``.
    """
    pairs = zip(work.dataset.masks(batch.images), batch.views, strict=True)
    return np.stack([resample(mask, box=tuple(view)) >= 0.5 for mask, view in pairs])
