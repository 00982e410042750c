"""A study's answer in words: a sentence for every comparison in its primary metric, and what cannot be told."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Literal

import pandas as pd

from camstudy.analysis.primary import Finding, findings
from camstudy.analysis.summary import Estimate
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS
from camstudy.tables.metrics import scale, spoken
from camstudy.tables.table import Column, Row, cell, decimals

Verdict = Literal["higher", "lower", "no difference", "untold"]
FEW_SEEDS = 3  # whose bootstrap sees two thirds of their variance at most


def answers(
    config: Mapping,
    comparisons: pd.DataFrame,
    scores: pd.DataFrame | None = None,
    seeds: pd.DataFrame | None = None,
) -> list[str]:
    """Return a sentence for each comparison in the study's primary metric: whether models differ, which way, how much.

    Parameters
    ----------
    config : validated configuration, as `scripts/record_study.py` writes it down
    comparisons : the long table of that name
    scores : the long table of that name, of which a study that compares no models tells each model's range
    seeds : the long table of that name, of a study with several seeds: a sentence for all seeds of a comparison

    A difference is one that test and interval both find: corrected p below alpha, and an interval without 0. Else the
    sentence says how large a difference the interval leaves possible. A study without a primary metric has no answer.
    """
    metric = config.get("primary")
    if metric is None:
        return ["No answer: the study names no `primary` metric."]
    if not config["comparisons"]:
        found = [] if scores is None else [_alone(config, metric, scores, model) for model in config["models"]]
        return [_line(sentence) for sentence in found] or [
            f"No answer: the study compares no models, and its {spoken(metric)} is that of each alone."
        ]
    if (several := _of_seeds(metric, seeds)) is not None:
        return [_line(_seeds_sentence(config, row)) for _, row in several.iterrows()]
    found = findings(comparisons, metric)
    if not found:
        return [
            f"No answer: {spoken(metric)} is one of a whole data set, in which models are not compared image by image."
        ]
    return [_line(_sentence(config, finding)) for finding in found]


def _line(sentence: str) -> str:
    """Return a sentence on one line, whatever titles have in them."""
    return " ".join(sentence.split())


def tally(config: Mapping, comparisons: pd.DataFrame, seeds: pd.DataFrame | None = None) -> str:
    """Return how many comparisons find the primary metric higher, lower, or no difference; empty where few are made."""
    metric = config.get("primary")
    if metric is None:
        return ""
    if (several := _of_seeds(metric, seeds)) is not None:
        found = Counter(_seeds_verdict(row) for _, row in several.iterrows())
        return _counted(metric, found, "two models over seeds, one method", "")
    told = []
    # Each is corrected over its own kind.
    for of_control, about in ((False, "two models, one method"), (True, "a model and the center bias, one method")):
        own = (each for each in findings(comparisons, metric) if (each.baseline == CONTROL) == of_control)
        told.append(_counted(metric, Counter(verdict(config, each) for each in own), about, "significant "))
    return " ".join(filter(None, told))


def _counted(metric: str, found: Counter, about: str, test: str) -> str:
    if found.total() < 3:
        return ""
    words = {
        **{way: f"{spoken(metric)} {'significantly ' if test else ''}{way} in" for way in ("higher", "lower")},
        "no difference": f"no {test}difference in",
        "untold": "nothing to be told of",
    }
    parts = [f"{text} {found[way]}" for way, text in words.items() if found[way]]
    return f"Of {found.total()} comparisons ({about}): {', '.join(parts)}."


def verdict(config: Mapping, found: Finding) -> Verdict:
    """Return what a comparison finds of the variant: a difference is one that test and interval both find."""
    if _untold(config, found):
        return "untold"
    estimate = Estimate.of(found.difference, found.low, found.high)
    if not _is_significant(config, found) or not estimate.excludes_zero():
        return "no difference"
    return "higher" if estimate.value > 0 else "lower"


def _untold(config: Mapping, found: Finding) -> str:
    """Return why nothing can be told of a comparison; empty if something can."""
    alpha = config["statistics"]["alpha"]
    if found.n == 0 or found.difference is None:
        return "no image counts for both"
    if found.n_degenerate >= found.n:
        return f"all {found.n} pairs of maps have a degenerate one"
    if 2.0 ** (1 - found.n) >= alpha:
        # Of a signed-rank test whose differences have all one sign.
        return f"with {found.n} images no test can be below {alpha:g}"
    return ""


def _is_significant(config: Mapping, found: Finding) -> bool:
    return found.p_corrected is not None and found.p_corrected < config["statistics"]["alpha"]


def _alone(config: Mapping, metric: str, scores: pd.DataFrame, model: str) -> str:
    """Return what a model's scores range over, where it is compared with no other."""
    catalog = config["catalog"]
    own = scores[(scores["model"] == model) & (scores["metric"] == metric)]
    title, told = catalog["models"][model]["title"] or model, own[own["mean"].notna() & (own["n"] > 0)]
    if told.empty:
        return f"{title}: nothing can be told, as no image counts."
    if (told["n_degenerate"] >= told["n"]).all():
        return f"{title}: nothing can be told, as all {told['n'].max()} maps are degenerate."

    def said(row: pd.Series) -> str:
        percent = METRICS[metric].unit == "%"
        estimate = Estimate.of(row["mean"], row["ci_low"], row["ci_high"], scale(METRICS[metric]))
        shown, between = _printed(estimate, percent, signed=False)
        level = f"{100 * config['statistics']['confidence']:.4g}% interval {between}"
        return f"{shown}{' %' if percent else ''} ({level}, {row['n']:,} images)"

    lowest, highest = told.loc[told["mean"].idxmin()], told.loc[told["mean"].idxmax()]
    names = [catalog["methods"][row["method"]]["title"] or row["method"] for row in (highest, lowest)]
    if len(told) == 1:
        return (
            f"{title}, {names[0]}: {spoken(metric)} is {said(highest)}; no models are compared, and nothing is tested."
        )
    return (
        f"{title}: of {len(told)} methods, {spoken(metric)} is highest with {names[0]}, {said(highest)}, and lowest "
        f"with {names[1]}, {said(lowest)}; no models are compared, and nothing is tested."
    )


