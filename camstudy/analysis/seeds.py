"""Models of several seeds: means over seeds and images, paired differences, and intervals that count both.

Frames are those of `camstudy.analysis.aggregate`; a model that was made under one seed alone has no spread of seeds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from camstudy.analysis.aggregate import DESCRIPTIVE, EVERY, Frames, Settings
from camstudy.analysis.counting import Counting
from camstudy.analysis.statistics import Replicated, replicated_mean
from camstudy.core.errors import CamstudyError

SEEDS = (
    *("dataset", "baseline", "model", "method", "protocol", "metric", "mean", "ci_low", "ci_high"),
    *("image_low", "image_high", "seed_sd", "n_seeds", "n"),
)


def summarize_seeds(
    frames: Frames,
    replicates: Mapping[str, Sequence[str]],
    pairs: Iterable[tuple[str, str]],
    *,
    dataset: str,
    settings: Settings,
    protocol: str = "",
    counting: Counting = EVERY,
) -> pd.DataFrame:
    """Return means over seeds and images, and paired differences, with the columns `SEEDS`.

    A row per model, method and metric, whose ``baseline`` is empty; and one per pair (baseline, variant), method and
    metric, whose ``mean`` is that of variant minus baseline, on the same images and under the same seeds, in their
    order. ``ci_low`` and ``ci_high`` count seeds and images, ``image_low`` and ``image_high`` images alone, see
    `camstudy.analysis.statistics.replicated_mean`; ``seed_sd`` is the standard deviation of the means of the seeds.

    Parameters
    ----------
    frames : scores by (model, method), of models as ``replicates`` has them
    replicates : the models of each seed by the name that they share
    pairs : of names that are shared
    dataset, protocol : what the frames are scores of, and by which protocol
    settings : of the bootstrap; degenerate maps are left out where they are skipped, in either model of a pair
    counting : the images that count for each seed's model, in a difference for both; ``n`` are those that do under one
        seed at least, or their items

    Raises `CamstudyError` for scores of different images.
    """
    methods = list(dict.fromkeys(method for _, method in frames))
    tables = {
        (model, method): _Scores(
            names, [frames[name, method] for name in names], f"`{model}`, {method}", settings, counting
        )
        for model, names in replicates.items()
        for method in methods
        if all((name, method) in frames for name in names)
    }
    rows = []
    for (model, method), table in tables.items():
        for metric, values in table.values():
            about = (dataset, "", model, method, protocol, metric)
            rows.append(_row(about, values, table.counts, table.images, settings))
    for baseline, variant in pairs:
        for method in methods:
            if (baseline, method) not in tables or (variant, method) not in tables:
                continue
            first, second = tables[baseline, method], tables[variant, method]
            if not first.images.equals(second.images):
                raise CamstudyError(f"comparison of `{baseline}` and `{variant}`, {method}: scores of different images")
            others = dict(second.values())
            for metric, values in first.values():
                difference, counts = others[metric] - values, first.counts & second.counts
                about = (dataset, baseline, variant, method, protocol, metric)
                rows.append(_row(about, difference, counts, first.images, settings))
    return pd.DataFrame(rows, columns=list(SEEDS))


class _Scores:
    """The scores of a model's seeds under one method, of the same images."""

    def __init__(
        self,
        names: Sequence[str],
        frames: Sequence[pd.DataFrame],
        where: str,
        settings: Settings,
        counting: Counting,
    ) -> None:
        self._frames = [frame.set_index("image").sort_index() for frame in frames]
        self.images, self._settings = self._frames[0].index, settings
        if not all(frame.index.equals(self.images) for frame in self._frames):
            raise CamstudyError(f"scores of {where}: not all seeds are scored on the same images; score them again")
        everything = pd.DataFrame({"image": self.images})
        counted = [counting.keep(everything, name)["image"] for name in names]
        self.counts = np.stack([np.isin(self.images, images) for images in counted])  # (seeds, images)

    def values(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield each metric with its values (seeds, images), NaN where there is none or it does not count."""
        for metric in self._frames[0].columns.difference(DESCRIPTIVE, sort=False):
            yield metric, np.stack([self._counted(frame, metric) for frame in self._frames])

    def _counted(self, frame: pd.DataFrame, metric: str) -> np.ndarray:
        values = frame[metric].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        if self._settings.degenerate == "skip" and "degenerate" in frame:
            values = np.where(frame["degenerate"].to_numpy(dtype=bool), np.nan, values)
        return values


def _row(about: tuple[str, ...], values: np.ndarray, counts: np.ndarray, images: pd.Index, settings: Settings) -> tuple:
    """Return a row of the table; ``counts`` (seeds, images) says which of the values do."""
    drawn = counts.any(0)
    values = np.where(counts, values, np.nan)[:, drawn]
    counted = int(np.isfinite(values).any(0).sum())
    options = settings.of_items(images[drawn])
    found = replicated_mean(values, **options) if counted else Replicated(*[np.nan] * 6)
    ends = (found.low, found.high, found.image_low, found.image_high, found.seed_sd)
    return (*about, found.mean, *ends, len(values), counted)
