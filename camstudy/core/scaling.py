"""Maps scaled to [0, 1], and which of them cannot be: the degenerate ones."""

import numpy as np


def min_max(maps: np.ndarray, kind: type | np.dtype = np.float64) -> np.ndarray:
    """Return maps (..., h, w) scaled to [0, 1] each, in a floating type; zeros for constant and non-finite ones.

    >>> min_max([[[1, 2, 5]], [[3, 3, 3]], [[0, 1, float("nan")]]]).tolist()
    [[[0.0, 0.25, 1.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]
    """
    maps = np.asarray(maps, kind)
    low, high = maps.min((-2, -1), keepdims=True), maps.max((-2, -1), keepdims=True)
    with np.errstate(invalid="ignore"):
        span = high - low
        usable = np.isfinite(span) & (span > 0)
        return np.where(usable, (maps - low) / np.where(usable, span, 1), 0)


def degenerate(maps: np.ndarray) -> np.ndarray:
    """Return which of the maps (n, H, W) are constant or hold a non-finite value, as bool (n,)."""
    maps = np.asarray(maps)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))  # NaN propagates into both
    return ~np.isfinite(low) | ~np.isfinite(high) | (low == high)
