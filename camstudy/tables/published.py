"""The table of published values: what was measured, what was published, and the difference."""

from collections.abc import Iterator

import pandas as pd

from camstudy.analysis.published import join_published
from camstudy.analysis.summary import Estimate, TableInputs, finite
from camstudy.tables.table import Column, Row, Table

# In the order of the columns, with the unit in which papers print them.
METRICS = {
    "top1": ("Top-1 (%)", 100.0),
    "mean_average_precision": ("mAP (%)", 100.0),
    "alignment": ("Alignment", 1.0),
}


def published(inputs: TableInputs) -> Table:
    """Return a row per model, and per model and method: measured and published values and their difference.

    The last two are blank where nothing was published. The CSV has the sources.
    """
    joined = join_published(
        inputs.as_published(inputs.scores), inputs.published, protocols=inputs.study["catalog"]["protocols"]
    )
    joined = joined.set_index(["model", "method", "metric"])
    columns = [
        Column("title", "Model"),
        Column("model", shown=False),
        Column("method_title", "Method"),
        Column("method", shown=False),
    ]
    has_sets = (inputs.scores["metric"] == "mean_average_precision").any()
    for metric, (title, _) in METRICS.items():
        if metric == ("top1" if has_sets else "mean_average_precision"):
            continue
        columns += [
            Column(f"{metric}_measured", "Measured", title, "estimate"),
            Column(f"{metric}_published", "Published", title, "number"),
            Column(f"{metric}_difference", "Difference", title, "number"),
            Column(f"{metric}_source", shown=False),
        ]
    rows = [
        Row(_cells(inputs, joined, model, method))
        for model in inputs.study["models"]
        for method in ["", *inputs.study["methods"]]
    ]
    return Table(
        name="published",
        caption="What was measured beside what was published.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, joined)),
    )


def _cells(inputs: TableInputs, joined: pd.DataFrame, model: str, method: str) -> dict[str, object]:
    cells: dict[str, object] = {
        "kind": model,
        "title": inputs.title(model),
        "model": model,
        "method_title": inputs.method_title(method) if method else "",
        "method": method,
    }
    for metric, (_, scale) in METRICS.items():
        if (model, method, metric) in joined.index:
            row = joined.loc[model, method, metric]
            cells[f"{metric}_measured"] = Estimate.of(row["mean"], row["ci_low"], row["ci_high"], scale)
            if finite(row["published"]) is not None:
                cells[f"{metric}_published"] = scale * row["published"]
                cells[f"{metric}_difference"] = scale * row["difference"]
                cells[f"{metric}_source"] = row["published_source"]
    return cells


def _notes(inputs: TableInputs, joined: pd.DataFrame) -> Iterator[str]:
    found = joined.dropna(subset="published")
    of = inputs.study["prediction_dataset"] or inputs.study["dataset"]
    if (inputs.scores["metric"] == "mean_average_precision").any():
        yield f"mAP: mean average precision over the classes of {of}."
    else:
        share = f"share of the images of {of} whose label has the largest logit"
        yield f"Top-1: {share}. Values are published for ImageNet."
    yield f"Published: {len(found)} of {len(joined)} numbers of this study; blank where none is known."
    if "agreement" in {entry["family"] for entry in inputs.study["catalog"]["protocols"].values()}:
        yield f"Protocol: {inputs.protocol_title('agreement')}."
    if len(found):
        yield f"Sources: {'; '.join(dict.fromkeys(found['published_source']))}."
        unverified = found.index[found["published_verified"] == False]  # noqa: E712  (a column of objects)
        if len(unverified):
            yield f"{len(unverified)} of them are second-hand or inferred."
