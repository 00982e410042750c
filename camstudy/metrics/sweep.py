"""Sensitivity to the threshold: how maps agree with human maps at many floors, from raw maps read once."""

from collections.abc import Sequence

import numpy as np

from camstudy.core.geometry import resample
from camstudy.core.scaling import degenerate
from camstudy.explain.postprocess import apply
from camstudy.metrics.ranks import rank_correlation


def sweep_floors(maps: np.ndarray, human: np.ndarray, floors: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return Spearman correlations, float64 (n, floors), and which maps are degenerate, bool (n, floors).

    Each is what `camstudy.metrics.agreement.spearman` gives for the maps with that floor, exactly: a floor makes new
    ties between pixels, so that every floor has ranks of its own. Only the human map is ranked once for all.

    Parameters
    ----------
    maps : raw maps (n, h, w) at native resolution
    human : human maps (n, H, W) in the square that the model saw, at the size of the comparison; finite
    floors : as in the postprocess ``{floor: ...}``; None is the raw map, without min-max

    Raises `CamstudyError` for a floor outside [0, 1), ValueError for human maps that are not finite.
    """
    if not np.isfinite(human).all():
        raise ValueError("a human map holds a non-finite value")
    n, *size = human.shape
    ranked = np.empty((n, len(floors), size[0] * size[1]), np.result_type(maps, np.float32))
    flat = np.empty((n, len(floors)), bool)
    for column, floor in enumerate(floors):
        floored = apply(maps, {} if floor is None else {"floor": floor})
        flat[:, column] = degenerate(floored)
        # Constant, they have no correlation: it becomes 0.
        floored = np.where(flat[:, column, None, None], 0, floored)
        ranked[:, column] = resample(floored, tuple(size)).reshape(n, -1)
    return rank_correlation(ranked, human.reshape(n, -1)), flat
