"""Notes that tables have in common: the data, what alignment is, degenerate maps, intervals."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import pandas as pd

from camstudy.analysis.significance import numbers
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL

TIED = 0.05  # share of an image's pixels from which on ties are worth a note


def about(inputs: TableInputs, alignment: pd.DataFrame, family: str = "agreement") -> Iterator[str]:
    """Yield the dataset with the number of images of these scores, its human maps, and the alignment by a protocol."""
    dataset = inputs.dataset
    yield f"Dataset: {dataset['dataset']}, {images(inputs, alignment['n'])}."
    others = {"simulated": ("simulated", "the simulation"), "model": ("made by a model", "that model")}
    if dataset["human_maps"] in others:
        made, what = others[dataset["human_maps"]]
        yield f"Human maps are {made}, not recorded from people: alignment says how well a map agrees with {what}."
    else:
        yield f"Human maps are {dataset['human_maps']}."
    yield (
        "Alignment: mean over images of the Spearman rank correlation between map and human map, divided by "
        f"the human ceiling, {dataset['human_ceiling']:.5g}. Protocol: {inputs.protocol_title(family)}."
    )


def targets(inputs: TableInputs, methods: Iterable[str]) -> Iterator[str]:
    """Yield which class is explained, method by method only where they differ."""
    label = "the image's label" if inputs.dataset.get("images") is None else "the item's"
    words = {
        "label": label,
        "predicted": "the class that the model predicts",
        "second": "the class of the model's second largest logit",
        "other": "the class of the model's largest logit but for the label's",
    }
    catalog = inputs.study["catalog"]["methods"]
    chosen = {method: (catalog[method]["target"], catalog[method].get("references")) for method in methods}
    for target, first in dict.fromkeys(chosen.values()):
        names = [inputs.method_title(method) for method in chosen if chosen[method] == (target, first)]
        which = "" if len(names) == len(chosen) else f" ({', '.join(names)})"
        images = {None: "images", 1: "first image"}.get(first, f"first {first} images")
        means = {"embedding": f"{label}, as the mean embedding of its {images}"}
        yield f"Explained class{which}: {(words | means).get(target, f'`{target}`')}."


def degenerate(inputs: TableInputs, scores: pd.DataFrame, scored: str = "scored as 0") -> str:
    """Return the numbers of degenerate maps behind these scores, of one metric, and what was done about them."""
    found = scores[scores["n_degenerate"] > 0]
    if found.empty:
        return "Degenerate maps (constant or non-finite): no degenerate maps."
    policy = {"score": scored, "skip": "left out of the means"}[inputs.study["degenerate"]]
    names = []
    for row in found.itertuples():
        title = "" if row.model == CONTROL else f"{inputs.title(row.model)}, "
        stage = f", stage {row.stage}" if "stage" in found else ""
        names.append(f"{title}{inputs.method_title(row.method)}{stage}: {row.n_degenerate:.0f}")
    return f"Degenerate maps (constant or non-finite), {policy}: {'; '.join(names)}."


def tied(inputs: TableInputs, ties: str) -> Iterator[str]:
    """Yield the maps of which many pixels have one value, with their share, where it was scored, and their order."""
    orders = {
        "row_major": "from the first down",
        "reversed": "from the last up",
        "mean": "from the first down and from the last up, of which the mean counts",
    }
    scores = inputs.scores[inputs.scores["metric"] == "tied_pixels"]
    found = scores[scores["mean"] >= TIED]
    if len(found):
        names = []
        for row in found.itertuples():
            title = "" if row.model == CONTROL or len(inputs.study["models"]) == 1 else f"{inputs.title(row.model)}, "
            names.append(f"{title}{inputs.method_title(row.method)}: {100 * row.mean:.0f} %")
        yield (
            f"Tied pixels, of the most frequent value of a map, come {orders[ties]}; their share, where it is "
            f"{100 * TIED:.0f} % or more: {'; '.join(names)}."
        )


def images(inputs: TableInputs, counts: pd.Series) -> str:
    """Return how many images are in scores; where images have several items, how many items, and of how many images."""
    if inputs.dataset.get("images") is None:
        return f"{numbers(counts)} images"
    return f"{numbers(counts)} items (an image and a class that is in it) of {inputs.dataset['images']:,} images"


def intervals(inputs: TableInputs) -> str:
    """Return what the intervals are."""
    statistics = inputs.study["statistics"]
    level, resamples = f"{100 * statistics['confidence']:.4g}", f"{statistics['resamples']:,}"
    return f"Intervals: {level}% BCa bootstrap confidence intervals over images, {resamples} resamples."


def skipped(inputs: TableInputs) -> Iterator[str]:
    """Yield how many images of the dataset were left out, as they cannot be decoded or their boxes are wrong."""
    if count := inputs.dataset.get("skipped"):
        what = "image that cannot be used was" if count == 1 else "images that cannot be used were"
        yield f"{count:,} {what} left out of {inputs.dataset['dataset']}."


def versions(inputs: TableInputs) -> Iterator[str]:
    """Yield the packages of which results of several versions meet, whose rounding may differ."""
    several = {package: found for package, found in inputs.versions.items() if len(found) > 1}
    if several:
        names = "; ".join(f"{package} {', '.join(found)}" for package, found in several.items())
        yield f"Made with several versions of libraries, under which results may differ beyond rounding: {names}."


def random_weights(inputs: TableInputs) -> Iterator[str]:
    """Yield which networks are neither trained nor have weights that someone has trained."""
    names = [inputs.title(model) for model, record in inputs.models.items() if _is_random(record)]
    if names:
        yield f"Random weights, not trained: {', '.join(names)}."


def _is_random(record: Mapping) -> bool:
    """Whether a model's weights are nothing but random numbers, by its record; not where that does not say so."""
    if record.get("training", True) is not None or "start" not in record:
        return False
    return record["start"] is None or _is_random(record["start"])


def seen_in_training(inputs: TableInputs) -> Iterator[str]:
    """Yield which networks were trained on the very dataset that is explained or predicted, of which they know more."""
    shown = dict.fromkeys([inputs.dataset["dataset"], inputs.study.get("prediction_dataset") or ""])
    for dataset in shown:
        names = [inputs.title(model) for model, record in inputs.models.items() if dataset in _trained_on(record)]
        if names:
            yield f"Trained on the images of {dataset}, which are scored here: {', '.join(names)}."


def _trained_on(record: Mapping) -> set[str]:
    """Return the datasets that a model was trained on, first and last, by its record."""
    own = (record.get("training") or {}).get("dataset")
    return ({own} if own else set()) | (_trained_on(record["start"]) if record.get("start") else set())


def published(rows: Collection[Mapping]) -> Iterator[str]:
    """Say where published values come from, and how many of them are no first-hand ones; nothing without any."""
    if not rows:
        return
    sources = dict.fromkeys(row["published_source"] for row in rows)
    yield f"Published: {len(rows)} values; {'; '.join(sources)}."
    if unverified := sum(row["published_verified"] is False for row in rows):
        yield f"{unverified} of them are second-hand or inferred: differences may be those of protocols."
