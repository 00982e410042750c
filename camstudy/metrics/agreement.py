"""Agreement of heatmaps with human attention maps: rank correlation and overlap of the most salient pixels.

Both maps come in the same geometry, the square that the model saw. A *degenerate* heatmap (constant, or with
a non-finite value) scores 0 on every metric here; `degenerate` tells which ones are, so that they can be
counted.
"""

import math

import numpy as np

from camstudy.core.scaling import degenerate
from camstudy.metrics.ranks import rank_correlation
from camstudy.metrics.registry import METRICS

FAMILY = "agreement"


@METRICS.register(
    "spearman",
    family=FAMILY,
    direction="up",
    range=(-1.0, 1.0),
    level="image",
    label="Spearman",
    source="Spearman 1904; for heatmaps and ClickMe maps Fel et al. 2022 (arXiv 2211.04533)",
    needs=("heatmap", "human_map"),
)
def spearman(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of heatmaps and human maps over all pixels.

    rho = Pearson's correlation of the average ranks of both maps; tied pixels share the mean of their ranks.
    In [-1, 1], higher is better, 0 by chance. No input is rounded: float64 maps are ranked as they are.

    Edge cases: equal to ``scipy.stats.spearmanr``, except that a degenerate heatmap and a constant human map give
    0 where scipy returns NaN.

    >>> ramp = np.arange(9.0).reshape(1, 3, 3)
    >>> spearman(ramp, ramp**3), spearman(ramp, -ramp)
    (array([1.]), array([-1.]))
    """
    maps, human = _pair(maps, human)
    rho = rank_correlation(maps.reshape(len(maps), -1), human.reshape(len(human), -1))
    rho[degenerate(maps)] = 0.0
    return rho


@METRICS.register(
    "dice_at_10",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Dice@10",
    source="Dice 1945, on the top 10 % of both maps",
    needs=("heatmap", "human_map"),
)
def dice_at_10(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Return Dice's coefficient of the top tenth of heatmaps and human maps.

    With a, b = `top_tenth` of the maps: 2 |a and b| / (|a| + |b| + 1e-9). In [0, 1], higher is better.

    Edge cases: a plateau at the maximum wider than a tenth of the map leaves its mask empty: 0; so does a
    degenerate heatmap.
    """
    both, first, second = _overlap(maps, human)
    return 2 * both / (first + second + 1e-9)


@METRICS.register(
    "iou_at_10",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="IoU@10",
    source="Jaccard 1901, on the top 10 % of both maps",
    needs=("heatmap", "human_map"),
)
def iou_at_10(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Return the intersection over union of the top tenth of heatmaps and human maps.

    With a, b = `top_tenth` of the maps: |a and b| / (|a or b| + 1e-9). In [0, 1], higher is better.

    Edge cases: empty masks and degenerate heatmaps give 0, as for `dice_at_10`.
    """
    both, first, second = _overlap(maps, human)
    return both / (first + second - both + 1e-9)


@METRICS.register(
    "alignment",
    family=FAMILY,
    direction="up",
    range=(-math.inf, math.inf),
    level="dataset",
    label="Alignment",
    source="Chamas et al. 2024 (arXiv 2408.03164)",
    needs=("spearman", "human_ceiling"),
)
def alignment(rho: np.ndarray, ceiling: float) -> float:
    """Return the mean of per-image Spearman correlations as a share of the human ceiling.

    mean(rho) / ceiling, where the ceiling is the mean correlation between people (0.65753 for ClickMe), taken
    as a constant. Higher is better; 1 is as well as people agree with each other.

    Edge cases: more than 1 is possible, since the map of all people is less noisy than that of one or of half.
    """
    return float(np.mean(rho) / ceiling)


def top_tenth(maps: np.ndarray) -> np.ndarray:
    """Return masks (n, H, W) of the values strictly above each map's 90th percentile (linear interpolation).

    Ties at the percentile stay outside, so a mask may cover less than a tenth. Empty for degenerate maps.
    """
    maps = np.asarray(maps)
    flat = maps.reshape(len(maps), -1)
    below, fraction = divmod(0.9 * (flat.shape[1] - 1), 1)
    places = [int(below), min(int(below) + 1, flat.shape[1] - 1)]
    low, high = np.partition(flat, places, axis=1)[:, places].astype(np.float64).T
    with np.errstate(invalid="ignore"):  # infinities; their maps are degenerate
        threshold = low + fraction * (high - low)
    return (maps > threshold[:, None, None]) & ~degenerate(maps)[:, None, None]


def _overlap(maps: np.ndarray, human: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixel counts (n,) of the common part and of either map's top tenth."""
    maps, human = _pair(maps, human)
    first, second = top_tenth(maps), top_tenth(human)
    return tuple(np.count_nonzero(mask, axis=(1, 2)) for mask in (first & second, first, second))


def _pair(maps: np.ndarray, human: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, human = np.asarray(maps), np.asarray(human)
    if maps.ndim != 3 or maps.shape != human.shape:
        raise ValueError(f"expected two arrays (n, H, W) of one shape, found {maps.shape} and {human.shape}")
    if not np.isfinite(human).all():
        raise ValueError("a human map holds a non-finite value")
    return maps, human