def _sentence(config: Mapping, found: Finding) -> str:
    models, methods = config["catalog"]["models"], config["catalog"]["methods"]
    # Of controls, methods are compared with the center bias of gaze alone.
    titles = {CONTROL: "the center bias"} | {name: entry["title"] or name for name, entry in models.items()}
    first, second = titles[found.baseline], titles[found.variant]
    about = f"{second} and {first}, {methods[found.method]['title'] or found.method}"
    if why := _untold(config, found):
        return f"{about}: nothing can be told, as {why}."
    percent = METRICS[found.metric].unit == "%"
    factor, unit = scale(METRICS[found.metric]), " points" if percent else ""
    estimate = Estimate.of(found.difference, found.low, found.high, factor)
    told, between = _printed(estimate, percent)
    level = f"{100 * config['statistics']['confidence']:.4g}% interval {between}"
    p = "not tested" if found.p_corrected is None else f"p {_equal(found.p_corrected, config['statistics']['alpha'])}"
    numbers = f"({level}, {p}, {found.n:,} images)"
    significant, way = _is_significant(config, found), verdict(config, found)
    if way in ("higher", "lower"):
        size = f"{told.lstrip('+-')}{unit}"
        return f"{about}: {spoken(found.metric)} of {second} is significantly {way}, by {size} {numbers}."
    text = f"{about}: no significant difference in {spoken(found.metric)}"
    if estimate.low is not None:
        text += f"; no difference larger than {_bound(estimate, percent)}{unit} fits the interval"
    if significant or estimate.excludes_zero():
        text += "; test and interval disagree"
    return f"{text} {numbers}."


def _of_seeds(metric: str, seeds: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the differences over several seeds in a metric; None where there are none."""
    if seeds is None:
        return None
    found = seeds[(seeds["metric"] == metric) & (seeds["baseline"] != "") & (seeds["n_seeds"] > 1)]
    return None if found.empty else found


def _seeds_verdict(row: pd.Series) -> Verdict:
    """Return what a difference over seeds finds: without a test, it is one whose interval leaves 0 out."""
    if not row["n"]:
        return "untold"
    if not _of_row(row).excludes_zero():
        return "no difference"
    return "higher" if row["mean"] > 0 else "lower"


def _of_row(row: pd.Series, factor: float = 1) -> Estimate:
    return Estimate.of(row["mean"], row["ci_low"], row["ci_high"], factor)


def _seeds_sentence(config: Mapping, row: pd.Series) -> str:
    models, methods = config["catalog"]["models"], config["catalog"]["methods"]
    first, second = (models[row[name]]["title"] or row[name] for name in ("baseline", "model"))
    about, way = f"{second} and {first}, {methods[row['method']]['title'] or row['method']}", _seeds_verdict(row)
    if way == "untold":
        return f"{about}: nothing can be told, as no image counts for both."
    record = METRICS[row["metric"]]
    percent, factor = record.unit == "%", scale(record)
    unit, estimate = " points" if percent else "", _of_row(row, factor)
    told, between = _printed(estimate, percent)
    level = f"{100 * config['statistics']['confidence']:.4g}% interval over seeds and images {between}"
    narrow = ", too narrow of so few seeds" if row["n_seeds"] <= FEW_SEEDS else ""
    numbers = f"({level}{narrow}, {row['n_seeds']} seeds, {row['n']:,} images; not tested)"
    if way != "no difference":
        return f"{about}: {spoken(row['metric'])} of {second} is {way}, by {told.lstrip('+-')}{unit} {numbers}."
    bound = f"no difference larger than {_bound(estimate, percent)}{unit} fits the interval"
    return f"{about}: no difference in {spoken(row['metric'])} that the interval tells from 0; {bound} {numbers}."


def _printed(estimate: Estimate, percent: bool, signed: bool = True) -> tuple[str, str]:
    """Return an estimate, by default a difference, and its interval as tables print them."""
    column = Column("x", format="percent" if percent else "difference" if signed else "estimate", interval=True)
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
