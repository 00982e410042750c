"""Agreement with gaze of maps that are drawn again from scanpaths: means over images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.statistics import interval

REDRAWN = (
    *("dataset", "model", "method", "protocol", "fixations", "heat_size", "own"),
    *("mean", "ci_low", "ci_high", "n"),
)


def summarize_redrawn(
    frames: Mapping[tuple[str, str], pd.DataFrame], *, dataset: str, settings: Settings, protocol: str = ""
) -> pd.DataFrame:
    """Return the mean NSS of every model and method by number of fixations and heat size: the columns `REDRAWN`.

    ``frames`` by (model, method) have a row per image, `fixations` and `heat_size`, with `own`, whether that is the
    method's, and `nss`, NaN where an image does not count. ``n`` is how many do; with none, mean and interval are NaN.
    """
    rows = []
    for (model, method), frame in frames.items():
        for (number, size, own), part in frame.groupby(["fixations", "heat_size", "own"]):
            kept = part.dropna(subset="nss").sort_values("image", kind="stable")
            values, found = kept["nss"].to_numpy(), (np.nan,) * 3
            if len(values):
                found = values.mean(), *interval(values, **settings.of_items(kept["image"]))
            rows.append((dataset, model, method, protocol, number, size, own, *found, len(values)))
    return pd.DataFrame(rows, columns=list(REDRAWN))
