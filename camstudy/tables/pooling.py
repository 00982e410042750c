"""The table of poolings, as in CA-Stream (arXiv 2404.14996): networks with and without a stream, and differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from camstudy.analysis.published import join_published
from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.metrics.families import METRICS
from camstudy.tables import notes, pairs
from camstudy.tables.metrics import heading
from camstudy.tables.table import Column, Format, Row, Table

SHOWN = ("average_drop", "average_gain", "average_increase", "insertion_auc", "deletion_auc")
# Of models: key, header, format, and the scale in which papers print it.
ABOUT: dict[str, tuple[str, Format, float]] = {
    "top1": ("Top-1 ↑ (%)", "percent", 100.0),
    "mean_average_precision": ("mAP ↑ (%)", "percent", 100.0),
    "parameters": ("Parameters (M)", "millions", 1.0),
    "stream_parameters": ("Stream (M)", "millions", 1.0),
    "added_parameters_percent": ("Added parameters (%)", "number", 100.0),
    "gflops": ("GFLOPs", "number", 1e-9),
    "added_gflops": ("Added GFLOPs", "number", 1e-9),
}
Key = tuple[str, str, str]  # model, method, metric


def pooling(inputs: TableInputs) -> Table:
    """Return rows for each baseline and the models that are compared with it: what they cost, how faithful they are.

    First a row per model with accuracy, parameters and operations; then, method by method, a row per model with the
    metrics of faithfulness and a row per comparison with paired differences, their intervals and marks of
    significance. The CSV has all p-values.
    """
    groups: dict[str, list[Mapping]] = {}
    for pair in inputs.study["comparisons"]:
        groups.setdefault(pair["baseline"], []).append(pair)
    return compared(inputs, "pooling", "Poolings", "Network", groups)


def compared(inputs: TableInputs, name: str, what: str, about: str, groups: Mapping[str, Sequence[Mapping]]) -> Table:
    """Return a table with a part for each group of comparisons, which have a title: its models, and their differences.

    Parameters
    ----------
    name, what : of the table, in files and in its caption
    about : header of the groups' titles
    groups : comparisons by whatever they have in common, in their order
    """
    joined = _joined(inputs)
    found = {
        (row["model"], row["method"], row["metric"]): row for _, row in joined[joined["published"].notna()].iterrows()
    }
    metrics = [metric for metric in SHOWN if (inputs.scores["metric"] == metric).any()]
    rows = []
    for group in groups.values():
        models = list(dict.fromkeys(pair[role] for role in ("baseline", "variant") for pair in group))
        rows += [_about(inputs, joined, found, group[0]["title"], model) for model in models]
        for method in inputs.study["methods"]:
            rows += [_scores(inputs, found, group[0]["title"], model, method, metrics) for model in models]
            rows += [_difference(inputs, pair, method, metrics) for pair in group]
    # Not every method can explain every model.
    rows = [row for row in rows if row is not None]
    return Table(
        name=name,
        caption=f"{what} on {inputs.dataset['dataset']}: accuracy, cost, and faithfulness of the explanations.",
        columns=tuple(_columns(inputs, about, metrics, bool(found))),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, metrics, found)),
    )


def _columns(inputs: TableInputs, about: str, metrics: Sequence[str], published: bool) -> Iterator[Column]:
    yield Column("title", about)
    yield Column("method_title", "Method")
    yield Column("pooling", "Pooling")
    yield from (Column(key, shown=False) for key in ("model", "method", "baseline"))
    accuracies = {*inputs.scores["metric"]} & {"top1", "mean_average_precision"} or {"top1"}
    for key, (title, form, _) in ABOUT.items():
        if form == "percent" and key not in accuracies:
            continue
        header, group = ("Measured", title) if published else (title, "")
        yield Column(key, header, group, form, interval=inputs.study["show_intervals"])
        yield Column(f"{key}_published", "Published", group, form, shown=published, interval=False)
    for metric in metrics:
        record = METRICS[metric]
        title = heading(record)
        header, group = ("Measured", title) if published else (title, "")
        form = "percent" if record.unit == "%" else "score"
        yield Column(metric, header, group, form, interval=inputs.study["show_intervals"])
        yield Column(f"{metric}_published", "Published", group, "percent", shown=published, interval=False)
        yield from pairs.p_columns(metric)
        yield Column(f"{metric}_n", shown=False)
    similar = inputs.similarity is not None and len(inputs.similarity) > 0
    yield Column("map_correlation", "Correlation of maps", format="score", shown=similar, interval=True)


def _about(inputs: TableInputs, joined: pd.DataFrame, found: Mapping[Key, pd.Series], title: str, model: str) -> Row:
    cells = _names(inputs, title, model, "")
    for key, (_, form, scale) in ABOUT.items():
        rows = joined[(joined["model"] == model) & (joined["method"] == "") & (joined["metric"] == key)]
        if len(rows):
            value = scale * rows["mean"].iloc[0]
            value = round(value) if form == "millions" else value
            cells[key] = inputs.estimate(model, "", key, scale) if form == "percent" else value
        if (model, "", key) in found:
            value = scale * found[model, "", key]["published"]
            cells[f"{key}_published"] = Estimate(value) if form == "percent" else value
    return Row(cells)


def _scores(
    inputs: TableInputs, found: Mapping[Key, pd.Series], title: str, model: str, method: str, metrics: Sequence[str]
) -> Row | None:
    cells = _names(inputs, title, model, method)
    estimates = {metric: inputs.estimate(model, method, metric, _scale(metric)) for metric in metrics}
    if all(estimate is None for estimate in estimates.values()):
        return None
    for metric, estimate in estimates.items():
        cells |= {metric: estimate, f"{metric}_n": inputs.count(model, method, metric)}
        if (model, method, metric) in found:
            cells[f"{metric}_published"] = Estimate(_scale(metric) * found[model, method, metric]["published"])
    return Row(cells)


def _difference(inputs: TableInputs, pair: Mapping, method: str, metrics: Sequence[str]) -> Row | None:
    """Return variant minus baseline, on the same images, and how alike their maps are."""
    baseline, variant = pair["baseline"], pair["variant"]
    names = _names(inputs, pair["title"], variant, method)
    names |= {"pooling": pairs.minus(inputs, pair), "baseline": baseline}
    row = pairs.difference_row(inputs, names, pair, method, metrics)
    if (similar := inputs.similar(baseline, variant, method)) is None:
        return row
    row = row or Row(names)
    return replace(row, cells={**row.cells, "map_correlation": similar})


def _names(inputs: TableInputs, title: str, model: str, method: str) -> dict[str, object]:
    return {
        "kind": (title, method),
        "title": title,
        "method_title": inputs.method_title(method) if method else "",
        "pooling": inputs.title(model),
        "model": model,
        "method": method,
    }


def _scale(metric: str) -> float:
    return 100.0 if METRICS[metric].unit == "%" else 1.0


def _joined(inputs: TableInputs) -> pd.DataFrame:
    """Return scores and costs with what was published of them; operations are counted in floating-point ones."""
    costs, dataset = [], inputs.study["prediction_dataset"] or inputs.dataset["dataset"]
    for model in dict.fromkeys(pair[role] for pair in inputs.study["comparisons"] for role in ("baseline", "variant")):
        own, first = _cost(inputs, model), _cost(inputs, _origin(inputs, model))
        if added := own["parameters"] - first["parameters"]:
            own |= {"added_parameters_percent": added / first["parameters"], "stream_parameters": added}
            own["added_gflops"] = own["gflops"] - first["gflops"]
        costs += [
            {"dataset": dataset, "model": model, "method": "", "metric": key, "mean": value}
            for key, value in own.items()
        ]
    table = pd.concat([inputs.scores, pd.DataFrame(costs)], ignore_index=True)
    if inputs.published is None:
        return table.assign(published=None, published_source=None, published_verified=None)
    published = _with_added(inputs, inputs.published)
    return join_published(inputs.as_published(table), published, protocols=inputs.study["catalog"]["protocols"])


def _origin(inputs: TableInputs, model: str) -> str:
    """Return the network that a model is compared with in the end: the one with its own pooling."""
    baselines = {pair["variant"]: pair["baseline"] for pair in inputs.study["comparisons"]}
    for _ in inputs.study["comparisons"]:
        model = baselines.get(model, model)
    return model


def _cost(inputs: TableInputs, model: str) -> dict[str, float]:
    record = inputs.cost[model]
    return {"parameters": record["parameters"], "gflops": 2 * record["multiply_adds"]["dense"]}


def _with_added(inputs: TableInputs, published: pd.DataFrame) -> pd.DataFrame:
    """Return published values with the operations that the papers' variants add, the difference of two of them."""
    counts = published[published["metric"] == "gflops"].drop_duplicates("catalog_model").set_index("catalog_model")
    added = [
        counts.loc[pair["variant"]].to_dict()
        | {
            "catalog_model": pair["variant"],
            "metric": "added_gflops",
            "value": counts.loc[pair["variant"], "value"] - counts.loc[pair["baseline"], "value"],
        }
        for pair in inputs.study["comparisons"]
        if {pair["variant"], pair["baseline"]} <= set(counts.index)
    ]
    return pd.concat([published, pd.DataFrame(added)], ignore_index=True) if added else published


