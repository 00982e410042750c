"""What the first step of a scanpath is worth; beside its scores lie those of all numbers of steps and sizes of heat."""

import numpy as np

from camstudy.metrics.registry import METRICS


@METRICS.register(
    "nss_first_fixation",
    family="redrawn",
    direction="up",
    range=(-np.inf, np.inf),
    level="image",
    label="NSS of the first fixation",
    source="NSS: Peters et al. 2005; maps from scanpaths: arXiv 2408.02123",
    needs=("first_fixation_nss",),
    partial=True,
)
def nss_first_fixation(found: np.ndarray) -> np.ndarray:
    """Return the NSS, as `nss`, of the map that a method's first fixation alone draws, with its own heat size.

    Edge cases: without fixations of people there is no score; where the first step was not taken, the map is constant
    and scores 0.
    """
    return np.asarray(found, np.float64)
