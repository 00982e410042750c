"""From per-image scores to the long table of a study and its paired comparisons.

Scores come as data frames keyed by (model, method), one row per image: `image` and `name`, what the image is about
(`label`, `target`, `predicted`), `degenerate` where there are heatmaps, and one column per metric. Scores
that need no heatmap, such as accuracy, have the method ``""``. Bool columns are proportions, all others are means.
Metrics registered as partial may miss values (NaN, or NA in columns of pandas' type `boolean`): those images do not
count. A column `box_hits` holds an array for each image, from which box accuracy is computed for the dataset as a
whole; `class_logit` and `label_set` do so for mean average precision. Where images have several items, a row is that of
an item, and `Settings.sources` says of which image: intervals and tests are over images.

The bootstrap seed is the study's seed for every row and images are sorted first, so equal scores give equal
numbers whatever their order, and whatever else the study holds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from camstudy.analysis.counting import Counting
from camstudy.analysis.statistics import bca_interval_of_counts, bca_interval_of_means, correct, interval
from camstudy.analysis.statistics import paired_comparison as paired
from camstudy.core.average_precision import RankedImages
from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.names import CONTROL
from camstudy.data.dataset import open_dataset
from camstudy.metrics.average_precision import LABEL_SET, LOGITS
from camstudy.metrics.families import METRICS
from camstudy.metrics.localization import HITS, box_accuracy

Frames = Mapping[tuple[str, str], pd.DataFrame]

DESCRIPTIVE = (
    *("image", "name", "label", "target", "predicted", "degenerate", HITS, LOGITS, LABEL_SET),
    *("n_boxes", "n_boxes_dropped", "n_fixations", "n_fixations_dropped"),
)
SCORES = ("dataset", "model", "method", "protocol", "metric", "mean", "ci_low", "ci_high", "n", "n_degenerate")
COMPARISONS = (
    *("dataset", "baseline", "variant", "method", "protocol", "metric", "difference", "ci_low", "ci_high"),
    *("p", "p_corrected", "n", "n_degenerate", "n_tests"),
)
HELD_OUT = ("held_out_alignment", "held_out_alignment_even", "held_out_alignment_odd")
EVERY = Counting({})
CURVES = ("model", "method", "protocol", "curve", "share", "mean", "n")


@dataclass(frozen=True)
class Settings:
    """The choices of a study that its statistics depend on.

    ``degenerate``: "score" keeps degenerate heatmaps with the score that each metric states for them, "skip"
    leaves them out of means and pairs; they are counted either way. ``correction`` is a name in
    `camstudy.analysis.statistics.CORRECTIONS`. ``iou`` are the levels that `box_hits` was made with. ``sources`` are
    the images of the dataset's items, as `camstudy.data.dataset.Dataset.sources`; None where each image is one.
    """

    confidence: float = 0.95
    resamples: int = 9999
    seed: int = 0
    degenerate: str = "score"
    correction: str = "holm"
    iou: tuple[float, ...] = (0.5,)
    sources: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.degenerate not in ("score", "skip"):
            raise unknown("policy for degenerate heatmaps", self.degenerate, ("score", "skip"))

    @classmethod
    def of(cls, study: Mapping, items: Sequence[str] = ()) -> "Settings":
        """Return those of a study: ``seed``, ``degenerate``, ``statistics`` and, if its protocols say so, ``iou``.

        ``items`` has the manifest of a dataset whose images have several items, and is empty for others.
        """
        statistics = {key: study["statistics"][key] for key in ("confidence", "resamples", "correction")}
        iou = tuple(study.get("iou") or cls.iou)
        sources = open_dataset(items[0]).sources if items else None
        return cls(seed=study["seed"], degenerate=study["degenerate"], iou=iou, sources=sources, **statistics)

    @property
    def bootstrap(self) -> dict[str, float | int]:
        """The arguments of the interval functions of `camstudy.analysis.statistics`."""
        return {"confidence": self.confidence, "resamples": self.resamples, "seed": self.seed}

    def of_items(self, images: pd.Series | np.ndarray) -> dict[str, object]:
        """Return these arguments for scores of some items, given by their positions in the dataset."""
        groups = None if self.sources is None else self.sources[np.asarray(images, np.int64)]
        return self.bootstrap | {"groups": groups}


def summarize(
    frames: Frames,
    *,
    dataset: str,
    ceiling: float | None,
    settings: Settings,
    protocol: str = "",
    metrics: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Return the long table: one row per model, method and metric, all or some, with the columns `SCORES`.

    ``protocol`` is the name of that by which the frames were scored, empty for scores that follow none.
    ``alignment`` is added after ``spearman``: mean and interval divided by ``ceiling``, the mean correlation
    between people, taken as a constant; where nothing was compared with people, it may be None. ``box_accuracy`` is
    added at the end, where there are `box_hits`; its interval repeats the choice of the threshold in each resample.
    ``mean_average_precision`` is added likewise, of images. ``n`` counts the images in the mean, or their items,
    ``n_degenerate`` the degenerate heatmaps, skipped or not. With no image left, mean and interval are NaN. Repeated
    images, missing scores and an impossible ceiling raise `CamstudyError`.
    """
    _check_ceiling(dataset, ceiling, frames.values())
    rows = []
    for (model, method), frame in frames.items():
        frame = _sorted_scores(model, method, frame)
        degenerate = _degenerate(frame)
        kept = frame[~degenerate] if settings.degenerate == "skip" else frame
        for metric, column, scale in _metrics(frame, ceiling):
            if metrics and metric not in metrics:
                continue
            counted = kept.dropna(subset=column)
            values = _values(counted[column])
            mean, low, high = _mean_and_interval(values, settings, counted["image"])
            row = (dataset, model, method, protocol, metric, mean / scale, low / scale, high / scale)
            rows.append((*row, len(values), int(degenerate.sum())))
        if HITS in frame:
            hits = kept.dropna(subset=HITS)
            row = (dataset, model, method, protocol, "box_accuracy", *_box_accuracy(hits, settings))
            rows.append((*row, len(hits), int(degenerate.sum())))
        if LOGITS in frame:
            images = _images(kept, settings)
            row = (dataset, model, method, protocol, "mean_average_precision", *_average_precision(images, settings))
            rows.append((*row, len(images), int(degenerate.sum())))
    return pd.DataFrame(rows, columns=list(SCORES))


