"""The tables of networks that were trained alike but for one thing, over seeds, as in arXiv 2404.15024.

What they recognise, and how well their explanations are recognised: each beside what was published, with paired
differences under the same seeds.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from camstudy.analysis.published import join_published
from camstudy.analysis.summary import Estimate, TableInputs, finite
from camstudy.metrics.families import METRICS
from camstudy.metrics.scoring import FAMILIES
from camstudy.tables import notes
from camstudy.tables.metrics import heading
from camstudy.tables.table import Column, Row, Table

FAITHFULNESS = ("average_drop", "average_gain", "average_increase", "insertion_auc", "deletion_auc")
RECOGNITION = ("top1", "gradient_cosine", "gradient_variation", "gradient_energy")
# Of a difference: which interval a row shows, and of which columns of the long table.
ENDS = {"seeds and images": ("ci_low", "ci_high"), "images alone": ("image_low", "image_high")}
Key = tuple[str, str, str, str]  # baseline (empty without), model, method, metric


def recognition(inputs: TableInputs) -> Table:
    """Return a row per model with its accuracy and gradients, over seeds, and rows of paired differences."""
    found = _Found(inputs, RECOGNITION)
    rows = [row for group in found.groups() for row in found.rows(*group, {"": "", **found.own_methods()})]
    return _table(found, "recognition", f"Recognition on {inputs.dataset['dataset']}, means over seeds.", rows)


def interpretable_recognition(inputs: TableInputs) -> Table:
    """Return for each network and method a row per model with its faithfulness, and rows of paired differences."""
    found = _Found(inputs, FAITHFULNESS)
    rows = [
        row
        for group in found.groups()
        for method in inputs.study["methods"]
        for row in found.rows(*group, {method: inputs.method_title(method)})
    ]
    caption = f"Faithfulness of explanations on {inputs.dataset['dataset']}, means over seeds."
    facts = [
        *notes.targets(inputs, inputs.study["methods"]),
        f"Protocol: {inputs.protocol_title('faithfulness')}.",
    ]
    if found.published:
        facts.append("The publication names neither its protocol nor the variant of Score-CAM: compare differences.")
    return _table(found, "interpretable_recognition", caption, rows, facts)


class _Found:
    """The numbers of some metrics over seeds, measured and published."""

    def __init__(self, inputs: TableInputs, metrics: Sequence[str]) -> None:
        self.inputs = inputs
        known = {*inputs.seeds["metric"]}
        self.metrics = [metric for metric in metrics if metric in known]
        table = inputs.seeds[inputs.seeds["metric"].isin(self.metrics)]
        self.table = _with_published(inputs, table)
        keys = self.table[["baseline", "model", "method", "metric"]].itertuples(index=False, name=None)
        self._rows: dict[Key, pd.Series] = dict(zip(keys, (row for _, row in self.table.iterrows()), strict=True))

    @property
    def published(self) -> bool:
        """Whether any of the numbers was published."""
        return bool(self.table["published"].notna().any())

    def own_methods(self) -> dict[str, str]:
        """Return the methods of families that look at no maps; their scores stand beside the accuracy."""
        return {family.method: "" for family in FAMILIES.values() if family.method}

    def groups(self) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
        """Yield the title of each network with its models, the baseline first, and the pairs compared."""
        pairs: dict[str, list[tuple[str, str]]] = {}
        for baseline, variant, title in self.inputs.study["pairs"]:
            pairs.setdefault(baseline, []).append((variant, title))
        seen = {name for baseline, others in pairs.items() for name in (baseline, *(variant for variant, _ in others))}
        for baseline, others in pairs.items():
            models = [baseline, *(variant for variant, _ in others)]
            yield others[0][1], models, [(baseline, variant) for variant, _ in others]
        for model in self.inputs.study["replicates"]:
            if model not in seen:
                yield self.title(model), [model], []

    def title(self, model: str) -> str:
        """Return the title of a model without its seed."""
        return self.inputs.study["catalog"]["models"][model]["title"]

    def rows(
        self, title: str, models: Sequence[str], pairs: Sequence[tuple[str, str]], methods: Mapping[str, str]
    ) -> Iterator[Row]:
        """Yield the rows of a network's models and differences; those of ``methods`` stand in one row."""
        about = {"kind": (title, *methods), "network": title, "method_title": next(iter(methods.values()))}
        about["method"] = next(iter(methods))
        for model in models:
            cells = {**about, "title": self.title(model), "model": model, "baseline": ""}
            if found := self._cells("", model, methods, "seeds and images"):
                yield Row(cells | found)
        for baseline, variant in pairs:
            for what in ENDS:
                compared = f"{self.title(variant)} − {self.title(baseline)}"
                cells = {**about, "title": f"{compared} ({what})", "model": variant, "baseline": baseline}
                if found := self._cells(baseline, variant, methods, what):
                    yield Row(cells | found)

    def _cells(self, baseline: str, model: str, methods: Mapping[str, str], what: str) -> dict[str, object]:
        cells: dict[str, object] = {}
        for metric in self.metrics:
            row = next((self._rows[k] for m in methods if (k := (baseline, model, m, metric)) in self._rows), None)
            if row is None:
                continue
            by = 100.0 if _is_percent(metric) else 1.0
            low, high = ENDS[what]
            cells[metric] = Estimate.of(row["mean"], row[low], row[high], by)
            cells |= {f"{metric}_seed_sd": finite(by * row["seed_sd"]), f"{metric}_n": int(row["n"])}
            cells["n_seeds"] = int(row["n_seeds"])
            if finite(row["published"]) is not None:
                cells[f"{metric}_published"] = Estimate(by * row["published"])
        return cells


