"""What captions say of the images that a table or figure is about: how many, and which."""

from typing import Protocol

import pandas as pd

from camstudy.analysis.significance import numbers
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS

WHICH = {
    "all": "",
    "correct": " that the model classifies correctly",
    "correct_by_all": " that all models classify correctly",
}


class Shown(Protocol):
    """The record of a table or figure, as far as it says what is shown."""

    sources: tuple[str, ...]
    metrics: tuple[str, ...]


def counted(inputs: TableInputs, record: Shown) -> str:
    """Return the number of images behind the scores of a table or figure, least and most where they differ."""
    if "by_prediction" in record.sources:
        parts = inputs.by_prediction[inputs.by_prediction["images"] != "both_right"]
        whole = parts.groupby(["model", "method", "metric"])["n"].sum()
        return f"n = {numbers(whole)} images{recognized(inputs)}"
    policy, scores = inputs.study.get("images", "all"), _scores(inputs, record)
    of_all = (scores["model"] == CONTROL) & (policy == "correct")
    which = WHICH[policy]
    if policy == "correct" and "seeds" in record.sources:
        which += " under one seed at least"
    text = f"n = {numbers(scores.loc[~of_all, 'n'])} images{which}"
    if of_all.any():
        # They are scored once for all models.
        text += f", of controls that look at no model n = {numbers(scores.loc[of_all, 'n'])}"
    return text + (recognized(inputs) if "faithfulness" in record.metrics and policy == "all" else "")


def recognized(inputs: TableInputs) -> str:
    """Return how many of the images their models are right about; nothing where that is of other images or unknown.

    What a map says of a probability means little where the model is wrong.
    """
    right = inputs.scores[(inputs.scores["metric"] == "top1") & inputs.scores["model"].isin(inputs.study["models"])]
    right = right[right["dataset"] == inputs.dataset["dataset"]]
    if right.empty:
        return ""
    shares, counts = sorted({f"{100 * mean:.1f}" for mean in right["mean"]}, key=float), (right["mean"] * right["n"])
    ends = " to ".join(dict.fromkeys((shares[0], shares[-1])))
    return f", of which models classify {numbers(counts.round())} correctly (top-1 {ends} %)"


def captioned(caption: str, text: str) -> str:
    """Return a caption that says it, too.

    >>> captioned("All scores on scenes.", "n = 50 images")
    'All scores on scenes, n = 50 images.'
    """
    return f"{caption.removesuffix('.')}, {text}."


def _scores(inputs: TableInputs, record: Shown) -> pd.DataFrame:
    """Return the scores that it shows: of sweeps, steps or seeds, or of its families of metrics, all without any."""
    if "sweep" in record.sources:
        return inputs.sweep[inputs.sweep["metric"] == "alignment"]
    if "layers" in record.sources:
        return inputs.layers
    if "layer_scores" in record.sources:
        return inputs.layer_scores
    if "steps" in record.sources:
        return inputs.steps[inputs.steps["step"] > 0]
    scores = inputs.seeds[inputs.seeds["baseline"] == ""] if "seeds" in record.sources else inputs.scores
    scores = scores[scores["method"] != ""]
    families = scores["metric"].map(lambda name: "agreement" if name == "alignment" else METRICS[name].family)
    return scores[families.isin(record.metrics)] if record.metrics else scores
