"""Distributions of per-image scores, model by model or method by method, of the same images."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camstudy.analysis.summary import TableInputs
from camstudy.core.errors import CamstudyError
from camstudy.figures.style import COLORS, PAGE, RULE, panels, remark, styled
from camstudy.figures.words import fitted
from camstudy.metrics.families import METRICS

WIDTH, ROW, POINTS = 2.6, 0.3, 300  # inches of a panel and of a row; most points that a row shows
LINE = 0.14  # inches of a line of a title
TITLE = 1.5  # inches: width of titles at the left
SPREAD = 0.28  # of points around the middle of their row


@styled()
def distribution(inputs: TableInputs) -> Figure:
    """Return a panel per method with a row per model, or of one model a row per method: a box and a point per image.

    Boxes reach from quartile to quartile with the median in them, whiskers to the last image within 1.5 times that;
    the diamond is the mean. All rows are of the same images: those that have a score of every model and method. Of very
    many images every k-th has a point, which the note tells; boxes and means are of all.

    Raises
    ------
    CamstudyError
        if no image has a score of all.
    """
    models, methods, metric = inputs.study["models"], inputs.study["methods"], _metric(inputs)
    scores = same_images(inputs.images, metric)
    if scores.empty:
        raise CamstudyError(
            f"figures: `distribution` needs images that all have a score, but none has one of `{metric}`"
        )
    together = len(models) == 1
    rows = {"": [(models[0], method) for method in methods]}
    if not together:
        rows = {inputs.method_title(method): [(model, method) for model in models] for method in methods}
    names = [
        [fitted(inputs.method_title(method) if together else inputs.title(model), TITLE, 8) for model, method in keys]
        for keys in rows.values()
    ]
    across = min(len(rows), 2)
    down = -(-len(rows) // across)
    lines = max(name.count("\n") + 1 for each in names for name in each)
    row = max(ROW, LINE * (lines + 0.5))
    width = min(1.2 + WIDTH * across, PAGE)
    height = 0.55 + down * (0.5 + row * max(map(len, rows.values())))
    figure, axes = panels(len(rows), width, height, rows=down, sharex=True, sharey=True)
    step = -(-len(scores) // POINTS)
    for axis, (title, keys), shown in zip(axes, rows.items(), names, strict=True):
        for y, key in enumerate(keys):
            if key in scores:
                _draw(axis, y, scores[key].to_numpy(float), step)
        axis.set_yticks(range(len(keys)), shown)
        axis.set_ylim(len(keys) - 0.5, -0.5)
        axis.set_title(title)
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
    for axis in axes[-across:]:
        axis.set_xlabel(_label(metric))
        axis.tick_params(labelbottom=True)
    right = "" if inputs.study.get("images", "all") == "all" else " that all models classify correctly"
    text = f"the same n = {len(scores):,} images{right} in all rows; boxes: quartiles and median; diamonds: means"
    remark(figure, text + (f"; a point for every {step} images" if step > 1 else ""))
    return figure


def same_images(frames: Mapping[tuple[str, str], pd.DataFrame], metric: str) -> pd.DataFrame:
    """Return a metric's scores: a column for each model and method, a row for each image that has a score of all.

    ``frames`` have the columns `image` and the metric; of images with several items, the mean over these counts.
    """
    columns = {
        key: frame.groupby("image")[metric].mean().astype(float) for key, frame in frames.items() if metric in frame
    }
    return pd.DataFrame(columns).dropna().sort_index()


def _draw(axis: Axes, y: int, values: np.ndarray, step: int) -> None:
    """Draw a row: points, spread in the order of images alike in every row, and the box."""
    shown = values[::step]
    shift = SPREAD * (2 * (np.arange(len(shown)) * 0.618034 % 1) - 1)
    axis.scatter(shown, y + shift, s=3, color=COLORS[5], alpha=0.6, linewidths=0, zorder=2, rasterized=True)
    line = {"color": COLORS[0], "linewidth": 1}
    axis.boxplot(
        [values], positions=[y], orientation="horizontal", widths=0.5, showfliers=False, manage_ticks=False,
        boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linewidth": 1.6}, zorder=3,
    )  # fmt: skip
    axis.plot([values.mean()], [y], "D", color=COLORS[1], markersize=3.5, markeredgecolor="white", mew=0.5, zorder=4)


def _metric(inputs: TableInputs) -> str:
    """Return the metric shown: the study's primary one if images have it, else the first that they have."""
    primary = {"alignment": "spearman"}.get(inputs.study["primary"], inputs.study["primary"])
    there = list(dict.fromkeys(name for frame in inputs.images.values() for name in frame if name in METRICS))
    if not there:
        raise CamstudyError("figures: `distribution` needs scores of images, but the study's protocols give none")
    return primary if primary in there else there[0]


def _label(metric: str) -> str:
    better = "higher" if METRICS[metric].direction == "up" else "lower"
    label = METRICS[metric].label
    return f"{label}{' with people' if metric == 'spearman' else ''}, {better} is better"
