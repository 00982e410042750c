"""Sanity checks of explanations: do maps change when the model forgets what it has learnt?

Pure functions of maps; `camstudy.metrics.randomization` makes them, from models whose weights are randomised.
"""

import numpy as np

from camstudy.core.scaling import degenerate
from camstudy.metrics.ranks import rank_correlation
from camstudy.metrics.registry import METRICS

FAMILY = "sanity"


def step_correlation(original: np.ndarray, randomized: np.ndarray, *, absolute: bool = False) -> np.ndarray:
    """Return the rank correlation of each map with itself after randomisation, float64 (n,) in [-1, 1].

    Parameters
    ----------
    original, randomized : maps (n, h, w) at their own resolution, of the trained model and of one with random weights
    absolute : whether to compare magnitudes, which for signed maps disregards a mere change of sign

    0 where either map is degenerate (constant, or with a non-finite value).
    """
    original, randomized = np.asarray(original), np.asarray(randomized)
    if original.ndim != 3 or original.shape != randomized.shape:
        raise ValueError(f"expected two arrays (n, h, w) of one shape, found {original.shape} and {randomized.shape}")
    if absolute:
        original, randomized = np.abs(original), np.abs(randomized)
    broken = degenerate(original) | degenerate(randomized)
    first, second = (np.where(broken[:, None, None], 0, maps).reshape(len(maps), -1) for maps in (original, randomized))
    return rank_correlation(first.astype(original.dtype), second.astype(randomized.dtype))


@METRICS.register(
    "randomization_spearman",
    family=FAMILY,
    direction="down",
    range=(-1.0, 1.0),
    level="image",
    label="Randomisation, Spearman",
    source="Adebayo et al. 2018 (arXiv 1810.03292), model-parameter randomisation",
    needs=("step_correlation",),
)
def randomization_spearman(correlation: np.ndarray) -> np.ndarray:
    """Return how much of a map's ranking survives when the model's weights are randomised from the top.

    Mean over steps of Spearman's correlation with the trained model's map: the first step randomises the
    uppermost part, which is the classifier where there are steps enough, each further one the next part below as
    well, the last one everything. ``correlation`` is (n, steps), from `step_correlation`. A map that says something
    about the model must change: values near 1 mean that it shows the image alone.

    Edge cases: a map that is degenerate, before or after, counts 0 at that step; how many are should be looked at,
    since 0 is a pass.
    """
    return _mean(correlation)


@METRICS.register(
    "randomization_spearman_absolute",
    family=FAMILY,
    direction="down",
    range=(-1.0, 1.0),
    level="image",
    label="Randomisation, Spearman of magnitudes",
    source="Adebayo et al. 2018 (arXiv 1810.03292), model-parameter randomisation",
    needs=("step_correlation_absolute",),
)
def randomization_spearman_absolute(correlation: np.ndarray) -> np.ndarray:
    """Return the same as `randomization_spearman`, of the maps' absolute values.

    Edge cases: as for `randomization_spearman`; equal to it for maps without negative values.
    """
    return _mean(correlation)


def _mean(correlation: np.ndarray) -> np.ndarray:
    correlation = np.asarray(correlation, np.float64)
    if correlation.ndim != 2 or not (np.abs(correlation) <= 1 + 1e-12).all():
        raise ValueError(f"expected correlations (n, steps) in [-1, 1], found shape {correlation.shape}")
    return correlation.mean(1)
