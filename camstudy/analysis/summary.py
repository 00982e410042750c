"""The numbers of a finished study, as tables and figures look them up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from camstudy.analysis import BESIDE
from camstudy.analysis.images import read_images
from camstudy.analysis.published import read_published
from camstudy.core.names import untried_name
from camstudy.core.parts import read_table
from camstudy.core.provenance import all_versions, read_json
from camstudy.core.store import open_store

STRICTER_LEVELS = (0.01, 0.001)
NOISE = 1e-9  # what is smaller is rounding: no score has a difference of that size


@dataclass(frozen=True)
class TableInputs:
    """All that tables and score figures are made from.

    Parameters
    ----------
    scores : long table: dataset, model, method, protocol, metric, mean, ci_low, ci_high, n, n_degenerate. `alignment`
        is the mean Spearman correlation divided by the human ceiling, `top1` a share in [0, 1] with an empty
        method and protocol; controls have the model `control`
    comparisons : dataset, baseline, variant, method, protocol, metric, difference, ci_low, ci_high, p,
        p_corrected, n, n_tests; may be empty
    models : records of the models by name: title, parameters, ...
    study : validated configuration; of its catalogue, ``methods`` with ``title`` and ``target``, and ``protocols``,
        those that are shown, one of a family
    dataset : attributes of the dataset: dataset, human_maps ("simulated" or "recorded"), ..., human_ceiling, and where
        images have several items ``images``, their number
    sweep : only where it is asked for, alignment by floor: the columns of ``scores`` and ``floor``, NaN for none; and
        what best floors are worth on other images: `camstudy.analysis.aggregate.held_out`
    layers : only where it is asked for, alignment by stage: the columns of ``scores`` and ``stage``
    layer_scores : only where it is asked for, faithfulness by stage: the same columns
    cost : only where it is asked for, the records of `scripts/cost.py` by model
    curves : only where it is asked for, mean curves: `camstudy.analysis.aggregate.CURVES`
    steps : only where it is asked for, the columns of `camstudy.analysis.steps.STEPS`
    redrawn : only where it is asked for, the columns of `camstudy.analysis.redrawn.REDRAWN`
    similarity : only where it is asked for, the columns of `camstudy.analysis.similarity.SIMILARITY`
    seeds : only where it is asked for, `camstudy.analysis.seeds.SEEDS`; ``study`` then has ``replicates``
    by_prediction : only where it is asked for, `camstudy.analysis.by_prediction.BY_PREDICTION`
    timing : only where it is asked for, the records of `scripts/time_method.py` by (model, method)
    images : only where it is asked for, scores of single images by (model, method): those that count
    versions : the versions of each library that the results were made with
    published : only where it is asked for, what `camstudy.analysis.published.read_published` returns
    """

    scores: pd.DataFrame
    comparisons: pd.DataFrame
    models: Mapping[str, Mapping]
    study: Mapping
    dataset: Mapping
    sweep: pd.DataFrame | None = None
    layers: pd.DataFrame | None = None
    layer_scores: pd.DataFrame | None = None
    cost: Mapping[str, Mapping] | None = None
    curves: pd.DataFrame | None = None
    published: pd.DataFrame | None = None
    steps: pd.DataFrame | None = None
    similarity: pd.DataFrame | None = None
    seeds: pd.DataFrame | None = None
    redrawn: pd.DataFrame | None = None
    by_prediction: pd.DataFrame | None = None
    timing: Mapping[tuple[str, str], Mapping] | None = None
    images: Mapping[tuple[str, str], pd.DataFrame] | None = None
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def estimate(self, model: str, method: str, metric: str, scale: float = 1.0) -> "Estimate | None":
        """Return a score times ``scale``; None where the study has none."""
        row = _only(self.scores, model=model, method=method, metric=metric)
        return None if row is None else Estimate.of(row["mean"], row["ci_low"], row["ci_high"], scale)

    def count(self, model: str, method: str, metric: str) -> int | None:
        """Return the number of images in a score; None where the study has none."""
        row = _only(self.scores, model=model, method=method, metric=metric)
        return None if row is None else int(row["n"])

    def at_floor(self, model: str, method: str, floor: float | None) -> "Estimate | None":
        """Return the alignment of the threshold sweep at a floor, None for none; None where there is no score."""
        floors = self.sweep["floor"]
        table = self.sweep[floors.isna() if floor is None else floors == floor]
        row = _only(table, model=model, method=method, metric="alignment")
        return None if row is None else Estimate.of(row["mean"], row["ci_low"], row["ci_high"])

    def held_out(self, model: str, method: str, half: str = "") -> "tuple[Estimate, float | None] | None":
        """Return the alignment at the floors that are best on the other half of the images, and the floor of a half.

        ``half`` is `even`, `odd`, or empty for all images, which have no floor in common; a floor is None for none.
        Returns None where there is no score.
        """
        metric = f"held_out_alignment_{half}" if half else "held_out_alignment"
        row = _only(self.sweep, model=model, method=method, metric=metric)
        estimate = None if row is None else Estimate.of(row["mean"], row["ci_low"], row["ci_high"])
        return None if estimate is None else (estimate, finite(row["floor"]))

    def at_stage(self, model: str, method: str, stage: int) -> "Estimate | None":
        """Return the alignment of the layer sweep at a stage; None where there is no score."""
        row = _only(self.layers, model=model, method=method, stage=stage)
        return None if row is None else Estimate.of(row["mean"], row["ci_low"], row["ci_high"])

    def n_degenerate(self, model: str, method: str) -> int | None:
        """Return the number of constant or non-finite maps; None where the study has no score."""
        row = _only(self.scores, model=model, method=method, metric="alignment")
        return None if row is None else int(row["n_degenerate"])

    def difference(
        self, baseline: str, variant: str, method: str, metric: str = "alignment", scale: float = 1.0
    ) -> "Difference | None":
        """Return how much the variant's score, times ``scale``, exceeds the baseline's; None where not compared."""
        pair = {"baseline": baseline, "variant": variant}
        row = _only(self.comparisons, **pair, method=method, metric=metric)
        estimate = None if row is None else Estimate.of(row["difference"], row["ci_low"], row["ci_high"], scale)
        if estimate is None:
            return None
        return Difference(estimate, finite(row["p"]), finite(row["p_corrected"]))

    def similar(self, baseline: str, variant: str, method: str) -> "Estimate | None":
        """Return the mean rank correlation of two models' maps; None where they were not compared."""
        if self.similarity is None:
            return None
        row = _only(self.similarity, baseline=baseline, variant=variant, method=method)
        return None if row is None else Estimate.of(row["mean"], row["ci_low"], row["ci_high"])

    def split(self, images: str, model: str, method: str, metric: str, baseline: str = "") -> pd.Series | None:
        """Return the row of some ``images`` of the scores by prediction: `right`, `wrong`, `both_right` of a pair."""
        keys = {"images": images, "model": model, "method": method, "metric": metric, "baseline": baseline}
        return _only(self.by_prediction, **keys)

    def significance(self, difference: "Difference | None") -> str:
        """Return an asterisk for each of `levels` that the corrected p is below, if the interval excludes 0, too.

        Test and interval may disagree: the test is of ranks, the interval of the mean. With ``stars: test`` among the
        statistics of the study, the test alone decides.
        """
        if difference is None or difference.p_corrected is None:
            return ""
        if not self.by_test_alone() and not difference.estimate.excludes_zero():
            return ""
        return "*" * sum(difference.p_corrected < level for level in self.levels())

    def by_test_alone(self) -> bool:
        """Return whether asterisks go by the test alone, whatever the interval says."""
        return self.study["statistics"].get("stars", "both") == "test"

    def levels(self) -> list[float]:
        """Return the levels that one, two and three asterisks stand for: alpha and stricter ones."""
        alpha = self.study["statistics"]["alpha"]
        return [alpha, *(level for level in STRICTER_LEVELS if level < alpha)]

    def by_architecture(self) -> list[tuple[str, str]]:
        """Return (title of the architecture, model): each comparison's two models, then those in no comparison."""
        pairs = self.study["comparisons"]
        found = {pair[role]: pair["title"] for pair in pairs for role in ("baseline", "variant")}
        found |= {model: self.title(model) for model in self.study["models"] if model not in found}
        return [(title, model) for model, title in found.items()]

    def title(self, model: str) -> str:
        """Return the title of a model."""
        return self.models[model]["title"]

    def method_title(self, name: str) -> str:
        """Return the title of a method or control."""
        return self.study["catalog"]["methods"][name]["title"]

    def protocol(self, family: str) -> Mapping:
        """Return the entry of the study's protocol of a family of metrics."""
        return self.study["catalog"]["protocols"][self._protocol(family)]

    def protocol_title(self, family: str) -> str:
        """Return name and title of the study's protocol of a family of metrics."""
        name, title = self._protocol(family), self.protocol(family)["title"]
        return name if title == name else f"{name}, {title}"

    def _protocol(self, family: str) -> str:
        entries = self.study["catalog"]["protocols"]
        return next(name for name, entry in entries.items() if entry["family"] == family)

    def as_published(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Return scores under the datasets' names without a trial, which publications know nothing of."""
        return scores.assign(dataset=[untried_name(name, self.study["n_images"]) for name in scores["dataset"]])


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval; the ends are None where there is no interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float, high: float, scale: float = 1.0) -> "Estimate | None":
        """Return the estimate times ``scale``; None if the value is not finite."""
        if finite(value) is None:
            return None
        low, high = finite(low), finite(high)
        if low is None or high is None:
            return cls(scale * float(value))
        return cls(scale * float(value), scale * low, scale * high)

    def excludes_zero(self) -> bool:
        """Return whether the interval is on one side of 0; False where there is none."""
        return self.low is not None and (self.low > NOISE or self.high < -NOISE)


