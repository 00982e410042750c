"""Scores of images that a model is right about beside those that it is wrong about, and pairs that are both right."""

from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from camstudy.analysis.aggregate import Frames, Settings, compare, summarize
from camstudy.analysis.counting import Counting, is_correct

RIGHT, WRONG, BOTH = "right", "wrong", "both_right"
BY_PREDICTION = (
    *("dataset", "images", "baseline", "model", "method", "protocol", "metric", "mean", "ci_low", "ci_high"),
    *("p", "p_corrected", "n", "n_degenerate", "n_tests"),
)


def summarize_by_prediction(
    frames: Frames,
    pairs: Iterable[tuple[str, str]],
    predictions: Mapping[str, pd.DataFrame],
    *,
    dataset: str,
    ceiling: float | None,
    settings: Settings,
    protocol: str = "",
    metrics: tuple[str, ...] | None = None,
    partly: Collection[str] = (),
) -> pd.DataFrame:
    """Return the means of each model's right and wrong images, and differences of pairs where both are right.

    The columns `BY_PREDICTION`: ``images`` is `right`, `wrong` or `both_right`; the ``mean`` of the last is that of
    ``model`` minus ``baseline``, empty for the others, with p-values corrected over the rows of its metric.

    Parameters
    ----------
    frames : scores of all images by (model, method), without controls
    pairs : (baseline, variant) of the comparisons
    predictions : what each model predicts, a row per image, see `camstudy.analysis.counting.is_correct`
    dataset, ceiling, settings, protocol, metrics, partly : of `camstudy.analysis.aggregate.compare`

    Where no image is left, means are NaN and ``n`` is 0.
    """
    parts = {RIGHT: {}, WRONG: {}}
    for model, frame in predictions.items():
        right = is_correct(frame)
        for name, which in ((RIGHT, right), (WRONG, ~right)):
            parts[name][model] = frame.loc[which, "image"].to_numpy()
    about = {"dataset": dataset, "ceiling": ceiling, "settings": settings, "protocol": protocol}
    found = [
        summarize(Counting(images).frames(frames), **about, metrics=metrics).assign(images=name)
        for name, images in parts.items()
    ]
    both = compare(frames, pairs, **about, metrics=metrics, partly=partly, counting=Counting(parts[RIGHT]))
    found.append(both.rename(columns={"variant": "model", "difference": "mean"}).assign(images=BOTH))
    table = pd.concat([each for each in found if len(each)], ignore_index=True).reindex(columns=list(BY_PREDICTION))
    return table.assign(baseline=table["baseline"].fillna(""))
