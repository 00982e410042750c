"""A study's answer in words: a sentence for every comparison in its primary metric, and what cannot be told."""

import math
from collections.abc import Mapping

import pandas as pd

from camstudy.analysis.primary import Finding, findings
from camstudy.analysis.summary import Estimate
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS
from camstudy.tables.metrics import scale
from camstudy.tables.table import Column, Row, cell, decimals


def answers(config: Mapping, comparisons: pd.DataFrame) -> list[str]:
    """Return a sentence for each comparison in the study's primary metric: whether models differ, which way, how much.

    Parameters
    ----------
    config : validated configuration, as `scripts/record_study.py` writes it down
    comparisons : the long table of that name

    A difference is one that test and interval both find: corrected p below alpha, and an interval without 0. Else the
    sentence says how large a difference the interval leaves possible. A study without a primary metric has no answer.
    """
    metric = config.get("primary")
    if metric is None:
        return ["No answer: the study names no `primary` metric."]
    if not config["comparisons"]:
        return [f"No answer: the study compares no models, and its {metric} is that of each alone (see the tables)."]
    found = findings(comparisons, metric)
    if not found:
        return [f"No answer: {metric} is one of a whole data set, in which models are not compared image by image."]
    return [_sentence(config, finding) for finding in found]


def _sentence(config: Mapping, found: Finding) -> str:
    models, methods = config["catalog"]["models"], config["catalog"]["methods"]
    # Of controls, methods are compared with the center bias of gaze alone.
    titles = {CONTROL: "the center bias"} | {name: entry["title"] or name for name, entry in models.items()}
    first, second = titles[found.baseline], titles[found.variant]
    about = f"{second} and {first}, {methods[found.method]['title'] or found.method}"
    alpha = config["statistics"]["alpha"]
    if found.n == 0 or found.difference is None:
        return f"{about}: nothing can be told, as no image counts for both."
    if found.n_degenerate >= found.n:
        return f"{about}: nothing can be told, as all {found.n} pairs of maps have a degenerate one."
    if 2.0 ** (1 - found.n) >= alpha:
        # Of a signed-rank test whose differences have all one sign.
        return f"{about}: nothing can be told, as with {found.n} images no test can be below {alpha:g}."
    percent = METRICS[found.metric].unit == "%"
    factor, unit = scale(METRICS[found.metric]), " points" if percent else ""
    estimate = Estimate.of(found.difference, found.low, found.high, factor)
    told, between = _printed(estimate, percent)
    level = f"{100 * config['statistics']['confidence']:.4g}% interval {between}"
    p = "not tested" if found.p_corrected is None else f"p {_equal(found.p_corrected, alpha)}"
    numbers = f"({level}, {p}, {found.n:,} images)"
    significant = found.p_corrected is not None and found.p_corrected < alpha
    if significant and estimate.excludes_zero():
        way = "higher" if estimate.value > 0 else "lower"
        return f"{about}: {found.metric} of {second} is significantly {way}, by {told.lstrip('+-')}{unit} {numbers}."
    text = f"{about}: no significant difference in {found.metric}"
    if estimate.low is not None:
        text += f"; no difference larger than {_bound(estimate, percent)}{unit} fits the interval"
    if significant or estimate.excludes_zero():
        text += "; test and interval disagree"
    return f"{text} {numbers}."


def _printed(estimate: Estimate, percent: bool) -> tuple[str, str]:
    """Return a difference and its interval as tables print them."""
    column = Column("x", format="percent" if percent else "difference", interval=True)
    shown = cell(column, Row({"x": estimate}))
    return shown.value, shown.interval or "unknown"


def _bound(estimate: Estimate, percent: bool) -> str:
    """Return the larger size of the two ends, rounded up."""
    size = max(abs(estimate.low), abs(estimate.high))
    digits = decimals([size], 1 if percent else 3)
    return f"{math.ceil(size * 10**digits - 1e-9) / 10**digits:.{digits}f}"


def _equal(p: float, alpha: float) -> str:
    """Return a p-value as tables print it, after its sign."""
    text = cell(Column("p", format="p", levels=(alpha,)), Row({"p": p})).value
    return text.replace("<", "< ") if text[0] == "<" else f"= {text}"