@dataclass(frozen=True)
class Difference:
    """A paired difference, variant minus baseline, with the p-value of its test, plain and corrected."""

    estimate: Estimate
    p: float | None
    p_corrected: float | None


def finite(value: object) -> float | None:
    """Return a number as float; None for missing, NaN and infinite ones."""
    return float(value) if value is not None and math.isfinite(value) else None


def _only(table: pd.DataFrame, **keys: str) -> pd.Series | None:
    """Return the one row with these values; None if there is none."""
    if table.empty:
        return None
    # Column by column: a comparison of frames takes ten times as long.
    found = np.logical_and.reduce([(table[name] == value).to_numpy(bool) for name, value in keys.items()])
    rows = table[found]
    if len(rows) > 1:
        raise ValueError(f"the table has {len(rows)} rows for {keys}, expected one")
    return None if rows.empty else rows.iloc[0]


def read_inputs(files: Mapping, study: Mapping, published: str | None = None) -> TableInputs:
    """Read the inputs of a table or score figure.

    Parameters
    ----------
    files : inputs of the workflow's rule, by name
    study : what the table or figure gets to see of the configuration: `camstudy.study.stated.stated_by`
    published : file of published values, if the study names one
    """
    named = dict(files.items())
    records, scores = [*map(read_json, named["models"])], read_table(named["scores"])
    titles = {name: entry["title"] for name, entry in study["catalog"]["models"].items()}
    beside = {name: read_table(named[name]) for name in BESIDE if name in named}
    if "cost" in named:
        beside["cost"] = dict(zip(study["models"], map(read_json, named["cost"]), strict=True))
    if "timing" in named:
        # results/cost/{protocol}/{dataset}/{model}/{method}.json: not every method can explain every model.
        beside["timing"] = {(Path(file).parent.name, Path(file).stem): read_json(file) for file in named["timing"]}
    if "images" in named:
        beside["images"] = read_images(named["images"], named["correct"], study)
    if "published" in named and published:
        beside["published"] = read_published(published)
    ceiling = read_json(named["ceiling"][0]) if named["ceiling"] else {}
    return TableInputs(
        scores=scores,
        comparisons=read_table(named["comparisons"]),
        models={name: {"title": titles[name], **record} for name, record in zip(study["models"], records, strict=True)},
        study=study,
        dataset=_about(named["dataset"]) | {"human_ceiling": ceiling.get("human_ceiling")},
        versions=all_versions([*records, {"versions": scores.attrs.get("versions", {})}]),
        **beside,
    )


def _about(manifest: str) -> dict[str, object]:
    """Return the attributes of a dataset, and of one whose images have several items the number of images."""
    store = open_store(manifest)
    number = {"images": len(np.unique(store["image_source"][:]))} if "image_source" in store else {}
    return dict(store.attrs) | number