def _with_published(inputs: TableInputs, table: pd.DataFrame) -> pd.DataFrame:
    """Return the long table over seeds with what was published, differences of it included."""
    empty = {"published": float("nan"), "published_source": None, "published_verified": None}
    if inputs.published is None or table.empty:
        return table.assign(**empty)
    protocols = inputs.study["catalog"]["protocols"]
    means, differences = table[table["baseline"] == ""], table[table["baseline"] != ""]
    joined = join_published(inputs.as_published(means), inputs.published, protocols=protocols)
    # The dataset as it is called here, also in a trial.
    joined["dataset"] = means["dataset"]
    known = joined.set_index(["model", "method", "metric"])["published"]
    both = [
        known.get((row.model, row.method, row.metric)) - known.get((row.baseline, row.method, row.metric))
        for row in differences.itertuples()
    ]
    return pd.concat([joined, differences.assign(**empty | {"published": both})], ignore_index=True)


def _table(found: _Found, name: str, caption: str, rows: Sequence[Row], facts: Sequence[str] = ()) -> Table:
    return Table(
        name=name,
        caption=caption,
        columns=tuple(_columns(found)),
        rows=tuple(rows),
        notes=(*_notes(found), *facts),
    )


def _columns(found: _Found) -> Iterator[Column]:
    yield Column("network", "Network")
    yield Column("method_title", "Method", shown=any(title for title in _titles(found)))
    yield Column("title", "Model")
    yield from (Column(key, shown=False) for key in ("model", "method", "baseline"))
    yield Column("n_seeds", "Seeds", format="count")
    for metric in found.metrics:
        record = METRICS[metric]
        group = "Top-1 ↑ (%)" if metric == "top1" else heading(record)
        form = "percent" if _is_percent(metric) else "estimate"
        yield Column(metric, "Measured", group, form, interval=True)
        yield Column(f"{metric}_seed_sd", "SD of seeds", group, "number", shown=metric == "top1")
        yield Column(f"{metric}_published", "Published", group, form, shown=found.published, interval=False)
        yield Column(f"{metric}_n", shown=False, format="count")


def _is_percent(metric: str) -> bool:
    return metric == "top1" or METRICS[metric].unit == "%"


def _titles(found: _Found) -> list[str]:
    own = found.own_methods()
    return [method for method in found.table["method"] if method and method not in own]


def _notes(found: _Found) -> Iterator[str]:
    inputs, table = found.inputs, found.table
    statistics = inputs.study["statistics"]
    level, resamples = f"{100 * statistics['confidence']:.4g}", f"{statistics['resamples']:,}"
    yield f"Dataset: {inputs.dataset['dataset']}, {notes.images(inputs, table['n'])}. Metrics: docs/metrics.md."
    yield (
        f"Intervals: {level}% percentile bootstrap, {resamples} resamples of seeds, then images. Differences are "
        "paired, under the same seed and on the same image; their second row resamples images alone, and holds for "
        "these very networks. Of few seeds the first interval is too narrow (docs/definitions.md, Statistics)."
    )
    yield from notes.published([row for _, row in table[table["published_source"].notna()].iterrows()])
