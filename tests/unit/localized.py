"""The metrics of localization from maps and boxes, as `camstudy.metrics.scoring.localization` finds their evidence."""

import numpy as np

from camstudy.metrics.localization import FAMILY, map_box
from camstudy.metrics.registry import score_family


def score_localization(maps, boxes, correct=None, parameters=None, metrics=None):
    """Return the metrics of maps (n, H, W) and boxes (n, k, 4); without ``correct``, those that need none."""
    evidence = {"heatmap": maps, "box": boxes, "map_box": map_box(np.asarray(maps))}
    if correct is not None:
        evidence["correct"] = correct
    return score_family(FAMILY, evidence, parameters, metrics)
