"""How alike the maps of two models are: a metric between maps of the same images."""

import numpy as np

from camstudy.core.scaling import degenerate
from camstudy.metrics.ranks import rank_correlation


def map_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each map with the other model's, float64 (n,) in [-1, 1].

    Maps are (n, h, w), at one resolution and over the same part of the images. Any increasing function of a map leaves
    the correlation as it is.

    Edge cases: 0 where either map is constant or not finite; tied values share their average rank.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"maps to compare differ in shape: {np.shape(first)} and {np.shape(second)}")
    scores = np.zeros(len(first))
    kept = ~(degenerate(first) | degenerate(second))
    if kept.any():
        scores[kept] = rank_correlation(*(maps[kept].reshape(kept.sum(), -1) for maps in (first, second)))
    return scores