def _notes(inputs: TableInputs, metrics: Sequence[str], found: Mapping[Key, pd.Series]) -> Iterator[str]:
    study, scores = inputs.study, inputs.scores[inputs.scores["metric"].isin(metrics)]
    yield f"Dataset: {inputs.dataset['dataset']}, {notes.images(inputs, scores['n'])}."
    yield f"Faithfulness by the protocol {inputs.protocol_title('faithfulness')}; metrics: docs/metrics.md."
    yield from notes.targets(inputs, study["methods"])
    yield (
        "GFLOPs: floating-point operations of one image, two for a multiplication with its addition, in convolutions, "
        "linear layers and the attention of streams. Added: to the network with its own pooling."
    )
    yield from pairs.told(inputs, metrics)
    if inputs.similarity is not None and len(inputs.similarity):
        count = notes.images(inputs, inputs.similarity["n"])
        yield (
            f"Correlation of maps: mean over {count} of Spearman's rank correlation of the two models' maps, "
            "at the resolution that they were made at; 1 where the order of all places is the same."
        )
    yield notes.intervals(inputs)
    of_one = scores[scores["metric"] == metrics[0]] if metrics else scores
    yield notes.degenerate(inputs, of_one, scored="scored as each metric says")
    if found:
        yield from notes.published(found.values())
        yield (
            "Compare the added operations: the published level of a network counts more than multiplications and "
            "additions of its layers (ours 8.178, 17.368, 30.710 for ResNet-50, ConvNeXt-S and ConvNeXt-B; published "
            "8.268, 17.395, 30.747)."
        )
