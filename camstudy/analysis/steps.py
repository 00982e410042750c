"""How much of the maps survives, step by step, as a model is randomised from the top: means over images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.statistics import interval
from camstudy.core.errors import CamstudyError

TRAINED = "trained"  # the name of step 0, at which nothing is randomised
CORRELATIONS = ("correlation", "correlation_absolute")
STEPS = (
    *("dataset", "model", "method", "protocol", "step", "name"),
    *("mean", "ci_low", "ci_high", "n", "n_degenerate"),
    *("absolute", "absolute_low", "absolute_high"),
)


def summarize_steps(
    frames: Mapping[tuple[str, str], pd.DataFrame], *, dataset: str, settings: Settings, protocol: str = ""
) -> pd.DataFrame:
    """Return the mean rank correlation with the trained model's maps: the columns `STEPS`, a row per step from 0 on.

    ``frames`` by (model, method) have a row per image and step: `image`, `step` from 1, `step_name` of the part that
    the step randomises beside those before it, `correlation`, `correlation_absolute` of the maps' magnitudes, and
    `degenerate` where either map is. At step 0 the mean is 1, of a map with itself. ``absolute`` is the mean of
    magnitudes. ``n`` counts the images in the mean, ``n_degenerate`` the degenerate pairs, which
    ``settings`` keeps, with the correlation 0, or skips. With no image left, mean and interval are NaN. Repeated images
    and correlations that are not finite raise `CamstudyError`.
    """
    rows = []
    for (model, method), frame in frames.items():
        where = f"scores of model `{model}`, method `{method}`"
        if frame.duplicated(["image", "step"]).any():
            raise CamstudyError(f"{where}: an image occurs more than once in a step; delete the file and score again")
        for column in CORRELATIONS:
            if not np.isfinite(frame[column]).all():
                raise CamstudyError(f"{where}: `{column}` is not finite; delete the file and score again")
        about = (dataset, model, method, protocol)
        rows.append((*about, 0, TRAINED, 1.0, 1.0, 1.0, frame["image"].nunique(), 0, 1.0, 1.0, 1.0))
        for (step, name), part in frame.sort_values("image").groupby(["step", "step_name"]):
            kept = part[~part["degenerate"]] if settings.degenerate == "skip" else part
            signed, absolute = (_mean(kept, column, settings) for column in CORRELATIONS)
            rows.append((*about, step, name, *signed, len(kept), int(part["degenerate"].sum()), *absolute))
    return pd.DataFrame(rows, columns=list(STEPS))


def _mean(kept: pd.DataFrame, column: str, settings: Settings) -> tuple[float, float, float]:
    values = kept[column].to_numpy()
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    return float(values.mean()), *interval(values, **settings.of_items(kept["image"]))
