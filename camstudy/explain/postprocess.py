"""The part of a method that is applied when its maps are read: min-max and floor, at native resolution."""

from collections.abc import Mapping

import numpy as np

from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.scaling import min_max


def apply(maps: np.ndarray, postprocess: Mapping[str, float]) -> np.ndarray:
    """Return maps (n, h, w) after ``postprocess``; ``{}`` leaves them as they are.

    ``{"floor": f}``, 0 <= f < 1: min-max per image to [0, 1], then max(map, f), as in Threshold-Grad-CAM
    (arXiv 2408.03164, f = 0.3): lower values become ties at f. A constant map has no min-max: it becomes all
    zero, not f, and stays recognisable as degenerate. Maps with NaN or infinite values stay non-finite.

    Raises `CamstudyError` for an unknown key and a floor outside [0, 1).

    >>> apply(np.array([[[0.0, 1.0, 4.0]], [[5.0, 5.0, 5.0]]]), {"floor": 0.3}).tolist()
    [[[0.3, 0.3, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    for key in postprocess:
        if key != "floor":
            raise unknown("postprocess", key, ["floor"])
    if "floor" not in postprocess:
        return maps
    floor = postprocess["floor"]
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor < 1:
        raise CamstudyError(f"postprocess `floor`: a number from 0 to below 1 is needed, found {floor!r}")
    scaled = min_max(maps, np.result_type(maps, np.float16))
    # A map that is not constant has a maximum of 1.
    floored = np.where(scaled.any((-2, -1), keepdims=True), np.maximum(scaled, floor), 0)
    finite = np.isfinite(maps).all((-2, -1), keepdims=True)
    return np.where(finite, floored, maps).astype(maps.dtype, copy=False)