def summarize_sweep(frames: Frames, **options: object) -> pd.DataFrame:
    """Return the alignment of every model and method at every floor: the columns `SCORES` and ``floor``.

    Frames have a row per image and ``floor``, NaN where there is none, the floors of each image in the protocol's
    order. Options are those of `summarize`. Rows of the metrics `HELD_OUT` say what a best floor is worth on images
    that it was not chosen on, see `held_out`.
    """
    tables = []
    for key, frame in frames.items():
        for floor, part in frame.groupby("floor", dropna=False):
            part = {key: part.drop(columns="floor")}
            table = summarize(part, **options, metrics=("alignment",))
            tables.append(table.assign(floor=floor))
        tables.append(held_out(key, frame, **options))
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def held_out(
    key: tuple[str, str], frame: pd.DataFrame, *, dataset: str, ceiling: float, settings: Settings, protocol: str = ""
) -> pd.DataFrame:
    """Return the alignment of each half of the images at the floor that is best on the other: three rows as above.

    Halves are every other image. `held_out_alignment_odd`: of the second, fourth ... image, at the ``floor`` that is
    best on the first, third ...; `held_out_alignment_even`: the other way round; `held_out_alignment`: of all images,
    each at the floor of the other half, ``floor`` NaN. The best floor has the highest mean correlation, the first of
    equals. Intervals take the floors as given. No rows where a half has no image that counts.
    """
    frame = frame.sort_values("image", kind="stable")
    n = frame["image"].nunique()
    if n == 0:
        return pd.DataFrame(columns=[*SCORES, "floor"])
    floors, rho = frame["floor"].to_numpy()[: len(frame) // n], frame["spearman"].to_numpy().reshape(n, -1)
    degenerate = frame["degenerate"].to_numpy(dtype=bool).reshape(n, -1)
    counts = ~degenerate if settings.degenerate == "skip" else np.ones_like(degenerate)
    odd, rows, chosen = _odd(frame["image"].unique(), settings), [], np.zeros(n, int)
    for half in (~odd, odd):
        number = counts[~half].sum(0)
        if not number.any() or not half.any():
            return pd.DataFrame(columns=[*SCORES, "floor"])
        sums = np.where(counts[~half], rho[~half], 0).sum(0)
        chosen[half] = np.where(number > 0, sums / np.maximum(number, 1), -np.inf).argmax()
    at_floor, images = (np.arange(n), chosen), frame["image"].unique()
    for metric, half in zip(HELD_OUT, (np.ones(n, bool), ~odd, odd), strict=True):
        counted = half & counts[at_floor]
        mean, low, high = _mean_and_interval(rho[at_floor][counted], settings, images[counted])
        row = (dataset, *key, protocol, metric, mean / ceiling, low / ceiling, high / ceiling)
        found = int(counted.sum()), int(degenerate[at_floor][half].sum())
        rows.append((*row, *found, np.nan if half.all() else floors[chosen[half][0]]))
    return pd.DataFrame(rows, columns=[*SCORES, "floor"])


def _odd(images: np.ndarray, settings: Settings) -> np.ndarray:
    """Return which are the second, fourth ... image, bool (n,); the items of an image are on one side."""
    sources = images if settings.sources is None else settings.sources[images]
    return np.unique(sources, return_inverse=True)[1] % 2 == 1


def mean_curves(frames: Frames, *, protocol: str = "") -> pd.DataFrame:
    """Return the mean curves of insertion and deletion of every model and method: the columns `CURVES`.

    Frames have a row per image with an array (steps + 1,) each in ``insertion`` and ``deletion``; ``share`` is that of
    the pixels inserted or deleted so far, from 0 to 1.
    """
    tables = []
    for (model, method), frame in frames.items():
        for curve in ("insertion", "deletion"):
            points = np.stack(frame[curve].to_list()).astype(np.float64)
            share = np.linspace(0, 1, points.shape[1])
            about = {"model": model, "method": method, "protocol": protocol, "curve": curve, "n": len(points)}
            tables.append(pd.DataFrame({"share": share, "mean": points.mean(0)}).assign(**about)[list(CURVES)])
    return pd.concat(tables, ignore_index=True)


def compare(
    frames: Frames,
    pairs: Iterable[tuple[str, str]],
    *,
    dataset: str,
    ceiling: float | None,
    settings: Settings,
    protocol: str = "",
    metrics: tuple[str, ...] | None = None,
    partly: Collection[str] = (),
    counting: Counting = EVERY,
) -> pd.DataFrame:
    """Return the paired comparisons variant - baseline on the same images, with the columns `COMPARISONS`.

    One row per pair of models (baseline, variant), method of the two models and metric, all or some. Methods of
    ``partly`` can explain some models only, and are left out of pairs of which one has no scores of them. ``frames``
    have all images, of which those are compared that count for both models of a pair.
    p-values are corrected over the rows of each metric, whose number is ``n_tests``. ``n`` counts the pairs
    compared and ``n_degenerate`` those with a degenerate heatmap in either model. Pairs of which a partial metric
    misses a value do not count. With no pair left the difference is NaN and p is 1. Metrics of a whole dataset, such
    as ``box_accuracy``, have no pairs and no rows. Models without scores, and models scored with different methods or
    on different images raise `CamstudyError`.
    """
    _check_ceiling(dataset, ceiling, frames.values())
    found = [
        ((dataset, baseline, variant, method, protocol), *_pairs(frames, (baseline, method), (variant, method)))
        for baseline, variant in pairs
        for method in _common_methods(frames, baseline, variant, partly)
    ]
    return _compared(found, ceiling, settings, metrics, counting)


def compare_with_control(
    frames: Frames, control: str, *, dataset: str, settings: Settings, protocol: str = "", counting: Counting = EVERY
) -> pd.DataFrame:
    """Return the paired comparisons of each model's methods with a control's maps, as `compare` does.

    The ``baseline`` is the model `control`; p-values are corrected over all models and methods. Metrics must need no
    human ceiling.
    """
    found = [
        ((dataset, CONTROL, model, method, protocol), *_pairs(frames, (CONTROL, control), (model, method)))
        for model, method in frames
        if model != CONTROL
    ]
    return _compared(found, None, settings, None, counting)


def _compared(
    found: Iterable[tuple[tuple[str, ...], pd.DataFrame, pd.DataFrame]],
    ceiling: float | None,
    settings: Settings,
    metrics: tuple[str, ...] | None,
    counting: Counting,
) -> pd.DataFrame:
    """Return the comparisons of frames of the same images, given under which names, on those that count for both."""
    rows = []
    for about, *whole in found:
        first, second = (counting.keep(frame, *about[1:3]) for frame in whole)
        degenerate = _degenerate(first) | _degenerate(second)
        if settings.degenerate == "skip":
            first, second = first[~degenerate], second[~degenerate]
        for metric, column, scale in _metrics(first, ceiling):
            if (metrics is None or metric in metrics) and column in second:
                both = first[column].notna() & second[column].notna()
                pair = (_values(frame.loc[both, column]) for frame in (first, second))
                values = _difference(*pair, scale, settings, first.loc[both, "image"])
                rows.append((*about, metric, *values, int(both.sum()), int(degenerate.sum())))
    columns = [name for name in COMPARISONS if name not in ("p_corrected", "n_tests")]
    table = pd.DataFrame(rows, columns=columns)
    tests = table.astype({"p": np.float64}).groupby("metric")["p"]
    table["p_corrected"] = tests.transform(lambda p: correct(p.to_numpy(), settings.correction))
    table["n_tests"] = tests.transform("size")
    return table[list(COMPARISONS)]


def _metrics(frame: pd.DataFrame, ceiling: float | None) -> Iterator[tuple[str, str, float]]:
    """Yield the metrics of a frame: name, column, and what to divide the column's values by."""
    for column in frame.columns:
        if column not in DESCRIPTIVE:
            yield column, column, 1.0
        if column == "spearman":
            yield "alignment", column, ceiling


def _values(scores: pd.Series) -> np.ndarray:
    """Return scores without missing values as an array, pandas' own booleans as bool."""
    return scores.to_numpy(dtype=bool) if scores.dtype == "boolean" else scores.to_numpy()


def _images(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the first item of each image."""
    return frame if settings.sources is None else frame[settings.sources[frame["image"]] == frame["image"]]


def _average_precision(images: pd.DataFrame, settings: Settings) -> tuple[float, float, float]:
    ranked = RankedImages(*(np.stack(images[column].to_list()) for column in (LOGITS, LABEL_SET)))
    found = bca_interval_of_counts(ranked.n, ranked.mean_average_precision, **settings.bootstrap)
    return float(ranked.mean_average_precision(np.ones((1, ranked.n)))[0]), *found


def _box_accuracy(frame: pd.DataFrame, settings: Settings) -> tuple[float, float, float]:
    if len(frame) == 0:
        return np.nan, np.nan, np.nan
    hits = np.stack(frame[HITS].to_list())
    levels, thresholds = len(settings.iou), hits.shape[1]
    # Of the share of images found at each level and threshold: the best threshold for a level, the mean over levels.
    reached = (hits[:, None] > np.arange(levels)[:, None]).reshape(len(hits), -1)
    interval = bca_interval_of_means(
        reached,
        lambda shares: shares.reshape(-1, levels, thresholds).max(2).mean(1),
        **settings.of_items(frame["image"]),
    )
    return box_accuracy(hits, iou=settings.iou), *interval


def _mean_and_interval(
    values: np.ndarray, settings: Settings, images: pd.Series | np.ndarray
) -> tuple[float, float, float]:
    if len(values) == 0:
        return np.nan, np.nan, np.nan
    return float(values.mean()), *interval(values, **settings.of_items(images))


def _difference(
    first: np.ndarray, second: np.ndarray, scale: float, settings: Settings, images: pd.Series
) -> tuple[float, ...]:
    """Return mean difference, interval and p-value; the test does not depend on the scale."""
    if len(first) == 0:
        return np.nan, np.nan, np.nan, 1.0
    found = paired(first, second, **settings.of_items(images))
    return found.difference / scale, found.low / scale, found.high / scale, found.p


def _sorted_scores(model: str, method: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame sorted by image, after checking that images are unique and scores are there."""
    where = f"scores of model `{model}`" + (f", method `{method}`" if method else "")
    if frame["image"].duplicated().any():
        image = frame.loc[frame["image"].duplicated(), "image"].iloc[0]
        raise CamstudyError(f"{where}: image {image} occurs more than once; delete the file and score again")
    for metric in frame.columns.difference(DESCRIPTIVE):
        scores = frame[metric]
        if metric in METRICS and METRICS[metric].partial:
            scores = scores.dropna()
        missing = int((~np.isfinite(_values(scores.dropna()))).sum() + scores.isna().sum())
        if missing:
            raise CamstudyError(
                f"{where}: `{metric}` is not finite for {missing} images; delete the file and score again"
            )
    return frame.sort_values("image", ignore_index=True)


def _degenerate(frame: pd.DataFrame) -> np.ndarray:
    """Return which images have a degenerate heatmap, as bool (n,): none where there are no heatmaps."""
    return frame["degenerate"].to_numpy(dtype=bool) if "degenerate" in frame else np.zeros(len(frame), dtype=bool)


def _common_methods(frames: Frames, baseline: str, variant: str, partly: Collection[str]) -> list[str]:
    """Return the methods that both models were scored with, in the order of the baseline's."""
    methods = {}
    for model in (baseline, variant):
        methods[model] = [method for name, method in frames if name == model]
        if not methods[model]:
            raise unknown("model in a comparison:", model, {name for name, _ in frames})
    different = set(methods[baseline]) ^ set(methods[variant])
    if different - set(partly):
        names = ", ".join(f"`{name}`" if name else "accuracy" for name in sorted(different))
        raise CamstudyError(f"comparison: only one of `{baseline}` and `{variant}` has scores of {names}")
    return [method for method in methods[baseline] if method not in different]


def _pairs(frames: Frames, baseline: tuple[str, str], variant: tuple[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the frames of two models and their methods, row by row of the same images."""
    first, second = (_sorted_scores(*key, frames[key]) for key in (baseline, variant))
    if not np.array_equal(first["image"], second["image"]):
        alone = len(set(first["image"]) ^ set(second["image"]))
        raise CamstudyError(
            f"comparison, method `{variant[1]}`: {alone} images are scored for only one of "
            f"`{baseline[0]}` and `{variant[0]}`; score both on the same dataset"
        )
    return first, second


def _check_ceiling(dataset: str, ceiling: float | None, frames: Iterable[pd.DataFrame]) -> None:
    if not any("spearman" in frame for frame in frames):
        return
    if ceiling is None or not (np.isfinite(ceiling) and ceiling > 0):
        raise CamstudyError(f"dataset `{dataset}`: human_ceiling must be a positive number, found {ceiling}")
