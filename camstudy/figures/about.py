"""Words below pictures: what an image shows, which class maps explain, how probable it is, what a model predicts."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from camstudy.analysis.summary import TableInputs
from camstudy.figures.pictures import PERCENTILES
from camstudy.figures.style import COLORS, TEXT
from camstudy.metrics.scoring import FAMILIES

WRONG, ARROW = COLORS[1], "→"
PREDICTED = f"{ARROW} what the model predicts where that is another class."
PEOPLE = {"human_map", "human_ceiling", "fixations"}
Key = tuple[str, str]  # titles of a model and of a method


def about(label: str, explained: str | None, probability: float, predicted: str | None) -> list[tuple[str, str]]:
    """Return the lines below an image with their colours; what is not known is None, or a probability of NaN.

    A class that is predicted in the place of the image's follows an arrow.
    """
    wrong = predicted is not None and predicted != label
    if explained is None or explained == label:
        lines = [(_with(label, probability), TEXT)]
    elif explained == predicted:
        return [(label, TEXT), (_with(f"{ARROW} explained: {explained}", probability), WRONG)]
    else:
        lines = [(label, TEXT), (_with(f"explained: {explained}", probability), TEXT)]
    return [line for line in [*lines, *([(f"{ARROW} {predicted}", WRONG)] if wrong else [])] if line[0]]


def of_model(
    model: str,
    n: int,
    maps: Iterable[Key],
    explained: Mapping[Key, Sequence[str]] | None,
    probability: Mapping[Key, np.ndarray] | None,
) -> tuple[str | None, float]:
    """Return the class that a model's maps of image ``n`` explain, that of the first method, and its probability."""
    key = next(key for key in maps if key[0] == model)
    name = None if explained is None or key not in explained else str(explained[key][n])
    return name, float("nan") if probability is None or key not in probability else float(probability[key][n])


def number(value: float) -> str:
    """Return a probability or a correlation as it is written; nothing for NaN."""
    return f"{value:.2f}" if np.isfinite(value) else ""


def scales(methods: Iterable[str], scattered: Iterable[str]) -> str:
    """Return how colours are scaled, given the titles of the methods shown, and of those whose maps are scattered."""
    methods, apart = list(methods), {*scattered}
    low, high = PERCENTILES
    clipped = [method for method in methods if method in apart]
    between = f"from percentile {low} to {high}"
    if not clipped:
        return "Colors: each map from its lowest to its highest value."
    if len(clipped) == len(methods):
        return f"Colors: each map {between} of its values."
    return f"Colors: each map from its lowest to its highest value; {', '.join(clipped)} {between}."


def people(what: str | None) -> str:
    """Return what is made by people, as far as a dataset says how it came about: `` (simulated)``."""
    return f" ({what})" if what else ""


def intervals(inputs: TableInputs, what: str) -> str:
    """Return of which confidence a figure's intervals are, given how they are drawn."""
    return f"{what}: {100 * inputs.study['statistics']['confidence']:.4g}% confidence intervals"


def simulated(inputs: TableInputs) -> str:
    """Return that human maps are simulated, if they are and what a figure of scores shows is compared with them."""
    families = {entry["family"] for entry in inputs.study["catalog"]["protocols"].values()}
    compared = any(PEOPLE & {*FAMILIES[family].needs} for family in families if family in FAMILIES)
    return "human maps are simulated" if compared and inputs.dataset.get("human_maps") == "simulated" else ""


def _with(text: str, probability: float) -> str:
    return f"{text} {number(probability)}".strip()
