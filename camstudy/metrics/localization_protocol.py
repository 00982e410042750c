"""What a protocol of localization says to its metrics."""

from collections.abc import Mapping

import numpy as np


def parameters_of(protocol: Mapping[str, object], pixel: np.ndarray) -> dict[str, dict[str, object]]:
    """Return the parameters of metrics that a protocol's entry states, by the metric's name.

    ``pixel`` (n, 2) is the height and width of a map's pixel in pixels of each photograph.
    """
    stated, ties = protocol["pointing_tolerance"], protocol["pointing_ties"]
    tolerance = {"tolerance": stated}
    if isinstance(stated, Mapping):
        tolerance = {"tolerance": stated["pixels"], "pixel": pixel if stated["of"] == "photograph" else None}
    return {
        "pointing_game": {**tolerance, "ties": ties},
        "pointing_game_exact": {"ties": ties},
        "energy_pointing_game": {"max_box_share": protocol["max_box_share"]},
    }
