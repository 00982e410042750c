"""How alike the maps of compared models are, method by method: means over images with intervals."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from camstudy.analysis.aggregate import EVERY, Settings
from camstudy.analysis.counting import Counting
from camstudy.analysis.statistics import interval
from camstudy.core.geometry import resample
from camstudy.core.scaling import degenerate
from camstudy.explain.postprocess import apply
from camstudy.metrics.similarity import map_correlation

if TYPE_CHECKING:
    from camstudy.explain.store import Heatmaps

SIMILARITY = ("dataset", "baseline", "variant", "method", "mean", "ci_low", "ci_high", "n", "n_degenerate")
AT_ONCE = 1024  # images


def summarize_similarity(
    pairs: "Mapping[tuple[str, str, str], tuple[Heatmaps, Heatmaps]]",
    methods: Mapping[str, Mapping],
    *,
    dataset: str,
    settings: Settings,
    counting: Counting = EVERY,
) -> pd.DataFrame:
    """Return the mean rank correlation of two models' maps: the columns `SIMILARITY`, a row per pair and method.

    Parameters
    ----------
    pairs : the maps of baseline and variant, by (baseline, variant, method)
    methods : the catalogue's entries, of which maps get the ``postprocess``
    settings : ``degenerate`` keeps pairs with a constant or non-finite map, whose correlation is 0, or skips them
    counting : images that count for both models of a pair are compared

    ``n`` counts the images in the mean, or their items, and ``n_degenerate`` the degenerate pairs. Models that see
    different parts of the images cannot be compared, and have no row. Maps of different resolution are compared at
    224x224. With no image left, mean and interval are NaN.
    """
    rows = []
    for (baseline, variant, method), (first, second) in pairs.items():
        if not np.array_equal(first.boxes(), second.boxes()):
            continue
        scores, odd = _correlations(first, second, methods[method]["postprocess"])
        whole = pd.DataFrame({"image": np.arange(first.n), "correlation": scores, "degenerate": odd})
        frame = counting.keep(whole, baseline, variant)
        kept = frame[~frame["degenerate"]] if settings.degenerate == "skip" else frame
        values, found = kept["correlation"].to_numpy(), (np.nan,) * 3
        if len(values):
            found = values.mean(), *interval(values, **settings.of_items(kept["image"]))
        rows.append((dataset, baseline, variant, method, *found, len(values), int(frame["degenerate"].sum())))
    return pd.DataFrame(rows, columns=list(SIMILARITY))


def _correlations(first: "Heatmaps", second: "Heatmaps", postprocess: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of each image's two maps, and whether one of them is degenerate."""
    scores, odd = np.empty(first.n), np.empty(first.n, bool)
    for start in range(0, first.n, AT_ONCE):
        part = slice(start, min(start + AT_ONCE, first.n))
        maps = [apply(store.maps(part), postprocess) for store in (first, second)]
        if first.shape != second.shape:
            maps = [resample(each) for each in maps]
        scores[part] = map_correlation(*maps)
        odd[part] = degenerate(maps[0]) | degenerate(maps[1])
    return scores, odd
